"""What all tests share, those of the plugins too: random examples, and a home directory of their own."""

from __future__ import annotations

import faulthandler
import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, database=None)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=15, stateful_step_count=15)
settings.register_profile("soak", deadline=None, max_examples=10_000, print_blob=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

_HOME = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the run, with its child processes, away from the caches and settings of the user."""
    for name in list(os.environ):
        if name.startswith(("CACHEWRIGHT_", "XDG_")):
            del os.environ[name]
    home = tempfile.TemporaryDirectory(prefix="home-")
    config.stash[_HOME] = home
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(Path(home.name).resolve())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the home directory; a thread that a failed test left behind cannot keep the run from ending."""
    config.stash[_HOME].cleanup()
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)

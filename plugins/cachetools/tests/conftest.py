"""Fixtures of the cachetools tests: an opener of engines, and a runner of scripts that might hang."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cachewright_cachetools.engine import CachetoolsEngine

from cachewright.engine import EngineConfig

PATIENCE = 60.0
"""Seconds after which a script counts as hung."""


@pytest.fixture
def opened() -> Iterator[Callable[..., CachetoolsEngine]]:
    """Opens engines with the given settings and closes them after the test."""
    engines: list[CachetoolsEngine] = []

    def open_one(**settings: Any) -> CachetoolsEngine:
        engines.append(CachetoolsEngine(EngineConfig(**settings)))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


@pytest.fixture
def run_script() -> Callable[[str], str]:
    """Runs a script in a fresh interpreter, warnings being errors, and returns what it printed."""

    def run(script: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout.strip() if not done.returncode else f"{done.returncode}: {done.stderr}"

    return run

"""Engines over temporary directories, scripts run in processes of their own, and small disks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachewright_diskcache.engine import DiskcacheEngine

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING

PATIENCE = 60.0
"""Seconds after which a script counts as hung."""

PRELUDE = """
import os, signal, sys, threading, time
from pathlib import Path
from cachewright_diskcache.engine import DiskcacheEngine, FanoutEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import EngineError, EngineUnavailableError
def opened(engine=DiskcacheEngine, **settings):
    options = {"accept_cve": True, **settings.pop("options", {})}
    settings = {"path": Path(sys.argv[1]), "timeout": 20.0, "options": options, **settings}
    return engine(EngineConfig(**settings))
def content(blob):
    return blob if blob is MISSING else bytes(getattr(blob, "view", blob))
"""


@pytest.fixture
def open_engine(tmp_path: Path) -> Iterator[Callable[..., DiskcacheEngine]]:
    """Opens engines on the store of this test and closes them afterwards."""
    opened: list[DiskcacheEngine] = []

    def open_one(engine: type[DiskcacheEngine] = DiskcacheEngine, **settings: Any) -> DiskcacheEngine:
        options = {"accept_cve": True, **settings.pop("options", {})}
        opened.append(engine(EngineConfig(**{"path": tmp_path / "store", "options": options, **settings})))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.close()


@pytest.fixture
def content() -> Callable[[Any], Any]:
    """Returns the bytes of what an engine returned."""
    return lambda blob: blob if blob is MISSING else bytes(getattr(blob, "view", blob))


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts scripts in fresh interpreters, warnings being errors, and ends them after the test."""
    running: list[subprocess.Popen[str]] = []

    def start_one(script: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", PRELUDE + script, *map(str, arguments)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        running.append(process)
        return process

    yield start_one
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    """Runs a script to its end and returns what it printed."""

    def run_one(script: str, *arguments: object) -> str:
        process = start(script, *arguments)
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        return output.strip()

    return run_one


@pytest.fixture
def mounted() -> Iterator[Callable[..., None]]:
    """Mounts file systems; the test is skipped where that is not allowed."""
    points: list[str] = []

    def mount(*arguments: str) -> None:
        done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("needs the right to mount a file system")
        if arguments[-1] not in points:
            points.append(arguments[-1])

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", "-l", point], check=True)

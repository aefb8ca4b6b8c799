"""Engines over temporary directories, and scripts run in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cachewright.builtin.sqlite.engine import SqliteEngine
from cachewright.engine import EngineConfig, MappedBlob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PRELUDE = """
import os, sys
from pathlib import Path
from cachewright.builtin.sqlite.engine import SqliteEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
def content(blob):
    return blob if blob is MISSING else bytes(getattr(blob, "view", blob))
"""


@pytest.fixture
def open_engine(tmp_path: Path) -> Iterator[Callable[..., SqliteEngine]]:
    opened: list[SqliteEngine] = []

    def open_(**settings: Any) -> SqliteEngine:
        engine = SqliteEngine(EngineConfig(**{"path": tmp_path / "store", **settings}))
        opened.append(engine)
        return engine

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture
def content() -> Callable[[Any], Any]:
    return lambda blob: bytes(blob.view) if isinstance(blob, MappedBlob) else blob


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start_(script: str, *arguments: object, **settings: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", PRELUDE + script, *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **settings,
        )
        running.append(process)
        return process

    yield start_
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    def run_(script: str, *arguments: object, **settings: Any) -> str:
        process = start(script, *arguments, **settings)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return output.strip()

    return run_

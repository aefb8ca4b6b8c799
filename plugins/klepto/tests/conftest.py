"""Fixtures of the klepto tests: an opener of engines, of every kind, and a runner of scripts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachewright_klepto.plugin import KLEPTO, KLEPTO_FILE, KLEPTO_HDF, KLEPTO_SQLTABLE

from cachewright.engine import EngineConfig, EngineInfo

PATIENCE = 120.0
"""Seconds after which a script counts as hung."""

STORED = (KLEPTO, KLEPTO_FILE, KLEPTO_SQLTABLE, KLEPTO_HDF)


@pytest.fixture(params=STORED, ids=lambda info: info.name)
def info(request: pytest.FixtureRequest) -> EngineInfo:
    """The record of every engine over a stored archive, in turn."""
    return request.param


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens engines in one directory and closes them after the test."""
    engines: list[Any] = []

    def open_one(info: EngineInfo, **settings: Any) -> Any:
        engines.append(info.load()(EngineConfig(**{"path": tmp_path / "store", **settings})))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


@pytest.fixture
def run_script() -> Callable[..., str]:
    """Runs a script in a fresh interpreter, warnings being errors, and returns what it printed."""

    def run(script: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout.strip() if not done.returncode else f"{done.returncode}: {done.stderr}"

    return run

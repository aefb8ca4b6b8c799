"""Fixtures of the joblib tests: stores, engines on them, and a runner of scripts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachewright_joblib.engine import JoblibEngine

from cachewright.engine import EngineConfig

PATIENCE = 120.0
"""Seconds after which a script counts as hung."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def opened(store: Path) -> Iterator[Callable[..., JoblibEngine]]:
    """Opens engines on the store with the given settings, and closes them after the test."""
    engines: list[JoblibEngine] = []

    def open_one(**settings: Any) -> JoblibEngine:
        engines.append(JoblibEngine(EngineConfig(**{"path": store, **settings})))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., str]:
    """Runs a script in a fresh interpreter, warnings being errors, and returns what it printed."""

    def run(script: str, *arguments: object) -> str:
        file = tmp_path / "script.py"
        file.write_text(script)
        done = subprocess.run(
            [sys.executable, "-W", "error", str(file), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout.strip() if not done.returncode else f"{done.returncode}: {done.stderr}"

    return run

"""Scripts run in processes of their own, which print what they found as JSON; figures reach the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def run(capsys) -> Callable[..., dict[str, Any]]:
    """Run a script of this folder, and return and show the figures that it prints last."""

    def run_(script: str, *arguments: object, seconds: float) -> dict[str, Any]:
        command = [sys.executable, "-W", "error", Path(__file__).with_name(script), *map(str, arguments)]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=seconds, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        with capsys.disabled():
            print(f"\n{script} {json.dumps(figures)}")
        return figures

    return run_

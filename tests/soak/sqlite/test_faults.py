"""R8: whichever system call fails, the old value or a miss is seen, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("faults.c")


@pytest.fixture
def preload(tmp_path, monkeypatch):
    """Have the processes that are started fail on demand, by a library that stands before the system's."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"needs a C library like that of GNU: {built.stderr[:200]}")
    earlier = os.environ.get("LD_PRELOAD", "")
    monkeypatch.setenv("LD_PRELOAD", f"{library} {earlier}".strip())


@pytest.mark.usefixtures("preload")
@pytest.mark.parametrize(
    "stride", [pytest.param(23, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.soak)]
)
def test_failing_calls(run, tmp_path, stride):
    """Each call of get, put, evict, swap, delete, clear, list and open fails with each error it can have.

    Once alone and once with all that follow. What is raised is an engine error; each key then holds its
    old or its new value or none; the same engine and a new one work; nothing is left open or lying about.
    """
    figures = run("fail_calls.py", tmp_path, stride, seconds=60 + 600 // stride)
    assert figures["problems"] == []
    for name in ("foreign", "wrong", "lost", "quarantined", "descriptors", "files", "unusable"):
        assert figures[name] == 0, name
    assert figures["injected"] > 4000 // stride
    assert min(figures["operations"].values()) > 0, "the library is not in the way"

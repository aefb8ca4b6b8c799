"""A snapshot keeps what can be stored of a namespace and says by name and reason what it left out."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cachewright_dill import Variables, pack, restore, snapshot

from cachewright import open_cache
from cachewright.errors import UnserializableError

PROGRAM = """
import sys, threading
from cachewright import open_cache
from cachewright_dill import restore, snapshot

class Model:
    def __init__(self, weight):
        self.weight = weight
    def score(self, x):
        return scale(x) * self.weight

FACTOR = 10
def scale(x):
    return x * FACTOR

model = Model(3)
both = [model, model]
lock = threading.Lock()
with open_cache("notebook", path=sys.argv[1]) as cache:
    report = snapshot(cache, "trained", globals())
print(sorted(report.kept), sorted(report.left_out.items()))
"""

READER = """
import sys
from cachewright import open_cache
from cachewright_dill import restore

with open_cache("notebook", path=sys.argv[1]) as cache:
    globals().update(restore(cache, "trained"))
print(model.score(2), both[0] is both[1] is model, scale(1), "lock" in globals(), type(model).__module__)
"""


def run(program: str, path: Path) -> str:
    command = [sys.executable, "-W", "error", "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def test_a_namespace_of_one_program_goes_on_in_another(tmp_path: Path) -> None:
    """Classes and functions of ``__main__`` come along, identity is kept, the rest is reported."""
    told = run(PROGRAM, tmp_path / "store")
    assert "'lock', 'lock: <_thread.lock>: a copy of a lock locks nothing'" in told
    assert "('__name__', 'it belongs to the interpreter')" in told
    assert "'both', 'model', 'open_cache'" in told
    assert run(READER, tmp_path / "store") == "60 True 10 False __main__"


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_restoring_gives_new_objects_every_time(engine: str, tmp_path: Path) -> None:
    """Whatever is done to restored variables does not reach the snapshot, in memory either."""
    with open_cache("s", engine=engine, path=tmp_path if engine == "sqlite" else None) as cache:
        original = [1]
        report = snapshot(cache, "x", {"a": original, "f": lambda: 2, "l": threading.Lock()})
        assert report.kept == ("a", "f")
        assert dict(report.left_out) == {"l": "l: <_thread.lock>: a copy of a lock locks nothing"}
        assert "kept 2 variables" in str(report)
        assert "left out l: " in str(report)
        original.append(2)
        first = restore(cache, "x")
        first["a"].append(3)
        assert restore(cache, "x")["a"] == [1]
        assert first["f"]() == 2
        snapshot(cache, "x", {})
        assert restore(cache, "x") == {}
        with pytest.raises(LookupError, match="no snapshot 'y'"):
            restore(cache, "y")


def test_a_variable_is_left_out_with_its_culprits() -> None:
    """Three of them, and how many more there are."""
    _, report = pack({"v": [threading.Lock() for _ in range(5)], "w": 1})
    assert report.kept == ("w",)
    assert report.left_out["v"].startswith("v[0]: <_thread.lock>: a copy of a lock locks nothing; v[1]: ")
    assert report.left_out["v"].endswith("; and 2 more")


def test_stores_that_are_not_authenticated_take_no_snapshot(tmp_path: Path, monkeypatch: Any) -> None:
    """Restoring would execute what somebody else put there: refused when it is stored."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    with open_cache("s", path=folder) as cache, pytest.raises(UnserializableError, match="authenticated"):
        snapshot(cache, "x", {"a": 1})


def test_snapshots_are_never_pickled() -> None:
    """No other serializer takes the bytes of one as data."""
    import copy
    import pickle

    packed, _ = pack({"a": 1})
    assert isinstance(packed, Variables)
    for use in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="own serializer"):
            use(packed)

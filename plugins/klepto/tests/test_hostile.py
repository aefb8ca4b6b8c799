"""What is planted in a store, by whomever, is a miss or an error, and never executed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

from klepto.archives import dir_archive

from cachewright.engine import EngineInfo

SCRIPT = Path(__file__).with_name("hostile_store.py")


def test_nothing_planted_is_executed(info: EngineInfo, tmp_path: Path) -> None:
    """Pickles, sources, links, pipes, views and strange datasets are misses or errors, and no code runs."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), info.name, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert set(report["answers"]) <= {"miss", "error"}
    assert len(report["answers"]) >= 30
    assert report["seen"] == []
    assert report["canary"] is False
    assert report["again"] == "new"


def test_klepto_itself_would_have_executed_it(tmp_path: Path) -> None:
    """The same pickle in the same folder runs when klepto reads it in its own way."""
    archive = dir_archive(str(tmp_path / "memo"), cached=False)
    archive["ab"] = 1
    bomb = pickle.dumps(Bomb(str(tmp_path / "canary")))
    (tmp_path / "memo" / "K_ab" / "output.pkl").write_bytes(bomb)
    archive["ab"]
    assert (tmp_path / "canary").is_dir()


class Bomb:
    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (self.canary,)

"""A process forks over and over while four of its threads write, and each child uses what it inherited.

Run as ``python fork_writers.py DIRECTORY FORKS``; prints one line of JSON, see :class:`Figures`.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
import time
import traceback
import warnings
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cachewright.builtin.sqlite.engine import SqliteEngine
from cachewright.engine import EngineConfig, MappedBlob
from cachewright.entry import MISSING

THREADS = 4
HANG = 20
"""Seconds after which a child counts as hanging; one takes some hundredths of a second."""
VALUE = b"v" * 100_000


@dataclass
class Figures:
    """What happened; ``hung``, ``failed`` and ``problems`` must be 0 or empty."""

    forks: int = 0
    seconds: float = 0.0
    slowest_fork: float = 0.0
    writes: int = 0
    hung: int = 0
    failed: int = 0
    kept: int = 0
    """Children whose acknowledged entry the parent finds."""
    problems: list[str] = field(default_factory=list)


def content(blob: object) -> object:
    return blob if blob is MISSING else bytes(getattr(blob, "view", blob))


class Writers:
    """Threads that write and read back until told to stop."""

    def __init__(self, engine: SqliteEngine) -> None:
        self.engine, self.going, self.problems = engine, True, list[str]()
        self.written = [0] * THREADS
        self.threads = [threading.Thread(target=self.work, args=(n,)) for n in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def work(self, number: int) -> None:
        try:
            while self.going:
                turn = self.written[number]
                key, value = f"{number}-{turn % 30}", b"%d;" % turn * (1 if turn % 40 else 20_000)
                assert self.engine.set(key, (value,))
                assert content(self.engine.get(key)) == value, "another value than was set"
                self.written[number] += 1
        except BaseException:
            self.problems.append(f"thread {number}: {traceback.format_exc()[-900:]}")

    def stop(self) -> None:
        self.going = False
        for thread in self.threads:
            thread.join(HANG)
            if thread.is_alive():
                self.problems.append("a thread of the parent hangs")


def use_inherited(engine: SqliteEngine, blob: MappedBlob, number: int) -> None:
    """Do everything there is in a child, with a thread of its own, too."""
    assert content(engine.get("k")) == VALUE == bytes(blob.view)
    assert engine.set(f"child{number % 50}", (b"%d" % number,))
    if sys.platform == "linux":
        assert f" {os.getpid()} " in Path("/proc/locks").read_text(), "it holds no lock of its own"
    assert engine.compare_and_set("k", VALUE, (VALUE,))
    assert engine.count() > 0
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(engine.set("thread", (VALUE,))))
    thread.start()
    thread.join()
    assert done == [True]
    assert engine.delete("thread")
    engine.close()


def fork(engine: SqliteEngine, blob: MappedBlob, number: int, figures: Figures) -> None:
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            use_inherited(engine, blob, number)
            code = 0
        except BaseException:
            os.write(2, f"child {number}: {traceback.format_exc()}".encode())
        finally:
            os._exit(code)
    figures.slowest_fork = max(figures.slowest_fork, round(time.monotonic() - began, 3))
    code = exit_code(child)
    figures.forks += 1
    figures.hung += code == -signal.SIGKILL
    figures.failed += code not in {0, -signal.SIGKILL}


def exit_code(child: int) -> int:
    """Wait for a child, which is killed if it hangs: on a lock, say, that was held while forking."""
    until = time.monotonic() + HANG
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)


def main() -> None:
    path, forks, figures = Path(sys.argv[1]), int(sys.argv[2]), Figures()
    began = time.monotonic()
    engine = SqliteEngine(EngineConfig(path=path, timeout=30.0))
    engine.set("k", (VALUE,))
    blob = engine.get("k")
    writers = Writers(engine)
    warnings.simplefilter("ignore", DeprecationWarning)  # that forking beside threads is dangerous
    for number in range(forks):
        fork(engine, blob, number, figures)
        if figures.hung or figures.failed or writers.problems:
            break
        found = engine.get(f"child{number % 50}")
        figures.kept += content(found) == b"%d" % number
    writers.stop()
    figures.problems += writers.problems
    figures.writes = sum(writers.written)
    if min(writers.written) == 0:
        figures.problems.append("a thread of the parent wrote nothing")
    if engine.count() != len(list(engine.keys())):
        figures.problems.append("the totals are wrong")
    engine.close()
    with closing(sqlite3.connect(next(path.glob("index-*.sqlite3")))) as connection:
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            figures.problems.append("the index is damaged")
    figures.seconds = round(time.monotonic() - began, 1)
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()

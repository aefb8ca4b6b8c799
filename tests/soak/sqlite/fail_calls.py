"""Each system call of each operation fails in turn, once or from then on, with each error that it can have.

Run as ``python fail_calls.py DIRECTORY STRIDE`` with ``faults.so`` preloaded; prints one line of JSON, see
:class:`Figures`. ``STRIDE`` 1 tries every call, 5 every fifth.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import logging
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cachewright.builtin.sqlite import store as store_module
from cachewright.builtin.sqlite.engine import SqliteEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import EngineError, StoreQuarantinedWarning

OPEN, CREATE, READ, WRITE, SYNC, NAME, LOCK, MAP, STATUS, CLOSE, SIZE, LIST = (1 << n for n in range(12))
FAULTS = {
    "ENOSPC": (errno.ENOSPC, CREATE | WRITE | SYNC | SIZE),
    "EROFS": (errno.EROFS, CREATE | NAME | SIZE),
    "EMFILE": (errno.EMFILE, OPEN),
    "EIO": (errno.EIO, (1 << 12) - 1),
}
FOR_EVER = 1 << 30
ALL = (1 << 12) - 1
SMALL, LARGE = b"s" * 100, b"L" * 60_000
NEW_SMALL, NEW_LARGE = b"n" * 90, b"N" * 70_000
BEFORE = {"small": SMALL, "large": LARGE, "victim": LARGE, "other": SMALL}

faults = ctypes.CDLL(None)
faults.fault_arm.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_int)
faults.fault_disarm.restype = ctypes.c_long


@dataclass
class Figures:
    """What happened; all but the first five must be 0 or empty."""

    injected: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    operations: dict[str, int] = field(default_factory=dict)
    """How many system calls each one makes."""
    refused: int = 0
    """Operations that raised an engine error; the others succeeded in spite of the fault."""
    foreign: int = 0
    wrong: int = 0
    lost: int = 0
    quarantined: int = 0
    descriptors: int = 0
    files: int = 0
    unusable: int = 0
    problems: list[str] = field(default_factory=list)


def opened(path: Path, **settings: object) -> SqliteEngine:
    bounds = {"maxsize": 4, **settings}
    return SqliteEngine(EngineConfig(path=path, timeout=0.1, options={"durable": True}, **bounds))


def store_when_back(engine: SqliteEngine, value: bytes) -> None:
    """Store an entry, within a second: a store that had no room looks for some ten times a second."""
    until = time.monotonic() + 1
    while True:
        try:
            engine.set("after", (value,))
        except EngineError:
            if time.monotonic() > until:
                raise
        else:
            return


def open_descriptors() -> set[tuple[str, str]]:
    """Return the numbers of the open descriptors, with what they lead to."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing itself
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


def content(blob: object) -> object:
    return blob if blob is MISSING else bytes(getattr(blob, "view", blob))


# Operations: each gets an engine and says which values its keys may have afterwards ------------------------

Allowed = dict[str, tuple[object, ...]]


def get(engine: SqliteEngine) -> Allowed:
    for key, value in BEFORE.items():
        found = content(engine.get(key))
        assert found in {value, MISSING}, f"{key} was {found!r:.40}"
    return {}


def put_small(engine: SqliteEngine) -> Allowed:
    engine.set("small", (NEW_SMALL,))
    return {"small": (NEW_SMALL,)}


def put_large(engine: SqliteEngine) -> Allowed:
    engine.set("large", (NEW_LARGE, NEW_SMALL))
    return {"large": (NEW_LARGE + NEW_SMALL,)}


def put_many(engine: SqliteEngine) -> Allowed:
    engine.set_many([("large", (NEW_LARGE,), None, 1), ("small", (NEW_SMALL,), 9.0, 1)])
    return {"large": (NEW_LARGE,), "small": (NEW_SMALL,)}


def evict(engine: SqliteEngine) -> Allowed:
    engine.set("new", (NEW_LARGE,))
    return {"new": (NEW_LARGE,), "small": (MISSING,)}


def swap(engine: SqliteEngine) -> Allowed:
    swaps = [("large", LARGE, (NEW_LARGE,), None, 1), ("small", LARGE, (NEW_LARGE,), None, 1)]
    assert engine.compare_and_set_many(swaps) == [True, False]
    return {"large": (NEW_LARGE,)}


def delete(engine: SqliteEngine) -> Allowed:
    engine.delete_many(["large", "small"])
    return {"large": (MISSING,), "small": (MISSING,)}


def clear(engine: SqliteEngine) -> Allowed:
    engine.clear()
    return dict.fromkeys(BEFORE, (MISSING,))


def listing(engine: SqliteEngine) -> Allowed:
    assert set(engine.keys()) <= set(BEFORE)
    assert engine.count() in {0, len(BEFORE)}
    return {}


OPERATIONS = (get, put_small, put_large, put_many, evict, swap, delete, clear, listing)


class Run:
    def __init__(self, folder: Path, stride: int) -> None:
        self.folder, self.stride, self.figures = folder, stride, Figures()
        self.template = folder / "template"
        self.path = folder / "store"
        engine = opened(self.template)
        for key, value in BEFORE.items():
            engine.set(key, (value,))
        engine.close()
        for dead in self.template.glob("values-v1/*/*"):
            assert dead.stat().st_size == len(LARGE)

    def go(self) -> Figures:
        began = time.monotonic()
        for operation in OPERATIONS:
            self.each(operation.__name__, lambda engine, do=operation: do(engine), warm=True)
            self.each(f"{operation.__name__}, cold", lambda engine, do=operation: do(engine), warm=False)
        self.each("open", self.reopen, warm=False)
        self.each("open anew", self.reopen, warm=False, fresh=True)
        self.each("open damaged", self.reopen, warm=False, damaged=True)
        self.figures.seconds = round(time.monotonic() - began, 1)
        return self.figures

    @staticmethod
    def reopen(_engine: SqliteEngine) -> Allowed:
        return {}

    def each(self, label: str, work: Callable[[SqliteEngine], Allowed], **how: bool) -> None:
        """Do the operation once undisturbed, then once for every call of it that can fail."""
        self.one(label, work, 0, 1, "EIO", **how)
        for name, (_, kinds) in FAULTS.items():
            total = self.one(label, work, 0, 1, name, **how)
            if kinds == ALL:
                self.figures.operations[label] = total
            first = 1 + sum(map(ord, label)) % self.stride
            for at in range(first, total + 1, self.stride):
                for many in (1, FOR_EVER):
                    self.one(label, work, at, many, name, **how)

    def one(
        self,
        label: str,
        work: Callable[[SqliteEngine], Allowed],
        at: int,
        many: int,
        name: str,
        *,
        warm: bool,
        fresh: bool = False,
        damaged: bool = False,
    ) -> int:
        """Do the operation with one fault, and check what it left; return the number of calls."""
        figures, began = self.figures, time.monotonic()
        shutil.rmtree(self.path, ignore_errors=True)
        if not fresh:
            shutil.copytree(self.template, self.path)
        if damaged:
            next(self.path.glob("index-v1-*")).write_bytes(b"no index" * 512)
        descriptors = open_descriptors()
        what = f"{label}, call {at} {'on' if many == FOR_EVER else 'alone'}, {name}"
        faulthandler.dump_traceback_later(60, exit=True)
        allowed: Allowed = {}
        refused = False
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            engine = None
            try:
                if warm:
                    engine = opened(self.path)
                    get(engine)
                error, kinds = FAULTS[name]
                # SQLite takes a lock that cannot be had for one in use, and waits for it for seconds
                faults.fault_arm(at, many, error, kinds if many == 1 else kinds & ~LOCK)
                try:
                    if engine is None:
                        engine = opened(self.path)
                    allowed = work(engine)
                finally:
                    total = faults.fault_disarm()
            except EngineError:
                refused = True
            except BaseException:
                figures.foreign += 1
                figures.problems.append(f"{what}: {traceback.format_exc()[-1200:]}")
            self.check(what, engine, allowed, refused=refused, empty=fresh or damaged)
            if engine is not None:
                engine.close()
            del engine
        faulthandler.cancel_dump_traceback_later()
        figures.injected += at > 0
        figures.refused += refused
        figures.slowest = max(figures.slowest, round(time.monotonic() - began, 3))
        self.check_traces(
            what, caught, descriptors, damaged=damaged, blind=many == FOR_EVER and name == "EIO"
        )
        return total

    def check_traces(
        self,
        what: str,
        caught: list[warnings.WarningMessage],
        descriptors: set[tuple[str, str]],
        *,
        damaged: bool,
        blind: bool,
    ) -> None:
        """Look at the warnings given and the descriptors left."""
        figures = self.figures
        # while nothing can be read, an index is as good as damaged; it is warned of, and stays where it is
        known = 2 * damaged + blind  # it can take two tries to set an index aside
        aside = list(self.path.glob("*.corrupt-*"))
        if (
            any(w.category is not StoreQuarantinedWarning for w in caught)
            or len(caught) > known
            or len(aside) > damaged
        ):
            figures.quarantined += 1
            figures.problems.append(f"{what}: {[str(w.message) for w in caught]}")
        left = open_descriptors() - descriptors
        if left:
            figures.descriptors += 1
            figures.problems.append(f"{what}: left open {sorted(left)}")

    def check(
        self, what: str, engine: SqliteEngine | None, allowed: Allowed, *, refused: bool, empty: bool
    ) -> None:
        """Look at the store through the same engine and a new one, once the fault is over."""
        figures = self.figures
        try:
            again = opened(self.path)
            for seen in (engine, again):
                for key, old in {**BEFORE, "new": MISSING}.items() if seen is not None else ():
                    found = content(seen.get(key))
                    new = (NEW_SMALL, NEW_LARGE, NEW_LARGE + NEW_SMALL) if refused else allowed.get(key, ())
                    if found is not MISSING and found not in (new if key in allowed else (*new, old)):
                        figures.wrong += 1
                        figures.problems.append(f"{what}: {key} is {found!r:.30}")
                    if found is MISSING and not refused and not empty:
                        expected = allowed.get(key, (old,))
                        if MISSING not in expected:
                            figures.lost += 1
                            figures.problems.append(f"{what}: {key} is lost")
            store_when_back(again, NEW_LARGE)
            if engine is not None:
                store_when_back(engine, LARGE)
            if content(again.get("after")) != (LARGE if engine is not None else NEW_LARGE):
                figures.unusable += 1
                figures.problems.append(f"{what}: does not keep what is stored")
            self.check_files(what, again)
            again.close()
        except EngineError as error:
            figures.unusable += 1
            figures.problems.append(f"{what}: afterwards {error} {traceback.format_exc()[-900:]}")

    def check_files(self, what: str, engine: SqliteEngine) -> None:
        store = engine._store
        assert store is not None
        named = [file for (file,) in store.link().connection.execute("SELECT file FROM entries") if file]  # type: ignore[union-attr]
        there = [os.fsencode(file.name) for file in self.path.glob("values-v1/*/*")]
        drafts = [file.name for file in self.path.glob("draft-*")]
        # what an index that was set aside refers to stays for a while, for it may be another process's
        aside = 2 * len(list(self.path.glob("*.corrupt-????????T??????Z")))
        if len(there) > len(named) + aside or drafts:
            self.figures.files += 1
            self.figures.problems.append(f"{what}: {len(there)} files of {len(named)} rows, {drafts}")


if __name__ == "__main__":
    logging.disable()
    store_module.OPENING_SECONDS = 0.1  # a lock that can never be had is waited for as long as one in use
    found = Run(Path(sys.argv[1]), int(sys.argv[2])).go()
    found.problems = [
        *found.problems[:20],
        *([f"and {len(found.problems) - 20} more"] * (len(found.problems) > 20)),
    ]
    print(json.dumps(asdict(found)))

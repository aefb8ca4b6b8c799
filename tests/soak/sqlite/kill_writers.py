"""Four writers of one store are killed over and over, and every promise is checked after each kill.

Run as ``python kill_writers.py DIRECTORY KILLS SEED``; prints one line of JSON, see :class:`Figures`.

A writer tells over a pipe what it is about to do and what was acknowledged, so that what it must have
left behind is known exactly: of every key the acknowledged state, or that of the one batch under way.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sqlite3
import struct
import sys
import time
import warnings
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cachewright.builtin.sqlite.engine import SqliteEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING

WRITERS = 4
KEYS = 16
BOUND = 12
RECORD = struct.Struct("<cBI")
"""What (intended, acknowledged, counted), of which key, and its new number: 0 for removed."""


@dataclass
class Figures:
    """What happened; all but the first five must be 0, the strays at most as many as writers."""

    kills: int = 0
    opened: int = 0
    acknowledged: int = 0
    reads: int = 0
    seconds: float = 0.0
    in_flight_kept: int = 0
    corrupt: int = 0
    lost: int = 0
    most_strays: int = 0
    warnings: int = 0
    problems: list[str] = field(default_factory=list)


def opened(path: Path, namespace: str = "own", **settings: object) -> SqliteEngine:
    return SqliteEngine(EngineConfig(path=path, namespace=namespace, timeout=20.0, **settings))


def name(slot: int, key: int) -> str:
    return f"{slot:02x}{key:02x}"


def content(slot: int, key: int, number: int) -> bytes:
    """The value with that number: small ones live in the index, large ones in files."""
    head = f"{slot}:{key}:{number};".encode()
    return head * (1 if number % 3 else 6000 + number % 7 * 500)


def number_of(blob: object, slot: int, key: int) -> int:
    """Return the number of a stored value, 0 for none, -1 for one that nobody ever wrote."""
    if blob is MISSING:
        return 0
    data = bytes(getattr(blob, "view", blob))
    number = int(data[: data.index(b";")].rpartition(b":")[2] or -1) if b";" in data else -1
    return number if data == content(slot, key, number) else -1


class Writer:
    """A process that writes to the keys of its slot until it is killed, as its parent sees it."""

    def __init__(self, path: Path, slot: int, state: list[int], seed: int) -> None:
        self.slot, self.state = slot, state
        self.intended: dict[int, int] = {}
        self.acknowledged = self.counted = self.counting = 0
        self.partial = b""
        self.pipe, end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            write(path, slot, list(state), random.Random(seed), end)
        os.close(end)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        while self.read():
            pass
        os.close(self.pipe)

    def read(self) -> bool:
        """Take in what the writer said; return whether there can be more."""
        data = os.read(self.pipe, 1 << 16)
        whole = self.partial + data
        end = len(whole) - len(whole) % RECORD.size
        self.partial = whole[end:]
        for what, key, number in RECORD.iter_unpack(whole[:end]):
            if what == b"I":
                self.intended[key] = number
            elif what == b"A":
                self.state[key] = self.intended.pop(key)
                self.acknowledged += 1
            elif what == b"C":
                self.counting = 1
            else:
                self.counting = 0
                self.counted += 1
        return bool(data)


def write(path: Path, slot: int, state: list[int], rng: random.Random, pipe: int) -> None:
    """Write in every way there is, for ever; never returns."""
    try:
        engine, bounded = opened(path), opened(path, "bounded", maxsize=BOUND)
        number = max(state) + 1000  # beyond everything an earlier writer can have had in mind
        while True:
            batch = rng.sample(range(KEYS), rng.choice([1, 1, 1, 5]))
            goals = {}
            for key in batch:
                number += 1
                goals[key] = number
            way = rng.choice(["set", "set", "swap", "delete"])
            if way == "delete":
                goals = dict.fromkeys(batch, 0)
            os.write(pipe, b"".join(RECORD.pack(b"I", *goal) for goal in goals.items()))
            change(engine, slot, goals, way)
            os.write(pipe, b"".join(RECORD.pack(b"A", *goal) for goal in goals.items()))
            bounded.set(name(rng.randrange(9), rng.randrange(9)), (b"b" * rng.choice([9, 60_000]),))
            if rng.random() < 0.2:
                os.write(pipe, RECORD.pack(b"C", 0, 0))
                count(engine)
                os.write(pipe, RECORD.pack(b"D", 0, 0))
    except BaseException as error:  # the parent reads the exit code
        os.write(2, f"writer {slot}: {error!r}\n".encode())
    finally:
        os._exit(1)


def change(engine: SqliteEngine, slot: int, goals: dict[int, int], way: str) -> None:
    names = {key: name(slot, key) for key in goals}
    values = {key: (content(slot, key, number),) for key, number in goals.items()}
    if way == "delete":
        engine.delete_many(names.values())
    elif way == "set":
        engine.set_many((names[key], values[key], None, 1) for key in goals)
    else:
        swaps = [(names[key], engine.get(names[key]), values[key], None, 1) for key in goals]
        assert all(engine.compare_and_set_many(swaps)), "a swap failed that nobody disturbed"


def count(engine: SqliteEngine) -> None:
    while True:
        old = engine.get("c0")
        new = b"%d" % (1 + (0 if old is MISSING else int(old)))
        if engine.compare_and_set("c0", old, (new,)):
            return


def read_for_ever(path: Path, pipe: int) -> None:
    """Read every key, for ever; says so when a value is wrong or anything is raised. Never returns."""
    try:
        engine = opened(path)
        while True:
            for slot in range(WRITERS):
                for key in range(KEYS):
                    assert number_of(engine.get(name(slot, key)), slot, key) >= 0, "a wrong value"
            os.write(pipe, b".")
    except BaseException as error:
        os.write(pipe, repr(error).encode())
    finally:
        os._exit(1)


class Run:
    """The whole experiment."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.rng, self.figures = path, random.Random(seed), Figures()
        self.state = [[0] * KEYS for _ in range(WRITERS)]
        self.counted = self.uncertain = 0

    def go(self, kills: int) -> Figures:
        started, figures = time.monotonic(), self.figures
        opened(self.path).close()
        reading, end = os.pipe()
        reader = os.fork()
        if reader == 0:
            read_for_ever(self.path, end)
        os.close(end)
        writers = [self.start(slot) for slot in range(WRITERS)]
        while figures.kills < kills and not figures.problems:
            self.watch(writers)
            everybody = self.rng.random() < 0.1
            victims = writers if everybody else [self.rng.choice(writers)]
            for victim in victims:
                victim.kill()
                figures.kills += 1
            self.check(victims, alone=everybody)
            for victim in victims:
                writers[victim.slot] = self.start(victim.slot)
        for writer in writers:
            writer.kill()
            figures.kills += 1
        os.kill(reader, signal.SIGKILL)
        os.waitpid(reader, 0)
        self.check(writers, alone=True)
        said = b""
        while data := os.read(reading, 1 << 16):
            said += data
        figures.reads = said.count(b".") * WRITERS * KEYS
        if said.strip(b"."):
            figures.problems.append(f"reader: {said.strip(b'.').decode()}")
        figures.seconds = round(time.monotonic() - started, 1)
        return figures

    def start(self, slot: int) -> Writer:
        return Writer(self.path, slot, self.state[slot], self.rng.randrange(1 << 32))

    def watch(self, writers: list[Writer]) -> None:
        """Let them work for a random time, and take in what they say."""
        until = time.monotonic() + self.rng.choice([0.001, 0.01, 0.03]) * self.rng.random()
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([writer.pipe for writer in writers], [], [], left)
            for writer in writers:
                if writer.pipe in ready and not writer.read():
                    self.figures.problems.append(f"writer {writer.slot} ended by itself")
                    return

    def check(self, dead: list[Writer], *, alone: bool) -> None:
        """Open the store and compare it with what the dead writers said."""
        figures = self.figures
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            engine = opened(self.path)
            figures.opened += 1
            for writer in dead:
                self.compare(engine, writer)
            total = engine.get("c0")
            counter = 0 if total is MISSING else int(total)
            if counter < self.counted or (alone and counter > self.counted + self.uncertain):
                figures.problems.append(f"{counter} counted, {self.counted} acknowledged")
            if alone:
                self.inspect(engine)
            engine.close()
        figures.warnings += len(caught)
        figures.problems += [str(warning.message) for warning in caught]

    def compare(self, engine: SqliteEngine, writer: Writer) -> None:
        figures = self.figures
        figures.acknowledged += writer.acknowledged
        self.counted += writer.counted
        self.uncertain += writer.counting
        for key in range(KEYS):
            found = number_of(engine.get(name(writer.slot, key)), writer.slot, key)
            if found == writer.intended.get(key, -2) and found != writer.state[key]:
                figures.in_flight_kept += 1
                writer.state[key] = found
            elif found < 0:
                figures.corrupt += 1
            elif found != writer.state[key]:
                figures.lost += 1
                figures.problems.append(f"{writer.slot}:{key} is {found}, not {writer.state[key]}")

    def inspect(self, engine: SqliteEngine) -> None:
        """Look at the files, while no writer runs."""
        figures = self.figures
        bounded = opened(self.path, "bounded", maxsize=BOUND)
        if not bounded.count() == len(list(bounded.keys())) <= BOUND:
            figures.problems.append(f"{bounded.count()} entries within a bound of {BOUND}")
        bounded.close()
        (index,) = self.path.glob("index-v1-????????.sqlite3")
        with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                figures.corrupt += 1
            named = {file.decode() for (file,) in connection.execute("SELECT file FROM entries") if file}
        there = {file.name for file in self.path.glob("values-v1/*/*")}
        drafts = list(self.path.glob("draft-*"))
        if named - there:
            figures.problems.append(f"{len(named - there)} rows without their files")
        figures.most_strays = max(figures.most_strays, len(there - named) + len(drafts))
        figures.corrupt += len(list(self.path.glob("*.corrupt-*")))


if __name__ == "__main__":
    print(json.dumps(asdict(Run(Path(sys.argv[1]), int(sys.argv[3])).go(int(sys.argv[2])))))

"""A damaged database is set aside with one warning, with its value files, and made anew."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
import time
import warnings
from contextlib import closing
from pathlib import Path

import pytest
from cachewright_diskcache.engine import DiskcacheEngine, FanoutEngine

from cachewright.entry import MISSING
from cachewright.errors import EngineUnavailableError, StoreQuarantinedWarning

GOLDEN = Path(__file__).parent / "golden" / "format-1.tar.gz"
ENTRIES = 60


def value(number: int) -> bytes:
    return b"%d;" % number * (1 if number % 5 else 20_000)


def fill(open_engine, kind: type[DiskcacheEngine] = DiskcacheEngine, **options: object) -> None:
    engine = open_engine(kind, options=options)
    engine.set_many((f"{number:x}", (value(number),), None, 1) for number in range(ENTRIES))
    engine.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:100],
        lambda data: bytes(len(data)),
        lambda data: bytes(4096) + data[4096:],
        lambda data: data[:4096] + os.urandom(len(data) - 4096),
        lambda data: os.urandom(len(data)),
    ],
)
def test_a_damaged_database_is_set_aside_quickly(open_engine, tmp_path, spoil):
    """Whatever was overwritten or cut off: one warning, an empty store at once, the old files kept."""
    fill(open_engine)
    file = tmp_path / "store" / "cache.db"
    spoiled = spoil(file.read_bytes())
    file.write_bytes(spoiled)
    began = time.perf_counter()
    engine = open_engine()
    with pytest.warns(StoreQuarantinedWarning, match="was damaged") as record:
        assert engine.get("1") is MISSING
        assert engine.set("1", (b"new",))
    assert time.perf_counter() - began < 1
    assert len(record) == 1
    assert engine.get("1") == b"new"
    (aside,) = (tmp_path / "store").glob("cache.db.corrupt-*")
    assert (aside / "cache.db").read_bytes()[:100] == spoiled[:100]
    assert len(list(aside.rglob("*.val"))) == ENTRIES // 5
    engine.close()
    assert open_engine().get("1") == b"new"


def test_one_damaged_shard_leaves_the_others(open_engine, tmp_path):
    """Of a fan-out only the damaged database is made anew."""
    fill(open_engine, FanoutEngine, shards=3)
    (tmp_path / "store" / "001" / "cache.db").write_bytes(b"damaged" * 1000)
    engine = open_engine(FanoutEngine, options={"shards": 3})
    with pytest.warns(StoreQuarantinedWarning, match="001"):
        left = engine.count()
    assert 0 < left < ENTRIES
    assert len(engine.get_many(f"{number:x}" for number in range(ENTRIES))) == left


def test_a_directory_in_place_of_the_database(open_engine, tmp_path):
    """Something that is no file at all is set aside like any other damage."""
    (tmp_path / "store" / "cache.db" / "sub").mkdir(parents=True, mode=0o700)
    (tmp_path / "store").chmod(0o700)
    engine = open_engine()
    with pytest.warns(StoreQuarantinedWarning):
        assert engine.set("k", (b"v",))
    assert engine.get("k") == b"v"


SCRIPT = """
import json, random, shutil, warnings
from cachewright.errors import StoreQuarantinedWarning
def value(number):
    return b"%d;" % number * (1 if number % 5 else 20_000)
source, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng, figures = random.Random(seed), {"right": 0, "missing": 0, "other": 0, "warned": 0, "failed": 0}
original = (source / "cache.db").read_bytes()
pages = len(original) // 4096
for round_ in range(rounds):
    data = bytearray(original)
    for _ in range(rng.choice([1, 1, 4, 64])):
        at = rng.choice([rng.randrange(len(data)), 4096 * rng.randrange(pages) + rng.randrange(64)])
        data[at] ^= 1 << rng.randrange(8)
    if rng.random() < 0.3:
        at = rng.randrange(pages) * 4096
        other = original[4096 * (pages // 2) :][:4096]
        data[at : at + 4096] = rng.choice([bytes(4096), rng.randbytes(4096), other])
    target = source.with_name(f"damaged{round_}")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("cache.db*"))
    target.chmod(0o700)
    (target / "cache.db").write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine = opened(path=target)
        for number in range(60):
            found = content(engine.get(f"{number:x}"))
            figures["right" if found == value(number) else "missing" if found is MISSING else "other"] += 1
        for operation in (
            lambda: engine.set("new", (b"n" * 9000,), ttl=9) and engine.get("new") == b"n" * 9000,
            lambda: engine.compare_and_set("0", engine.get("0"), (b"1",)),
            lambda: engine.count() > 0 and len(list(engine.keys())) > 0,
            lambda: engine.delete("new"),
            lambda: engine.clear() is None and engine.count() == 0,
        ):
            try:
                assert operation() in (True, False)
            except EngineError:
                figures["failed"] += 1
        engine.close()
    assert [w.category for w in caught] in ([], [StoreQuarantinedWarning]), [str(w) for w in caught]
    figures["warned"] += len(caught)
    shutil.rmtree(target)
print(json.dumps(figures))
"""


@pytest.mark.parametrize(
    "rounds", [20, pytest.param(150, marks=pytest.mark.slow), pytest.param(3000, marks=pytest.mark.soak)]
)
def test_flipped_bits_raise_nothing_but_engine_errors(open_engine, run, tmp_path, rounds):
    """With bits flipped and pages replaced at random: a value, a miss, an engine error; one warning at most.

    A value whose own bytes were changed comes back changed: cachewright's seal finds that, not the engine.
    """
    fill(open_engine)
    figures = json.loads(run(SCRIPT, tmp_path / "store", rounds, rounds))
    assert figures["warned"] > 0
    assert figures["right"] > rounds
    assert figures["other"] < rounds
    assert figures["failed"] == 0


def test_damage_that_shows_while_the_store_is_open(open_engine, tmp_path):
    """A database that is overwritten while it is open is set aside as soon as SQLite notices."""
    engine = open_engine()
    for number in range(ENTRIES):
        engine.set(f"{number:x}", (value(number),))
    engine._store.shards[0]._cache.close()  # with what it remembers of the file; the next use connects again
    with (tmp_path / "store" / "cache.db").open("r+b") as stream:
        stream.write(b"\xff" * 50_000)
    with pytest.warns(StoreQuarantinedWarning) as record:
        for number in range(ENTRIES):
            engine.set(f"{number:x}", (b"new",))
    assert len(record) == 1
    assert engine.get("1") == b"new"


def test_one_set_of_quarantined_files_is_kept(open_engine, tmp_path):
    """What was set aside before is removed when that happens again: it may be as large as the store."""
    for _ in range(3):
        fill(open_engine)
        (tmp_path / "store" / "cache.db").write_bytes(b"damaged" * 1000)
        engine = open_engine()
        with pytest.warns(StoreQuarantinedWarning):
            engine.get("k")
        engine.close()
    assert len(list((tmp_path / "store").glob("*.corrupt-*"))) == 1


def test_a_damaged_database_that_cannot_be_set_aside(open_engine, mounted, tmp_path):
    """On a read-only file system every use is an error, and nothing is changed."""
    fill(open_engine)
    file = tmp_path / "store" / "cache.db"
    file.write_bytes(b"damaged" * 1000)
    mounted("--bind", str(tmp_path / "store"), str(tmp_path / "store"))
    mounted("-o", "remount,bind,ro", str(tmp_path / "store"))
    engine = open_engine()
    for _ in range(2):
        with pytest.raises(EngineUnavailableError, match="file is not a database"):
            engine.get("k")
    assert file.read_bytes() == b"damaged" * 1000


def test_format_1_is_read_for_ever(open_engine, content, tmp_path):
    """A store written by the first release is read, and written, by this one."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path, filter="data")
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    (tmp_path / "format-1").rename(tmp_path / "store")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine, other = open_engine(namespace="golden"), open_engine(namespace="g\0aside")
        found = engine.get_many(["a" * 300, "b", "c", "d"])
        assert {key: content(blob) for key, blob in found.items()} == {
            "a" * 300: b"long key",
            "b": b"",
            "c": bytes(range(256)) * 400,
        }
        assert sorted(engine.keys()) == ["a" * 300, "b", "c"]
        assert other.get("b") == b"token"
        assert engine.set("e", (b"1",))
        assert engine.count() == 4
    with closing(sqlite3.connect(tmp_path / "store" / "cache.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

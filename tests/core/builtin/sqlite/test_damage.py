"""Whatever happens to the files: a miss, a warning, a new store; never an exception."""

from __future__ import annotations

import random
import shutil
import sqlite3
import warnings
from pathlib import Path

import pytest

from cachewright.builtin.sqlite.engine import SqliteEngine
from cachewright.engine import EngineConfig, MappedBlob
from cachewright.entry import MISSING
from cachewright.errors import StoreQuarantinedWarning


@pytest.fixture
def filled(tmp_path):
    """A closed store with small and large entries."""
    path = tmp_path / "filled"
    engine = SqliteEngine(EngineConfig(path=path, maxsize=1000, options={"file_size": 2000}))
    for i in range(60):
        engine.set(f"k{i}", (bytes([i]) * (50 * i + 1),), ttl=1e6, size=50 * i + 1)
    engine.close()
    return path


def use(path: Path) -> int:
    """Do a bit of everything with a damaged store; return how many values were found."""
    engine = SqliteEngine(
        EngineConfig(path=path, maxsize=1000, max_bytes=100_000, options={"file_size": 2000})
    )
    try:
        found = 0
        for i in range(60):
            blob = engine.get(f"k{i}")
            found += blob is not MISSING
            if isinstance(blob, MappedBlob):
                bytes(blob.view)
        for i in range(10):
            assert engine.set(f"k{i}", (b"n" * 3000,), size=3000)
            blob = engine.get(f"k{i}")  # a miss if this read is what finds the damage
            assert blob is MISSING or bytes(getattr(blob, "view", blob)) == b"n" * 3000
        assert all(isinstance(key, str) for key in engine.keys())
        assert engine.count() >= 0
        engine.delete_many([f"k{i}" for i in range(30)])
        engine.compare_and_set("k40", engine.get("k40"), (b"x",))
        engine.clear()
        assert engine.get("k40") is MISSING
        engine.set("k", (b"1",))
        assert engine.get("k") == b"1"
    finally:
        engine.close()
    return found


def spoil(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content) or 1)
    way = rng.choice(["flip", "flip", "truncate", "zero page", "garbage", "shift", "empty"])
    if way == "flip":
        for _ in range(rng.choice([1, 8, 64])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif way == "truncate":
        del content[at:]
    elif way == "zero page":
        content[at : at + 4096] = bytes(len(content[at : at + 4096]))
    elif way == "garbage":
        content[at : at + 512] = rng.randbytes(len(content[at : at + 512]))
    elif way == "shift":
        content[at:at] = b"\0" * 17
    else:
        content.clear()
    path.write_bytes(content)


def test_a_row_out_of_order_brings_no_old_value_back(filled):
    """Whatever the tree of the index is like, a value that was replaced or removed is not seen again."""
    index = next(filled.glob("index-v1-*.sqlite3"))
    content, rng = index.read_bytes(), random.Random(7)
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(64):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StoreQuarantinedWarning)
            shutil.rmtree(filled)
            SqliteEngine(EngineConfig(path=filled)).close()
            next(filled.glob("index-v1-*.sqlite3")).write_bytes(damaged)
            engine = SqliteEngine(EngineConfig(path=filled))
            for i in range(60):
                engine.set(f"k{i}", (b"new",))
                assert engine.get(f"k{i}") in (b"new", MISSING)
                engine.delete(f"k{i}")
                assert engine.get(f"k{i}") is MISSING
            engine.close()


@pytest.mark.parametrize("seed", range(6))
def test_damaged_stores(filled, tmp_path, seed):
    """Flips, cuts, zeroes and garbage in index and values: no exception, and the store works after."""
    rng = random.Random(seed)
    for number in range(50):
        path = tmp_path / f"copy{number}"
        shutil.copytree(filled, path)
        files = sorted(
            p for p in path.rglob("*") if (p.is_file() and p.suffix == ".sqlite3") or len(p.name) > 40
        )
        index = [p for p in files if p.suffix == ".sqlite3"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StoreQuarantinedWarning)
            for victim in index if number % 2 else rng.sample(files, 3):
                spoil(victim, rng)
            use(path)
        shutil.rmtree(path)


def header(path):
    path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:])


def empty(path):
    path.write_bytes(b"")


def foreign(path):
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.commit()
    connection.close()


def folder(path):
    path.unlink()
    path.mkdir()


def trigger(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM spaces; END")
    connection.commit()
    connection.close()


def later_format(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()


@pytest.mark.parametrize("damage", [header, empty, foreign, folder, trigger, later_format])
def test_an_unusable_index_is_set_aside(filled, damage):
    """It is kept under another name, one warning says so, and the store starts empty."""
    index = next(filled.glob("index-v1-*.sqlite3"))
    damage(index)
    with pytest.warns(StoreQuarantinedWarning) as record:
        assert use(filled) == 0
    assert len(record) == 1
    assert len(list(filled.glob("index-v1-*.sqlite3.corrupt-*"))) == 1


def test_damage_while_open(filled):
    """An index that is destroyed under an open connection is replaced in mid-operation."""
    engine = SqliteEngine(EngineConfig(path=filled))
    index = next(filled.glob("index-v1-*.sqlite3"))
    size = index.stat().st_size
    with index.open("r+b") as file:
        file.write(b"\xa5" * size)
    with pytest.warns(StoreQuarantinedWarning):
        results = [engine.get(f"k{i}") for i in range(60)]
        assert engine.set("k", (b"1",))
    assert MISSING in results
    assert engine.get("k") == b"1"
    engine.close()


def test_quarantined_indexes_are_few(filled):
    """A disk that damages one index after the other does not fill up with them."""
    for _ in range(6):
        empty(next(filled.glob("index-v1-*.sqlite3")))
        with pytest.warns(StoreQuarantinedWarning):
            SqliteEngine(EngineConfig(path=filled)).close()
    assert len(list(filled.glob("*.corrupt-*"))) == 3


def test_other_formats_are_left_alone(filled):
    """An index of another format and its values stay as they are."""
    later = filled / "index-v2-00000000.sqlite3"
    later.write_bytes(b"later")
    use(filled)
    assert later.read_bytes() == b"later"


def test_a_value_file_that_is_none(filled):
    """A folder, a pipe or nothing in the place of a value file is a miss."""
    import os

    engine = SqliteEngine(EngineConfig(path=filled))
    files = sorted(filled.glob("values-v1/*/*"))
    for path, make in zip(
        files, [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")], strict=False
    ):
        path.unlink()
        make(path)
    assert sum(engine.get(f"k{i}") is MISSING for i in range(60)) == 3
    engine.close()


def test_a_hostile_file_name_in_a_row(filled, tmp_path):
    """A row can name no file outside the folder of values, neither to read nor to remove."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    connection = sqlite3.connect(next(filled.glob("index-v1-*.sqlite3")))
    connection.execute("UPDATE entries SET body = NULL, file = ?", (b"../../../" + b"secret",))
    connection.execute("UPDATE entries SET body = NULL, file = ? WHERE rank % 2", (str(secret).encode(),))
    connection.commit()
    connection.close()
    engine = SqliteEngine(EngineConfig(path=filled))
    assert all(engine.get(f"k{i}") is MISSING for i in range(60))
    engine.clear()
    engine.close()
    assert secret.read_bytes() == b"secret"

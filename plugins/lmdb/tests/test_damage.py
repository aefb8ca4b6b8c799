"""A damaged file is found before LMDB trusts it, set aside with one warning, and made anew."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import time
import warnings
from pathlib import Path
from struct import unpack_from

import lmdb
import pytest
from cachewright_lmdb.environment import CHECKED
from cachewright_lmdb.place import DATA, LOCK
from cachewright_lmdb.quarantine import KEPT, damage_of

from cachewright.entry import MISSING
from cachewright.errors import EngineUnavailableError, StoreQuarantinedWarning

GOLDEN = Path(__file__).parent / "golden" / "format-1.tar.gz"
ENTRIES = 60


def content(number: int) -> bytes:
    return b"%d;" % number * (1 if number % 5 else 3000)


def fill(open_engine) -> None:
    engine = open_engine()
    for number in range(ENTRIES):
        engine.set(f"{number:x}", (content(number),), ttl=1e6 if number % 2 else None)
    engine.close()


def damage(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))  # the clock of a file system ticks slowly


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096],
        lambda data: data[:100],
        lambda data: b"x",
        lambda data: bytes(len(data)),
        lambda data: bytes(8192) + data[8192:],
        lambda data: data[:8192] + bytes(8192) + data[16384:],
        lambda data: os.urandom(len(data)),
        lambda data: b"SQLite format 3\x00" + data[16:],
        lambda data: data[:24] + b"\xff" * 120 + data[144:],
        # both heads of the file announce several values per key: LMDB would look for them, and abort
        lambda data: (
            data[:44] + bytes([data[44] ^ 4]) + data[45:4140] + bytes([data[4140] ^ 4]) + data[4141:]
        ),
    ],
)
def test_a_damaged_file_is_set_aside_quickly(open_engine, tmp_path, spoil):
    """Whatever was overwritten or cut off: one warning, an empty store within 250 ms, the old file kept."""
    fill(open_engine)
    file = tmp_path / "store" / DATA
    spoiled = spoil(file.read_bytes())
    damage(file, spoiled)
    began = time.perf_counter()
    engine = open_engine()
    with pytest.warns(StoreQuarantinedWarning, match="was damaged") as record:
        assert engine.get("1") is MISSING
    assert time.perf_counter() - began < 0.25
    assert len(record) == 1
    assert engine.set("1", (b"new",))
    assert bytes(engine.get("1")) == b"new"
    (kept,) = (tmp_path / "store").glob(f"{DATA}.corrupt-*")
    assert kept.read_bytes() == spoiled
    engine.close()
    assert bytes(open_engine().get("1")) == b"new"


def test_an_empty_file_is_a_new_store(open_engine, tmp_path):
    """A process that was killed when it had just made the file leaves nothing to complain about."""
    (tmp_path / "store").mkdir(mode=0o700)
    (tmp_path / "store" / DATA).touch(mode=0o600)
    engine = open_engine()
    assert engine.get("k") is MISSING
    assert engine.set("k", (b"v",))


SCRIPT = """
import random, shutil, warnings
from cachewright.errors import StoreQuarantinedWarning
def value(number):
    return b"%d;" % number * (1 if number % 5 else 3000)
source, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng, figures = random.Random(seed), {"right": 0, "missing": 0, "other": 0, "warned": 0}
original = (source / "entries-v1.lmdb").read_bytes()
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
    target.mkdir(mode=0o700)
    (target / "entries-v1.lmdb").write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine = LmdbEngine(EngineConfig(path=target))
        for number in range(60):
            found = content(engine.get(f"{number:x}"))
            figures["right" if found == value(number) else "missing" if found is MISSING else "other"] += 1
        assert engine.set("new", (b"n" * 9000,), ttl=9) and content(engine.get("new")) == b"n" * 9000
        assert len(list(engine.keys())) == engine.count() > 0
        assert engine.delete("new")
        engine.clear()
        assert engine.count() == 0
        engine.close()
    assert all(w.category is StoreQuarantinedWarning for w in caught) and len(caught) <= 1, caught
    figures["warned"] += len(caught)
    shutil.rmtree(target)
import json
print(json.dumps(figures))
"""


@pytest.mark.parametrize(
    "rounds", [30, pytest.param(300, marks=pytest.mark.slow), pytest.param(4000, marks=pytest.mark.soak)]
)
def test_flipped_bits_end_no_process(open_engine, run, tmp_path, rounds):
    """With bits flipped and pages replaced at random, every operation works and no process dies.

    A value whose own bytes were changed comes back changed: cachewright's seal finds that, not the engine.
    """
    fill(open_engine)
    figures = json.loads(run(SCRIPT, tmp_path / "store", rounds, rounds))
    assert figures["warned"] > rounds // 4
    assert figures["right"] > 0
    assert figures["other"] < figures["right"]


@pytest.mark.parametrize("bit", [1, 4])
def test_a_node_that_does_not_fit_its_page_is_found(open_engine, tmp_path, bit):
    """One flipped bit in the size of any node is found, be it the only thing that is wrong with the file."""
    engine = open_engine()
    engine.set_many((f"{number:x}", (b"v" * 50,), None, 1) for number in range(400))
    engine.delete_many(f"{number:x}" for number in range(0, 400, 3))
    engine.close()
    with lmdb.open(str(tmp_path / "store" / DATA), subdir=False) as environment:
        environment.copy(str(tmp_path / "compact"), compact=True)  # without pages that nobody would look at
    file = tmp_path / "compact"
    data = file.read_bytes()
    assert damage_of(str(file)) == ""
    found, missed = 0, []
    for page in range(2, len(data) // 4096):
        at = page * 4096
        flags, lower = unpack_from("=HH", data, at + 10)
        if flags != 2:
            continue
        for node in unpack_from(f"={(lower - 16) // 2}H", data, at + 16)[::9]:
            spoiled = bytearray(data)
            spoiled[at + node] ^= 1 << bit
            file.write_bytes(spoiled)
            found += 1
            if not damage_of(str(file)):
                missed.append((page, node))
    assert missed == []
    assert found > 30


def test_damage_that_shows_while_the_store_is_open(open_engine, tmp_path):
    """A file that is overwritten while it is open is set aside as soon as LMDB notices."""
    engine = open_engine()
    for number in range(ENTRIES):
        engine.set(f"{number:x}", (content(number),))
    file = tmp_path / "store" / DATA
    size = file.stat().st_size
    with file.open("r+b") as stream:
        for page in range(2, size // 4096):
            stream.seek(page * 4096 + 8)
            stream.write(b"\xff" * 8)
    with pytest.warns(StoreQuarantinedWarning) as record:
        assert [engine.get(f"{number:x}") for number in range(ENTRIES)] == [MISSING] * ENTRIES
    assert len(record) == 1
    assert engine.set("k", (b"v",))


def test_another_process_follows_when_a_file_is_set_aside(open_engine, start, tmp_path):
    """Once one process has set the file aside, others write to the new one, never to the old."""
    engine = open_engine()
    engine.set("k", (b"v",))
    script = """
import warnings
warnings.simplefilter("ignore")
from cachewright_lmdb.failure import DamagedStoreError
def fail(txn):
    if (Path(sys.argv[1]) / "entries-v1.lmdb").stat().st_ino == before:
        raise DamagedStoreError("on purpose")
engine = opened()
engine.get("k")
before = (Path(sys.argv[1]) / "entries-v1.lmdb").stat().st_ino
engine._store.read("fail", fail, 5.0)
engine.set("theirs", (b"t",))
print("done", flush=True)
sys.stdin.readline()
print(content(engine.get("ours")), flush=True)
"""
    other = start(script, tmp_path / "store")
    assert other.stdout.readline() == "done\n"
    assert engine.set("ours", (b"o",))
    assert sorted(engine.keys()) == ["ours", "theirs"]
    other.stdin.write("\n")
    other.stdin.flush()
    assert other.stdout.readline() == "b'o'\n"


def test_few_quarantined_files_are_kept(open_engine, tmp_path):
    """A disk that damages one file after the other does not fill up with them."""
    for _ in range(KEPT + 2):
        fill(open_engine)
        damage(tmp_path / "store" / DATA, b"damaged" * 1000)
        with pytest.warns(StoreQuarantinedWarning):
            open_engine().get("k")
    assert len(list((tmp_path / "store").glob("*.corrupt-*"))) == KEPT


def test_a_damaged_file_that_cannot_be_set_aside(open_engine, mounted, tmp_path):
    """On a read-only file system every use says what is wrong and what to do, and nothing is changed."""
    fill(open_engine)
    file = tmp_path / "store" / DATA
    damage(file, b"damaged" * 1000)
    mounted("--bind", str(tmp_path / "store"), str(tmp_path / "store"))
    mounted("-o", "remount,bind,ro", str(tmp_path / "store"))
    engine = open_engine()
    for _ in range(2):
        with pytest.raises(EngineUnavailableError, match=r"damaged.*cannot be renamed; remove it"):
            engine.get("k")
    assert file.read_bytes() == b"damaged" * 1000


def test_a_file_closed_in_order_is_not_checked_again(open_engine, tmp_path, monkeypatch):
    """Checking takes time, so it is left out where the last process closed the file and nobody touched it."""
    looked = []
    monkeypatch.setattr(
        "cachewright_lmdb.environment.damage_of", lambda path: looked.append(path) or damage_of(path)
    )
    fill(open_engine)
    engine = open_engine()
    assert bytes(engine.get("1")) == content(1)
    assert looked == []
    beside = open_engine(namespace="beside")
    beside.get("1")
    beside.close()
    engine.close()
    os.utime(tmp_path / "store" / DATA)
    assert bytes(open_engine().get("1")) == content(1)
    assert len(looked) == 1


def test_after_a_crash_of_the_system_a_file_of_any_size_is_checked(open_engine, run, tmp_path, monkeypatch):
    """A file that a killed process left is checked if it is small; one that a crashed system left, always."""
    script = """
engine = opened()
for number in range(30):
    engine.set(f"{number:x}", (bytes(1_000_000),))
os._exit(0)
"""
    run(script, tmp_path / "store")
    assert (tmp_path / "store" / DATA).stat().st_size > CHECKED
    looked = []
    monkeypatch.setattr("cachewright_lmdb.environment.damage_of", lambda path: looked.append(path) or "")
    engine = open_engine()
    assert len(bytes(engine.get("1"))) == 1_000_000
    assert looked == []
    engine.close()
    run(script, tmp_path / "store")
    users = tmp_path / "store" / "entries-v1.users"
    assert users.read_bytes().startswith(b"open ")
    users.write_bytes(b"open 00000000-0000-0000-0000-000000000000")
    assert len(bytes(open_engine().get("1"))) == 1_000_000
    assert len(looked) == 1


def test_format_1_is_read_for_ever(open_engine, tmp_path):
    """A store written by the first release is read, and written, by this one."""
    if sys.byteorder != "little" or sys.maxsize < 1 << 32:
        pytest.skip("an LMDB file belongs to one kind of processor")
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path, filter="data")
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    (tmp_path / "format-1").rename(tmp_path / "store")
    (tmp_path / "store").chmod(0o700)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine, other = open_engine(namespace="golden", maxsize=4), open_engine(namespace="g\0aside")
        assert {key: bytes(blob) for key, blob in engine.get_many(["a" * 300, "b", "c", "d"]).items()} == {
            "a" * 300: b"long key",
            "b": b"",
            "c": bytes(range(256)) * 40,
        }
        assert sorted(engine.keys()) == ["a" * 300, "b", "c"]
        assert bytes(other.get("b")) == b"token"
        assert engine.set("e", (b"1",))
        assert engine.set("f", (b"2",))
        assert engine.count() == 4


def test_the_lock_file_has_no_holes(open_engine, tmp_path):
    """LMDB writes to the lock file through memory, where a full disk would kill the process."""
    open_engine().set("k", (b"v",))
    status = (tmp_path / "store" / LOCK).stat()
    assert status.st_blocks * 512 >= status.st_size

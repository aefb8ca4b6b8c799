"""A disk that is full or cannot be written is an engine error, and leaves nothing half done."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time

import pytest

from cachewright._owner import realm
from cachewright.entry import MISSING
from cachewright.errors import EngineError, EngineUnavailableError, StoreQuarantinedWarning


@pytest.fixture
def mounted(tmp_path):
    """Mount file systems; skipped where that is not allowed."""
    points = []

    def mount(*arguments: str) -> None:
        done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("needs the right to mount a file system")
        if arguments[-1] not in points:
            points.append(arguments[-1])

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", "-l", point], check=True)


@pytest.mark.parametrize("size", [100, 30_000, 300_000])
def test_full_disk(open_engine, content, mounted, tmp_path, size):
    """A set that finds no room raises; the old value or none is left, and space freed is used again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted("-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(disk))
    engine = open_engine(path=disk / "store")
    value = b"v" * size
    engine.set("k", (value,))
    descriptors = len(os.listdir("/proc/self/fd"))
    stored = []
    with pytest.raises(EngineError, match="free some space"):
        for i in range(100_000):
            engine.set(f"k{i}", (value,))
            stored.append(f"k{i}")
    for _ in range(5):
        with pytest.raises(EngineError):
            engine.set("k", (b"n" * 3_000_000,))
    assert content(engine.get("k")) == value
    assert all(content(engine.get(key)) == value for key in stored[:50])
    files = len(list(disk.glob("store/values-v1/*/*")))
    assert files == (len(stored) + 1 if size > 49_152 else 0)
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 64
    engine.close()
    mounted("-o", "remount,size=12m", str(disk))
    again = open_engine(path=disk / "store")
    assert content(again.get("k")) == value
    assert again.set("k", (value + b"2",))


def test_a_disk_without_room_for_a_new_store(open_engine, mounted, tmp_path):
    """It opens, empty; writing says why it cannot be done, until there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted("-t", "tmpfs", "-o", "size=12k,mode=700", "tmpfs", str(disk))
    engine = open_engine(path=disk / "store")
    assert engine.get("k") is MISSING
    assert list(engine.keys()) == []
    for value in (b"1", b"L" * 100_000):
        with pytest.raises(EngineUnavailableError, match=r"set: No space left on device; free some space"):
            engine.set("k", (value,))
        with pytest.raises(EngineUnavailableError):
            engine.compare_and_set("k", MISSING, (value,))
    assert engine.private
    assert list(disk.glob("store/*.sqlite3*")) == []
    mounted("-o", "remount,size=5m", str(disk))
    until = time.monotonic() + 20
    while True:
        try:
            assert engine.set("k", (b"1",))
            break
        except EngineUnavailableError:
            assert time.monotonic() < until, "the room was not noticed"
    assert open_engine(path=disk / "store").get("k") == b"1"


def test_a_damaged_index_that_cannot_be_set_aside(open_engine, mounted, tmp_path):
    """On a read-only file system it reads as empty, with one warning, and stays as it is."""
    engine = open_engine()
    engine.set("k", (b"1",))
    engine.close()
    index = next((tmp_path / "store").glob("index-v1-*"))
    index.write_bytes(b"damaged" * 1000)
    store = str(tmp_path / "store")
    mounted("--bind", store, store)
    mounted("-o", "remount,bind,ro", store)
    with pytest.warns(StoreQuarantinedWarning, match="nor renamed") as record:
        engine = open_engine()
        assert engine.get("k") is MISSING
        engine._store.link().recheck = 0.0
        assert engine.get("k") is MISSING
    assert len(record) == 1
    with pytest.raises(EngineUnavailableError, match="read-only"):
        engine.set("k", (b"2",))
    assert index.read_bytes() == b"damaged" * 1000


def test_read_only_file_system(open_engine, content, mounted, tmp_path):
    """A store on a read-only file system can be read; writing says why it cannot be done."""
    engine = open_engine()
    engine.set("small", (b"1",))
    engine.set("large", (b"L" * 100_000,))
    engine.close()
    store = str(tmp_path / "store")
    mounted("--bind", store, store)
    mounted("-o", "remount,bind,ro", store)
    engine = open_engine()
    assert engine.get("small") == b"1"
    assert content(engine.get("large")) == b"L" * 100_000
    for value in (b"2", b"L" * 100_000):
        with pytest.raises(EngineError, match=r"read-only|Read-only"):
            engine.set("small", (value,))
    with pytest.raises(EngineUnavailableError):
        open_engine(path=tmp_path / "store" / "new")


def test_no_descriptors_left(run, tmp_path):
    """Running out of descriptors is an engine error and passes with the shortage."""
    output = run(
        """
import resource
from cachewright.errors import EngineError
engine = SqliteEngine(EngineConfig(path=Path(sys.argv[1])))
engine.set("k", (b"L" * 100000,))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True: taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError: pass
other = EngineConfig(path=Path(sys.argv[1]) / "n")
for work in (lambda: engine.set("k2", (b"L" * 100000,)), lambda: SqliteEngine(other)):
    try:
        work()
    except EngineError as error:
        print(error.hint)
for fd in taken: os.close(fd)
assert engine.set("k2", (b"M" * 100000,)) and content(engine.get("k")) == b"L" * 100000
""",
        tmp_path / "store",
    )
    assert output.splitlines() == ["raise the limit of open files (ulimit -n)"] * 2


def test_file_size_limit(run, tmp_path):
    """A write that the system cuts short leaves the old value and no file."""
    output = run(
        """
import resource
from cachewright.errors import EngineError
engine = SqliteEngine(EngineConfig(path=Path(sys.argv[1]), timeout=5.0))
engine.set("k", (b"old" * 100000,))
resource.setrlimit(resource.RLIMIT_FSIZE, (500000, 500000))
try:
    engine.set("k", (b"new" * 1000000,))
except EngineError as error:
    print(error.operation)
assert content(engine.get("k")) == b"old" * 100000
print(len(list(Path(sys.argv[1]).glob("values-v1/*/*"))))
""",
        tmp_path / "store",
    )
    assert output.split() == ["set", "1"]


def test_a_locked_store(open_engine, tmp_path):
    """A writer that waits longer than its timeout gets an error; readers are not disturbed."""
    engine = open_engine(timeout=0.05)
    engine.set("k", (b"1",))
    other = sqlite3.connect(next((tmp_path / "store").glob("index-v1-*.sqlite3")), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EngineError, match="raise timeout"):
        engine.set("k", (b"L" * 100_000,))
    assert engine.get("k") == b"1"
    other.execute("ROLLBACK")
    other.close()
    assert engine.set("k", (b"2",))
    assert list((tmp_path / "store").glob("values-v1/*/*")) == []


def test_strays_are_swept(open_engine, content, tmp_path):
    """Opening removes what dead writers left, keeps what may be needed, and touches no other file."""
    engine = open_engine()
    engine.set("k", (b"L" * 100_000,))
    engine.close()
    live = next((tmp_path / "store").glob("values-v1/*/*"))
    row, _, tail = live.name.split("-", 2)
    dead = f"{realm()}-7fffffff"
    strays = {
        f"{row}-{'1' * 16}-{dead}": False,
        f"{row[:2]}{'0' * 14}-{'2' * 16}-{dead}": False,
        f"{row}-{'3' * 16}-{tail}": True,
        f"{row}-{'4' * 16}-deadbeef-1": True,
        "notes.txt": True,
    }
    for name in strays:
        (live.parent / name).write_bytes(b"stray")
    old = live.parent / f"{row}-{'5' * 16}-deadbeef-1"
    old.write_bytes(b"stray")
    os.utime(old, (time.time() - 3600,) * 2)
    draft = tmp_path / "store" / f"draft-v1-{dead}-00000000.sqlite3-wal"
    draft.write_bytes(b"")
    engine = open_engine()
    assert {name: (live.parent / name).exists() for name in strays} == strays
    assert not old.exists()
    assert not draft.exists()
    assert content(engine.get("k")) == b"L" * 100_000
    assert engine.get("other") is MISSING

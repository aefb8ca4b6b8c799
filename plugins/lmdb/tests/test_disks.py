"""A disk that is full or cannot be written is an engine error, and leaves nothing half done."""

from __future__ import annotations

import os

import pytest
from cachewright_lmdb.place import DATA

from cachewright.entry import MISSING
from cachewright.errors import EngineError


@pytest.mark.parametrize("size", [100, 30_000, 300_000])
@pytest.mark.parametrize("durable", [False, True])
def test_full_disk(open_engine, mounted, tmp_path, size, durable):
    """A set that finds no room raises; what was stored stays, and space freed is used again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted("-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(disk))
    settings = {"path": disk / "store", "options": {"durable": durable}}
    engine = open_engine(**settings)
    value = b"v" * size
    engine.set("k", (value,))
    descriptors = len(os.listdir("/proc/self/fd"))
    stored = []
    with pytest.raises(EngineError, match="free some space"):
        for number in range(100_000):
            engine.set(f"k{number}", (value,))
            stored.append(f"k{number}")
    for _ in range(5):
        with pytest.raises(EngineError):
            engine.set("k", (b"n" * 3_000_000,))
    assert bytes(engine.get("k")) == value
    assert all(bytes(engine.get(key)) == value for key in stored)
    assert engine.count() == len(stored) + 1
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    engine.close()
    again = open_engine(**settings)
    assert bytes(again.get("k")) == value
    mounted("-o", "remount,size=12m", str(disk))
    assert again.set("k", (value + b"2",))
    assert bytes(again.get("k")) == value + b"2"


def test_room_made_by_deleting_is_used_again(open_engine, mounted, tmp_path):
    """On a full disk entries can still be deleted, and new ones take their room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted("-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(disk))
    engine = open_engine(path=disk / "store")
    stored = []
    with pytest.raises(EngineError, match="free some space"):
        for number in range(1000):
            engine.set(f"{number:x}", (bytes(100_000),))
            stored.append(f"{number:x}")
    refused = 0
    for key in stored[:10]:
        try:
            assert engine.delete(key)
        except EngineError:
            refused += 1
    assert refused < 10
    assert engine.set("new", (bytes(100_000),))


@pytest.mark.parametrize("size", ["4k", "8k", "12k", "16k", "24k", "32k"])
def test_a_disk_without_room_for_a_new_store(open_engine, mounted, tmp_path, size):
    """Every use says that there is no room, no process dies, and the store works as soon as there is some."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted("-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(disk))
    engine = open_engine(path=disk / "store")
    for _ in range(2):
        with pytest.raises(EngineError, match="free some space"):
            engine.set("k", (b"L" * 100_000,))
    mounted("-o", "remount,size=5m", str(disk))
    assert engine.set("k", (b"1",))
    assert bytes(engine.get("k")) == b"1"


@pytest.mark.parametrize("closed", [True, False])
def test_a_read_only_file_system(open_engine, mounted, tmp_path, closed):
    """Entries are read, without a lock file; writing says what is wrong, and changes nothing."""
    engine = open_engine()
    engine.set("k", (b"v",))
    engine.set("l", (b"w" * 100_000,))
    if closed:
        engine.close()
    store = str(tmp_path / "store")
    mounted("--bind", store, store)
    mounted("-o", "remount,bind,ro", store)
    reader = open_engine(maxsize=10)
    assert bytes(reader.get("k")) == b"v"
    assert bytes(reader.get("l")) == b"w" * 100_000
    assert sorted(reader.keys()) == ["k", "l"]
    if closed:
        for operation in (
            lambda: reader.set("k", (b"x",)),
            lambda: reader.delete("k"),
            reader.clear,
            lambda: reader.compare_and_set("k", b"v", (b"x",)),
        ):
            with pytest.raises(EngineError, match=r"[Rr]ead-only file system; make the dir"):
                operation()
    assert bytes(reader.get("k")) == b"v"
    assert reader.get("m") is MISSING


def test_an_empty_read_only_directory(open_engine, mounted, tmp_path):
    """Where there is no store and none can be made, every use says so."""
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    mounted("--bind", str(store), str(store))
    mounted("-o", "remount,bind,ro", str(store))
    engine = open_engine()
    for operation in (lambda: engine.get("k"), lambda: engine.set("k", (b"v",))):
        with pytest.raises(EngineError):
            operation()
    assert not (store / DATA).exists()

"""R3: a store that cannot be used as it is opens at once, with one warning, and works."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
import warnings
from contextlib import closing
from statistics import median

import pytest

from cachewright import open_cache
from cachewright.errors import StoreQuarantinedWarning

FIGURE = 0.25
"""Seconds that opening should take at most; reported, and asserted only with a very wide margin."""


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of three megabytes; skipped where mounting is not allowed."""
    point = tmp_path / "disk"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(point)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def header(index):
    index.write_bytes(b"\xff" * 100 + index.read_bytes()[100:])


def empty(index):
    index.write_bytes(b"")


def foreign(index):
    index.unlink()
    with closing(sqlite3.connect(index)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
        connection.commit()


def picture(index):
    index.write_bytes(b"\x89PNG\r\n\x1a\n" * 5000)


def filled(path):
    with open_cache("demo", path=path) as cache:
        for number in range(100):
            cache.set(number, "value" * number)


def opened(path):
    """Open the cache, and return it with the seconds that took and the warnings it gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.perf_counter()
        cache = open_cache("demo", path=path)
        seconds = time.perf_counter() - began
    return cache, seconds, [warning.category for warning in caught]


def index_of(path):
    return next(path.glob("index-v1-????????.sqlite3"))


def store_when_back(cache, key):
    """Store an entry; a full disk is looked at ten times a second, and a failed engine rests for a while."""
    until = time.monotonic() + 20
    while not cache.set(key, "new"):
        assert time.monotonic() < until, "the store was not found to work again"
    assert cache.get(key) == "new"


@pytest.fixture
def report(capsys, request):
    def report_(seconds):
        with capsys.disabled():
            figures = f"median {median(seconds) * 1e3:.1f} ms, slowest {max(seconds) * 1e3:.1f} ms"
            print(
                f"\n{request.node.name}: {len(seconds)} openings, {figures} of {FIGURE * 1e3:.0f} ms allowed"
            )
        assert max(seconds) < 40 * FIGURE

    return report_


@pytest.mark.parametrize("times", [10, pytest.param(500, marks=pytest.mark.soak)])
@pytest.mark.parametrize("damage", [header, empty, foreign, picture])
def test_unusable_store(tmp_path, report, damage, times):
    """It opens empty, gives one warning, and keeps what is stored from then on."""
    seconds = []
    for _ in range(times):
        filled(tmp_path / "store")
        damage(index_of(tmp_path / "store"))
        cache, took, caught = opened(tmp_path / "store")
        seconds.append(took)
        assert caught == [StoreQuarantinedWarning]
        assert cache.get(1) is None
        assert cache.set(1, "new")
        cache.close()
    with open_cache("demo", path=tmp_path / "store") as cache:
        assert cache.get(1) == "new"
    report(seconds)


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.soak)])
@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "header damaged"])
def test_full_disk(disk, report, damaged, times):
    """A store on a full disk opens, with what it held unless that is damaged, and stores again given room."""
    seconds = []
    for number in range(times):
        store = disk / f"store{number}"
        filled(store)
        if damaged:
            header(index_of(store))
        with pytest.raises(OSError, match="No space"), open(disk / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        cache, took, caught = opened(store)
        seconds.append(took)
        assert caught == [StoreQuarantinedWarning] * damaged
        assert cache.get(50) == (None if damaged else "value" * 50)
        assert not cache.set(50, "x" * 100_000)
        cache.close()
        (disk / "filler").unlink()
        with open_cache("demo", path=store) as cache:
            assert cache.get(51) == (None if damaged else "value" * 51)
            store_when_back(cache, 52)
        shutil.rmtree(store)
    report(seconds)


def test_a_store_that_was_opened_without_room_works_once_there_is_some(disk):
    """Nothing needs to be opened again: the same cache stores as soon as the disk has room."""
    (disk / "store").mkdir(mode=0o700)
    with pytest.raises(OSError, match="No space"), open(disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    engine_cache, _, caught = opened(disk / "store")
    assert caught == []
    assert engine_cache.get(1) is None
    assert not engine_cache.set(1, "one")
    (disk / "filler").unlink()
    store_when_back(engine_cache, 1)
    engine_cache.close()

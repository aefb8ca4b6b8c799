"""The probe finds caches that lose invalidations, and counts what it did."""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import threading

import pytest

from cachewright import cached, open_cache
from cachewright.testing import (
    FreshnessPlan,
    Subject,
    VersionedSource,
    async_probe_freshness,
    probe_freshness,
    probe_processes,
)

ENOUGH = FreshnessPlan(seconds=60.0, rounds=2000)
"""Ended by the number of rounds: no test depends on how many fit into a second."""

SUBJECTS = """
import functools
import threading

from cachewright.testing import Subject

def nothing(source):
    return Subject(read=source.load, invalidate=lambda key: None)

def forgetful(source, maxsize):
    cached = functools.lru_cache(maxsize)(source.load)
    return Subject(read=cached, invalidate=lambda key: cached.cache_clear(), close=cached.cache_clear)

def broken(source):
    raise ZeroDivisionError("no store today")

def fails_later(source):
    return Subject(read=source.load, invalidate=lambda key: 1 / 0)
"""


def test_versions_only_grow():
    """A change raises the version by one; the floor only rises."""
    source = VersionedSource(2)
    assert [source.version(0), source.version(1), source.floor(0)] == [1, 1, 0]
    assert [source.change(0), source.change(0), source.version(1)] == [2, 3, 1]
    source.raise_floor(0, 3)
    source.raise_floor(0, 2)
    assert [source.floor(0), source.floor(1)] == [3, 0]
    assert [source.load(0), asyncio.run(source.async_load(1)), source.loads] == [3, 1, 2]
    source.close()
    source.close()


def change_often(path):
    source = VersionedSource(1, path=path)
    for _ in range(500):
        source.raise_floor(0, source.change(0))


def test_processes_share_a_source(tmp_path):
    """With a path, no change of any process or thread is lost."""
    source = VersionedSource(1, path=tmp_path / "source")
    start = multiprocessing.get_context("fork").Process
    others = [start(target=change_often, args=(tmp_path / "source",)) for _ in range(2)]
    others += [threading.Thread(target=change_often, args=(tmp_path / "source",)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    assert [source.version(0), source.floor(0)] == [2001, 2001]
    source.close()


def test_reading_the_source_itself_is_fresh():
    """Without a cache nothing is stale, and every read is a load."""
    source = VersionedSource()
    report = probe_freshness(source.load, source, lambda key: None, ENOUGH)
    assert report, report
    assert report.stale == 0
    assert report.invalidations >= 2000
    assert report.loads == report.reads > 0
    assert str(report).startswith("0 stale of ")


def test_an_invalidation_that_is_lost_while_a_value_is_computed_is_found():
    """lru_cache stores what was computed before cache_clear and returned after it."""
    source = VersionedSource()
    read = functools.lru_cache(source.load)
    report = probe_freshness(read, source, lambda key: read.cache_clear(), ENOUGH)
    assert not report
    assert report.reads > report.loads
    first = report.examples[0]
    assert first.returned < first.newest
    assert len(report.examples) <= 10
    assert "StaleRead(key=" in str(report)


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_cache_that_is_not_invalidated_is_found(exclusive):
    """Every hit after the first change is stale."""
    source = VersionedSource(1)
    read = functools.lru_cache(source.load)
    report = probe_freshness(
        read, source, lambda key: None, FreshnessPlan(seconds=60.0, rounds=50, exclusive=exclusive)
    )
    assert report.stale > 0


def test_an_invalidation_of_the_wrong_key_is_found_only_as_a_whole():
    """Where an invalidation concerns all keys, one that spares some is found."""
    source = VersionedSource(3)
    with open_cache("n", engine="memory") as cache:

        def read(key):
            return cache.get_or_set(key, lambda: source.load(key))

        def spare(key):
            if key != 0:
                cache.delete(key)

        assert not probe_freshness(read, source, spare, FreshnessPlan(seconds=60.0, rounds=200, whole=True))


class Slow:
    """A wrong cache: deletes at once, but stores what was computed before."""

    def __init__(self, source):
        self.source = source
        self.entries = {}

    def read(self, key):
        if key in self.entries:
            return self.entries.get(key, self.source.version(key))
        self.entries[key] = value = self.source.load(key)
        return value

    def invalidate(self, key):
        self.entries.pop(key, None)


def test_a_wrong_cache_is_found():
    """Deleting the entry is not enough."""
    source = VersionedSource(2)
    slow = Slow(source)
    report = probe_freshness(slow.read, source, slow.invalidate, ENOUGH)
    assert report.stale > 0


def test_what_a_call_raises_reaches_the_caller():
    """The probe ends with the first exception, of a reader or of a writer."""
    source = VersionedSource()

    def fail(key):
        raise ZeroDivisionError

    async def async_fail(key):
        raise ZeroDivisionError

    for read, invalidate in ((fail, source.load), (source.load, fail)):
        with pytest.raises(ZeroDivisionError):
            probe_freshness(read, source, invalidate)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(async_probe_freshness(source.async_load, source, async_fail))


def test_seconds_end_a_probe():
    """Without a number of rounds it ends by time."""
    source = VersionedSource()
    report = probe_freshness(source.load, source, lambda key: None, FreshnessPlan(seconds=0.05, pause=0.001))
    assert report.seconds >= 0.05
    assert report.reads > 0


def test_explicit_values_are_fresh_where_writers_take_turns():
    """An explicit set is an invalidation; with exclusive=True no writer overwrites a newer value."""
    source = VersionedSource()
    plan = FreshnessPlan(seconds=60.0, rounds=500, exclusive=True, writers=1)
    with open_cache("n", engine="memory") as cache:

        def read(key):
            return cache.get_or_set(key, lambda: source.load(key))

        report = probe_freshness(read, source, lambda key: cache.set(key, source.version(key)), plan)
    assert report, report


class AsyncSlow(Slow):
    async def async_read(self, key):
        if key not in self.entries:
            self.entries[key] = await self.source.async_load(key)
        return self.entries.get(key, self.source.version(key))

    async def async_invalidate(self, key):
        self.entries.pop(key, None)


@pytest.mark.parametrize("exclusive", [False, True])
def test_an_asynchronous_cache_that_loses_invalidations_is_found(exclusive):
    """A task that stores after an await what it read before it is found."""
    source = VersionedSource(2)
    slow = AsyncSlow(source)
    plan = FreshnessPlan(seconds=60.0, rounds=2000, exclusive=exclusive)
    report = asyncio.run(async_probe_freshness(slow.async_read, source, slow.async_invalidate, plan))
    assert report.stale > 0
    assert report.invalidations >= 2000


def test_an_asynchronous_function_is_fresh():
    """A cached coroutine function passes, and most of its calls are hits."""
    source = VersionedSource()

    @cached
    async def read(key):
        return await source.async_load(key)

    plan = FreshnessPlan(seconds=60.0, rounds=500, pause=0.001)
    report = asyncio.run(async_probe_freshness(read, source, read.invalidate, plan))
    assert report, report
    assert report.reads > report.loads > 0


def subject_file(tmp_path):
    path = tmp_path / "subjects.py"
    path.write_text(SUBJECTS)
    return path


def test_processes_that_read_the_source_are_fresh(tmp_path):
    """Two processes share the source and its floor; their counts are added."""
    plan = FreshnessPlan(seconds=60.0, rounds=100)
    report = probe_processes(f"{subject_file(tmp_path)}:nothing", tmp_path / "probe", plan)
    assert report, report
    assert report.invalidations >= 200
    assert report.loads == report.reads


def test_an_invalidation_that_other_processes_do_not_hear_of_is_found(tmp_path):
    """A cache inside each process, cleared by its own process alone, is stale in the other."""
    report = probe_processes(
        f"{subject_file(tmp_path)}:forgetful",
        tmp_path / "probe",
        FreshnessPlan(seconds=60.0, rounds=100, pause=0.001),
        processes=3,
        keys=1,
        arguments={"maxsize": 10},
    )
    assert report.stale > 0
    assert report.examples


@pytest.mark.parametrize("subject", ["broken", "fails_later", "absent"])
def test_a_process_that_fails_says_why(tmp_path, subject):
    """What it wrote to its standard error is in the exception."""
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError|has no attribute"):
        probe_processes(f"{subject_file(tmp_path)}:{subject}", tmp_path / "probe", FreshnessPlan(seconds=1.0))


def test_a_target_may_be_an_importable_module(tmp_path, monkeypatch):
    """What the parent can import, its children can."""
    subject_file(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    report = probe_processes("subjects:nothing", tmp_path / "probe", FreshnessPlan(seconds=60.0, rounds=20))
    assert report.invalidations >= 40


def test_a_subject_closes_nothing_by_default():
    """Only reading and invalidating have to be given."""
    assert Subject(read=abs, invalidate=abs).close() is None

"""After an invalidation has returned, no call that starts later returns data that was read before it."""

from __future__ import annotations

import asyncio

import pytest

from cachewright import cached, open_async_cache, open_cache
from cachewright.testing import (
    FreshnessPlan,
    VersionedSource,
    async_probe_freshness,
    probe_freshness,
    probe_processes,
)
from cachewright.testing.freshness_probe import merged

CI_SECONDS = 3.0
SOAK_SECONDS = 600.0
LEAST_READS = 50_000
MOST_PROBES = 20

DURATIONS = [
    pytest.param(CI_SECONDS, id="3s", marks=pytest.mark.slow),
    pytest.param(SOAK_SECONDS, id="10min", marks=pytest.mark.soak),
]


def check(probe):
    """Probe until enough was read, and fail on the first stale read."""
    reports = []
    while sum(report.reads for report in reports) < LEAST_READS and len(reports) < MOST_PROBES:
        reports.append(probe())
        print(reports[-1])
        assert reports[-1], reports[-1]
    report = merged(reports)
    assert report.reads >= LEAST_READS
    assert report.reads > report.loads > 0
    assert report.invalidations > 0


def function(source):
    """A cached function, and the ways to invalidate it."""

    @cached
    def read(key):
        return source.load(key)

    return read, {"invalidate": read.invalidate, "cache_clear": lambda key: read.cache_clear()}


def cache_of(source):
    """A cache that is read through, and the ways to invalidate its entries."""
    cache = open_cache("freshness", engine="memory")

    def read(key):
        return cache.get_or_set(key, lambda: source.load(key))

    ways = {
        "delete": cache.delete,
        "clear": lambda key: cache.clear(),
        "set": lambda key: cache.set(key, source.version(key)),
    }
    return read, ways


CONCERN_ALL = {"cache_clear", "clear"}
STORE_THEMSELVES = {"set"}


@pytest.mark.parametrize("way", ["invalidate", "cache_clear", "delete", "clear", "set"])
@pytest.mark.parametrize("seconds", DURATIONS)
def test_no_thread_reads_what_was_invalidated(way, seconds):
    """Four readers and three writers on four keys of the memory engine, none of which waits for another."""
    source = VersionedSource(4)
    make = function if way in {"invalidate", "cache_clear"} else cache_of
    read, ways = make(source)
    plan = FreshnessPlan(
        seconds=seconds, writers=3, whole=way in CONCERN_ALL, exclusive=way in STORE_THEMSELVES
    )
    check(lambda: probe_freshness(read, source, ways[way], plan))


@pytest.mark.parametrize("seconds", DURATIONS)
def test_several_invalidations_of_one_key_at_once(seconds):
    """Every one of them keeps the promise by itself, also when another has begun before it."""
    source = VersionedSource(1)
    read, ways = function(source)
    plan = FreshnessPlan(seconds=seconds, writers=4)
    check(lambda: probe_freshness(read, source, ways["invalidate"], plan))


def async_function(source):
    """A cached coroutine function, and the ways to invalidate it."""

    @cached
    async def read(key):
        return await source.async_load(key)

    async def clear(key):
        await read.cache_clear()

    return read, {"invalidate": read.invalidate, "cache_clear": clear}


def async_cache_of(source):
    """An asynchronous cache that is read through, and the ways to invalidate its entries."""
    cache = open_async_cache("freshness", engine="memory")

    async def read(key):
        return await cache.get_or_set(key, lambda: source.async_load(key))

    async def clear(key):
        await cache.clear()

    return read, {"delete": cache.delete, "clear": clear}


@pytest.mark.parametrize("way", ["invalidate", "cache_clear", "delete", "clear"])
@pytest.mark.parametrize("seconds", DURATIONS)
def test_no_task_reads_what_was_invalidated(way, seconds):
    """The same for tasks of one event loop."""
    source = VersionedSource(4)
    make = async_function if way in {"invalidate", "cache_clear"} else async_cache_of
    read, ways = make(source)
    plan = FreshnessPlan(seconds=seconds, writers=3, pause=0.0005, whole=way in CONCERN_ALL)
    check(lambda: asyncio.run(async_probe_freshness(read, source, ways[way], plan)))


SUBJECTS = """
from cachewright import cached
from cachewright.testing import Subject

def on_sqlite(source, path, way):
    @cached(engine="sqlite", path=path, name="version", key="{key}")
    def version(key):
        return source.load(key)

    ways = {"invalidate": version.invalidate, "cache_clear": lambda key: version.cache_clear()}
    return Subject(read=version, invalidate=ways[way], close=version.cache.close)
"""


@pytest.mark.parametrize("way", ["invalidate", "cache_clear"])
@pytest.mark.parametrize("seconds", DURATIONS)
def test_no_process_reads_what_another_has_invalidated(way, seconds, tmp_path):
    """The same for two processes on one sqlite store."""
    (tmp_path / "subjects.py").write_text(SUBJECTS)
    folders = (tmp_path / f"probe-{number}" for number in range(MOST_PROBES))
    plan = FreshnessPlan(seconds=seconds, pause=0.001, whole=way in CONCERN_ALL)
    arguments = {"path": str(tmp_path / "store"), "way": way}
    target = f"{tmp_path / 'subjects.py'}:on_sqlite"
    check(lambda: probe_processes(target, next(folders), plan, arguments=arguments))

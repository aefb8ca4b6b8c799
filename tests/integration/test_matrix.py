"""Every engine, in both colours, behind the decorator and used directly: the same behaviour everywhere."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path, PurePosixPath

import pytest

from cachewright import MISSING, Workload, cached, open_async_cache, open_cache, plugins, rank
from cachewright.config import Settings
from cachewright.errors import UnserializableError
from cachewright.registry import default_registry

INFOS = {name: info for name, info in default_registry().engines().items() if name != "null"}
"""Every engine that is installed and stores anything."""

pytestmark = pytest.mark.filterwarnings("ignore:engine 'diskcache")

VALUES = [
    None, True, 0, -0.0, 2**80, "text", "\ud800", b"bytes", (1, [2, {"a": {3}}]), {"k": None}, frozenset({1}),
    dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC), Decimal("1.50"), PurePosixPath("a/b"), range(3), 1 + 2j,
]  # fmt: skip


def arguments(engine, folder, address_of):
    """Return the arguments that open a cache on an engine, with a store of its own."""
    settings = Settings(dir=folder / "store", data_dir=folder / "keys", timeout=5)
    url = address_of(engine)
    return {"engine": engine, "settings": settings} | ({} if url is None else {"url": url})


@pytest.fixture(params=[name for name, info in INFOS.items() if info.capabilities.sync])
def options(request, tmp_path, address_of):
    """Return the arguments for each engine that both colours can use."""
    return arguments(request.param, tmp_path, address_of)


@pytest.fixture(params=INFOS)
def async_options(request, tmp_path, address_of):
    """Return the arguments for each engine, those for event loops only included."""
    return arguments(request.param, tmp_path, address_of)


def name_of(request):
    return f"{request.node.name}-{os.getpid()}"


def test_every_plugin_of_the_repository_is_installed_and_whole():
    """Nothing is broken or missing when everything is installed together."""
    rows = {row.name: row for row in plugins()}
    folders = Path(__file__).parents[2].glob("plugins/*/pyproject.toml")
    assert {"builtin", *(folder.parent.name for folder in folders)} == set(rows)
    assert [row for row in rows.values() if row.state != "ok"] == []


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_data_comes_back_exactly(options, value, request):
    """Same value and type on every engine, in both colours."""
    with open_cache(name_of(request), **options) as cache:
        cache.set("k", value)
        got = cache.get("k", MISSING)
        assert got == value
        assert type(got) is type(value)
        assert str(got) == str(value)

    async def main():
        async with open_async_cache(name_of(request) + "async", **options) as cache:
            await cache.set("k", value)
            answer = await cache.get("k", MISSING)
            assert answer == value
            assert type(answer) is type(value)
            await cache.clear()

    asyncio.run(main())


def test_a_decorated_function_has_one_behaviour(options, request):
    """Forms of a call share, equal arguments share, unhashable ones work, None is a value."""
    calls = []

    @cached(name=name_of(request), **options)
    def compute(x, y=2, *rest, z=3, **more):
        calls.append((x, y, rest, z, more))

    for call in (
        lambda: compute(1), lambda: compute(1.0, 2), lambda: compute(x=True, z=3), lambda: compute(y=2, x=1),
    ):  # fmt: skip
        assert call() is None
    assert len(calls) == 1
    compute([1, {"a": {2}}])
    compute([1, {"a": {2}}], z=3)
    compute("1")
    compute(1, 2, 3, a=4)
    compute(1, 2, 3, a=4)
    assert len(calls) == 4
    info = compute.cache_info()
    assert (info.hits, info.misses, info.currsize) == (5, 4, 4)
    assert compute.invalidate(1) is True
    assert compute.is_cached(1) is False
    assert compute.is_cached("1") is True
    compute.cache_clear()
    assert compute.cache_info()[:2] == (0, 0)
    assert compute.cache_info().currsize == 0


def test_a_coroutine_function_has_the_same_behaviour(async_options, request):
    """Over two event loops, one after the other."""
    calls = []

    @cached(name=name_of(request), **async_options)
    async def compute(x, y=2):
        calls.append((x, y))
        return {"x": x}

    async def first():
        assert await compute(1) == await compute(x=1, y=2) == {"x": 1}

    async def second():
        assert await compute(1.0) == {"x": 1}
        assert await compute.invalidate(1) is True
        assert await compute.peek(1) is MISSING
        await compute.cache_clear()

    asyncio.run(first())
    asyncio.run(second())
    assert calls == [(1, 2)]


def test_one_cold_key_is_computed_once_by_threads_and_tasks(options, request):
    """Sixteen threads; two hundred tasks in four event loops."""
    calls = []
    started = threading.Event()

    @cached(name=name_of(request), **options)
    def compute(x):
        calls.append(x)
        started.wait(0.05)
        return x

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(compute, [1] * 16)) == [1] * 16
    assert calls == [1]

    @cached(name=name_of(request) + "async", **options)
    async def acompute(x):
        calls.append(x)
        await asyncio.sleep(0.05)
        return x

    async def many():
        return await asyncio.gather(*(acompute(2) for _ in range(50)))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: asyncio.run(many()), range(4))) == [[2] * 50] * 4
    assert calls == [1, 2]


def test_ttl_none_and_ttl_are_kept_apart(options, request):
    """An entry without a ttl never expires, one with a tiny ttl is never served."""
    with open_cache(name_of(request), ttl=None, **options) as cache:
        cache.set("ever", 1)
        cache.set("never", 2, ttl=1e-9)
        assert cache.get("ever") == 1
        assert cache.get("never") is None
        assert cache.ttl("ever") is None
        cache.set("long", 3, ttl="1h")
        assert 3590 < cache.ttl("long") <= 3600


def test_counters_and_adders_are_atomic(options, request):
    """Four threads: no increment is lost, one adder wins."""
    with open_cache(name_of(request), **options) as cache, ThreadPoolExecutor(4) as pool:

        def work(number):
            for _ in range(10):
                cache.incr("n")
            return cache.add("slot", number)

        assert sum(pool.map(work, range(4))) == 1
        assert cache.get("n") == 40
        assert cache.touch("n", 60)
        assert cache.incr("n") == 41
        assert 0 < cache.ttl("n") <= 60


def test_listing_and_clearing_concern_one_namespace(options, request):
    """Names that are prefixes of each other, or patterns, do not meet."""
    names = [name_of(request), name_of(request) + ":x", name_of(request) + "*", name_of(request) + "[a-z]"]
    caches = [open_cache(name, **options) for name in names]
    for position, cache in enumerate(caches):
        cache.set("k", position)
        cache.set(("t", position), position)
    assert [len(cache) for cache in caches] == [2] * 4
    caches[0].clear()
    caches[2].clear()
    assert [len(cache) for cache in caches] == [0, 2, 0, 2]
    assert caches[3].get("k") == 3
    assert set(caches[1]) == {"k", ("t", 1)}
    for cache in caches:
        cache.clear()
        cache.close()


def test_arrays_come_back_exactly(options, request):
    """Contents, dtype, shape and order of numpy arrays, large and small."""
    np = pytest.importorskip("numpy")
    arrays = [
        np.arange(10), np.zeros((3, 0)), np.array(5.0), np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(100_000, dtype=">i4"), np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2026-11-21"], dtype="datetime64[D]"),
    ]  # fmt: skip
    with open_cache(name_of(request), **options) as cache:
        for array in arrays:
            cache.set("k", array)
            got = cache.get("k")
            assert type(got) is np.ndarray
            assert got.dtype == array.dtype
            assert got.shape == array.shape
            assert np.array_equal(got, array)
        cache.clear()


class Odd:
    """An object that only pickle or dill can store."""

    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Odd) and other.x == self.x

    __hash__ = None


def test_objects_are_stored_where_trust_allows(options, request):
    """In the process as they are, privately by pickle; on a server only with signing keys."""
    with open_cache(name_of(request), **options) as cache:
        if options["engine"] == "redis":
            with pytest.raises(UnserializableError, match="SIGNING_KEYS"):
                cache.set("k", Odd(1))
        else:
            cache.set("k", Odd(1))
            assert cache.get("k") == Odd(1)


def test_dill_takes_over_where_pickle_fails_and_entries_show_it(tmp_path):
    """Only on an authenticated store; explain() lists the serializers in order."""
    settings = Settings(data_dir=tmp_path / "keys")
    with open_cache("dill", path=tmp_path / "store", settings=settings) as cache:
        cache.set("function", lambda x: x + 1)
        assert cache.get("function")(1) == 2
        cache.set("plain", Odd(2))
        assert {info.key: info.serializer for info in cache.entries()} == {
            "function": "dill",
            "plain": "pickle",
        }
        assert "pickle > dill" in str(cache.explain())


def test_signing_keys_let_a_server_hold_objects(server_url, tmp_path, request):
    """With keys entries are authenticated; without them, or with others, they are misses."""
    with_keys = Settings(signing_keys="ab" * 32, data_dir=tmp_path)
    with open_cache(name_of(request), engine="redis", url=server_url, settings=with_keys) as cache:
        cache.set("k", Odd(1))
        assert cache.get("k") == Odd(1)
    for other in (Settings(data_dir=tmp_path), Settings(signing_keys="cd" * 32, data_dir=tmp_path)):
        with open_cache(name_of(request), engine="redis", url=server_url, settings=other) as cache:
            assert cache.get("k") is None
            assert cache.stats().unreadable == 1


def test_processes_share_what_a_server_holds(server_url, tmp_path):
    """A result computed by one process is a hit in another, under another hash seed."""
    source = (
        "import sys\nfrom cachewright import cached\n"
        f"@cached(scope='network', url={server_url!r}, name='shared', ttl=60)\n"
        "def f(x):\n    return sys.argv[1]\n"
        "print(f({'b', 'a'}), f.explain().engine)\n"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", source, name],
            env={**os.environ, "PYTHONHASHSEED": name},
            capture_output=True, text=True, check=True,
        ).stdout.split()
        for name in ("1", "2")
    ]  # fmt: skip
    assert answers == [["1", "redis"], ["1", "redis"]]


def test_a_server_that_is_down_costs_a_function_nothing_but_time(tmp_path):
    """Refused at once: the function computes, errors are counted, nothing is raised."""

    @cached(engine="redis", url="redis://127.0.0.1:1/0", name="down", settings=Settings(timeout=0.2))
    def compute(x):
        return x * 2

    assert [compute(2), compute(2), compute(3)] == [4, 4, 6]
    assert compute.cache_info().errors >= 1

    @cached(engine="redis", url="redis://127.0.0.1:1/0", name="down", settings=Settings(timeout=0.2))
    async def acompute(x):
        return x * 2

    assert asyncio.run(acompute(2)) == 4


def test_the_selector_knows_every_engine():
    """Ranking with everything installed: each engine is ranked or rejected with a reason."""
    in_process = rank(Workload(kind="object"))
    assert {row.engine for row in in_process} == {*INFOS, "null"}
    assert in_process[0].engine in {"memory", "cachebox"}
    shared = rank(Workload(kind="object", scope="network"))
    assert shared[0].engine == "redis"
    assert all(row.rejected for row in shared[1:])
    stored = rank(Workload(kind="array", nbytes=10_000_000, persist=True))
    assert stored[0].engine == "sqlite", "which maps and verifies it once"
    small = rank(Workload(kind="atom", nbytes=100, persist=True))
    assert small[0].engine == "lmdb"

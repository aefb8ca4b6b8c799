"""What is special about the engine on aiocache's cache in memory: loops, ttl without timers, its policy."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiocache import SimpleMemoryCache
from cachewright_aiocache.memory import AiocacheEngine
from cachewright_aiocache.store import SLACK, BoxCache, Store

from cachewright import cached, open_async_cache, open_cache
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import ClosedError, ConfigurationError, NoEngineQualifiesError
from cachewright.testing.clock import ManualClock


class Value:
    """Something that can be watched going away, and that does something then."""

    def __init__(self, last: Callable[[], object] = lambda: None) -> None:
        self.last = last

    def __del__(self) -> None:
        self.last()


def now(operation: Awaitable[Any]) -> Any:
    """Return the answer of an operation that has nothing to wait for; fails if it waits."""
    steps = operation.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("the operation waits")


def opened(**settings: Any) -> AiocacheEngine:
    return AiocacheEngine(EngineConfig(**settings))


def test_no_operation_waits() -> None:
    """Each operation ends in its first step, so that none can be cancelled half-way."""
    engine = opened()
    assert now(engine.set("key", None, ttl=10)) is True
    assert now(engine.get("key")) is None
    assert now(engine.compare_and_set("key", None, 2)) is True
    assert now(engine.count()) == 1
    assert now(engine.delete("key")) is True
    assert now(engine.clear()) is None
    assert now(engine.close()) is None


def test_entries_are_in_aiocaches_cache_without_its_timers() -> None:
    """Storing with a ttl puts the entry into a SimpleMemoryCache and sets no timer of the loop."""

    async def main() -> None:
        engine = opened()
        loop = asyncio.get_running_loop()
        before = len(loop._scheduled)  # type: ignore[attr-defined]
        await engine.set("key", "value", ttl=10)
        cache = engine._open_store()._cache
        assert isinstance(cache, SimpleMemoryCache)
        assert await cache.exists("key") is True
        assert cache._handlers == {}
        assert len(loop._scheduled) == before  # type: ignore[attr-defined]

    asyncio.run(main())


def test_aiocaches_own_timers_would_delete_what_is_stored_later() -> None:
    """The reason for that: its clear() forgets timers, and they delete entries that are stored later."""

    async def main() -> list[Any]:
        cache = SimpleMemoryCache(timeout=None)
        await cache.set("key", "old", ttl=0.001)
        await cache.clear()
        await cache.set("key", "new")
        await asyncio.sleep(0.01)
        return [await cache.get("key")]

    assert asyncio.run(main()) == [None]


def test_a_ttl_outlives_clear_overwriting_and_loops() -> None:
    """No entry is deleted by the deadline of an older one, and none becomes immortal with its loop."""
    clock = ManualClock()
    config = EngineConfig(clock=clock)
    keeper = AiocacheEngine(config)  # another loop that still uses the cache

    async def write() -> None:
        engine = AiocacheEngine(config)
        await engine.set("cleared", 1, ttl=10)
        await engine.clear()
        await engine.set("cleared", 2)
        await engine.set("overwritten", 1, ttl=10)
        await engine.set("overwritten", 2, ttl=100)
        await engine.set("short", 1, ttl=10)
        await engine.close()

    async def read() -> list[Any]:
        engine = AiocacheEngine(config)
        return [await engine.get(key) for key in ("cleared", "overwritten", "short")]

    asyncio.run(write())
    assert asyncio.run(read()) == [2, 2, 1]
    clock.advance(11)
    assert asyncio.run(read()) == [2, 2, MISSING]
    clock.advance(90)
    assert asyncio.run(read()) == [2, MISSING, MISSING]
    assert now(keeper.count()) == 1


def test_what_has_ended_is_let_go_by_later_writes() -> None:
    """Entries that nobody asks for again are dropped as others are written, also without a bound."""
    clock = ManualClock()
    engine = opened(clock=clock)
    gone: list[int] = []
    for number in range(100):
        now(engine.set(number, Value(lambda: gone.append(1)), ttl=10))
    clock.advance(11)
    for number in range(50):
        now(engine.set(number + 1000, "new"))
    assert len(gone) == 100
    assert len(engine._open_store().boxes) == 50


def test_overwriting_does_not_collect_deadlines() -> None:
    """However often an entry is overwritten, few deadlines are remembered."""
    engine = opened()
    for turn in range(10_000):
        now(engine.set("key", turn, ttl=10 + turn % 7))
    assert len(engine._open_store()._due) <= SLACK + 4
    assert now(engine.get("key")) == 9_999


@pytest.mark.parametrize(("policy", "survives"), [("clock", True), (None, True), ("fifo", False)])
def test_the_policy_is_what_it_is_called(policy: str | None, survives: bool) -> None:
    """The clock passes over what was read since it last came by; first-in-first-out does not."""
    engine = opened(maxsize=3, policy=policy)
    for key in "abc":
        now(engine.set(key, key))
    now(engine.get("a"))
    now(engine.set("d", "d"))
    assert now(engine.get("a")) == ("a" if survives else MISSING)
    assert now(engine.get("b")) == (MISSING if survives else "b")
    for key in "efghijk":
        now(engine.set(key, key))
    assert now(engine.get("a")) is MISSING


def test_eviction_takes_what_has_ended_first() -> None:
    """A bounded engine makes room by dropping what has ended before anything else."""
    clock = ManualClock()
    engine = opened(maxsize=3, clock=clock)
    now(engine.set("a", 1))
    now(engine.set("b", 1, ttl=10))
    now(engine.set("c", 1))
    clock.advance(11)
    now(engine.set("d", 1))
    assert [now(engine.get(key)) for key in "abcd"] == [1, MISSING, 1, 1]


def test_loops_of_one_cache_share_entries_and_bound() -> None:
    """What one event loop stores, deletes or clears, the other one sees at once, within one bound."""
    config = EngineConfig(maxsize=2)
    one, other = AiocacheEngine(config), AiocacheEngine(config)
    now(one.set("a", 1))
    assert now(other.get("a")) == 1
    assert now(other.delete("a")) is True
    assert now(one.get("a")) is MISSING
    now(one.set("b", 1))
    now(other.set("c", 1))
    now(one.set("d", 1))
    assert now(one.count()) == now(other.count()) == 2
    now(other.clear())
    assert now(one.count()) == 0
    now(one.close())
    assert now(other.set("e", 1)) is True
    with pytest.raises(ClosedError):
        now(one.get("e"))


def test_equal_configurations_do_not_share() -> None:
    """Two caches of one name in a process have nothing to do with each other."""
    one, other = opened(namespace="a"), opened(namespace="a")
    now(one.set("key", 1))
    assert now(other.get("key")) is MISSING


def test_the_last_engine_drops_the_entries() -> None:
    """Closing the last engine of a cache lets go of what it stored, and of the store itself."""
    config = EngineConfig()
    one, other = AiocacheEngine(config), AiocacheEngine(config)
    value = Value()
    watched, store = weakref.ref(value), weakref.ref(one._open_store())
    now(one.set("key", value))
    del value
    now(one.close())
    gc.collect()
    assert watched() is not None
    now(other.close())
    gc.collect()
    assert (watched(), store()) == (None, None)


def test_threads_with_loops_of_their_own_work_side_by_side() -> None:
    """Four loops in four threads on one bounded store: nobody sees another key's value, one swap wins."""
    config = EngineConfig(maxsize=8)
    keeper = AiocacheEngine(config)
    start = threading.Barrier(4, timeout=30)

    def in_thread(thread: int) -> tuple[list[Any], int]:
        async def main() -> tuple[list[Any], int]:
            engine, wrong, won = AiocacheEngine(config), [], 0
            start.wait()
            for turn in range(500):
                key = (turn * (thread + 1)) % 16
                await engine.set(key, (key, turn), ttl=100 if turn % 2 else None)
                stored = await engine.get((key + 1) % 16)
                if stored is not MISSING and stored[0] != (key + 1) % 16:
                    wrong.append(stored)
                if turn % 50 == 0:
                    await engine.delete("contested")
                won += await engine.compare_and_set("contested", MISSING, object())
            return wrong, won

        return asyncio.run(main())

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(in_thread, range(4)))
    assert [wrong for wrong, _ in results] == [[]] * 4
    assert sum(won for _, won in results) >= 1
    assert now(keeper.count()) <= 8


def test_a_finaliser_may_use_the_engine() -> None:
    """An object that is displaced may write in its finaliser: the entry is there, and nothing hangs."""
    engine = opened(maxsize=2)
    now(engine.set("a", Value(lambda: now(engine.set("from the finaliser", 1)))))
    now(engine.set("b", 1))
    now(engine.set("c", 1))
    assert now(engine.get("from the finaliser")) == 1
    assert now(engine.count()) == 2


def test_code_that_interrupts_a_write_does_no_harm() -> None:
    """A key whose comparison writes to the engine stores nothing, and what it overwrites is gone."""
    engine = opened()

    class Key:
        def __init__(self) -> None:
            self.busy = False

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            if not self.busy:
                self.busy = True
                assert now(engine.set("other", "new")) is False
                self.busy = False
            return self is other

    now(engine.set("other", "old"))
    now(engine.set(Key(), 1))
    now(engine.set(Key(), 2))
    assert now(engine.get("other")) is MISSING
    assert now(engine.count()) == 2


def test_a_key_that_raises_costs_entries_and_never_order() -> None:
    """An exception in the middle of a write is raised; the engine works on, perhaps empty."""
    engine = opened()

    class Key:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not comparable")

    now(engine.set(Key(), 1))
    with pytest.raises(RuntimeError):
        now(engine.set(Key(), 2))
    assert now(engine.set("key", 3)) is True
    assert now(engine.get("key")) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_entries_of_its_own() -> None:
    """A child begins with the entries of its parent; what it changes, its parent does not see."""
    config = EngineConfig()
    engine = AiocacheEngine(config)
    now(engine.set("key", "parent"))
    child = os.fork()
    if not child:
        fine = now(AiocacheEngine(config).get("key")) == "parent"
        now(engine.set("key", "child"))
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert now(engine.get("key")) == "parent"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"maxsize": -1}, "maxsize=-1"),
        ({"max_bytes": 10}, "counts no bytes"),
        ({"policy": "lru"}, "one of clock, fifo"),
        ({"options": {"timeout": 5}}, "no options for the aiocache engine"),
    ],
)
def test_nonsense_is_refused_when_opening(settings: dict[str, Any], said: str) -> None:
    """A setting that cannot be kept is an error that says what can."""
    with pytest.raises(ConfigurationError, match=said):
        opened(**settings)


def test_the_store_is_made_of_aiocaches_parts() -> None:
    """The cache of a store is aiocache's own, with no time limit that would start a task per operation."""
    store = Store(EngineConfig())
    assert isinstance(store._cache, BoxCache)
    assert store._cache.timeout is None


# Through the core ------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["aiocache", "aiocache-redis", "aiocache-memcached"])
def test_synchronous_users_are_told_why_not(engine: str) -> None:
    """A function or cache that is not asynchronous gets one error that says so, and what would do."""
    with pytest.raises(NoEngineQualifiesError, match="usable only from an event loop"):
        open_cache("refused", engine=engine)

    @cached(engine=engine, name="refused")
    def function(number: int) -> int:
        raise AssertionError("the function runs")

    with pytest.raises(NoEngineQualifiesError, match=r"usable only from an event loop.*these would do"):
        function(1)


def test_a_decorated_function_is_computed_once() -> None:
    """Values that aiocache takes for misses are hits here: None, NaN, 0 and False."""
    calls: list[Any] = []

    @cached(engine="aiocache", maxsize=100)
    async def echo(value: Any) -> Any:
        calls.append(value)
        await asyncio.sleep(0)
        return value

    async def main() -> None:
        for value in (None, 0, float("nan"), "", ()):
            first = await echo(value)
            assert await echo(value) is first
        assert len(calls) == 5
        together = await asyncio.gather(*[echo("x") for _ in range(100)])
        assert together == ["x"] * 100
        assert len(calls) == 6

    asyncio.run(main())
    assert echo.cache_info().hits == 5


def test_invalidating_in_one_loop_reaches_the_others() -> None:
    """After an invalidation in one thread's loop returned, no other loop serves what was read before."""
    version = ["old"]

    @cached(engine="aiocache")
    async def read(_key: int) -> str:
        return version[0]

    filled, invalidated = threading.Event(), threading.Event()

    async def reader() -> list[str]:
        seen = [await read(1)]
        filled.set()
        assert await asyncio.to_thread(invalidated.wait, 30)
        return [*seen, await read(1)]

    async def writer() -> None:
        assert await asyncio.to_thread(filled.wait, 30)
        version[0] = "new"
        assert await read.invalidate(1) is True
        invalidated.set()

    with ThreadPoolExecutor(2) as pool:
        seen = pool.submit(asyncio.run, reader())
        pool.submit(asyncio.run, writer()).result()
        assert seen.result() == ["old", "new"]


def test_one_run_after_the_other_works() -> None:
    """A cache goes on working in the next asyncio.run; what it had stored may be gone, and never old."""

    @cached(engine="aiocache", ttl=3600)
    async def double(number: int) -> int:
        return 2 * number

    for _ in range(3):
        assert asyncio.run(double(4)) == 8  # type: ignore[arg-type]


def test_ttl_tags_and_counting_through_the_core() -> None:
    """A cache on the engine keeps ttl, tags and counts like one on any other."""
    clock = ManualClock()

    async def main() -> None:
        async with open_async_cache("tagged", engine="aiocache", clock=clock, maxsize=10) as cache:
            await cache.set("a", None, ttl=10, tags=("x",))
            await cache.set("b", 2, tags=("x",))
            await cache.set("c", 3)
            assert await cache.count() == 3
            clock.advance(11)
            assert await cache.get("a", MISSING) is MISSING
            await cache.invalidate_tags("x")
            assert await cache.get_many(["a", "b", "c"]) == {"c": 3}
            await cache.clear()
            assert await cache.count() == 0

    asyncio.run(main())

"""Freshness as callers meet it: what is served around the end of a ttl, in both colours, on every engine."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from cachewright import MISSING, Freshness, cached, open_async_cache, open_cache
from cachewright._steps import Pause
from cachewright.errors import LoadTimeoutError
from cachewright.testing import ManualClock

PATIENCE = 20.0


class DownError(Exception):
    """What a failing load raises."""


class OtherError(Exception):
    """What is not forgiven."""


class TestTheTable:
    """Every row of the decision table."""

    def test_fresh_is_served_without_a_load(self, world, source):
        """Up to the refresh point nothing is computed."""
        load = world.cached(source, ttl=10, freshness=Freshness(stale_ttl=10, refresh_at=0.8))
        assert load(1) == 1
        world.clock.advance(7.9)
        assert load(1) == 1
        assert source.calls == 1

    def test_early_is_served_and_refreshed_behind(self, world, source, eventually):
        """From the refresh point on a call is answered at once, and the next gets the new value."""
        load = world.cached(source, ttl=10, freshness=Freshness(refresh_at=0.8))
        assert load(1) == 1
        world.clock.advance(8.1)
        assert load(1) == 1
        eventually(lambda: load.peek(1) == 2)
        assert load(1) == 2
        eventually(lambda: load.cache_info().refreshes == 1)  # counted when it is over

    def test_an_early_value_is_there_for_every_reader(self, world, source):
        """Its ttl is not over: peek() and is_cached() say so."""
        load = world.cached(source, ttl=10, freshness=Freshness(refresh_at=0.5))
        assert load(1) == 1
        world.clock.advance(6)
        assert load.is_cached(1)
        assert load.peek(1) == 1

    def test_stale_is_served_and_refreshed_behind(self, world, source, eventually):
        """Between ttl and ttl + stale_ttl the old value is served while a new one is computed."""
        load = world.cached(source, ttl=10, freshness=Freshness(stale_ttl=5))
        assert load(1) == 1
        world.clock.advance(14.9)
        assert load.peek(1) is MISSING
        assert load(1) == 1
        eventually(lambda: load.peek(1) == 2)
        eventually(lambda: load.cache_info().refreshes == 1)  # counted when it is over
        info = load.cache_info()
        assert (info.stale, info.loads) == (1, 2)

    def test_grace_loads_and_forgives(self, world, source):
        """Between stale_ttl and error_ttl a call loads, and is given the old value if that fails."""
        load = world.cached(source, ttl=10, freshness=Freshness(stale_ttl=5, error_ttl=20, backoff=2))
        assert load(1) == 1
        world.clock.advance(16)
        source.error = DownError()
        assert load(1) == 1
        assert source.calls == 2
        assert load(1) == 1
        assert source.calls == 2
        world.clock.advance(2.1)
        source.error = None
        assert load(1) == 3

    def test_gone_loads_and_raises(self, world, source):
        """After the last window a failing load is the caller's."""
        load = world.cached(source, ttl=10, freshness=Freshness(stale_ttl=5, error_ttl=20))
        assert load(1) == 1
        world.clock.advance(30.1)
        source.error = DownError()
        with pytest.raises(DownError):
            load(1)
        source.error = None
        assert load(1) == 3

    def test_stale_does_not_outlive_its_window_without_error_ttl(self, world, source):
        """With stale_ttl alone there is no grace."""
        load = world.cached(source, ttl=10, freshness=Freshness(stale_ttl=5))
        assert load(1) == 1
        world.clock.advance(15.1)
        assert load(1) == 2

    @pytest.mark.parametrize("hits", ["own", "shared"])
    def test_the_generated_hit_path_knows_the_windows(self, world, source, eventually, hits):
        """A function with a cache of its own, read without a question, is refreshed all the same."""
        if hits == "own" and not world.objects:
            pytest.skip("a function's own store on disk is read by asking the cache")
        options = {"own": True, "engine": world.engine} if hits == "own" else {}
        load = world.cached(source, ttl=0.05, freshness=Freshness(stale_ttl=3600), **options)
        assert load(1) == 1
        if hits == "own":
            eventually(lambda: load.peek(1) is MISSING)
        else:
            world.clock.advance(1)
        assert load(1) == 1
        eventually(lambda: load.cache_info().refreshes == 1)
        assert source.calls == 2


class TestRefreshing:
    """Computations that nobody waits for."""

    def test_many_callers_start_one(self, world, gate, eventually):
        """All are served the old value while a single refresh runs."""
        body = gate(lambda _: body.calls)
        body.open.set()
        load = world.cached(body, ttl=10, freshness=Freshness(stale_ttl=50))
        assert load(1) == 1
        body.await_start()
        body.open.clear()
        world.clock.advance(11)
        callers = [load.start(1) for _ in range(32)]
        assert {caller.result(PATIENCE) for caller in callers} == {1}
        body.await_start()
        assert body.calls == 2
        body.open.set()
        eventually(lambda: load.peek(1) == 2)
        assert body.calls == 2

    def test_a_refresh_that_fails_is_tried_again_after_the_back_off(self, world, source, eventually):
        """The old value is served up to the end of stale_ttl; attempts are spaced, ever wider."""
        load = world.cached(source, ttl=10, freshness=Freshness(stale_ttl=100, backoff=4))
        assert load(1) == 1
        source.error = DownError()
        world.clock.advance(11)
        for calls, pause in ((2, 4), (3, 8), (4, 16)):
            assert load(1) == 1
            eventually(lambda calls=calls: source.calls == calls and _idle(load))
            world.clock.advance(pause - 0.1)
            assert load(1) == 1
            assert _idle(load)
            assert source.calls == calls
            world.clock.advance(0.2)
        world.clock.advance(100)
        with pytest.raises(DownError):
            load(1)

    def test_an_explicit_set_wins(self, world, gate):
        """What is put while a refresh runs is not overwritten by it."""
        body = gate()
        body.open.set()
        load = world.cached(body, ttl=10, freshness=Freshness(stale_ttl=50))
        assert load(1) == 1
        body.await_start()
        body.open.clear()
        world.clock.advance(11)
        assert load(1) == 1
        body.await_start()
        flight = next(iter(_flights(load).values()))
        assert load.put("explicit", 1)
        body.open.set()
        _wait(world, load, flight)
        assert load(1) == "explicit"

    @pytest.mark.parametrize("how", ["invalidate", "invalidate_where", "cache_clear", "tags"])
    def test_an_invalidation_wins(self, world, gate, how):
        """Nothing of before is stored or served after it, and later callers do not join the old load."""
        body = gate(lambda _: body.calls)
        body.open.set()
        cache = world.open()
        load = world.cached(body, cache, ttl=10, tags="all", freshness=Freshness(stale_ttl=50, error_ttl=90))
        assert load(1) == 1
        body.await_start()
        body.open.clear()
        world.clock.advance(11)
        assert load(1) == 1
        body.await_start()
        flight = next(iter(_flights(load).values()))
        {
            "invalidate": lambda: load.invalidate(1),
            "invalidate_where": lambda: load.invalidate_where(x=1),
            "cache_clear": load.cache_clear,
            "tags": lambda: cache.invalidate_tags("all"),
        }[how]()
        later = load.start(1)
        body.await_start()
        body.open.set()
        assert later.result(PATIENCE) == 3
        _wait(world, load, flight)
        assert load(1) == 3

    def test_asked_for_it_raises_and_keeps_the_old_value(self, world, source):
        """f.refresh() raises what the load raises; what was stored stays."""
        load = world.cached(source, ttl=10, freshness=Freshness(stale_ttl=50, error_ttl=50))
        assert load(1) == 1
        source.error = DownError()
        with pytest.raises(DownError):
            load.refresh(1)
        assert load(1) == 1
        source.error = None
        assert load.refresh(1) == 3
        assert load(1) == 3

    def test_what_is_turned_down_is_asked_for_again(self, world, gate, eventually):
        """More refreshes than fit are served all the same, and made later."""
        body = gate()
        body.open.set()
        load = world.cached(body, ttl=10, freshness=Freshness(stale_ttl=500))
        keys = range(300)
        for key in keys:
            load(key)
        body.open.clear()
        world.clock.advance(11)
        for key in keys:
            assert load(key) == key
        body.open.set()

        def all_fresh():
            for key in keys:
                load(key)
            return all(load.is_cached(key) for key in keys)

        eventually(all_fresh)
        assert body.calls == 600

    def test_a_slow_reader_starts_no_second_refresh(self, world, source, eventually):
        """Who saw the old value before it was replaced does not replace the new one."""
        cache = world.open()
        load = world.cached(source, cache, ttl=10, freshness=Freshness(stale_ttl=50))
        assert load(1) == 1
        world.clock.advance(11)
        late = _Late(cache)
        with late:
            slow = load.start(1)
            late.await_read()
            assert load(1) == 1
            eventually(lambda: load.peek(1) == 2 and _idle(load))
            late.go_on()
            assert slow.result(PATIENCE) == 1
        eventually(lambda: _idle(load))
        assert source.calls == 2
        assert load(1) == 2

    def test_closing_abandons_those_in_the_queue(self, world, gate):
        """They do not run, and keep nothing alive."""
        if world.colour == "async":
            pytest.skip("tasks are not queued")
        body, other = gate(), gate()
        cache, busy = world.open("queue"), world.open("busy")
        blockers = world.cached(other, busy, ttl=10, freshness=Freshness(stale_ttl=50))
        queued = world.cached(body, cache, ttl=10, freshness=Freshness(stale_ttl=50))
        other.open.set()
        body.open.set()
        for key in range(16):
            blockers(key)
            other.await_start()
        queued(1)
        other.open.clear()
        world.clock.advance(11)
        for key in range(16):
            blockers(key)
        for _ in range(16):
            other.await_start()
        assert queued(1) == 1
        gone = weakref.ref(cache._target)
        cache.close()
        world.caches.remove(cache._target)
        del cache, queued
        gc.collect()
        assert gone() is None
        other.open.set()
        assert body.calls == 1


class TestForgiveness:
    """Which failures an old value is served for."""

    @pytest.mark.parametrize(
        "on_error", [DownError, (OSError, DownError), lambda error: isinstance(error, DownError)]
    )
    def test_on_error_decides(self, world, source, on_error):
        """A class, several, or a predicate; every other error passes untouched."""
        load = world.cached(source, ttl=10, freshness=Freshness(error_ttl=100, backoff=0, on_error=on_error))
        assert load(1) == 1
        world.clock.advance(11)
        source.error = DownError()
        assert load(1) == 1
        source.error = OtherError("mine")
        with pytest.raises(OtherError) as caught:
            load(1)
        assert caught.value is source.error

    def test_the_back_off_spares_the_source(self, world, source):
        """It doubles with every failure in a row, and a success ends it."""
        load = world.cached(source, ttl=10, freshness=Freshness(error_ttl=1000, backoff=1))
        assert load(1) == 1
        world.clock.advance(11)
        source.error = DownError()
        attempts = []
        for _ in range(64):
            before = source.calls
            assert load(1) == 1
            attempts.append(source.calls - before)
            world.clock.advance(1)
        assert [at for at, made in enumerate(attempts) if made] == [0, 1, 3, 7, 15, 31, 63]
        source.error = None
        world.clock.advance(100)
        assert load(1) == source.calls
        world.clock.advance(11)
        source.error = DownError()
        before = source.calls
        assert load(1) == before
        world.clock.advance(1.1)
        load(1)
        assert source.calls == before + 2

    def test_each_waiter_is_forgiven(self, world, gate):
        """All who wait for the failing load are given the old value; the function runs once."""
        failing = False

        def result(x):
            if failing:
                raise DownError
            return x

        body = gate(result)
        body.open.set()
        load = world.cached(body, ttl=10, freshness=Freshness(error_ttl=100))
        assert load(1) == 1
        body.await_start()
        body.open.clear()
        failing = True
        world.clock.advance(11)
        callers = [load.start(1) for _ in range(8)]
        body.await_start()
        body.open.set()
        assert [caller.result(PATIENCE) for caller in callers] == [1] * 8
        assert body.calls == 2


class TestTimeouts:
    """How long a caller waits for a load."""

    def test_soft_serves_the_old_value_and_the_load_goes_on(self, world, gate, eventually):
        """The caller gets the old value; the result is stored when it comes."""
        body = gate(lambda _: body.calls)
        body.open.set()
        load = world.cached(body, ttl=10, freshness=Freshness(error_ttl=100, soft_timeout=0.05))
        assert load(1) == 1
        body.open.clear()
        world.clock.advance(11)
        assert load(1) == 1
        assert load(1) == 1
        assert body.calls == 2
        body.open.set()
        eventually(lambda: load.peek(1) == 2)
        assert load(1) == 2

    def test_hard_raises_and_the_load_goes_on(self, world, gate, eventually):
        """LoadTimeoutError, which is a TimeoutError; the result is stored when it comes."""
        body = gate()
        load = world.cached(body, ttl=10, freshness=Freshness(hard_timeout=0.05))
        with pytest.raises(LoadTimeoutError):
            load(1)
        with pytest.raises(TimeoutError):
            load(1)
        assert body.calls == 1
        body.open.set()
        eventually(lambda: load.peek(1) == 1)
        assert load(1) == 1

    def test_hard_below_soft_is_the_limit(self, world, gate):
        """The shorter of the two ends the wait; an old value is served if the time-out is forgiven."""
        body = gate()
        windows = Freshness(error_ttl=100, soft_timeout=60, hard_timeout=0.05, on_error=DownError)
        load = world.cached(body, ttl=10, freshness=windows)
        load.put(1, 1)
        world.clock.advance(11)
        with pytest.raises(LoadTimeoutError):
            load(1)
        body.open.set()

    def test_a_bounded_load_is_shared_and_recursive(self, world):
        """Calls for one key share it, and a function that calls itself does not wait for itself."""
        calls = []

        @cached(freshness=Freshness(hard_timeout=PATIENCE), cache=open_cache("recursive"), name="recursive")
        def fib(n):
            calls.append(n)
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        assert fib(40) == 102334155
        assert sorted(calls) == list(range(41))


class TestXfetch:
    """Early refreshing at random."""

    def test_it_is_the_earlier_the_longer_computing_takes(self, world, source):
        """What takes no time is not refreshed early."""
        load = world.cached(source, ttl=1000, freshness=Freshness(early="xfetch"))
        load(1)
        world.clock.advance(900)
        assert [load(1) for _ in range(50)] == [1] * 50
        assert source.calls == 1

    def test_a_costly_value_is_refreshed_before_its_end(self, world, source, eventually):
        """With an enormous beta at once, and never twice at a time."""
        load = world.cached(source, ttl=1000, freshness=Freshness(early="xfetch", beta=1e12))
        assert load(1) == 1
        world.clock.advance(900)
        assert load(1) == 1
        eventually(lambda: source.calls == 2)


class TestMixedWriters:
    """Entries outlive the settings they were written with."""

    def test_an_entry_without_windows_has_none_later(self, world, source):
        """A function that has been given freshness meanwhile computes what expired before."""
        cache = world.open()
        before = world.cached(source, cache, ttl=10)
        after = world.cached(
            source, cache, ttl=10, freshness=Freshness(stale_ttl=50, error_ttl=50, refresh_at=0.5)
        )
        assert before(1) == 1
        assert after(1) == 1
        world.clock.advance(11)
        assert after(1) == 2

    def test_windows_are_the_reader_s(self, world, source, eventually):
        """A function whose freshness was taken away serves nothing beyond the ttl."""
        cache = world.open()
        after = world.cached(source, cache, ttl=10)
        before = world.cached(source, cache, ttl=10, freshness=Freshness(stale_ttl=50, refresh_at=0.5))
        assert before(1) == 1
        world.clock.advance(6)
        assert after(1) == 1
        eventually(lambda: _idle(after))
        assert source.calls == 1
        world.clock.advance(5)
        assert after(1) == 2

    def test_a_stale_entry_is_no_entry_for_those_who_look(self, world, source):
        """Listing, peek and invalidate agree on every engine that it cannot be served as it is."""
        cache = world.open()
        load = world.cached(source, cache, ttl=10, freshness=Freshness(stale_ttl=50))
        load(1)
        world.clock.advance(11)
        assert not load.is_cached(1)
        assert load.invalidate(1) is False
        assert load(1) == 2


class TestLoopsAndCallers:
    """What happens to a refresh when those who caused it go away."""

    @pytest.fixture
    def shelf(self, tmp_path):
        """Return what opens a cache on sqlite."""
        clock = ManualClock()
        return clock, lambda: open_async_cache("loops", path=tmp_path / "s", clock=clock)

    def test_a_cancelled_caller_of_a_stale_read_blocks_nobody(self, shelf):
        """Wherever it is cancelled, the key can be loaded afterwards."""
        clock, opened = shelf

        async def scenario(steps):
            calls = []

            @cached(cache=cache, name="load", ttl=10, tags="all", freshness=Freshness(stale_ttl=50))
            async def load(x):
                calls.append(x)
                return len(calls)

            await load.cache_clear()
            await load(1)
            clock.advance(11)
            reader = asyncio.ensure_future(load(1))
            for _ in range(steps):
                await asyncio.sleep(0)
            reader.cancel()
            await asyncio.wait([reader])
            async with asyncio.timeout(PATIENCE):
                while len(cache._flights):
                    await asyncio.sleep(0)
                clock.advance(100)
                await load(1)

        async def all_of_them():
            nonlocal cache
            cache = opened()
            for steps in range(0, 60, 2):
                await scenario(steps)
            await cache.close()

        cache = None
        asyncio.run(all_of_them())

    def test_cancelling_between_the_steps_of_a_stale_read(self, shelf):
        """Cancelled while the tokens of its tags are read, it leaves no flight that nobody leads."""
        clock, opened = shelf

        async def scenario():
            cache = opened()

            @cached(cache=cache, name="load", ttl=10, tags="all", freshness=Freshness(stale_ttl=50))
            async def load(x):
                return x

            await load(1)
            clock.advance(11)
            sharing = cache._operations.sharing
            reached = asyncio.Event()
            tokens = sharing.tokens

            def slow(tags):
                reached.set()
                yield Pause(PATIENCE)
                return (yield from tokens(tags))

            sharing.tokens = slow
            reader = asyncio.ensure_future(load(1))
            await asyncio.wait_for(reached.wait(), PATIENCE)
            reader.cancel()
            await asyncio.wait([reader])
            sharing.tokens = tokens
            left = len(cache._flights)
            await cache.close()
            return left

        assert asyncio.run(scenario()) == 0

    @pytest.mark.parametrize("where", ["memory", "sqlite"])
    @pytest.mark.parametrize("ending", ["run", "close"])
    def test_a_loop_that_ends_takes_its_refresh_with_it(self, shelf, where, ending):
        """Another loop refreshes again, whether the first was ended tidily or just closed."""
        clock, opened = shelf
        cache = opened() if where == "sqlite" else open_async_cache("loops", engine="memory", clock=clock)
        calls = []
        blocked = []

        @cached(cache=cache, name="load", ttl=10, freshness=Freshness(stale_ttl=50))
        async def load(x):
            calls.append(x)
            if len(calls) == 2:
                blocked.append(x)
                await asyncio.get_running_loop().create_future()
            return len(calls)

        async def until_blocked():
            clock.advance(11)
            assert await load(1) == 1
            while not blocked:
                await asyncio.sleep(0)

        async def again():
            async with asyncio.timeout(PATIENCE):
                assert await load(1) == 1
                while await load.peek(1) is MISSING:
                    await load(1)
                    await asyncio.sleep(0)
                await cache.close()

        asyncio.run(load(1))
        if ending == "run":
            asyncio.run(until_blocked())
        else:
            loop = asyncio.new_event_loop()
            loop.set_exception_handler(lambda *_: None)
            loop.run_until_complete(until_blocked())
            loop.close()
            gc.collect()
        asyncio.run(again())
        assert len(calls) == 3
        gc.collect()


class TestThreads:
    """A refresh started by a thread."""

    def test_a_refresh_of_a_dropped_cache_does_not_keep_it(self):
        """While it computes, nobody else is kept alive by it but itself."""
        clock = ManualClock()
        cache = open_cache("dropped", engine="memory", clock=clock)
        release, started, ended = threading.Event(), threading.Event(), threading.Event()
        calls = []

        @cached(cache=cache, name="load", ttl=10, freshness=Freshness(stale_ttl=50))
        def load(x):
            calls.append(x)
            if len(calls) > 1:
                started.set()
                assert release.wait(PATIENCE)
                ended.set()
            return x

        load(1)
        clock.advance(11)
        load(1)
        assert started.wait(PATIENCE)
        cache.close()
        release.set()
        assert ended.wait(PATIENCE)
        assert calls == [1, 1]


class _Late:
    """Holds the next look-up of a cache back after it has read."""

    def __init__(self, cache):
        self.operations = cache._target._operations
        self.read, self.free = threading.Event(), threading.Event()

    def __enter__(self):
        refresh_behind = self.operations._refresh_behind
        held = []

        def slow(request, stored, entry):
            if not held:
                held.append(1)
                self.read.set()
                while not self.free.is_set():
                    yield Pause(0.001)
            return (yield from refresh_behind(request, stored, entry))

        self.operations._refresh_behind = slow
        return self

    def __exit__(self, *details):
        self.free.set()
        del self.operations._refresh_behind

    def await_read(self):
        assert self.read.wait(PATIENCE)

    def go_on(self):
        self.free.set()


def _flights(load):
    return load._target.cache._flights._flights


def _idle(load):
    return not _flights(load)


def _wait(world, load, flight):
    """Wait until a detached flight has ended."""
    cache = load._target.cache
    table = cache._flights
    if world.loop is None:
        assert table.wait(flight, PATIENCE)
    else:
        assert world.finish(table.wait_async(flight, PATIENCE))

"""Generator functions: teed while they run, shared by who consumes them, stored when complete."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachewright import INJECTED, MISSING, Freshness, cached, disabled
from cachewright.config import Settings
from cachewright.errors import ConfigurationError, EngineError, UnkeyableArgumentError, UnserializableError
from cachewright.testing import Chaos, Failure, install_chaos

PATIENCE = 20.0


class Rows:
    """A body that notes every run and every item, and how the run ended."""

    def __init__(self, items=(0, 1, 2)):
        self.items = items
        self.runs = 0
        self.made = []
        self.closed = 0

    def __call__(self, x):
        self.runs += 1
        try:
            for item in self.items:
                if isinstance(item, BaseException):
                    raise item
                self.made.append(item)
                yield item
        except GeneratorExit:
            self.closed += 1
            raise


class Player:
    """Consumes a generator of either colour item by item, from a thread."""

    def __init__(self, world, generator):
        self._world = world
        self._generator = generator

    def take(self, count):
        """Return that many items."""
        return [self.next() for _ in range(count)]

    def next(self):
        """Return the next item, or raise StopIteration (StopAsyncIteration)."""
        if self._world.loop is None:
            return next(self._generator)
        return self._world.finish(anext(self._generator))

    def rest(self):
        """Return all items that are left."""
        if self._world.loop is None:
            return list(self._generator)
        return self._world.finish(self._generator)

    def close(self):
        """Stop consuming."""
        if self._world.loop is None:
            self._generator.close()
        else:
            self._world.finish(self._generator.aclose())


class Streamed:
    """A decorated generator function of either colour; calling it returns a :class:`Player`."""

    def __init__(self, world, body, cache=None, **options):
        self.world = world
        self.cache = world.open() if cache is None else cache
        if world.loop is None:

            def load(x, y=0):
                yield from body(x)

        else:

            async def load(x, y=0):
                for item in body(x):
                    await asyncio.sleep(0)
                    yield item

        options = {"cache": self.cache._target, "name": "load", **options}
        self.function = cached(**options)(load)
        self.manage = type(self.cache)(world, self.function)

    def __call__(self, *args, **kwargs):
        return Player(self.world, self.function(*args, **kwargs))

    def all(self, *args, **kwargs):
        """Return all items of a call."""
        return self(*args, **kwargs).rest()

    def refresh(self, *args):
        """Return a player of a new run."""
        return Player(self.world, self.function.refresh(*args))


class TestItems:
    """What consumers get."""

    def test_a_complete_run_is_stored_and_replayed(self, world):
        """The second call yields the same without running the function."""
        rows = Rows()
        load = Streamed(world, rows)
        assert load.all(1) == load.all(1) == [0, 1, 2]
        assert rows.runs == 1
        assert load.manage.cache_info()[:2] == (1, 1)

    @pytest.mark.parametrize("items", [[], [None], [0, False, "", None, [], 0.0]], ids=repr)
    def test_falsy_items_and_no_items_are_results(self, world, items):
        """None is an item, and an empty run is a complete one."""
        rows = Rows(items)
        load = Streamed(world, rows)
        assert load.all(1) == load.all(1) == items
        assert rows.runs == 1
        assert load.manage.peek(1) == tuple(items)

    def test_nothing_runs_before_the_first_item_is_asked_for(self, world):
        """As with any generator; and items are made one by one."""
        rows = Rows()
        load = Streamed(world, rows)
        player = load(1)
        assert rows.runs == 0
        assert load.manage.cache_info()[:2] == (0, 0)
        assert player.next() == 0
        assert rows.made == [0]
        assert player.rest() == [1, 2]

    def test_a_generator_that_is_never_started_leaves_nothing(self, world):
        """Closing it or dropping it runs nothing."""
        rows = Rows()
        load = Streamed(world, rows)
        load(1).close()
        del load(1)._generator
        gc.collect()
        assert rows.runs == 0
        assert load.all(1) == [0, 1, 2]

    def test_an_exception_in_the_middle_follows_the_items_before_it(self, world):
        """Nothing is stored; a later call starts over."""
        rows = Rows([0, 1, LookupError("two")])
        load = Streamed(world, rows)
        player = load(1)
        assert player.take(2) == [0, 1]
        with pytest.raises(LookupError, match="two"):
            player.next()
        assert load.manage.peek(1) is MISSING
        rows.items = [5]
        assert load.all(1) == [5]
        assert rows.runs == 2

    def test_every_consumer_gets_the_exception(self, world):
        """Also one that is behind."""
        rows = Rows([0, 1, LookupError("two")])
        load = Streamed(world, rows)
        first, second = load(1), load(1)
        assert second.next() == 0
        for player in (first, second):
            with pytest.raises(LookupError, match="two"):
                player.rest()
        assert rows.runs == 1

    def test_leaving_early_stores_nothing_and_closes_the_source(self, world):
        """The function may clean up at once."""
        rows = Rows()
        load = Streamed(world, rows)
        player = load(1)
        player.next()
        player.close()
        assert rows.closed == 1
        assert load.manage.peek(1) is MISSING
        assert load.all(1) == [0, 1, 2]
        assert rows.runs == 2

    def test_an_infinite_generator_may_be_left(self, world):
        """It is never stored, and never run further than it is asked to."""
        rows = Rows(itertools.count())
        load = Streamed(world, rows)
        player = load(1)
        assert player.take(5) == [0, 1, 2, 3, 4]
        player.close()
        assert rows.made == [0, 1, 2, 3, 4]
        assert load.manage.cache_info().loads == 1

    def test_what_cannot_be_stored_is_an_error_behind_the_last_item(self, tmp_path):
        """Whoever consumes has all items by then; the next call runs the function again."""
        runs = []

        @cached(path=tmp_path, name="locks")
        def load():
            runs.append(1)
            yield 1
            yield threading.Lock()

        for _ in range(2):
            generator = load()
            assert next(generator) == 1
            assert isinstance(next(generator), type(threading.Lock()))
            with pytest.raises(UnserializableError):
                next(generator)
        assert len(runs) == 2
        assert load.peek() is MISSING


class TestSharing:
    """Several consumers of one run."""

    def test_a_second_consumer_of_a_running_stream_gets_all_items(self, world):
        """From the first on, and whoever is ahead advances the run."""
        rows = Rows(range(5))
        load = Streamed(world, rows)
        first = load(1)
        assert first.take(3) == [0, 1, 2]
        second = load(1)
        assert second.take(4) == [0, 1, 2, 3]
        assert first.rest() == [3, 4]
        assert second.rest() == [4]
        assert rows.runs == 1
        info = load.manage.cache_info()
        assert (info.misses, info.loads, info.coalesced) == (2, 1, 1)

    def test_the_others_go_on_when_one_leaves(self, world):
        """Whoever started the run."""
        rows = Rows(range(5))
        load = Streamed(world, rows)
        first, second = load(1), load(1)
        first.take(2)
        second.next()
        first.close()
        assert second.rest() == [1, 2, 3, 4]
        assert rows.closed == 0
        assert load.all(1) == [0, 1, 2, 3, 4]
        assert rows.runs == 1

    @pytest.mark.parametrize("engine", ["memory", "sqlite"])
    def test_one_that_is_collected_leaves_too(self, engine, tmp_path):
        """The last one takes the run with it, and its claim."""
        rows = Rows(range(5))

        @cached(name="load", path=tmp_path if engine == "sqlite" else None)
        def load(x):
            yield from rows(x)

        for number, _ in enumerate(load(1)):
            if number:
                break
        del _
        gc.collect()
        assert rows.closed == 1
        assert list(load(1)) == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("engine", ["memory", "sqlite"])
    def test_a_task_may_break_out(self, engine, tmp_path):
        """The loop closes what it left, whether it goes on or ends."""
        ended = []

        @cached(name="load", path=tmp_path if engine == "sqlite" else None)
        async def load(x):
            try:
                for item in range(5):
                    yield item
            finally:
                ended.append(x)

        async def leave(x):
            async for _ in load(x):
                break

        async def main():
            await leave(1)
            gc.collect()
            while not ended:
                await asyncio.sleep(0.001)
            assert [item async for item in load(1)] == [0, 1, 2, 3, 4]
            await leave(2)

        asyncio.run(asyncio.wait_for(main(), PATIENCE))
        gc.collect()
        assert ended == [1, 1, 2]

    def test_many_consumers_at_once_run_it_once(self, world):
        """Threads or tasks, all from the start."""
        rows = Rows(range(100))
        load = Streamed(world, rows)

        async def consume():
            return [item async for item in load.function(1)]

        def start():
            return world.start(consume) if world.loop is not None else world.start(load.all, 1)

        futures = [start() for _ in range(40)]
        assert [one.result(60) for one in futures] == [list(range(100))] * 40
        assert rows.runs == 1
        assert load.manage.peek(1) == tuple(range(100))

    def test_threads_that_come_and_go_get_consistent_items(self):
        """Some leave early, some are late: each sees a prefix of the items."""
        runs = []

        @cached
        def load(x):
            runs.append(x)
            yield from range(50)

        def consume(seed):
            count = None if seed % 3 else seed
            items = list(itertools.islice(load(seed % 4), count))
            assert items == list(range(50))[:count]

        with ThreadPoolExecutor(16) as pool:
            for one in [pool.submit(consume, seed) for seed in range(48)]:
                one.result(60)
        assert {load.peek(x) for x in range(4)} == {tuple(range(50))}

    def test_single_flight_can_be_switched_off(self, world):
        """Then every call has a run of its own."""
        rows = Rows()
        load = Streamed(world, rows, single_flight=False)
        first, second = load(1), load(1)
        assert first.next() == second.next() == 0
        assert rows.runs == 2
        assert first.rest() == second.rest() == [1, 2]

    def test_a_generator_that_asks_for_its_own_items_gets_a_run_of_its_own(self):
        """Instead of waiting for itself."""
        runs = []

        @cached
        def load(x):
            runs.append(x)
            yield len(runs)
            if len(runs) < 3:
                yield from load(x)

        assert list(load(1)) == [1, 2, 3]
        assert load.cache_info().loads == 3

    def test_an_asynchronous_one_too(self):
        """The same."""
        runs = []

        @cached
        async def load(x):
            runs.append(x)
            yield len(runs)
            if len(runs) < 3:
                async for item in load(x):
                    yield item

        async def main():
            return [item async for item in load(1)]

        assert asyncio.run(asyncio.wait_for(main(), PATIENCE)) == [1, 2, 3]

    def test_recursion_over_other_arguments_is_stored_level_by_level(self, world):
        """As for functions."""

        @cached
        def down(x):
            yield x
            if x:
                yield from down(x - 1)

        assert list(down(3)) == [3, 2, 1, 0]
        assert [down.peek(x) for x in (0, 1)] == [(0,), (1, 0)]

    def test_circles_of_two_threads_end(self):
        """Each run needs the other's items: one of them computes on its own."""
        barrier = threading.Barrier(2, timeout=PATIENCE)
        entered = threading.local()

        @cached
        def load(x):
            nested = getattr(entered, "once", False)
            entered.once = True
            if not nested:
                barrier.wait()
                yield from load(1 - x)
            yield x

        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(lambda x=x: list(load(x))) for x in (0, 1)]
            results = [one.result(PATIENCE) for one in futures]
        assert results in ([[1, 0], [1, 0, 1]], [[0, 1, 0], [0, 1]])


class TestInvalidation:
    """What is invalidated while it streams is not stored, and nobody joins it any more."""

    @pytest.mark.parametrize("by", ["invalidate", "clear", "where", "tags", "put"])
    def test_it_is_delivered_and_not_stored(self, world, by):
        """Later callers get a run of their own, or the value that was put."""
        rows = Rows()
        load = Streamed(world, rows, tags="row:{x}")
        old = load(1)
        assert old.next() == 0
        if by == "invalidate":
            load.manage.invalidate(1)
        elif by == "clear":
            load.manage.cache_clear()
        elif by == "where":
            load.manage.invalidate_where(x=1)
        elif by == "tags":
            load.cache.invalidate_tags("row:1")
        else:
            assert load.manage.put(["mine"], 1)
        rows.items = ["new"]
        assert load.all(1) == (["mine"] if by == "put" else ["new"])
        assert old.rest() == [1, 2]
        assert load.all(1) == (["mine"] if by == "put" else ["new"])
        assert load.manage.peek(1) == (("mine",) if by == "put" else ("new",))

    def test_a_stored_result_goes_with_its_tags_and_its_ttl(self, world):
        """As for any function."""
        rows = Rows()
        load = Streamed(world, rows, tags=("row:{x}", lambda items: [f"n:{len(items)}"]), ttl=10)
        load.all(1)
        load.cache.invalidate_tags("n:3")
        assert load.manage.peek(1) is MISSING
        load.all(1)
        world.clock.advance(11)
        assert load.all(1) == [0, 1, 2]
        assert rows.runs == 3


class TestRules:
    """Options see the tuple of all items."""

    def test_conditions_and_ttl_functions_are_given_all_items(self, world):
        """What they refuse is delivered and not stored."""
        seen = []
        load = Streamed(world, Rows(), cache_if=seen.append, ttl=len)
        assert load.all(1) == [0, 1, 2]
        assert seen == [(0, 1, 2)]
        assert load.manage.peek(1) is MISSING
        load = Streamed(world, Rows(), world.open("other"), ttl=len)
        load.all(1)
        world.clock.advance(2)
        assert load.manage.is_cached(1)
        world.clock.advance(2)
        assert not load.manage.is_cached(1)

    def test_copy_hands_out_items_of_the_callers_own(self):
        """What one consumer of the stored items changes is not seen by the next."""

        @cached(copy="value")
        def load():
            yield []

        list(load())
        next(load()).append(1)
        assert list(load()) == [[]]

    def test_keys_are_made_as_for_any_function(self):
        """Defaults, key functions, ignored and unkeyable arguments."""

        @cached(key=lambda x, y=1: x.lower())
        def load(x, y=1):
            yield x

        assert list(load("A")) == list(load("a", y=3)) == ["A"]

        @cached
        def plain(x):
            yield x

        with pytest.raises(UnkeyableArgumentError):
            list(plain([threading.Lock()]))

        assert list(plain([1, 2])) == list(plain([1, 2])) == [[1, 2]]
        with pytest.raises(TypeError, match="missing 1 required"):
            plain()

    def test_a_load_context_is_injected(self, world):
        """It decides about the ttl, the tags and whether to store at all."""

        @cached
        def load(x, *, ctx=INJECTED):
            yield x
            ctx.tags.append("late")
            if x == 2:
                ctx.no_store()

        assert list(load(1)) == [1]
        assert list(load(2)) == [2]
        assert load.is_cached(1)
        assert not load.is_cached(2)
        load.cache.invalidate_tags("late")
        assert not load.is_cached(1)

    @pytest.mark.parametrize(
        "options", [{"freshness": Freshness(ttl=1, stale_ttl=1)}, {"cache_errors": LookupError}], ids=str
    )
    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_what_has_no_meaning_for_items_is_refused_at_decoration(self, options, asynchronous):
        """Rather than ignored."""

        def load():
            yield 1

        async def aload():
            yield 1

        with pytest.raises(ConfigurationError, match="generator function"):
            cached(**options)(aload if asynchronous else load)

    def test_an_engine_that_is_down_is_not_noticed(self, tmp_path):
        """Unless that is asked for; then its error comes, and no run is left behind."""
        with install_chaos("sqlite", Chaos(Failure())):

            @cached(engine="chaos", path=tmp_path, name="down")
            def load(x):
                yield from range(x)

            @cached(engine="chaos", path=tmp_path, name="loud", on_engine_error="raise")
            def loud(x):
                yield from range(x)

            assert list(load(3)) == list(load(3)) == [0, 1, 2]
            with pytest.raises(EngineError):
                list(loud(3))


class TestManagement:
    """The function object is the API."""

    def test_peek_put_and_is_cached_deal_in_tuples(self, world):
        """put() takes any iterable."""
        rows = Rows()
        load = Streamed(world, rows)
        assert load.manage.peek(1) is MISSING
        assert load.manage.put(iter([7, 8]), 1)
        assert load.manage.peek(1) == (7, 8)
        assert load.manage.is_cached(1)
        assert load.all(1) == [7, 8]
        assert rows.runs == 0
        assert load.manage.invalidate(1)
        assert not load.manage.is_cached(1)
        with pytest.raises(TypeError, match="not iterable"):
            load.manage.put(7, 1)

    def test_refresh_runs_again_and_replaces_when_complete(self, world):
        """Until then the old items stay; a refresh that is left early changes nothing."""
        rows = Rows()
        load = Streamed(world, rows)
        load.all(1)
        rows.items = ["new", "newer"]
        player = load.refresh(1)
        assert player.next() == "new"
        assert load.all(1) == [0, 1, 2]
        player.close()
        assert load.all(1) == [0, 1, 2]
        assert load.refresh(1).rest() == ["new", "newer"]
        assert load.all(1) == ["new", "newer"]
        info = load.manage.cache_info()
        assert (info.hits, info.misses, info.loads) == (3, 1, 3)

    def test_a_refresh_supersedes_a_run_under_way(self, world):
        """The older run is delivered and not stored."""
        rows = Rows()
        load = Streamed(world, rows)
        old = load(1)
        old.next()
        rows.items = ["new"]
        assert load.refresh(1).rest() == ["new"]
        assert old.rest() == [1, 2]
        assert load.manage.peek(1) == ("new",)

    def test_methods_have_entries_per_instance(self):
        """And they go with it."""

        class Table:
            def __init__(self, name):
                self.name = name

            @cached
            def rows(self, x):
                yield self.name
                yield x

        a, b = Table("a"), Table("b")
        assert list(a.rows(1)) == list(a.rows(1)) == ["a", 1]
        assert list(b.rows(1)) == ["b", 1]
        assert Table.rows.peek(a, 1) == ("a", 1)
        assert list(Table.rows.refresh(a, 1)) == ["a", 1]
        assert Table.rows.invalidate(a, 1)
        assert Table.rows.peek(b, 1) == ("b", 1)
        with pytest.raises(TypeError, match="pass the instance first"):
            Table.rows.peek(1, 1)
        for _ in range(100):
            list(Table("gone").rows(1))
        assert len(Table.rows.cache) <= 8
        assert Table.rows.cache_info().currsize == 1

    def test_disabled_streams_straight_from_the_function(self, world):
        """Nothing is read or stored."""
        rows = Rows()
        load = Streamed(world, rows)
        load.all(1)
        with disabled():
            player = load(1)
            assert player.next() == 0
            assert player.rest() == [1, 2]
        assert rows.runs == 2
        assert load.manage.cache_info()[:2] == (0, 2)
        assert load.manage.cache_info().loads == 2

    def test_the_settings_can_disable(self, tmp_path):
        """Then the store is not even opened."""

        @cached(path=tmp_path / "store", name="off", settings=Settings(disable=True))
        def load():
            yield 1

        @cached(path=tmp_path / "store", name="off", settings=Settings(disable=True))
        async def aload():
            yield 1

        async def main():
            return [item async for item in aload()]

        assert list(load()) == list(load()) == asyncio.run(main()) == [1]
        assert not (tmp_path / "store").exists()

    def test_it_stays_a_generator_function(self):
        """To inspect it is what it was."""

        @cached
        def load():
            yield 1

        @cached
        async def aload():
            yield 1

        assert inspect.isgeneratorfunction(load)
        assert inspect.isasyncgenfunction(aload)
        assert not inspect.iscoroutinefunction(aload)
        assert inspect.isgenerator(load())


class TestEventLoops:
    """What only asynchronous generators meet."""

    def test_cancelling_one_consumer_harms_no_other(self):
        """The run goes on for those who are left."""

        async def main():
            gate, runs = asyncio.Event(), []

            @cached
            async def load(x):
                runs.append(x)
                yield 0
                await gate.wait()
                yield 1

            async def consume():
                return [item async for item in load(1)]

            first = asyncio.create_task(consume())
            while not runs:
                await asyncio.sleep(0)
            second = asyncio.create_task(consume())
            for _ in range(5):
                await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            assert first.cancelled()
            gate.set()
            assert await second == [0, 1]
            assert runs == [1]
            assert await load.peek(1) == (0, 1)

        asyncio.run(asyncio.wait_for(main(), PATIENCE))

    def test_cancelling_the_last_consumer_ends_the_run(self):
        """Its clean-up runs before the cancellation is over; a later call starts anew."""

        async def main():
            gate, ended = asyncio.Event(), []

            @cached
            async def load(x):
                try:
                    yield 0
                    await gate.wait()
                    yield 1
                finally:
                    ended.append(x)

            async def consume():
                return [item async for item in load(1)]

            task = asyncio.create_task(consume())
            for _ in range(20):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert ended == [1]
            gate.set()
            assert await consume() == [0, 1]

        asyncio.run(asyncio.wait_for(main(), PATIENCE))

    @pytest.mark.parametrize("engine", ["memory", "sqlite"])
    def test_what_is_stored_outlives_its_event_loop(self, engine, tmp_path):
        """asyncio.run() twice; a run that the first left unfinished is started anew."""
        runs = []

        @cached(name="load", path=tmp_path if engine == "sqlite" else None)
        async def load(x):
            runs.append(x)
            yield 0
            yield x

        async def begin():
            leftover.append(load(1))
            assert await anext(leftover[0]) == 0
            return [item async for item in load(2)]

        async def consume():
            return [[item async for item in load(x)] for x in (1, 2)]

        leftover = []
        assert asyncio.run(begin()) == [0, 2]
        assert asyncio.run(consume()) == [[0, 1], [0, 2]]
        assert runs == [1, 2, 1]

    def test_tasks_of_two_loops_share_a_run(self):
        """The second loop is served by the first."""
        begun, gate, runs = threading.Event(), threading.Event(), []

        @cached
        async def load(x):
            runs.append(x)
            yield 0
            begun.set()
            await asyncio.to_thread(gate.wait, PATIENCE)
            yield 1

        async def consume():
            return [item async for item in load(1)]

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(asyncio.run, consume())
            assert begun.wait(PATIENCE)
            second = pool.submit(asyncio.run, consume())
            while load.cache_info().coalesced < 1:
                threading.Event().wait(0.002)
            gate.set()
            assert first.result(PATIENCE) == second.result(PATIENCE) == [0, 1]
        assert runs == [1]


PEER = """
import sys
from pathlib import Path
from cachewright import cached
home = Path(sys.argv[1])

@cached(path=home / "store", name="shared")
def load(x):
    with (home / "runs").open("a") as runs:
        runs.write("run\\n")
    for item in range(5):
        yield item

def say(what):
    sys.stdout.write(f"{what}\\n"); sys.stdout.flush()

rows = load(1)
say("ready")
for line in sys.stdin:
    if line == "one\\n":
        say(next(rows))
    else:
        say(list(rows))
"""


class Peer:
    """Another process that streams the same key."""

    def __init__(self, home):
        script = home / "peer.py"
        script.write_text(textwrap.dedent(PEER))
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.hear() == "ready"

    def hear(self):
        return self.process.stdout.readline().strip()

    def tell(self, what):
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class TestProcesses:
    """Processes that share a store."""

    @pytest.fixture
    def peers(self, tmp_path):
        """Return two."""
        started = [Peer(tmp_path), Peer(tmp_path)]
        yield started
        for peer in started:
            peer.end()

    def test_one_runs_and_the_other_waits_for_the_result(self, peers, tmp_path):
        """The second gets the items when they are stored."""
        first, second = peers
        first.tell("one")
        assert first.hear() == "0"
        second.tell("one")
        first.tell("all")
        assert first.hear() == "[1, 2, 3, 4]"
        assert second.hear() == "0"
        second.tell("all")
        assert second.hear() == "[1, 2, 3, 4]"
        assert (tmp_path / "runs").read_text() == "run\n"

    def test_a_process_that_is_killed_while_it_streams_is_replaced(self, peers, tmp_path):
        """Nobody waits for the dead."""
        first, second = peers
        first.tell("one")
        assert first.hear() == "0"
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        second.tell("one")
        assert second.hear() == "0"
        second.tell("all")
        assert second.hear() == "[1, 2, 3, 4]"
        assert (tmp_path / "runs").read_text() == "run\nrun\n"

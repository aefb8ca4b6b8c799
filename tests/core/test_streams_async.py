"""One running asynchronous generator serves all who ask, and no consumer's end is another's."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright._streams import AbandonedStreamError, BlockedStreamError
from cachewright._streams_async import AsyncStream

PATIENCE = 20.0
"""Seconds after which a test that waits for another thread gives up."""

FALSY = [None, 0, False, "", (), float("nan"), StopAsyncIteration, Ellipsis]


class Source:
    """An asynchronous generator function's state: what it did, and how its streams ended."""

    def __init__(self, items, error=None, *, pauses=1, storing=0):
        self.items = items
        self.error = error
        self.pauses = pauses
        self.storing = storing
        self.made = []
        self.closed = 0
        self.ends = []

    async def generate(self):
        try:
            for item in self.items:
                for _ in range(self.pauses):
                    await asyncio.sleep(0)
                self.made.append(item)
                yield item
            if self.error is not None:
                raise self.error
        finally:
            try:
                await asyncio.sleep(0)
            finally:
                self.closed += 1

    async def ended(self, items, error):
        for _ in range(self.storing):
            await asyncio.sleep(0)
        self.ends.append((None if items is None else list(items), error))

    def stream(self):
        return AsyncStream(self.generate(), self.ended)


def run(main):
    """Run a coroutine function to its end; complaints of the event loop and tasks left behind fail."""
    complaints = []

    async def watched():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        result = await asyncio.wait_for(main(), PATIENCE)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        return result

    result = asyncio.run(watched())
    gc.collect()
    assert complaints == []
    return result


async def all_of(stream, start=0):
    return [item async for item in stream.consume(start)]


async def into(got, stream):
    """Append to ``got`` what ``stream`` yields, as long as it does."""
    async for item in stream.consume():
        got.append(item)


async def until(condition):
    """Let others run until ``condition()`` holds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0)


class TestItems:
    """What consumers get."""

    def test_falsy_items_are_items(self):
        """Nothing that a generator may yield is taken for its end."""

        async def main():
            source = Source(FALSY)
            stream = source.stream()
            got = await all_of(stream)
            assert [*map(id, got)] == [*map(id, FALSY)]
            [(items, error)] = source.ends
            assert [*map(id, items)] == [*map(id, FALSY)]
            assert (error, stream.state, source.closed) == (None, "complete", 1)

        run(main)

    def test_a_late_consumer_gets_all_items_and_each_is_made_once_and_when_it_is_wanted(self):
        """The buffer is replayed, then whoever needs the next item has it made."""

        async def main():
            source = Source(range(5))
            stream = source.stream()
            first = stream.consume()
            assert [await anext(first), await anext(first)] == [0, 1]
            second = stream.consume()
            assert [await anext(second) for _ in range(4)] == [0, 1, 2, 3]
            for _ in range(5):
                await asyncio.sleep(0)
            assert source.made == [0, 1, 2, 3]
            assert [item async for item in first] == [2, 3, 4]
            assert [item async for item in second] == [4]
            assert source.ends == [([0, 1, 2, 3, 4], None)]
            assert await all_of(stream, 3) == [3, 4]

        run(main)

    def test_many_tasks_share_one_stream(self):
        """Each gets everything, in order."""

        async def main():
            source = Source(range(100))
            stream = source.stream()
            results = await asyncio.gather(*(all_of(stream, start) for start in range(50)))
            assert results == [[*range(start, 100)] for start in range(50)]
            assert source.made == [*range(100)]
            assert source.ends == [([*range(100)], None)]

        run(main)

    def test_an_empty_generator_is_complete(self):
        """No items are a result."""

        async def main():
            source = Source(())
            assert await all_of(source.stream()) == []
            assert source.ends == [([], None)]

        run(main)


class TestEnds:
    """How a stream ends, and who gets to know it."""

    @pytest.mark.parametrize("error", [LookupError("no more"), asyncio.CancelledError("mine")])
    def test_an_exception_reaches_all_after_the_items_before_it(self, error):
        """It is one object, and its traceback does not grow; CancelledError of the source is one, too."""

        async def main():
            source = Source([1, 2], error)
            stream = source.stream()
            depths = []
            for _ in range(5):
                got = []
                with pytest.raises(type(error)) as caught:
                    await into(got, stream)
                assert got == [1, 2]
                assert caught.value is error
                depth, trace = 0, caught.value.__traceback__
                while trace is not None:
                    depth, trace = depth + 1, trace.tb_next
                depths.append(depth)
            assert len(set(depths)) == 1
            assert (source.ends, stream.state) == ([(None, error)], "failed")

        run(main)

    def test_the_last_consumer_that_stops_closes_the_source_and_waits_for_that(self):
        """Others may still want items."""

        async def main():
            source = Source(count())
            stream = source.stream()
            one, two = stream.consume(), stream.consume()
            assert (await anext(one), await anext(two)) == (0, 0)
            await one.aclose()
            assert (source.closed, source.ends, await anext(two)) == (0, [], 1)
            await two.aclose()
            assert (source.closed, source.ends, stream.state) == (1, [(None, None)], "abandoned")
            with pytest.raises(AbandonedStreamError):
                stream.consume()

        run(main)

    @pytest.mark.parametrize("started", [True, False])
    @pytest.mark.parametrize("how", ["aclose", "del"])
    def test_a_consumer_is_gone_when_it_is_closed_or_collected_started_or_not(self, started, how):
        """Nobody has to close a generator."""

        async def main():
            source = Source(count())
            stream = source.stream()
            consumer = stream.consume()
            if started:
                await anext(consumer)
            if how == "aclose":
                await consumer.aclose()
            else:
                del consumer
                gc.collect()
            await until(lambda: source.ends)
            assert (stream.state, source.closed) == ("abandoned", int(started))
            assert source.ends == [(None, None)]

        run(main)

    def test_an_exception_thrown_into_a_consumer_is_its_own(self):
        """The stream and the other consumers go on."""

        async def main():
            source = Source(range(4))
            stream = source.stream()
            one, two = stream.consume(), stream.consume()
            assert (await anext(one), await anext(two)) == (0, 0)
            with pytest.raises(ValueError, match="mine"):
                await one.athrow(ValueError("mine"))
            assert [item async for item in two] == [1, 2, 3]

        run(main)

    def test_what_closing_the_source_raises_reaches_who_closed_it(self):
        """As with a generator of one's own."""

        async def generate():
            try:
                yield 1
            finally:
                raise OSError("cannot release")

        async def main():
            source = Source(())
            stream = AsyncStream(generate(), source.ended)
            consumer = stream.consume()
            await anext(consumer)
            with pytest.raises(OSError, match="cannot release"):
                await consumer.aclose()
            assert (source.ends, stream.state) == ([(None, None)], "abandoned")

        run(main)

    def test_what_storing_raises_is_the_error_of_all_after_the_last_item(self):
        """As if the generator had raised it."""

        async def ended(items, error):
            raise OSError("disk full")

        async def main():
            stream = AsyncStream(Source([1, 2]).generate(), ended)
            for _ in range(2):
                got = []
                with pytest.raises(OSError, match="disk full"):
                    await into(got, stream)
                assert got == [1, 2]

        run(main)


@pytest.mark.slow
class TestCancelling:
    """A cancelled consumer is one consumer less."""

    @pytest.mark.parametrize("others", [0, 1, 3])
    @pytest.mark.parametrize("storing", [0, 2])
    def test_a_consumer_cancelled_at_any_await_loses_no_item_and_harms_nobody(self, others, storing):
        """The others get everything; without others the source is closed, or what is complete stored."""
        outcomes = set()

        async def main(place):
            source = Source(range(3), pauses=2, storing=storing)
            stream = source.stream()
            victim = asyncio.create_task(all_of(stream))
            rest = [asyncio.create_task(all_of(stream)) for _ in range(others)]
            for _ in range(place):
                await asyncio.sleep(0)
            done = victim.done()
            victim.cancel()
            results = await asyncio.gather(victim, *rest, return_exceptions=True)
            assert all(result == [0, 1, 2] for result in results[1:])
            assert results[0] == [0, 1, 2] if done else isinstance(results[0], asyncio.CancelledError)
            await until(lambda: place == 0 or source.ends)
            if others:
                assert source.made == [0, 1, 2]
            complete = ([0, 1, 2], None)
            expected = [[complete]] if others or done else [[], [complete], [(None, None)]]
            assert source.ends in expected
            began = source.made or source.closed
            assert source.closed == 1 or not began
            outcomes.add((stream.state, done))
            return done

        for place in count():
            if run(lambda place=place: main(place)):
                break
        assert place > 10
        assert ("complete", True) in outcomes
        assert others or ("abandoned", False) in outcomes

    def test_the_task_of_the_source_cancelled_at_any_await_ends_all_cleanly(self):
        """As at the end of a loop: cleanup runs once, nobody waits for ever, and nothing short is stored."""

        async def main(place):
            source = Source(range(3), pauses=2, storing=1)
            stream = source.stream()
            tasks = [asyncio.create_task(all_of(stream)) for _ in range(2)]
            await until(lambda: stream._task is not None)
            for _ in range(place):
                await asyncio.sleep(0)
            done = stream._task.done()
            stream._task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(result == [0, 1, 2] or isinstance(result, AbandonedStreamError) for result in results)
            assert all(items in (None, [0, 1, 2]) for items, _ in source.ends)
            assert len(source.ends) <= 1
            assert source.closed == 1 or not source.made
            assert stream.state in {"complete", "abandoned"}
            return done

        for place in count():
            if run(lambda place=place: main(place)):
                break
        assert place > 10

    def test_a_time_limit_inside_the_source_works_over_its_yields(self):
        """The source runs in one task: what is bound to a task holds from its first item to its last."""

        async def generate():
            async with asyncio.timeout(0.02):
                yield 1
                yield 2
                await asyncio.sleep(PATIENCE)

        async def resting():
            async with asyncio.timeout(0.02):
                yield 1
                yield 2

        async def main():
            for make in (generate, resting):
                source = Source(())
                stream = AsyncStream(make(), source.ended)
                consumer = stream.consume()
                assert [await anext(consumer), await anext(consumer)] == [1, 2]
                if make is resting:
                    await until(lambda source=source: source.ends)
                with pytest.raises(TimeoutError) as caught:
                    await anext(consumer)
                assert source.ends == [(None, caught.value)]

        run(main)

    def test_a_source_that_swallows_its_cancellation_does_not_hang_and_is_not_stored(self):
        """What it yields after that was not the whole result."""

        async def stubborn():
            while True:
                try:
                    yield 1
                    await asyncio.sleep(PATIENCE)
                except asyncio.CancelledError:
                    yield 2

        async def main():
            source = Source(())
            stream = AsyncStream(stubborn(), source.ended)
            task = asyncio.create_task(all_of(stream))
            await until(lambda: stream._items)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert source.ends == [(None, None)]

        run(main)


class TestCircles:
    """A source that consumes itself is told so instead of waiting for ever."""

    def test_a_source_that_asks_for_its_own_stream_is_refused_behind_what_there_is(self):
        """Also in a task that it started."""
        refused = []

        async def generate():
            yield 1
            for ask in (all_of(stream), asyncio.create_task(all_of(stream))):
                try:
                    await ask
                except BlockedStreamError as error:
                    refused.append(error.served)
            yield 2

        async def main():
            nonlocal stream
            stream = AsyncStream(generate(), Source(()).ended)
            assert await all_of(stream) == [1, 2]

        stream = None
        run(main)
        assert refused == [1, 1]

    def test_two_streams_that_need_each_other_are_told_at_once(self):
        """One of them is refused, and both end."""
        refused = []
        streams = {}

        async def generate(name, other):
            await asyncio.sleep(0)
            try:
                async for item in streams[other].consume():
                    yield item
            except BlockedStreamError:
                refused.append(name)
            yield name

        async def main():
            for name, other in ("ab", "ba"):
                streams[name] = AsyncStream(generate(name, other), Source(()).ended)
            return await asyncio.gather(all_of(streams["a"]), all_of(streams["b"]))

        results = run(main)
        [loser] = refused
        assert sorted(results) == sorted([[loser], [loser, "ab".replace(loser, "")]])


@pytest.mark.parametrize("place", ["home", "away"])
def test_a_wait_that_takes_too_long_ends_with_a_diagnostic(place, monkeypatch, caplog):
    """Whoever waits for a source that is stuck computes on its own, behind what it got."""
    monkeypatch.setattr("cachewright._flight.CHECK_SECONDS", 0.01)
    monkeypatch.setattr("cachewright._flight.LIMIT_SECONDS", 0.0)
    monkeypatch.setattr("cachewright._streams_async.LIMIT_SECONDS", 0.0)

    async def generate():
        yield 1
        await asyncio.sleep(PATIENCE)

    async def wait(stream):
        with pytest.raises(BlockedStreamError) as caught:
            await all_of(stream, 0)
        return caught.value.served

    async def main():
        stream = AsyncStream(generate(), Source(()).ended)
        other = stream.consume()
        assert await anext(other) == 1
        waiting = wait(stream)
        assert await (waiting if place == "home" else asyncio.to_thread(asyncio.run, waiting)) == 1
        await other.aclose()
        assert stream.state == "abandoned"

    run(main)
    assert "waited" in caplog.text


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks came with Python 3.12")
@pytest.mark.parametrize("pauses", [0, 1])
def test_eager_tasks_make_no_difference(pauses):
    """The task of the source may run before the call that creates it returns."""
    refused = []

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        source = Source(range(20), pauses=pauses)
        stream = source.stream()
        results = await asyncio.gather(*(all_of(stream, start) for start in range(10)))
        assert results == [[*range(start, 20)] for start in range(10)]
        assert source.made == [*range(20)]

        async def generate():
            try:
                await all_of(circle)
            except BlockedStreamError as error:
                refused.append(error.served)
            yield 1

        circle = AsyncStream(generate(), source.ended)
        assert await all_of(circle) == [1]
        assert source.ends == [([*range(20)], None), ([1], None)]

    run(main)
    assert refused == [0]


class TestLoops:
    """Consumers of several event loops, and loops that end."""

    def test_consumers_in_other_loops_are_served_by_the_loop_of_the_source(self):
        """Four threads with a loop each and tasks in them: each item is made once."""
        source = Source(range(200))
        streams = []
        made = threading.Event()
        others_done = threading.Semaphore(0)

        async def home():
            streams.append(source.stream())
            made.set()
            got = await all_of(streams[0])
            for _ in range(3):
                assert await asyncio.to_thread(others_done.acquire, timeout=PATIENCE)
            return [got]

        async def away():
            assert made.wait(PATIENCE)
            try:
                return await asyncio.gather(*(all_of(streams[0]) for _ in range(5)))
            finally:
                others_done.release()

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(run, home), *(pool.submit(run, away) for _ in range(3))]
            results = [result for future in futures for result in future.result(PATIENCE)]
        assert results == [[*range(200)]] * 16
        assert source.made == [*range(200)]
        assert source.ends == [([*range(200)], None)]

    def test_a_last_consumer_in_another_loop_has_the_source_closed(self):
        """In the loop of the source."""

        async def main():
            source = Source(count())
            stream = source.stream()

            async def elsewhere():
                consumer = stream.consume()
                assert await anext(consumer) == 0
                await consumer.aclose()

            await asyncio.to_thread(asyncio.run, elsewhere())
            await until(lambda: source.ends)
            assert (source.closed, source.ends, stream.state) == (1, [(None, None)], "abandoned")

        run(main)

    def test_a_loop_that_ends_in_the_middle_leaves_nothing_behind(self):
        """asyncio.run returns with a consumer that rests: the source is closed and nobody complains."""
        source = Source(count())
        kept = []

        async def main():
            stream = source.stream()
            consumer = stream.consume()
            assert await anext(consumer) == 0
            kept.extend((stream, consumer))

        complaints = []

        async def watched():
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await main()

        asyncio.run(watched())
        assert (kept[0].state, source.closed, source.ends) == ("abandoned", 1, [(None, None)])
        kept.clear()
        gc.collect()
        assert complaints == []

    @pytest.mark.parametrize("ending", ["asyncio.run", "stop"])
    def test_consumers_elsewhere_learn_that_the_loop_of_the_source_is_gone(self, ending):
        """They are told how far they were served, and may start over."""
        source = Source(count())
        shared = []

        async def begin():
            stream = source.stream()
            consumer = stream.consume()
            assert await anext(consumer) == 0
            shared.extend((stream, consumer))

        async def go_on():
            consumer = shared[0].consume()
            with pytest.raises(AbandonedStreamError) as caught:
                await anext(consumer)
                await anext(consumer)
            return caught.value.served

        loop = asyncio.new_event_loop()
        try:
            if ending == "stop":  # it may be used again, but nobody knows
                loop.run_until_complete(begin())
                assert asyncio.run(go_on()) == 1
            else:
                asyncio.run(begin())
                with pytest.raises(AbandonedStreamError):
                    shared[0].consume()
            assert (shared[0].state, source.ends) == ("abandoned", [(None, None)])
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(asyncio.sleep(0))
            assert source.closed == 1
        finally:
            loop.close()

    def test_a_consumer_that_waits_while_the_loop_of_the_source_ends_is_told(self):
        """By the end of the source, not by a time limit."""
        leave = threading.Event()
        streams = []
        made = threading.Event()

        async def generate():
            yield 0
            await asyncio.sleep(PATIENCE)

        async def home():
            streams.append(AsyncStream(generate(), Source(()).ended))
            made.set()
            await asyncio.to_thread(leave.wait, PATIENCE)

        async def away():
            consumer = streams[0].consume()
            assert await anext(consumer) == 0
            waiting = asyncio.create_task(anext(consumer))
            await until(lambda: streams[0]._next.loop_waiters)
            leave.set()
            with pytest.raises(AbandonedStreamError) as caught:
                await waiting
            return caught.value.served

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(asyncio.run, home())
            assert made.wait(PATIENCE)
            assert pool.submit(asyncio.run, away()).result(PATIENCE) == 1
            first.result(PATIENCE)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_child_finds_the_stream_of_its_parent_abandoned(self):
        """The loop that ran it is not the child's, even though its copy says that it runs."""
        shared = []
        made, leave = threading.Event(), threading.Event()

        async def home():
            source = Source(count())
            stream = source.stream()
            consumer = stream.consume()
            await anext(consumer)
            shared.extend((stream, source))
            made.set()
            await asyncio.to_thread(leave.wait, PATIENCE)
            assert await anext(consumer) == 1

        async def in_child():
            try:
                await all_of(shared[0])
            except AbandonedStreamError as error:
                return error.served == 1 and shared[1].ends == [(None, None)]
            return False

        with ThreadPoolExecutor(1) as pool:
            parent = pool.submit(asyncio.run, home())
            assert made.wait(PATIENCE)
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(0 if asyncio.run(asyncio.wait_for(in_child(), PATIENCE)) else 1)
                finally:
                    os._exit(2)
            _, status = os.waitpid(pid, 0)
            leave.set()
            parent.result(PATIENCE)
        assert os.waitstatus_to_exitcode(status) == 0


class Play:
    """Consumers of one stream, each of which has to see what a list would show."""

    def __init__(self, length, error, pauses):
        self.length, self.error = length, error
        self.source = Source(range(length), error, pauses=pauses)
        self.stream = self.source.stream()
        self.consumers, self.places, self.asking = {}, {}, {}

    async def ask(self, number):
        try:
            item = await anext(self.consumers[number])
        except StopAsyncIteration:
            assert (self.error, self.places[number]) == (None, self.length)
        except LookupError as raised:
            assert (raised, self.places[number]) == (self.error, self.length)
        else:
            assert item == self.places[number] < self.length
            self.places[number] += 1
            return
        del self.consumers[number]

    async def settle(self, number, *, cancel=False):
        """Wait for what a consumer asked for before."""
        task = self.asking.pop(number, None)
        if task is None:
            return
        if cancel:
            task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, asyncio.CancelledError):
            self.consumers.pop(number, None)
        else:
            assert outcome is None, outcome

    def start(self, number):
        if number not in self.consumers:
            self.consumers[number] = self.stream.consume()
            self.places[number] = 0

    async def move(self, move, number):
        await self.settle(number, cancel=move == "cancel")
        if number not in self.consumers:
            return
        if move == "ask":
            self.asking[number] = asyncio.create_task(self.ask(number))
        elif move == "next":
            await self.ask(number)
        elif move == "aclose":
            await self.consumers.pop(number).aclose()

    async def finish(self):
        for number in [*self.asking]:
            await self.settle(number)
        for consumer in [*self.consumers.values()]:
            await consumer.aclose()
        # a consumer whose task was cancelled before it began was not closed, but collected
        await until(lambda: self.source.closed or not self.source.made)
        assert self.source.made == [*range(len(self.source.made))]
        ends = {
            "running": [],
            "complete": [([*range(self.length)], None)],
            "failed": [(None, self.error)],
            "abandoned": [(None, None)],
        }
        assert self.source.ends == ends[self.stream.state]


MOVES = ["start", "next", "next", "ask", "aclose", "cancel", "turn"]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(0, 5),
    error=st.sampled_from([None, LookupError("model")]),
    pauses=st.integers(0, 2),
    moves=st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 3)), max_size=40),
)
def test_any_interleaving_of_consumers_gives_each_what_a_list_would(length, error, pauses, moves):
    """Start, next, asking without waiting, closing and cancelling of up to four consumers, in any order."""

    async def main():
        play = Play(length, error, pauses)
        for move, number in moves:
            if move == "start" and play.stream.state == "abandoned":
                assert not play.consumers
            elif move == "start":
                play.start(number)
            elif move == "turn":
                await asyncio.sleep(0)
            else:
                await play.move(move, number)
        await play.finish()

    run(main)

"""One running generator serves all who ask, each item made once."""

from __future__ import annotations

import gc
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from weakref import ref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright._streams import AbandonedStreamError, BlockedStreamError, Stream

PATIENCE = 20.0
"""Seconds after which a test that waits for another thread gives up."""

FALSY = [None, 0, False, "", (), float("nan"), StopIteration, Ellipsis]


class Source:
    """A generator function's state: what it did, and how its streams ended."""

    def __init__(self, items, error=None):
        self.items = items
        self.error = error
        self.made = []
        self.closed = 0
        self.ends = []

    def generate(self):
        try:
            for item in self.items:
                self.made.append(item)
                yield item
            if self.error is not None:
                raise self.error
        finally:
            self.closed += 1

    def ended(self, items, error):
        self.ends.append((None if items is None else list(items), error))

    def stream(self):
        return Stream(self.generate(), self.ended)


def in_threads(calls):
    """Run each of ``calls`` in a thread of its own, all starting together; return their results."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait(PATIENCE)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(run, call) for call in calls]]


def wait_until(condition):
    """Spin, yielding, until ``condition()`` holds; for states that no event announces."""
    deadline = threading.Event()
    timer = threading.Timer(PATIENCE, deadline.set)
    timer.start()
    try:
        while not condition():
            assert not deadline.is_set()
            os.sched_yield()
    finally:
        timer.cancel()


class TestItems:
    """What consumers get."""

    def test_falsy_items_are_items_and_the_return_value_is_not_kept(self):
        """Nothing that a generator may yield is taken for its end."""
        ends = []

        def generate():
            yield from FALSY
            return "lost"

        stream = Stream(generate(), lambda items, error: ends.append((items, error)))
        assert [*map(id, stream.consume())] == [*map(id, FALSY)]
        assert stream.state == "complete"
        [(items, error)] = ends
        assert [*map(id, items)] == [*map(id, FALSY)]
        assert error is None

    def test_a_late_consumer_gets_all_items_and_each_is_made_once(self):
        """The buffer is replayed, then whoever needs the next item makes it."""
        source = Source(range(5))
        stream = source.stream()
        first = stream.consume()
        assert [next(first), next(first)] == [0, 1]
        second = stream.consume()
        assert [next(second) for _ in range(4)] == [0, 1, 2, 3]
        assert source.made == [0, 1, 2, 3]
        assert [*first] == [2, 3, 4]
        assert [*second] == [4]
        assert source.made == [0, 1, 2, 3, 4]
        assert source.ends == [([0, 1, 2, 3, 4], None)]
        assert [*stream.consume()] == [0, 1, 2, 3, 4]

    def test_nothing_runs_before_the_first_item_is_asked_for(self):
        """Consuming is asking, not creating a consumer."""
        source = Source(range(3))
        stream = source.stream()
        consumer = stream.consume()
        assert (source.made, stream.state) == ([], "running")
        assert next(consumer) == 0

    @pytest.mark.parametrize("start", [0, 1, 4, 5, 9])
    @pytest.mark.parametrize("buffered", [0, 2, 5])
    def test_a_consumer_may_start_further_on(self, start, buffered):
        """Whoever was served by a stream that is gone goes on with the next."""
        source = Source(range(5))
        stream = source.stream()
        other = stream.consume()
        for _ in range(buffered):
            next(other)
        assert [*stream.consume(start)] == [*range(5)][start:]

    def test_an_empty_generator_is_complete(self):
        """No items are a result."""
        source = Source(())
        assert [*source.stream().consume()] == []
        assert source.ends == [([], None)]

    def test_an_iterator_that_is_no_generator_will_do(self):
        """It needs no close()."""
        stream = Stream(iter([1, 2]), lambda items, error: None)
        assert next(stream.consume()) == 1
        assert stream.state == "abandoned"

    def test_a_complete_stream_has_forgotten_its_source(self):
        """Only the list is left."""
        source = Source(range(3))
        running = source.generate()
        gone = ref(running)
        stream = Stream(running, source.ended)
        del running
        assert [*stream.consume()] == [0, 1, 2]
        assert gone() is None


class TestEnds:
    """How a stream ends, and who gets to know it."""

    def test_the_end_is_told_before_any_consumer_sees_it(self):
        """Whoever has seen the end finds the result stored."""
        told = []
        stream = Stream(iter("ab"), lambda items, error: told.append(stream.state))
        consumer = stream.consume()
        assert [next(consumer), next(consumer)] == ["a", "b"]
        assert told == []
        assert next(consumer, "end") == "end"
        assert told == ["running"]

    def test_an_exception_reaches_all_after_the_items_before_it(self):
        """It is one object, and its traceback does not grow."""
        source = Source([1, 2], LookupError("no more"))
        stream = source.stream()
        depths = []
        for _ in range(10):
            got = []
            with pytest.raises(LookupError) as caught:
                got.extend(stream.consume())  # an iterable that fails leaves what came before
            assert got == [1, 2]
            assert caught.value is source.error
            depth, trace = 0, caught.value.__traceback__
            while trace is not None:
                depth, trace = depth + 1, trace.tb_next
            depths.append(depth)
        assert len(set(depths)) == 1
        assert source.ends == [(None, source.error)]
        assert stream.state == "failed"

    def test_the_last_consumer_that_stops_closes_the_source(self):
        """Others may still want items."""
        source = Source(count())
        stream = source.stream()
        one, two = stream.consume(), stream.consume()
        assert (next(one), next(two)) == (0, 0)
        one.close()
        assert (source.closed, source.ends, next(two)) == (0, [], 1)
        two.close()
        assert (source.closed, source.ends, stream.state) == (1, [(None, None)], "abandoned")
        with pytest.raises(AbandonedStreamError):
            stream.consume()

    @pytest.mark.parametrize("started", [True, False])
    @pytest.mark.parametrize("how", ["close", "del", "cycle"])
    def test_a_consumer_is_gone_when_it_is_closed_or_collected_started_or_not(self, started, how):
        """Nobody has to close a generator."""
        source = Source(count())
        stream = source.stream()
        consumer = stream.consume()
        if started:
            next(consumer)
        if how == "close":
            consumer.close()
        elif how == "cycle":
            cycle = [consumer]
            cycle.append(cycle)
            del cycle
        kept = consumer if how == "close" else None
        del consumer
        gc.collect()
        assert (stream.state, source.closed) == ("abandoned", int(started))
        assert source.ends == [(None, None)]
        del kept

    def test_an_exception_thrown_into_a_consumer_is_its_own(self):
        """The stream and the other consumers go on."""
        source = Source(range(4))
        stream = source.stream()
        one, two = stream.consume(), stream.consume()
        assert (next(one), next(two)) == (0, 0)
        with pytest.raises(ValueError, match="mine"):
            one.throw(ValueError("mine"))
        assert [*two] == [1, 2, 3]
        assert source.ends == [([0, 1, 2, 3], None)]

    def test_what_closing_the_source_raises_reaches_who_closed_it(self):
        """As with a generator of one's own, and the end is told all the same."""
        ends = []

        def generate():
            try:
                yield 1
            finally:
                raise OSError("cannot release")

        stream = Stream(generate(), lambda *end: ends.append(end))
        consumer = stream.consume()
        next(consumer)
        with pytest.raises(OSError, match="cannot release"):
            consumer.close()
        assert (ends, stream.state) == ([(None, None)], "abandoned")

    def test_what_storing_raises_is_the_error_of_all_after_the_last_item(self):
        """As if the generator had raised it."""
        told = []

        def ended(items, error):
            told.append(items)
            raise OSError("disk full")

        stream = Stream(iter([1, 2]), ended)
        for _ in range(2):
            got = []
            with pytest.raises(OSError, match="disk full"):
                got.extend(stream.consume())
            assert got == [1, 2]
        assert told == [[1, 2]]


class TestCircles:
    """A source that consumes itself is told so instead of waiting for ever."""

    def test_a_source_that_asks_for_its_own_stream_is_refused(self):
        """In the same thread, by a new consumer or by one that it had before."""
        refused = []

        def generate():
            yield 1
            for attempt in (stream.consume, lambda: next(before)):
                try:
                    attempt()
                except BlockedStreamError as error:
                    refused.append(error.served)
            yield 2

        stream = Stream(generate(), lambda items, error: None)
        before = stream.consume()
        assert next(before) == 1
        assert [*stream.consume()] == [1, 2]
        assert refused == [0, 1]

    def test_two_streams_that_need_each_other_in_two_threads_are_told_at_once(self):
        """One of them is refused, long before the time limit, and both end."""
        both = threading.Barrier(2)
        streams = {}
        refused = []

        def generate(name, other):
            both.wait(PATIENCE)
            try:
                yield from streams[other].consume()
            except BlockedStreamError:
                refused.append(name)
            yield name

        streams["a"] = Stream(generate("a", "b"), lambda items, error: None)
        streams["b"] = Stream(generate("b", "a"), lambda items, error: None)
        results = in_threads([lambda: [*streams["a"].consume()], lambda: [*streams["b"].consume()]])
        [loser] = refused
        winner = "ab".replace(loser, "")
        assert sorted(results) == sorted([[loser], [loser, winner]])


def test_a_wait_that_takes_too_long_ends_with_a_diagnostic(monkeypatch, caplog):
    """Whoever waits for a source that is stuck computes on its own, behind what it got."""
    monkeypatch.setattr("cachewright._flight.CHECK_SECONDS", 0.01)
    monkeypatch.setattr("cachewright._flight.LIMIT_SECONDS", 0.0)
    entered, go = threading.Event(), threading.Event()

    def generate():
        yield 1
        entered.set()
        assert go.wait(PATIENCE)
        yield 2

    stream = Stream(generate(), lambda items, error: None)
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(lambda: [*stream.consume()])
        assert entered.wait(PATIENCE)
        waiting = stream.consume()
        assert next(waiting) == 1
        with pytest.raises(BlockedStreamError) as caught:
            next(waiting)
        go.set()
        assert leader.result(PATIENCE) == [1, 2]
    assert caught.value.served == 1
    assert "waited" in caplog.text


class TestThreads:
    """Several threads, one source."""

    @pytest.mark.parametrize("threads", [2, 16])
    def test_threads_that_hammer_one_stream_make_each_item_once(self, threads):
        """Some of them leave early; those who stay get everything, in order."""
        source = Source(range(3000))
        stream = source.stream()

        def all_of_it():
            return [*stream.consume()]

        def some(number):
            consumer = stream.consume()
            got = [next(consumer) for _ in range(number)]
            consumer.close()
            return got

        calls = [all_of_it if n % 2 else (lambda n=n: some(n * 37)) for n in range(threads)]
        for n, got in enumerate(in_threads(calls)):
            assert got == [*range(3000 if n % 2 else n * 37)]
        assert source.made == [*range(3000)]
        assert source.ends == [([*range(3000)], None)]

    def test_threads_that_all_leave_close_the_source_once(self):
        """Whoever comes last, and whoever comes meanwhile is told so."""
        for _ in range(200):
            source = Source(count())
            stream = source.stream()

            def come_and_go(stream=stream):
                try:
                    consumer = stream.consume()
                    next(consumer)
                except AbandonedStreamError:
                    return "told"
                consumer.close()
                return "served"

            assert "served" in in_threads([come_and_go] * 4)
            assert (stream.state, source.closed, source.ends) == ("abandoned", 1, [(None, None)])

    def test_consumers_collected_anywhere_leave_without_harm(self):
        """The collector may run inside the methods of the stream, in any thread."""
        source = Source(range(2000))
        stream = source.stream()

        def litter():
            got = []
            for item in stream.consume():
                got.append(item)
                cycle = [stream.consume(max(0, item - 2))]
                next(cycle[0])
                cycle.append(cycle)
            return got

        before = gc.get_threshold()
        gc.set_threshold(5, 2, 2)
        try:
            assert in_threads([litter] * 4) == [[*range(2000)]] * 4
        finally:
            gc.set_threshold(*before)
        gc.collect()
        assert (source.made, source.ends) == ([*range(2000)], [([*range(2000)], None)])
        assert stream._alive == set()

    def test_a_waiting_consumer_gets_each_item_as_soon_as_it_is_made(self):
        """It does not wait until the consumer that advances pauses."""
        go = threading.Semaphore(0)
        got = []

        def generate():
            for number in range(20):
                assert go.acquire(timeout=PATIENCE)
                yield number

        stream = Stream(generate(), lambda items, error: None)
        with ThreadPoolExecutor(1) as pool:
            leader = pool.submit(lambda: [*stream.consume()])

            def follow():
                got.extend(stream.consume())  # appends as it goes

            follower = threading.Thread(target=follow)
            follower.start()
            for number in range(20):
                go.release()
                wait_until(lambda number=number: len(got) > number)
            follower.join(PATIENCE)
            assert leader.result(PATIENCE) == got == [*range(20)]

    def test_a_stream_ends_for_all_when_its_source_is_interrupted(self):
        """The interrupt is of the thread that got it; the others are told that the stream is gone."""
        entered, go = threading.Event(), threading.Event()
        ends = []

        def generate():
            yield 1
            entered.set()
            assert go.wait(PATIENCE)
            raise KeyboardInterrupt

        stream = Stream(generate(), lambda *end: ends.append(end))

        def lead():
            try:
                return [*stream.consume()]
            except KeyboardInterrupt:
                return "interrupted"

        def follow():
            try:
                return [*stream.consume()]
            except AbandonedStreamError as error:
                return error.served

        with ThreadPoolExecutor(2) as pool:
            leader = pool.submit(lead)
            assert entered.wait(PATIENCE)
            follower = pool.submit(follow)
            wait_until(lambda: stream._latches)
            go.set()
            assert leader.result(PATIENCE) == "interrupted"
            assert follower.result(PATIENCE) == 1
        assert ends == [(None, None)]

    def test_an_interrupt_anywhere_loses_no_item_and_ends_nothing_early(self):
        """Interrupted at any instruction of ours, the others get every item, once, or are told."""
        outcomes = set()
        again = 0
        for place in count():
            source = Source(range(3))
            stream = source.stream()
            other = stream.consume()
            interrupted = consume_interrupted_at(place, stream)
            try:
                got = [*other]
            except AbandonedStreamError as error:
                outcomes.add("told")
                assert source.ends == [(None, None)]
                assert error.served <= len(source.made)
            else:
                outcomes.add("served")
                assert got == source.made == [0, 1, 2]
                again += len(source.ends) == 2
                assert set(map(repr, source.ends)) == {repr(([0, 1, 2], None))}
            if not interrupted:
                break
        assert place > 300
        assert outcomes == {"told", "served"}
        assert 0 < again < place / 10  # only where the report of the end itself was interrupted


def consume_interrupted_at(place, stream):
    """Consume ``stream`` with a ``KeyboardInterrupt`` at an instruction; return whether it came to it."""
    left = place

    def trace(frame, event, arg):
        nonlocal left
        code = frame.f_code
        if not code.co_filename.endswith(("_streams.py", "_flight.py", "test_streams.py")):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and code.co_name != "consume_interrupted_at":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 traces them only if it was asked to before
    sys.settrace(trace)
    try:
        list(stream.consume())
    except (KeyboardInterrupt, AbandonedStreamError):
        return True
    finally:
        sys.settrace(before)
    return left < 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestForks:
    """A child has none of the threads that its parent had."""

    @staticmethod
    def in_child(check):
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if check() else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)

    def test_a_child_does_not_wait_for_a_thread_that_it_does_not_have(self):
        """What another thread was advancing is abandoned there, and goes on in the parent."""
        entered, go = threading.Event(), threading.Event()
        ends = []

        def generate():
            yield 1
            entered.set()
            assert go.wait(PATIENCE)
            yield 2

        stream = Stream(generate(), lambda *end: ends.append(end))
        consumer = stream.consume()
        assert next(consumer) == 1
        with ThreadPoolExecutor(1) as pool:
            leader = pool.submit(lambda: [*stream.consume()])
            assert entered.wait(PATIENCE)

            def check():
                try:
                    next(consumer)
                except AbandonedStreamError as error:
                    return error.served == 1 and ends == [(None, None)]
                return False

            assert self.in_child(check) == 0
            go.set()
            assert leader.result(PATIENCE) == [1, 2]
        assert [*consumer] == [2]
        assert ends == [([1, 2], None)]

    def test_a_child_goes_on_with_a_stream_at_rest(self):
        """It has a copy of its own."""
        source = Source(range(3))
        consumer = source.stream().consume()
        assert next(consumer) == 0
        assert self.in_child(lambda: [*consumer] == [1, 2]) == 0
        assert source.made == [0]
        assert [*consumer] == [1, 2]


class Model:
    """What consumers of a list would see."""

    def __init__(self, length, error):
        self.length, self.error = length, error
        self.made, self.state = 0, "running"
        self.places = {}

    def step(self, number):
        """Return the next item of a consumer, or how it ends."""
        place = self.places[number]
        if place < self.length:
            self.places[number] += 1
            self.made = max(self.made, place + 1)
            return place
        del self.places[number]
        if self.state == "running":
            self.state = "failed" if self.error else "complete"
        return "error" if self.error else "end"

    def leave(self, number):
        if self.places.pop(number, None) is not None and not self.places and self.state == "running":
            self.state = "abandoned"


@settings(max_examples=300, deadline=None)
@given(
    length=st.integers(0, 5),
    error=st.sampled_from([None, LookupError("model")]),
    moves=st.lists(
        st.tuples(st.sampled_from(["start", "next", "next", "close", "throw", "drop"]), st.integers(0, 3)),
        max_size=40,
    ),
)
def test_any_interleaving_of_consumers_gives_each_what_a_list_would(length, error, moves):
    """Start, next, close, throw and collection of up to four consumers, in any order."""
    source = Source(range(length), error)
    stream = source.stream()
    model = Model(length, error)
    consumers = {}
    for move, number in moves:
        if move == "start":
            consumers.pop(number, None)
            model.leave(number)
            if model.state == "abandoned":
                with pytest.raises(AbandonedStreamError):
                    stream.consume()
                break
            consumers[number] = stream.consume()
            model.places[number] = 0
        elif number not in consumers:
            continue
        elif move == "next" and number in model.places:
            expected = model.step(number)
            try:
                seen = next(consumers[number], "end")
            except LookupError as raised:
                assert raised is error
                seen = "error"
            assert seen == expected
        elif move == "next":
            assert next(consumers[number], "end") == "end"
        else:
            model.leave(number)
            if move == "close":
                consumers[number].close()
            elif move == "throw":
                with pytest.raises(ValueError, match="own"):
                    consumers[number].throw(ValueError("own"))
            else:
                del consumers[number]
        assert stream.state == model.state
        assert source.made == [*range(model.made)]
        ends = {
            "running": [],
            "complete": [([*range(length)], None)],
            "failed": [(None, error)],
            "abandoned": [(None, None)],
        }
        assert source.ends == ends[model.state]
        began = (
            model.made or model.state != "abandoned"
        )  # a generator that did not begin has nothing to close
        assert source.closed == bool(model.state != "running" and began)

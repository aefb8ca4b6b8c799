"""One computation per key, whoever asks."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachewright import _flight, cached, open_async_cache, open_cache
from cachewright._flight import ABANDONED, ALOFT, FAILED, LANDED, FlightTable, lead, led, unlead

PATIENCE = 20.0
"""Seconds after which a test that waits for another thread gives up."""


def in_threads(count, call):
    """Run ``call`` in ``count`` threads that start together; return results or exceptions."""
    barrier = threading.Barrier(count)

    def run(_):
        barrier.wait(PATIENCE)
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


class Gate:
    """A function body that blocks until told to go on, and counts how often it was entered."""

    def __init__(self):
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, value):
        with self._lock:
            self.calls += 1
        self.entered.release()
        assert self.open.wait(PATIENCE)
        return value

    def wait_for_entry(self):
        assert self.entered.acquire(timeout=PATIENCE)


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


def test_threads_that_ask_for_one_cold_key_share_one_call():
    """Sixty-four threads, one cold key: one call, and everybody has its result."""
    calls = []
    started = threading.Event()

    @cached
    def compute(x):
        calls.append(x)
        started.wait(0.05)
        return object()

    results = in_threads(64, lambda: compute(1))
    assert len(calls) == 1
    assert len({id(result) for result in results}) == 1
    info = compute.cache_info()
    assert info.loads == 1
    assert info.hits + info.misses == 64


def test_tasks_of_several_loops_share_one_call():
    """Eight threads with an event loop each and 2,000 tasks in all, one cold key: one call."""
    calls = []

    @cached
    async def compute(x):
        calls.append(x)
        await asyncio.sleep(0.05)
        return x * 2

    async def many():
        return await asyncio.gather(*(compute(21) for _ in range(250)))

    results = in_threads(8, lambda: asyncio.run(many()))
    assert results == [[42] * 250] * 8
    assert calls == [21]
    assert compute.cache_info().misses + compute.cache_info().hits == 2000


def test_an_exception_reaches_all_who_waited_and_is_not_remembered():
    """The leader's exception is everybody's; the next call computes again."""
    gate = Gate()

    @cached
    def compute(x):
        gate(x)
        raise LookupError(x)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(compute, 1) for _ in range(4)]
        gate.wait_for_entry()
        wait_until(lambda: compute.cache_info().misses == 4)
        gate.open.set()
        errors = [future.exception(PATIENCE) for future in futures]
    assert all(isinstance(error, LookupError) for error in errors)
    first = gate.calls
    with pytest.raises(LookupError):
        compute(1)
    assert gate.calls == first + 1


def test_the_traceback_of_a_shared_exception_does_not_grow():
    """Waiters raise the leader's exception with the traceback of the raise, however many they are."""

    async def compute():
        await asyncio.sleep(0)
        raise ValueError("once")

    depths = []

    async def ask(cache):
        try:
            await cache.get_or_set("k", compute)
        except ValueError as error:
            depth, trace = 0, error.__traceback__
            while trace is not None:
                depth, trace = depth + 1, trace.tb_next
            depths.append(depth)

    async def main():
        async with open_async_cache("traceback") as cache:
            await asyncio.gather(*(ask(cache) for _ in range(50)))

    asyncio.run(main())
    assert len(depths) == 50
    assert max(depths) - min(depths) <= 2


def test_a_waiter_served_after_its_leader_was_interrupted_computes_itself():
    """A leader killed by KeyboardInterrupt abandons the flight; the waiter starts over."""
    gate = Gate()
    interrupt = [True]

    @cached
    def compute(x):
        gate(x)
        if interrupt:
            interrupt.pop()
            raise KeyboardInterrupt
        return x

    outcome = []

    def leader():
        try:
            compute(7)
        except KeyboardInterrupt:
            outcome.append("interrupted")

    thread = threading.Thread(target=leader)
    thread.start()
    gate.wait_for_entry()
    with ThreadPoolExecutor(1) as pool:
        follower = pool.submit(compute, 7)
        wait_until(lambda: compute.cache_info().misses == 2)
        gate.open.set()
        assert follower.result(PATIENCE) == 7
    thread.join(PATIENCE)
    assert outcome == ["interrupted"]
    assert gate.calls == 2


def test_a_cancelled_waiter_disturbs_nobody():
    """Cancelling one of many waiters cancels neither the work nor the others."""

    async def main():
        release = asyncio.Event()
        calls = []

        @cached
        async def compute(x):
            calls.append(x)
            await release.wait()
            return x

        tasks = [asyncio.create_task(compute(1)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks[3].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[3]
        release.set()
        assert await asyncio.gather(*tasks[:3], tasks[4]) == [1] * 4
        assert calls == [1]

    asyncio.run(main())


def test_a_cancelled_leader_does_not_fail_its_followers():
    """The task that started the computation is cancelled; the others get the result of that one call."""

    async def main():
        release = asyncio.Event()
        calls = []

        @cached
        async def compute(x):
            calls.append(x)
            await release.wait()
            return x

        leader = asyncio.create_task(compute(1))
        await asyncio.sleep(0)
        followers = [asyncio.create_task(compute(1)) for _ in range(3)]
        await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        release.set()
        assert await asyncio.gather(*followers) == [1, 1, 1]
        assert calls == [1]

    asyncio.run(main())


def test_work_whose_callers_were_all_cancelled_is_still_stored():
    """A computation belongs to no caller: it goes on, and its result is there for the next one."""

    async def main():
        release = asyncio.Event()

        @cached
        async def compute(x):
            await release.wait()
            return x

        only = asyncio.create_task(compute(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        only.cancel()
        with pytest.raises(asyncio.CancelledError):
            await only
        release.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert await compute.is_cached(1)

    asyncio.run(main())


def test_a_function_that_raises_cancelled_error_itself_is_not_run_for_ever():
    """CancelledError raised by the user's function is its answer, not a reason to start over."""
    calls = []

    @cached
    async def compute(x):
        calls.append(x)
        raise asyncio.CancelledError

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await compute(1)

    asyncio.run(main())
    assert calls == [1]


def test_a_loop_that_ends_hands_its_work_to_the_waiters_of_others():
    """asyncio.run returns in the leader's thread before the computation ends: a waiter elsewhere computes."""
    entered = threading.Event()
    leave = threading.Event()
    calls = []

    @cached
    async def compute(x):
        calls.append(x)
        if len(calls) == 1:
            entered.set()
            await asyncio.sleep(3600)
        return x

    async def start_and_leave():
        task = asyncio.create_task(compute(1))
        while not leave.is_set():
            await asyncio.sleep(0.001)
        task.cancel()

    thread = threading.Thread(target=asyncio.run, args=(start_and_leave(),))
    thread.start()
    assert entered.wait(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        follower = pool.submit(asyncio.run, compute(1))
        wait_until(lambda: compute.cache_info().misses == 2)
        leave.set()
        assert follower.result(PATIENCE) == 1
    thread.join(PATIENCE)
    assert len(calls) == 2


def test_asyncio_run_twice_serves_the_second_from_the_first():
    """An async function keeps its entries over two event loops, one after the other."""
    calls = []

    @cached
    async def compute(x):
        calls.append(x)
        return x

    assert asyncio.run(compute(3)) == 3
    assert asyncio.run(compute(3)) == 3
    assert calls == [3]


def test_recursion_on_the_same_key_computes_instead_of_deadlocking():
    """A function that asks for its own key while computing it gets a direct call."""
    depth = []

    @cached
    def compute(x):
        depth.append(x)
        return compute(x) if len(depth) < 3 else len(depth)

    assert compute(1) == 3

    async def main():
        levels = []

        @cached
        async def acompute(x):
            levels.append(x)
            return await acompute(x) if len(levels) < 3 else len(levels)

        return await acompute(1)

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE)) == 3


def test_a_circle_across_threads_is_broken_at_once():
    """Thread 1 computes A and needs B, thread 2 computes B and needs A: both get answers."""
    both = threading.Barrier(2)
    seen = set()

    @cached
    def left(x):
        if x not in seen:
            seen.add(x)
            both.wait(PATIENCE)
            return ("left", right(x))
        return ("left", None)

    @cached
    def right(x):
        if ("r", x) not in seen:
            seen.add(("r", x))
            both.wait(PATIENCE)
            return ("right", left(x))
        return ("right", None)

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(left, 1), pool.submit(right, 1)
        results = {one.result(PATIENCE)[0], two.result(PATIENCE)[0]}
    assert results == {"left", "right"}


def test_contextvars_of_the_leader_do_not_leak_to_its_followers():
    """A computation sees the context of who started it, and changes nobody's."""
    who = contextvars.ContextVar("who", default="nobody")

    async def main():
        @cached
        async def compute(x):
            await asyncio.sleep(0)
            seen = who.get()
            who.set("computation")
            return seen

        async def ask(name):
            who.set(name)
            answer = await compute(1)
            return answer, who.get()

        return await asyncio.gather(ask("first"), ask("second"))

    assert asyncio.run(main()) == [("first", "first"), ("first", "second")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_during_a_computation_computes_for_itself():
    """The leader's thread does not exist in the child, which must not wait for it."""
    gate = Gate()

    @cached
    def compute(x):
        return gate(x)

    thread = threading.Thread(target=compute, args=(1,))
    thread.start()
    gate.wait_for_entry()
    pid = os.fork()
    if pid == 0:
        gate.open.set()
        os._exit(0 if compute(1) == 1 and gate.calls == 2 else 1)
    _, status = os.waitpid(pid, 0)
    gate.open.set()
    thread.join(PATIENCE)
    assert os.waitstatus_to_exitcode(status) == 0


def test_invalidation_during_a_computation_keeps_the_old_result_out():
    """A result computed from what was read before the invalidation is returned, but not stored."""
    gate = Gate()

    @cached
    def compute(x):
        gate(x)
        return gate.calls

    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(compute, 1)
        gate.wait_for_entry()
        compute.invalidate(1)
        gate.open.set()
        assert early.result(PATIENCE) == 1
    assert not compute.is_cached(1)
    assert compute(1) == 2


def test_calls_after_an_invalidation_do_not_join_the_old_computation():
    """A call that starts after invalidate() has returned starts a computation of its own."""
    gate = Gate()

    @cached
    def compute(x):
        number = len(order) + 1
        order.append(number)
        if number == 1:
            gate(x)
        return number

    order = []
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(compute, 1)
        gate.wait_for_entry()
        compute.invalidate(1)
        assert compute(1) == 2
        gate.open.set()
        assert early.result(PATIENCE) == 1
    assert compute(1) == 2


def test_an_explicit_set_wins_over_a_computation_under_way():
    """What is set while a value is being computed stays; the computed value is not stored."""
    gate = Gate()
    with open_cache("set wins") as cache, ThreadPoolExecutor(1) as pool:
        late = pool.submit(cache.get_or_set, "k", lambda: gate("computed"))
        gate.wait_for_entry()
        assert cache.set("k", "set")
        gate.open.set()
        assert late.result(PATIENCE) == "computed"
        assert cache.get("k") == "set"


def test_clear_during_a_computation_keeps_the_old_result_out():
    """cache_clear() detaches every computation under way."""
    gate = Gate()

    @cached
    def compute(x):
        return gate(x)

    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(compute, 1)
        gate.wait_for_entry()
        compute.cache_clear()
        gate.open.set()
        assert early.result(PATIENCE) == 1
    assert compute.cache_info().currsize == 0


def test_without_single_flight_every_caller_computes():
    """single_flight=False is what it says."""
    gate = Gate()

    @cached(single_flight=False)
    def compute(x):
        return gate(x)

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(compute, 1) for _ in range(3)]
        for _ in range(3):
            gate.wait_for_entry()
        gate.open.set()
        assert [future.result(PATIENCE) for future in futures] == [1, 1, 1]


def test_a_flight_table_keeps_nothing_of_what_has_ended():
    """Ended flights are gone from the table, and so is what they referred to."""
    table = FlightTable()
    flight, leads = table.join("k")
    assert leads
    table.end(flight, ABANDONED)
    table.end(flight, ABANDONED)
    assert len(table) == 0
    assert table.epoch == 1
    del flight
    gc.collect()
    assert table.join("k")[1]


@pytest.fixture(params=["thread", "task"])
def waiting(request):
    """Return a function that waits for a flight, in a thread or in a task of a loop."""

    def in_task(table, flight, seconds=None):
        return asyncio.run(table.wait_async(flight, seconds))

    return FlightTable.wait if request.param == "thread" else in_task


class TestWaitingForSoLong:
    """A caller may give up, which disturbs nobody."""

    @pytest.mark.parametrize("seconds", [0.0, 0.02, -1.0])
    def test_what_does_not_end_in_time_is_neither_true_nor_false(self, waiting, seconds):
        """Not before the time is over; the flight stays what it is."""
        table = FlightTable()
        flight, _ = table.join("k")
        begun = time.monotonic()
        assert waiting(table, flight, seconds) is None
        assert time.monotonic() - begun >= seconds
        assert flight.state == ALOFT
        assert table.join("k") == (flight, False)

    @pytest.mark.parametrize("seconds", [0.0, 5.0, None, float("inf")])
    @pytest.mark.parametrize("state", [LANDED, FAILED, ABANDONED])
    def test_what_has_ended_needs_no_time(self, waiting, seconds, state):
        """However it ended."""
        table = FlightTable()
        flight, _ = table.join("k")
        table.end(flight, state, error=ValueError() if state == FAILED else None)
        assert waiting(table, flight, seconds) is True
        assert waiting(table, flight, seconds) is True

    @pytest.mark.parametrize("seconds", [PATIENCE, None, float("inf")])
    def test_the_end_wakes_who_waits(self, waiting, seconds):
        """All of them, with and without a limit, and after others have given up."""
        table = FlightTable()
        flight, _ = table.join("k")
        assert waiting(table, flight, 0.001) is None
        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(waiting, table, flight, seconds) for _ in range(4)]
            wait_until(pool._work_queue.empty)
            table.end(flight, LANDED, value=5)
            assert [future.result(PATIENCE) for future in futures] == [True] * 4
        assert flight.result() == 5

    def test_a_leader_that_is_gone_is_noticed(self, waiting, monkeypatch):
        """The flight is abandoned, and whoever waits starts over."""
        monkeypatch.setattr(_flight, "CHECK_SECONDS", 0.01)
        table = FlightTable()
        flight, _ = table.join("k")
        thread = threading.Thread(target=table.mark_leader, args=(flight,))
        thread.start()
        thread.join(PATIENCE)
        assert waiting(table, flight, PATIENCE) is True
        assert flight.state == ABANDONED

    def test_without_a_limit_there_is_one_all_the_same(self, waiting, monkeypatch, caplog):
        """The caller computes itself, with a diagnostic."""
        monkeypatch.setattr(_flight, "LIMIT_SECONDS", 0.01)
        table = FlightTable()
        flight, _ = table.join("k")
        assert waiting(table, flight) is False
        assert "computing the value once more" in caplog.text
        assert flight.state == ALOFT

    def test_a_circle_is_noticed_before_any_time_passes(self, waiting):
        """Whatever the limit; and who has waited waits for nothing any more."""
        table = FlightTable()
        mine, _ = table.join("mine")
        other, _ = table.join("other")
        token = lead(mine)
        try:
            assert led() == (mine,)
            assert waiting(table, mine, PATIENCE) is False
            other.waits_for.add(mine)
            assert waiting(table, other, PATIENCE) is False
            other.waits_for.clear()
            assert waiting(table, other, 0.001) is None
            assert mine.waits_for == set()
        finally:
            unlead(token)
        assert led() == ()

    def test_a_cancelled_waiter_has_left(self):
        """The flight neither ends nor remembers that its computation waits for it."""

        async def main():
            table = FlightTable()
            flight, _ = table.join("k")
            mine, _ = table.join("mine")
            token = lead(mine)
            task = asyncio.create_task(table.wait_async(flight, PATIENCE))
            unlead(token)
            await asyncio.sleep(0)
            assert mine.waits_for == {flight}
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (mine.waits_for, flight.state) == (set(), ALOFT)
            table.end(flight, LANDED)
            await asyncio.sleep(0)

        asyncio.run(main())


class TestTable:
    """Who can join what."""

    def test_those_aloft_are_those_that_can_be_joined(self):
        """A snapshot, in the order in which they started."""
        table = FlightTable()
        first, second, third = (table.join(key)[0] for key in "abc")
        aloft = table.aloft()
        assert aloft == [first, second, third]
        table.end(second, LANDED)
        table.leave(first)
        assert table.aloft() == [third]
        assert aloft == [first, second, third]

    def test_one_that_left_goes_on_beside_the_next(self):
        """Leaving twice, or after another took the place, changes nothing."""
        table = FlightTable()
        old, _ = table.join("k")
        table.leave(old)
        new, leads = table.join("k")
        assert leads
        assert new is not old
        table.leave(old)
        table.end(old, LANDED, value="old")
        assert table.join("k") == (new, False)
        assert (old.result(), len(table), table.epoch) == ("old", 1, 1)

    def test_one_that_nobody_joins_is_found_all_the_same(self):
        """By invalidations, until it ends or leaves; beside the one that callers share."""
        table = FlightTable()
        alone, other = table.alone("k"), table.alone("other")
        assert (table.of("k"), len(table)) == ([alone], 0)
        shared, leads = table.join("k")
        assert leads
        assert set(table.of("k")) == {shared, alone}
        assert set(table.aloft()) == {shared, alone, other}
        table.end(alone, LANDED, value=5)
        assert (alone.result(), table.of("k")) == (5, [shared])
        table.leave(other)
        assert table.aloft() == [shared]
        assert table.of("nothing") == []

    def test_the_leader_is_the_thread_or_the_loop(self):
        """Whoever can end it; a leader that is not known is not gone."""
        table = FlightTable()
        flight, _ = table.join("k")
        assert not flight.leader_is_gone()
        table.mark_leader(flight)
        assert flight.leader is threading.current_thread()
        assert not flight.leader_is_gone()

        async def main():
            table.mark_leader(flight)
            assert flight.leader is asyncio.get_running_loop()
            assert not flight.leader_is_gone()

        asyncio.run(main())
        assert flight.leader_is_gone()

    def test_a_callback_of_a_loop_is_led_by_the_loop(self):
        """Not by the thread that happens to run it."""
        table = FlightTable()
        flight, _ = table.join("k")

        async def main():
            loop = asyncio.get_running_loop()
            loop.call_soon(table.mark_leader, flight)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert flight.leader is loop

        asyncio.run(main())

    def test_a_failure_is_raised_with_the_traceback_of_its_leader(self):
        """As often as it is asked for."""
        table = FlightTable()
        flight, _ = table.join("k")
        try:
            {}["once"]
        except LookupError as error:
            table.end(flight, FAILED, error=error)
        depths = []
        for _ in range(5):
            with pytest.raises(LookupError) as caught:
                flight.result()
            depths.append(len(caught.traceback))
        assert len(set(depths)) == 1

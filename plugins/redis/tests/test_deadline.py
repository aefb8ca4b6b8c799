"""A deadline bounds an operation as a whole, moves on with progress, and cancels exactly one task."""

from __future__ import annotations

import asyncio
import threading

import pytest
from cachewright_redis.deadline import CURRENT, SOON, AsyncDeadline, Deadline

SHORT, LONG = 0.05, 60.0


def test_what_is_left_never_grows_by_itself() -> None:
    """Time runs out, and then a little is left, because none would mean not to wait at all."""
    deadline = Deadline(LONG)
    first, second = deadline.left(), deadline.left()
    assert 0 < second <= first <= LONG
    assert Deadline(0).left() == SOON


def test_progress_starts_the_time_anew_unless_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer gives the next one the whole time, but not while servers are still being greeted."""
    now = [1000.0]
    monkeypatch.setattr("cachewright_redis.deadline.monotonic", lambda: now[0])
    deadline = Deadline(LONG)
    now[0] += 10
    with deadline.held(), deadline.held():
        deadline.progress()
        assert deadline.left() == LONG - 10
    deadline.progress()
    assert deadline.left() == LONG


def test_each_thread_has_its_own() -> None:
    """The current deadline is that of the operation of this thread, and none outside of operations."""
    seen: list[Deadline | None] = []
    with Deadline(LONG) as outer:
        thread = threading.Thread(target=lambda: seen.append(CURRENT.get()))
        thread.start()
        thread.join(60)
        assert CURRENT.get() is outer
    assert seen == [None]
    assert CURRENT.get() is None


def test_a_task_that_waits_too_long_is_cancelled() -> None:
    """Leaving raises TimeoutError, and the task goes on as if it had never been cancelled."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with AsyncDeadline(SHORT):
                await asyncio.get_running_loop().create_future()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        async with AsyncDeadline(LONG) as deadline:
            assert CURRENT.get() is deadline

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_cancellation_that_was_lost_is_repeated() -> None:
    """Code that swallows the first cancellation and waits again is not waited for without end."""

    async def main() -> None:
        swallowed = 0
        with pytest.raises(TimeoutError):
            async with AsyncDeadline(SHORT):
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    swallowed += 1
                await asyncio.get_running_loop().create_future()
        assert swallowed == 1
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_cancellation_from_outside_stays_one() -> None:
    """Who cancels a task sees it cancelled, and no timeout."""

    async def work(started: asyncio.Event) -> None:
        async with AsyncDeadline(LONG):
            started.set()
            await asyncio.get_running_loop().create_future()

    async def main() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(work(started))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), 60))


def test_another_error_passes_untouched() -> None:
    """An error that comes after the time was over is raised as it is."""

    async def main() -> None:
        with pytest.raises(KeyError):
            async with AsyncDeadline(SHORT):
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    raise KeyError from None

    asyncio.run(asyncio.wait_for(main(), 60))


def test_progress_keeps_a_task_going() -> None:
    """A task that makes progress outlives its time many times over."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with AsyncDeadline(1.0) as deadline:
            while loop.time() < started + 2.5:
                deadline.progress()
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), 60))

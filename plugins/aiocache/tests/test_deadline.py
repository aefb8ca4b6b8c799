"""A deadline ends a silence, and nothing else; it loses no cancellation and makes up none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from cachewright_aiocache.deadline import CURRENT, Deadline

LONG = 30.0


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, LONG))


def test_a_silence_is_a_timeout() -> None:
    """A task that waits for longer is woken by TimeoutError, and goes on afterwards uncancelled."""

    async def main() -> None:
        with pytest.raises(TimeoutError), Deadline(0.01):
            await asyncio.sleep(LONG)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert CURRENT.get() is None

    run(main())


def test_hearing_from_the_server_starts_the_time_anew() -> None:
    """As long as something is heard in time the operation goes on, much longer than the time."""

    async def main() -> float:
        started = time.monotonic()
        with Deadline(0.2) as deadline:
            for _ in range(12):
                await asyncio.sleep(0.05)
                deadline.heard()
        return time.monotonic() - started

    assert run(main()) > 0.4


def test_a_cancellation_from_outside_stays_one() -> None:
    """Who cancels the task gets CancelledError, also when the time is over at that moment."""

    async def work() -> None:
        with Deadline(0.01):
            try:
                await asyncio.sleep(LONG)
            finally:
                await asyncio.sleep(0.03)

    async def main() -> None:
        for wait in (0, 0.005, 0.01, 0.02):
            task = asyncio.ensure_future(work())
            await asyncio.sleep(wait)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), wait

    run(main())


@pytest.mark.parametrize("ending", ["return", "raise"])
def test_a_cancellation_that_a_library_lost_is_not_lost(ending: str) -> None:
    """A task that was cancelled from outside is, whatever the library made of it."""

    async def work() -> str:
        with Deadline(LONG):
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                if ending == "raise":
                    raise OSError("no connection") from None
            return "answer"

    async def main() -> None:
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main())


def test_a_library_that_loses_the_timeout_is_told_again() -> None:
    """Where the first cancellation is swallowed, another one follows."""

    async def main() -> int:
        swallowed = 0
        with pytest.raises(TimeoutError), Deadline(0.01):
            while True:
                try:
                    await asyncio.sleep(LONG)
                except asyncio.CancelledError:
                    swallowed += 1
                    if swallowed == 3:
                        raise
        return swallowed

    assert run(main()) == 3


def test_an_error_in_time_passes_through() -> None:
    """What the operation raises is what leaves."""

    async def main() -> None:
        with pytest.raises(KeyError), Deadline(LONG):
            raise KeyError

    run(main())

"""A deadline gives an operation up when nothing has been heard from its server for too long."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Final, Self, cast

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType


class Deadline:
    """Cancels the task inside of it after ``seconds`` of silence; leaving then raises ``TimeoutError``.

    Like :func:`asyncio.timeout`, with three differences: whoever hears from the server starts the time
    anew, at the price of one reading of the clock; the task is cancelled again where a library lost the
    first cancellation; and a cancellation from outside that a library lost is not lost.

    Args:
        seconds: how long a silence may be.
    """

    __slots__ = ("_before", "_cancelled", "_loop", "_seconds", "_task", "_timer", "_token", "_until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def heard(self) -> None:
        """Start the time anew."""
        self._until = monotonic() + self._seconds

    def __enter__(self) -> Self:
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._before = self._task.cancelling()
        self._cancelled = 0
        self._loop = asyncio.get_running_loop()
        self._until = monotonic() + self._seconds
        self._timer = self._loop.call_later(self._seconds, self._look)
        self._token: Token[Deadline | None] = CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        CURRENT.reset(self._token)
        self._timer.cancel()
        cancelling = self._task.cancelling()
        for _ in range(self._cancelled):
            cancelling = self._task.uncancel()
        if cancelling > self._before:
            if kind is not asyncio.CancelledError:
                raise asyncio.CancelledError from error
        elif self._cancelled and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _look(self) -> None:
        left = self._until - monotonic()
        if left <= 0:
            self._cancelled += 1
            self._task.cancel()
            left = self._seconds
        self._timer = self._loop.call_later(left, self._look)


CURRENT: Final[ContextVar[Deadline | None]] = ContextVar("cachewright_aiocache_deadline", default=None)
"""The deadline of the operation under way; connections look it up, for the libraries have no word for it."""

"""A deadline is the moment at which an operation gives up waiting; it moves on while bytes do."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Final, Self, cast

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextvars import Token
    from types import TracebackType

SOON: Final = 1e-3
"""Seconds to wait where none are left; zero would mean not to wait at all, and another error."""


class Deadline:
    """How long one operation may still wait, over all connections that it opens and questions that it asks.

    Greeting a server shares ``seconds`` with the wait for the first answer. Connecting may take as long
    again, and so may each address that fails while there are others to try. After that each answer, and
    each large piece of a value that is on its way, starts the time anew: a large transfer may take long,
    but silence may not.

    Args:
        seconds: how long.
    """

    __slots__ = ("_held", "_seconds", "_token", "_until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = monotonic() + seconds
        self._held = 0
        self._token: Token[Deadline | None] | None = None

    def left(self) -> float:
        """Return the seconds that are left, never quite none."""
        return max(self._until - monotonic(), SOON)

    def progress(self) -> None:
        """Start the time anew, unless it is :meth:`held`."""
        if not self._held:
            self.restart()

    def restart(self) -> None:
        """Start the time anew, though it is held: one of several addresses has failed."""
        self._until = monotonic() + self._seconds

    @contextmanager
    def stopped(self) -> Generator[None]:
        """Do not count the time that passes meanwhile."""
        started = monotonic()
        try:
            yield
        finally:
            self._until += monotonic() - started

    @property
    def searching(self) -> bool:
        """Whether it is :meth:`held`, so that one wait may fail and the next address be tried."""
        return self._held > 0

    @contextmanager
    def held(self) -> Generator[None]:
        """Let answers count for nothing: they are not yet what the operation asked for."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def __enter__(self) -> Self:
        self._token = CURRENT.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            CURRENT.reset(self._token)


CURRENT: Final[ContextVar[Deadline | None]] = ContextVar("cachewright_redis_deadline", default=None)
"""The deadline of the operation under way; connections look it up, because the library has no word for it."""


class AsyncDeadline(Deadline):
    """The same for a task, which is cancelled when the time is over; then leaving raises TimeoutError.

    Like :func:`asyncio.timeout`, but the time moves on without a new timer, and the task is cancelled
    again where a library lost the first cancellation. While it is held, connections bound their waits.
    """

    __slots__ = ("_cancelled", "_cancelling", "_loop", "_task", "_timer")

    async def __aenter__(self) -> Self:
        self._task = task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelling = task.cancelling()
        self._cancelled = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._seconds, self._look)
        self.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
        self._timer.cancel()
        cancelling = self._cancelling
        for _ in range(self._cancelled):
            cancelling = self._task.uncancel()
        if self._cancelled and cancelling <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _look(self) -> None:
        left = self._until - monotonic()
        if left <= 0 and not self._held:
            self._cancelled += 1
            self._task.cancel()
        if left <= 0:
            left = self._seconds
        self._timer = self._loop.call_later(left, self._look)

"""An asynchronous line is a connection that the engine keeps for the commands of one task at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ConnectionError as DisconnectedError
from redis.exceptions import TimeoutError as SilentError

from cachewright_redis.connection import CLOSED
from cachewright_redis.deadline import CURRENT
from cachewright_redis.line import FRESH, StaleError, readable
from cachewright_redis.wire import INCOMPLETE, answer, expected_size

if TYPE_CHECKING:
    from cachewright_redis.connection import AsyncConnection
    from cachewright_redis.deadline import Deadline


class AsyncLine(asyncio.Protocol):
    """A connection that the library opened and logged in on, and whose bytes come here from then on.

    Like :class:`~cachewright_redis.line.Line`: for one task at a time, and to be dropped as soon as
    waiting for an answer ended in any other way than with that answer.

    Args:
        connection: the library's, connected.
        timeout: seconds to wait for each part of an answer.
    """

    def __init__(self, connection: AsyncConnection, timeout: float) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._parts: list[bytes] = []
        self._have = self._size = 0
        self._waiter: asyncio.Future[object] | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: Deadline | None = None
        self._lost = False
        self._transport = connection.taken_over(self)
        self._look = readable(self._transport.get_extra_info("socket"))
        self._used = self._loop.time()

    def ask(self, command: bytes) -> asyncio.Future[object]:
        """Return the answer to come; see :func:`wire.answer`. What goes wrong is raised by awaiting it.

        Raises:
            StaleError: nobody was asked; another line has to be.
        """
        now = self._loop.time()
        # what the loop would learn of in its next round
        if self._lost or self._transport.is_closing() or (now > self._used + FRESH and self._look()):
            raise StaleError
        waiter = self._waiter = self._loop.create_future()
        self._used, self._until = now, now + self._timeout
        if self._timer is None:
            self._timer = self._loop.call_at(self._until, self._expire)
        self._transport.write(command)
        return waiter

    async def ask_first(self, command: bytes) -> object:
        """Return the answer in what is left of the time of the current deadline, after having connected."""
        self._deadline = CURRENT.get()
        try:
            return await self.ask(command)
        finally:
            self._deadline = None

    def drop(self) -> None:
        """Close the connection at once; what is still to come on it reaches nobody."""
        self._lost = True
        self._connection.hang_up()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def data_received(self, data: bytes) -> None:
        """Hand on the answer when it is complete; what nobody has asked for ends the connection."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.drop()
            return
        if self._deadline is not None:
            self._deadline.progress()
        self._until = self._loop.time() + self._timeout
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._size:
                return
            data = b"".join(self._parts)
        try:
            reply = answer(data)
            if reply is INCOMPLETE:
                self._parts, self._have, self._size = [data], len(data), expected_size(data) or 0
                return
        except Exception as error:  # noqa: BLE001 - whoever asked is to know of whatever makes no sense
            waiter.set_exception(error)
        else:
            self._waiter = None
            waiter.set_result(reply)
        self._parts = []

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits, and the library, which was told so far."""
        self._lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(DisconnectedError(CLOSED if exc is None else str(exc)))
        self._connection.former.connection_lost(exc)

    def _expire(self) -> None:
        """Look whether somebody has waited for too long; a line that lies idle sets no alarm."""
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._until > self._loop.time() or self._deadline is not None:
            later = max(self._until, self._loop.time() + self._timeout / 4)
            self._timer = self._loop.call_at(later, self._expire)
        else:
            waiter.set_exception(SilentError("no answer in time"))


class AsyncLines:
    """The lines of one event loop to one server; the one used last is used next.

    Args:
        pool: the library's, which makes connections and knows how to open them.
        timeout: seconds to wait for each part of an answer.
    """

    def __init__(self, pool: Any, timeout: float) -> None:
        self.idle: list[AsyncLine] = []
        self._pool = pool
        self._timeout = timeout
        self._all: set[AsyncLine] = set()

    async def dial(self) -> AsyncLine:
        """Return a new line; connecting and greeting keep to the current deadline."""
        connection = cast("AsyncConnection", self._pool.make_connection())
        try:
            await connection.connect()
            line = AsyncLine(connection, self._timeout)
        except BaseException:
            connection.hang_up()
            raise
        self._all.add(line)
        return line

    def drop(self, line: AsyncLine) -> None:
        """Close a line that is not to be used again."""
        self._all.discard(line)
        line.drop()

    def close(self) -> None:
        """Close every line, those in use too."""
        self.idle.clear()
        for line in list(self._all):
            self.drop(line)

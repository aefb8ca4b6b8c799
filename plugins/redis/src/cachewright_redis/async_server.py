"""An asynchronous server is what an engine of one event loop talks to; see :mod:`.server`."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

from redis.exceptions import ReadOnlyError, ResponseError

from cachewright.errors import CachewrightError, EngineUnavailableError
from cachewright_redis.async_line import AsyncLine, AsyncLines
from cachewright_redis.client import async_opened, found, lost
from cachewright_redis.commands import UNKNOWN, UnexpectedReplyError, in_full, known
from cachewright_redis.deadline import AsyncDeadline
from cachewright_redis.embedded import Tenancy
from cachewright_redis.failure import ENGINE
from cachewright_redis.line import StaleError
from cachewright_redis.wire import packed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cachewright_redis.client import AsyncClient
    from cachewright_redis.commands import Command
    from cachewright_redis.settings import Settings

T = TypeVar("T")
A = TypeVar("A")

CONNECTIONS: Final = 64
"""Operations at a time; each needs a connection, and more of them would not be faster."""


class AsyncServer:
    """The connections of one engine, at most :data:`CONNECTIONS` of them at work.

    Further operations wait for their turn, as long as the server answers at all. The connection of a
    cancelled operation is never used again.

    Args:
        settings: which servers, and how long to wait.

    Attributes:
        direct: one server has all entries, and is talked to without the library.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tenancy = Tenancy(settings.place) if settings.place is not None else None
        # a cluster is left to the library, which knows what lives where
        self.direct = settings.address.layout != "cluster"
        self._guided = settings.address.layout == "sentinel"
        self._clients: tuple[AsyncClient, ...] = ()
        self._lines: AsyncLines | None = None
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._answers = 0
        self._closed = False

    async def run(self, operation: str, command: Command, read: Callable[[object], T]) -> T:
        """Do the same as :meth:`tell` with what may be a script; a server that does not know it is told.

        Raises:
            EngineError: as :meth:`tell`.
            ClosedError: as :meth:`tell`.
        """
        answer = await self.tell(operation, command, known(read))
        return await self.tell(operation, in_full(command), read) if answer is UNKNOWN else answer

    async def tell(self, operation: str, command: Command, read: Callable[[object], T]) -> T:
        """Say one command, and return what ``read`` makes of the answer, which may be an error to raise.

        Raises:
            EngineError: the server, or the way to it, failed.
            ClosedError: the engine is closed.
        """
        data = packed(command) if self.direct else None
        if data is None:
            return await self.ask(operation, _executed, (command, read))
        lines, slots = self._lines, self._slots
        if lines is None or not lines.idle or slots.locked():
            return await self.ask(operation, self._told, (data, read))
        await slots.acquire()  # does not wait
        try:
            line = lines.idle.pop()
            try:
                value = read(await line.ask(data))
            except StaleError:
                lines.drop(line)
            except Exception as error:
                self._hang_up(lines, line, error)
                raise self._failure(operation, error) from error
            except BaseException:
                lines.drop(line)
                raise
            else:
                self._answers += 1
                lines.idle.append(line)
                return value
        finally:
            slots.release()
        return await self.ask(operation, self._told, (data, read))

    async def ask(self, operation: str, work: Callable[[AsyncClient, A], Awaitable[T]], argument: A) -> T:
        """Return what ``work`` does with the client of the library and an argument, within the timeout.

        Raises:
            EngineError: the server, or the way to it, failed.
            ClosedError: the engine is closed.
        """
        seconds = self._settings.timeout
        if self._slots.locked():
            seconds = await self._wait_for_slot(operation)
        else:
            await self._slots.acquire()  # does not wait
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            answer = await self._answered(operation, work, argument, seconds)
        except CachewrightError as error:
            if task and task.cancelling() > cancelled:
                raise asyncio.CancelledError from error
            raise
        finally:
            self._slots.release()
            if self._closed:  # whoever was connecting while the engine was closed cleans up afterwards
                await self._disconnect()
        self._answers += 1
        if task and task.cancelling() > cancelled:  # the library can lose a cancellation while connecting
            raise asyncio.CancelledError
        return answer

    async def close(self) -> None:
        """Close the connections; operations under way in other tasks end with ClosedError."""
        self._closed = True
        await self._disconnect()
        self._leave()
        await asyncio.sleep(0)  # connections that were cut off are closed by the loop in its next round

    async def _answered(
        self, operation: str, work: Callable[[AsyncClient, A], Awaitable[T]], argument: A, seconds: float
    ) -> T:
        if self._closed:
            raise self._settings.closed()
        client: AsyncClient | None = None
        try:
            async with AsyncDeadline(seconds):
                if not self._clients:
                    self._clients = async_opened(self._settings)
                client = self._clients[0]
                await found(client)
                return await work(client, argument)
        except Exception as error:  # a library and a server, whose garbage surfaces as any exception
            if isinstance(error, UnexpectedReplyError):
                await self._disconnect()
            if client is not None and lost(client, error):
                await self._let_go(client)
            raise self._failure(operation, error) from error

    async def _told(self, client: AsyncClient, todo: tuple[bytes, Callable[[object], T]]) -> T:
        data, read = todo
        lines = self._lines
        if lines is None:
            lines = self._lines = AsyncLines(client.connection_pool, self._settings.timeout)
        while True:
            line = lines.idle.pop() if lines.idle else await lines.dial()
            try:
                value = read(await line.ask_first(data))
            except StaleError:
                lines.drop(line)
                continue
            except Exception as error:
                self._hang_up(lines, line, error)
                raise
            except BaseException:
                lines.drop(line)
                raise
            lines.idle.append(line)
            return value

    @property
    def private(self) -> bool:
        """Whether nobody but this user reaches the server."""
        return self._tenancy is not None and self._tenancy.private

    def _leave(self) -> None:
        if self._tenancy is not None:
            self._tenancy.end()

    def _hang_up(self, lines: AsyncLines, line: AsyncLine, error: Exception) -> None:
        """Keep a line on which the server has refused a command, and drop it after anything else."""
        if self._guided and isinstance(error, ReadOnlyError):
            lines.close()  # all of them may lead to what was the primary; the sentinels are asked again
        elif isinstance(error, ResponseError):
            lines.idle.append(line)
        else:
            lines.drop(line)

    def _failure(self, operation: str, error: Exception) -> CachewrightError:
        return self._settings.closed() if self._closed else self._settings.failed(operation, error)

    async def _wait_for_slot(self, operation: str) -> float:
        """Wait for a turn while the server answers others; return the seconds that are left.

        Raises:
            EngineUnavailableError: no operation was answered for as long as one may take.
        """
        seconds = self._settings.timeout
        while True:
            answers, since = self._answers, monotonic()
            try:
                async with asyncio.timeout(seconds):
                    await self._slots.acquire()
            except TimeoutError as error:
                if self._answers == answers:
                    reason = f"none of {CONNECTIONS} operations was answered in {seconds:g} s"
                    raise EngineUnavailableError(ENGINE, operation, reason) from error
            else:
                # where nobody was answered meanwhile, the wait for the answer has begun already
                return seconds if self._answers != answers else seconds - (monotonic() - since)

    async def _let_go(self, client: AsyncClient) -> None:
        """Have the next operation make a new client from the address, unless another one did."""
        if client in self._clients:
            self._clients = ()
            # takes nothing from other tasks: the library closed all connections when it found no node
            await client.aclose()

    async def _disconnect(self) -> None:
        if self._lines is not None:
            self._lines.close()
        for client in self._clients:
            await client.aclose()


async def _executed(client: AsyncClient, todo: tuple[Command, Callable[[object], T]]) -> T:
    command, read = todo
    reply: object
    try:
        reply = await client.execute_command(*command)
    except ResponseError as error:
        reply = error
    return read(reply)

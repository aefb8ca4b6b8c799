"""The client for a memcached server: aiomcache's, on connections that no failure leaves out of step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from aiocache import MemcachedCache
from aiocache.serializers import NullSerializer
from aiomcache import Client as LibraryClient
from aiomcache.pool import Connection, MemcachePool

from cachewright_aiocache.deadline import CURRENT
from cachewright_aiocache.memcached_commands import UnexpectedReplyError, outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cachewright_aiocache.address import Address
    from cachewright_aiocache.memcached_commands import Outcome

T = TypeVar("T")

Found: TypeAlias = "dict[bytes, tuple[bytes, int]]"
"""What is stored, by name: the value, and the token by which it can be replaced."""

ANY_NUMBER: Final = 2**31
"""Connections that a pool may open; how many are in use is decided elsewhere."""


class Pool(MemcachePool):
    """Connections that lie idle, and those in use; opens another one whenever none lies idle.

    That of aiomcache opens all that it may have at once, and lets callers wait for ever when those in
    use break.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, minsize=1, maxsize=ANY_NUMBER)
        self._idle: list[Connection] = []
        self._closed = False

    async def acquire(self) -> Connection:
        """Return a connection that nobody else uses."""
        while self._idle:
            connection = self._idle.pop()
            if self._is_usable(connection):
                self._in_use.add(connection)
                return connection
            _abort(connection)
        reader, writer = await asyncio.open_connection(self._host, self._port, **self.conn_args)
        connection = Connection(reader, writer)
        self._in_use.add(connection)
        if self._closed:
            self.discard(connection)
            raise ConnectionAbortedError("the pool was closed")
        return connection

    def release(self, conn: Connection) -> None:
        """Take a connection back whose answers have all been read."""
        self._in_use.discard(conn)
        if self._is_usable(conn) and not self._closed:
            self._idle.append(conn)
        else:
            _abort(conn)

    def discard(self, conn: Connection) -> None:
        """Close a connection on which an answer may be left over."""
        self._in_use.discard(conn)
        _abort(conn)

    async def clear(self) -> None:
        """Close all connections, also those in use, and keep none from now on."""
        self._closed = True
        for connection in (*self._idle, *self._in_use):
            _abort(connection)
        self._idle.clear()

    def _is_usable(self, connection: Connection) -> bool:
        return not (
            connection.reader.at_eof() or connection.reader.exception() or connection.writer.is_closing()
        )


class Client(LibraryClient):
    """The client of aiomcache, used so that nothing leaves a connection out of step.

    aiomcache itself uses a connection again whose operation was cancelled, so that the next one is
    given its answer, and turns in circles without end when a server goes in the middle of an answer.

    A server works on its connections side by side. What a cancelled operation has sent could be done
    after what is said later on another connection, so that is said only when the server has done it.

    Args:
        host: name or number of the server.
        port: its port.
        patience: seconds that this takes at the most.
    """

    def __init__(self, host: str, port: int, patience: float) -> None:
        super().__init__(host, port)
        self._patience = patience
        self._unsettled: set[asyncio.Task[None]] = set()
        self._get_flag_handler = _without_flags
        self._connections = self._pool = Pool(host, port)

    async def look(self, *names: bytes) -> Found:
        """Return what is stored under the names, with the tokens by which it can be replaced."""

        async def work(connection: Connection) -> Found:
            values, tokens = await self._multi_get(connection, *names, with_cas=True)
            if not set(values) <= set(names):
                raise UnexpectedReplyError(b"VALUE of another name")
            return {name: (value, tokens[name] or 0) for name, value in values.items()}

        return await self._alone(work, writes=False)

    async def tell(self, commands: list[bytes]) -> list[Outcome]:
        """Say several things at once, each of which is answered by one line; return what became of them."""

        async def work(connection: Connection) -> list[Outcome]:
            connection.writer.write(b"".join(commands))
            await connection.writer.drain()
            return [outcome(await _line(connection)) for _ in commands]

        return await self._alone(work, writes=True) if commands else []

    async def _alone(self, work: Callable[[Connection], Awaitable[T]], *, writes: bool) -> T:
        """Do ``work`` with a connection, which is used again only if all went well."""
        while self._unsettled:
            await asyncio.wait(set(self._unsettled))
        connection = await self._connections.acquire()
        try:
            answer = await work(connection)
        except asyncio.CancelledError:
            if writes:
                task = asyncio.get_running_loop().create_task(self._settle(connection))
                self._unsettled.add(task)
                task.add_done_callback(self._unsettled.discard)
            else:
                self._connections.discard(connection)
            raise
        except Exception as error:
            self._connections.discard(connection)
            if connection.reader.at_eof():
                raise ConnectionResetError("the server closed the connection") from error
            raise
        except BaseException:  # the interpreter ends, or the loop was closed
            self._connections.discard(connection)
            raise
        self._connections.release(connection)
        return answer

    async def _settle(self, connection: Connection) -> None:
        """Wait until the server has answered all that was sent; it answers in order."""
        settled = False
        try:
            async with asyncio.timeout(self._patience):
                connection.writer.write(b"version\r\n")
                while not (await _line(connection)).startswith(b"VERSION "):
                    pass
            settled = True
        except (OSError, ValueError):  # it has gone, or does not speak this language
            pass
        finally:
            if settled:
                self._connections.release(connection)
            else:
                self._connections.discard(connection)


async def _line(connection: Connection) -> bytes:
    line = await connection.reader.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("the server closed the connection")
    deadline = CURRENT.get()
    if deadline is not None:
        deadline.heard()
    return line[:-2]


def made(address: Address, timeout: float) -> tuple[object, Client]:
    """Return aiocache's cache for the server, and the client that it was given."""
    make: Callable[..., Any] = MemcachedCache
    cache = make(
        serializer=NullSerializer(encoding=None), endpoint=address.host, port=address.port, timeout=None
    )
    client = cache.client = Client(address.host, address.port, timeout)
    return cache, client


async def _without_flags(value: bytes, _flags: int) -> bytes:
    """Return a value that another program stored, for the core to find that it is no entry."""
    return value


def _abort(connection: Connection) -> None:
    """Close at once; what is still to be sent is not what anybody waits for."""
    connection.writer.transport.abort()

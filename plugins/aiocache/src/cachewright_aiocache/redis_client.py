"""The client for a Redis server, as aiocache makes it, on connections that keep to deadlines."""

from __future__ import annotations

import inspect
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from aiocache import RedisCache
from aiocache.serializers import NullSerializer
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as DisconnectedError
from redis.exceptions import ResponseError

from cachewright_aiocache.deadline import CURRENT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cachewright_aiocache.address import Address
    from cachewright_aiocache.deadline import Deadline
    from cachewright_aiocache.redis_commands import Command

    class AnyConnection:
        """What is used of the library's connections."""

        _reader: asyncio.StreamReader | None
        _writer: asyncio.StreamWriter | None
        is_connected: bool

        async def _connect(self) -> None: ...
        def pack_commands(self, commands: Iterable[Command]) -> list[bytes]: ...
        async def send_packed_command(self, command: Iterable[Part], check_health: Any) -> None: ...
        async def read_response(self) -> object: ...
        async def disconnect(self, *arguments: Any, **options: Any) -> None: ...

else:
    AnyConnection = object

Part: TypeAlias = "str | bytes | memoryview[int]"
"""A run of bytes of a command that is ready to be sent."""

PIECE: Final = 256 * 1024
"""Bytes that are sent at a time; when so many have gone, the time starts anew."""

ANY_NUMBER: Final = 2**31
"""Connections that a pool may open; how many are in use is decided elsewhere."""


class Prompt(AnyConnection):
    """A connection that is asked one thing after the other, and closed at once when that fails.

    The library closes a connection when an operation on it fails or is cancelled, so that no answer is
    left for the next one. What arrives without having been asked for closes it, too.
    """

    _deadline: Deadline | None = None
    _spoilt = False

    async def answers(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answer to each command, or the error that the server reports, in one round trip."""
        if self._spoilt or (self._reader is not None and self._reader.at_eof()):
            await self.disconnect(nowait=True)
        try:
            await self.send_packed_command(self.pack_commands(commands), check_health=False)
            return [await self._answer() for _ in commands]
        finally:
            self._deadline = None

    async def _answer(self) -> object:
        try:
            return await self.read_response()
        except ResponseError as error:
            return error

    async def _connect(self) -> None:
        await super()._connect()
        self._spoilt = False
        reader = cast("Any", self._reader)
        feed, heard = reader.feed_data, weakref.WeakMethod(self.heard)

        def fed(data: bytes) -> None:
            notify = heard()
            if notify is not None:
                notify()
            feed(data)

        reader.feed_data = fed

    def heard(self) -> None:
        """Take note that a part of an answer has arrived, or of a command has gone."""
        if self._deadline is not None:
            self._deadline.heard()
        else:
            self._spoilt = True

    async def send_packed_command(self, command: Part | Iterable[Part], check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - the library's signature
        """Send a command, a large one in pieces."""
        self._deadline, begun = CURRENT.get(), False
        for piece in _pieces(command):
            if begun and not self.is_connected:
                # whoever closed the connection must not have it opened again for the rest of a command
                raise DisconnectedError("the connection was closed while a command was being sent")
            await super().send_packed_command(piece, check_health and not begun)
            if begun:
                self.heard()
            begun = True

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Disconnect at once; what is still to be sent is not what anybody waits for."""
        if self._writer is not None:
            self._writer.transport.abort()
        await super().disconnect(*arguments, **options)


@cache
def prompt(connection: type[Any]) -> type[Any]:
    """Return a class of connections as it is to be used."""
    return type(connection.__name__, (Prompt, connection), {})


def made(address: Address, timeout: float) -> RedisCache:
    """Return aiocache's cache for the server; it connects when it is used.

    Nothing is repeated: repeating a write whose answer was lost would give a wrong answer, and
    repeating adds up over a timeout.
    """
    kind = prompt(SSLConnection if address.scheme == "rediss" else Connection)
    known = inspect.signature(Connection).parameters | inspect.signature(Connection.__mro__[1]).parameters
    # what keeps a client from greeting a server with more questions than it has to ask
    brief: dict[str, Any] = {"driver_info": None} if "driver_info" in known else {}
    brief = brief or {"lib_name": None, "lib_version": None}
    make: Callable[..., RedisCache] = RedisCache
    return make(
        serializer=NullSerializer(encoding=None),
        endpoint=address.host,
        port=address.port,
        db=address.db,
        password=address.password,
        timeout=None,  # the deadline of each operation does what aiocache would start a task for
        pool_max_size=ANY_NUMBER,
        create_connection_timeout=timeout,
        connection_pool_kwargs={
            "connection_class": kind,
            "username": address.username,
            "protocol": 2,
            "socket_timeout": None,
            "socket_keepalive": True,
            "retry": Retry(NoBackoff(), 0),
            **brief,
            **_tls(address),
        },
    )


class Client:
    """The connections for aiocache's cache: as many as there are operations at a time.

    The library's own client takes longer to find a connection, look at it and take notes than to ask.

    Args:
        store: aiocache's cache, whose pool knows how connections are made.
    """

    def __init__(self, store: RedisCache) -> None:
        self._make: Callable[[], Prompt] = cast("Any", store.client).connection_pool.make_connection
        self._all: list[Prompt] = []
        self._idle: list[Prompt] = []

    async def answers(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answer to each command, or the error that the server reports, in one round trip."""
        if not commands:
            return []
        if not self._idle:
            self._idle.append(self._make())
            self._all.append(self._idle[-1])
        connection = self._idle.pop()
        try:
            return await connection.answers(commands)
        finally:
            self._idle.append(connection)

    async def answer(self, *command: str | bytes | int) -> Any:
        """Return the answer to one command.

        Raises:
            ResponseError: the server reports one.
        """
        (answer,) = await self.answers([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Close all connections, also those in use; in one step, for the event loop may be about to end."""
        for connection in self._all:
            await connection.disconnect(nowait=True)


def _tls(address: Address) -> dict[str, Any]:
    options: dict[str, Any] = dict(address.tls)
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"].lower() not in {"0", "no", "false"}
    return options


def _pieces(command: Part | Iterable[Part]) -> Iterator[list[Part]]:
    """Yield the parts of a command, large ones in pieces, small ones together: each costs a system call."""
    parts: list[Any] = [command] if isinstance(command, (str, bytes, memoryview)) else list(command)
    if sum(map(len, parts)) <= PIECE:
        yield parts
        return
    small: list[Part] = []
    for part in parts:
        view = memoryview(part.encode() if isinstance(part, str) else part)
        for start in range(0, len(view), PIECE):
            small.append(view[start : start + PIECE])
            if start or len(view) > PIECE:
                yield small
                small = []
    if small:
        yield small

"""A connection of the library, taught to keep to the deadline of the operation that uses it."""

from __future__ import annotations

import asyncio
import ssl
import weakref
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from redis.exceptions import ConnectionError as DisconnectedError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as SilentError

from cachewright_redis.deadline import CURRENT

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from cachewright_redis.deadline import Deadline

    class Connection:
        """What is used of the library's connections for threads, of which there is a class per way."""

        _sock: socket.socket | None

        def connect(self) -> None: ...
        def connect_check_health(self, *arguments: Any, **options: Any) -> None: ...
        def _connect(self) -> Any: ...
        def can_read(self, timeout: float = 0) -> bool: ...
        def send_packed_command(self, command: Iterable[Part], check_health: Any) -> None: ...
        def read_response(self, *arguments: Any, **options: Any) -> Any: ...

    class AsyncConnection:
        """What is used of those for tasks."""

        _reader: Any
        _writer: asyncio.StreamWriter | None
        is_connected: bool

        async def connect(self) -> None: ...
        async def connect_check_health(self, *arguments: Any, **options: Any) -> None: ...
        async def _connect(self) -> None: ...
        async def send_packed_command(self, command: Iterable[Part], check_health: Any) -> None: ...
        async def read_response(self, *arguments: Any, **options: Any) -> Any: ...
        async def disconnect(self, *arguments: Any, **options: Any) -> None: ...

        # what AsyncPunctual adds
        former: asyncio.BaseProtocol

        def taken_over(self, protocol: asyncio.Protocol) -> asyncio.Transport: ...
        def hang_up(self) -> None: ...

else:
    Connection = AsyncConnection = object

Part: TypeAlias = "str | bytes | memoryview[int]"
"""A run of bytes of a command that is ready to be sent."""

CLOSED: Final = "the server closed the connection"

PIECE: Final = 256 * 1024
"""Bytes that are sent at a time; when so many have gone, the deadline moves on."""


class Punctual(Connection):
    """What every connection for threads does besides what the library has it do."""

    def _connect(self) -> Any:
        """Connect, for each address as long as the library was told, which is not counted."""
        with _connecting():
            return super()._connect()

    def connect(self) -> None:
        """Connect and greet, which is not yet what the operation asked for."""
        if not self._sock:
            with _greeting():
                super().connect()

    def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Do the same, by the name that newer versions of the library use as well."""
        with _greeting():
            super().connect_check_health(*arguments, **options)

    def can_read(self, timeout: float = 0) -> bool:
        """Whether an answer has arrived that nobody read; a ticket for the encryption is none."""
        readable = super().can_read(timeout)
        if readable and self._sock and nothing_said(self._sock, self._sock.gettimeout()):
            return super().can_read(0)  # what the parser had read already counts as well
        return readable

    def send_packed_command(self, command: Part | Iterable[Part], check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - the library's signature
        """Send a command in pieces, none of which may wait longer than the deadline lets it."""
        super().send_packed_command(self._paced(command), check_health)

    def _paced(self, command: Part | Iterable[Part]) -> Iterator[Part]:
        deadline = CURRENT.get()
        for piece in _pieces(command):
            if deadline and self._sock:
                self._sock.settimeout(deadline.left())
            yield piece
            if deadline and len(piece) == PIECE:
                deadline.progress()

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer; whatever comes in between, the connection is not used again."""
        # a connection to a primary that sentinels named would be kept, and answer the next question late
        options.setdefault("disconnect_on_error", True)
        deadline = CURRENT.get()
        if deadline is None:
            return super().read_response(*arguments, **options)
        if self._sock:
            self._sock.settimeout(deadline.left())
        try:
            answer = super().read_response(*arguments, **options)
        except ResponseError:
            deadline.progress()
            raise
        except (DisconnectedError, SilentError):
            if deadline.searching:
                deadline.restart()
            raise
        deadline.progress()
        return answer


class AsyncPunctual(AsyncConnection):
    """What every connection for tasks does besides; the task itself is cancelled at the deadline."""

    _awaited: Deadline | None = None

    async def connect(self) -> None:
        """Connect and greet, which is not yet what the operation asked for."""
        if not self.is_connected:
            with _greeting():
                await super().connect()

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Do the same, by the name that newer versions of the library use as well."""
        with _greeting():
            await super().connect_check_health(*arguments, **options)

    async def _connect(self) -> None:
        with _connecting():
            await super()._connect()
        feed, arrived = self._reader.feed_data, weakref.WeakMethod(self.arrived)

        def fed(data: bytes) -> None:
            notify = arrived()
            if notify is not None:
                notify()
            feed(data)

        self._reader.feed_data = fed

    def arrived(self) -> None:
        """Take note that a part of an answer has arrived."""
        if self._awaited is not None:
            self._awaited.progress()

    async def send_packed_command(self, command: Part | Iterable[Part], check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - the library's signature
        """Send a command, a large one in pieces."""
        deadline, begun = CURRENT.get(), False
        for piece in _joined(command):
            if begun and not self.is_connected:
                # whoever closed the connection must not have it opened again for the rest of a command
                raise DisconnectedError("the connection was closed while a command was being sent")
            await super().send_packed_command([piece], check_health and not begun)
            begun = True
            if deadline and len(piece) >= PIECE:
                deadline.progress()

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer; whatever comes in between, the connection is not used again."""
        options.setdefault("disconnect_on_error", True)
        deadline = self._awaited = CURRENT.get()
        if deadline is None:
            return await super().read_response(*arguments, **options)
        try:
            async with asyncio.timeout(deadline.left() if deadline.searching else None):
                answer = await super().read_response(*arguments, **options)
        except ResponseError:
            deadline.progress()
            raise
        except TimeoutError as error:
            deadline.restart()
            raise SilentError("no answer to a greeting") from error
        finally:
            self._awaited = None
        deadline.progress()
        return answer

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Disconnect at once; what is still to be sent is not what anybody waits for."""
        if self._writer is not None:
            self._writer.transport.abort()
        await super().disconnect(*arguments, **options)

    def taken_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Have what arrives from now on go to ``protocol``; return what to write to.

        Only :meth:`hang_up` may be called from then on.
        """
        if self._writer is None:
            raise DisconnectedError(CLOSED)
        transport = cast("asyncio.Transport", self._writer.transport)
        self.former = transport.get_protocol()
        transport.set_protocol(protocol)
        return transport

    def hang_up(self) -> None:
        """Close the connection at once, from anywhere; the library is not asked, which would have to wait."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


def nothing_said(sock: socket.socket, timeout: float | None) -> bool:
    """Whether what arrived on an encrypted connection, if anything, says nothing but how to encrypt.

    Servers send tickets for later connections at any time; on other connections every byte is an answer.

    Args:
        sock: the connection.
        timeout: what to restore.
    """
    if not isinstance(sock, ssl.SSLSocket):
        return False
    sock.settimeout(0)
    try:
        sock.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    finally:
        sock.settimeout(timeout)
    return False


@cache
def punctual(connection: type[Any]) -> type[Any]:
    """Return the class of connections for threads, as it is to be used."""
    return type(connection.__name__, (Punctual, connection), {})


@cache
def async_punctual(connection: type[Any]) -> type[Any]:
    """Return the class of connections for tasks, as it is to be used."""
    return type(connection.__name__, (AsyncPunctual, connection), {})


def _greeting() -> AbstractContextManager[None]:
    deadline = CURRENT.get()
    return nullcontext() if deadline is None else deadline.held()


def _connecting() -> AbstractContextManager[None]:
    deadline = CURRENT.get()
    return nullcontext() if deadline is None else deadline.stopped()


def _pieces(command: Part | Iterable[Part]) -> Iterator[bytes | memoryview[int]]:
    parts: Any = (command,) if isinstance(command, (str, bytes, memoryview)) else command
    for part in parts:
        whole: bytes | memoryview[int] = part.encode() if isinstance(part, str) else part
        if len(whole) <= PIECE:
            yield whole
        else:
            view = memoryview(whole)
            yield from (view[start : start + PIECE] for start in range(0, len(view), PIECE))


def _joined(command: Part | Iterable[Part]) -> Iterator[bytes | memoryview[int]]:
    """Yield the pieces of a command, small ones together: each is handed over at a price."""
    small: list[bytes | memoryview[int]] = []
    for piece in _pieces(command):
        if len(piece) == PIECE:
            if small:
                yield b"".join(small)
            small = []
            yield piece
        else:
            small.append(piece)
    if small:
        yield b"".join(small)

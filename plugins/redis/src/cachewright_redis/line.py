"""A line is a connection that the engine keeps for single commands, without the library between."""

from __future__ import annotations

import os
import select
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ConnectionError as DisconnectedError

from cachewright_redis.connection import CLOSED, nothing_said
from cachewright_redis.deadline import CURRENT
from cachewright_redis.wire import INCOMPLETE, answer, expected_size

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

PAGE: Final = 16 * 1024
"""Bytes that are asked for at first; few entries have more."""

FRESH: Final = 1e-3
"""Seconds after which a line that lay idle is looked at before it is used: the server may have closed it."""


class StaleError(Exception):
    """A line was closed, or something arrived on it, while it lay idle; nothing has been said on it."""


class Line:
    """A connection that the library opened, logged in on, and leaves alone from then on.

    Whoever asks has the line for itself until the answer is complete. Whatever is raised meanwhile,
    by the server, by a signal, by time: the line is to be dropped, because an answer may still come.

    Args:
        connection: the library's, connected.
        timeout: seconds to wait for each part of an answer.
    """

    __slots__ = ("_connection", "_look", "_sock", "_timeout", "_used")

    def __init__(self, connection: Any, timeout: float) -> None:
        self._connection = connection
        self._sock: socket.socket = connection._sock  # noqa: SLF001 - the library has no word for it
        self._timeout = timeout
        self._look = readable(self._sock)
        self._used = monotonic()

    def ask(self, command: bytes) -> object:
        """Return the answer to a command; see :func:`wire.answer`.

        Raises:
            StaleError: nobody was asked; another line has to be.
            TimeoutError: no part of an answer arrived in time.
            OSError: the connection broke.
            InvalidResponse: what came is no answer.
        """
        sock, now = self._sock, monotonic()
        if now > self._used + FRESH and self._look() and not nothing_said(self._sock, self._timeout):
            raise StaleError
        self._used = now
        sock.sendall(command)
        data = sock.recv(PAGE)
        reply = answer(data)
        return reply if reply is not INCOMPLETE else self._rest(data)

    def ask_first(self, command: bytes) -> object:
        """Do the same in what is left of the time of the current deadline, after having connected."""
        deadline = CURRENT.get()
        if deadline is not None:
            self._sock.settimeout(deadline.left())
        try:
            return self.ask(command)
        finally:
            self._sock.settimeout(self._timeout)

    def drop(self) -> None:
        """Close the connection; what is still to come on it reaches nobody."""
        self._connection.disconnect()

    def _rest(self, data: bytes) -> object:
        while True:
            if not data:
                raise DisconnectedError(CLOSED)
            size = expected_size(data)
            if size is not None and size > len(data):
                return answer(self._filled(data, size))
            more = self._sock.recv(PAGE)
            if not more:
                raise DisconnectedError(CLOSED)
            data += more
            reply = answer(data)
            if reply is not INCOMPLETE:
                return reply

    def _filled(self, data: bytes, size: int) -> bytes:
        whole = bytearray(size)  # costs memory only where something arrives
        whole[: len(data)] = data
        with memoryview(whole) as view:
            at = len(data)
            while at < size:
                count = self._sock.recv_into(view[at:])
                if not count:
                    raise DisconnectedError(CLOSED)
                at += count
        return bytes(whole)


class Lines:
    """The lines of one process to one server; the one used last is used next.

    Args:
        pool: the library's, which makes connections and knows how to open them.
        timeout: seconds to wait for each part of an answer.
    """

    def __init__(self, pool: Any, timeout: float) -> None:
        self.process = os.getpid()
        self.idle: list[Line] = []
        self._pool = pool
        self._timeout = timeout
        self._all: set[Line] = set()

    def dial(self) -> Line:
        """Return a new line; connecting and greeting keep to the current deadline."""
        connection = self._pool.make_connection()
        try:
            connection.connect()
            line = Line(connection, self._timeout)
        except BaseException:
            connection.disconnect()
            raise
        self._all.add(line)
        return line

    def drop(self, line: Line) -> None:
        """Close a line that is not to be used again."""
        self._all.discard(line)
        line.drop()

    def close(self) -> None:
        """Close every line, those in use too."""
        self.idle.clear()
        for line in list(self._all):
            self.drop(line)


def readable(sock: socket.socket) -> Callable[[], object]:
    """Return a question whether something can be read now, or the other side has hung up."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return lambda: poll.poll(0)
    return lambda: select.select([sock], [], [], 0)[0]

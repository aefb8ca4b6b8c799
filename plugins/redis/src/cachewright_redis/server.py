"""A server is what an engine of threads talks to: on lines of its own, otherwise through the library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn, TypeVar

from redis.exceptions import ReadOnlyError, ResponseError

from cachewright_redis.client import lost, opened, release
from cachewright_redis.commands import UNKNOWN, UnexpectedReplyError, in_full, known
from cachewright_redis.deadline import Deadline
from cachewright_redis.embedded import Tenancy
from cachewright_redis.line import Line, Lines, StaleError
from cachewright_redis.wire import packed

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachewright_redis.client import Client
    from cachewright_redis.commands import Command
    from cachewright_redis.settings import Settings

T = TypeVar("T")
A = TypeVar("A")


class Server:
    """The connections of one engine.

    Every thread at work has one for itself. A forked child opens its own. A connection whose answer did not
    come, or came and made no sense, is never used again.

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
        # by process, because a forked child must not use the connections of its parent
        self._clients: dict[int, tuple[Client, ...]] = {}
        self._lines: dict[int, Lines] = {}
        self._closed = False

    def run(self, operation: str, command: Command, read: Callable[[object], T]) -> T:
        """Do the same as :meth:`tell` with what may be a script; a server that does not know it is told.

        Raises:
            EngineError: as :meth:`tell`.
            ClosedError: as :meth:`tell`.
        """
        answer = self.tell(operation, command, known(read))
        return self.tell(operation, in_full(command), read) if answer is UNKNOWN else answer

    def tell(self, operation: str, command: Command, read: Callable[[object], T]) -> T:
        """Say one command, and return what ``read`` makes of the answer, which may be an error to raise.

        Raises:
            EngineError: the server, or the way to it, failed.
            ClosedError: the engine is closed.
        """
        data = packed(command) if self.direct else None
        if data is None:
            return self.ask(operation, _executed, (command, read))
        lines = self._lines.get(os.getpid())
        while lines is not None:
            try:
                line = lines.idle.pop()
            except IndexError:
                break
            try:
                value = read(line.ask(data))
            except StaleError:
                lines.drop(line)
                continue
            except Exception as error:  # noqa: BLE001 - the garbage of a server surfaces as any exception
                self._hang_up(lines, line, error)
                self._fail(operation, error)
            except BaseException:
                lines.drop(line)
                raise
            lines.idle.append(line)
            if self._closed:
                self.close()
            return value
        return self.ask(operation, self._dialled, (data, read))

    def ask(self, operation: str, work: Callable[[Client, A], T], argument: A) -> T:
        """Return what ``work`` does with the client of the library and an argument, within the timeout.

        Raises:
            EngineError: the server, or the way to it, failed.
            ClosedError: the engine is closed.
        """
        if self._closed:
            raise self._settings.closed()
        client: Client | None = None
        try:
            with Deadline(self._settings.timeout) as deadline:
                client = self._client(deadline)
                return work(client, argument)
        except Exception as error:  # noqa: BLE001 - a library and a server, whose garbage surfaces as any exception
            if isinstance(error, UnexpectedReplyError):
                self._disconnect()
            if client is not None and lost(client, error):
                self._let_go(client)
            self._fail(operation, error)
        finally:
            if self._closed:  # whoever was connecting while the engine was closed cleans up afterwards
                self._disconnect()

    def close(self) -> None:
        """Close the connections; operations under way in other threads end with ClosedError."""
        self._closed = True
        self._disconnect()
        self._leave()

    def _dialled(self, client: Client, todo: tuple[bytes, Callable[[object], T]]) -> T:
        data, read = todo
        process = os.getpid()
        lines = self._lines.get(process)
        if lines is None:
            lines = self._lines.setdefault(process, Lines(client.connection_pool, self._settings.timeout))
        line = lines.dial()
        try:
            value = read(line.ask_first(data))
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

    def _hang_up(self, lines: Lines, line: Line, error: Exception) -> None:
        """Keep a line on which the server has refused a command, and drop it after anything else."""
        if self._guided and isinstance(error, ReadOnlyError):
            lines.close()  # all of them may lead to what was the primary; the sentinels are asked again
        elif isinstance(error, ResponseError):
            lines.idle.append(line)
        else:
            lines.drop(line)

    def _fail(self, operation: str, error: Exception) -> NoReturn:
        if self._closed:
            raise self._settings.closed() from error
        raise self._settings.failed(operation, error) from error

    def _client(self, deadline: Deadline) -> Client:
        process = os.getpid()
        clients = self._clients.get(process)
        if clients is None:
            with deadline.held():  # a cluster is asked for its nodes
                # of two threads that come here at once, one gets the clients of the other
                clients = self._clients.setdefault(process, opened(self._settings))
        return clients[0]

    def _let_go(self, client: Client) -> None:
        """Have the next operation make a new client from the address, unless another one did."""
        process = os.getpid()
        if client in self._clients.get(process, ()):
            # of two threads that come here at once one may drop a new client, whose users keep it
            self._clients.pop(process, None)
            release(client)

    def _disconnect(self) -> None:
        process = os.getpid()
        if process in self._lines:
            self._lines[process].close()
        for client in self._clients.get(process, ()):
            client.close()


def _executed(client: Client, todo: tuple[Command, Callable[[object], T]]) -> T:
    command, read = todo
    reply: object
    try:
        reply = client.execute_command(*command)
    except ResponseError as error:
        reply = error
    return read(reply)

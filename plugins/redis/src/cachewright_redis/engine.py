"""The redis engine keeps bytes on a Redis or Valkey server, for threads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar, TypeVar

from redis.exceptions import NoScriptError

from cachewright.engine import Engine
from cachewright.entry import MISSING, MissingType
from cachewright_redis import commands
from cachewright_redis.client import answers, lost, opened, release
from cachewright_redis.commands import UnexpectedReplyError
from cachewright_redis.deadline import Deadline
from cachewright_redis.failure import ENGINE
from cachewright_redis.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cachewright.engine import Blob, Chunks, EngineConfig, Swap
    from cachewright_redis.client import Client
    from cachewright_redis.commands import Command, Store

T = TypeVar("T")
A = TypeVar("A")


class RedisEngine(Engine):
    """Entries on a server, seen by everyone who can reach it and kept for as long as it keeps them.

    Every thread at work has a connection of its own. A connection whose answer did not come, or came
    and made no sense, is never used again. A forked child opens connections of its own. Bounds,
    eviction and persistence are the server's. Listing, counting and clearing walk over all names of the
    database, those of other programs included.

    Options: ``prefix``, what the names of all entries begin with.
    """

    name: ClassVar[str] = ENGINE

    def __init__(self, config: EngineConfig) -> None:
        self._settings = Settings.of(config)
        self._space = self._settings.keyspace
        # by process, because a forked child must not use the connections of its parent
        self._clients: dict[int, tuple[Client, ...]] = {}
        self._closed = False

    def get(self, key: str, /) -> bytes | MissingType:
        """Return the stored bytes, or ``MISSING``."""
        return self._ask("get", _get, self._space.name(key))

    def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; False, and the older entry gone, above 512 MB."""
        return self._ask("set", _store, commands.store(self._space.name(key), value, ttl))

    def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one."""
        return self._ask("delete", _remove, [self._space.name(key)]) > 0

    def clear(self) -> None:
        """Remove every entry of this namespace, in batches, and nothing else from the server."""
        self._ask("clear", _clear, self._space.pattern)

    def keys(self) -> Iterator[str]:
        """Iterate over a snapshot of the stored keys; what changes while it is taken may be in it."""
        names = self._ask("list keys", _scan, self._space.pattern)
        return iter([self._space.key(name) for name in names])

    def count(self) -> int:
        """Return the number of entries, by listing them."""
        return len(self._ask("count", _scan, self._space.pattern))

    def compare_and_set(
        self,
        key: str,
        expected: Blob | MissingType,
        value: Chunks | MissingType,
        /,
        *,
        ttl: float | None = None,
        size: int = 1,
    ) -> bool:
        """Store ``value`` only if the very bytes ``expected`` are stored now; atomic on the server."""
        arguments, fits = commands.swap(self._space.name(key), expected, value, ttl)
        return self._ask("compare and set", _swap, arguments) > 0 and fits

    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        """Swap each by itself, a batch per round trip; a key given twice is swapped twice, in order.

        Raises:
            EngineError: one swap failed; others may have taken place.
        """
        named = (
            (name := self._space.name(key), commands.swap(name, expected, value, ttl))
            for key, expected, value, ttl, _ in swaps
        )
        swapped: list[bool] = []
        for batch in commands.rounds(named):
            done = self._ask("compare and set", _swap_many, [arguments for arguments, _ in batch])
            swapped += [count > 0 and fits for count, (_, fits) in zip(done, batch, strict=True)]
        return swapped

    def get_many(self, keys: Iterable[str], /) -> dict[str, bytes]:
        """Return the entries found, a batch per round trip."""
        found: dict[str, bytes] = {}
        for batch in commands.batches(dict.fromkeys(keys)):
            values = self._ask("get", _get_many, [self._space.name(key) for key in batch])
            found |= {key: value for key, value in zip(batch, values, strict=True) if value is not MISSING}
        return found

    def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, a batch per round trip; return how many were stored."""
        stored = 0
        for batch in commands.batches(entries):
            todo = [commands.store(self._space.name(key), value, ttl) for key, value, ttl, _ in batch]
            stored += self._ask("set", _store_many, todo)
        return stored

    def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, a batch per round trip; return how many there were."""
        batches = commands.batches(map(self._space.name, keys))
        return sum(self._ask("delete", _remove, batch) for batch in batches)

    def close(self) -> None:
        """Close the connections; operations under way in other threads end with ClosedError."""
        self._closed = True
        self._disconnect()

    def _ask(self, operation: str, work: Callable[[Client, A], T], argument: A) -> T:
        if self._closed:
            raise self._settings.closed()
        client: Client | None = None
        try:
            with Deadline(self._settings.timeout) as deadline:
                client = self._client(deadline)
                return work(client, argument)
        except Exception as error:  # a library and a server, whose garbage surfaces as any exception
            if self._closed:
                raise self._settings.closed() from error
            if isinstance(error, UnexpectedReplyError):
                self._disconnect()
            if client is not None and lost(client, error):
                self._let_go(client)
            raise self._settings.failed(operation, error) from error
        finally:
            if self._closed:  # whoever was connecting while the engine was closed cleans up afterwards
                self._disconnect()

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
        for client in self._clients.get(os.getpid(), ()):
            client.close()


def _get(client: Client, name: bytes) -> bytes | MissingType:
    return commands.blob(client.execute_command("GET", name))


def _get_many(client: Client, names: list[bytes]) -> list[bytes | MissingType]:
    # the keys of a batch are spread over the nodes of a cluster, whose client has a word of its own for it
    read: Callable[[list[bytes]], object] = getattr(client, "mget_nonatomic", client.mget)
    return commands.blobs(read(names), len(names))


def _store(client: Client, todo: Store) -> bool:
    return todo.done(client.execute_command(*todo.command))


def _store_many(client: Client, todo: list[Store]) -> int:
    return commands.all_done(todo, answers(client, [one.command for one in todo]))


def _remove(client: Client, names: list[bytes]) -> int:
    return commands.number(client.unlink(*names))


def _swap(client: Client, arguments: Command) -> int:
    try:
        return commands.number(client.execute_command("EVALSHA", commands.SWAP_SHA, *arguments))
    except NoScriptError:  # the first time on this server, or since it was started
        return commands.number(client.execute_command("EVAL", commands.SWAP, *arguments))


def _swap_many(client: Client, todo: list[Command]) -> list[int]:
    replies = answers(client, [("EVALSHA", commands.SWAP_SHA, *arguments) for arguments in todo])
    # what did not run for want of the script is all that is said again
    missed = [turn for turn, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    again = [("EVAL", commands.SWAP, *todo[turn]) for turn in missed]
    for turn, reply in zip(missed, answers(client, again), strict=False):
        replies[turn] = reply
    return commands.numbers(replies, len(todo))


def _scan(client: Client, pattern: bytes) -> dict[bytes, None]:
    """Return the names that match; a scan may show one several times."""
    return dict.fromkeys(client.scan_iter(match=pattern, count=commands.PAGE))


def _clear(client: Client, pattern: bytes) -> None:
    for names in commands.batches(client.scan_iter(match=pattern, count=commands.PAGE)):
        client.unlink(*names)

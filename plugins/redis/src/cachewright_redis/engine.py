"""The redis engine keeps bytes on a Redis or Valkey server, for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cachewright.engine import Engine
from cachewright.entry import MISSING, MissingType
from cachewright_redis import commands
from cachewright_redis.client import answers
from cachewright_redis.failure import ENGINE
from cachewright_redis.server import Server
from cachewright_redis.settings import Settings
from cachewright_redis.wording import Generational

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cachewright.engine import Blob, Chunks, EngineConfig, Swap
    from cachewright_redis.client import Client
    from cachewright_redis.commands import Command, Store


class RedisEngine(Engine):
    """Entries on a server, seen by everyone who can reach it and kept for as long as it keeps them.

    Every thread at work has a connection of its own. A connection whose answer did not come, or came
    and made no sense, is never used again. A forked child opens connections of its own. Bounds,
    eviction and persistence are the server's. Listing, counting and clearing walk over all names of the
    database, those of other programs included.

    Options: ``prefix``, what the names of all entries begin with; ``clear``, ``"scan"`` or ``"generation"``.
    """

    name: ClassVar[str] = ENGINE

    def __init__(self, config: EngineConfig) -> None:
        settings = Settings.of(config)
        self._space = settings.keyspace
        self._words = settings.words
        self._server = server = Server(settings)
        self._tell, self._run, self._ask = server.tell, server.run, server.ask

    @property
    def private(self) -> bool:
        """Whether only this user can have written what is stored, which goes for embedded servers."""
        return self._server.private

    def get(self, key: str, /) -> bytes | MissingType:
        """Return the stored bytes, or ``MISSING``."""
        return self._tell("get", self._words.reading(self._space.name(key)), self._words.read)

    def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; False, and the older entry gone, above 512 MB."""
        todo = self._words.storing(self._space.name(key), value, ttl)
        return self._run("set", todo.command, todo.done)

    def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one."""
        return self._run("delete", self._words.removing(self._space.name(key)), commands.number) > 0

    def clear(self) -> None:
        """Remove every entry of this namespace, and nothing else from the server."""
        if isinstance(self._words, Generational):
            self._tell("clear", self._words.clearing_command(), commands.number)
        elif self._server.direct:
            cursor = b"0"
            while (
                cursor := self._run("clear", commands.clearing(cursor, self._space.pattern), commands.word)
            ) != b"0":
                pass
        else:
            self._ask("clear", _clear, self._space.pattern)

    def keys(self) -> Iterator[str]:
        """Iterate over a snapshot of the stored keys; what changes while it is taken may be in it."""
        return iter([self._space.key(name) for name in self._names("list keys")])

    def count(self) -> int:
        """Return the number of entries, by listing them."""
        return len(self._names("count"))

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
        command, fits = self._words.swapping(self._space.name(key), expected, value, ttl)
        return self._run("compare and set", command, commands.number) > 0 and fits

    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        """Swap each by itself, a batch per round trip; a key given twice is swapped twice, in order.

        Raises:
            EngineError: one swap failed; others may have taken place.
        """
        named = (
            (name := self._space.name(key), self._words.swapping(name, expected, value, ttl))
            for key, expected, value, ttl, _ in swaps
        )
        swapped: list[bool] = []
        for batch in commands.rounds(named):
            done = self._ask("compare and set", _count_many, [command for command, _ in batch])
            swapped += [count > 0 and fits for count, (_, fits) in zip(done, batch, strict=True)]
        return swapped

    def get_many(self, keys: Iterable[str], /) -> dict[str, bytes]:
        """Return the entries found, a batch per round trip."""
        found: dict[str, bytes] = {}
        for batch in commands.batches(dict.fromkeys(keys)):
            names = self._words.reading_many([self._space.name(key) for key in batch])
            values = self._words.read_many(self._ask("get", _get_many, names))
            found |= {key: value for key, value in zip(batch, values, strict=True) if value is not MISSING}
        return found

    def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, a batch per round trip; return how many were stored."""
        stored = 0
        for batch in commands.batches(entries):
            todo = [self._words.storing(self._space.name(key), value, ttl) for key, value, ttl, _ in batch]
            stored += self._ask("set", _store_many, todo)
        return stored

    def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, a batch per round trip; return how many there were."""
        removed = 0
        for batch in commands.batches(map(self._space.name, keys)):
            if isinstance(self._words, Generational):
                removed += sum(
                    self._ask("delete", _count_many, [self._words.removing(name) for name in batch])
                )
            else:
                removed += self._ask("delete", _remove, batch)
        return removed

    def close(self) -> None:
        """Close the connections; operations under way in other threads end with ClosedError."""
        self._server.close()

    def _names(self, operation: str) -> list[bytes]:
        """Return the names of all entries."""
        names = self._ask(operation, _scan, self._space.pattern)
        if not isinstance(self._words, Generational):
            return names
        live: list[bytes] = []
        for batch in commands.batches(names):
            live += self._ask(operation, _live, (self._words, batch))
        return live


def _get_many(client: Client, names: list[bytes]) -> list[bytes | MissingType]:
    # the keys of a batch are spread over the nodes of a cluster, whose client has a word of its own for it
    read: Callable[[list[bytes]], object] = getattr(client, "mget_nonatomic", client.mget)
    return commands.blobs(read(names), len(names))


def _store_many(client: Client, todo: list[Store]) -> int:
    return commands.all_done(todo, answers(client, [one.command for one in todo]))


def _remove(client: Client, names: list[bytes]) -> int:
    return commands.number(client.unlink(*names))


def _count_many(client: Client, todo: list[Command]) -> list[int]:
    return commands.numbers(answers(client, todo), len(todo))


def _live(client: Client, todo: tuple[Generational, list[bytes]]) -> list[bytes]:
    words, names = todo
    (reply,) = answers(client, [words.asking_live(names)])
    return words.live(names, reply)


def _scan(client: Client, pattern: bytes) -> list[bytes]:
    """Return the names that match; a scan may show one several times."""
    return list(dict.fromkeys(client.scan_iter(match=pattern, count=commands.PAGE)))


def _clear(client: Client, pattern: bytes) -> None:
    for names in commands.batches(client.scan_iter(match=pattern, count=commands.PAGE)):
        client.unlink(*names)

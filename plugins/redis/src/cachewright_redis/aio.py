"""The asynchronous redis engine keeps bytes on a Redis or Valkey server, for one event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cachewright.engine import AsyncEngine
from cachewright.entry import MISSING, MissingType
from cachewright_redis import commands
from cachewright_redis.async_server import CONNECTIONS, AsyncServer
from cachewright_redis.client import async_answers
from cachewright_redis.failure import ENGINE
from cachewright_redis.settings import Settings
from cachewright_redis.wording import Generational

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from cachewright.engine import Blob, Chunks, EngineConfig, Swap
    from cachewright_redis.client import AsyncClient
    from cachewright_redis.commands import Command, Store

__all__ = ["CONNECTIONS", "AsyncRedisEngine"]


class AsyncRedisEngine(AsyncEngine):
    """The same entries as those of :class:`~cachewright_redis.engine.RedisEngine`, awaited.

    Uses at most :data:`CONNECTIONS` connections; further operations wait for their turn, as long as
    the server answers at all. The connection of a cancelled operation is never used again.

    Options: ``prefix``, what the names of all entries begin with; ``clear``, ``"scan"`` or ``"generation"``.
    """

    name: ClassVar[str] = ENGINE

    def __init__(self, config: EngineConfig) -> None:
        settings = Settings.of(config)
        self._space = settings.keyspace
        self._words = settings.words
        self._server = server = AsyncServer(settings)
        self._tell, self._run, self._ask = server.tell, server.run, server.ask

    @property
    def private(self) -> bool:
        """Whether only this user can have written what is stored, which goes for embedded servers."""
        return self._server.private

    async def get(self, key: str, /) -> bytes | MissingType:
        """Return the stored bytes, or ``MISSING``."""
        return await self._tell("get", self._words.reading(self._space.name(key)), self._words.read)

    async def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; False, and the older entry gone, above 512 MB."""
        todo = self._words.storing(self._space.name(key), value, ttl)
        return await self._run("set", todo.command, todo.done)

    async def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one."""
        return await self._run("delete", self._words.removing(self._space.name(key)), commands.number) > 0

    async def clear(self) -> None:
        """Remove every entry of this namespace, and nothing else from the server."""
        pattern = self._space.pattern
        if isinstance(self._words, Generational):
            await self._tell("clear", self._words.clearing_command(), commands.number)
        elif self._server.direct:
            cursor = b"0"
            while (
                cursor := await self._run("clear", commands.clearing(cursor, pattern), commands.word)
            ) != b"0":
                pass
        else:
            for batch in commands.batches(await self._ask("clear", _scan, pattern)):
                await self._ask("clear", _remove, batch)

    async def keys(self) -> AsyncIterator[str]:
        """Iterate over a snapshot of the stored keys; what changes while it is taken may be in it."""
        for name in await self._names("list keys"):
            yield self._space.key(name)

    async def count(self) -> int:
        """Return the number of entries, by listing them."""
        return len(await self._names("count"))

    async def compare_and_set(
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
        return await self._run("compare and set", command, commands.number) > 0 and fits

    async def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
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
            done = await self._ask("compare and set", _count_many, [command for command, _ in batch])
            swapped += [count > 0 and fits for count, (_, fits) in zip(done, batch, strict=True)]
        return swapped

    async def get_many(self, keys: Iterable[str], /) -> dict[str, bytes]:
        """Return the entries found, a batch per round trip."""
        found: dict[str, bytes] = {}
        for batch in commands.batches(dict.fromkeys(keys)):
            names = self._words.reading_many([self._space.name(key) for key in batch])
            values = self._words.read_many(await self._ask("get", _get_many, names))
            found |= {key: value for key, value in zip(batch, values, strict=True) if value is not MISSING}
        return found

    async def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, a batch per round trip; return how many were stored."""
        stored = 0
        for batch in commands.batches(entries):
            todo = [self._words.storing(self._space.name(key), value, ttl) for key, value, ttl, _ in batch]
            stored += await self._ask("set", _store_many, todo)
        return stored

    async def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, a batch per round trip; return how many there were."""
        removed = 0
        for batch in commands.batches(map(self._space.name, keys)):
            if isinstance(self._words, Generational):
                todo = [self._words.removing(name) for name in batch]
                removed += sum(await self._ask("delete", _count_many, todo))
            else:
                removed += await self._ask("delete", _remove, batch)
        return removed

    async def close(self) -> None:
        """Close the connections; operations under way in other tasks end with ClosedError."""
        await self._server.close()

    async def _names(self, operation: str) -> list[bytes]:
        """Return the names of all entries."""
        names = await self._ask(operation, _scan, self._space.pattern)
        if not isinstance(self._words, Generational):
            return names
        live: list[bytes] = []
        for batch in commands.batches(names):
            live += await self._ask(operation, _live, (self._words, batch))
        return live


async def _get_many(client: AsyncClient, names: list[bytes]) -> list[bytes | MissingType]:
    # the keys of a batch are spread over the nodes of a cluster, whose client has a word of its own for it
    read: Callable[[list[bytes]], Awaitable[object]] = getattr(client, "mget_nonatomic", client.mget)
    return commands.blobs(await read(names), len(names))


async def _store_many(client: AsyncClient, todo: list[Store]) -> int:
    return commands.all_done(todo, await async_answers(client, [one.command for one in todo]))


async def _remove(client: AsyncClient, names: list[bytes]) -> int:
    return commands.number(await client.unlink(*names))


async def _count_many(client: AsyncClient, todo: list[Command]) -> list[int]:
    return commands.numbers(await async_answers(client, todo), len(todo))


async def _live(client: AsyncClient, todo: tuple[Generational, list[bytes]]) -> list[bytes]:
    words, names = todo
    (reply,) = await async_answers(client, [words.asking_live(names)])
    return words.live(names, reply)


async def _scan(client: AsyncClient, pattern: bytes) -> list[bytes]:
    """Return the names that match; a scan may show one several times."""
    return list(dict.fromkeys([name async for name in client.scan_iter(match=pattern, count=commands.PAGE)]))

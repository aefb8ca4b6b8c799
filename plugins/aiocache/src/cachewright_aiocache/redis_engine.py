"""The aiocache-redis engine keeps bytes on a Redis or Valkey server, through aiocache, for one event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from redis.exceptions import NoScriptError

from cachewright.entry import MISSING, MissingType
from cachewright_aiocache import redis_commands as commands
from cachewright_aiocache.address import Address
from cachewright_aiocache.names import PREFIX, stem
from cachewright_aiocache.redis_client import Client, made
from cachewright_aiocache.redis_failure import failure
from cachewright_aiocache.server import ServerEngine, check_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from cachewright.engine import Blob, Chunks, EngineConfig, Swap
    from cachewright.errors import EngineError
    from cachewright_aiocache.redis_commands import Command


class AiocacheRedisEngine(ServerEngine):
    """Bytes on a server of its kind, by the client of a :class:`aiocache.RedisCache`.

    aiocache's own operations are used where they do what an engine has to do: not for clearing, which
    would empty the database, nor for storing with a ttl, which is deprecated.

    Options: ``prefix``, what the names of all entries begin with.
    """

    name: ClassVar[str] = "aiocache-redis"

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        check_options(config, "prefix")
        self._stem = stem(config.options.get("prefix", PREFIX), config.namespace)
        self._address = Address.of(config.url, "redis", "rediss")
        self._cache = made(self._address, config.timeout)
        self._client = Client(self._cache)

    async def get(self, key: str, /) -> bytes | MissingType:
        """Return the stored bytes, or ``MISSING``."""
        return await self._ask("get", self._get, self._stem + key)

    async def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; False, and the older entry gone, above 512 MB."""
        return await self._ask("set", self._store, commands.store(self._stem + key, value, ttl))

    async def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one."""
        return await self._ask("delete", self._remove, [self._stem + key]) > 0

    async def clear(self) -> None:
        """Remove every entry of this namespace, in batches, and nothing else from the server."""
        for batch in commands.batches(await self._ask("clear", self._scan)):
            await self._ask("clear", self._remove, batch)

    async def keys(self) -> AsyncIterator[str]:
        """Iterate over a snapshot of the stored keys; what changes while it is taken may be in it."""
        for name in await self._ask("list keys", self._scan):
            yield name[len(self._stem) :]

    async def count(self) -> int:
        """Return the number of entries, by listing them."""
        return len(await self._ask("count", self._scan))

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
        arguments, fits = commands.swap(self._stem + key, expected, value, ttl)
        return await self._ask("compare and set", self._swap, arguments) > 0 and fits

    async def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        """Swap each by itself, in order, a batch per round trip.

        Raises:
            EngineError: one swap failed; others may have taken place.
        """
        swapped: list[bool] = []
        todo = (commands.swap(self._stem + key, old, new, ttl) for key, old, new, ttl, _ in swaps)
        for batch in commands.rounds(todo):
            counts = await self._ask("compare and set", self._swap_many, [one for one, _ in batch])
            swapped += [count > 0 and fits for count, (_, fits) in zip(counts, batch, strict=True)]
        return swapped

    async def get_many(self, keys: Iterable[str], /) -> dict[str, bytes]:
        """Return the entries found, a batch per round trip."""
        found: dict[str, bytes] = {}
        for batch in commands.batches(dict.fromkeys(keys)):
            values = await self._ask("get", self._get_many, [self._stem + key for key in batch])
            found |= {key: value for key, value in zip(batch, values, strict=True) if value is not MISSING}
        return found

    async def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, a batch per round trip; return how many were stored."""
        done = 0
        todo = (commands.store(self._stem + key, value, ttl) for key, value, ttl, _ in entries)
        for batch in commands.batches(todo):
            done += await self._ask("set", self._store_many, batch)
        return done

    async def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, a batch per round trip; return how many there were."""
        removed = 0
        for batch in commands.batches(self._stem + key for key in keys):
            removed += await self._ask("delete", self._remove, batch)
        return removed

    async def _disconnect(self) -> None:
        await self._client.close()

    def _failed(self, operation: str, error: Exception) -> EngineError:
        return failure(operation, error, self._address, self._timeout)

    # What is said to the server ------------------------------------------------------------------------

    async def _get(self, name: str) -> bytes | MissingType:
        return commands.blob(await self._client.answer("GET", name))

    async def _get_many(self, names: list[str]) -> list[bytes | MissingType]:
        return commands.blobs(await self._client.answer("MGET", *names), len(names))

    async def _store(self, command: Command) -> bool:
        return commands.stored(command, await self._client.answer(*command))

    async def _store_many(self, todo: list[Command]) -> int:
        replies = await self._client.answers(todo)
        return sum(commands.stored(command, reply) for command, reply in zip(todo, replies, strict=True))

    async def _remove(self, names: list[str]) -> int:
        return commands.number(await self._client.answer("UNLINK", *names))

    async def _swap(self, arguments: Command) -> int:
        (count,) = await self._swap_many([arguments])
        return count

    async def _swap_many(self, todo: list[Command]) -> list[int]:
        replies = await self._client.answers([("EVALSHA", commands.SWAP_SHA, *one) for one in todo])
        # what did not run for want of the script is all that is said again
        missed = [turn for turn, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        again = await self._client.answers([("EVAL", commands.SWAP, *todo[turn]) for turn in missed])
        for turn, reply in zip(missed, again, strict=True):
            replies[turn] = reply
        return [commands.number(reply) for reply in replies]

    async def _scan(self) -> list[str]:
        """Return the names of this namespace; a scan may show one several times."""
        pattern, cursor, names = commands.pattern_of(self._stem), b"0", dict[str, None]()
        while True:
            reply = await self._client.answer("SCAN", cursor, "MATCH", pattern, "COUNT", commands.PAGE)
            cursor, page = commands.page(reply)
            names |= dict.fromkeys(page)
            if cursor == b"0":
                return list(names)

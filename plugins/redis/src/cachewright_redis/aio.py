"""The asynchronous redis engine keeps bytes on a Redis or Valkey server, for one event loop."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from redis.exceptions import NoScriptError

from cachewright.engine import AsyncEngine
from cachewright.entry import MISSING, MissingType
from cachewright.errors import CachewrightError, EngineUnavailableError
from cachewright_redis import commands
from cachewright_redis.client import async_answers, async_opened, found, lost
from cachewright_redis.commands import UnexpectedReplyError
from cachewright_redis.deadline import AsyncDeadline
from cachewright_redis.failure import ENGINE
from cachewright_redis.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from cachewright.engine import Blob, Chunks, EngineConfig, Swap
    from cachewright_redis.client import AsyncClient
    from cachewright_redis.commands import Command, Store

T = TypeVar("T")
A = TypeVar("A")


CONNECTIONS: Final = 64
"""Operations at a time; each needs a connection, and more of them would not be faster."""


class AsyncRedisEngine(AsyncEngine):
    """The same entries as those of :class:`~cachewright_redis.engine.RedisEngine`, awaited.

    Uses at most :data:`CONNECTIONS` connections; further operations wait for their turn, as long as
    the server answers at all. The connection of a cancelled operation is never used again.

    Options: ``prefix``, what the names of all entries begin with.
    """

    name: ClassVar[str] = ENGINE

    def __init__(self, config: EngineConfig) -> None:
        self._settings = Settings.of(config)
        self._space = self._settings.keyspace
        self._clients: tuple[AsyncClient, ...] = ()
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._answers = 0
        self._closed = False

    async def get(self, key: str, /) -> bytes | MissingType:
        """Return the stored bytes, or ``MISSING``."""
        return await self._ask("get", _get, self._space.name(key))

    async def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; False, and the older entry gone, above 512 MB."""
        return await self._ask("set", _store, commands.store(self._space.name(key), value, ttl))

    async def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one."""
        return await self._ask("delete", _remove, [self._space.name(key)]) > 0

    async def clear(self) -> None:
        """Remove every entry of this namespace, in batches, and nothing else from the server."""
        for batch in commands.batches(await self._ask("clear", _scan, self._space.pattern)):
            await self._ask("clear", _remove, batch)

    async def keys(self) -> AsyncIterator[str]:
        """Iterate over a snapshot of the stored keys; what changes while it is taken may be in it."""
        for name in await self._ask("list keys", _scan, self._space.pattern):
            yield self._space.key(name)

    async def count(self) -> int:
        """Return the number of entries, by listing them."""
        return len(await self._ask("count", _scan, self._space.pattern))

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
        arguments, fits = commands.swap(self._space.name(key), expected, value, ttl)
        return await self._ask("compare and set", _swap, arguments) > 0 and fits

    async def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
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
            done = await self._ask("compare and set", _swap_many, [arguments for arguments, _ in batch])
            swapped += [count > 0 and fits for count, (_, fits) in zip(done, batch, strict=True)]
        return swapped

    async def get_many(self, keys: Iterable[str], /) -> dict[str, bytes]:
        """Return the entries found, a batch per round trip."""
        found: dict[str, bytes] = {}
        for batch in commands.batches(dict.fromkeys(keys)):
            values = await self._ask("get", _get_many, [self._space.name(key) for key in batch])
            found |= {key: value for key, value in zip(batch, values, strict=True) if value is not MISSING}
        return found

    async def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, a batch per round trip; return how many were stored."""
        stored = 0
        for batch in commands.batches(entries):
            todo = [commands.store(self._space.name(key), value, ttl) for key, value, ttl, _ in batch]
            stored += await self._ask("set", _store_many, todo)
        return stored

    async def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, a batch per round trip; return how many there were."""
        removed = 0
        for batch in commands.batches(map(self._space.name, keys)):
            removed += await self._ask("delete", _remove, batch)
        return removed

    async def close(self) -> None:
        """Close the connections; operations under way in other tasks end with ClosedError."""
        self._closed = True
        await self._disconnect()

    async def _ask(self, operation: str, work: Callable[[AsyncClient, A], Awaitable[T]], argument: A) -> T:
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
            if self._closed:
                raise self._settings.closed() from error
            if isinstance(error, UnexpectedReplyError):
                await self._disconnect()
            if client is not None and lost(client, error):
                await self._let_go(client)
            raise self._settings.failed(operation, error) from error

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
        for client in self._clients:
            await client.aclose()


async def _get(client: AsyncClient, name: bytes) -> bytes | MissingType:
    return commands.blob(await client.execute_command("GET", name))


async def _get_many(client: AsyncClient, names: list[bytes]) -> list[bytes | MissingType]:
    # the keys of a batch are spread over the nodes of a cluster, whose client has a word of its own for it
    read: Callable[[list[bytes]], Awaitable[object]] = getattr(client, "mget_nonatomic", client.mget)
    return commands.blobs(await read(names), len(names))


async def _store(client: AsyncClient, todo: Store) -> bool:
    return todo.done(await client.execute_command(*todo.command))


async def _store_many(client: AsyncClient, todo: list[Store]) -> int:
    return commands.all_done(todo, await async_answers(client, [one.command for one in todo]))


async def _remove(client: AsyncClient, names: list[bytes]) -> int:
    return commands.number(await client.unlink(*names))


async def _swap(client: AsyncClient, arguments: Command) -> int:
    try:
        return commands.number(await client.execute_command("EVALSHA", commands.SWAP_SHA, *arguments))
    except NoScriptError:  # the first time on this server, or since it was started
        return commands.number(await client.execute_command("EVAL", commands.SWAP, *arguments))


async def _swap_many(client: AsyncClient, todo: list[Command]) -> list[int]:
    replies = await async_answers(client, [("EVALSHA", commands.SWAP_SHA, *arguments) for arguments in todo])
    # what did not run for want of the script is all that is said again
    missed = [turn for turn, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    again = [("EVAL", commands.SWAP, *todo[turn]) for turn in missed]
    for turn, reply in zip(missed, await async_answers(client, again), strict=False):
        replies[turn] = reply
    return commands.numbers(replies, len(todo))


async def _scan(client: AsyncClient, pattern: bytes) -> list[bytes]:
    """Return the names that match; a scan may show one several times."""
    return list(dict.fromkeys([name async for name in client.scan_iter(match=pattern, count=commands.PAGE)]))

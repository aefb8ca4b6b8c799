"""The asynchronous redis engine keeps bytes on a Redis or Valkey server, for one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from cachewright.engine import AsyncEngine
from cachewright.entry import MISSING, MissingType
from cachewright.errors import CachewrightError, EngineUnavailableError
from cachewright_redis import commands
from cachewright_redis.commands import UnexpectedReplyError
from cachewright_redis.failure import ENGINE
from cachewright_redis.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from cachewright.engine import Blob, Chunks, EngineConfig
    from cachewright_redis.commands import Command, Store

T = TypeVar("T")
A = TypeVar("A")


class Client(Protocol):
    """What this engine uses of the library's clients, which are typed in part and each in its own way."""

    async def execute_command(self, *command: str | bytes | int) -> object: ...
    async def mget(self, keys: list[bytes], /) -> object: ...
    async def unlink(self, *names: bytes) -> object: ...
    def scan_iter(self, *, match: bytes, count: int) -> AsyncIterator[bytes]: ...
    def pipeline(self, *, transaction: bool) -> Any: ...
    async def aclose(self) -> None: ...


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
        self._clients: tuple[Client, ...] = ()
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

    async def _ask(self, operation: str, work: Callable[[Client, A], Awaitable[T]], argument: A) -> T:
        if self._slots.locked():
            await self._wait_for_slot(operation)
        else:
            await self._slots.acquire()  # does not wait
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            answer = await self._answered(operation, work, argument)
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

    async def _answered(self, operation: str, work: Callable[[Client, A], Awaitable[T]], argument: A) -> T:
        if self._closed:
            raise self._settings.closed()
        try:
            if not self._clients:
                self._clients = _open(self._settings)
            return await work(self._clients[0], argument)
        except Exception as error:  # a library and a server, whose garbage surfaces as any exception
            if self._closed:
                raise self._settings.closed() from error
            if isinstance(error, UnexpectedReplyError):
                await self._disconnect()
            raise self._settings.failed(operation, error) from error

    async def _wait_for_slot(self, operation: str) -> None:
        """Wait for a turn while the server answers others; give up when it does not.

        Raises:
            EngineUnavailableError: no operation was answered for as long as one may take.
        """
        while True:
            answers = self._answers
            try:
                async with asyncio.timeout(self._settings.timeout):
                    await self._slots.acquire()
            except TimeoutError as error:
                if self._answers == answers:
                    reason = f"none of {CONNECTIONS} operations was answered in {self._settings.timeout:g} s"
                    raise EngineUnavailableError(ENGINE, operation, reason) from error
            else:
                return

    async def _disconnect(self) -> None:
        for client in self._clients:
            await client.aclose()


def _open(settings: Settings) -> tuple[Client, ...]:
    """Return the client for the servers, and behind it those that it makes use of."""
    address, retry = settings.address, Retry(NoBackoff(), 0)
    arguments = settings.arguments(retry)
    if address.layout == "cluster":
        node: Callable[..., Any] = ClusterNode
        nodes = [node(host, port) for host, port in address.nodes]
        clients: tuple[Any, ...] = (RedisCluster(startup_nodes=nodes, **arguments),)
    elif address.layout == "sentinel":
        sentinel: Callable[..., Any] = Sentinel
        manager: Any = sentinel(
            address.nodes, sentinel_kwargs=settings.sentinel_arguments(retry), **arguments
        )
        clients = (manager.master_for(address.service), *manager.sentinels)
    else:
        clients = (Redis(**arguments),)
    return cast("tuple[Client, ...]", clients)


async def _get(client: Client, name: bytes) -> bytes | MissingType:
    return commands.blob(await client.execute_command("GET", name))


async def _get_many(client: Client, names: list[bytes]) -> list[bytes | MissingType]:
    # the keys of a batch are spread over the nodes of a cluster, whose client has a word of its own for it
    read: Callable[[list[bytes]], Awaitable[object]] = getattr(client, "mget_nonatomic", client.mget)
    return commands.blobs(await read(names), len(names))


async def _store(client: Client, todo: Store) -> bool:
    return todo.done(await client.execute_command(*todo.command))


async def _store_many(client: Client, todo: list[Store]) -> int:
    async with client.pipeline(transaction=False) as pipeline:
        for one in todo:
            pipeline.execute_command(*one.command)
        replies = await pipeline.execute(raise_on_error=False)
    return commands.all_done(todo, replies)


async def _remove(client: Client, names: list[bytes]) -> int:
    return commands.number(await client.unlink(*names))


async def _swap(client: Client, arguments: Command) -> int:
    try:
        return commands.number(await client.execute_command("EVALSHA", commands.SWAP_SHA, *arguments))
    except NoScriptError:  # the first time on this server, or since it was started
        return commands.number(await client.execute_command("EVAL", commands.SWAP, *arguments))


async def _scan(client: Client, pattern: bytes) -> list[bytes]:
    """Return the names that match; a scan may show one several times."""
    return list(dict.fromkeys([name async for name in client.scan_iter(match=pattern, count=commands.PAGE)]))

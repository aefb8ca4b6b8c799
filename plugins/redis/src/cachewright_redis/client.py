"""A client of the library for the servers at an address, which keeps to deadlines and repeats nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import ConnectionPool
from redis.exceptions import AskError, MovedError, NoScriptError, RedisClusterException, TryAgainError
from redis.retry import Retry
from redis.sentinel import Sentinel

from cachewright_redis.commands import in_full
from cachewright_redis.connection import async_punctual, punctual
from cachewright_redis.deadline import CURRENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from cachewright_redis.commands import Command
    from cachewright_redis.settings import Settings


MOVED: Final = (MovedError, AskError, TryAgainError)
"""Replies by which a node of a cluster says that it did not do what it was asked."""


class Client(Protocol):
    """What the engines use of the library's clients, which are typed in part and each in its own way."""

    connection_pool: Any

    def execute_command(self, *command: str | bytes | int) -> object: ...
    def mget(self, keys: list[bytes], /) -> object: ...
    def unlink(self, *names: bytes) -> object: ...
    def scan_iter(self, *, match: bytes, count: int) -> Iterator[bytes]: ...
    def pipeline(self, *, transaction: bool) -> Any: ...
    def close(self) -> None: ...


class AsyncClient(Protocol):
    """The same of the library's clients, which are typed in part and each in its own way."""

    connection_pool: Any

    async def execute_command(self, *command: str | bytes | int) -> object: ...
    async def mget(self, keys: list[bytes], /) -> object: ...
    async def unlink(self, *names: bytes) -> object: ...
    def scan_iter(self, *, match: bytes, count: int) -> AsyncIterator[bytes]: ...
    def pipeline(self, *, transaction: bool) -> Any: ...
    async def aclose(self) -> None: ...


def opened(settings: Settings) -> tuple[Client, ...]:
    """Return the client for the servers, and behind it those that it makes use of."""
    address, retry = settings.address, Retry(NoBackoff(), 0)
    arguments = settings.arguments(retry, Redis)
    if address.layout == "cluster":
        return (_cluster(settings, arguments),)
    clients: tuple[Any, ...]
    if address.layout == "sentinel":
        sentinel: Callable[..., Any] = Sentinel
        manager: Any = sentinel(
            address.nodes, sentinel_kwargs=settings.sentinel_arguments(retry, Redis), **arguments
        )
        clients = (manager.master_for(address.service), *manager.sentinels)
    else:
        clients = (Redis(**arguments),)
    for client in clients:
        pool = client.connection_pool
        pool.connection_class = punctual(pool.connection_class)
    return cast("tuple[Client, ...]", clients)


def _cluster(settings: Settings, arguments: dict[str, Any]) -> Client:
    """Return the client for a cluster, which it has asked for its nodes."""
    (host, port), *more = settings.address.nodes
    # only with a url does the library let others make its pools; one with TLS then stands for ssl=True
    scheme = "rediss" if arguments.pop("ssl", False) else "redis"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    node: Callable[..., Any] = ClusterNode
    client: Callable[..., Any] = RedisCluster
    try:
        made: Any = client(
            url=url,
            startup_nodes=[node(*one) for one in more],
            connection_pool_class=_punctual_pool,
            **arguments,
        )
    except IndexError as error:  # older versions look for a first primary where there is none
        raise RedisClusterException("no node of the cluster has slots") from error
    if hasattr(made, "cluster_error_retry_attempts"):  # older versions repeat in spite of retry=
        made.cluster_error_retry_attempts = 0
    return cast("Client", made)


def _punctual_pool(**arguments: Any) -> ConnectionPool:
    pool: Any = ConnectionPool(**arguments)
    pool.connection_class = punctual(pool.connection_class)
    return cast("ConnectionPool", pool)


def answers(client: Client, todo: Sequence[Command]) -> list[object]:
    """Return the answer to each command, or the error, in one round trip per server.

    What did not run for want of a script is all that is said again, with the script.
    """
    replies = _answers(client, todo)
    if len(replies) == len(todo) and (missed := _missed(replies)):
        again = _answers(client, [in_full(todo[turn]) for turn in missed])
        for turn, reply in zip(missed, again, strict=True):
            replies[turn] = reply
    return replies


def _missed(replies: list[object]) -> list[int]:
    return [turn for turn, reply in enumerate(replies) if isinstance(reply, NoScriptError)]


def _answers(client: Client, todo: Sequence[Command]) -> list[object]:
    """Return the answers, errors too.

    The pipelines of clusters are not made use of: where a connection breaks they repeat commands that
    may have been carried out, and a swap that is repeated says that it did not take place.
    """
    if not isinstance(client, RedisCluster):
        return _piped(client, todo)
    cluster: Any = client
    nodes: dict[str, tuple[Any, list[int]]] = {}
    for turn, command in enumerate(todo):
        node = cluster.get_node_from_key(_name(command))
        nodes.setdefault(node.name, (node, []))[1].append(turn)
    replied: list[object] = [None] * len(todo)
    for node, turns in nodes.values():
        replies = _piped(cluster.get_redis_connection(node), [todo[turn] for turn in turns])
        for turn, reply in zip(turns, replies, strict=True):
            # what lives elsewhere by now was not carried out here
            replied[turn] = cluster.execute_command(*todo[turn]) if isinstance(reply, MOVED) else reply
    return replied


def lost(client: object, error: Exception) -> bool:
    """Return whether a client, after ``error``, may never find a node of its cluster again.

    Such a client looks for nodes where it last saw some, and older versions of the library do not even
    ask again where nobody answered once; only a new one starts from the address. That errors of a kind
    mean as much goes for the kind itself alone: one slot without a node leaves the others in use.
    """
    if not isinstance(client, (RedisCluster, AsyncRedisCluster)):
        return False
    cluster: Any = client
    return type(error) is RedisClusterException or not cluster.nodes_manager.startup_nodes


def release(client: Client) -> None:
    """Close the connections of a cluster's client that lie idle; those in use stay with their users."""
    cluster: Any = client
    for node in cluster.get_nodes():
        if node.redis_connection is not None:
            node.redis_connection.connection_pool.disconnect(inuse_connections=False)


def _piped(client: Client, todo: Sequence[Command]) -> list[object]:
    with client.pipeline(transaction=False) as pipeline:
        for command in todo:
            pipeline.execute_command(*command)
        replies: list[object] = pipeline.execute(raise_on_error=False)
    return replies


def _name(command: Command) -> str | bytes | int:
    return command[3] if command[0] in {"EVAL", "EVALSHA"} else command[1]


def async_opened(settings: Settings) -> tuple[AsyncClient, ...]:
    """Return the client for the servers, and behind it those that it makes use of."""
    address, retry = settings.address, AsyncRetry(NoBackoff(), 0)
    kind: Callable[..., Any] = AsyncRedisCluster if address.layout == "cluster" else AsyncRedis
    # the deadline of each operation does what a timeout of the library would do, which costs a task per use
    arguments: dict[str, Any] = settings.arguments(retry, kind) | {"socket_timeout": None}
    if address.layout == "cluster":
        return (_async_cluster(settings, arguments),)
    clients: tuple[Any, ...]
    if address.layout == "sentinel":
        sentinel: Callable[..., Any] = AsyncSentinel
        asked = settings.sentinel_arguments(retry, AsyncRedis) | {"socket_timeout": None}
        manager: Any = sentinel(address.nodes, sentinel_kwargs=asked, **arguments)
        clients = (manager.master_for(address.service), *manager.sentinels)
    else:
        clients = (AsyncRedis(**arguments),)
    for client in clients:
        pool = client.connection_pool
        pool.connection_class = async_punctual(pool.connection_class)
    return cast("tuple[AsyncClient, ...]", clients)


async def found(client: AsyncClient) -> None:
    """Have a cluster asked for its nodes, unless that was done."""
    deadline = CURRENT.get()
    if deadline is not None and isinstance(client, _AsyncCluster):
        with deadline.held():
            await client.initialize()


class _AsyncCluster(AsyncRedisCluster):
    """A cluster whose client repeats no command, in older versions of the library neither."""

    __slots__ = ()
    ERRORS_ALLOW_RETRY: Any = ()


def _async_cluster(settings: Settings, arguments: dict[str, Any]) -> AsyncClient:
    """Return the client for a cluster, which asks for its nodes when it is used."""
    node: Callable[..., Any] = AsyncClusterNode
    client: Callable[..., Any] = _AsyncCluster
    made: Any = client(startup_nodes=[node(*one) for one in settings.address.nodes], **arguments)
    kind = async_punctual(made.connection_kwargs["connection_class"])
    made.connection_kwargs["connection_class"] = kind
    for one in made.nodes_manager.startup_nodes.values():
        one.connection_class = kind
    if hasattr(made, "cluster_error_retry_attempts"):  # older versions count the first attempt as well
        made.cluster_error_retry_attempts = 1
    return cast("AsyncClient", made)


async def async_answers(client: AsyncClient, todo: Sequence[Command]) -> list[object]:
    """Return the same as :func:`answers`."""
    replies = await _async_answers(client, todo)
    if len(replies) == len(todo) and (missed := _missed(replies)):
        again = await _async_answers(client, [in_full(todo[turn]) for turn in missed])
        for turn, reply in zip(missed, again, strict=True):
            replies[turn] = reply
    return replies


async def _async_answers(client: AsyncClient, todo: Sequence[Command]) -> list[object]:
    """Return the answers, errors too; this pipeline of clusters can be told not to repeat anything."""
    options: dict[str, Any] = {"allow_redirections": False} if isinstance(client, AsyncRedisCluster) else {}
    async with client.pipeline(transaction=False) as pipeline:
        for command in todo:
            pipeline.execute_command(*command)
        replied: list[object] = await pipeline.execute(raise_on_error=False, **options)
    for turn, reply in enumerate(replied):
        if isinstance(reply, MOVED):
            replied[turn] = await client.execute_command(*todo[turn])
    return replied

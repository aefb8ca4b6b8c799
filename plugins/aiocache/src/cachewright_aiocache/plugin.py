"""The records by which the aiocache engines are announced; imports no backend library."""

from __future__ import annotations

from typing import Final

from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl

MEMORY: Final = EngineInfo(
    name="aiocache",
    async_target="cachewright_aiocache.memory:AiocacheEngine",
    capabilities=Capabilities(
        holds="objects",
        sync=False,
        async_=True,
        ttl_per_entry=True,
        max_entries=True,
        policies=("clock", "fifo"),
        compare_and_set=True,
    ),
    costs=Costs(get=((64, 1.6e-7),), set=((64, 1.4e-6),), miss=1.3e-7, open=1.3e-5),
    requires=("aiocache",),
    install="cachewright-aiocache",
    summary="objects in this process for event loops, kept by aiocache's cache in memory",
    # the built-in engine serves event loops as well, faster, and is not emptied when they end
    automatic=False,
)

REDIS: Final = EngineInfo(
    name="aiocache-redis",
    async_target="cachewright_aiocache.redis_engine:AiocacheRedisEngine",
    capabilities=Capabilities(
        holds="bytes",
        scope="network",
        persistent=True,
        sync=False,
        async_=True,
        blocking=True,
        ttl_per_entry=True,
        ttl_resolution=1e-3,
        compare_and_set=True,
        many=True,
        max_value_size=512 * 1024 * 1024,
    ),
    costs=Costs(
        # a server on this host; one elsewhere is as much slower as the way to it is long
        get=((64, 6.6e-5), (16_384, 7.3e-5), (100_000, 1.3e-4), (1_000_000, 2.3e-3), (10_000_000, 0.1)),
        set=((64, 7e-5), (16_384, 7.7e-5), (100_000, 1e-4), (1_000_000, 1e-3), (10_000_000, 3.8e-2)),
        miss=6.4e-5,
        open=7e-4,
    ),
    requires=("aiocache", "redis"),
    install="cachewright-aiocache[redis]",
    summary="a Redis or Valkey server for event loops, through aiocache",
    # engine "redis" does the same for threads too, and for clusters and sentinels
    automatic=False,
)

MEMCACHED: Final = EngineInfo(
    name="aiocache-memcached",
    async_target="cachewright_aiocache.memcached_engine:AiocacheMemcachedEngine",
    capabilities=Capabilities(
        holds="bytes",
        scope="network",
        persistent=True,
        sync=False,
        async_=True,
        blocking=True,
        ttl_per_entry=True,
        ttl_resolution=1.0,
        compare_and_set=True,
        many=True,
        scan=False,
        max_value_size=1_048_000,
    ),
    costs=Costs(
        get=((64, 6.8e-5), (16_384, 6.8e-5), (100_000, 1e-4), (1_000_000, 9e-4)),
        set=((64, 1.1e-4), (16_384, 1.1e-4), (100_000, 1.3e-4), (1_000_000, 7e-4)),
        miss=6.8e-5,
        open=6e-4,
    ),
    requires=("aiocache", "aiomcache"),
    install="cachewright-aiocache[memcached]",
    summary="a memcached server for event loops, through aiocache",
    # the selector does not look at url=, which names a server of one kind
    automatic=False,
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The engines over aiocache, all of them for event loops."""
    return [MEMORY, REDIS, MEMCACHED]

"""The record by which the redis engines are announced; imports no backend library."""

from __future__ import annotations

from typing import Final

from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl

REDIS: Final = EngineInfo(
    name="redis",
    target="cachewright_redis.engine:RedisEngine",
    async_target="cachewright_redis.aio:AsyncRedisEngine",
    capabilities=Capabilities(
        holds="bytes",
        scope="network",
        persistent=True,
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
        get=((64, 1.5e-5), (16_384, 2.4e-5), (100_000, 5e-5), (1_000_000, 6e-4), (10_000_000, 2.7e-2)),
        set=((64, 1.9e-5), (16_384, 2.2e-5), (100_000, 9e-5), (1_000_000, 9e-4), (10_000_000, 2.7e-2)),
        miss=1.5e-5,
        open=3e-3,
    ),
    requires=("redis",),
    install="cachewright-redis",
    summary="a Redis or Valkey server, shared by every host that reaches it",
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The redis engine, for threads and for event loops."""
    return [REDIS]

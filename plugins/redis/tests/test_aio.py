"""What is special about the asynchronous redis engine: loops, cancellation, waiting for a turn."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cachewright_redis.aio import CONNECTIONS, AsyncRedisEngine

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import ClosedError, EngineError, EngineUnavailableError

HUNG = 20.0


def key(number: int) -> str:
    """Return sample key ``number``."""
    return hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest()


def run(body: Callable[[AsyncRedisEngine], Awaitable[None]], **settings: Any) -> None:
    """Run ``body`` with an engine in a new event loop."""

    async def main() -> None:
        engine = AsyncRedisEngine(EngineConfig(**{"timeout": 10.0, **settings}))
        try:
            await body(engine)
        finally:
            await engine.close()

    asyncio.run(asyncio.wait_for(main(), 60))


OPERATIONS: dict[str, Callable[[AsyncRedisEngine], Awaitable[object]]] = {
    "get": lambda engine: engine.get(key(1)),
    "set": lambda engine: engine.set(key(1), [b"value"]),
    "delete": lambda engine: engine.delete(key(1)),
    "clear": lambda engine: engine.clear(),
    "count": lambda engine: engine.count(),
    "compare and set": lambda engine: engine.compare_and_set(key(1), MISSING, [b"value"]),
}


async def assert_all_fail(engine: AsyncRedisEngine, word: str) -> None:
    """Insist that each operation raises that the server is not available, in time."""
    for operation, start in OPERATIONS.items():
        started = time.monotonic()
        with pytest.raises(EngineUnavailableError, match=word) as failed:
            await start(engine)
        assert failed.value.operation == operation
        assert failed.value.__cause__ is not None
        assert time.monotonic() - started < HUNG


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:1",
        "redis+sentinel://127.0.0.1:1/main",
        "redis+cluster://127.0.0.1:1",
        "unix:///no/such.sock",
    ],
)
def test_a_refused_server(url: str) -> None:
    """Where nobody listens each operation fails at once; opening and closing do not mind."""
    run(lambda engine: assert_all_fail(engine, "start a server"), url=url, timeout=0.3)


def test_nobody_waits_for_ever_for_a_turn(start_server: Callable[..., Any]) -> None:
    """Of more operations than connections on a frozen server, none waits much longer than the timeout."""
    server = start_server()

    async def body(engine: AsyncRedisEngine) -> None:
        with server.frozen():
            started = time.monotonic()
            many = [engine.get(key(number)) for number in range(10 * CONNECTIONS)]
            results = await asyncio.gather(*many, return_exceptions=True)
            assert {type(result) for result in results} == {EngineUnavailableError}
            assert time.monotonic() - started < HUNG / 2
        assert await engine.get(key(1)) is MISSING

    run(body, url=server.url, timeout=0.3)


def test_thousands_of_tasks_share_the_connections(redis_url: str, server: Any) -> None:
    """Three thousand operations at once get their own answers over a bounded number of connections."""

    async def body(engine: AsyncRedisEngine) -> None:
        async def work(number: int) -> bool:
            await engine.set(key(number), [b"%d" % number])
            return await engine.get(key(number)) == b"%d" % number

        assert all(await asyncio.gather(*map(work, range(1500))))
        assert server.connections() <= CONNECTIONS
        await engine.clear()

    run(body, url=redis_url, namespace="thousands")


@pytest.mark.parametrize("ticks", range(12))
def test_cancelling_leaves_answers_to_nobody(redis_url: str, ticks: int) -> None:
    """However far a get has come when it is cancelled, it is cancelled, and the next answers are right."""

    async def body(engine: AsyncRedisEngine) -> None:
        for number in range(4):
            await engine.set(key(number), [b"%d" % number * 1000])
        for turn in range(30):
            task = asyncio.ensure_future(engine.get(key(turn % 4)))
            for _ in range(ticks):
                await asyncio.sleep(0)
            under_way = task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled() is under_way
            for number in range(4):
                assert await engine.get(key(number)) == b"%d" % number * 1000
        await engine.clear()

    run(body, url=redis_url, namespace=f"cancel-{ticks}")


def test_cancelling_leaks_no_turn(redis_url: str) -> None:
    """After many cancelled operations, waiting ones among them, all connections can be used again."""

    async def body(engine: AsyncRedisEngine) -> None:
        for turn in range(20):
            tasks = [asyncio.ensure_future(engine.get(key(n))) for n in range(3 * CONNECTIONS)]
            for _ in range(turn):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        together = await asyncio.gather(*[engine.get(key(n)) for n in range(3 * CONNECTIONS)])
        assert together == [MISSING] * (3 * CONNECTIONS)

    run(body, url=redis_url, namespace="turns")


def test_closing_releases_the_connections(redis_url: str, server: Any) -> None:
    """After close the server has no connection left, also when operations were under way."""
    before = server.connections()

    async def body(engine: AsyncRedisEngine) -> None:
        await asyncio.gather(*[engine.set(key(n), [b"a"]) for n in range(50)])
        tasks = [asyncio.ensure_future(engine.get(key(n))) for n in range(100)]
        await asyncio.sleep(0)
        await engine.close()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result == b"a" or result is MISSING or isinstance(result, ClosedError)
        await engine.close()
        with pytest.raises(ClosedError):
            await engine.get(key(1))

    run(body, url=redis_url, namespace="closing")
    deadline = time.monotonic() + HUNG
    while server.connections() > before:
        assert time.monotonic() < deadline, "connections were left open"


def test_both_engines_share_entries(redis_url: str, engine: Any) -> None:
    """What one colour stores, the other finds, lists, swaps and deletes."""

    async def body(other: AsyncRedisEngine) -> None:
        engine.set(key(1), [b"from a thread"])
        assert await other.get(key(1)) == b"from a thread"
        assert await other.compare_and_set(key(1), b"from a thread", [b"from a task"]) is True
        assert engine.get(key(1)) == b"from a task"
        assert [name async for name in other.keys()] == [key(1)]
        assert await other.delete(key(1)) is True
        assert engine.get(key(1)) is MISSING

    run(body, url=redis_url)


def test_a_cluster_serves_as_well(start_server: Callable[..., Any]) -> None:
    """Every operation works on a cluster, whose slots spread the keys of one batch."""
    server = start_server("--cluster-enabled", "yes")
    with server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

    async def body(engine: AsyncRedisEngine) -> None:
        keys = [key(number) for number in range(300)]
        deadline = time.monotonic() + HUNG
        while True:
            try:
                await engine.set(key(1), [b"a"])
            except EngineError:  # the cluster is down until its node has settled
                assert time.monotonic() < deadline
            else:
                break
        assert await engine.set_many((name, [name.encode()], None, 1) for name in keys) == 300
        assert await engine.get_many([*keys, key(999)]) == {name: name.encode() for name in keys}
        assert {name async for name in engine.keys()} == set(keys)
        assert await engine.compare_and_set(keys[0], keys[0].encode(), [b"new"]) is True
        assert await engine.delete_many(keys[:3]) == 3
        assert await engine.count() == 297
        await engine.clear()
        assert await engine.count() == 0

    run(body, url=f"redis+cluster://127.0.0.1:{server.port}")


def test_sentinels_name_the_server(start_server: Callable[..., Any]) -> None:
    """The engine asks the sentinels where the primary is, and works with that."""
    primary, sentinel = start_server(), start_server("--sentinel")
    with sentinel.client() as client:
        client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", primary.port, 1)

    async def body(engine: AsyncRedisEngine) -> None:
        assert await engine.set(key(1), [b"a"]) is True
        assert await engine.get(key(1)) == b"a"

    run(body, url=f"redis+sentinel://127.0.0.1:{sentinel.port}/main")


@pytest.mark.parametrize("closed", [True, False])
def test_leaving_the_interpreter_makes_no_noise(redis_url: str, closed: bool) -> None:
    """A program ends without a word: one that closed, with warnings on, and one that did not, by default."""
    script = f"""
import asyncio
from cachewright.engine import EngineConfig
from cachewright_redis.aio import AsyncRedisEngine

async def main():
    engine = AsyncRedisEngine(EngineConfig(url={redis_url!r}, timeout=10.0))
    await asyncio.gather(*[engine.get("%032x" % n) for n in range(20)])
    task = asyncio.ensure_future(engine.get("00"))
    await asyncio.sleep(0)
    task.cancel()
    if {closed}:
        await engine.close()

asyncio.run(main())
asyncio.run(main())
"""
    flags = ["-X", "dev", "-W", "error"] if closed else []
    done = subprocess.run([sys.executable, *flags, "-c", script], capture_output=True, check=True)
    assert done.stderr == b""

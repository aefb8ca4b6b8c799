"""What is special about the engine on a Redis server: its script, transfers, errors, no deprecated call."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiocache import RedisCache
from cachewright_aiocache import redis_commands as commands
from cachewright_aiocache.redis_engine import AiocacheRedisEngine

from cachewright import cached
from cachewright.config import Settings
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import EngineError, EngineUnavailableError

Run = Callable[..., None]

PATIENT = Settings(timeout=10.0)
"""Tests share a machine: what is no test of time must not fail for want of it."""

KEY = "0123456789abcdef" * 2


@pytest.fixture
def kind() -> str:
    """The kind of server of these tests."""
    return "redis"


def test_the_client_is_that_of_an_aiocache_cache(server: Any, run: Run) -> None:
    """What the engine stores can be read by aiocache's own cache, under the name that is documented."""

    async def body(engine: AiocacheRedisEngine) -> None:
        assert isinstance(engine._cache, RedisCache)
        await engine.set(KEY, [b"value"])
        assert await engine._cache.get(f"cw-aiocache:own:{KEY}") == b"value"
        await engine._cache.client.aclose()
        await engine.clear()

    run(body, url=server.url, namespace="own")


@pytest.mark.slow
def test_no_deprecated_call_is_made(server: Any) -> None:
    """All operations, closing among them, run in an interpreter whose warnings are errors."""
    script = f"""
import asyncio
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright_aiocache.redis_engine import AiocacheRedisEngine

async def main():
    engine = AiocacheRedisEngine(EngineConfig(url={server.url!r}, timeout=10.0, namespace="warn"))
    for ttl in (None, 0.5, 5, 5.0):
        await engine.set("aa", [b"x"], ttl=ttl)
        await engine.compare_and_set("aa", b"x", [b"y"], ttl=ttl)
    await engine.set_many([("bb", [b"x"], 5, 1)])
    await engine.get_many(["aa", "bb"])
    await engine.compare_and_set_many([("cc", MISSING, [b"x"], 5, 1)])
    await engine.delete_many(["aa"])
    await engine.clear()
    await engine.close()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_script_is_said_again_where_it_is_unknown(server: Any, run: Run) -> None:
    """After the server forgot its scripts, single and many swaps work as before, in order."""

    async def body(engine: AiocacheRedisEngine) -> None:
        for turn in range(3):
            assert server.say(b"SCRIPT FLUSH\r\n") == b"+OK\r\n"
            assert await engine.compare_and_set(KEY, MISSING, [b"a"]) is True
            assert server.say(b"SCRIPT FLUSH\r\n") == b"+OK\r\n"
            swaps: list[Any] = [
                (KEY, b"a", [b"b"], None, 1),
                (KEY, b"a", [b"c"], None, 1),
                (KEY, b"b", [b"d"], None, 1),
                ("ff", MISSING, MISSING, None, 1),
            ]
            assert await engine.compare_and_set_many(swaps) == [True, False, True, True], turn
            assert await engine.get(KEY) == b"d"
            assert await engine.delete(KEY) is True

    run(body, url=server.url, namespace="script")


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [(None, None), (float("inf"), None), (1e-9, 1), (0.0015, 1), (1.5, 1500), (1e10, 10**13), (1e13, None)],
)
def test_ttl_in_milliseconds(ttl: float | None, expected: int | None) -> None:
    """A ttl is said in whole milliseconds, one at least, and not at all where it means never."""
    assert commands.milliseconds(ttl) == expected


@pytest.mark.slow
def test_silence_is_what_the_timeout_bounds() -> None:
    """An answer that comes in pieces is waited for as long as pieces come, much longer than the timeout."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1000)
            for piece in (b"$10\r\n", *[b"x"] * 10, b"\r\n"):
                writer.write(piece)
                await asyncio.sleep(0.15)
            await reader.read(1000)
            writer.write(b"$10\r\nxx")  # and no more
            await reader.read(1000)
        finally:
            writer.transport.abort()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        engine = AiocacheRedisEngine(EngineConfig(url=f"redis://127.0.0.1:{port}", timeout=1.0))
        started = time.monotonic()
        assert await engine.get(KEY) == b"x" * 10
        assert time.monotonic() - started > 1.2
        with pytest.raises(EngineUnavailableError, match="raise timeout="):
            await engine.get(KEY)
        await engine.close()
        server.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_what_nobody_asked_for_is_nobodys_answer() -> None:
    """Bytes that a server sends between two operations are not taken for the answer to the second one."""
    connections: list[int] = []
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            while await reader.read(1000):
                writer.write(b"$1\r\na\r\n")
                await asked.wait()
                writer.write(b"$1\r\nb\r\n")
        finally:
            writer.transport.abort()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        engine = AiocacheRedisEngine(EngineConfig(url=f"redis://127.0.0.1:{port}", timeout=10.0))
        for _ in range(4):
            asked.clear()
            assert await engine.get(KEY) == b"a"
            asked.set()
            (connection,) = engine._client._idle
            while not connection._spoilt:
                await asyncio.sleep(0.001)
        assert len(connections) == 4
        await engine.close()
        server.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_what_another_program_keeps_under_a_name_is_an_error_with_a_hint(server: Any, run: Run) -> None:
    """A list under the name of an entry fails with the advice to use another prefix, and not as an outage."""
    server.say(f"RPUSH cw-aiocache:typed:{KEY} x\r\n".encode())

    async def body(engine: AiocacheRedisEngine) -> None:
        with pytest.raises(EngineError, match="use another prefix") as failed:
            await engine.get(KEY)
        assert not isinstance(failed.value, EngineUnavailableError)
        assert await engine.get("00") is MISSING
        await engine.clear()
        assert await engine.get(KEY) is MISSING

    run(body, url=server.url, namespace="typed")


def test_a_full_server_is_an_error_with_a_hint(start_server: Callable[..., Any], run: Run) -> None:
    """A server that is out of memory and does not evict says so, and reading goes on."""
    server = start_server("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")

    async def body(engine: AiocacheRedisEngine) -> None:
        with pytest.raises(EngineError, match="maxmemory"):
            for number in range(100):
                await engine.set(f"{number:032x}", [bytes(500_000)])
        with pytest.raises(EngineError, match="maxmemory"):
            await engine.set_many([(f"{number:032x}", [bytes(500_000)], None, 1) for number in range(9)])
        assert await engine.get(KEY) is MISSING

    run(body, url=server.url)


def test_a_password_is_used_and_never_shown(start_server: Callable[..., Any], run: Run) -> None:
    """With the password operations work; a wrong one is told, but not shown, with what would help."""
    server = start_server("--requirepass", "right%20secret")

    async def works(engine: AiocacheRedisEngine) -> None:
        assert await engine.set(KEY, [b"x"]) is True

    async def fails(engine: AiocacheRedisEngine) -> None:
        with pytest.raises(EngineError, match="user name and password in url=") as failed:
            await engine.get(KEY)
        chain: BaseException | None = failed.value
        while chain is not None:
            assert "sesame" not in f"{chain} {chain!r} {chain.args}"
            chain = chain.__cause__ or chain.__context__

    run(works, url=f"redis://:right%2520secret@127.0.0.1:{server.port}/2")
    run(fails, url=f"redis://:sesame@127.0.0.1:{server.port}")
    run(fails, url=f"redis://sesame-user:sesame@127.0.0.1:{server.port}")
    run(fails, url=f"redis://127.0.0.1:{server.port}")


def test_databases_are_apart(server: Any, run: Run) -> None:
    """The number in the url chooses the database."""

    async def write(engine: AiocacheRedisEngine) -> None:
        await engine.set(KEY, [b"x"])

    async def read(engine: AiocacheRedisEngine) -> None:
        assert await engine.get(KEY) is MISSING

    run(write, url=f"{server.url}/0", namespace="db")
    run(read, url=f"{server.url}/1", namespace="db")


def test_loops_share_computations_and_invalidations(server: Any) -> None:
    """Functions on two caches, as in two processes: one computes, the other is given the result."""
    calls: list[str] = []

    def decorated(who: str) -> Any:
        @cached(engine="aiocache-redis", name="shared-function", url=server.url, ttl=60, settings=PATIENT)
        async def load(number: int) -> int:
            calls.append(who)
            await asyncio.sleep(0.05)
            return 2 * number

        return load

    async def main() -> None:
        one, other = decorated("one"), decorated("other")
        assert (
            await asyncio.gather(*[one(5) for _ in range(50)], *[other(5) for _ in range(50)]) == [10] * 100
        )
        assert len(calls) == 1
        await one.invalidate(5)
        assert await other(5) == 10
        assert len(calls) == 2
        await other.cache_clear()

    asyncio.run(main())


def test_a_closed_loop_leaves_connections_to_nobody(server: Any) -> None:
    """A cache that is used from one asyncio.run after another opens connections of its own in each."""
    before = server.connections()

    @cached(engine="aiocache-redis", name="runs", url=server.url, settings=PATIENT)
    async def load(number: int) -> int:
        return number

    for number in range(3):
        assert asyncio.run(load(number)) == number  # type: ignore[arg-type]
    deadline = time.monotonic() + 20
    while server.connections() > before:
        assert time.monotonic() < deadline
    config = EngineConfig(url=server.url)
    assert AiocacheRedisEngine(config).private is False

"""What both engines on servers have to stand: servers that are gone, frozen or strange, and haste."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cachewright_aiocache.server import CONNECTIONS

from cachewright import cached
from cachewright.config import Settings
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import (
    ClosedError,
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    UnsupportedByEngineError,
)

HUNG = 20.0
"""Seconds after which something that should end at once counts as hung."""

Run = Callable[..., None]

PATIENT = Settings(timeout=1.0)
"""Tests share a machine: what is no test of time must not fail for want of it."""


def key(number: int) -> str:
    """Return sample key ``number``."""
    return hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest()


OPERATIONS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "get": lambda engine: engine.get(key(1)),
    "set": lambda engine: engine.set(key(1), [b"value"]),
    "delete": lambda engine: engine.delete(key(1)),
    "clear": lambda engine: engine.clear(),
    "compare and set": lambda engine: engine.compare_and_set(key(1), MISSING, [b"value"]),
}


async def assert_all_fail(engine: Any, said: str, seconds: float = HUNG) -> None:
    """Insist that each operation raises in time that the server is not available."""
    for operation, start in OPERATIONS.items():
        started = time.monotonic()
        with pytest.raises(EngineUnavailableError, match=said) as failed:
            await start(engine)
        assert failed.value.operation == operation
        assert failed.value.engine == engine.name
        assert failed.value.__cause__ is not None
        assert time.monotonic() - started < seconds


async def assert_works(engine: Any) -> None:
    """Insist that the engine stores, finds and forgets."""
    assert await engine.set(key(1), [b"a", b"b"]) is True
    assert await engine.get(key(1)) == b"ab"
    assert await engine.delete(key(1)) is True
    assert await engine.get(key(1)) is MISSING


def test_a_refused_server(kind: str, run: Run) -> None:
    """Where nobody listens each operation fails at once and says what to do; closing does not mind."""
    said = rf"start a server at {kind}://127\.0\.0\.1:1"
    run(lambda engine: assert_all_fail(engine, said), url=f"{kind}://127.0.0.1:1", timeout=0.3)


def test_a_frozen_server(start_server: Callable[..., Any], run: Run) -> None:
    """A server that stopped answering costs each operation its timeout; once it goes on, all is well."""
    server = start_server()

    async def body(engine: Any) -> None:
        await assert_works(engine)
        with server.frozen():
            await assert_all_fail(engine, "for 0.2 s; check the server, or raise timeout=", 3.0)
            started = time.monotonic()
            many = [engine.get(key(number)) for number in range(5 * CONNECTIONS)]
            results = await asyncio.gather(*many, return_exceptions=True)
            assert {type(result) for result in results} == {EngineUnavailableError}
            assert time.monotonic() - started < HUNG / 2
        await assert_works(engine)

    run(body, url=server.url, timeout=0.2)


def test_a_restarted_server(start_server: Callable[..., Any], run: Run) -> None:
    """While the server is away operations fail; when it is back they work, on what it has kept."""
    server = start_server()

    async def body(engine: Any) -> None:
        await engine.set(key(1), [b"before"])
        await engine.set(key(2), [b"before"], ttl=100)
        server.kill()
        await assert_all_fail(engine, "start a server")
        server.start()
        assert await engine.get(key(1)) is MISSING
        await assert_works(engine)

    run(body, url=server.url)


def test_a_decorated_function_works_through_an_outage(start_server: Callable[..., Any], kind: str) -> None:
    """Callers are given results whatever the server does, and the first ones wait no second."""
    server = start_server()
    calls: list[int] = []

    @cached(engine=f"aiocache-{kind}", name=f"outage-{kind}", url=server.url, settings=PATIENT)
    async def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    async def main() -> None:
        assert [await double(n) for n in (1, 2, 1, 2)] == [2, 4, 2, 4]
        assert calls == [1, 2]
        with server.frozen():
            started = time.monotonic()
            assert [await double(n) for n in (1, 3, 1, 3)] == [2, 6, 2, 6]
            assert time.monotonic() - started < HUNG
        await double.invalidate(1)

    asyncio.run(main())
    assert double.cache_info().hits >= 2


@pytest.mark.parametrize("operation", ["get", "set", "compare and set"])
@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 4, 6, 9])
def test_cancelling_leaves_answers_to_nobody(server: Any, run: Run, ticks: int, operation: str) -> None:
    """However far an operation has come when it is cancelled, it is, and later answers are right."""

    async def body(engine: Any) -> None:
        for number in range(4):
            await engine.set(key(number), [b"%d" % number * 1000])
        for turn in range(12):
            task = asyncio.ensure_future(OPERATIONS[operation](engine))
            for _ in range(ticks):
                await asyncio.sleep(0)
            under_way = task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled() is under_way
            for number in (0, 2, 3):
                assert await engine.get(key(number)) == b"%d" % number * 1000
            assert await engine.set(key(1), [b"%d" % turn]) is True
            assert await engine.get(key(1)) == b"%d" % turn
        await engine.clear()

    run(body, url=server.url, namespace=f"cancel-{ticks}")


@pytest.mark.slow
def test_a_cancelled_write_does_not_come_late(server: Any, run: Run) -> None:
    """What was stored after a cancelled write stays stored: the older value does not follow."""

    async def body(engine: Any) -> None:
        for turn in range(150):
            task = asyncio.ensure_future(engine.set(key(1), [b"older" * 20_000]))
            for _ in range(turn % 8):
                await asyncio.sleep(0)
            task.cancel()
            assert await engine.set(key(1), [b"newer %d" % turn]) is True
            await asyncio.gather(task, return_exceptions=True)
            for _ in range(3):
                assert await engine.get(key(1)) == b"newer %d" % turn
        await engine.clear()

    run(body, url=server.url, namespace="late")


def test_cancelling_leaks_no_turn(server: Any, run: Run) -> None:
    """After many cancelled operations, waiting ones among them, all turns can be taken again."""

    async def body(engine: Any) -> None:
        for turn in range(8):
            starts = list(OPERATIONS.values())
            tasks = [asyncio.ensure_future(starts[n % 3](engine)) for n in range(3 * CONNECTIONS)]
            for _ in range(turn):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert engine._turns._value == CONNECTIONS
        await engine.clear()
        together = await asyncio.gather(*[engine.get(key(n)) for n in range(3 * CONNECTIONS)])
        assert together == [MISSING] * (3 * CONNECTIONS)

    run(body, url=server.url, namespace="turns")


@pytest.mark.slow
def test_a_thousand_tasks_share_the_connections(server: Any, run: Run) -> None:
    """A thousand tasks at once get their own answers over a bounded number of connections."""
    before = server.connections()

    async def body(engine: Any) -> None:
        async def work(number: int) -> bool:
            await engine.set(key(number), [b"%d" % number])
            return bool(await engine.get(key(number)) == b"%d" % number)

        assert all(await asyncio.gather(*map(work, range(1000))))
        assert server.connections() <= before + CONNECTIONS
        await engine.clear()

    run(body, url=server.url, namespace="thousand")


def test_closing_releases_the_connections(server: Any, run: Run) -> None:
    """After close the server has no connection left, also when operations were under way."""
    before = server.connections()

    async def body(engine: Any) -> None:
        await asyncio.gather(*[engine.set(key(n), [b"a"]) for n in range(50)])
        tasks = [asyncio.ensure_future(engine.get(key(n))) for n in range(100)]
        await asyncio.sleep(0)
        await engine.close()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result == b"a" or result is MISSING or isinstance(result, ClosedError)
        await engine.close()
        for start in OPERATIONS.values():
            with pytest.raises(ClosedError):
                await start(engine)

    run(body, url=server.url, namespace="closing")
    deadline = time.monotonic() + HUNG
    while server.connections() > before:
        assert time.monotonic() < deadline, "connections were left open"


def test_foreign_entries_survive(server: Any, run: Run) -> None:
    """Clearing, also in namespaces that look like patterns, leaves what others keep on the server."""
    names = ["foreign", "cw-aiocache:foreign", "cw-aiocache:a-generation", "cw-aiocache:ab:x", "default:x"]
    for number, name in enumerate(names):
        server.keep(name, f"foreign-{number}")

    async def body(engine: Any) -> None:
        await assert_works(engine)
        await engine.set_many([(key(n), [b"x"], None, 1) for n in range(300)])
        await engine.clear()
        assert await engine.get_many([key(n) for n in range(300)]) == {}

    for namespace in ("a", "*", "", "cw-aiocache", "a:generation", "?"):
        run(body, url=server.url, namespace=namespace)
    assert all(server.kept(name, f"foreign-{number}") for number, name in enumerate(names))


def test_a_prefix_keeps_programs_apart(server: Any, run: Run) -> None:
    """Entries of another prefix are not seen, and nonsense for a prefix is refused."""

    async def body(engine: Any) -> None:
        await engine.set(key(1), [b"mine"])

    async def other(engine: Any) -> None:
        assert await engine.get(key(1)) is MISSING

    run(body, url=server.url, options={"prefix": "one:"})
    run(other, url=server.url, options={"prefix": "other:"})
    for prefix in ("a b", "caf\u00e9", "x" * 41, "{a}", "a\n", 5, None):
        with pytest.raises(ConfigurationError, match="prefix"):
            run(body, url=server.url, options={"prefix": prefix})


@pytest.mark.parametrize("settings", [{"maxsize": 5}, {"max_bytes": 5}, {"timeout": 0.0}, {"policy": "lru"}])
def test_bounds_that_only_the_server_has_are_refused(settings: dict[str, Any], kind: str, run: Run) -> None:
    """What an engine on a server cannot keep is an error when it is opened."""
    (name,) = settings
    with pytest.raises(ConfigurationError, match=name):
        run(assert_works, url=f"{kind}://127.0.0.1:1", **settings)


@asynccontextmanager
async def strange_server(answers: Callable[[bytes], bytes | None]) -> AsyncGenerator[int]:
    """A server on a port of this loop that answers as it likes, and hangs up where it has no answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while said := await reader.read(65_536):
                answer = answers(said)
                if answer is None:
                    break
                writer.write(answer)
            writer.close()
        except asyncio.CancelledError:  # the loop ends
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n", b"\x00\xff\r\n" * 10, b"$5\r\n", b"VALUE other 0 3 1\r\nabc\r\nEND\r\n",
        b"HTTP/1.1 400 Bad\r\n\r\n", b"VALUE x y z\r\n", b"*1\r\n:1\r\n", b"STOR", b"", None,
    ],
)  # fmt: skip
def test_a_strange_server_is_an_engine_error(kind: str, answer: bytes | None) -> None:
    """Answers that fit no command, half an answer, none, or a hang-up: an error of the engine, in time."""
    from cachewright_aiocache.plugin import MEMCACHED, REDIS

    async def main() -> None:
        async with strange_server(lambda _said: answer) as port:
            info = {"redis": REDIS, "memcached": MEMCACHED}[kind]
            config = EngineConfig(url=f"{kind}://127.0.0.1:{port}", timeout=0.05)
            engine = info.load_async()(config)
            for _ in range(2):
                for start in OPERATIONS.values():
                    with pytest.raises(EngineError):
                        await start(engine)
            await engine.close()

    asyncio.run(asyncio.wait_for(main(), HUNG))


@pytest.mark.slow
@pytest.mark.parametrize("closed", [True, False])
def test_leaving_the_interpreter_makes_no_noise(server: Any, kind: str, closed: bool) -> None:
    """A program ends without a word: one that closed, with warnings on, and one that did not, by default."""
    script = f"""
import asyncio
from cachewright.engine import EngineConfig
from cachewright_aiocache.plugin import {kind.upper()}

async def main():
    engine = {kind.upper()}.load_async()(EngineConfig(url={server.url!r}, timeout=10.0))
    await asyncio.gather(*[engine.get("%032x" % n) for n in range(20)])
    for operation in (engine.get("00"), engine.set("00", [b"x"])):
        task = asyncio.ensure_future(operation)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    if {closed}:
        await engine.close()

asyncio.run(main())
asyncio.run(main())
"""
    flags = ["-W", "error"] if closed else []
    done = subprocess.run([sys.executable, *flags, "-c", script], capture_output=True, check=True)
    assert done.stderr == b""


def test_large_and_empty_values_come_back(server: Any, run: Run, kind: str) -> None:
    """Values of no byte, of every byte, and as large as the record allows, come back as they were."""

    async def body(engine: Any) -> None:
        largest = 1_048_000 if kind == "memcached" else 20_000_000
        for value in (b"", bytes(range(256)), b"\r\nEND\r\n", b"x" * largest):
            assert await engine.set(key(1), [value]) is True
            assert await engine.get(key(1)) == value
            assert await engine.compare_and_set(key(1), value, [value, b""]) is True
        await engine.clear()

    run(body, url=server.url, namespace="large")


def test_listing_is_refused_where_the_server_cannot(server: Any, run: Run, kind: str) -> None:
    """Listing and counting work on Redis; on memcached they are one clear error."""

    async def body(engine: Any) -> None:
        await engine.clear()
        await engine.set(key(1), [b"a"])
        if kind == "memcached":
            with pytest.raises(UnsupportedByEngineError, match="listing keys"):
                [name async for name in engine.keys()]
            with pytest.raises(UnsupportedByEngineError, match="counting"):
                await engine.count()
        else:
            assert [name async for name in engine.keys()] == [key(1)]
            assert await engine.count() == 1

    run(body, url=server.url, namespace="listing")

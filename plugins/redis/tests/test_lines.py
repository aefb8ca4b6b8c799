"""Connections of the engine itself: whatever interrupts a question, no answer reaches another one."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from cachewright_redis.aio import AsyncRedisEngine
from cachewright_redis.engine import RedisEngine

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import ClosedError, EngineError, EngineUnavailableError

KEYS = [f"{number:032x}" for number in range(4)]
VALUES = {key: (b"%d" % turn) * 40 for turn, key in enumerate(KEYS)}

QUESTIONS: dict[str, Callable[[AsyncRedisEngine], Any]] = {
    "get": lambda engine: engine.get(KEYS[0]),
    "get many": lambda engine: engine.get_many(KEYS),
    "set": lambda engine: engine.set(KEYS[3], [VALUES[KEYS[3]]]),
    "delete": lambda engine: engine.delete("ff" * 16),
    "swap": lambda engine: engine.compare_and_set(KEYS[0], b"never", [b"x"]),
    "swap many": lambda engine: engine.compare_and_set_many([(KEYS[0], b"never", [b"x"], None, 1)]),
    "count": lambda engine: engine.count(),
}


@asynccontextmanager
async def dripping(port: int) -> AsyncIterator[int]:
    """A way to a server that hands on a few bytes at a time; yields its port."""

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
        try:
            while piece := await reader.read(size):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(hand_on(reader, to_server, 64), hand_on(from_server, writer, 9))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("clear", ["scan", "generation"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_cancelling_at_every_step(redis_url: str, server: Any, question: str, clear: str) -> None:
    """However many steps a question was given before it is cancelled, the next answers are right."""

    async def main() -> None:
        async with dripping(server.port) as port:
            engine = AsyncRedisEngine(
                EngineConfig(
                    url=f"redis://127.0.0.1:{port}", namespace="drip", timeout=20.0, options={"clear": clear}
                )
            )
            await engine.set_many((key, [value], None, 1) for key, value in VALUES.items())
            steps = 0
            while True:
                task = asyncio.ensure_future(QUESTIONS[question](engine))
                for _ in range(steps):
                    await asyncio.sleep(0)
                if task.done():
                    break
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
                for key, value in VALUES.items():
                    assert await engine.get(key) == value
                assert await engine.get("ee" * 16) is MISSING
                steps = steps + 1 if steps < 30 else steps * 2
            await task
            assert await engine.get_many(KEYS) == VALUES
            await engine.clear()
            await engine.close()

    asyncio.run(asyncio.wait_for(main(), 60))


class InterruptedError_(BaseException):
    """What a signal handler raises."""


def test_a_signal_in_the_middle(engine: RedisEngine) -> None:
    """Whatever a signal handler raises in a thread that waits for an answer, the next answers are right."""
    engine.set_many((key, [value], None, 1) for key, value in VALUES.items())

    def interrupt(*_: object) -> None:
        raise InterruptedError_

    before, interrupted = signal.signal(signal.SIGALRM, interrupt), 0
    try:
        for turn in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + turn % 40))
                for _ in range(100):
                    engine.get(KEYS[0])
                signal.setitimer(signal.ITIMER_REAL, 0)
            except InterruptedError_:
                interrupted += 1
            for key in KEYS[1:]:
                assert engine.get(key) == VALUES[key]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 100


def test_a_handler_that_uses_the_engine_itself(engine: RedisEngine) -> None:
    """A signal handler that asks while its thread waits gets its own answer, and so does the thread."""
    engine.set_many((key, [value], None, 1) for key, value in VALUES.items())
    inner: list[object] = []
    before = signal.signal(signal.SIGALRM, lambda *_: inner.append(engine.get(KEYS[1])))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-3)
        while len(inner) < 50:
            assert engine.get(KEYS[0]) == VALUES[KEYS[0]]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(inner) == {VALUES[KEYS[1]]}


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A server that gives one answer after another to each connection, whatever is asked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            for answer in answers:
                try:
                    if not connection.recv(1 << 16):
                        return
                    connection.sendall(answer)
                except OSError:
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_two_answers_to_one_question(opened: Callable[..., Any], colour: str) -> None:
    """A connection on which more arrived than was asked for is given up, and nobody gets the rest."""
    with answering(b"$1\r\na\r\n", b"$1\r\nb\r\n$1\r\nc\r\n", b"$1\r\nd\r\n") as port:
        engine = opened(url=f"redis://127.0.0.1:{port}", timeout=5.0)
        assert engine.get(KEYS[0]) == b"a"
        with pytest.raises(EngineError):
            engine.get(KEYS[0])
        assert engine.get(KEYS[0]) == b"a"  # the first on a new connection


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_half_an_answer(opened: Callable[..., Any], colour: str) -> None:
    """A server that stops in the middle of an answer, or leaves, is not available, and no half is a value."""
    for half in (b"$10\r\nhalf", b"$10\r\n", b"$1", b"+O", b""):
        with answering(b"$1\r\na\r\n", half) as port:
            engine = opened(url=f"redis://127.0.0.1:{port}", timeout=0.3)
            assert engine.get(KEYS[0]) == b"a"
            with pytest.raises(EngineUnavailableError):
                engine.get(KEYS[0])
            assert engine.get(KEYS[0]) == b"a"


def test_closing_while_a_thread_waits(start_server: Callable[..., Any], opened: Callable[..., Any]) -> None:
    """A thread that waits for an answer on a line is told at once that the engine is closed."""
    server = start_server()
    engine = opened(url=server.url)
    engine.get(KEYS[0])
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            engine.get(KEYS[0])
        except BaseException as error:
            caught.append(error)

    with server.frozen():
        thread = threading.Thread(target=wait)
        thread.start()
        while not thread.is_alive():
            pass
        thread.join(0.1)  # until it waits
        engine.close()
        thread.join(20)
        assert not thread.is_alive()
    assert [type(error) for error in caught] == [ClosedError]


def test_threads_that_end_leave_their_connections(engine: RedisEngine, server: Any) -> None:
    """A hundred threads, one after the other, use one connection."""
    for _ in range(100):
        thread = threading.Thread(target=lambda: engine.set(KEYS[0], [b"a"]))
        thread.start()
        thread.join(60)
    before = server.connections()
    engine.get(KEYS[0])
    assert server.connections() == before <= 3


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("without", [False, True])
def test_with_and_without_hiredis(redis_url: str, protocol: int, without: bool) -> None:
    """Every operation works with the parser in C and without it, in both protocols and colours."""
    if not without:
        pytest.importorskip("hiredis", reason="hiredis is not installed")
    script = f"""
import asyncio, sys
if {without}:
    sys.modules["hiredis"] = None
import redis.utils
assert redis.utils.HIREDIS_AVAILABLE is not {without}
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright_redis.aio import AsyncRedisEngine
from cachewright_redis.engine import RedisEngine
url, namespace = "{redis_url}?protocol={protocol}", "parsers{protocol}{without}"
config = EngineConfig(url=url, namespace=namespace, timeout=20.0)
large = bytes(range(256)) * 1000
engine = RedisEngine(config)
assert engine.set("00", [b"a"]) and engine.get("00") == b"a" and engine.get("01") is MISSING
assert engine.set("02", [large]) and engine.get("02") == large
assert engine.get_many(["00", "01", "02"]) == {{"00": b"a", "02": large}}
assert engine.compare_and_set("00", b"a", [b"b"]) and not engine.compare_and_set("00", b"a", [b"c"])
assert engine.compare_and_set_many([("00", b"b", [b"c"], 9.0, 1)]) == [True]
assert sorted(engine.keys()) == ["00", "02"]

async def main():
    engine = AsyncRedisEngine(config)
    assert await engine.get("00") == b"c" and await engine.get("01") is MISSING
    assert await engine.get("02") == large
    assert await engine.set("02", [large, b"!"]) and await engine.get("02") == large + b"!"
    assert await engine.get_many(["00", "01"]) == {{"00": b"c"}}
    assert await engine.compare_and_set("00", b"c", MISSING)
    assert await engine.count() == 1
    await engine.clear()
    await engine.close()

asyncio.run(main())
assert engine.count() == 0
engine.close()
print("done")
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"done\n", b"")

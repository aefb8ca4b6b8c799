"""Servers that are gone, strict, confused or hostile."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cachewright_redis.engine import RedisEngine

from cachewright.entry import MISSING
from cachewright.errors import EngineError, EngineUnavailableError

Opener = Callable[..., RedisEngine]


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Every test of this module is one of both engines."""
    return str(request.param)


KEY = hashlib.blake2b(b"key", digest_size=16).hexdigest()
OTHER = hashlib.blake2b(b"other", digest_size=16).hexdigest()

OPERATIONS: dict[str, Callable[[RedisEngine], object]] = {
    "get": lambda engine: engine.get(KEY),
    "set": lambda engine: engine.set(KEY, [b"value"]),
    "delete": lambda engine: engine.delete(KEY),
    "clear": lambda engine: engine.clear(),
    "list keys": lambda engine: engine.keys(),
    "count": lambda engine: engine.count(),
    "compare and set": lambda engine: engine.compare_and_set(KEY, MISSING, [b"value"]),
}
MANY: dict[str, Callable[[RedisEngine], object]] = {
    "get": lambda engine: engine.get_many([KEY, OTHER]),
    "set": lambda engine: engine.set_many([(KEY, [b"value"], None, 1)]),
    "delete": lambda engine: engine.delete_many([KEY]),
    "compare and set": lambda engine: engine.compare_and_set_many([(KEY, MISSING, [b"value"], None, 1)]),
}


ASKED = (b"GET\r\n", b"SET\r\n", b"UNLINK", b"SCAN", b"EVAL")
"""What tells an operation of the engine from a greeting of the library."""

HUNG = 20.0
"""Seconds that an operation with a timeout of 0.3 s can take only if it retries or hangs."""


@contextmanager
def soon() -> Iterator[None]:
    """Fail if the block takes as long as only retries or a hang would."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < HUNG


def assert_all_fail(engine: RedisEngine, kind: type[EngineError], word: str) -> None:
    """Insist that each operation raises just ``kind``, with its own name and the hint in it."""
    for operations in (OPERATIONS, MANY):
        for operation, run in operations.items():
            with soon(), pytest.raises(EngineError) as failed:
                run(engine)
            assert type(failed.value) is kind
            assert failed.value.engine == "redis"
            assert failed.value.operation == operation
            assert failed.value.__cause__ is not None
            assert word in str(failed.value)
            assert len(str(failed.value)) < 500


def test_a_refused_server(opened: Opener) -> None:
    """Where nobody listens each operation fails at once, and says where a server should be."""
    assert_all_fail(opened(url="redis://127.0.0.1:1/0"), EngineUnavailableError, "redis://127.0.0.1:1/0")
    assert_all_fail(opened(url="unix:///no/such.sock"), EngineUnavailableError, "unix:///no/such.sock")


@pytest.mark.parametrize("layout", ["sentinel", "cluster"])
def test_nobody_to_ask(opened: Opener, layout: str) -> None:
    """Without sentinels, or nodes of the cluster, each operation fails as soon."""
    url = f"redis+{layout}://127.0.0.1:1,127.0.0.1:2{'/main' if layout == 'sentinel' else ''}"
    assert_all_fail(opened(url=url, timeout=0.3), EngineUnavailableError, f"redis+{layout}://127.0.0.1:1")


def test_a_restart_between_two_operations_goes_unnoticed(
    start_server: Callable[..., Any], opened: Opener
) -> None:
    """A connection that the server closed while it lay idle is replaced, not used."""
    server = start_server()
    engine = opened(url=server.url)
    for _ in range(3):
        assert engine.set(KEY, [b"value"]) is True
        server.kill()
        server.start()
        assert engine.get(KEY) is MISSING


def test_another_type_under_our_name(engine: RedisEngine, server: Any) -> None:
    """Reading a name that holds a list is an error, not a value; overwriting and deleting put it right."""
    engine.set(KEY, [b"value"])
    with server.client() as client:
        (name,) = client.keys("*")
        for repair in (OPERATIONS["set"], OPERATIONS["delete"], OPERATIONS["clear"], MANY["delete"]):
            client.delete(name)
            client.rpush(name, "item")
            for read in (OPERATIONS["get"], OPERATIONS["compare and set"]):
                with pytest.raises(EngineError, match="WRONGTYPE") as failed:
                    read(engine)
                assert not isinstance(failed.value, EngineUnavailableError)
            assert engine.get_many([KEY, OTHER]) == {}
            repair(engine)
            assert engine.get(KEY) in {MISSING, b"value"}


@pytest.mark.parametrize("protocol", [2, 3])
def test_wrong_credentials_are_not_shown(
    start_server: Callable[..., Any], opened: Opener, protocol: int
) -> None:
    """A login that fails says what to check, and shows user and password nowhere, causes included."""
    server = start_server("--requirepass", "right")
    engine = opened(url=f"redis://canaryuser:canaryword@127.0.0.1:{server.port}?protocol={protocol}")
    assert_all_fail(engine, EngineUnavailableError, "check user name and password")
    with pytest.raises(EngineError) as failed:
        engine.get(KEY)
    assert "canary" not in "".join(traceback.format_exception(failed.value)) + repr(engine)
    with pytest.raises(EngineError, match="user name and password"):
        opened(url=server.url).get(KEY)
    right = opened(url=f"redis://:right@127.0.0.1:{server.port}?protocol={protocol}")
    assert right.set(KEY, [b"value"]) is True


def test_an_account_without_rights(start_server: Callable[..., Any], opened: Opener) -> None:
    """What the server does not allow is an engine error that says what to allow."""
    server = start_server()
    with server.client() as client:
        client.acl_setuser("bound", enabled=True, passwords=["+word"], keys=["cw:*"], commands=["+get"])
    engine = opened(url=f"redis://bound:word@127.0.0.1:{server.port}")
    assert engine.get(KEY) is MISSING
    with pytest.raises(EngineError, match="ACL SETUSER") as failed:
        engine.set(KEY, [b"value"])
    assert not isinstance(failed.value, EngineUnavailableError)


def test_a_node_of_a_cluster_by_mistake(start_server: Callable[..., Any], opened: Opener) -> None:
    """A key that lives on another node is an error that names the right scheme."""
    server = start_server("--cluster-enabled", "yes")
    with server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        client.config_set("cluster-require-full-coverage", "no")
    engine = opened(url=server.url)
    deadline = time.monotonic() + 60
    while True:
        try:
            engine.get(KEY)
        except EngineUnavailableError:  # the cluster is down until its node has settled
            assert time.monotonic() < deadline
        else:
            break
    with hostile([b"-MOVED 3999 127.0.0.1:6381\r\n"]) as port:
        moved = opened(url=f"redis://127.0.0.1:{port}?protocol=2", timeout=0.5)
        with pytest.raises(EngineError, match=r"redis\+cluster://"):
            moved.get(KEY)


@contextmanager
def hostile(replies: list[bytes]) -> Iterator[int]:
    """A server that greets in the old protocol and answers every read with the next of ``replies``."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop, turn = threading.Event(), iter(range(10**9))

    def serve(connection: socket.socket) -> None:
        with connection:
            while not stop.is_set():
                try:
                    question = connection.recv(1 << 16)
                except OSError:
                    return
                if not question:
                    return
                commands = max(1, question.count(b"*"))
                wanted = any(word in question for word in ASKED)
                answer = replies[next(turn) % len(replies)] if wanted else b"+OK\r\n" * commands
                try:
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
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(HUNG)


@pytest.mark.parametrize(
    "reply",
    [
        b"garbage that is no protocol\r\n",
        b"$notanumber\r\n",
        b"$-5\r\n",
        b"*-7\r\n",
        b"*1000000\r\n",
        b"$10\r\nshort",
        b":notanumber\r\n",
        b"%3\r\n",
        b"\x00\x01\x02\x03\r\n",
        b"\xff" * 100 + b"\r\n",
        b"-\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MASTERDOWN Link with MASTER is down\r\n",
        b"-ERR something new\r\n",
        b"*1\r\n" * 200 + b":1\r\n",
    ],
)
@pytest.mark.parametrize("operations", [OPERATIONS, MANY])
def test_garbage_is_an_engine_error(
    opened: Opener, reply: bytes, operations: dict[str, Callable[[RedisEngine], object]]
) -> None:
    """Whatever a server answers that is no answer, each operation raises an engine error in time."""
    with hostile([reply]) as port:
        engine = opened(url=f"redis://127.0.0.1:{port}?protocol=2", timeout=0.05)
        for run in operations.values():
            with soon(), pytest.raises(EngineError):
                run(engine)
        engine.close()


@pytest.mark.parametrize("reply", [b":1\r\n", b"*1\r\n$1\r\na\r\n", b"+OK\r\n"])
def test_an_answer_to_another_question_closes_the_connection(opened: Opener, reply: bytes) -> None:
    """A reply of a type that cannot belong to the question is an error, and the connection is given up."""
    with hostile([reply, b"$5\r\nright\r\n"]) as port:
        engine = opened(url=f"redis://127.0.0.1:{port}?protocol=2", timeout=0.5)
        if reply == b"+OK\r\n":
            assert engine.get(KEY) == b"OK"  # a simple string is bytes like any other; the envelope tells
            return
        with pytest.raises(EngineError, match="does not fit"):
            engine.get(KEY)
        assert engine.get(KEY) == b"right"

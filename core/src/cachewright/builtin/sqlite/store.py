"""A store is one directory as this process uses it: shared by namespaces, engine objects and threads."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
import warnings
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cachewright.builtin.sqlite.attachment import attach, pause, stand_in
from cachewright.builtin.sqlite.connection import (
    Link,
    Opened,
    Work,
    check_inherited,
    let_fork_pass,
    links,
)
from cachewright.builtin.sqlite.directory import exclusive, unusable
from cachewright.builtin.sqlite.failure import (
    ENGINE,
    failure,
    is_busy,
    is_damage,
    is_full,
    is_stale,
    primary_code,
    readable,
)
from cachewright.builtin.sqlite.quarantine import set_aside
from cachewright.builtin.sqlite.schema import create_index, find_index
from cachewright.builtin.sqlite.sweep import is_referred
from cachewright.builtin.sqlite.table import READ
from cachewright.builtin.sqlite.values import ValueFiles
from cachewright.directory import StoreDirectory, open_store_directory
from cachewright.errors import (
    CachewrightError,
    EngineError,
    EngineUnavailableError,
    StoreQuarantinedWarning,
)

if TYPE_CHECKING:
    from cachewright.engine import Chunks

T = TypeVar("T")

OPENING_SECONDS = 5.0
"""How long opening waits for other processes that open or replace the same index."""

VACUUM_PAGES = 4096

ATTEMPTS = 4
"""How often an index may vanish or turn out damaged under one operation before it gives up."""


class Store:
    """The index and the value files of one directory; safe for threads, processes and forks.

    A store lives as long as an engine refers to it; then its connections are closed.
    """

    def __init__(self, directory: StoreDirectory, *, durable: bool) -> None:
        self.files = ValueFiles(directory, durable=durable)
        self._durable = durable
        self._local = threading.local()
        self._writers = threading.Lock()
        self._set_aside: list[str] = []
        self._stuck: set[str] = set()

    def link(self) -> Link:
        """Return this thread's link; it is closed when the thread ends."""
        if links.pending:
            let_fork_pass()
        try:
            link: Link = self._local.link
        except AttributeError:
            link = Link()
            ended = _Ended()
            weakref.finalize(ended, link.end)
            self._local.ended = ended
            self._local.link = link
        return link

    def fetch(self, link: Link, row: int, timeout: float) -> tuple[object, ...] | None:
        """Return the row with that id, as :data:`READ` selects it; the caller holds the link's lock."""
        if (
            link.connection is not None
            and link.pid == os.getpid()
            and (link.writing or time.monotonic() < link.recheck)
        ):
            try:
                return _row(link.connection, row)
            except (sqlite3.Error, UnicodeDecodeError):
                pass  # the long way finds out what it was
        return self.read(link, "get", lambda connection: _row(connection, row), timeout)

    def read(self, link: Link, operation: str, work: Work[T], timeout: float) -> T:
        """Return what ``work`` reads; the caller holds the link's lock.

        Raises:
            EngineError: the index cannot be read, or stays locked for ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        for attempt in range(1_000_000):
            connection = self._ready(link, deadline)
            try:
                return work(connection)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                self._recover(link, operation, error, deadline, attempt)
        raise unusable(operation, "the index keeps being replaced")

    def write(self, link: Link, operation: str, work: Work[T], timeout: float) -> T:
        """Return what ``work`` returns after its changes are committed, all of them or none.

        ``work`` may be called again, on another connection, if the index was replaced meanwhile.
        The caller holds the link's lock.

        Raises:
            EngineError: it cannot be written, or stays locked for ``timeout`` seconds.
        """
        if link.writing:
            raise unusable(operation, "it was called from within another operation of this thread")
        deadline = time.monotonic() + timeout
        for attempt in range(1_000_000):
            self._ready(link, deadline)
            self._check_writable(link, operation)
            try:
                result = link.transact(operation, work, self._writers, deadline)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                self._recover(link, operation, error, deadline, attempt)
                continue
            if link.in_place():
                return result
            link.close()  # it went into an index that was set aside in that moment
        raise unusable(operation, "the index keeps being replaced")

    def write_file(self, link: Link, row: int, chunks: Chunks) -> bytes:
        """Write a value file and return its name; the caller holds the link's lock.

        Raises:
            EngineError: it cannot be written; nothing was left behind.
        """
        self._ready(link, 0.0)
        self._check_writable(link, "set")
        try:
            try:
                return self.files.write(row, chunks)
            except FileNotFoundError:
                self._renew(link)
                return self.files.write(row, chunks)
        except CachewrightError:
            raise
        except OSError as error:
            raise failure("set", error) from error

    @staticmethod
    def _check_writable(link: Link, operation: str) -> None:
        if link.refusal:
            reason = "the store is read-only" if link.refusal == errno.EROFS else os.strerror(link.refusal)
            raise failure(operation, OSError(link.refusal, reason), opening=not link.is_index)

    def remove_unreferred(self, link: Link) -> None:
        """Remove those of the doubtful files that no row refers to; the caller holds the link's lock."""
        files = self.files
        names, files.doubtful = files.doubtful, []
        try:
            connection = self._ready(link, 0.0)
            stray = [n for n in names if isinstance(n, bytes) and not is_referred(connection, n)]
        except (sqlite3.Error, EngineError, ValueError):
            return  # a sweeper will find them
        files.remove(stray)

    def give_back(self, link: Link) -> None:
        """Return some of the free pages of the index to the disk; best effort."""
        try:
            self._ready(link, 0.0).execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
        except sqlite3.Error:
            return  # the pages will be used again by what is stored next

    def _renew(self, link: Link) -> None:
        """Make the directory again if it, or the folder with the value files, was removed.

        The caller holds the link's lock.

        Raises:
            EngineError: it cannot be made.
        """
        files = self.files
        link.close()
        self._ready(link, 0.0)
        if self.files is files:
            self.files = ValueFiles(files.directory, durable=self._durable)

    def _recover(
        self,
        link: Link,
        operation: str,
        raised: sqlite3.Error | UnicodeDecodeError,
        deadline: float,
        attempt: int,
    ) -> None:
        """Return if the operation is to be tried again; raise if there is no point."""
        error = readable(raised)
        if is_busy(error):
            if time.monotonic() >= deadline:
                raise failure(operation, error) from error
            pause(attempt)
            return
        moved = is_stale(error) or not link.in_place()
        damaged = is_damage(error) or self._only_seems_full(link, error)
        path, identity = link.path, link.identity
        link.close()
        if attempt >= ATTEMPTS or not (moved or damaged):
            raise failure(operation, error) from error
        if not moved and attempt:  # SQLite takes a read that failed once for damage, too
            with suppress(OSError):  # the next connection meets the damage again, and what to do about it
                self._replace(path, identity, error)

    def _only_seems_full(self, link: Link, error: sqlite3.Error) -> bool:
        """Whether it is damage that makes SQLite report a full disk: a page number beyond all bounds."""
        if primary_code(error) != sqlite3.SQLITE_FULL or link.connection is None:
            return False
        if not self.files.directory.has_room():
            return False
        try:
            return bool(link.connection.execute("PRAGMA quick_check(1)").fetchone() != (b"ok",))
        except (sqlite3.Error, UnicodeDecodeError):
            return True

    def _replace(self, path: str, identity: tuple[int, int], error: sqlite3.Error) -> None:
        name = set_aside(self.files.directory, os.path.basename(path), identity, OPENING_SECONDS)
        if name:
            self._set_aside.append(f"{path} cannot be used ({error}); it was renamed to {name} and made anew")

    def _ready(self, link: Link, deadline: float) -> sqlite3.Connection:
        """Return a connection to the index that is in place now."""
        connection = link.connection
        if connection is not None:
            link.check_process()
            if link.writing or time.monotonic() < link.recheck:
                return connection
            if link.in_place() and not link.refusal:
                return connection
            link.close()
        try:
            link.open(lambda: self._open_any(max(deadline, time.monotonic() + OPENING_SECONDS)))
        except CachewrightError:  # some of them are OSErrors too
            raise
        except (OSError, sqlite3.Error) as error:
            raise failure("open the store", error, opening=True) from error
        while self._set_aside:
            warnings.warn(self._set_aside.pop(), StoreQuarantinedWarning, stacklevel=2)
        if link.connection is None:
            raise unusable("open the store", "it was closed at once")
        return link.connection

    def _open_any(self, deadline: float) -> Opened:
        """Return what :meth:`_open` does, or an empty stand-in where the disk has no room for an index."""
        try:
            return self._open(deadline)
        except CachewrightError:
            raise
        except (OSError, sqlite3.Error) as error:
            if not is_full(error):
                raise
            return stand_in(self.files.directory, errno.ENOSPC)

    def _open(self, deadline: float) -> Opened:
        problem = "the index keeps being replaced"
        damaged = attempt = 0
        while damaged < ATTEMPTS and time.monotonic() < deadline:
            attempt += 1
            directory = self._current_directory()
            name = find_index(directory) or self._create(directory)
            path = os.path.join(directory.path, name)
            check_inherited(path)
            status = directory.check_file(name)
            if status is None:
                continue
            identity = (status.st_dev, status.st_ino)
            try:
                opened = attach(directory, name, status, durable=self._durable)
            except (sqlite3.Error, UnicodeDecodeError) as raised:
                # no other name for the error: kept alive, it would keep this frame and the store alive
                problem = str(readable(raised))
                if is_busy(readable(raised)):
                    pause(attempt)
                elif is_damage(readable(raised)):
                    damaged += 1
                    refusal = damaged > 1 and self._try_replace(path, identity, readable(raised))
                    if refusal:
                        return stand_in(directory, refusal)
                else:
                    raise
                continue
            try:
                if directory.check_file(name) is not None:
                    return opened
            except BaseException:
                opened[0].close()
                raise
            opened[0].close()
        raise EngineUnavailableError(ENGINE, "open the store", problem)

    def _try_replace(self, path: str, identity: tuple[int, int], error: sqlite3.Error) -> int:
        """Set a damaged index aside; return 0, or the number of the error that prevents it."""
        try:
            self._replace(path, identity, error)
        except CachewrightError:
            raise
        except OSError as problem:
            if path not in self._stuck:
                self._stuck.add(path)
                self._set_aside.append(f"{path} cannot be used ({error}), nor renamed ({problem.strerror})")
            return problem.errno or errno.EIO
        return 0

    def _current_directory(self) -> StoreDirectory:
        """Return the directory, made again if somebody removed it."""
        directory = self.files.directory
        if not directory.in_place():
            directory = open_store_directory(Path(directory.path), engine=ENGINE, trusted=directory.trusted)
            self.files = ValueFiles(directory, durable=self._durable)
        return directory

    def _create(self, directory: StoreDirectory) -> str:
        with exclusive(directory, OPENING_SECONDS):
            return find_index(directory) or create_index(directory, durable=self._durable)


class _Ended:
    """Dies with its thread; what a thread-local refers to is the only thing that does."""

    __slots__ = ("__weakref__",)


def _row(connection: sqlite3.Connection, row: int) -> tuple[object, ...] | None:
    found: tuple[object, ...] | None = connection.execute(READ, (row,)).fetchone()
    return found

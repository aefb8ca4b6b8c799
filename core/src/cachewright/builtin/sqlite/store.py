"""A store is one directory as this process uses it: shared by namespaces, engine objects and threads."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cachewright.builtin.sqlite.attachment import attach, pause
from cachewright.builtin.sqlite.connection import Link, Opened, Work, check_inherited, gate
from cachewright.builtin.sqlite.directory import Directory, open_directory, unusable
from cachewright.builtin.sqlite.failure import ENGINE, failure, is_busy, is_damage, is_stale, readable
from cachewright.builtin.sqlite.quarantine import set_aside
from cachewright.builtin.sqlite.schema import create_index, find_index
from cachewright.builtin.sqlite.sweep import sweep
from cachewright.builtin.sqlite.table import READ
from cachewright.builtin.sqlite.values import ValueFiles
from cachewright.errors import CachewrightError, EngineUnavailableError, StoreQuarantinedWarning

if TYPE_CHECKING:
    from cachewright.engine import Chunks

T = TypeVar("T")

OPENING_SECONDS = 5.0
"""How long opening waits for other processes that open or replace the same index."""

SWEEP_SECONDS = 0.03
VACUUM_PAGES = 4096

ATTEMPTS = 4
"""How often an index may vanish or turn out damaged under one operation before it gives up."""


class Store:
    """The index and the value files of one directory; safe for threads, processes and forks.

    A store lives as long as an engine refers to it; then its connections are closed.
    """

    def __init__(self, directory: Directory, *, durable: bool) -> None:
        self.files = ValueFiles(directory, durable=durable)
        self._durable = durable
        self._local = threading.local()
        self._writers = threading.Lock()
        self._set_aside: list[str] = []

    def link(self) -> Link:
        """Return this thread's link; it is closed when the thread ends."""
        try:
            link: Link = self._local.link
        except AttributeError:
            link = Link()
            ended = _Ended()
            weakref.finalize(ended, link.close)
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
            if link.readonly:
                raise failure(operation, PermissionError(30, "the store is read-only"))
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
        path, identity = link.path, link.identity
        link.close()
        if attempt >= ATTEMPTS or not (moved or is_damage(error)):
            raise failure(operation, error) from error
        if not moved:
            self._replace(path, identity, error)

    def _replace(self, path: str, identity: tuple[int, int], error: sqlite3.Error) -> None:
        try:
            name = set_aside(self.files.directory, os.path.basename(path), identity, OPENING_SECONDS)
        except CachewrightError:
            raise
        except OSError as problem:
            raise failure("set a damaged index aside", problem, opening=True) from problem
        if name:
            self._set_aside.append(f"{path} cannot be used ({error}); it was renamed to {name} and made anew")

    def _ready(self, link: Link, deadline: float) -> sqlite3.Connection:
        """Return a connection to the index that is in place now."""
        connection = link.connection
        if connection is not None:
            link.check_process()
            if link.writing or time.monotonic() < link.recheck:
                return connection
            if link.in_place() and not link.readonly:
                return connection
            link.close()
        try:
            link.open(lambda: self._open(max(deadline, time.monotonic() + OPENING_SECONDS)))
        except CachewrightError:  # some of them are OSErrors too
            raise
        except (OSError, sqlite3.Error) as error:
            raise failure("open the store", error, opening=True) from error
        while self._set_aside:
            warnings.warn(self._set_aside.pop(), StoreQuarantinedWarning, stacklevel=2)
        if link.connection is None:
            raise unusable("open the store", "it was closed at once")
        return link.connection

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
                connection, readonly = attach(directory, name, status, durable=self._durable)
            except (sqlite3.Error, UnicodeDecodeError) as raised:
                error = readable(raised)
                problem = str(error)  # kept alive, the error would keep this frame and the store alive
                if is_busy(error):
                    pause(attempt)
                elif is_damage(error):
                    damaged += 1
                    self._replace(path, identity, error)
                else:
                    raise
                del error
                continue
            if directory.check_file(name) is not None:
                return connection, path, identity, readonly
            connection.close()
        raise EngineUnavailableError(ENGINE, "open the store", problem)

    def _current_directory(self) -> Directory:
        """Return the directory, made again if somebody removed it."""
        directory = self.files.directory
        if not directory.in_place():
            directory = open_directory(Path(directory.path), trusted=directory.trusted)
            self.files = ValueFiles(directory, durable=self._durable)
        return directory

    def _create(self, directory: Directory) -> str:
        with directory.exclusive(OPENING_SECONDS):
            return find_index(directory) or create_index(directory, durable=self._durable)


class _Ended:
    """Dies with its thread; what a thread-local refers to is the only thing that does."""

    __slots__ = ("__weakref__",)


_stores: weakref.WeakValueDictionary[tuple[str, bool, bool], Store] = weakref.WeakValueDictionary()
"""The open stores of this process, by real path and settings."""


def open_store(path: Path, *, trusted: bool, durable: bool) -> Store:
    """Return the store of a directory, opened; the same one for every way to write its path.

    Raises:
        UntrustedStoreError, ConfigurationError, EngineUnavailableError: see :func:`open_directory`.
    """
    with gate():
        directory = open_directory(path, trusted=trusted)
        key = (directory.path, trusted, durable)
        store = _stores.get(key)
        if store is not None:
            return store
        store = Store(directory, durable=durable)
        link = store.link()
        with link.lock:
            store.read(link, "open the store", lambda _connection: None, OPENING_SECONDS)
            _tidy(store, link)
        _stores[key] = store
        return store


def _tidy(store: Store, link: Link) -> None:
    if link.connection is None or link.readonly:
        return
    try:
        sweep(link.connection, store.files, SWEEP_SECONDS)
    except (OSError, sqlite3.Error, UnicodeDecodeError):
        return  # a directory that cannot be tidied now can still be used


def _row(connection: sqlite3.Connection, row: int) -> tuple[object, ...] | None:
    found: tuple[object, ...] | None = connection.execute(READ, (row,)).fetchone()
    return found

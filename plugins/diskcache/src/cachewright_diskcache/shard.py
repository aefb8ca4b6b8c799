"""A shard is one database of a store, open or not, used by one thread at a time.

SQLite keeps the locks of a file in a table of the process, which a child inherits although it holds none:
every database is closed before a fork and opens again on its next use, in the parent and in the child.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from cachewright.directory import open_store_directory
from cachewright.errors import CachewrightError, EngineError, EngineUnavailableError, StoreQuarantinedWarning
from cachewright_diskcache.cache import FIND, BytesCache, is_live
from cachewright_diskcache.failure import DamagedStoreError, failure, is_damage, is_unopened, readable
from cachewright_diskcache.place import FILES, Place

if TYPE_CHECKING:
    from cachewright_diskcache.cache import Fields
    from cachewright_diskcache.disk import BytesDisk, Chunks
    from cachewright_diskcache.options import Options

T = TypeVar("T")

Work: TypeAlias = "Callable[..., T]"
"""What is done with an open database; it may be done again from the start."""

RECHECK_SECONDS: Final = 0.1
"""How long reads go on without looking whether the database was replaced."""

_ATTEMPTS = 3


class Shard:
    """The database of one directory.

    Attributes:
        disk: reads and writes its value files; there once the database was open.
    """

    __slots__ = (
        "__weakref__", "_cache", "_engine", "_identity", "_inherited", "_lock", "_notices", "_options",
        "_path", "_place", "_recheck", "_user", "disk",
    )  # fmt: skip

    def __init__(self, engine: str, options: Options, path: Path) -> None:
        self._engine = engine
        self._options = options
        self._path = path
        self._lock = threading.Lock()
        self._user = 0
        self._cache: BytesCache | None = None
        self._place: Place | None = None
        self._identity = (0, 0)
        self._recheck = 0.0
        self._inherited = False
        self._notices: list[str] = []
        self.disk: BytesDisk

    def __del__(self) -> None:
        cache = getattr(self, "_cache", None)
        if cache is not None:
            cache.close()

    def run(self, operation: str, work: Work[T], *arguments: Any, writing: bool = False) -> T:
        """Return what ``work`` returns for the database and ``arguments``; nobody else uses it meanwhile.

        Raises:
            EngineError: it does not work, or others did not let go of it in time.
        """
        me = get_ident()
        if self._user == me:
            raise EngineError(self._engine, operation, "this thread is in the middle of another operation")
        if not self._lock.acquire(timeout=self._options.timeout):
            raise EngineError(
                self._engine, operation, "other threads kept the store locked", hint="raise timeout="
            )
        self._user = me
        try:
            cache = self._cache
            if cache is None or writing or monotonic() >= self._recheck:
                cache = self._attached(operation)
            try:
                return work(cache, *arguments)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                return self._again(operation, partial(_applied, work, arguments), error)
        except OSError as error:
            if isinstance(error, CachewrightError):
                raise
            raise failure(self._engine, operation, error) from error
        finally:
            self._user = 0
            self._lock.release()
            if self._notices:
                self._warn()

    def find(self, key: bytes, wall: Callable[[], float]) -> tuple[Any, ...] | None:
        """Return what :meth:`BytesCache.find` does, fast where nothing is in the way.

        Raises:
            EngineError: see :meth:`run`.
        """
        if self._lock.acquire(False):  # noqa: FBT003 - by keyword it takes longer
            self._user = get_ident()
            try:
                cache = self._cache
                if cache is not None and cache.find_fast is not None and monotonic() < self._recheck:
                    row: tuple[Any, ...] | None = cache.find_fast(FIND, (key,)).fetchone()
                    return row if row is None or row[3] is None or is_live(row[3], wall()) else None
            except (sqlite3.Error, UnicodeDecodeError):
                pass  # the other way finds out what to do about it
            finally:
                self._user = 0
                self._lock.release()
        return self.run("get", BytesCache.find, key, wall())

    def prepare(self, operation: str, value: Chunks) -> Fields:
        """Return the fields of a row for a value, its file written while others use the database.

        Raises:
            EngineError: that is not possible; nothing was left behind.
        """
        if self._cache is None:
            self.run(operation, _nothing)
        try:
            return self.disk.store(value, False)  # noqa: FBT003 - the library's own parameter
        except FileNotFoundError:  # the directory was removed
            self.run(operation, _nothing, writing=True)
        except OSError as error:
            raise failure(self._engine, operation, error) from error
        try:
            return self.disk.store(value, False)  # noqa: FBT003 - the library's own parameter
        except OSError as error:
            raise failure(self._engine, operation, error) from error

    def close(self) -> None:
        """Close the database until it is used again."""
        if self._user == get_ident():
            return
        with self._lock:
            self._suspend()

    def hold(self, deadline: float) -> bool:
        """Close the database and keep every thread from it; False if one did not let go of it in time."""
        if self._user == get_ident():
            return False
        if not self._lock.acquire(timeout=max(0.0, deadline - monotonic())):
            return False
        self._suspend()
        return True

    def let_go(self) -> None:
        """End :meth:`hold`."""
        self._lock.release()

    def start_afresh(self) -> sqlite3.Connection | None:
        """Take over the database in a child process, where the lock of another thread is never released.

        Returns:
            The connection, if the parent was using it: to be kept, for closing it could harm the parent.
        """
        self._lock = threading.Lock()
        self._user = 0
        cache, self._cache = self._cache, None
        connection = cache.disown() if cache is not None else None
        self._inherited = connection is not None
        return connection

    def _suspend(self) -> None:
        cache, self._cache = self._cache, None
        if cache is not None:
            cache.close()

    def _warn(self) -> None:
        while self._notices:
            warnings.warn(self._notices.pop(), StoreQuarantinedWarning, stacklevel=4)

    def _again(self, operation: str, work: Work[T], error: sqlite3.Error | UnicodeDecodeError) -> T:
        """Do ``work`` once more if what went wrong can be put right."""
        problem = readable(error)
        for _ in range(_ATTEMPTS):
            place = self._place
            if place is None:
                break
            if is_damage(problem):
                self._suspend()
                self._set_aside(operation, place, problem)
            elif not is_unopened(problem) or self._in_place(place):
                break
            try:
                return work(self._attached(operation))
            except (sqlite3.Error, UnicodeDecodeError) as another:
                problem = readable(another)
        raise failure(self._engine, operation, problem) from problem

    def _attached(self, operation: str) -> BytesCache:
        """Return the database that the path leads to now."""
        if self._inherited:
            raise EngineUnavailableError(
                self._engine,
                f"{operation} in a forked process",
                "its parent was in the middle of an operation",
                hint="start worker processes before the cache is used, or with the spawn method",
            )
        cache, place = self._cache, self._place
        if cache is not None and place is not None and self._in_place(place):
            self._recheck = monotonic() + RECHECK_SECONDS
            return cache
        self._suspend()
        try:
            return self._opened(operation)
        except CachewrightError:  # some of them are OSErrors too
            raise
        except (sqlite3.Error, OSError) as error:
            raise failure(self._engine, operation, error, opening=True) from error

    def _in_place(self, place: Place) -> bool:
        """Whether the path still leads to the database that is open."""
        return place.directory.in_place() and place.identity() == self._identity

    def _opened(self, operation: str) -> BytesCache:
        options = self._options
        directory = open_store_directory(self._path, engine=self._engine, trusted=options.trust_directory)
        place = self._place = Place(directory)
        if not os.access(directory.path, os.W_OK):
            wal = directory.check_file(FILES[1])
            mode = "ro" if wal is not None and wal.st_size else "immutable"
            return self._use(place, mode)
        with place.exclusive(options.timeout):
            place.prepare()
            try:
                if not place.is_regular():
                    raise DamagedStoreError("it is not a regular file")
                return self._use(place, "rw")
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._rename(operation, place, error)
            place.prepare()
            return self._use(place, "rw")

    def _use(self, place: Place, mode: str) -> BytesCache:
        directory = place.directory
        cache = BytesCache(directory.path, self._options.timeout, self._options.settings(), mode=mode)
        cache.disk.mapping = directory.private
        cache.disk.durable = self._options.durable
        self._cache, self.disk = cache, cache.disk
        self._identity = place.identity()
        self._recheck = monotonic() + RECHECK_SECONDS
        return cache

    def _set_aside(self, operation: str, place: Place, error: sqlite3.Error) -> None:
        try:
            with place.exclusive(self._options.timeout):
                if place.identity() == self._identity:
                    self._rename(operation, place, error)
        except CachewrightError:
            raise
        except OSError as problem:
            raise self._stuck(operation, place, error) from problem

    def _rename(self, operation: str, place: Place, error: sqlite3.Error) -> None:
        try:
            name = place.set_aside()
        except OSError as problem:
            raise self._stuck(operation, place, error) from problem
        self._notices.append(
            f"{place.database} was damaged ({error}); it is in {name} now, and a new one was made"
        )

    def _stuck(self, operation: str, place: Place, error: sqlite3.Error) -> EngineUnavailableError:
        return EngineUnavailableError(
            self._engine, operation, f"{place.database} is damaged ({error}) and cannot be renamed",
            hint="remove it, or give another path=",
        )  # fmt: skip


def _applied(work: Work[T], arguments: tuple[Any, ...], cache: BytesCache) -> T:
    return work(cache, *arguments)


def _nothing(_cache: BytesCache) -> None:
    """Open the database, and do nothing with it."""

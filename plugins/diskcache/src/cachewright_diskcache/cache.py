"""A cache is a diskcache ``Cache`` with one connection, for bytes alone, whose clock is ours.

The layout is diskcache's own, so that its tools work on the directory. What differs from its ``Cache``:
opening an unchanged store writes nothing, errors are not mistaken for locks, a fork finds no open connection.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

from cachewright_diskcache.disk import BytesDisk
from cachewright_diskcache.failure import DamagedStoreError
from cachewright_diskcache.library import DBNAME, DEFAULT_SETTINGS, METADATA, Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

Fields: TypeAlias = "tuple[int, int, str | None, object]"
"""Size, mode, file name and value, as a :class:`BytesDisk` makes them."""

_UNUSED: Final = frozenset({"none", "least-recently-stored"})
"""Policies that do not ask when an entry was read."""

_MODES: Final = {"rw": "mode=rw", "ro": "mode=ro", "immutable": "immutable=1"}
FIND: Final = "SELECT mode, filename, value, expire_time, rowid FROM Cache WHERE key = ? AND raw = 1"
_OLD = "SELECT rowid, filename, expire_time FROM Cache WHERE key = ? AND raw = 1"
_DELETE = "DELETE FROM Cache WHERE rowid = ?"
_KEYS = "SELECT key FROM Cache WHERE tag = ? AND raw = 1 AND (expire_time IS NULL OR expire_time > ?)"
_COUNT = "SELECT COUNT(*) FROM Cache WHERE tag = ? AND raw = 1 AND (expire_time IS NULL OR expire_time > ?)"
_TAGGED = "SELECT rowid, filename FROM Cache WHERE tag = ? LIMIT ?"
_USED = "UPDATE Cache SET access_time = ? WHERE rowid = ?"
_COUNTED = "UPDATE Cache SET access_count = access_count + 1 WHERE rowid = ?"

TOGETHER: Final = 256
"""Entries that ``clear`` removes in one transaction."""


class BytesCache(Cache):  # type: ignore[misc]  # the library has no types
    """One database. Its methods are called by one thread at a time.

    Attributes:
        owner: the thread that is in a transaction, 0 for none.
        find_fast: executes :data:`FIND`; ``None`` where a read has to be recorded or nothing is open.
    """

    _disk: BytesDisk
    _page_size: int
    eviction_policy: str

    def __init__(
        self, directory: str, timeout: float, settings: Mapping[str, int | str], *, mode: str = "rw"
    ) -> None:
        self._connection: sqlite3.Connection | None = None
        self._address = f"file:{quote(directory)}/{DBNAME}?{_MODES[mode]}"
        self._settings = dict(settings)
        self._timeout = timeout
        self._doomed: list[object] = []
        self.owner = 0
        self.find_fast: Callable[..., sqlite3.Cursor] | None = None
        try:
            self._open(directory, settings, changing=mode == "rw")
        except BaseException:
            self.close()
            raise

    @property
    def _con(self) -> sqlite3.Connection:
        """The one connection; it is used and closed by whichever thread has its turn."""
        connection = self._connection
        if connection is None:
            connection = sqlite3.connect(
                self._address, timeout=self._timeout, isolation_level=None, check_same_thread=False, uri=True
            )
            try:
                connection.execute(f"PRAGMA synchronous = {int(self._settings['sqlite_synchronous'])}")
                connection.execute(f"PRAGMA cache_size = {DEFAULT_SETTINGS['sqlite_cache_size']}")
                connection.execute("PRAGMA mmap_size = 0")
                connection.execute("PRAGMA trusted_schema = OFF")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            if getattr(self, "eviction_policy", "") in _UNUSED:
                self.find_fast = connection.cursor().execute
        return connection

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        connection, self._connection = self._connection, None
        self.find_fast = None
        if connection is not None:
            connection.close()

    def disown(self) -> sqlite3.Connection | None:
        """Forget an inherited connection and return it, to be kept: closing it could harm the parent."""
        connection, self._connection = self._connection, None
        self.find_fast = None
        self.owner = 0
        return connection

    def find(self, key: bytes, now: float) -> tuple[Any, ...] | None:
        """Return mode, file name, value, deadline and row id of an entry that has not expired."""
        row: tuple[Any, ...] | None = self._con.execute(FIND, (key,)).fetchone()
        if row is None or not is_live(row[3], now):
            return None
        if self.eviction_policy not in _UNUSED:
            self._use(row[4], now)
        return row

    def put(self, key: bytes, fields: Fields, expires: float | None, tag: str, now: float) -> None:
        """Store a row inside a transaction, and evict what diskcache's policy wants to go."""
        with self._transact() as (sql, cleanup):
            columns = (expires, tag, *fields)
            old = sql(_OLD, (key,)).fetchone()
            if old is None:
                self._row_insert(key, True, now, columns)  # noqa: FBT003 - the library's own parameter
            else:
                cleanup(old[1])
                self._row_update(old[0], now, columns)
            try:
                self._cull(now, sql, cleanup)
            except (TypeError, ValueError) as error:  # what it makes of settings that are missing
                raise DamagedStoreError("its settings are not those of diskcache") from error

    def drop(self, key: bytes, now: float) -> bool:
        """Remove a row inside a transaction; return whether there was one that had not expired."""
        with self._transact() as (sql, cleanup):
            old = sql(_OLD, (key,)).fetchone()
            if old is None:
                return False
            sql(_DELETE, (old[0],))
            cleanup(old[1])
            return is_live(old[2], now)

    def drop_all(self, keys: list[bytes], now: float) -> int:
        """Remove rows in one transaction; return how many had not expired."""
        with self._transact():
            return sum([self.drop(key, now) for key in keys])

    def tagged(self, tag: str, now: float) -> list[object]:
        """Return the keys with a tag that have not expired."""
        return [key for (key,) in self._con.execute(_KEYS, (tag, now)).fetchall()]

    def count_tagged(self, tag: str, now: float) -> int:
        """Return how many keys with a tag have not expired."""
        return int(self._con.execute(_COUNT, (tag, now)).fetchone()[0])

    def drop_tagged(self, tag: str, limit: int) -> int:
        """Remove up to ``limit`` rows with a tag; -1 for all. Return how many there were."""
        with self._transact() as (sql, cleanup):
            rows = sql(_TAGGED, (tag, limit)).fetchall()
            for rowid, filename in rows:
                sql(_DELETE, (rowid,))
                cleanup(filename)
        return len(rows)

    @contextmanager
    def _transact(
        self,
        retry: bool = False,  # noqa: FBT001, FBT002 - the library's own parameter
        filename: str | None = None,
    ) -> Generator[tuple[Callable[..., Any], Callable[[object], None]]]:
        """Make what is done inside one transaction, or part of the one that is under way."""
        connection = self._con
        if self.owner:
            yield connection.execute, self._doomed.append
            return
        self._doomed = []
        self.owner = threading.get_ident()
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection.execute, self._doomed.append
            connection.execute("COMMIT")
        except BaseException:
            self._roll_back(connection)
            raise
        finally:
            self.owner = 0
        for name in self._doomed:
            if name is not None:
                self._disk.remove(name)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def _use(self, rowid: object, now: float) -> None:
        try:
            with self._transact() as (sql, _):
                if self.eviction_policy == "least-recently-used":
                    sql(_USED, (now, rowid))
                else:
                    sql(_COUNTED, (rowid,))
        except sqlite3.OperationalError:
            if self.owner:
                raise
            # the entry was read; on a disk that is full or read-only, what is lost is a little recency

    def _open(self, directory: str, settings: Mapping[str, int | str], *, changing: bool) -> None:
        current = _settings_of(self._con)
        complete = {*DEFAULT_SETTINGS, *METADATA} <= current.keys()
        if complete and (not changing or current == {**current, **settings}):
            self._adopt(directory, current)
            return
        try:
            # the library would wait for a minute if others keep the database locked
            self._con.execute("BEGIN IMMEDIATE")
            self._con.execute("ROLLBACK")
            self.close()
            Cache.__init__(self, directory, timeout=self._timeout, disk=BytesDisk, **settings)
        except sqlite3.OperationalError:
            if not complete:
                raise
            self._adopt(directory, current)  # a full disk: with the settings that it has

    def _adopt(self, directory: str, current: Mapping[str, Any]) -> None:
        """Use a database as it is, where the library would write to it."""
        self._directory = directory
        self._local = threading.local()
        self._txn_id = None
        self._disk = BytesDisk(directory, int(current["disk_min_file_size"]))
        for name, value in current.items():
            setattr(self, name, value)
        self._page_size = self._con.execute("PRAGMA page_size").fetchone()[0]
        if self.eviction_policy in _UNUSED:
            self.find_fast = self._con.cursor().execute


def is_live(deadline: object, now: float) -> bool:
    """Whether a row with that deadline has not expired; one that is no number has."""
    return deadline is None or (isinstance(deadline, (int, float)) and deadline > now)


def _settings_of(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return the settings in a database, empty for a new one.

    Raises:
        DamagedStoreError: they are not diskcache's: it would use them as names and as text in statements.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "Settings" not in tables or "Cache" not in tables:
        return {}
    known = {**DEFAULT_SETTINGS, **METADATA}
    current: dict[str, Any] = {}
    for name, value in connection.execute("SELECT key, value FROM Settings"):
        if name not in known or type(value) is not type(known[name]):
            if type(value) is float and type(known.get(name)) is int:  # a shard's part of a limit
                value = int(value)  # noqa: PLW2901 - the same number
            else:
                raise DamagedStoreError("its settings are not those of diskcache")
        if type(value) is str and value not in _TEXTS:
            raise DamagedStoreError("its settings are not those of diskcache")
        current[name] = value
    return current


_TEXTS = frozenset({
    "least-recently-stored", "least-recently-used", "least-frequently-used", "none",
    "wal", "delete", "truncate", "persist",
})  # fmt: skip

"""The klepto-sqltable engine keeps the entries of a namespace in a table, as klepto's SQL archive does."""

# ruff: noqa: PTH108, PTH118 - only os functions take flags and descriptors

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cachewright.entry import MISSING, MissingType
from cachewright.errors import EngineError
from cachewright_klepto.archive_engine import ArchiveEngine, Changes
from cachewright_klepto.library import sqltable_archive
from cachewright_klepto.space import Space, is_file
from cachewright_klepto.text import decoded, encoded, is_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cachewright.engine import EngineConfig

T = TypeVar("T")

FILE: Final = "entries.db"
TABLE: Final = "entries"

_PREPARE: Final = (
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    "PRAGMA mmap_size=0",
    "PRAGMA synchronous=OFF",
    # klepto's own statement, made safe for processes that open the file at the same time
    f'CREATE TABLE IF NOT EXISTS {TABLE} ("Kkey" VARCHAR(255) NOT NULL, "Kval" TEXT, PRIMARY KEY ("Kkey"))',
)

_FEW: Final = 50
"""Keys up to which asking for each costs less than listing all."""

_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_CONSTRAINT,
    }
)
"""What SQLite says of a file that was not written here; the statements are klepto's, and right."""

_abandoned: Final[list[Any]] = []
"""Archives that a child inherited in mid-write: closing one there would roll its parent's write back."""


class KleptoSqltableEngine(ArchiveEngine):
    """Two text columns in an SQLite file, written and read by klepto through SQLAlchemy.

    klepto's own way, a column of pickles, is not used. A file that SQLite cannot read is set aside with a
    warning by the next write.
    """

    name: ClassVar[str] = "klepto-sqltable"
    kind: ClassVar[str] = "sqltable-v1"
    reads_alone: ClassVar[bool] = True

    def __init__(self, config: EngineConfig) -> None:
        self._archive: Any = None
        self._timeout = config.timeout
        super().__init__(config)
        self._file = os.path.join(self._space.path, FILE)

    def fetch(self, space: Space, key: str) -> bytes | MissingType:
        """Return the decoded text of the row."""
        with self._asking("get"):
            archive = self._opened_archive(space)
            try:
                text = archive[key]
            except KeyError:
                return MISSING
        return decoded(text) if isinstance(text, str) else MISSING

    def fetch_many(self, space: Space, keys: list[str]) -> dict[str, Any]:
        """Return the decoded texts of the rows, having asked klepto first which of many there are."""
        if len(keys) > _FEW:
            there = set(self.listed(space))
            keys = [key for key in keys if key in there]
        return super().fetch_many(space, keys)

    def apply(self, space: Space, changes: Changes) -> None:
        """Have klepto insert, update and delete row by row; it commits each."""
        removed = [key for key, blob in changes.items() if blob is MISSING]
        there = set(self.listed(space)) if len(removed) > _FEW else set(removed)

        def work(archive: Any) -> None:
            for key, blob in changes.items():
                if blob is MISSING:
                    if key in there:
                        archive.pop(key, None)
                else:
                    archive[key] = encoded(blob)

        if changes:
            self._change(space, "write", work)

    def wipe(self, space: Space) -> None:
        """Have klepto delete every row."""

        def work(archive: Any) -> None:
            archive.clear()

        self._change(space, "clear", work)

    def listed(self, space: Space) -> list[str]:
        """Return the keys of the rows."""
        with self._asking("list keys"):
            return [key for key in self._opened_archive(space) if isinstance(key, str) and is_key(key)]

    def let_go(self) -> None:
        """Close the connection: SQLite's locks do not survive a fork."""
        archive, self._archive = self._archive, None
        if archive is not None:
            with suppress(SQLAlchemyError):
                archive._conn.close()  # noqa: SLF001 - klepto has no way to close an archive
                archive._engine.dispose()  # noqa: SLF001 - as above

    def abandon(self) -> None:
        """Keep the connection of the parent's thread for ever, unused."""
        _abandoned.append(self._archive)
        self._archive = None

    def _change(self, space: Space, operation: str, work: Callable[[Any], T]) -> T:
        try:
            with self._asking(operation):
                return work(self._opened_archive(space))
        except EngineError as error:
            if not _is_damage(error.__cause__):
                raise
            space.quarantine(FILE, error.reason)
            for name in (f"{FILE}-journal", f"{FILE}-wal", f"{FILE}-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(space.path, name))  # it belongs to what was set aside
        with self._asking(operation):
            return work(self._opened_archive(space))

    @contextmanager
    def _asking(self, operation: str) -> Generator[None]:
        """Have whatever goes wrong close the connection, so that no transaction stays open."""
        try:
            yield
        except SQLAlchemyError as error:
            self.let_go()
            reason = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
            raise EngineError(self.name, operation, reason) from error
        except BaseException:
            self.let_go()
            raise

    def _opened_archive(self, space: Space) -> Any:
        archive = self._archive
        if archive is None:
            if os.path.lexists(self._file) and not is_file(self._file):
                raise EngineError(self.name, "open", f"{self._file} is no file", hint="remove it")
            archive = self._archive = sqltable_archive(TABLE, self._connect)
        return archive

    def _connect(self) -> sqlite3.Connection:
        """Return a connection that trusts nothing in the file, made 0600 where it is absent."""
        os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._file, timeout=self._timeout, check_same_thread=False)
        try:
            connection.text_factory = _text
            for statement in _PREPARE:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection


def _text(raw: bytes) -> str:
    """Return text of any bytes: what is damaged must not fail before it is looked at."""
    return raw.decode("utf-8", "replace")


def _is_damage(cause: BaseException | None) -> bool:
    if not isinstance(cause, DBAPIError):
        return False
    code = getattr(cause.orig, "sqlite_errorcode", 0)
    return code & 0xFF in _DAMAGE

"""A failure is an error of SQLite or of the file system, told apart by what can be done about it."""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import Final

from cachewright.directory import disk_failure
from cachewright.errors import EngineError, EngineUnavailableError

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DAMAGE: Final = frozenset({
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_TOOBIG,
})  # fmt: skip
_SYSTEM: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}


class DamagedStoreError(sqlite3.DatabaseError):
    """The database holds what this engine never writes; it has to be set aside."""


class RefusedRowError(sqlite3.DatabaseError):
    """A row holds something else than bytes, which is not even looked at."""


def readable(error: sqlite3.Error | UnicodeDecodeError) -> sqlite3.Error:
    """Return the error of SQLite; one whose message quotes damaged text arrives as a decoding error."""
    if isinstance(error, UnicodeDecodeError) or "Could not decode" in str(error):
        return DamagedStoreError("it holds text that is none")
    return error


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the database itself is bad; its statements are fixed, so a refused one is damage too."""
    if isinstance(error, RefusedRowError):
        return False
    return isinstance(error, DamagedStoreError) or _code(error) & 0xFF in _DAMAGE


def is_unopened(error: sqlite3.Error) -> bool:
    """Whether a file could not be opened, which may have to do with a directory that was just replaced."""
    return _code(error) & 0xFF in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR}


def failure(
    engine: str, operation: str, error: sqlite3.Error | OSError, *, opening: bool = False
) -> EngineError:
    """Return the engine error for what SQLite or the operating system reported.

    Args:
        engine: its name.
        operation: what was asked for, as in ``failed to <operation>``.
        error: the original; becomes the cause where the result is raised ``from`` it.
        opening: the store could not be opened at all.
    """
    if isinstance(error, OSError):
        return disk_failure(engine, operation, error, opening=opening)
    code = _code(error)
    number = errno.ENOSPC if code == sqlite3.SQLITE_IOERR_SHMSIZE else _SYSTEM.get(code & 0xFF)
    if number is not None:
        return disk_failure(engine, operation, OSError(number, os.strerror(number)), opening=opening)
    cls = EngineUnavailableError if opening else EngineError
    if code & 0xFF in _BUSY:
        return cls(engine, operation, "other processes kept the store locked", hint="raise timeout=")
    hint = "check that this user can read and write the directory" if is_unopened(error) else ""
    return cls(engine, operation, str(error), hint=hint)


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's extended result code, 0 where the error did not come from the library."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code

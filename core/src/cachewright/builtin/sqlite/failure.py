"""A failure is an error of SQLite or of the file system, told apart by what can be done about it."""

from __future__ import annotations

import sqlite3

from cachewright import directory
from cachewright.errors import EngineError, EngineUnavailableError

ENGINE = "sqlite"

_HINTS = {
    "full": "free some space on that disk, or give path= on another one",
    "denied": "make the directory writable for this user, or give another path=",
    "busy": "other processes kept the store locked; try again, or raise timeout=",
    "open": "check that the directory and the files in it can be read and written by this user",
}

_HINT_OF_CODE = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "denied",
    sqlite3.SQLITE_PERM: "denied",
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_PROTOCOL: "busy",
    sqlite3.SQLITE_CANTOPEN: "open",
}

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT,
                     sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_ERROR,
                     sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_TOOBIG})  # fmt: skip

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


class DamagedIndexError(sqlite3.DatabaseError):
    """The index holds what this engine never writes; it has to be set aside."""


def readable(error: sqlite3.Error | UnicodeDecodeError) -> sqlite3.Error:
    """Return the error of SQLite; one whose message quotes damaged text arrives as a decoding error."""
    if isinstance(error, UnicodeDecodeError):
        return DamagedIndexError("it holds text that is none")
    return error


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 where the error did not come from the library."""
    return code_of(error) & 0xFF


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's extended result code, 0 where the error did not come from the library."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the index itself is bad; its statements are fixed, so a refused one is damage too."""
    return isinstance(error, DamagedIndexError) or primary_code(error) in _DAMAGE


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds a lock, so that trying again makes sense."""
    return primary_code(error) in _BUSY


def is_full(error: OSError | sqlite3.Error) -> bool:
    """Whether the disk has no room; SQLite does not always say so where it makes a file larger."""
    if isinstance(error, OSError):
        return directory.is_full(error)
    return primary_code(error) == sqlite3.SQLITE_FULL or code_of(error) == sqlite3.SQLITE_IOERR_SHMSIZE


def is_stale(error: sqlite3.Error) -> bool:
    """Whether the connection, not the index, is at fault: closed, or its file was moved away."""
    moved = code_of(error) == sqlite3.SQLITE_READONLY_DBMOVED
    return moved or isinstance(error, sqlite3.ProgrammingError)


def failure(operation: str, error: Exception, *, opening: bool = False) -> EngineError:
    """Return the engine error for what SQLite or the operating system reported.

    Args:
        operation: what was asked for, as in ``failed to <operation>``.
        error: the original; becomes the cause where the result is raised ``from`` it.
        opening: the store could not be opened at all.
    """
    if isinstance(error, OSError):
        return directory.disk_failure(ENGINE, operation, error, opening=opening)
    kind = _HINT_OF_CODE.get(primary_code(error), "") if isinstance(error, sqlite3.Error) else ""
    cls = EngineUnavailableError if opening else EngineError
    return cls(ENGINE, operation, str(error), hint=_HINTS.get(kind, ""))

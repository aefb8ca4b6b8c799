"""An attachment is a checked connection to an index, for writing where that is possible."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from typing import TYPE_CHECKING

from cachewright.builtin.sqlite.failure import DamagedIndexError, primary_code
from cachewright.builtin.sqlite.quarantine import SIDE_FILES
from cachewright.builtin.sqlite.schema import connect, prepare

if TYPE_CHECKING:
    from cachewright.builtin.sqlite.directory import Directory

_UNWRITABLE = frozenset({
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
})  # fmt: skip


def attach(
    directory: Directory, name: str, status: os.stat_result, *, durable: bool
) -> tuple[sqlite3.Connection, bool]:
    """Return a connection to the index ``name`` and whether it is read-only.

    Raises:
        DamagedIndexError: it is no index of this format.
        UntrustedStoreError: one of its files could be somebody else's.
        sqlite3.Error: it cannot be opened.
    """
    sides = [directory.check_file(name + suffix) for suffix in SIDE_FILES]
    if not all(stat.S_ISREG(side.st_mode) for side in (status, *sides) if side is not None):
        raise DamagedIndexError("it is not a regular file")
    path = os.path.join(directory.path, name)
    readonly = not os.access(path, os.W_OK)
    try:
        return _prepared(path, "ro" if readonly else "rw", durable=durable), readonly
    except sqlite3.Error as error:
        pending = sides[0] is not None and sides[0].st_size > 0
        if pending or primary_code(error) not in _UNWRITABLE:
            raise
        # no room or no right to make the files that sharing needs, hence nobody shares it
        return _prepared(path, "immutable", durable=durable), True


def _prepared(path: str, mode: str, *, durable: bool) -> sqlite3.Connection:
    connection = connect(path, mode)
    try:
        prepare(connection, mode, durable=durable)
    except BaseException:
        connection.close()
        raise
    return connection


def pause(attempt: int) -> None:
    """Wait a little longer each time, by chance, so that waiting processes do not march in step."""
    longest = min(0.01, 0.0002 * (attempt + 1))
    time.sleep(longest * (0.5 + os.urandom(1)[0] / 512))

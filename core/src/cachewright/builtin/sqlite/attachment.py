"""An attachment is a checked connection to an index, for writing where that is possible.

Where the disk has no room for an index an empty one in memory stands in for it: every look-up is a miss,
and every write an error that says why, until there is room.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from typing import TYPE_CHECKING

from cachewright.builtin.sqlite.failure import DamagedIndexError, is_full, primary_code
from cachewright.builtin.sqlite.schema import SIDE_FILES, connect, create_tables, prepare

if TYPE_CHECKING:
    from cachewright.builtin.sqlite.connection import Opened
    from cachewright.directory import StoreDirectory

_UNWRITABLE = frozenset({
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
})  # fmt: skip


def attach(directory: StoreDirectory, name: str, status: os.stat_result, *, durable: bool) -> Opened:
    """Return a connection to the index ``name``, whose status is given.

    Raises:
        DamagedIndexError: it is no index of this format.
        UntrustedStoreError: one of its files could be somebody else's.
        sqlite3.Error: it cannot be opened.
    """
    sides = [directory.check_file(name + suffix) for suffix in SIDE_FILES]
    if not all(stat.S_ISREG(side.st_mode) for side in (status, *sides) if side is not None):
        raise DamagedIndexError("it is not a regular file")
    path = os.path.join(directory.path, name)
    identity = (status.st_dev, status.st_ino)
    refusal = 0 if os.access(path, os.W_OK) else errno.EROFS
    try:
        return _prepared(path, "ro" if refusal else "rw", durable=durable), path, identity, refusal
    except sqlite3.Error as error:
        pending = sides[0] is not None and sides[0].st_size > 0
        if pending or primary_code(error) not in _UNWRITABLE:
            raise
        refusal = errno.ENOSPC if is_full(error) else errno.EROFS
        if refusal == errno.EROFS and os.access(directory.path, os.W_OK):
            raise  # it passes; others may be writing meanwhile, whom an immutable connection would not see
        # no room or no right to make the files that sharing needs, hence nobody shares it
        return _prepared(path, "immutable", durable=durable), path, identity, refusal


def stand_in(directory: StoreDirectory, refusal: int) -> Opened:
    """Return a connection to an empty index in memory, for while there can be none in the directory.

    Args:
        directory: of the store.
        refusal: error number that says why.
    """
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes
    create_tables(connection)
    return connection, directory.path, directory.identity, refusal


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

"""The index is an SQLite file with one row per entry; this is its layout, format 1.

The name of the file holds the format and a random part. The format, so that another format makes
its own file beside this one instead of destroying it; the random part, because SQLite removes
``-wal`` and ``-shm`` by name when a file is closed: a process that still has a replaced index open
must not remove those of its successor.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from cachewright._owner import owner_mark
from cachewright.builtin.sqlite.failure import DamagedIndexError
from cachewright.directory import CREATE_FLAGS, StoreDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable

APPLICATION_ID = 0x43575231
FORMAT = 1

INDEX_NAME = re.compile(r"index-v1-[0-9a-f]{8}\.sqlite3")
DRAFT_NAME = re.compile(r"draft-v1-(?P<mark>[0-9a-f]{8}-[0-9a-f]+)-[0-9a-f]{8}\.sqlite3(-wal|-shm|-journal)?")

_TABLES = (
    "CREATE TABLE spaces (id INTEGER PRIMARY KEY, name BLOB NOT NULL, entries INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, clock INTEGER NOT NULL)",
    "CREATE TABLE entries (id INTEGER PRIMARY KEY, space INTEGER NOT NULL, key BLOB NOT NULL,"
    " size INTEGER NOT NULL, expires INTEGER, rank INTEGER NOT NULL, file BLOB, body BLOB)",
    "CREATE INDEX by_rank ON entries (space, rank)",
    "CREATE INDEX by_expiry ON entries (space, expires) WHERE expires IS NOT NULL",
)
"""spaces: one row per namespace, ``clock`` counts its writes and uses. entries: ``id`` is a digest of
namespace and key, ``size`` what the caller counts it as, ``expires`` wall-clock microseconds, ``rank``
the clock at its last storing or use, and either ``file`` (a name in the values directory) or ``body``."""

SIDE_FILES = ("-wal", "-shm", "-journal")
"""Suffixes of what SQLite keeps beside an index; they move along with it and are never removed alone."""

CACHED_STATEMENTS = 64

PAGE_SIZE = 1024
"""Of a new index. A small write touches six pages and copies each of them whole into the WAL: with pages
of 4096 bytes a set takes half as long again, while reading a value of 10 KB gains a microsecond."""


def find_index(directory: StoreDirectory) -> str | None:
    """Return the name of the index, ``None`` where there is none yet."""
    names = sorted(filter(INDEX_NAME.fullmatch, os.listdir(directory.descriptor)))
    return names[0] if names else None


def create_index(directory: StoreDirectory, *, durable: bool) -> str:
    """Make an empty index and return its name; it appears complete or not at all.

    The caller holds the directory's lock, so that whatever drafts there are belong to nobody any more.
    """
    present = os.listdir(directory.descriptor)
    _remove(filter(DRAFT_NAME.fullmatch, present), directory)
    draft = f"draft-v1-{owner_mark()}-{os.urandom(4).hex()}.sqlite3"
    name = f"index-v1-{os.urandom(4).hex()}.sqlite3"
    descriptor = os.open(draft, CREATE_FLAGS, 0o600, dir_fd=directory.descriptor)
    try:
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        _fill(os.path.join(directory.path, draft), durable=durable)
        os.rename(draft, name, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)
    except BaseException:
        _remove([draft], directory)
        raise
    finally:
        _remove([draft + suffix for suffix in SIDE_FILES], directory)
    if durable:
        os.fsync(directory.descriptor)
    return name


def _remove(names: Iterable[str], directory: StoreDirectory) -> None:
    for name in names:
        with suppress(OSError):  # mostly it is not there; else the next index or a sweeper removes it
            os.unlink(name, dir_fd=directory.descriptor)


def connect(path: str, mode: str) -> sqlite3.Connection:
    """Open an existing SQLite file without waiting for locks: the callers do that themselves.

    Args:
        path: absolute.
        mode: ``rw``, ``ro``, or ``immutable`` for a file that nobody can write.
    """
    query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?{query}",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
    connection.text_factory = bytes  # a damaged file may hold text that is none
    return connection


def prepare(connection: sqlite3.Connection, mode: str, *, durable: bool) -> None:
    """Check that the file is an index of this format, and set the connection up.

    Raises:
        DamagedIndexError: it is something else.
        sqlite3.Error: it cannot be read.
    """
    found = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
    if found != [(APPLICATION_ID,), (FORMAT,)]:
        raise DamagedIndexError("it is not an index of this cache")
    layout = connection.execute("SELECT sql FROM sqlite_master ORDER BY rowid").fetchall()
    if layout != [(sql.encode(),) for sql in _TABLES]:
        raise DamagedIndexError("its tables are not those of an index of this cache")
    if mode != "immutable" and connection.execute("PRAGMA journal_mode").fetchone() != (b"wal",):
        raise DamagedIndexError("its journal mode was changed")
    for setting in (
        "mmap_size = 0",  # a file truncated under a map would end the process
        f"synchronous = {'FULL' if durable else 'NORMAL'}",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "secure_delete = OFF",
        "temp_store = MEMORY",
        "wal_autocheckpoint = 4000",  # each one waits for the disk
        "journal_size_limit = 4194304",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()


def _fill(path: str, *, durable: bool) -> None:
    connection = connect(path, "rw")
    try:
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        create_tables(connection)
        connection.execute("COMMIT")
        # closing would do it too, but not say whether the disk took it
        (blocked, *_), *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if blocked:
            raise sqlite3.OperationalError("the new index could not be written")
    finally:
        connection.close()


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty index."""
    for sql in _TABLES:
        connection.execute(sql)

"""A sweep removes files that no row refers to and that nobody can still be about to refer to."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from cachewright._owner import may_be_alive, owner_mark
from cachewright.builtin.sqlite.schema import DRAFT_NAME
from cachewright.builtin.sqlite.values import VALUE_NAME
from cachewright.directory import DIRECTORY_FLAGS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from cachewright.builtin.sqlite.values import ValueFiles

GRACE = 600.0
"""Seconds after which even a running process has committed the row of a file it wrote, or given up."""

_FILE_OF_ROW = "SELECT file FROM entries WHERE id = ?"


def sweep(connection: sqlite3.Connection, files: ValueFiles, seconds: float) -> None:
    """Remove stray files, for at most ``seconds``; the order is random, so that the rest has its turn.

    Raises:
        OSError, sqlite3.Error: the caller decides; nothing that is in use was removed.
    """
    deadline = time.monotonic() + seconds
    _sweep_drafts(files.directory.descriptor)
    try:
        folder = files.folder()
    except OSError:  # no large value was ever stored here
        return
    judge = _Judge()
    shards = os.listdir(folder)
    start = int.from_bytes(os.urandom(2)) % (len(shards) or 1)
    for shard in shards[start:] + shards[:start]:
        if len(shard) == 2:
            _sweep_shard(connection, files, shard, judge.is_abandoned, deadline)
        if time.monotonic() > deadline:
            return


def is_referred(connection: sqlite3.Connection, name: bytes) -> bool:
    """Whether the row that a value file was written for refers to it; no other row ever does."""
    row = int.from_bytes(bytes.fromhex(name[:16].decode()), signed=True)
    return bool(connection.execute(_FILE_OF_ROW, (row,)).fetchone() == (name,))


class _Judge:
    """Remembers which owners are dead: there are few of them and many files."""

    def __init__(self) -> None:
        self._alive = {owner_mark(): True}

    def is_abandoned(self, mark: str, modified: Callable[[], float]) -> bool:
        """Whether nobody can be about to refer to a file with this mark in its name."""
        alive = self._alive.get(mark)
        if alive is None:
            alive = self._alive[mark] = may_be_alive(mark)
        return not alive or time.time() - modified() > GRACE


def _sweep_drafts(descriptor: int) -> None:
    judge = _Judge()
    for name in os.listdir(descriptor):
        found = DRAFT_NAME.fullmatch(name)
        if found and judge.is_abandoned(found["mark"], partial(_modified, name, descriptor)):
            os.unlink(name, dir_fd=descriptor)


def _sweep_shard(
    connection: sqlite3.Connection,
    files: ValueFiles,
    shard: str,
    is_abandoned: Callable[[str, Callable[[], float]], bool],
    deadline: float,
) -> None:
    folder = os.open(shard, DIRECTORY_FLAGS, dir_fd=files.folder())
    try:
        for entry in os.listdir(folder):
            name = os.fsencode(entry)
            found = VALUE_NAME.fullmatch(name)
            abandoned = found and is_abandoned(found["mark"].decode(), partial(_modified, name, folder))
            if abandoned and not is_referred(connection, name):
                files.remove([name])
            if time.monotonic() > deadline:
                return
    finally:
        os.close(folder)


def _modified(name: str | bytes, folder: int) -> float:
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime

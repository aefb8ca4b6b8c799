"""A place is the directory of a store with its lock files, as long as the path leads there."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cachewright.directory import open_store_directory
from cachewright_lmdb.failure import ENGINE
from cachewright_lmdb.lockfile import LockFile

if TYPE_CHECKING:
    from cachewright_lmdb.options import Options

DATA: Final = "entries-v1.lmdb"
"""The file with the entries; what comes after it names a format that an older version would not read."""

LOCK: Final = f"{DATA}-lock"
"""LMDB's own lock file, named by LMDB."""

_WRITER: Final = "entries-v1.writer"
_USERS: Final = "entries-v1.users"


class Place:
    """An open directory and its two lock files.

    Attributes:
        directory: where the store is.
        read_only: nothing can be written here, so there are no lock files either.
    """

    __slots__ = ("_users", "_writer", "directory", "read_only")

    def __init__(self, options: Options) -> None:
        self.directory = open_store_directory(options.path, engine=ENGINE, trusted=options.trust_directory)
        self.read_only = not os.access(self.directory.path, os.W_OK)
        self._writer = None if self.read_only else LockFile(self.directory, _WRITER)
        self._users = None if self.read_only else LockFile(self.directory, _USERS)

    @property
    def data(self) -> str:
        """Path of the file with the entries."""
        return str(Path(self.directory.path, DATA))

    def acquire(self, deadline: float) -> bool:
        """Become the one writer; False if another process did not stop being it in time."""
        return self._writer is None or self._writer.acquire(deadline)

    def release(self) -> None:
        """Stop being the writer."""
        if self._writer is not None:
            self._writer.release()

    def enter(self) -> bool:
        """Become a user of the store, as a writer; return whether there is no other one."""
        return self._users is not None and self._users.alone()

    def stay(self) -> None:
        """Let others be users, too."""
        if self._users is not None:
            self._users.share()

    def leave(self) -> None:
        """Stop being a user."""
        if self._users is not None:
            self._users.release()

    def is_sound(self, status: os.stat_result, limit: int) -> bool:
        """Whether the file need not be checked, as far as the last user's note tells.

        It need not where it was closed in order and is unchanged since. A killed process leaves it sound;
        up to ``limit`` bytes are checked all the same. After a crash of the system it has to be checked
        whatever that takes.
        """
        note = self._users.read() if self._users is not None else b""
        if note == _closed(status):
            return True
        return status.st_size > limit and bool(_boot()) and note == _opened()

    def note_opened(self) -> None:
        """Leave a note for the case that nobody closes the store in order."""
        if self._users is not None:
            self._users.write(_opened())

    def note_closed(self) -> None:
        """Leave a note that all of the file is on the disk, as it is now."""
        status = self.directory.check_file(DATA)
        if self._users is not None and status is not None:
            self._users.write(_closed(status))


@cache
def _boot() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:  # no /proc: then nobody knows, and what was not closed in order is checked
        return b""


def _opened() -> bytes:
    return b"open " + _boot()


def _closed(status: os.stat_result) -> bytes:
    return b"closed %d %d %d" % (status.st_ino, status.st_size, status.st_mtime_ns)

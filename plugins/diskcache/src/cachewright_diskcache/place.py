"""A place is the directory of one diskcache database: its files are made private, or set aside."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cachewright.directory import create_file
from cachewright_diskcache.library import DBNAME

if TYPE_CHECKING:
    from collections.abc import Generator

    from cachewright.directory import StoreDirectory

FILES: Final = (DBNAME, f"{DBNAME}-wal", f"{DBNAME}-shm")
_LOCK = "cachewright.lock"
_ASIDE = re.compile(re.escape(DBNAME) + r"\.corrupt-[0-9TZ]+(-\d+)?")
_SHARD = re.compile(r"[0-9a-f]{2}")


class Place:
    """The directory of one database.

    Attributes:
        directory: checked and open.
        database: path of the database.
    """

    __slots__ = ("database", "directory")

    def __init__(self, directory: StoreDirectory) -> None:
        self.directory = directory
        self.database = f"{directory.path}/{DBNAME}"

    def identity(self) -> tuple[int, int]:
        """Return device and inode of the database; zeros for none."""
        try:
            status = os.stat(DBNAME, dir_fd=self.directory.descriptor, follow_symlinks=False)
        except OSError:
            return (0, 0)
        return (status.st_dev, status.st_ino)

    def prepare(self) -> None:
        """Check the files that are there, and make the database (0600), whose mode SQLite gives its others.

        Raises:
            UntrustedStoreError: one of them could be somebody else's.
            OSError: it cannot be made.
        """
        statuses = [self.directory.check_file(name) for name in FILES]
        for name, status in zip(FILES, statuses, strict=True):
            if status is not None and status.st_mode & 0o077 and stat.S_ISREG(status.st_mode):
                self._close_to_others(name)
        if statuses[0] is None:
            with suppress(FileExistsError):
                create_file(DBNAME, b"", self.directory.descriptor)

    def is_regular(self) -> bool:
        """Whether the database is a file, not a directory or a pipe."""
        status = self.directory.check_file(DBNAME)
        return status is not None and stat.S_ISREG(status.st_mode)

    @contextmanager
    def exclusive(self, timeout: float) -> Generator[None]:
        """Hold the directory against other processes that open or set aside the database.

        Raises:
            TimeoutError: one of them held it for ``timeout`` seconds.
            OSError: there is no lock to hold.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(_LOCK, flags, 0o600, dir_fd=self.directory.descriptor)
        try:
            deadline = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TimeoutError("other processes kept the store locked") from None
                time.sleep(0.001)
            yield
        finally:
            os.close(descriptor)

    def set_aside(self) -> str:
        """Move the database and the value files to ``cache.db.corrupt-<UTC time>``; return that name.

        What was set aside before is removed: it may be as large as the store.

        Raises:
            OSError: it cannot be moved.
        """
        root = Path(self.directory.path)
        present = [path.name for path in root.iterdir()]
        target = stem = f"{DBNAME}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        number = 0
        while target in present:
            number += 1
            target = f"{stem}-{number}"
        (root / target).mkdir(0o700)
        for name in present:
            if name in FILES or _SHARD.fullmatch(name):
                with suppress(FileNotFoundError):
                    (root / name).rename(root / target / name)
            elif _ASIDE.fullmatch(name):
                shutil.rmtree(root / name, ignore_errors=True)
        return target

    def _close_to_others(self, name: str) -> None:
        if self.directory.trusted:
            return
        with suppress(OSError):  # on a read-only file system it is left as it is
            os.chmod(name, 0o600, dir_fd=self.directory.descriptor)

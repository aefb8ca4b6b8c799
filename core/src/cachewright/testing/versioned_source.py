"""A versioned source is what a cached function reads: numbers that only grow, one for each key."""

from __future__ import annotations

import asyncio
import mmap
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

WORD = 8


class VersionedSource:
    """A version for each key, from 1 on, and the oldest version that a reader may still be given.

    Safe to be used by threads and, with a path, by processes that were given the same.

    Args:
        keys: how many keys: the integers from 0 on.
        path: file to share with other processes; made where absent.

    Attributes:
        keys: how many keys there are.
        loads: how many times this object was read by :meth:`load`.
    """

    def __init__(self, keys: int = 4, *, path: Path | None = None) -> None:
        self.keys = keys
        self.loads = 0
        self._lock = threading.Lock()
        self._file = -1 if path is None else os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        size = 2 * keys * WORD
        if path is not None:
            os.ftruncate(self._file, size)
        self._mapped = mmap.mmap(self._file, size)  # of no file without a path
        self._words = memoryview(self._mapped).cast("q")
        with self._alone():
            for key in range(keys):
                self._words[key] = self._words[key] or 1

    def version(self, key: int) -> int:
        """Return the version as it is now."""
        return self._words[key]

    def load(self, key: int) -> int:
        """Return the version that was read before other threads had a turn: what a cached function calls."""
        version = self._words[key]
        with self._lock:
            self.loads += 1
        time.sleep(0)
        return version

    async def async_load(self, key: int) -> int:
        """Return the version that was read before other tasks had a turn."""
        version = self._words[key]
        with self._lock:
            self.loads += 1
        await asyncio.sleep(0)
        return version

    def change(self, key: int) -> int:
        """Raise the version by one and return it."""
        with self._alone():
            self._words[key] += 1
            return self._words[key]

    def floor(self, key: int) -> int:
        """Return the version that every call that starts now has to return at the least."""
        return self._words[self.keys + key]

    def raise_floor(self, key: int, version: int) -> None:
        """Let no call that starts from now on return an older version."""
        with self._alone():
            self._words[self.keys + key] = max(self._words[self.keys + key], version)

    def close(self) -> None:
        """Release the file, if there is one; closing twice is allowed."""
        self._words.release()
        self._mapped.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @contextmanager
    def _alone(self) -> Generator[None, None, None]:
        with self._lock:
            if self._file < 0:
                yield
                return
            import fcntl  # noqa: PLC0415 - threads alone need no lock on a file, and Windows has none

            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

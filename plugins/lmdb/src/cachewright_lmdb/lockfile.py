"""A lock file is held by one process or shared by many, and goes with the process that holds it.

These locks come before LMDB's own: those are waited for without end, and do not tell who uses a store.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from cachewright.directory import StoreDirectory

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_LONGEST = 256


class LockFile:
    """An open lock file (0600); closing it, and dropping the last reference, releases the lock."""

    __slots__ = ("descriptor",)

    def __init__(self, directory: StoreDirectory, name: str) -> None:
        directory.check_file(name)
        self.descriptor = os.open(name, _FLAGS, 0o600, dir_fd=directory.descriptor)

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):  # it is closed whatever the system says, if it was opened
            os.close(self.descriptor)

    def acquire(self, deadline: float) -> bool:
        """Wait until nobody else holds it, at most to ``deadline`` on the monotonic clock."""
        attempt = 0
        while not self._flock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.monotonic() >= deadline:
                return False
            longest = min(0.002, 0.00005 * (attempt := attempt + 1))
            # by chance, so that waiting processes do not march in step
            time.sleep(longest * (0.5 + os.urandom(1)[0] / 512))
        return True

    def release(self) -> None:
        """Let others have it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def share(self) -> None:
        """Hold it together with others; whoever calls this knows that nobody holds it alone."""
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def alone(self) -> bool:
        """Whether nobody else shares it; then it is held, otherwise not any more."""
        return self._flock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def read(self) -> bytes:
        """Return the note that was left in it."""
        return os.pread(self.descriptor, _LONGEST, 0)

    def write(self, note: bytes) -> None:
        """Leave a note in it, of at most 256 bytes."""
        os.pwrite(self.descriptor, note, 0)
        os.ftruncate(self.descriptor, len(note))

    def _flock(self, operation: int) -> bool:
        try:
            fcntl.flock(self.descriptor, operation)
        except BlockingIOError:
            return False
        return True

"""The directory of this engine: a store directory with a lock for what one process does at a time."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cachewright.builtin.sqlite.failure import ENGINE, failure
from cachewright.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Generator

    from cachewright.directory import StoreDirectory

_LOCK = "index-v1.lock"


@contextmanager
def exclusive(directory: StoreDirectory, timeout: float) -> Generator[None]:
    """Hold the directory's lock against other processes; it goes with the process.

    Raises:
        EngineError: somebody else held it for ``timeout`` seconds.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(_LOCK, flags, 0o600, dir_fd=directory.descriptor)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise failure("open the store", error, opening=True) from error
            time.sleep(0.001)
        yield
    finally:
        os.close(descriptor)


def unusable(operation: str, reason: str, hint: str = "") -> EngineError:
    """Return the error for a store that cannot do ``operation``."""
    return EngineError(ENGINE, operation, reason, hint=hint)

"""A failure is an error of LMDB or of the file system, told apart by what can be done about it."""

from __future__ import annotations

import errno
import os
from typing import Final

import lmdb

from cachewright.directory import disk_failure
from cachewright.errors import EngineError, EngineUnavailableError

ENGINE: Final = "lmdb"

_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.PageFullError,
    lmdb.ProblemError,
)

_ROOM = "free some space on that disk, or give path= on another one"
_HINTS = (
    (lmdb.ReadersFullError, "too many processes have the store open; close some"),
    (lmdb.MapFullError, "the address space is used up; raise options={'map_size': ...}"),
    (lmdb.MemoryError, "there is too little address space; lower options={'map_size': ...}"),
)


class DamagedStoreError(lmdb.CorruptedError):
    """The file holds what this engine never writes; it has to be set aside."""


def is_damage(error: lmdb.Error) -> bool:
    """Whether the file itself is bad."""
    return isinstance(error, _DAMAGE)


def system_error(error: lmdb.Error) -> OSError | None:
    """Return the error of the operating system that LMDB reports, ``None`` where it is its own."""
    code = getattr(error, "code", 0)
    if isinstance(code, int) and code > 0:
        return OSError(code, os.strerror(code))
    if isinstance(error, lmdb.DiskError):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if isinstance(error, lmdb.ReadonlyError):
        return OSError(errno.EROFS, os.strerror(errno.EROFS))
    return None


def failure(operation: str, error: lmdb.Error | OSError, *, opening: bool = False) -> EngineError:
    """Return the engine error for what LMDB or the operating system reported.

    Args:
        operation: what was asked for, as in ``failed to <operation>``.
        error: the original; becomes the cause where the result is raised ``from`` it.
        opening: the store could not be opened at all.
    """
    system = error if isinstance(error, OSError) else system_error(error)
    if system is not None and system.errno == errno.EIO:  # what LMDB makes of a write that was cut short
        cls = EngineUnavailableError if opening else EngineError
        return cls(ENGINE, operation, "the disk fails or has no room left", hint=_ROOM)
    if system is not None:
        return disk_failure(ENGINE, operation, system, opening=opening)
    hint = next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
    cls = EngineUnavailableError if opening else EngineError
    return cls(ENGINE, operation, str(error), hint=hint)

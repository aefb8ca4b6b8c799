"""A mapping gives the bytes of a file that is never changed in place; large ones without reading them."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cachewright.engine import MappedBlob
from cachewright.entry import MISSING

if TYPE_CHECKING:
    from cachewright.entry import MissingType

MAPPED_FROM: Final = 49_152
"""Bytes from which a file is mapped instead of read: from here on a map costs less than a copy."""

KEPT_MAPS: Final = 64
"""Maps that stay open for the next read of the same file."""

MOST_MAPS: Final = 256
"""Maps that may be alive, in callers' hands too: each holds a descriptor before Python 3.13. Beyond it files
are read into memory."""

GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Mapping:
    """Reads files, and keeps the maps of large ones.

    Lock-free, so that a forked child never waits for a thread that it does not have: every step is one
    operation on a dict, and losing a kept map to a race costs one more ``mmap``.

    Args:
        shareable: whether maps are handed out; where others can write the files, a map could change after
            it has been verified, and a copy is handed out instead.
        trusted: whether files of other users are read.
    """

    __slots__ = ("_alive", "_kept", "_shareable", "_trusted")

    def __init__(self, *, shareable: bool, trusted: bool) -> None:
        self._shareable = shareable
        self._trusted = trusted
        self._kept: dict[str, tuple[mmap.mmap, tuple[int, ...]]] = {}
        self._alive: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def read(self, path: str) -> MappedBlob | bytes | MissingType:
        """Return the content of the file, ``MISSING`` if there is none, or if it is no file of ours.

        Raises:
            OSError: it exists and cannot be read.
        """
        try:
            kept = self._kept.get(path)
            if kept is not None and kept[1] == _identity(os.lstat(path)):
                return MappedBlob(memoryview(kept[0]), kept[1])
            file = os.open(path, _READ_FLAGS)
        except OSError as error:
            self.forget(path)
            if error.errno in GONE:
                return MISSING
            raise
        try:
            return self._content(path, file)
        finally:
            os.close(file)

    def forget(self, path: str) -> None:
        """Let go of the map of a file that is gone; who holds its content keeps it."""
        self._kept.pop(path, None)

    def close(self) -> None:
        """Let go of every map."""
        self._kept.clear()

    def _content(self, path: str, file: int) -> MappedBlob | bytes | MissingType:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or not (self._trusted or status.st_uid == os.geteuid()):
            return MISSING
        size = status.st_size
        if size < MAPPED_FROM or not self._shareable or len(self._alive) >= MOST_MAPS:
            return _read_all(file, size)
        try:
            mapped = _mapped(file, size)
        except (OSError, ValueError):  # some file systems cannot map, and address space can run out
            return _read_all(file, size)
        identity = _identity(status)
        self._alive.add(mapped)
        self._kept.pop(path, None)
        self._kept[path] = (mapped, identity)
        if len(self._kept) > KEPT_MAPS:
            with suppress(RuntimeError, StopIteration):  # another thread is doing the same
                self._kept.pop(next(iter(self._kept)), None)
        return MappedBlob(memoryview(mapped), identity)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _mapped(file: int, size: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        return mmap.mmap(file, size, prot=mmap.PROT_READ, trackfd=False)
    return mmap.mmap(file, size, prot=mmap.PROT_READ)


def _read_all(file: int, size: int) -> bytes:
    content = os.read(file, size)
    if len(content) == size:
        return content
    parts = [content]  # one call returns 2 GiB at most, and less where a signal came in between
    while part := os.read(file, size):
        parts.append(part)
    return b"".join(parts)

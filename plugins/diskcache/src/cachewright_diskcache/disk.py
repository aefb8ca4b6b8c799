"""A disk turns values into fields of a row and back; this one knows bytes, and neither pickles nor unpickles.

What diskcache would unpickle is refused before anybody looks at it: CVE-2025-69872 cannot happen here.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import sqlite3
import stat
import sys
import threading
import weakref
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cachewright.directory import CREATE_FLAGS
from cachewright.engine import MappedBlob
from cachewright_diskcache.failure import RefusedRowError
from cachewright_diskcache.library import MODE_BINARY, MODE_RAW, Disk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cachewright.engine import Blob

_NAME: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val", re.ASCII)
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_BUFFERS_PER_CALL = 512
"""Below the smallest IOV_MAX in use (1024)."""

MAPPED: Final = 1 << 16
"""Bytes from which on a value is mapped rather than read."""

KEPT_MAPS: Final = 16
"""Maps that stay for the next read of the same file."""

MOST_MAPS: Final = 256
"""Maps that may be alive, in callers' hands too: each holds a descriptor before Python 3.13."""


class Chunks(tuple[bytes, ...]):
    """Buffers whose concatenation is to be stored."""

    __slots__ = ()


class BytesDisk(Disk):  # type: ignore[misc]  # the library has no types
    """Keys of type ``str`` and ``bytes``, values of type ``bytes`` and :class:`Chunks`; nothing else.

    Attributes:
        mapping: whether large values may be mapped: not where others could change the file.
        durable: whether to wait for the disk.
    """

    def __init__(self, directory: str, min_file_size: int = 0, pickle_protocol: int = 0) -> None:
        Disk.__init__(self, directory, min_file_size, pickle_protocol)
        self.directory = directory
        self.mapping = False
        self.durable = False
        self._alive: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._kept: OrderedDict[Path, tuple[mmap.mmap, tuple[int, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: object) -> tuple[object, bool]:
        """Return the key for the database.

        Raises:
            TypeError: diskcache would pickle it.
        """
        if type(key) is bytes:
            return sqlite3.Binary(key), True
        if type(key) is str:
            return key, True
        raise TypeError(f"this store takes keys of type str and bytes, not {type(key).__name__}")

    def get(self, key: object, raw: object) -> str | bytes:
        """Return a key of the database.

        Raises:
            RefusedRowError: diskcache would unpickle it.
        """
        if raw == 1 and isinstance(key, (str, bytes)):
            return key
        raise RefusedRowError("a row has a key that is neither text nor bytes")

    def store(self, value: object, read: object, key: object = None) -> tuple[int, int, str | None, object]:
        """Return size, mode, file name and field for a value; large ones are written to a file.

        Raises:
            TypeError: diskcache would pickle it.
            OSError: nothing was left behind.
        """
        if read or not isinstance(value, (bytes, Chunks)):
            raise TypeError(f"this store takes values of type bytes, not {type(value).__name__}")
        chunks = (value,) if isinstance(value, bytes) else value
        views = [_flat(chunk) for chunk in chunks]
        length = sum([view.nbytes for view in views])
        if length < self.min_file_size:
            return 0, MODE_RAW, None, b"".join(views)
        name: str = self.filename()[0]
        self._write_new(name, [view for view in views if view.nbytes])
        return length, MODE_BINARY, name, None

    def fetch(self, mode: object, filename: object, value: object, read: object) -> bytes | MappedBlob:
        """Return the value of a row.

        Raises:
            RefusedRowError: it is no bytes; diskcache would decode or unpickle it, or open any file.
            FileNotFoundError: the entry was replaced meanwhile.
        """
        if mode == MODE_RAW and isinstance(value, bytes) and filename is None and not read:
            return value
        if mode == MODE_BINARY and isinstance(filename, str) and value is None and not read:
            return self._read(self._path(filename))
        raise RefusedRowError("a row holds something else than bytes")

    def remove(self, file_path: object) -> None:
        """Remove the file of a row, unless the row names another file; failing is no error."""
        try:
            path = self._path(file_path)
        except RefusedRowError:
            return
        self._kept.pop(path, None)
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def _path(self, name: object) -> Path:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise RefusedRowError("a row names a file that is not diskcache's")
        return Path(self.directory, name)

    def _write_new(self, name: str, views: list[memoryview]) -> None:
        file = _created(Path(self.directory, name))
        try:
            try:
                os.fchmod(file, 0o600)
                _write_all(file, views)
                if self.durable:
                    os.fsync(file)
            finally:
                os.close(file)
        except BaseException:
            self.remove(name)
            raise

    def _read(self, path: Path) -> bytes | MappedBlob:
        file = os.open(path, _READ_FLAGS)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise RefusedRowError("a value is no regular file")
            if self.mapping and status.st_size >= MAPPED:
                with suppress(OSError):  # some file systems cannot map, and address space can run out
                    mapped = self._mapped(path, file, status)
                    if mapped is not None:
                        return mapped
            return _read_all(file, status.st_size)
        finally:
            os.close(file)

    def _mapped(self, path: Path, file: int, status: os.stat_result) -> MappedBlob | None:
        """Return a map of a file, that of the last read if there is one; ``None`` if there are too many."""
        times = (status.st_mtime_ns, status.st_ctime_ns)
        identity = (status.st_dev, status.st_ino, status.st_size, *times)
        with self._lock:
            kept = self._kept.get(path)
            if kept is None or kept[1] != identity:
                if len(self._alive) >= MOST_MAPS:
                    return None
                kept = (_mapping(file, status.st_size), identity)
                self._alive.add(kept[0])
                self._kept[path] = kept
                while len(self._kept) > KEPT_MAPS:
                    self._kept.popitem(last=False)
            return MappedBlob(memoryview(kept[0]), identity)


def _mapping(file: int, size: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        return mmap.mmap(file, size, prot=mmap.PROT_READ, trackfd=False)
    return mmap.mmap(file, size, prot=mmap.PROT_READ)


def _created(path: Path) -> int:
    """Open a new file in two folders that others may be removing because they are empty."""
    for attempt in range(10):
        for folder in (path.parent.parent, path.parent):
            with suppress(FileExistsError):
                folder.mkdir(0o700)
        try:
            return os.open(path, CREATE_FLAGS, 0o600)
        except FileNotFoundError:
            if attempt == 9:
                raise
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _flat(buffer: Blob) -> memoryview:
    view = memoryview(buffer)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _write_all(file: int, views: list[memoryview]) -> None:
    """Write every byte of ``views``, which are not empty; a single call may take only a part."""
    first = 0
    while first < len(views):
        written = os.writev(file, views[first : first + _BUFFERS_PER_CALL])
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]


def _read_all(file: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = os.read(file, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def as_chunks(value: Iterable[Blob]) -> Chunks:
    """Return buffers as what a :class:`BytesDisk` takes."""
    return Chunks(value)  # type: ignore[arg-type]  # any buffer will do

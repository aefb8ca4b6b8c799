"""A value file holds one large value; it is written once under a new name and never changed.

Its name is ``<row id>-<random>-<owner>``: by the row id a sweeper finds the row that would refer to
it, by the owner it tells whether somebody may still be about to commit that row.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import stat
import sys
import threading
import weakref
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cachewright._owner import owner_mark
from cachewright.directory import CREATE_FLAGS, DIRECTORY_FLAGS, StoreDirectory
from cachewright.engine import MappedBlob
from cachewright.entry import MISSING, MissingType

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from contextlib import AbstractContextManager

    from cachewright.engine import Blob

VALUE_NAME = re.compile(rb"(?P<row>[0-9a-f]{16})-[0-9a-f]{16}-(?P<mark>[0-9a-f]{8}-[0-9a-f]+)")
FOLDER = "values-v1"

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_BUFFERS_PER_CALL = 512
"""Below the smallest IOV_MAX in use (1024)."""

MOST_DOOMED = 1024
"""Names of files to look at again that are kept at most; what is beyond is the sweeper's."""

KEPT_MAPS = 64
"""Maps that stay open for the next read of the same file."""

MOST_MAPS = 256
"""Maps that may be alive, in callers' hands too: each holds a descriptor before Python 3.13. Beyond
it files are read into memory."""


class ValueFiles:
    """The value files of one directory, and the maps this process keeps of them.

    Attributes:
        directory: where they are.
        durable: whether to wait for the disk.
        doubtful: names of files whose rows were to go in a transaction that failed, perhaps after all
            of it had reached the disk.
    """

    __slots__ = ("_alive", "_doomed", "_folder", "_kept", "_lock", "directory", "doubtful", "durable")

    def __init__(self, directory: StoreDirectory, *, durable: bool) -> None:
        self.directory = directory
        self.durable = durable
        self._folder = -1
        self._kept: OrderedDict[bytes, tuple[mmap.mmap, tuple[int, ...]]] = OrderedDict()
        self._doomed: list[bytes] = []
        self.doubtful: list[object] = []
        self._alive: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._lock = threading.RLock()

    def __del__(self) -> None:
        if self._folder >= 0:
            with suppress(OSError):  # it is closed whatever the system says
                os.close(self._folder)

    def write(self, row: int, buffers: Iterable[Blob]) -> bytes:
        """Write the concatenation of ``buffers`` to a new file and return its name.

        Raises:
            OSError: nothing was left behind.
        """
        name = f"{row & 0xFFFF_FFFF_FFFF_FFFF:016x}-{os.urandom(8).hex()}-{owner_mark()}".encode()
        if self._doomed:
            self.remove(())
        self._make_shard(name)
        try:
            with self._shard(name) as shard, _opened(name, CREATE_FLAGS, shard) as file:
                os.fchmod(file, 0o600)
                _write_all(file, [view for view in map(_flat, buffers) if view])
                if self.durable:
                    os.fsync(file)
                    os.fsync(shard)
        except BaseException:
            self.remove((name,))
            raise
        return name

    def read(self, name: object) -> MappedBlob | bytes | MissingType:
        """Return the content of a value file, mapped; ``MISSING`` if the file is gone or is none."""
        if not isinstance(name, bytes) or not VALUE_NAME.fullmatch(name):
            return MISSING
        try:
            folder = self.folder()
            status = os.stat(name[:2] + b"/" + name, dir_fd=folder, follow_symlinks=False)
            identity = _identity(status)
            with self._lock:
                kept = self._kept.get(name)
                if kept is not None and kept[1] == identity:
                    self._kept.move_to_end(name)
                    return MappedBlob(memoryview(kept[0]), identity)
            return self._map(name)
        except OSError as error:
            if error.errno in _GONE:
                return MISSING
            raise

    def remove(self, names: Iterable[object]) -> None:
        """Remove files that no row refers to any more; what cannot be removed is tried again later."""
        doomed, self._doomed = self._doomed, []
        for name in (*names, *doomed):
            if not isinstance(name, bytes) or not VALUE_NAME.fullmatch(name):
                continue
            self._kept.pop(name, None)
            try:
                with self._shard(name) as shard:
                    os.unlink(name, dir_fd=shard)
            except OSError as error:
                if error.errno not in _GONE and len(self._doomed) < MOST_DOOMED:
                    self._doomed.append(name)

    def folder(self) -> int:
        """Return the descriptor of the folder with the value files.

        Raises:
            FileNotFoundError: there is none yet.
        """
        if self._folder < 0:
            with self._lock:
                if self._folder < 0:
                    self._folder = os.open(FOLDER, DIRECTORY_FLAGS, dir_fd=self.directory.descriptor)
        return self._folder

    def _shard(self, name: bytes) -> AbstractContextManager[int]:
        """Open the sub-folder that a name belongs to; a folder with a million files is slow to list."""
        return _opened(name[:2], DIRECTORY_FLAGS, self.folder())

    def _make_shard(self, name: bytes) -> None:
        try:
            os.stat(name[:2], dir_fd=self.folder(), follow_symlinks=False)
        except FileNotFoundError:
            _make_folder(FOLDER.encode(), self.directory.descriptor)
            _make_folder(name[:2], self.folder())

    def _map(self, name: bytes) -> MappedBlob | bytes | MissingType:
        with self._shard(name) as shard, _opened(name, _READ_FLAGS, shard) as file:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
                return MISSING
            if len(self._alive) >= MOST_MAPS:
                return _read_all(file, status.st_size)
            try:
                mapped = _mapping(file, status.st_size)
            except OSError:  # some file systems cannot map, and address space can run out
                return _read_all(file, status.st_size)
        identity = _identity(status)
        with self._lock:
            self._alive.add(mapped)
            self._kept[name] = (mapped, identity)
            while len(self._kept) > KEPT_MAPS:
                self._kept.popitem(last=False)
        return MappedBlob(memoryview(mapped), identity)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _mapping(file: int, size: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        return mmap.mmap(file, size, prot=mmap.PROT_READ, trackfd=False)
    return mmap.mmap(file, size, prot=mmap.PROT_READ)


def _make_folder(name: bytes, parent: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return
    with _opened(name, DIRECTORY_FLAGS, parent) as descriptor:
        os.fchmod(descriptor, 0o700)  # whatever the umask took


@contextmanager
def _opened(name: bytes, flags: int, folder: int) -> Generator[int]:
    """Open a file below a folder, and close it whatever happens."""
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


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
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        count = os.readv(file, [view[done:]])
        if not count:
            break
        done += count
    return bytes(view[:done])

"""The klepto-hdf engine keeps all entries of a namespace in one HDF5 file, as klepto's hdf archive does."""

# ruff: noqa: PTH116, PTH118 - only os functions take flags and descriptors

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import h5py  # type: ignore[import-untyped]  # it has no types
import numpy as np

from cachewright.entry import MISSING, MissingType
from cachewright.errors import UntrustedStoreError
from cachewright.guard import PATIENCE
from cachewright_klepto.archive_engine import ArchiveEngine, Changes
from cachewright_klepto.library import hdf_archive
from cachewright_klepto.space import READ_FLAGS, Space, erase, is_file
from cachewright_klepto.text import is_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cachewright.engine import EngineConfig

T = TypeVar("T")

_low: Any = h5py  # its low-level interface is compiled, and unknown to checkers

FILE: Final = "entries.hdf5"

_TELLS: Final = (OSError, RuntimeError, KeyError, ValueError)
"""How h5py tells of a full disk, and of a file that is damaged or none."""

_ABSENT: Final = (errno.ENOENT, errno.ELOOP, errno.ENXIO)
_ROOMY: Final = 1 << 20
"""Size from which on it is looked for room that overwritten entries have left."""


class _Gate:
    """Lets one thread at a time into h5py, and none while the process forks.

    h5py itself takes its lock before a fork, and it does so before :mod:`cachewright.guard` waits for
    writers, who need that lock to end. Of the functions to be called before a fork the last registered
    comes first: this one is registered after h5py's, and so waits for the writers in time.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._paused = False

    def before(self) -> None:
        """Wait until nobody is inside."""
        self._paused = self.lock.acquire(timeout=PATIENCE)

    def after_in_parent(self) -> None:
        """Go on."""
        if self._paused:
            self._paused = False
            self.lock.release()

    def after_in_child(self) -> None:
        """Go on; a thread that is no more does not count as being inside."""
        if not self._paused:
            self.lock = threading.RLock()
        self.after_in_parent()


_gate: Final = _Gate()  # for the whole process, as h5py's own lock is

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_gate.before,
        after_in_parent=_gate.after_in_parent,
        after_in_child=_gate.after_in_child,
    )


class _DamagedError(Exception):
    """The file is no HDF5 file, or a damaged one."""


class KleptoHdfEngine(ArchiveEngine):
    """One HDF5 file with a dataset of bytes per entry, in the layout of klepto's ``hdf_archive``.

    HDF5 cannot recover a file whose writer was killed, so klepto changes a copy, which then replaces the
    file: it is for few entries. Only datasets of plain bytes that lie in the file itself are read. The
    HDF5 library parses the file before anything could be authenticated, so it has to be this user's own.
    """

    name: ClassVar[str] = "klepto-hdf"
    kind: ClassVar[str] = "hdf-v1"
    reads_alone: ClassVar[bool] = True

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        if not self._space.directory.private:
            raise UntrustedStoreError(
                self._space.directory.path,
                "others have access to it, and a crafted HDF5 file can harm its reader",
                hint="give a directory of mode 0700, or use engine 'klepto'",
            )
        self._file = os.path.join(self._space.path, FILE)
        self._roomy = _ROOMY

    def _read(self, operation: str, work: Callable[[Space], T]) -> T:
        with _gate.lock:
            return super()._read(operation, work)

    def _write(self, operation: str, work: Callable[[Space], T]) -> T:
        with _gate.lock:
            return super()._write(operation, work)

    def fetch(self, space: Space, key: str) -> bytes | MissingType:
        """Return the bytes of the entry's dataset."""
        return self.fetch_many(space, [key]).get(key, MISSING)

    def fetch_many(self, space: Space, keys: list[str]) -> dict[str, bytes]:
        """Return the bytes of the entries' datasets; damaged ones, and all after them, are left out."""
        found: dict[str, bytes] = {}
        with suppress(_DamagedError), _opened(self._file) as file:
            for key in keys if file is not None else ():
                blob = _read(file, _name_of(key))
                if blob is not MISSING:
                    found[key] = blob
        return found

    def apply(self, space: Space, changes: Changes) -> None:
        """Have klepto change a copy of the file, look whether it did, and move it over the file."""
        absent = {key for key, blob in changes.items() if blob is MISSING} - self._names()
        todo = {key: blob for key, blob in changes.items() if key not in absent}
        wrong = self._change(space, todo) if todo else None
        if wrong is not None:
            if not self._is_damaged():
                raise self.incomplete() from wrong
            space.quarantine(FILE, "it is no HDF5 file, or damaged")
            erase(os.path.join(space.stage, FILE))
            wrong = self._change(space, {key: blob for key, blob in todo.items() if blob is not MISSING})
            if wrong is not None:
                raise self.incomplete() from wrong

    def wipe(self, space: Space) -> None:
        """Have klepto write a file without entries."""
        hdf_archive(os.path.join(space.stage, FILE))
        self._present(space)

    def listed(self, space: Space) -> list[str]:
        """Return the keys that have a dataset."""
        try:
            with _opened(self._file) as file:
                return [] if file is None else _keys(file)
        except _DamagedError:
            return []

    def _names(self) -> set[str]:
        """Return the keys of all links, whatever they lead to; none if the file is damaged."""
        with suppress(_DamagedError), _opened(self._file) as file:
            return set() if file is None else set(_keys(file))
        return set()

    def _change(self, space: Space, changes: Changes) -> Exception | None:
        """Have klepto make all the changes; return why they are not in place, ``None`` if they are."""
        staged = os.path.join(space.stage, FILE)
        try:
            self._copy(space, staged)
            archive = hdf_archive(staged)
            for key, blob in changes.items():
                if blob is MISSING:
                    del archive[key]
                else:
                    archive[key] = np.frombuffer(blob, dtype=np.uint8)
            with _opened(staged) as file:
                if file is None or any(_read(file, _name_of(key)) != blob for key, blob in changes.items()):
                    return _DamagedError(staged)
        except (*_TELLS, _DamagedError) as error:
            return error
        self._present(space)
        return None

    def _copy(self, space: Space, staged: str) -> None:
        """Copy the file to the stage, without the room that overwritten entries have left in it."""
        if not is_file(self._file):
            if os.path.lexists(self._file):
                space.quarantine(FILE, "it is no file")
            return
        if os.stat(self._file).st_size > self._roomy and self._rewrite(staged):
            self._roomy = max(_ROOMY, 2 * os.stat(staged).st_size)
        else:
            shutil.copyfile(self._file, staged, follow_symlinks=False)

    def _rewrite(self, staged: str) -> bool:
        """Have klepto write all entries into a new file; return whether all could be read."""
        try:
            with _opened(self._file) as file:
                blobs = {key: _read(file, _name_of(key)) for key in _keys(file)}
        except _DamagedError:
            return False
        archive = hdf_archive(staged)
        for key, blob in blobs.items():
            if blob is not MISSING:
                archive[key] = np.frombuffer(blob, dtype=np.uint8)
        return True

    def _present(self, space: Space) -> None:
        try:
            space.present(FILE, FILE)
        except FileNotFoundError as error:
            raise self.incomplete() from error
        except IsADirectoryError:
            space.quarantine(FILE, "it is a folder")
            space.present(FILE, FILE)

    def _is_damaged(self) -> bool:
        """Whether not every entry of the file can be read."""
        try:
            with _opened(self._file) as file:
                if file is not None:
                    for key in _keys(file):
                        _read(file, _name_of(key))
        except _DamagedError:
            return True
        return False


@contextmanager
def _opened(path: str) -> Generator[Any]:
    """Open an HDF5 file for reading; ``None`` where there is none."""
    try:
        os.close(os.open(path, READ_FLAGS))  # which tells, unlike h5py, what is wrong
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        yield None
        return
    if not is_file(path):
        raise _DamagedError
    try:
        file = h5py.File(path, "r")
    except _TELLS as error:
        raise _told(error) from error
    with file:
        yield file


def _read(file: Any, name: bytes) -> bytes | MissingType:
    """Return the bytes of a dataset, ``MISSING`` if it is of any other kind than klepto makes for us.

    Looked at through the low-level interface, which converts nothing to Python objects.
    """
    try:
        links = file.id.links
        if not links.exists(name) or links.get_info(name).type != _low.h5l.TYPE_HARD:
            return MISSING
        dataset = _low.h5o.open(file.id, name)
        if not isinstance(dataset, _low.h5d.DatasetID) or not _is_plain(dataset):
            return MISSING
        found = np.empty(dataset.shape, dtype=np.uint8)
        if found.size:
            dataset.read(_low.h5s.ALL, _low.h5s.ALL, found, mtype=_low.h5t.NATIVE_UINT8)
        return found.tobytes()
    except _TELLS as error:
        raise _told(error) from error


def _told(error: Exception) -> Exception:
    """Return what the operating system said, if it did; otherwise the file is damaged."""
    return error if isinstance(error, OSError) and error.errno else _DamagedError()


def _is_plain(dataset: Any) -> bool:
    """Whether the dataset is a row of bytes in this file, neither filtered nor elsewhere."""
    kind, made = dataset.get_type(), dataset.get_create_plist()
    if kind.get_class() != _low.h5t.INTEGER or kind.get_size() != 1 or len(dataset.shape) != 1:
        return False
    if made.get_layout() not in (_low.h5d.CONTIGUOUS, _low.h5d.COMPACT):
        return False
    if made.get_external_count() or made.get_nfilters():
        return False
    return bool(dataset.get_storage_size() == dataset.shape[0])


def _keys(file: Any) -> list[str]:
    try:
        names: list[bytes] = list(file.id)
    except _TELLS as error:
        raise _told(error) from error
    inside = [name[1:-1].decode("ascii", "replace") for name in names]
    return [key for key, name in zip(inside, names, strict=True) if is_key(key) and name == _name_of(key)]


def _name_of(key: str) -> bytes:
    """Return the name that klepto gives to the dataset of a key."""
    return json.dumps(key).encode()

"""A folder holds the entries of one namespace as opaque files, in the layout of a joblib store.

::

    <store>/v1-<digest of the namespace>/<key>/output.pkl    one entry
    <store>/v1-writing/                                      files that are being written

joblib's own tools see entries where they look for them; what they would unpickle is no pickle.
"""

# ruff: noqa: PTH101, PTH102, PTH105, PTH106, PTH108, PTH116, PTH118, PTH119, PTH120, PTH208
# joblib names places in text.

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NoReturn

import joblib._store_backends

from cachewright_joblib.mapping import GONE, Mapping

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from cachewright.directory import StoreDirectory
    from cachewright.engine import Chunks

_library: Any = joblib._store_backends  # joblib has no types  # noqa: SLF001 - nor another place for these

KEY: Final = re.compile(r"[0-9a-f]{32,200}")
"""What names an entry: joblib recognises folders of entries by their first 32 hexadecimal digits."""

FILE: Final = "output.pkl"
"""Where joblib looks for the time of the last access."""

WRITING: Final = "v1-writing"

_LEFTOVER: Final = re.compile(r".+\.[0-9a-f]{32}-(?P<process>[0-9]+)-[0-9]+")
_NEVER: Final = datetime.max  # noqa: DTZ901 - compared with joblib's times, which are naive
_ATTEMPTS: Final = 10
"""How often others may remove a folder just before something is put into it."""


class Folder(_library.FileSystemStoreBackend):  # type: ignore[misc]  # as above
    """The store backend of joblib, as far as it moves opaque bytes: nothing is pickled here, or unpickled.

    Of joblib's are the layout, the choice of names for files that are being written, and which entries go
    when limits are enforced. Making, moving and removing are done here: privately (0700 and 0600), with
    every failure raised, and in races with other processes too.

    Args:
        directory: the store.
        namespace: any text.
        reopen: makes the store's directory again after somebody removed it, and checks it.
    """

    def __init__(self, directory: StoreDirectory, namespace: str, reopen: Callable[[], object]) -> None:
        name = blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        self.maps = Mapping(shareable=directory.private, trusted=directory.trusted)
        self._store = directory.path
        self._writing = os.path.join(directory.path, WRITING)
        self._reopen = reopen
        self._fresh = ""
        self.configure(os.path.join(directory.path, f"v1-{name}"))

    def configure(
        self, location: str, verbose: int = 0, backend_options: dict[str, object] | None = None
    ) -> None:
        """Say where the entries are; makes nothing, so that a reader leaves no trace."""
        self.location = location
        self.verbose = verbose
        self.compress = False
        self.mmap_mode = None

    def path(self, key: str) -> str:
        """Return the path of an entry's file."""
        return f"{self.location}/{key}/{FILE}"

    def write(self, key: str, chunks: Chunks) -> None:
        """Store the concatenation of ``chunks``, in one step.

        Raises:
            OSError: it was not stored; nothing was left behind, and an older entry is still there.
        """
        for attempt in range(_ATTEMPTS):
            try:
                self._concurrency_safe_write(chunks, self.path(key), self._write_chunks)
            except FileNotFoundError:  # the first entry of all, or the store was removed under our hands
                if attempt == _ATTEMPTS - 1:
                    raise
                self.create_location(self._writing)
            else:
                return

    def remove(self, key: str) -> bool:
        """Remove an entry; return whether there was one."""
        path = self.path(key)
        self.maps.forget(path)
        try:
            os.unlink(path)
        except OSError as error:
            if error.errno in GONE:
                return False
            raise
        with suppress(OSError):  # somebody is putting a new entry there
            os.rmdir(os.path.dirname(path))
        return True

    def keys(self) -> list[str]:
        """Return the keys of all entries."""
        return [key for key in self._candidates() if os.path.lexists(self.path(key))]

    def clear(self) -> None:
        """Remove every entry, and nothing else that may lie here."""
        for key in self._candidates():
            if not self.remove(key):
                with suppress(OSError):  # made for an entry whose writer was killed, or is about to go on
                    os.rmdir(os.path.join(self.location, key))
        with suppress(OSError):  # not empty, or not there
            os.rmdir(self.location)

    def limit(self, *, items: int | None, size: int | None, fresh: str) -> None:
        """Remove what was not used for longest, as joblib judges it, until the limits hold.

        Args:
            items: largest number of entries, 1 at least.
            size: largest number of bytes in all of them.
            fresh: the key that goes last, for it was just stored; fits ``size`` by itself.
        """
        self._fresh = fresh
        self.enforce_store_limits(size, items)

    def sweep(self) -> None:
        """Remove what processes that ended in the middle of writing left behind."""
        try:
            names = os.listdir(self._writing)
        except OSError:  # there is none, or it cannot be read: writing will tell
            return
        for name in names:
            left = _LEFTOVER.fullmatch(name)
            if left is not None and not _may_be_alive(int(left["process"])):
                with suppress(OSError):  # somebody else swept it, or the disk is read-only
                    os.unlink(os.path.join(self._writing, name))

    def get_items(self) -> list[Any]:
        """Return path, bytes and last access of every entry."""
        items: list[Any] = []
        for key in self._candidates():
            try:
                status = os.stat(self.path(key), follow_symlinks=False)
            except OSError:
                continue
            used = _NEVER if key == self._fresh else datetime.fromtimestamp(status.st_atime)  # noqa: DTZ006 - as joblib's
            items.append(_library.CacheItemInfo(os.path.join(self.location, key), status.st_size, used))
        return items

    def create_location(self, location: str) -> None:
        """Make a folder (0700) with its parents, the store's directory by opening it as a store."""
        if location == self._store:
            self._reopen()
            return
        for _ in range(_ATTEMPTS):
            try:
                os.mkdir(location, 0o700)
            except FileExistsError:
                return
            except FileNotFoundError:
                self.create_location(os.path.dirname(location))
            else:
                os.chmod(location, 0o700)  # a umask may have taken the owner's own bits
                return

    def clear_location(self, location: str) -> None:
        """Remove the entry in a folder, as joblib asks when limits are enforced."""
        self.remove(os.path.basename(location))

    def load_item(self, *_: object, **__: object) -> NoReturn:
        """Refuse: joblib would unpickle the file."""
        raise TypeError("entries are opaque bytes, and are never unpickled here")

    dump_item = store_metadata = get_metadata = load_item

    def _concurrency_safe_write(
        self, to_write: Chunks, filename: str, write_func: Callable[[Chunks, str], None]
    ) -> None:
        """Write apart from the entries, so that whoever removes a folder takes no half-written file along."""
        key = os.path.basename(os.path.dirname(filename))
        written: str = _library.concurrency_safe_write(to_write, os.path.join(self._writing, key), write_func)
        try:
            self._move_into(written, filename)
        except BaseException:
            with suppress(OSError):
                os.unlink(written)
            raise

    def _move_into(self, written: str, filename: str) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                os.replace(written, filename)
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1 or not os.path.lexists(written):
                    raise
                self.create_location(os.path.dirname(filename))
            else:
                return

    def _write_chunks(self, chunks: Chunks, path: str) -> None:
        with self._open_item(path) as file:
            try:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
            except BaseException:
                with suppress(OSError):
                    os.unlink(path)
                raise

    @staticmethod
    def _open_item(path: str, mode: str = "xb") -> BinaryIO:
        return open(path, mode, opener=_opened_privately)  # type: ignore[return-value]  # the mode is a binary one

    def _candidates(self) -> list[str]:
        """Return the names of folders that may hold an entry."""
        try:
            return [name for name in os.listdir(self.location) if KEY.fullmatch(name)]
        except OSError as error:
            if error.errno in GONE:
                return []
            raise


def _opened_privately(path: str, flags: int) -> int:
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(file, 0o600)  # whatever the umask took
    return file


def _may_be_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True

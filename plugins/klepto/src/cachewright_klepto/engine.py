"""The klepto engine keeps a folder per entry in a directory archive of klepto."""

# ruff: noqa: PTH101, PTH102, PTH104, PTH105, PTH106, PTH108, PTH116, PTH118, PTH208 - only os functions take flags and descriptors

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final

from cachewright.entry import MISSING, MissingType
from cachewright_klepto.archive_engine import ArchiveEngine, Changes
from cachewright_klepto.library import dir_archive
from cachewright_klepto.space import READ_FLAGS, STAGE, Space, erase, is_complete, is_file
from cachewright_klepto.text import decoded, encoded, is_key

if TYPE_CHECKING:
    from cachewright.engine import EngineConfig

PREFIX: Final = "K_"
"""What klepto puts before a key to name its folder."""

FILE: Final = "output.json"
"""What klepto calls the file in it."""

ENTRIES: Final = "entries"

_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
_OCCUPIED: Final = (errno.ENOTEMPTY, errno.EEXIST)
_ENOUGH: Final = 1 << 16


class KleptoEngine(ArchiveEngine):
    """A JSON file per entry, in the layout of klepto's ``dir_archive(protocol="json")``.

    klepto writes them; they are read without it, because its reader follows links, waits for pipes, and
    takes every error, Ctrl-C included, for a miss.
    """

    name: ClassVar[str] = "klepto"
    kind: ClassVar[str] = "dir-v1"
    folders: ClassVar[tuple[str, ...]] = (STAGE, ENTRIES)

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._entries = os.path.join(self._space.path, ENTRIES)
        self._start = os.path.join(self._entries, PREFIX)
        self._archive = dir_archive(self._space.stage)

    def fetch(self, space: Space, key: str) -> bytes | MissingType:
        """Return the decoded text of the entry's file."""
        try:
            descriptor = os.open(f"{self._start}{key}/{FILE}", READ_FLAGS)
        except OSError as error:
            if error.errno in _ABSENT:
                return MISSING
            raise
        try:
            data = os.read(descriptor, _ENOUGH)
            if len(data) == _ENOUGH:
                data = read_whole(descriptor, data)
        except (IsADirectoryError, BlockingIOError):  # a folder, or a pipe, that somebody has put there
            return MISSING
        finally:
            os.close(descriptor)
        if len(data) < 2 or data[0] != 34 or data[-1] != 34:
            return MISSING
        return decoded(memoryview(data)[1:-1])

    def stored(self, space: Space, keys: list[str]) -> list[str]:
        """Return the keys whose file is there."""
        return [key for key in keys if is_file(f"{self._start}{key}/{FILE}")]

    def apply(self, space: Space, changes: Changes) -> None:
        """Store and remove the entries one by one."""
        for key, blob in changes.items():
            if blob is MISSING:
                self._remove(f"{self._start}{key}")
            else:
                self._put(space, key, encoded(blob))

    def _put(self, space: Space, key: str, text: str) -> None:
        """Have klepto write the entry on the stage, and move it among the others."""
        self._archive[key] = text
        staged = os.path.join(space.stage, PREFIX + key)
        if not is_complete(f"{staged}/{FILE}", len(text) + 2):
            raise self.incomplete()
        os.chmod(f"{staged}/{FILE}", 0o600)
        self._present(staged, f"{self._start}{key}")

    def _present(self, staged: str, folder: str) -> None:
        """Move a folder from the stage to the entries or, where it is already, its file over the old."""
        try:
            os.rename(staged, folder)
        except FileNotFoundError:
            os.mkdir(self._entries, 0o700)
            os.rename(staged, folder)
        except NotADirectoryError:  # a file or a link, which somebody has put there
            erase(folder)
            os.rename(staged, folder)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
            try:
                os.replace(f"{staged}/{FILE}", f"{folder}/{FILE}")
            except IsADirectoryError:
                erase(f"{folder}/{FILE}")
                os.replace(f"{staged}/{FILE}", f"{folder}/{FILE}")
            os.rmdir(staged)

    def wipe(self, space: Space) -> None:
        """Remove the folder of every entry; what somebody else has put beside them stays."""
        for name in self._names():
            erase(os.path.join(self._entries, name))

    def listed(self, space: Space) -> list[str]:
        """Return the keys whose file is there."""
        start = len(PREFIX)
        return [name[start:] for name in self._names() if is_file(f"{self._entries}/{name}/{FILE}")]

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self._entries)
        except FileNotFoundError:
            return []
        return [name for name in names if name.startswith(PREFIX) and is_key(name[len(PREFIX) :])]

    def _remove(self, folder: str) -> None:
        """Remove an entry's file, so that it is gone at once, then its folder."""
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            if stat.S_ISDIR(os.stat(folder, follow_symlinks=False).st_mode):
                os.unlink(f"{folder}/{FILE}")
        erase(folder)


def read_whole(descriptor: int, beginning: bytes) -> bytes:
    """Return a file from its beginning, which was read already, to its end."""
    parts = [beginning]
    while parts[-1]:
        parts.append(os.read(descriptor, 1 << 24))
    return b"".join(parts)

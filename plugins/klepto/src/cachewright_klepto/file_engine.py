"""The klepto-file engine keeps all entries of a namespace in one JSON file, as klepto's file archive does."""

# ruff: noqa: PTH112, PTH116, PTH118 - only os functions take flags and descriptors

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from cachewright.entry import MISSING, MissingType
from cachewright_klepto.archive_engine import ArchiveEngine, Changes
from cachewright_klepto.library import file_archive
from cachewright_klepto.space import READ_FLAGS, Space, is_complete
from cachewright_klepto.text import decoded, encoded, is_key, is_text

if TYPE_CHECKING:
    from cachewright.engine import EngineConfig

FILE: Final = "entries.json"
_ABSENT: Final = (errno.ENOENT, errno.ELOOP, errno.ENXIO)


class _Contents:
    """What a file held when it was read; the file stays open, so that its inode stays its own."""

    __slots__ = ("descriptor", "entries", "status")

    def __init__(self, descriptor: int, entries: dict[str, str] | None) -> None:
        self.descriptor = descriptor
        self.entries = entries
        self.status = _identity(os.fstat(descriptor))

    def __del__(self) -> None:
        os.close(self.descriptor)


class KleptoFileEngine(ArchiveEngine):
    """One JSON object, in the layout of klepto's ``file_archive(protocol="json")``.

    Every write has klepto write all of it anew, so it is for few and small entries. Reading takes the
    parsed contents from memory for as long as the file is the same.
    """

    name: ClassVar[str] = "klepto-file"
    kind: ClassVar[str] = "file-v1"

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._file = os.path.join(self._space.path, FILE)
        self._contents: _Contents | None = None

    def fetch(self, space: Space, key: str) -> bytes | MissingType:
        """Return the decoded text of the entry; a damaged file has none."""
        text = (self._entries() or {}).get(key)
        return MISSING if text is None else decoded(text)

    def apply(self, space: Space, changes: Changes) -> None:
        """Have klepto write all entries anew, changed ones among them."""
        kept = self._kept(space)
        entries = dict(kept)
        for key, blob in changes.items():
            if blob is MISSING:
                entries.pop(key, None)
            else:
                entries[key] = encoded(blob)
        if entries != kept:
            self._save(space, entries)

    def wipe(self, space: Space) -> None:
        """Have klepto write a file without entries."""
        self._save(space, {})

    def listed(self, space: Space) -> list[str]:
        """Return the keys in the file."""
        return list(self._entries() or {})

    def let_go(self) -> None:
        """Close the file and forget its contents."""
        self._contents = None

    abandon = let_go

    def _kept(self, space: Space) -> dict[str, str]:
        """Return the entries, for a writer: what cannot be read is set aside, not overwritten."""
        entries = self._entries()
        if entries is None:
            space.quarantine(FILE, "it holds no JSON object")
            self.let_go()
            return {}
        return entries

    def _entries(self) -> dict[str, str] | None:
        """Return the entries, ``None`` for a file that holds no object; not to be changed."""
        contents = self._contents
        try:
            status = os.stat(self._file, follow_symlinks=False)
            if contents is not None and contents.status == _identity(status):
                return contents.entries
            descriptor = os.open(self._file, READ_FLAGS)
        except OSError as error:
            if error.errno in _ABSENT:
                return {}
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        contents = _Contents(descriptor, None)
        contents.entries = _parsed(descriptor)
        self._contents = contents
        return contents.entries

    def _save(self, space: Space, entries: dict[str, str]) -> None:
        staged = os.path.join(space.stage, FILE)
        archive = file_archive(staged)
        if entries:
            archive.update(entries)
        if not is_complete(staged, _length(entries)):
            raise self.incomplete()
        if os.path.isdir(self._file):
            space.quarantine(FILE, "it is a folder")
        space.present(FILE, FILE)
        # nobody else can have changed it yet, so it need not be parsed
        self._contents = _Contents(os.open(self._file, READ_FLAGS), entries)


def _parsed(descriptor: int) -> dict[str, str] | None:
    """Return what in a file could have been written here, ``None`` if it is no JSON object."""
    try:
        with os.fdopen(os.dup(descriptor), encoding="ascii") as file:
            found: Any = json.load(file)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    entries = cast("dict[str, object]", found)
    return {key: cast("str", text) for key, text in entries.items() if is_key(key) and is_text(text)}


def _length(entries: dict[str, str]) -> int:
    """Return how long the JSON object is; no character in it needs more than one byte."""
    inside = sum(len(key) + len(text) for key, text in entries.items())
    return 2 + inside + 6 * len(entries) + 2 * max(0, len(entries) - 1)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

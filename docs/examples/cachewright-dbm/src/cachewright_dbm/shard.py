"""A shard is a small dbm database that is never changed: a write makes the next one and points to it."""

from __future__ import annotations

import dbm
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Shard:
    """The database of the keys that share the first byte of a digest.

    Everything but ``locked`` is called under the lock.

    Args:
        folder: where its databases lie, each in a folder of its own, with the name of the current one in
            the file ``current``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def locked(self, *, alone: bool) -> Iterator[None]:
        """Keep writers out, or everybody with ``alone``: threads, processes and forked children.

        The lock belongs to the file as it was opened here, so nothing of it is shared with other threads.
        """
        if alone:
            self._folder.parent.mkdir(mode=0o700, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
        elif not self._folder.is_dir():
            yield
            return
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield
        finally:
            # closing would not do: a child that was forked meanwhile holds the same open file, and its lock
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def get(self, key: str) -> bytes | None:
        """Return what is stored under the key."""
        return self.entries(only=key).get(key)

    def entries(self, only: str = "") -> dict[str, bytes]:
        """Return all keys with what is stored under them, or the one that is asked for.

        A damaged database holds nothing: what it held is computed anew.
        """
        current = self._current()
        if not current:
            return {}
        try:
            with dbm.open(os.fspath(self._folder / current / "entries"), "r") as database:
                keys = [only.encode()] if only else map(_as_bytes, database.keys())
                return {str(key, "ascii"): database[key] for key in keys if key in database}
        except Exception:  # some dbm modules evaluate their index, which may raise anything
            return {}

    def replace(self, key: str, stored: bytes | None) -> None:
        """Put ``stored`` under the key, or nothing."""
        entries = self.entries()
        if stored is None and key not in entries:
            return
        entries.pop(key, None)
        if stored is not None:
            entries[key] = stored
        before = self._current()
        after = str(int(before or 0) + 1)
        self._write(self._folder / after, entries)
        pointer = self._folder / "current.new"
        with open(os.open(pointer, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(after)
        pointer.replace(self._folder / "current")
        self._remove(before)

    def clear(self) -> None:
        """Remove everything: the pointer first, so that a crash leaves nothing half-removed."""
        current = self._current()
        (self._folder / "current").unlink(missing_ok=True)
        self._remove(current)

    def _write(self, folder: Path, entries: dict[str, bytes]) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # of a writer that was killed
        folder.mkdir(mode=0o700)
        with dbm.open(os.fspath(folder / "entries"), "n", 0o600) as database:
            for key, stored in entries.items():
                database[key.encode()] = stored

    def _current(self) -> str:
        try:
            name = (self._folder / "current").read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return ""
        return name if name.isdecimal() else ""

    def _remove(self, name: str) -> None:
        if name:
            shutil.rmtree(self._folder / name, ignore_errors=True)


def _as_bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key

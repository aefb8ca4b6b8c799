"""A quarantined index is one that could not be used, kept under another name for whoever wants to look."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from cachewright.builtin.sqlite.directory import exclusive
from cachewright.builtin.sqlite.schema import SIDE_FILES

if TYPE_CHECKING:
    from cachewright.directory import StoreDirectory

KEPT = 3
"""Quarantined indexes that are kept; a disk that damages one after the other must not fill up."""

_NAME = re.compile(r"(?P<index>index-v1-[0-9a-f]{8}\.sqlite3)\.corrupt-(?P<stamp>[0-9TZ]+(-\d+)?)")


def set_aside(directory: StoreDirectory, name: str, identity: tuple[int, int], timeout: float) -> str:
    """Rename a damaged index to ``<name>.corrupt-<UTC time>``; return the new name.

    Returns an empty string where another process was faster.

    Raises:
        OSError: it cannot be renamed.
        EngineError: other processes kept the directory locked for ``timeout`` seconds.
    """
    descriptor = directory.descriptor
    with exclusive(directory, timeout):
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return ""
        if (status.st_dev, status.st_ino) != identity:
            return ""
        present = set(os.listdir(descriptor))
        target = stem = f"{name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        number = 0
        while target in present:
            number += 1
            target = f"{stem}-{number}"
        for suffix in ("", *SIDE_FILES):
            with suppress(FileNotFoundError):
                os.rename(name + suffix, target + suffix, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        _forget_oldest(present | {target}, descriptor)
        return target


def _forget_oldest(names: set[str], descriptor: int) -> None:
    found = sorted((match["stamp"], match[0]) for match in map(_NAME.fullmatch, names) if match)
    for _, name in found[:-KEPT]:
        for suffix in ("", *SIDE_FILES):
            with suppress(OSError):  # a directory in its place is left alone
                os.unlink(name + suffix, dir_fd=descriptor)

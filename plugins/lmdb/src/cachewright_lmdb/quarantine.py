"""A quarantined file is one that could not be used, kept under another name for whoever wants to look."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from lmdb import verify as verifier

from cachewright_lmdb.pages import misfit_of
from cachewright_lmdb.place import DATA, LOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachewright.directory import StoreDirectory

KEPT: Final = 3
"""Quarantined files that are kept; a disk that damages one after the other must not fill up."""

_NAME = re.compile(re.escape(DATA) + r"\.corrupt-(?P<stamp>[0-9TZ]+(-\d+)?)")


def damage_of(path: str) -> str:
    """Return what is wrong with a file of entries, in a few words; empty if nothing is.

    LMDB trusts the pages of its file, so that a damaged one can end the process. This reads it as bytes.
    """
    check: Callable[[str, bool], list[str]] = getattr(verifier, "verify")  # noqa: B009 - it has no types
    try:
        problems = check(path, False)  # noqa: FBT003 - that it is no directory
        misfit = "" if problems else misfit_of(path)
    except verifier.VerifyError as error:
        return str(error)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - foreign code on damaged input; whatever it raises means damage
        return f"{type(error).__name__}: {error}"
    return problems[0] if problems else misfit


def set_aside(directory: StoreDirectory) -> str:
    """Rename the file to ``<name>.corrupt-<UTC time>``; return the new name, empty if it is gone.

    Raises:
        OSError: it cannot be renamed.
    """
    descriptor = directory.descriptor
    present = set(os.listdir(descriptor))  # noqa: PTH208 - of a descriptor, which a path is not
    target = stem = f"{DATA}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    number = 0
    while target in present:
        number += 1
        target = f"{stem}-{number}"
    try:
        os.rename(DATA, target, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except FileNotFoundError:
        target = ""
    with suppress(FileNotFoundError):  # processes that have the old file open go on using the old lock file
        os.unlink(LOCK, dir_fd=descriptor)
    found = sorted((match["stamp"], match[0]) for match in map(_NAME.fullmatch, present | {target}) if match)
    for _, name in found[:-KEPT]:
        with suppress(OSError):  # a directory in its place is left alone
            os.unlink(name, dir_fd=descriptor)
    return target

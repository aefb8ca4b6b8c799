"""An environment is LMDB's handle on a file, opened only after the file has been looked at."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import lmdb

from cachewright.errors import EngineUnavailableError
from cachewright_lmdb.failure import ENGINE, DamagedStoreError, is_damage
from cachewright_lmdb.options import SMALLEST_MAP
from cachewright_lmdb.place import DATA, LOCK
from cachewright_lmdb.quarantine import damage_of, set_aside

if TYPE_CHECKING:
    from cachewright_lmdb.options import Options
    from cachewright_lmdb.place import Place

T = TypeVar("T")

Txn: TypeAlias = "lmdb.Transaction[bytes]"

Work: TypeAlias = Callable[[Txn], T]
"""What is done inside a transaction; it may be done again from the start."""

CHECKED: Final = 16 << 20
"""Bytes up to which a file that was not closed in order is checked: a fifth of a second at most."""

_READER_BYTES = 64
_HEAD_READERS = 2
"""The head of LMDB's lock file is as long as three slots, one of which counts as a reader."""


def open_environment(
    place: Place, options: Options, *, known: tuple[int, int] | None, notices: list[str]
) -> lmdb.Environment:
    """Open the file of a place; whoever calls this is its writer.

    Args:
        place: where it is.
        options: of the store.
        known: device and inode of the file that this process had open before, and need not look at again;
            ``None`` if there is reason to look whatever is known.
        notices: takes a sentence for the user where a damaged file was set aside.

    Raises:
        UntrustedStoreError: one of its files could be somebody else's.
        EngineUnavailableError: it is damaged and cannot be set aside.
        lmdb.Error, OSError: it cannot be opened.
    """
    directory = place.directory
    directory.check_file(LOCK)
    status = directory.check_file(DATA)
    alone = place.enter()
    try:
        if status is not None and identity_of(status) != known:
            damage = _damage(place, status, alone=alone, suspect=known is None)
            if damage:
                notices += quarantine(place, damage)
        if alone:
            place.note_opened()
        _reserve_lock(place, options.max_readers, alone=alone)
        try:
            environment = _opened(place, options)
        except lmdb.Error as error:
            if not is_damage(error):
                raise
            notices += quarantine(place, str(error))
            environment = _opened(place, options)
    except BaseException:
        if alone and (status is None or not status.st_size):
            with suppress(OSError):  # half of a new file is worth nothing, and would count as damaged
                os.unlink(DATA, dir_fd=directory.descriptor)
        place.leave()
        raise
    place.stay()
    environment.reader_check()
    return environment


def within(environment: lmdb.Environment, work: Work[T], *, write: bool) -> T:
    """Return what ``work`` returns inside a transaction, which is committed if it is to ``write``.

    Raises:
        lmdb.Error: nothing was done.
    """
    txn = environment.begin(write=write)
    try:
        result = work(txn)
        if write:
            txn.commit()
    except struct.error as error:
        raise DamagedStoreError(f"a record cannot be read: {error}") from error
    except SystemError as error:  # a method of a cursor both returned something and failed
        if isinstance(error.__cause__, lmdb.Error):
            raise error.__cause__ from error
        raise
    finally:
        txn.abort()  # does nothing where it was committed
    return result


def identity_of(status: os.stat_result | None) -> tuple[int, int]:
    """Return device and inode; zeros for none."""
    return (0, 0) if status is None else (status.st_dev, status.st_ino)


def quarantine(place: Place, damage: str) -> list[str]:
    """Set the file of a place aside; return what to tell the user.

    Raises:
        EngineUnavailableError: that is not possible.
    """
    try:
        name = set_aside(place.directory)
    except OSError as error:
        raise EngineUnavailableError(
            ENGINE, "open the store", f"{place.data} is damaged ({damage}) and cannot be renamed",
            hint="remove it, or give another path=",
        ) from error  # fmt: skip
    if not name:
        return []
    return [f"{place.data} was damaged ({damage}); it is now called {name}, and a new one was made"]


def _damage(place: Place, status: os.stat_result, *, alone: bool, suspect: bool) -> str:
    """Return what is wrong with the file, empty for nothing; a file that others use is hardly looked at."""
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if not status.st_size:  # a process was killed when it had just made it
        return ""
    if suspect:
        return damage_of(place.data)
    if alone:
        return "" if place.is_sound(status, CHECKED) else damage_of(place.data)
    return damage_of(place.data) if place.read_only and status.st_size <= CHECKED else ""


def _opened(place: Place, options: Options) -> lmdb.Environment:
    size = options.map_size
    while True:
        try:
            return lmdb.open(
                place.data,
                subdir=False,
                map_size=size,
                max_readers=options.max_readers,
                max_spare_txns=1,
                sync=options.durable,
                readonly=place.read_only,
                mode=0o600,
                lib_version=0,
            )
        except lmdb.Error as error:  # address space may be limited
            if getattr(error, "code", 0) != errno.ENOMEM or size // 2 < SMALLEST_MAP:
                raise
            size //= 2


def _reserve_lock(place: Place, readers: int, *, alone: bool) -> None:
    """Write the whole lock file: LMDB maps it, and a hole in it kills the process where the disk is full."""
    if place.read_only or not alone:
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(LOCK, flags, 0o600, dir_fd=place.directory.descriptor)
    try:
        wanted = (readers + _HEAD_READERS) * _READER_BYTES  # a larger file would have more slots
        present = os.fstat(descriptor).st_size
        if present < wanted:
            os.pwrite(descriptor, bytes(wanted - present), present)
    finally:
        os.close(descriptor)

"""klepto, imported without a trace in the rest of the program, and opened only in forms that hold data."""

from __future__ import annotations

import sys
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

_DILL_BY_THE_PROGRAM: Final = "dill" in sys.modules

import dill  # noqa: E402 - it has to be known whether we are the first
import klepto.archives as _public  # noqa: E402 - as above
import klepto.rounding as _rounding  # noqa: E402 - as above
from klepto import _archives  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

if not _DILL_BY_THE_PROGRAM:
    # klepto imports dill, which teaches the standard pickler its types and so changes what others write
    dill.extend(use_dill=False)  # pyright: ignore[reportUnknownMemberType] - dill has no types

# klepto names its temporary files with random.random(): storing a result would advance the generator that
# the program has seeded, and two forked children would choose the same names
_archives.random = SystemRandom().random


class Archive(Protocol):
    """What is used of an archive: klepto's dictionary without a cache in front of it."""

    def __setitem__(self, key: str, value: object, /) -> None: ...
    def __getitem__(self, key: str, /) -> Any: ...
    def __delitem__(self, key: str, /) -> None: ...
    def update(self, adict: object, /) -> None: ...


def dir_archive(path: str) -> Archive:
    """Return a directory archive that writes JSON, which holds no code."""
    made = cast("Any", _public).dir_archive(
        path, cached=False, serialized=True, protocol="json", permissions=0o700
    )
    return cast("Archive", made)


def file_archive(path: str) -> Archive:
    """Return an archive in one file of JSON, which is made if it is absent."""
    return cast("Archive", cast("Any", _public).file_archive(path, cached=False, protocol="json"))


def hdf_archive(path: str) -> Archive:
    """Return an archive in one HDF5 file that stores arrays as they are, under names in JSON."""
    made = cast("Any", _public).hdf_archive(path, cached=False, serialized=False, protocol="json")
    return cast("Archive", made)


def sqltable_archive(table: str, connect: Callable[[], Connection]) -> Any:
    """Return an archive in a table of two text columns, on what ``connect`` returns.

    ``serialized=True`` would have the column unpickled with every row that is read.
    """
    return cast("Any", _public).sqltable_archive(
        f"sqlite:///store?table={table}", cached=False, serialized=False, creator=connect
    )


def dict_archive() -> dict[Any, Any]:
    """Return an archive in memory, which is a dict in every respect that matters here."""
    return cast("dict[Any, Any]", cast("Any", _public).dict_archive(cached=False))


def rounder(tol: int) -> Callable[..., tuple[Any, ...]]:
    """Return klepto's own rounding: called with values, it returns them, the floats among them rounded."""

    def collected(*values: object) -> tuple[object, ...]:
        return values

    return cast("Callable[..., tuple[Any, ...]]", cast("Any", _rounding).simple_round(tol)(collected))

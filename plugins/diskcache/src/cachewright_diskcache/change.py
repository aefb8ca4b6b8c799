"""A change is one entry that is to be stored or removed, perhaps only over what is expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachewright.engine import MappedBlob
from cachewright.entry import MISSING
from cachewright_diskcache.failure import RefusedRowError

if TYPE_CHECKING:
    from cachewright.engine import Blob
    from cachewright.entry import MissingType
    from cachewright_diskcache.cache import BytesCache, Fields
    from cachewright_diskcache.shard import Shard

_STEP = 1 << 16


@dataclass(slots=True, eq=False)
class Change:
    """One entry to be changed.

    Attributes:
        key: as it is stored.
        shard: the database it belongs to.
        expected: what has to be stored now; ``None`` for anything.
        fields: of the new row; ``None`` to remove it.
        expires: deadline on the wall clock, ``None`` for none.
        made: whether the change took place.
    """

    key: bytes
    shard: Shard
    expected: Blob | MappedBlob | MissingType | None = None
    fields: Fields | None = None
    expires: float | None = None
    made: bool = False

    def undo(self) -> None:
        """Remove the file of a row that was not stored."""
        if self.fields is not None and self.fields[2] is not None:
            self.shard.disk.remove(self.fields[2])


def make(cache: BytesCache, changes: list[Change], tag: str, now: float) -> None:
    """Make changes in turn, in one transaction; each says afterwards whether it took place."""
    with cache.transact():
        for change in changes:
            expected = change.expected
            change.made = expected is None or _holds(cache, change.key, expected, now)
            if not change.made:
                continue
            if change.fields is None:
                cache.drop(change.key, now)
            else:
                cache.put(change.key, change.fields, change.expires, tag, now)


def _holds(cache: BytesCache, key: bytes, expected: Blob | MappedBlob | MissingType, now: float) -> bool:
    """Whether what is stored has the content that is expected; ``MISSING`` stands for nothing."""
    row = cache.find(key, now)
    stored: Blob | MappedBlob | MissingType = MISSING
    if row is not None:
        try:
            stored = cache.disk.fetch(row[0], row[1], row[2], False)  # noqa: FBT003 - the library's own parameter
        except (RefusedRowError, FileNotFoundError):
            stored = MISSING
    if stored is MISSING or expected is MISSING:
        return stored is expected
    return _same(stored, expected)


def _same(one: Blob | MappedBlob, other: Blob | MappedBlob) -> bool:
    if isinstance(one, MappedBlob) and isinstance(other, MappedBlob) and one.identity == other.identity:
        return True
    left, right = _view(one), _view(other)
    if left.nbytes != right.nbytes:
        return False
    steps = range(0, left.nbytes, _STEP)  # views compare item by item; bytes compare at memory speed
    return all(bytes(left[at : at + _STEP]) == bytes(right[at : at + _STEP]) for at in steps)


def _view(blob: Blob | MappedBlob) -> memoryview:
    view = blob.view if isinstance(blob, MappedBlob) else memoryview(blob)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")

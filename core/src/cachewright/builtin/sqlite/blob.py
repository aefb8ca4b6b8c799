"""A blob is compared and measured here, whatever kind of buffer it comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachewright.engine import MappedBlob
from cachewright.entry import MISSING

if TYPE_CHECKING:
    from cachewright.engine import Blob, Chunks
    from cachewright.entry import MissingType

_STEP = 1 << 16


def length_of(chunks: Chunks) -> int:
    """Return the number of bytes in all chunks together."""
    return sum([chunk.nbytes if isinstance(chunk, memoryview) else len(chunk) for chunk in chunks])


def joined(chunks: Chunks) -> bytes:
    """Return the concatenation of the chunks, without a copy where there is but one of bytes."""
    if len(chunks) == 1 and type(chunks[0]) is bytes:
        return chunks[0]
    return b"".join(chunks)


def content_equals(one: Blob | MappedBlob, other: Blob | MappedBlob) -> bool:
    """Whether two blobs hold the same bytes."""
    if isinstance(one, MappedBlob) and isinstance(other, MappedBlob) and one.identity == other.identity:
        return True
    left, right = _view(one), _view(other)
    if left.nbytes != right.nbytes:
        return False
    steps = range(0, left.nbytes, _STEP)  # views compare item by item; bytes compare at memory speed
    return all(bytes(left[at : at + _STEP]) == bytes(right[at : at + _STEP]) for at in steps)


def holds_expected(
    stored: MappedBlob | bytes | MissingType, expected: Blob | MappedBlob | MissingType
) -> bool:
    """Whether what is stored has the content that is expected; ``MISSING`` stands for nothing."""
    if stored is MISSING or expected is MISSING:
        return stored is expected
    return content_equals(stored, expected)


def _view(blob: Blob | MappedBlob) -> memoryview:
    view = blob.view if isinstance(blob, MappedBlob) else memoryview(blob)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")

"""Memory is kept in frames: a large piece in one of its own, uncopied, small ones together in the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

OWN_FRAME: Final = 16 * 1024
"""A piece of so many bytes travels in a frame of its own; that costs a digest and a view."""

_ALIGNMENT: Final = 64
_POOL: Final = 1
"""Number of the frame with the small pieces; frame 0 is the description."""


class MemoryWriter:
    """Collects pieces of memory; each is known by its place from then on."""

    def __init__(self) -> None:
        self._pool: list[bytes | memoryview] = []
        self._pool_size = 0
        self._own: list[memoryview] = []

    def add(self, piece: bytes | memoryview) -> list[int]:
        """Return the place of a piece: the number of its frame, or offset and size in the pool."""
        view = memoryview(piece)
        if view.nbytes >= OWN_FRAME:
            self._own.append(view)
            return [_POOL + len(self._own)]
        offset = self._pool_size
        padding = -view.nbytes % _ALIGNMENT
        self._pool += (view, bytes(padding))
        self._pool_size += view.nbytes + padding
        return [offset, view.nbytes]

    def frames(self) -> list[bytes | memoryview]:
        """Return the pool and the large pieces."""
        return [b"".join(self._pool), *self._own]


class MemoryReader:
    """Finds pieces of memory by their places."""

    def __init__(self, frames: Sequence[memoryview]) -> None:
        self._frames: list[memoryview] = [frame.cast("B") for frame in frames]

    def at(self, place: object) -> memoryview:
        """Return a piece; ``ValueError``, ``TypeError`` or ``IndexError`` if there is none."""
        numbers = cast("list[Any]", place)
        if type(place) is not list or not all(type(number) is int and number >= 0 for number in numbers):
            raise TypeError("a place is one number or two")
        if len(numbers) == 1:
            number: int = numbers[0]
            if number <= _POOL:
                raise ValueError("not the frame of a large piece")
            return self._frames[number]
        offset, size = numbers
        pool: memoryview = self._frames[_POOL]
        if offset + size > pool.nbytes:
            raise ValueError("the pool is too small")
        return pool[offset : offset + size]

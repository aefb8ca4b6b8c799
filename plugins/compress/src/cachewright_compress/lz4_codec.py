"""The lz4 codec: one LZ4 block, whose size the envelope keeps."""

from __future__ import annotations

from typing import Any, Final

import lz4.block

from cachewright.codec import Codec

_LARGEST_RATIO: Final = 255
"""One byte of a block stands for at most so many."""

_SPARE: Final = 64
"""Bytes by which a tiny block may exceed that ratio."""

_block: Any = lz4.block  # untyped


class Lz4Codec(Codec):
    """LZ4."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Return one block; raises ``OverflowError`` for more than 2 GB."""
        block: bytes = _block.compress(data, store_size=False)
        return block

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        """Return the content of one block.

        Raises:
            ValueError: it cannot hold ``size`` bytes, or holds fewer.
            lz4.block.LZ4BlockError: it is damaged, holds more, or does not end where ``data`` ends.
        """
        # the library allocates what it is told before it reads anything
        if size > _LARGEST_RATIO * len(data) + _SPARE:
            raise ValueError("so few bytes cannot be so many")
        whole: bytes = _block.decompress(data, uncompressed_size=size)
        if len(whole) != size:
            raise ValueError("another size")
        return whole

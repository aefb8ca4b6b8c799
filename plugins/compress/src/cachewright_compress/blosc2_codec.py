"""The blosc2 codec: one Blosc2 chunk of shuffled bytes, compressed by Zstandard inside."""

from __future__ import annotations

import struct
from typing import Any, Final

import blosc2

from cachewright.codec import Codec

_HEADER: Final = struct.Struct("<BBBBIII6sBB6sBB")
_SHUFFLE_ALONE: Final = bytes((1, 0, 0, 0, 0, 0)), bytes(6)
_ZSTD: Final = 5
_FORMAT_OF_FLAGS: Final = 0b1110_0000
_ZSTD_FORMAT: Final = 4 << 5
_COPIED: Final = 0b10
_WORD: Final = 8
_ALL_ZEROS: Final = 1 << 4

_library: Any = blosc2  # untyped


class Blosc2Codec(Codec):
    """Blosc2, in the thread that calls it."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Return one chunk; raises ``ValueError`` or ``RuntimeError`` for more than 2 GB."""
        chunk: bytes = _library.compress2(
            data,
            codec=_library.Codec.ZSTD,
            clevel=1,
            typesize=_WORD,
            nthreads=1,
            filters=[_library.Filter.SHUFFLE],
            filters_meta=[0],
        )
        return chunk

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        """Return the content of one chunk of the kind that :meth:`compress` makes.

        Any other kind is refused before the library sees it: a chunk can name codecs and filters that it
        would look for in other packages, and content that it would leave as the memory was.

        Raises:
            ValueError: it is no such chunk of ``size`` bytes, or is damaged.
        """
        if len(data) < _HEADER.size:
            raise ValueError("too short for a chunk")
        _, _, flags, word, nbytes, block, length, filters, codec, codec_meta, metas, more_flags, special = (
            _HEADER.unpack_from(data)
        )
        if (nbytes, length) != (size, len(data)) or block > max(size, 1):
            raise ValueError("not one chunk of that size")
        plain_format = flags & _FORMAT_OF_FLAGS == _ZSTD_FORMAT or flags & _COPIED
        if (filters, metas) != _SHUFFLE_ALONE or (codec, codec_meta) != (_ZSTD, 0) or not plain_format:
            raise ValueError("a chunk of another kind")
        if word != _WORD or more_flags or special not in (0, _ALL_ZEROS):
            raise ValueError("a chunk of a special kind")
        whole: bytes = _library.decompress2(data, nthreads=1)
        return whole

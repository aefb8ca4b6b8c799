"""The zstd-shuffle codec brings like bytes of numbers together before Zstandard sees them.

The first bytes of neighbouring floats are alike, their last bytes are noise. Of a run of ``n`` whole
words of eight bytes, all first bytes are written, then all second ones, and so on; the rest follows as it
is. Four-byte numbers gain as well, for they come in pairs. Blosc (2010) made this known.
"""

from __future__ import annotations

from typing import Final

from cachewright_compress.zstd_codec import ZstdCodec

_WORD: Final = 8


class ShuffleCodec(ZstdCodec):
    """Zstandard over shuffled bytes."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Return one frame of the shuffled bytes."""
        whole = bytes(data)
        end = len(whole) - len(whole) % _WORD
        columns = [whole[column:end:_WORD] for column in range(_WORD)]
        return super().compress(b"".join([*columns, whole[end:]]))

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        """Return the bytes in their order; see :meth:`ZstdCodec.decompress`."""
        shuffled = memoryview(super().decompress(data, size=size))
        words = size // _WORD
        end = words * _WORD
        whole = bytearray(size)
        for column in range(_WORD):
            whole[column:end:_WORD] = shuffled[column * words : (column + 1) * words]
        whole[end:] = shuffled[end:]
        return bytes(whole)

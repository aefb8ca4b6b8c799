"""The zstd codec: one Zstandard frame (RFC 8878) that names the size of its content."""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from cachewright.codec import Codec

_LEVEL: Final = 3
_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class _Contexts(threading.local):
    """The working memory of one thread: making it anew costs more than compressing 2 KB."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


class ZstdCodec(Codec):
    """Zstandard."""

    def __init__(self) -> None:
        self._contexts = _Contexts()

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Return one frame, without checksum: entries are authenticated as a whole."""
        return self._contexts.compressor.compress(data)

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        """Return the content of one frame.

        Raises:
            ValueError: it is no frame of ``size`` bytes, or does not end where ``data`` ends.
            zstandard.ZstdError: it is damaged.
        """
        # the library allocates what the frame names, whatever limit it is given; a skippable frame names a
        # size as well; of an empty frame it reads no more than the name
        if bytes(data[:4]) != _MAGIC or zstandard.frame_content_size(data) != size:
            raise ValueError("not one frame of that size")
        if size:
            return self._contexts.decompressor.decompress(data, max_output_size=size, allow_extra_data=False)
        inflater = zstandard.ZstdDecompressor().decompressobj()
        if inflater.decompress(data) or not inflater.eof or inflater.unused_data:
            raise ValueError("not one empty frame")
        return b""

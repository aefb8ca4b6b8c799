"""The header says what the rest of an envelope is; :mod:`cachewright.envelope` lists its fields."""

from __future__ import annotations

import struct
from typing import Final

from cachewright._envelope_parts import deadline, microsecond

NEGATIVE: Final = 1
"""Flag of an entry that stands for the absence of a value."""
EXCEPTION: Final = 2
"""Flag of an entry that holds an exception."""
CLAIM: Final = 4
"""Flag of what stands for a value that is being computed; see :mod:`cachewright._claims`."""
FLAGS: Final = NEGATIVE | EXCEPTION | CLAIM
"""Every flag there is."""

NO_CODEC: Final = 0
"""In the place of a codec's id where frames are as they are."""

MAGIC: Final = b"\xca\xce\x01"
"""What an envelope of version 1 begins with."""
HEADER: Final = struct.Struct(">3sBBBBB8sqQQQQdQII")
HEADER_SIZE: Final = HEADER.size
JOINED_BELOW: Final = 1 << 16
"""A first frame of fewer bytes is copied into the chunk of the header: one chunk is cheaper to store."""


def packed_header(
    suite: int,
    key_id: bytes,
    sizes: tuple[int, int, int, int],
    *,
    serializer: int,
    codec: int,
    flags: int,
    created: float,
    soft: float | None,
    expires: float | None,
    generation: int,
    seconds: float,
) -> bytes:
    """Return a header; ``sizes`` are raw length, those of first frame and meta, and the number of buffers.

    Raises:
        ValueError: a number is out of range.
    """
    raw, first, meta, count = sizes
    try:
        return HEADER.pack(
            MAGIC, suite, serializer, codec, flags, 0, key_id, microsecond(created), deadline(soft),
            deadline(expires), generation, raw, seconds, first, meta, count,
        )  # fmt: skip
    except (struct.error, OverflowError) as error:
        raise ValueError(f"created={created}, generation={generation}: {error}") from None

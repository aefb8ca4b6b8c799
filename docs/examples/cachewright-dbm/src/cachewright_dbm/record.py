"""A record is an entry as it is stored: when it ends, a checksum, and its bytes."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

HEAD = struct.Struct("<d16s")


@dataclass(frozen=True, slots=True)
class Record:
    """A stored entry; what is damaged or absent has ended long ago.

    Attributes:
        expires: on the wall clock.
        blob: what was stored.
    """

    expires: float
    blob: bytes

    @classmethod
    def of(cls, stored: bytes | None) -> Record:
        """Return the record that was packed so."""
        if stored is None or len(stored) < HEAD.size:
            return ENDED
        expires, digest = HEAD.unpack_from(stored)
        blob = stored[HEAD.size :]
        return cls(expires, blob) if digest == _digest(expires, blob) else ENDED

    def packed(self) -> bytes:
        """Return the bytes to store."""
        return HEAD.pack(self.expires, _digest(self.expires, self.blob)) + self.blob

    def is_alive(self, now: float) -> bool:
        """Whether it has not ended yet."""
        return now < self.expires


def _digest(expires: float, blob: bytes) -> bytes:
    return hashlib.blake2b(blob, digest_size=16, key=struct.pack("<d", expires)).digest()


ENDED = Record(float("-inf"), b"")

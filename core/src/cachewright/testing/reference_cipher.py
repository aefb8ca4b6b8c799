"""A cipher of hash functions alone: right, small and slow; for tests, and for authors to read."""

from __future__ import annotations

import os
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

from cachewright.cipher import KEY_SIZE, Cipher, CipherInfo

NONCE_SIZE: Final = 24
TAG_SIZE: Final = 32
_BLOCK: Final = 64


class ReferenceCipher(Cipher):
    """Keyed BLAKE2b as stream and, over nonce, associated and encrypted bytes, as tag."""

    def __init__(self, key: bytes, /) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a key of {KEY_SIZE} bytes is needed, not one of {len(key)}")
        self._stream = blake2b(key=key, person=b"reference/stream")
        self._tag = blake2b(key=key, digest_size=TAG_SIZE, person=b"reference/tag")

    def seal(self, associated: bytes, plain: bytes | memoryview, /) -> bytes:
        """Return nonce, encrypted bytes and tag."""
        nonce = self.nonce()
        hidden = self.mixed(nonce, plain)
        return nonce + hidden + self.tag(nonce, associated, hidden)

    def open(self, associated: bytes, sealed: bytes | memoryview, /) -> bytes:
        """Return the plain bytes; raises ``ValueError`` if they are not what was sealed."""
        nonce, tag = bytes(sealed[:NONCE_SIZE]), bytes(sealed[-TAG_SIZE:])
        hidden = bytes(sealed[NONCE_SIZE:-TAG_SIZE])
        if len(sealed) < NONCE_SIZE + TAG_SIZE or not self.same(self.tag(nonce, associated, hidden), tag):
            raise ValueError("not what was sealed")
        return self.mixed(nonce, hidden)

    def nonce(self) -> bytes:
        """Return bytes that never come twice."""
        return os.urandom(NONCE_SIZE)

    def same(self, one: bytes, other: bytes) -> bool:
        """Compare two tags, in a time that tells nothing."""
        return compare_digest(one, other)

    def tag(self, nonce: bytes, associated: bytes, hidden: bytes) -> bytes:
        """Return the tag."""
        state = self._tag.copy()
        state.update(nonce + len(associated).to_bytes(8, "big") + associated + hidden)
        return state.digest()

    def mixed(self, nonce: bytes, text: bytes | memoryview) -> bytes:
        """Return ``text`` with the stream of this nonce added, or taken away."""
        stream = bytearray()
        for counter in range(-(-len(text) // _BLOCK)):
            state = self._stream.copy()
            state.update(nonce + counter.to_bytes(8, "big"))
            stream += state.digest()
        size = len(text)
        added = int.from_bytes(text, "big") ^ int.from_bytes(stream[:size], "big")
        return added.to_bytes(size, "big")


REFERENCE: Final = CipherInfo(
    name="reference",
    code=0x7F,
    target="cachewright.testing.reference_cipher:ReferenceCipher",
    summary="for tests: BLAKE2b as stream and tag",
)
"""The record of the cipher of this module."""

"""The aes-gcm cipher: XAES-256-GCM, which is AES-256-GCM under a key that derives from half of a long nonce.

Random nonces of the 12 bytes of GCM repeat too soon: after 2**32 entries under one key the chance is
2**-32, and one repetition gives the authentication away. Of the 24 bytes here, the first 12 derive a key
for the message, so that 2**80 messages are as safe. Specification and test vectors:
https://c2sp.org/XAES-256-GCM. It derives keys as NIST SP 800-108r1 does, with AES-CMAC and a counter.
"""

from __future__ import annotations

import os
import threading
from typing import Final, NoReturn

from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from cachewright.cipher import KEY_SIZE, Cipher

_HALF: Final = 12
_NONCE_SIZE: Final = 2 * _HALF
_TAG_SIZE: Final = 16
_BLOCK: Final = 16
_COUNTERS: Final = b"\x00\x01X\x00", b"\x00\x02X\x00"
_REDUCTION: Final = 0b1000_0111
"""What doubling in the field of CMAC adds when a bit is carried out (NIST SP 800-38B)."""


class AesGcmCipher(Cipher):
    """XAES-256-GCM: 24 random bytes of nonce before, 16 of tag behind the encrypted bytes."""

    def __init__(self, key: bytes, /) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a key of {KEY_SIZE} bytes is needed, not one of {len(key)}")
        self._derivation = _Derivation(key)

    def seal(self, associated: bytes, plain: bytes | memoryview, /) -> bytes:
        """Return nonce, encrypted bytes and tag; raises ``OverflowError`` for more than 2 GB."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + self._message(nonce).encrypt(nonce[_HALF:], plain, associated)

    def open(self, associated: bytes, sealed: bytes | memoryview, /) -> bytes:
        """Return the plain bytes.

        Raises:
            ValueError: it is too short to be anything.
            cryptography.exceptions.InvalidTag: it is not what was sealed.
        """
        if len(sealed) < _NONCE_SIZE + _TAG_SIZE:
            raise ValueError("too short")
        nonce = bytes(sealed[:_NONCE_SIZE])
        return self._message(nonce).decrypt(nonce[_HALF:], memoryview(sealed)[_NONCE_SIZE:], associated)

    def _message(self, nonce: bytes) -> AESGCM:
        return AESGCM(self._derivation.key_of(nonce[:_HALF]))

    def __reduce__(self) -> NoReturn:
        message = "a cipher holds a key and is never pickled"
        raise TypeError(message)


class _Derivation(threading.local):
    """Derives the keys of messages; a block cipher belongs to one thread."""

    def __init__(self, key: bytes) -> None:
        self._blocks = BlockCipher(AES(key), ECB()).encryptor()  # noqa: S305 - of single, distinct blocks
        doubled = int.from_bytes(self._blocks.update(bytes(_BLOCK)), "big") << 1
        carried = doubled >> (8 * _BLOCK)
        subkey = (doubled ^ (carried << (8 * _BLOCK))) ^ carried * _REDUCTION
        self._twice = (subkey << (8 * _BLOCK)) | subkey

    def key_of(self, half: bytes) -> bytes:
        """Return the key for the messages whose nonces begin with these 12 bytes."""
        first, second = _COUNTERS
        blocks = int.from_bytes(first + half + second + half, "big") ^ self._twice
        return self._blocks.update(blocks.to_bytes(2 * _BLOCK, "big"))

"""A suite is the way in which the tag of an envelope is computed; configuration alone chooses it."""

from __future__ import annotations

from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Final, Protocol

from cachewright.errors import EnvelopeError

if TYPE_CHECKING:
    from cachewright.cipher import Cipher
    from cachewright.keyring import SubKey

CHK: Final = 0
"""Unkeyed BLAKE2b: finds damage and swapped entries, does not tell who wrote them."""
MAC_BLAKE2B: Final = 1
"""Keyed BLAKE2b-256: fastest for small entries."""
MAC_SHA256: Final = 2
"""HMAC-SHA-256: fastest for large entries, because processors have instructions for it."""

DIGEST_SIZE: Final = 32
"""Size of the digest of a large buffer, in every suite."""

_BLOCK: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class Suite(Protocol):
    """Computes tags and digests with the key of one namespace; callable from several threads."""

    code: int
    key_id: bytes
    tag_size: int

    def tag(self, head: bytes, first: bytes | memoryview, /) -> bytes:
        """Return the tag over what the suite was made for, ``head`` and ``first``."""
        ...

    def digest(self, buffer: bytes | memoryview, /) -> bytes:
        """Return the digest by which a tag covers a large buffer."""
        ...


class Blake2bSuite:
    """BLAKE2b, keyed or not: the state that has taken in key and prefix is copied for every tag."""

    __slots__ = ("_state", "code", "key_id", "tag_size")

    def __init__(self, prefix: bytes, key: SubKey | None) -> None:
        if key is None:
            self.code, self.key_id, self.tag_size = CHK, bytes(8), 16
            self._state = blake2b(prefix, digest_size=16, person=b"cachewright/chk")
        else:
            self.code, self.key_id, self.tag_size = MAC_BLAKE2B, key.key_id, 32
            self._state = blake2b(prefix, key=key.blake2b, digest_size=32, person=b"cachewright/mac")

    def tag(self, head: bytes, first: bytes | memoryview, /) -> bytes:
        """Return the tag, 16 bytes unkeyed and 32 keyed."""
        state = self._state.copy()
        state.update(head)
        state.update(first)
        return state.digest()

    def digest(self, buffer: bytes | memoryview, /) -> bytes:
        """Return the BLAKE2b-256 of a buffer."""
        return blake2b(buffer, digest_size=DIGEST_SIZE, person=b"cachewright/buf").digest()


class HmacSuite:
    """HMAC-SHA-256 (RFC 2104) from two copied states, which is what makes it cheap for many entries."""

    __slots__ = ("_inner", "_outer", "code", "key_id", "tag_size")

    def __init__(self, prefix: bytes, key: SubKey) -> None:
        self.code, self.key_id, self.tag_size = MAC_SHA256, key.key_id, 32
        block = key.hmac.ljust(_BLOCK, b"\0")
        self._inner = sha256(block.translate(_INNER) + prefix)
        self._outer = sha256(block.translate(_OUTER))

    def tag(self, head: bytes, first: bytes | memoryview, /) -> bytes:
        """Return the 32 bytes of the tag."""
        inner = self._inner.copy()
        inner.update(head)
        inner.update(first)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def digest(self, buffer: bytes | memoryview, /) -> bytes:
        """Return the SHA-256 of a buffer."""
        return sha256(buffer).digest()


class CipherSuite:
    """Encrypts what follows a header, and authenticates the header with it, by a cipher from a plugin.

    It has no tag of its own, so it is no :class:`Suite`: nothing that verifies tags can be handed one.
    """

    __slots__ = ("_cipher", "_prefix", "code", "key_id")

    def __init__(self, prefix: bytes, key: SubKey, code: int, cipher: type[Cipher]) -> None:
        self.code, self.key_id = code, key.key_id
        self._prefix = prefix
        self._cipher = cipher(key.cipher)

    def seal(self, head: bytes, plain: bytes) -> bytes:
        """Return the encrypted form of ``plain``, bound to what the suite was made for and to ``head``."""
        return self._cipher.seal(self._prefix + head, plain)

    def open(self, head: bytes, sealed: memoryview) -> bytes:
        """Return the plain bytes.

        Raises:
            EnvelopeError: ``auth``; they are not what was sealed.
        """
        try:
            return self._cipher.open(self._prefix + head, sealed)
        except MemoryError:
            raise EnvelopeError("decode") from None
        except Exception:  # noqa: BLE001 - a cipher is foreign code, and refuses bytes in its own way
            raise EnvelopeError("auth") from None

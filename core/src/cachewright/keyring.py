"""A key ring holds the secrets that authenticate stored entries: the first signs, every one verifies."""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NoReturn

from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MINIMUM_KEY_SIZE: Final = 32
"""Shortest usable key, in bytes."""

_BLAKE2B_KEY_LIMIT: Final = 64
_HEXADECIMAL: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_NOT_SHOWN: Final = "(not shown)"


class SubKey:
    """The keys of one namespace that derive from one key of the ring; never shown, never pickled.

    Attributes:
        key_id: eight bytes by which an entry names the key that sealed it; tells nothing about it.
        blake2b: 32 bytes for keyed BLAKE2b.
        hmac: 32 other bytes for HMAC.
        cipher: 32 other bytes for encryption.
    """

    __slots__ = ("blake2b", "cipher", "hmac", "key_id")

    def __init__(self, root: bytes, namespace: str, context: str) -> None:
        owner = prefixed(context) + prefixed(namespace)
        material = blake2b(owner, key=root, digest_size=64, person=b"cachewright/sub").digest()
        self.blake2b = material[:32]
        self.hmac = material[32:]
        self.cipher = blake2b(owner, key=root, digest_size=32, person=b"cachewright/enc").digest()
        self.key_id = blake2b(material, digest_size=8, person=b"cachewright/id").digest()

    def __repr__(self) -> str:
        return f"SubKey(key_id={self.key_id.hex()})"

    def __reduce__(self) -> NoReturn:
        raise _not_pickled(self)


class KeyRing:
    """An ordered ring of secret keys, at least 32 bytes each: the first signs, all verify.

    Rotation: put the new key first and drop the old one when the last entry it sealed has expired.

    Raises:
        ConfigurationError: the ring is empty or a key is too short; never shows a key.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = _checked(keys, "")

    @classmethod
    def parse(cls, text: str, *, origin: str = "") -> KeyRing:
        """Read a ring from text: keys in hexadecimal or base64, separated by commas.

        Text that is hexadecimal throughout is read as such. Spaces around keys are ignored.

        Args:
            text: as in ``CACHEWRIGHT_SIGNING_KEYS``.
            origin: where the text came from, for the message.

        Raises:
            ConfigurationError: no key, or one that is not decodable or too short; never shows a key.
        """
        parts = [part.strip() for part in text.split(",")]
        keys = [_decoded(part, number, origin) for number, part in enumerate(parts, 1)]
        return cls(_checked(keys, origin))

    def for_namespace(self, namespace: str, context: str = "cachewright") -> tuple[SubKey, ...]:
        """Return the sub-keys of one namespace of one application, in the order of the ring."""
        return tuple(SubKey(_root(key), namespace, context) for key in self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys, not shown)"

    def __reduce__(self) -> NoReturn:
        raise _not_pickled(self)


def user_ring(path: Path | None = None) -> KeyRing:
    """Return the ring of this user: one key, made on first use and kept outside every cache directory.

    Processes that race for the first use end with the same key.

    Args:
        path: the directory of the key file; default: the user's data directory for cachewright.

    Raises:
        UntrustedStoreError: the directory or the file belongs to somebody else, can be written (the
            file: read) by others, is a symbolic link, or holds no key.
        ConfigurationError: neither can be made or read, for instance on a read-only disk.
    """
    from cachewright._keyfile import read_or_make_key  # noqa: PLC0415 - only persistent engines need it

    if path is None:
        import platformdirs  # noqa: PLC0415 - a few milliseconds that most users never pay

        path = platformdirs.user_data_path("cachewright", appauthor=False)
    return KeyRing([read_or_make_key(path, MINIMUM_KEY_SIZE)])


def prefixed(text: str) -> bytes:
    """Return ``text`` as UTF-8 behind its length, so that joined texts cannot be told apart wrongly."""
    encoded = text.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(8, "big") + encoded


def _root(key: bytes) -> bytes:
    return key if len(key) <= _BLAKE2B_KEY_LIMIT else blake2b(key, person=b"cachewright/long").digest()


def _checked(keys: Sequence[bytes], origin: str) -> tuple[bytes, ...]:
    checked = tuple(bytes(key) for key in keys)
    if not checked:
        raise ConfigurationError("signing_keys", "", "at least one key", origin=origin)
    for number, key in enumerate(checked, 1):
        if len(key) < MINIMUM_KEY_SIZE:
            expected = (
                f"keys of at least {MINIMUM_KEY_SIZE} bytes; key {number} of {len(checked)} has {len(key)}"
            )
            raise ConfigurationError("signing_keys", _NOT_SHOWN, expected, origin=origin)
    return checked


def _decoded(part: str, number: int, origin: str) -> bytes:
    if _HEXADECIMAL.fullmatch(part):
        return bytes.fromhex(part)
    try:
        standard = part.encode("ascii").translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        expected = f"keys in hexadecimal or base64, separated by commas; key {number} is neither"
    raise ConfigurationError("signing_keys", _NOT_SHOWN, expected, origin=origin)


def _not_pickled(secret: object) -> TypeError:
    return TypeError(
        f"a {type(secret).__name__} holds secrets and is never pickled; pass it on in another way"
    )

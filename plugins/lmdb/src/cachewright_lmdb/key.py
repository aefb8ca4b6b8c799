"""A key is stored as bytes of at most 255, in an encoding that every ``str`` has."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

LONGEST: Final = 255
"""LMDB takes keys of 511 bytes at most; prefixes come on top of this."""

_DIGESTED = b"\xff"
"""Begins no UTF-8 text, so that a digest is never mistaken for a key."""


def encoded(key: object) -> bytes:
    """Return the bytes of a key, unless it is long: then a digest of them.

    Raises:
        TypeError: it is no ``str``.
    """
    if not isinstance(key, str):
        raise TypeError(f"the lmdb engine takes keys of type str, not {type(key).__name__}")
    whole = key.encode("utf-8", "surrogatepass")
    return whole if len(whole) <= LONGEST else _DIGESTED + blake2b(whole, digest_size=32).digest()


def spelled(key: str) -> bytes:
    """Return what has to be kept beside a digest, so that the key can be listed; empty for a short key."""
    whole = key.encode("utf-8", "surrogatepass")
    return whole if len(whole) > LONGEST else b""


def decoded(stored: bytes, spelling: bytes) -> str | None:
    """Return the key; ``None`` for what is none, in a record that was damaged."""
    try:
        return (spelling or stored).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None

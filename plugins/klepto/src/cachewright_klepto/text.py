"""The text as which bytes are stored: hexadecimal digits, the only values that reach an archive of text.

Base64 would be a third shorter; encoding and decoding it takes ten times as long.
"""

from __future__ import annotations

import re
from binascii import Error, unhexlify
from typing import Final

from cachewright.entry import MISSING, MissingType
from cachewright.errors import ConfigurationError

LONGEST_KEY: Final = 200
"""Digits of a key: with klepto's prefix it has to be the name of a folder."""

is_key: Final = re.compile(rf"[0-9a-f]{{1,{LONGEST_KEY}}}").fullmatch
_is_text: Final = re.compile(r"[0-9a-f]*").fullmatch


def checked(key: object) -> str:
    """Return ``key`` if it is one: nothing else becomes part of a path or of a name.

    Raises:
        TypeError: it is no ``str``.
        ConfigurationError: it is no digest.
    """
    if not isinstance(key, str):
        raise TypeError(f"the klepto engines take keys of type str, not {type(key).__name__}")
    if is_key(key) is None:
        raise ConfigurationError("key", key, f"at most {LONGEST_KEY} lower-case hexadecimal digits")
    return key


def encoded(blob: bytes) -> str:
    """Return the text of ``blob``."""
    return blob.hex()


def decoded(text: str | memoryview) -> bytes | MissingType:
    """Return the bytes, or ``MISSING`` for what :func:`encoded` never returns."""
    try:
        return unhexlify(text)
    except (Error, ValueError):  # damaged, or no ASCII
        return MISSING


def is_text(value: object) -> bool:
    """Whether :func:`encoded` could have returned it."""
    return isinstance(value, str) and len(value) % 2 == 0 and _is_text(value) is not None

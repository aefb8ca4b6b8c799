"""A key is stored as bytes, in an encoding that every ``str`` has."""

from __future__ import annotations


def encoded(key: object) -> bytes:
    """Return the bytes of a key.

    Raises:
        TypeError: it is no ``str``.
    """
    if not isinstance(key, str):
        raise TypeError(f"the sqlite engine takes keys of type str, not {type(key).__name__}")
    return key.encode("utf-8", "surrogatepass")


def decoded(key: object) -> str | None:
    """Return the key as text; ``None`` for what is none, in a row that was damaged."""
    try:
        return key.decode("utf-8", "surrogatepass") if isinstance(key, bytes) else None
    except UnicodeDecodeError:
        return None

"""The canonical format: tags, lengths and digests of which every encoding is made.

An encoding is a tag, the length or number of what follows, and that. It tells where it ends, so
encodings can stand side by side without anything between them. What is longer than ``LONGEST`` is
replaced by its digest: an encoding is short whatever it stands for, and large buffers are never copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, Literal, TypeAlias

LONGEST: Final = 1024
"""Bytes behind a tag that are written out; more are replaced by their digest."""

_SHORT: Final = 254
"""Lengths below are one byte; the two values above announce a long length and a digest."""

_LONG: Final = b"\xff"
_DIGEST: Final = b"\xfe"
_LENGTH: Final = Struct("<Q").pack

Order: TypeAlias = Literal["sequence", "set", "mapping"]


class RefusedError(Exception):
    """A value has no encoding; becomes ``UnkeyableArgumentError`` where the parameter is known."""

    def __init__(self, kind: type, reason: str = "") -> None:
        self.kind = kind
        self.reason = reason
        super().__init__(reason)


class Encoded(bytes):
    """A finished encoding among values that are still to be encoded."""

    __slots__ = ()


class Parts:
    """A value taken apart: its encoding is made of the encodings of its children.

    Attributes:
        tag: tells what the children mean; tells where it ends.
        children: a snapshot; keys and values take turns in a mapping.
        order: whether the order of the children, or of the pairs of children, matters.
    """

    __slots__ = ("children", "order", "tag")

    def __init__(self, tag: bytes, children: Sequence[object], order: Order = "sequence") -> None:
        self.tag = tag
        self.children = children
        self.order: Order = order


def kind_of(value: object) -> type:
    """Return the type of anything, as a type checker that is strict about ``Any`` wants it."""
    return type(value)


def heads(tag: bytes) -> tuple[bytes, ...]:
    """Return what stands before every short content of this tag, by its length."""
    return tuple(tag + bytes((length,)) for length in range(_SHORT))


def framed(tag: bytes, data: bytes | bytearray | memoryview) -> bytes:
    """Return a tag and a contiguous buffer of anything; a long one is digested without being copied."""
    size = memoryview(data).nbytes
    return tag + _measure(size, size) + (bytes(data) if size <= LONGEST else _digest(data))


def composed(tag: bytes, parts: list[bytes], order: Order = "sequence") -> bytes:
    """Return a tag and the encodings of the children, sorted if their order does not matter."""
    if order == "mapping":
        # Pairs, not keys, are sorted: two NaN are two keys of a dict and one encoding.
        pairs = sorted(zip(parts[::2], parts[1::2], strict=True))
        body = b"".join([part for pair in pairs for part in pair])
    else:
        body = b"".join(sorted(parts) if order == "set" else parts)
    return tag + _measure(len(parts), len(body)) + (body if len(body) <= LONGEST else _digest(body))


def text(value: str) -> bytes:
    """Return the encoding of a text: every code point as it is, lone surrogates too."""
    try:
        data = value.encode()
    except UnicodeEncodeError:
        data = value.encode("utf-8", "surrogatepass")
    length = len(data)
    return TEXT[length] + data if length < _SHORT else framed(b"s", data)


def kind_tag(name: str) -> bytes:
    """Return the tag of a kind of value that has no one-byte tag; ours, so fixed for ever."""
    return b"." + text(name)


TEXT: Final = heads(b"s")


def _measure(number: int, size: int) -> bytes:
    if size > LONGEST:
        return _DIGEST + _LENGTH(number)
    return bytes((number,)) if number < _SHORT else _LONG + _LENGTH(number)


def _digest(data: bytes | bytearray | memoryview) -> bytes:
    return blake2b(data, digest_size=32).digest()

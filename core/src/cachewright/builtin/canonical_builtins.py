"""Encodings of Python's own atoms and containers, and of what inherits from them."""

# Unbound methods of generic classes lose their parameters.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys
from collections.abc import Callable
from types import EllipsisType, NoneType
from typing import Any, Final, TypeAlias

from cachewright.builtin.canonical_format import Encoded, Parts, framed, heads, kind_tag, text
from cachewright.builtin.canonical_numbers import cartesian, integer, real

Leaf: TypeAlias = Callable[[Any], bytes]
Encoder: TypeAlias = Callable[[Any], "bytes | Parts"]

_BYTES = heads(b"b")
_VIEW = kind_tag("memoryview")
_RANGE = kind_tag("range")
_SLICE = kind_tag("slice")


def octets(value: bytes) -> bytes:
    """Return the encoding of bytes."""
    length = len(value)
    return _BYTES[length] + value if length < len(_BYTES) else framed(b"b", value)


def _none(_: object) -> bytes:
    return b"N"


def _ellipsis(_: object) -> bytes:
    return b"E"


def _itself(value: bytes) -> bytes:
    return value


LEAVES: Final[dict[type, Leaf]] = {
    int: integer,
    str: text,
    bool: integer,
    NoneType: _none,
    float: real,
    bytes: octets,
    complex: cartesian,
    EllipsisType: _ellipsis,
    Encoded: _itself,
}
"""Encoders of values without children, by exact type: tried before anything else."""


# Methods are taken from the base: what a subclass makes of them does not change what it is equal to.


def _tuple(value: tuple[Any, ...]) -> Parts:
    return Parts(b"t", tuple(tuple.__iter__(value)))


def _list(value: list[Any]) -> Parts:
    return Parts(b"l", tuple(list.__iter__(value)))


def _set(value: set[Any]) -> Parts:
    return Parts(b"S", tuple(set.__iter__(value)), "set")


def _frozenset(value: frozenset[Any]) -> Parts:
    return Parts(b"F", tuple(frozenset.__iter__(value)), "set")


def _dict(value: dict[Any, Any]) -> Parts:
    pairs: tuple[tuple[Any, Any], ...] = tuple(dict.items(value))
    return Parts(b"d", [part for pair in pairs for part in pair], "mapping")


def _bytearray(value: bytearray) -> bytes:
    return framed(b"B", value)


def _memoryview(value: memoryview) -> bytes | Parts:
    """Equal to bytes, and hashed like them, is a read-only view of bytes; others are a kind of their own."""
    data = value if value.c_contiguous and value.nbytes else value.tobytes()
    layout = value.format.removeprefix("@")
    if value.readonly and layout in {"B", "b"}:
        raw = bytes(data)
        if layout == "b" and all(byte < 128 for byte in raw):
            layout = "B"  # the signed numbers are the unsigned ones
        if layout == "B" and value.ndim == 1:
            return octets(raw)
    order = sys.byteorder if value.itemsize > 1 else ""
    return Parts(_VIEW, (value.readonly, layout, order, value.shape or (), Encoded(framed(b"#", data))))


def _range(value: range) -> Parts:
    """Equal are ranges of equal numbers; a length beyond ``sys.maxsize`` is one too."""
    towards = 1 if value.step > 0 else -1
    length = max(0, (value.stop - value.start + value.step - towards) // value.step)
    return Parts(_RANGE, (length, value.start, value.step)[: min(length, 2) + 1])


def _slice(value: slice) -> Parts:
    return Parts(_SLICE, (value.start, value.stop, value.step))


CONTAINERS: Final[dict[type, Encoder]] = {
    tuple: _tuple,
    list: _list,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
    bytearray: _bytearray,
    memoryview: _memoryview,
    range: _range,
    slice: _slice,
}
"""Encoders of values with children or a buffer, by exact type."""

INHERITED: Final[dict[type, Encoder]] = {
    **{base: CONTAINERS[base] for base in (tuple, list, dict, set, frozenset, bytearray)},
    int: lambda value: integer(int.__index__(value)),
    str: lambda value: text(str.__str__(value)),
    float: lambda value: real(float.__float__(value)),
    bytes: lambda value: octets(bytes.__bytes__(value)),
    complex: lambda value: cartesian(complex.__complex__(value)),
}
"""Encoders for subclasses that keep the equality of their base."""

"""The canonical encoding of values: a tag, lengths, a payload; nothing runs together.

Hashable values follow the equality of Python itself, as functools does: whatever compares equal there,
such as 1, 1.0, ``True`` and ``Decimal(1)``, is encoded alike; all NaN are one value. A list and a tuple, a
set and a frozenset, a bytearray and bytes are different values.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final, TypeAlias

MAX_DEPTH: Final = 200
"""Deepest nesting of containers; a deeper value, or one that contains itself, is refused."""

Encoder: TypeAlias = Callable[[Any, int], bytes]
"""Encodes a value, given the depth at which it is nested."""


class NoEncodingError(Exception):
    """A value has no canonical encoding; becomes an ``UnkeyableArgumentError`` with the parameter's name."""

    def __init__(self, kind: type[Any], reason: str = "") -> None:
        self.type_name = f"{kind.__module__}.{kind.__qualname__}"
        self.reason = reason
        super().__init__(f"{self.type_name}: {reason}")


def encode(value: object, depth: int) -> bytes:
    """Return the encoding of ``value``.

    Raises:
        NoEncodingError: it has none, or is nested too deep. What user code raises passes through.
    """
    kind = type(value)
    encoder = _encoders.get(kind)
    if encoder is None:
        encoder = _encoders[kind] = _find(kind)
    return encoder(value, depth)


def size(number: int) -> bytes:
    """Return the encoding of a length or a count."""
    return number.to_bytes(8, "little")


def blob(tag: bytes, data: bytes) -> bytes:
    """Return ``data`` behind a tag and its length."""
    return tag + len(data).to_bytes(8, "little") + data


def text(value: str) -> bytes:
    """Return the encoding of a text; lone surrogates are kept, and nothing is normalised."""
    return blob(b"s", value.encode("utf-8", "surrogatepass"))


def sequence(tag: bytes, items: Any, depth: int) -> bytes:
    """Return the encodings of some items in order, behind a tag and their number."""
    parts = [encode(item, depth) for item in items]
    return b"".join((tag, size(len(parts)), *parts))


def unordered(tag: bytes, encoded: list[bytes]) -> bytes:
    """Return encodings in an order of their own, each behind its length."""
    encoded.sort()
    return b"".join((tag, size(len(encoded)), *(blob(b"", item) for item in encoded)))


def deeper(value: object, depth: int) -> int:
    """Return the depth of what ``value`` contains.

    Raises:
        NoEncodingError: that is too deep.
    """
    if depth >= MAX_DEPTH:
        raise NoEncodingError(type(value), f"nested deeper than {MAX_DEPTH} levels, or containing itself")
    return depth + 1


def class_name(kind: type[Any]) -> bytes:
    """Return the encoding of a class by its name.

    Raises:
        NoEncodingError: other classes can have that name, since it is local to a function.
    """
    if "<locals>" in kind.__qualname__:
        raise NoEncodingError(kind, "its class is local to a function, so others can have the same name")
    return text(f"{kind.__module__}.{kind.__qualname__}")


# Encoders of builtins -------------------------------------------------------------------------------------


def _none(value: None, depth: int) -> bytes:
    return b"N"


def _ellipsis(value: object, depth: int) -> bytes:
    return b"E"


def integer(value: int, depth: int = 0) -> bytes:
    """Return the encoding of an integer of any size."""
    return blob(b"i", int(value).to_bytes((value.bit_length() + 8) // 8, "little", signed=True))


def ratio(numerator: int, denominator: int) -> bytes:
    """Return the encoding of a rational number in lowest terms."""
    return integer(numerator) if denominator == 1 else b"q" + integer(numerator) + integer(denominator)


def real(value: Any, depth: int = 0) -> bytes:
    """Return the encoding of a real number by its exact value; -0.0 is 0."""
    if value != value:  # noqa: PLR0124 - NaN
        return b"!"
    if value in (_INFINITY, -_INFINITY):
        return b"+" if value > 0 else b"-"
    return ratio(*value.as_integer_ratio())


def _complex(value: complex, depth: int) -> bytes:
    if value != value:  # noqa: PLR0124 - NaN
        return b"!"
    return real(value.real) if value.imag == 0 else b"c" + real(value.real) + real(value.imag)


def _text(value: str, depth: int) -> bytes:
    return blob(b"s", value.encode("utf-8", "surrogatepass"))


def _bytes(value: bytes, depth: int) -> bytes:
    return blob(b"b", value)


def _bytearray(value: bytearray, depth: int) -> bytes:
    return blob(b"B", bytes(value))


def _tuple(value: tuple[Any, ...], depth: int) -> bytes:
    return sequence(b"t", value, deeper(value, depth))


def _list(value: list[Any], depth: int) -> bytes:
    return sequence(b"l", list(value), deeper(value, depth))


def _frozenset(value: frozenset[Any], depth: int) -> bytes:
    depth = deeper(value, depth)
    return unordered(b"f", [encode(item, depth) for item in value])


def _set(value: set[Any], depth: int) -> bytes:
    depth = deeper(value, depth)
    return unordered(b"S", [encode(item, depth) for item in list(value)])


def _dict(value: dict[Any, Any], depth: int) -> bytes:
    depth = deeper(value, depth)
    pairs = [blob(b"", encode(key, depth)) + encode(item, depth) for key, item in list(value.items())]
    return unordered(b"d", pairs)


_INFINITY = float("inf")

_BUILTIN: dict[type[Any], Encoder] = {
    type(None): _none,
    type(...): _ellipsis,
    bool: integer,
    int: integer,
    float: real,
    complex: _complex,
    Fraction: lambda value, depth: ratio(value.numerator, value.denominator),
    str: _text,
    bytes: _bytes,
    bytearray: _bytearray,
    tuple: _tuple,
    list: _list,
    frozenset: _frozenset,
    set: _set,
    dict: _dict,
}

_INHERITABLE: tuple[type[Any], ...] = (bool, int, float, complex, Fraction, str, bytes, tuple, frozenset)
"""Bases whose subclasses are equal to them, unless they say otherwise."""

_CONTAINERS: tuple[type[Any], ...] = (list, set, dict, bytearray)
"""The same for bases that cannot be hashed; their subclasses are taken for what they contain."""

_encoders: dict[type[Any], Encoder] = dict(_BUILTIN)
"""What was found for each type so far."""


finders: list[Callable[[type[Any]], Encoder | None]] = []
"""Asked in turn for the encoder of a type that is no builtin; filled by the key maker's module."""


def forget_found() -> None:
    """Ask the finders again, for every type."""
    _encoders.clear()
    _encoders.update(_BUILTIN)


def _find(kind: type[Any]) -> Encoder:
    """Return the encoder for a type that was not met before.

    Raises:
        NoEncodingError: there is none.
    """
    for finder in finders:
        found = finder(kind)
        if found is not None:
            return found
    for base in _INHERITABLE:
        own: Any = kind
        if issubclass(kind, base) and own.__eq__ is base.__eq__ and own.__hash__ is base.__hash__:
            return _BUILTIN[base]
    for base in _CONTAINERS:
        if issubclass(kind, base) and kind.__hash__ is None:
            return _BUILTIN[base]
    raise NoEncodingError(kind)


def importable(value: object) -> bytes:
    """Return the encoding of a class or function by where it can be imported from.

    Raises:
        NoEncodingError: it is not what is found there, as with lambdas and local functions.
    """
    module, qualname = str(getattr(value, "__module__", "")), str(getattr(value, "__qualname__", ""))
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if found is None or found is not value:
        raise NoEncodingError(type(value), f"{qualname or 'it'} cannot be imported by its name")
    return b"I" + text(module) + text(qualname)

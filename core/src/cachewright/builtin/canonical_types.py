"""Canonical encodings of the standard library's value types, and of dataclasses and enums."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import ipaddress
import pathlib
import re
import types
import uuid
import zoneinfo
from array import array
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from cachewright.builtin.canonical_encoding import (
    NoEncodingError,
    blob,
    class_name,
    deeper,
    encode,
    importable,
    integer,
    ratio,
    sequence,
    text,
    unordered,
)

if TYPE_CHECKING:
    from cachewright.builtin.canonical_encoding import Encoder

MAX_EXPONENT: Final = 5_000
"""Largest decimal exponent that is written out as an integer."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def encoder_for(kind: type[Any]) -> Encoder | None:
    """Return the encoder for a type, or ``None`` if it is not one of those known here."""
    module = kind.__module__.partition(".")[0]
    if module in {"numpy", "pandas", "polars"} or any(
        base.__module__.startswith("numpy") for base in kind.__mro__
    ):
        from cachewright.builtin.canonical_arrays import array_encoder  # noqa: PLC0415 - rarely needed

        found = array_encoder(kind)
        if found is not None:
            return found
    if issubclass(kind, enum.Enum):
        return _enum_encoder(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass_encoder(kind)
    for base, encoder in _KNOWN:
        if issubclass(kind, base):
            return encoder
    return None


def _enum_encoder(kind: type[enum.Enum]) -> Encoder | None:
    if kind.__hash__ is not enum.Enum.__hash__:
        return None  # an IntEnum or StrEnum equals its value: left to the base it inherits from

    def member(value: enum.Enum, depth: int) -> bytes:
        return b"M" + class_name(kind) + encode(value.name or value.value, deeper(value, depth))

    return member


def _dataclass_encoder(kind: type[Any]) -> Encoder:
    generated = getattr(kind.__eq__, "__code__", None)
    if generated is None or generated.co_filename != "<string>":
        raise NoEncodingError(kind, "its equality is its own, not that of its fields")
    names = [field.name for field in dataclasses.fields(kind) if field.compare]

    def fields(value: Any, depth: int) -> bytes:
        depth = deeper(value, depth)
        return (
            b"O"
            + class_name(kind)
            + b"".join(text(name) + encode(getattr(value, name), depth) for name in names)
        )

    return fields


def _decimal(value: Decimal, depth: int) -> bytes:
    if value.is_nan():
        return b"!"
    if value.is_infinite():
        return b"+" if value > 0 else b"-"
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and abs(exponent) > MAX_EXPONENT and value:
        raise NoEncodingError(Decimal, f"its exponent is beyond {MAX_EXPONENT}")
    return ratio(*value.as_integer_ratio())


def _datetime(value: dt.datetime, depth: int) -> bytes:
    nanoseconds = getattr(value, "nanosecond", 0)  # pandas counts finer
    if value.utcoffset() is not None:
        return b"D" + integer((value - _EPOCH) // _MICROSECOND) + integer(nanoseconds)
    naive = value.replace(tzinfo=None, fold=0) - _EPOCH.replace(tzinfo=None)
    return b"w" + integer(naive // _MICROSECOND) + integer(nanoseconds)


def _time(value: dt.time, depth: int) -> bytes:
    offset = value.utcoffset()
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    if offset is None:
        return b"h" + integer(seconds) + integer(value.microsecond)
    return b"H" + integer((seconds * 1_000_000 + value.microsecond) - offset // _MICROSECOND)


def _timedelta(value: dt.timedelta, depth: int) -> bytes:
    nanoseconds = getattr(value, "nanoseconds", 0)  # pandas counts finer
    return (
        b"j"
        + integer((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds)
        + integer(nanoseconds)
    )


def _path(value: pathlib.PurePath, depth: int) -> bytes:
    if isinstance(value, pathlib.PureWindowsPath):
        return b"P" + text(str(value).lower())
    return b"p" + text(str(value))


def _range(value: range, depth: int) -> bytes:
    # Ranges are equal if they yield the same numbers.
    length = len(value)
    parts = (length, value.start if length else 0, value.step if length > 1 else 0)
    return b"r" + b"".join(map(integer, parts))


def _slice(value: slice, depth: int) -> bytes:
    return sequence(b"k", (value.start, value.stop, value.step), deeper(value, depth))


def _pattern(value: re.Pattern[Any], depth: int) -> bytes:
    return b"x" + encode(value.pattern, depth) + integer(value.flags)


def _timezone(value: dt.timezone, depth: int) -> bytes:
    return b"z" + _timedelta(value.utcoffset(None), depth)


def _zone(value: zoneinfo.ZoneInfo, depth: int) -> bytes:
    if cast("str | None", value.key) is None:
        raise NoEncodingError(type(value), "it was made from a file, and has no name")
    return b"Z" + text(value.key)


def _array(value: array[Any], depth: int) -> bytes:
    return b"a" + text(value.typecode) + blob(b"b", value.tobytes())


def _memoryview(value: memoryview, depth: int) -> bytes:
    return b"m" + text(value.format) + sequence(b"t", value.shape or (), depth) + blob(b"b", value.tobytes())


def _partial(value: functools.partial[Any], depth: int) -> bytes:
    depth = deeper(value, depth)
    pairs = [blob(b"", text(name)) + encode(item, depth) for name, item in value.keywords.items()]
    return b"u" + encode(value.func, depth) + sequence(b"t", value.args, depth) + unordered(b"d", pairs)


def _importable(value: Any, depth: int) -> bytes:
    return importable(value)


def _module(value: types.ModuleType, depth: int) -> bytes:
    return b"L" + text(value.__name__)


def _address(value: Any, depth: int) -> bytes:
    return b"A" + text(type(value).__name__) + text(str(value))


_KNOWN: tuple[tuple[type[Any] | tuple[type[Any], ...], Encoder], ...] = (
    (dt.datetime, _datetime),
    (dt.date, lambda value, depth: b"y" + integer(value.toordinal())),
    (dt.time, _time),
    (dt.timedelta, _timedelta),
    (dt.timezone, _timezone),
    (zoneinfo.ZoneInfo, _zone),
    (Decimal, _decimal),
    (uuid.UUID, lambda value, depth: b"U" + value.bytes),
    (pathlib.PurePath, _path),
    (range, _range),
    (slice, _slice),
    (re.Pattern, _pattern),
    (array, _array),
    (memoryview, _memoryview),
    (functools.partial, _partial),
    ((type, types.FunctionType, types.BuiltinFunctionType), _importable),
    (types.ModuleType, _module),
    (
        (
            ipaddress.IPv4Address,
            ipaddress.IPv6Address,
            ipaddress.IPv4Network,
            ipaddress.IPv6Network,
        ),
        _address,
    ),
)
"""Base classes and their encoders; the first that fits is taken."""

"""Encodings of the value types of the standard library, by the names of their types.

Nothing is imported for a type that the application does not use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cachewright.builtin.canonical_builtins import Encoder
from cachewright.builtin.canonical_format import Encoded, Parts, RefusedError, framed, kind_of, kind_tag
from cachewright.builtin.canonical_names import class_itself, function_itself
from cachewright.builtin.canonical_numbers import decimal, fraction

if TYPE_CHECKING:
    import datetime as dt
    import functools
    import pathlib
    import re
    from array import array
    from collections import Counter, OrderedDict, deque
    from types import GenericAlias
    from uuid import UUID
    from zoneinfo import ZoneInfo

NAIVE: Final = kind_tag("datetime")
"""Microseconds since 1970, and attoseconds if there are any; of numpy and pandas too."""

AWARE: Final = kind_tag("instant")
"""The same in UTC."""

DURATION: Final = kind_tag("timedelta")
"""Microseconds, and attoseconds if there are any."""

_AMBIGUOUS = kind_tag("ambiguous instant")
_DATE = kind_tag("date")
_TIME = kind_tag("time")
_AWARE_TIME = kind_tag("time in utc")
_FIXED_ZONE = kind_tag("timezone")
_ZONE = kind_tag("zoneinfo")
_UUID = kind_tag("uuid")
_PATH = kind_tag("path")
_WINDOWS_PATH = kind_tag("windows path")
_PATTERN = kind_tag("pattern")
_ADDRESS = kind_tag("ip address")
_INTERFACE = kind_tag("ip interface")
_NETWORK = kind_tag("ip network")
_PARTIAL = kind_tag("partial")
_ALIAS = kind_tag("generic alias")
_ARRAY = kind_tag("array")
_ORDERED = kind_tag("ordered dict")
_COUNTER = kind_tag("counter")
_DEQUE = kind_tag("deque")

_EPOCH_ORDINAL = 719_163
_DAY = 86_400_000_000


class EncoderTable:
    """Encoders by ``module.qualname``.

    Attributes:
        exact: for this type; a subclass is refused, for it may hold more.
        inherited: also for subclasses that keep equality and hash of this type.
        families: also for subclasses, whatever they define.
    """

    def __init__(
        self,
        *,
        exact: dict[str, Encoder] | None = None,
        inherited: dict[str, Encoder] | None = None,
        families: dict[str, Encoder] | None = None,
    ) -> None:
        self.exact = exact or {}
        self.inherited = inherited or {}
        self.families = families or {}


def _microseconds(value: dt.timedelta) -> int:
    return (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds


def _of_day(value: dt.time | dt.datetime) -> int:
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond


def _datetime(value: dt.datetime) -> Parts:
    """Equal are the same instants, and naive times as they are written.

    A time that its zone has twice or not at all is equal to no time of another zone, and to both its
    folds in its own zone: so says Python.
    """
    wall = (value.toordinal() - _EPOCH_ORDINAL) * _DAY + _of_day(value)
    offset = value.utcoffset()
    if offset is None:
        return Parts(NAIVE, (wall,))
    zone = type(value.tzinfo)
    if (zone.__module__, zone.__qualname__) != ("datetime", "timezone"):
        offset, other = value.replace(fold=0).utcoffset(), value.replace(fold=1).utcoffset()
        if offset is None or offset != other:
            return Parts(_AMBIGUOUS, (wall, value.tzinfo))
    return Parts(AWARE, (wall - _microseconds(offset),))


def _date(value: dt.date) -> Parts:
    return Parts(_DATE, (value.toordinal(),))


def _time(value: dt.time) -> Parts:
    offset = value.utcoffset()
    if offset is None:
        return Parts(_TIME, (_of_day(value),))
    return Parts(_AWARE_TIME, (_of_day(value) - _microseconds(offset),))


def _timedelta(value: dt.timedelta) -> Parts:
    return Parts(DURATION, (_microseconds(value),))


def _timezone(value: dt.timezone) -> Parts:
    return Parts(_FIXED_ZONE, (value.utcoffset(None),))


def _zone(value: ZoneInfo) -> Parts:
    if value.key is None:  # pyright: ignore[reportUnnecessaryComparison] # from_file() needs no key
        raise RefusedError(kind_of(value), "it was read from a file without a key")
    return Parts(_ZONE, (value.key,))


def _uuid(value: UUID) -> Parts:
    return Parts(_UUID, (value.int,))


def _posix_path(value: pathlib.PurePath) -> Parts:
    return Parts(_PATH, value.parts)


def _windows_path(value: pathlib.PurePath) -> Parts:
    return Parts(_WINDOWS_PATH, [part.lower() for part in value.parts])


def _pattern(value: re.Pattern[Any]) -> Parts:
    return Parts(_PATTERN, (value.pattern, int(value.flags)))


def _address(value: Any) -> Parts:
    return Parts(_ADDRESS, (value.version, int(value), getattr(value, "scope_id", None)))


def _interface(value: Any) -> Parts:
    return Parts(_INTERFACE, (value.ip, value.network))


def _network(value: Any) -> Parts:
    return Parts(_NETWORK, (value.network_address, int(value.netmask)))


def _partial(value: functools.partial[Any]) -> Parts:
    return Parts(_PARTIAL, (value.func, value.args, value.keywords))


def _alias(value: GenericAlias) -> Parts:
    return Parts(_ALIAS, (value.__origin__, value.__args__, value.__unpacked__))


def _array(value: array[Any]) -> Parts:
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    return Parts(_ARRAY, (value.typecode, value.itemsize, Encoded(framed(b"#", memoryview(value)))))


def _ordered(value: OrderedDict[Any, Any]) -> Parts:
    return Parts(_ORDERED, [part for pair in tuple(value.items()) for part in pair])


def _counter(value: Counter[Any]) -> Parts:
    """What was not counted, and what was counted zero times, are equal."""
    pairs = [pair for pair in tuple(value.items()) if pair[1]]
    return Parts(_COUNTER, [part for pair in pairs for part in pair], "mapping")


def _deque(value: deque[Any]) -> Parts:
    return Parts(_DEQUE, tuple(value))


_PATHS: Final[dict[str, Callable[[Any], Parts]]] = {"Posix": _posix_path, "Windows": _windows_path}

STANDARD: Final = EncoderTable(
    inherited={
        "builtins.type": class_itself,
        "builtins.function": function_itself,
        "builtins.builtin_function_or_method": function_itself,
        "builtins.method_descriptor": function_itself,
        "types.GenericAlias": _alias,
        "decimal.Decimal": decimal,
        "fractions.Fraction": fraction,
        "datetime.datetime": _datetime,
        "datetime.date": _date,
        "datetime.time": _time,
        "datetime.timedelta": _timedelta,
        "datetime.timezone": _timezone,
        "zoneinfo.ZoneInfo": _zone,
        "uuid.UUID": _uuid,
        "re.Pattern": _pattern,
        **{f"{module}.Pure{name}Path": encoder for name, encoder in _PATHS.items()
           for module in ("pathlib", "pathlib._local")},
        **{f"ipaddress.IPv{version}{name}": encoder for version in (4, 6)
           for name, encoder in (("Address", _address), ("Interface", _interface), ("Network", _network))},
        "functools.partial": _partial,
        "array.array": _array,
        "collections.OrderedDict": _ordered,
        "collections.Counter": _counter,
        "collections.deque": _deque,
    },
)  # fmt: skip

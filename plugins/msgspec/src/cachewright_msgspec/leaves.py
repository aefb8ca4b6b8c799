"""A leaf is a value without parts; the checks say which values of a type come back exactly."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection
from decimal import Decimal
from math import isfinite
from operator import attrgetter
from typing import Any, Final

PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types that MessagePack tells apart by itself."""

JSON_PLAIN: Final = PLAIN - {bytes}
"""Types that JSON tells apart by itself."""

NAMES: Final[dict[type[Any], str]] = {
    type(None): "none",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "bytes",
    bytearray: "bytearray",
    dt.datetime: "datetime",
    dt.date: "date",
    dt.time: "time",
    dt.timedelta: "timedelta",
    Decimal: "decimal",
    uuid.UUID: "uuid",
}
"""What a leaf is called in a schema."""

TYPES: Final = {name: kind for kind, name in NAMES.items()}

_ZONES: Final = frozenset({None, dt.UTC})


def finite(values: Collection[Any]) -> str:
    """Return why these values do not come back from JSON, or an empty text."""
    floats = [value for value in values if type(value) is float]
    return "" if all(map(isfinite, floats)) else "JSON has neither NaN nor infinity"


def _times(values: Collection[Any]) -> str:
    zones = set(map(id, map(attrgetter("tzinfo"), values)))
    if not zones <= set(map(id, _ZONES)):
        return "of time zones only UTC (datetime.UTC) comes back as it was"
    return "the fold of a time does not come back" if any(map(attrgetter("fold"), values)) else ""


def _decimals(values: Collection[Any]) -> str:
    if any(map(Decimal.is_snan, values)):
        return "a signalling NaN cannot be read back"
    return ""


def _uuids(values: Collection[Any]) -> str:
    known = any(value.is_safe is not uuid.SafeUUID.unknown for value in values)
    return "whether a UUID is safe does not come back" if known else ""


CHECKS: Final[dict[type[Any], Callable[[Collection[Any]], str]]] = {
    dt.datetime: _times,
    dt.time: _times,
    Decimal: _decimals,
    uuid.UUID: _uuids,
}
"""For types of which not every value comes back."""

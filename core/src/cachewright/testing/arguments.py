"""Arguments for key makers: groups that share a key, values that must not, and those without a key."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import importlib.util
import io
import math
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, Final


class Suit(enum.Enum):
    """An enum."""

    HEARTS = 1
    SPADES = 2


@dataclass(frozen=True)
class Place:
    """A dataclass."""

    x: object
    y: object


@dataclass(frozen=True)
class Spot:
    """A dataclass with the fields of another."""

    x: object
    y: object


class Opaque:
    """An object that has nothing but its identity."""


def _nested(bottom: object, depth: int) -> object:
    nested = bottom
    for _ in range(depth):
        nested = [nested]
    return nested


def _cyclic() -> list[Any]:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    return cyclic


def equal_groups() -> tuple[tuple[Any, ...], ...]:
    """Return groups of equal arguments; each group shares one key, whatever the order or process."""
    moment = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
    return (
        (1, True, 1.0),
        (0, False, 0.0, -0.0),
        (2**70, float(2**70)),
        (math.nan, -math.nan, float("nan")),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"b": 2.0, "a": True}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        ((1, (2, "a")), (True, (2.0, "a"))),
        ([1, [2]], [1.0, [2.0]]),
        (Place(1, "a"), Place(True, "a")),  # noqa: FBT003 - equal to 1
        (uuid.UUID(int=7), uuid.UUID("00000000-0000-0000-0000-000000000007")),
        (PurePosixPath("a/b"), PurePosixPath("a//b"), PurePosixPath("a/./b")),
        (moment, dt.datetime.fromisoformat("2024-01-01T12:00:00+00:00")),
        (range(3), range(0, 3, 1)),
        ("caf\u00e9", "e\u0301caf\u00e9"[2:]),
    )


DIFFERENT: Final[tuple[Any, ...]] = (
    None,
    0,
    1,
    -1,
    -2,
    2**63,
    2**64,
    2**64 + 1,
    2**53,
    2**53 + 1,
    10**30,
    0.1,
    0.1 + 1e-17 + 1e-16,
    5e-324,
    math.inf,
    -math.inf,
    math.nan,
    1j,
    Fraction(1, 3),
    Decimal("0.1"),
    Decimal("1.5e300"),
    "",
    "0",
    "1",
    "None",
    "True",
    "a",
    "A",
    "a-b",
    "a_b",
    "a,b",
    "a\0b",
    "a\0",
    "\u00e9",
    "e\u0301",
    "\ud800",
    "\udc80",
    "x" * 10_000,
    "x" * 9_999 + "y",
    b"",
    b"1",
    b"a",
    b"\0",
    (),
    [],
    {},
    set[int](),
    ((),),
    ([],),
    [[]],
    [()],
    ("a", "b"),
    ["a", "b"],
    ("ab",),
    ("a,b",),
    ("a", "b", ""),
    (("a",), "b"),
    ("a", ("b",)),
    (1, 2, 3),
    ((1, 2), 3),
    (1, (2, 3)),
    {"a": 1},
    {"a": "1"},
    {1: "a"},
    {"a": {"b": 1}},
    {"a": 1, "b": 2},
    {"a": 2, "b": 1},
    {"a": None},
    [("a", 1)],
    (("a", 1),),
    {"a", "b"},
    {("a", "b")},
    range(3),
    range(4),
    range(1, 3),
    slice(1, 2),
    Suit.HEARTS,
    Suit.SPADES,
    Place(1, 2),
    Place(2, 1),
    Spot(1, 2),
    Place(Place(1, 2), 3),
    Place(1, Place(2, 3)),
    uuid.UUID(int=1),
    uuid.UUID(int=2),
    PurePosixPath("a"),
    PurePosixPath("a/b"),
    dt.date(2024, 1, 1),
    dt.datetime(2024, 1, 1),  # noqa: DTZ001 - naive on purpose
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 1, 1, 0, 0, 0, 1),  # noqa: DTZ001 - naive on purpose
    dt.time(0, 0),
    dt.timedelta(seconds=1),
    dt.timedelta(days=1),
    collections.OrderedDict[str, int](a=5),
    _nested(1, 12),
    _nested(2, 12),
    _nested(1, 13),
)
"""Arguments no two of which may share a key."""

TYPED_PAIRS: Final[tuple[tuple[Any, Any], ...]] = (
    (1, True),
    (1, 1.0),
    (0, False),
    (0, 0.0),
    (True, 1.0),
)
"""Equal arguments of different types: apart with ``typed=True``, together without."""


def _arrays() -> tuple[Any, ...]:
    import numpy as np  # noqa: PLC0415 - an array library is there for those who have it

    middle = np.zeros(100_000)
    middle[50_000] = 1
    return (
        np.arange(6),
        np.arange(6).reshape(2, 3),
        np.arange(6).reshape(3, 2),
        np.arange(6, dtype=np.int32),
        np.arange(6, dtype=np.float64),
        np.arange(6).astype(">i8") + 1,
        np.zeros(100_000),
        middle,
        np.zeros(0),
        np.zeros((0, 1)),
        np.array(["a", "b"]),
        np.array(["2024-01-01"], dtype="datetime64[D]"),
        np.array(["2024-01-02"], dtype="datetime64[D]"),
    )


def _frames() -> tuple[Any, ...]:
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415 - for those who have it; it ships no types

    return (
        pd.DataFrame({"a": [1, 2, 3]}),
        pd.DataFrame({"a": [1, 9, 3]}),
        pd.DataFrame({"b": [1, 2, 3]}),
        pd.DataFrame({"a": [1, 2, 3]}, index=[7, 8, 9]),
        pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index([7, 8, 9], name="i")),
        pd.DataFrame({"a": ["1", "2", "3"]}),
        pd.Series([1, 2, 3], name="a"),
        pd.Series([1, 2, 3], name="b"),
    )


def different() -> tuple[Any, ...]:
    """Return arguments no two of which may share a key, with arrays and frames where installed."""
    found = DIFFERENT
    if importlib.util.find_spec("numpy") is not None:
        found += _arrays()
        if importlib.util.find_spec("pandas") is not None:
            found += _frames()
    return found


UNKEYABLE: Final[dict[str, Callable[[], Any]]] = {
    "object": object,
    "opaque": Opaque,
    "lock": threading.Lock,
    "generator": lambda: (number for number in range(3)),
    "iterator": lambda: iter([1]),
    "stream": io.BytesIO,
    "nested in a list": lambda: [1, [Opaque()]],
    "nested in a dict": lambda: {"a": (Opaque(),)},
    "nested in a dataclass": lambda: Place(1, Opaque()),
    "cyclic": _cyclic,
    "too deep": lambda: _nested(1, 100_000),
}
"""Makes an argument that has no canonical encoding, by name."""

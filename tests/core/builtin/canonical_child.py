"""Values of which the keys are tested, and the other process that makes their keys once more.

``python canonical_child.py --write-golden`` writes the golden keys anew. That is a change of the stored
format: every entry that any user has stored becomes a miss. Raise ``FORMAT`` with it.
"""

from __future__ import annotations

import array
import collections
import datetime as dt
import enum
import functools
import ipaddress
import json
import math
import pathlib
import re
import sys
import uuid
import warnings
import zoneinfo
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

GOLDEN = Path(__file__).with_name("golden") / "keys.json"
TENTH, TINY = 0.1, 5e-324
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


class Point(NamedTuple):
    x: int
    y: int


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    A = "a"


class Plain(enum.Enum):
    A = 1
    B = 2


class Other(enum.Enum):
    A = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class MyInt(int):
    pass


class MyText(str):
    __slots__ = ()

    def encode(self, *args):
        return b"something else"


class MyList(list):
    pass


@dataclass(frozen=True)
class Place:
    x: object
    y: object
    note: str = field(default="", compare=False)


@dataclass(frozen=True)
class Spot:
    x: object
    y: object


class Town(Place):
    """Inherits an equality that keeps subclasses apart."""


def equal_groups():
    """Return groups of values that share a key."""
    return [
        [1, True, 1.0, 1 + 0j, Decimal("1.00"), Fraction(1), Level.LOW, MyInt(1)],
        [0, False, 0.0, -0.0, -0j, Decimal("-0.0"), Decimal("0e999999999"), Fraction(0)],
        [0.5, Decimal("0.50"), Fraction(1, 2), complex(0.5)],
        [0.1, Decimal(TENTH), Fraction(0.1)],
        [5e-324, Decimal(TINY), Fraction(5e-324)],
        [Decimal("0.1"), Fraction(1, 10)],
        [Decimal("1e-400"), Fraction(1, 10**400)],
        [2**1023, 2.0**1023, Decimal(2**1023)],
        [10**308, Decimal("1e308"), Fraction(10**308)],
        [10**5000, Decimal("1e5000"), Fraction(10**5000)],
        [-(10**5000), Decimal("-10e4999")],
        [math.nan, -math.nan, Decimal("nan"), Decimal("-nan7"), Decimal("snan")],
        [math.inf, Decimal("inf")],
        ["a", Word.A, MyText("a")],
        [(1, 2), Point(1, 2), (1.0, Decimal(2))],
        [[1, 2], MyList([1, 2]), [True, 2.0]],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}, collections.defaultdict(int, a=1.0, b=2)],
        [{1: "x"}, {True: "x"}, {1.0: "x"}],
        [frozenset("abc"), frozenset("cba")],
        [set(range(100)), {*range(99, -1, -1)}],
        [b"ab", memoryview(b"ab"), memoryview(b"ab").cast("b")],
        [range(0), range(5, 5), range(3, 1)],
        [range(7, 8), range(7, 100, 1000)],
        [range(0, 5, 2), range(0, 6, 2)],
        [dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC), dt.datetime(2024, 7, 1, 14, tzinfo=BERLIN)],
        [dt.UTC, dt.timezone(dt.timedelta(0), "name")],
        [dt.time(12, tzinfo=dt.UTC), dt.time(13, tzinfo=dt.timezone(dt.timedelta(hours=1)))],
        [
            dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
            dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
        ],
        [dt.timedelta(days=1), dt.timedelta(hours=24)],
        [uuid.UUID(int=1), uuid.UUID("00000000-0000-0000-0000-000000000001")],
        [pathlib.PurePosixPath("a/b"), pathlib.PurePosixPath("a//./b")],
        [pathlib.PureWindowsPath("C:/A"), pathlib.PureWindowsPath("c:\\a")],
        [re.compile("a"), re.compile("a", re.UNICODE)],
        [Place(1, 2), Place(1.0, True + 1, note="ignored")],
        [functools.partial(int, base=2), functools.partial(int, base=2)],
        [collections.Counter(a=1), collections.Counter(a=1, b=0)],
        [collections.deque([1]), collections.deque([1], maxlen=3)],
        [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("10.0.0.0/255.0.0.0")],
    ]


def different():
    """Return values no two of which share a key, nor with another group."""
    return [
        None, ..., 2, -1, -2, 2**63, -(2**63), 2**64, 2**64 + 1, 2**1024, 2**1024 + 1, 5 * 2**1024,
        3**5000, 7**5000,
        1.5, -1.5, 0.25, 1e-300, 1j, -1j, 2j, complex(1, 1), complex(0, math.nan), -math.inf,
        Fraction(1, 3), Fraction(-1, 3), Fraction(1, 7), Fraction(3, 10), Decimal("1e999999999"),
        Decimal("1e-999999999"), Decimal("1e999999998"), Decimal("3e-400"),
        "", "1", "2", "A", "b", "ab", "a b", "a\0", "\u00e9", "e\u0301", "\ud800", "\udc80", "None",
        "x" * 254,
        "x" * 255, "x" * 1024, "x" * 1025, "x" * 1026, "y" + "x" * 1025, "x" * 1025 + "y", b"", b"1", b"a",
        b"x" * 2000,
        bytearray(), bytearray(b"ab"), memoryview(bytearray(b"ab")), memoryview(b"\xff\xff").cast("b"),
        memoryview(b"abcd").cast("I"), memoryview(b"abcd").cast("B", (2, 2)),
        (), [], {}, set(), frozenset(), ((),), ([],), [()], [[]], (None,), (1,), [1], {1}, frozenset({1}),
        {1: None},
        ("a b", "c"), ("a", "b c"), ("1:y:2", "3"), ("1", "2:y:3"), ["a", "b"], ["a,str:b"], ["ab"],
        ("a", "b"),
        ("ab",), ("a", ("b",)), (("a",), "b"), (("a", "b"),), (1, (2,)), ((1,), 2), {"a": "b"}, {"b": "a"},
        {"a": 1, "b": 1}, {"a": {"b": 1}}, {("a", 1)}, [("a", 1)], {1: 2, 3: 4}, {1: 4, 3: 2}, {1, 2, 3, 4},
        tuple(range(254)), tuple(range(300)), tuple(range(2000)), [*range(999), 0, *range(1000, 2000)],
        collections.OrderedDict(a=1, b=2), collections.OrderedDict([("b", 2), ("a", 1)]),
        collections.Counter(a=2),
        collections.deque(), range(1), range(2), range(0, 4, 2), range(2**70), slice(1, 2), slice(1, 2, 1),
        slice(None), dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2024, 1, 1, tzinfo=BERLIN), dt.datetime(2024, 1, 1, microsecond=1),
        dt.datetime(2024, 10, 27, 0, 30, tzinfo=dt.UTC), dt.datetime(2024, 10, 27, 1, 30, tzinfo=dt.UTC),
        dt.datetime(1, 1, 1), dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=23))),
        dt.time(12), dt.time(0), dt.time(0, tzinfo=dt.UTC), dt.timedelta(0), dt.timedelta(microseconds=-1),
        dt.timezone(dt.timedelta(hours=1)), BERLIN, zoneinfo.ZoneInfo("UTC"), uuid.UUID(int=2),
        pathlib.PurePosixPath("a"), pathlib.PurePosixPath("A"), pathlib.PureWindowsPath("a"),
        pathlib.PurePosixPath("/a"), pathlib.PurePosixPath("."), re.compile("a", re.IGNORECASE),
        re.compile(b"a"),
        re.compile("b"), ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("::a00:1"),
        ipaddress.ip_address("fe80::1%1"), ipaddress.ip_address("fe80::1"),
        ipaddress.ip_interface("10.0.0.1/8"),
        ipaddress.ip_interface("10.0.0.1/9"), ipaddress.ip_network("10.0.0.0/9"), Plain.A, Plain.B, Other.A,
        Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE, Place(2, 1), Place(1, "2"), Spot(1, 2),
        Town(1, 2),
        Place(Place(1, 2), 3), Place(1, Place(2, 3)), int, bool, Place, type(None), len, str.lower,
        equal_groups,
        functools.partial(int), functools.partial(int, 2), functools.partial(int, x=2), list[int], list[str],
        array.array("b", [1]), array.array("B", [1]), array.array("b", [1, 2]), array.array("b"),
        array.array("d", [1]),
    ]  # fmt: skip


def array_cases():
    """Return labelled arrays and frames that all have different keys."""
    import numpy as np
    import pandas as pd
    import polars as pl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # that is what a matrix is
        matrix = np.arange(6).view(np.matrix)
    middle = np.zeros(100_000)
    middle[50_000] = 1
    frame = {"a": [1, 2, 3], "b": ["x", "y", None]}
    return {
        "array": np.arange(6),
        "array reshaped": np.arange(6).reshape(2, 3),
        "array transposed": np.arange(6).reshape(2, 3).T,
        "array big-endian": np.arange(6).astype(">i8"),
        "array narrow": np.arange(6, dtype="i4"),
        "array of floats": np.arange(6.0),
        "array without elements": np.zeros(0),
        "array without rows": np.zeros((0, 1)),
        "array without dimensions": np.array(5),
        "array of zeros": np.zeros(100_000),
        "array, middle": middle,
        "array of text": np.array(["a", "b"]),
        "array of bytes": np.array([b"a", b"b"]),
        "array of days": np.array(["2024-01-01"], dtype="M8[D]"),
        "array of seconds": np.array(["2024-01-01"], dtype="M8[s]"),
        "array of objects": np.array([1, "a", None, (1, 2)], dtype=object),
        "array of other objects": np.array([1, "a", None, (1, 3)], dtype=object),
        "array of records": np.array([(1, 2.0)], dtype=[("a", "i1"), ("b", "f8")]),
        "array of renamed records": np.array([(1, 2.0)], dtype=[("a", "i1"), ("c", "f8")]),
        "array of blocks": np.zeros(1, dtype=[("a", "i1", (2, 2))]),
        "matrix": matrix,
        "masked": np.ma.masked_array([1, 2, 3], [False, True, False]),
        "masked elsewhere": np.ma.masked_array([1, 2, 3], [True, False, False]),
        "masked nowhere": np.ma.masked_array([1, 2, 3]),
        "dtype": np.dtype("f8"),
        "dtype big-endian": np.dtype(">f8"),
        "dtype of records": np.dtype([("a", "i1")]),
        "dtype aligned": np.dtype([("a", "i1"), ("b", "f8")], align=True),
        "dtype packed": np.dtype([("a", "i1"), ("b", "f8")]),
        "months": np.timedelta64(5, "M"),
        "ufunc": np.sin,
        "function": np.mean,
        "frame": pd.DataFrame(frame),
        "frame, value": pd.DataFrame({"a": [1, 9, 3], "b": ["x", "y", None]}),
        "frame, text": pd.DataFrame({"a": [1, 2, 3], "b": ["x", "z", None]}),
        "frame, column": pd.DataFrame({"a": [1, 2, 3], "c": ["x", "y", None]}),
        "frame, index": pd.DataFrame(frame, index=[7, 8, 9]),
        "frame, index name": pd.DataFrame(frame, index=pd.Index([7, 8, 9], name="i")),
        "frame, dtype": pd.DataFrame(frame).astype({"a": "i4"}),
        "frame, nullable": pd.DataFrame(frame).astype({"a": "Int64"}),
        "frame, nothing": pd.DataFrame(),
        "frame, rows only": pd.DataFrame(index=[1, 2]),
        "frame, categories": pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
        "frame, other category": pd.DataFrame({"a": pd.Categorical(["x", "x"], categories=["x", "y"])}),
        "series": pd.Series([1, 2, 3], name="a"),
        "series, name": pd.Series([1, 2, 3], name="b"),
        "series, float": pd.Series([1.0, 2, 3], name="a"),
        "series, missing": pd.Series([1, None, 3], dtype="Int64", name="a"),
        "series, none missing": pd.Series([1, 0, 3], dtype="Int64", name="a"),
        "series, zone": pd.Series(pd.to_datetime(["2024-01-01"], utc=True)),
        "series, no zone": pd.Series(pd.to_datetime(["2024-01-01"])),
        "series, periods": pd.Series(pd.period_range("2024", periods=2, freq="D")),
        "series, intervals": pd.Series(pd.interval_range(0, 2)),
        "index": pd.Index([1, 2, 3]),
        "index, name": pd.Index([1, 2, 3], name="i"),
        "multi-index": pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]),
        "multi-index, names": pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["i", "j"]),
        "multi-index, value": pd.MultiIndex.from_tuples([(1, "a"), (2, "c")]),
        "not available": pd.NA,
        "not a time": pd.NaT,
        "nanosecond": pd.Timestamp("2024-01-01T00:00:00.000000001"),
        "polars frame": pl.DataFrame(frame),
        "polars frame, value": pl.DataFrame({"a": [1, 9, 3], "b": ["x", "y", None]}),
        "polars frame, text": pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", ""]}),
        "polars frame, shifted text": pl.DataFrame({"a": [1, 2, 3], "b": ["xy", "", None]}),
        "polars frame, column": pl.DataFrame({"a": [1, 2, 3], "c": ["x", "y", None]}),
        "polars frame, nothing": pl.DataFrame(),
        "polars series": pl.Series("a", [1, 2, 3]),
        "polars series, null": pl.Series("a", [1, None, 0]),
        "polars series, other null": pl.Series("a", [1, 0, None]),
        "polars series, nan": pl.Series("a", [1.0, math.nan]),
        "polars series, float null": pl.Series("a", [1.0, None]),
        "polars series, days": pl.Series("a", [dt.date(2024, 1, 1)]),
        "polars series, lists": pl.Series("a", [[1], [2, 3], None]),
        "polars series, other lists": pl.Series("a", [[1, 2], [3], None]),
        "polars series, bool": pl.Series("a", [True, None]),
        "polars series, categories": pl.Series("a", ["x"], dtype=pl.Categorical),
    }


def labelled():
    """Return the values of the standard library by label, for the golden file."""
    values = {f"equal {row}.{column}": value for row, group in enumerate(equal_groups())
              for column, value in enumerate(group)}  # fmt: skip
    return values | {f"different {position}": value for position, value in enumerate(different())}


def keys(values):
    """Return the key of each labelled value."""
    from cachewright.builtin.canonical import CanonicalKeyMaker

    maker = CanonicalKeyMaker()
    return {label: maker.value_key(value) for label, value in values.items()}


def calls():
    """Return the keys of a few calls by label."""
    from cachewright.builtin.canonical import CanonicalKeyMaker
    from cachewright.keymaker import Call

    names, values = ("a", "*args", "**options"), (1, ("x",), (("b", 2.5),))
    maker = CanonicalKeyMaker()
    return {
        "call": maker.call_key(Call("m.f", names, values)),
        "typed call": maker.call_key(Call("m.f", names, values, typed=True)),
        "empty call": maker.call_key(Call("m.f", (), ())),
    }


# Representations that belong to a library's version are not pinned, only their difference is.
PINNED = ("array", "masked", "dtype", "matrix", "months", "not a", "nanosecond")


def golden():
    """Return everything that the golden file pins."""
    arrays = {label: value for label, value in array_cases().items() if label.startswith(PINNED)}
    return keys(labelled()) | calls() | keys(arrays)


if __name__ == "__main__":
    import canonical_child  # under its own name: classes are part of keys

    if sys.argv[1:] == ["--write-golden"]:
        GOLDEN.write_text(json.dumps(canonical_child.golden(), indent=1) + "\n")
    elif sys.argv[1:] == ["standard"]:
        print(json.dumps(canonical_child.keys(canonical_child.labelled()) | canonical_child.calls()))
    else:
        print(json.dumps(canonical_child.keys(canonical_child.labelled() | canonical_child.array_cases())))

"""Values for serializers: ordinary ones, and those that come back as something else from careless code."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import functools
import importlib.util
import ipaddress
import math
import sys
import threading
import types
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, NamedTuple


class Point(NamedTuple):
    """A named tuple, which is no tuple."""

    x: int
    y: float


class Colour(enum.Enum):
    """A plain enum."""

    RED = "red"


class Level(enum.IntEnum):
    """An enum that equals its int."""

    LOW = 1


class Text(str):  # noqa: SLOT000 - its attributes are what may get lost
    """A str of a class of its own."""

    note: str


class Number(int):
    """An int of a class of its own."""


class Bytes(bytes):
    """Bytes of a class of its own."""


class Listed(list[int]):
    """A list of a class of its own."""

    note: str


class Mapped(dict[str, int]):
    """A dict of a class of its own."""


@dataclass(frozen=True)
class Record:
    """A dataclass that holds anything."""

    value: object


class Plain:
    """An ordinary object with attributes."""

    def __init__(self, value: object) -> None:
        self.value = value


class Liar:
    """Pretends, when pickled, to be a dict."""

    def __reduce__(self) -> tuple[type[dict[str, int]], tuple[dict[str, int]]]:
        return (dict, ({"not": 1},))


class Raiser:
    """Cannot be pickled, in a way of its own."""

    def __reduce__(self) -> str:
        message = "not to be pickled"
        raise OSError(message)


def _deep(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def _cyclic_list() -> list[Any]:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    return cyclic


def _cyclic_dict() -> dict[str, Any]:
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    return cyclic


def _attributed() -> list[Any]:
    text, listed = Text("a"), Listed([1])
    text.note = "kept"
    listed.note = "kept"
    return [text, listed]


_FOLDED = dt.datetime(2024, 10, 27, 2, 30, fold=1)  # noqa: DTZ001 - naive times are values, too

SPECIMENS: Final[dict[str, Callable[[], Any]]] = {
    "none": lambda: None,
    "bools": lambda: [True, False],
    "equal numbers": lambda: [1, True, 1.0, 1 + 0j, Decimal(1), Fraction(1)],
    "equal keys": lambda: {1: "int", "1": "str", (1,): "tuple", None: "none", b"1": "bytes"},
    "bool key": lambda: {True: "bool"},
    "float key": lambda: {1.0: "float"},
    "signed zeros": lambda: [0.0, -0.0, complex(-0.0, -0.0), Decimal("-0")],
    "not numbers": lambda: [math.nan, math.inf, -math.inf, complex(math.nan, math.inf), Decimal("NaN")],
    "small floats": lambda: [5e-324, 1.7976931348623157e308, 0.1],
    "long ints": lambda: [2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**5000],
    "decimals": lambda: [Decimal("1.10"), Decimal("1.1"), Decimal("1E+5"), Fraction(1, 3)],
    "texts": lambda: ["", "\0", "caf\u00e9", "cafe\u0301", "\U0001f600", "\r\n", "\ufeff"],
    "surrogate": lambda: "\ud800",
    "long text": lambda: "\u00e9" * 100_000,
    "bytes": lambda: [b"", b"\0", bytes(range(256)), bytearray(b"mutable")],
    "large bytes": lambda: b"x" * 1_000_000,
    "bare bytes": lambda: b"\x80\x04N.",
    "bare text": lambda: "text",
    "bytearray": lambda: bytearray(b"mutable"),
    "memoryview": lambda: memoryview(b"view"),
    "sequences": lambda: [(), [], (1,), [1], ((1, [2, (3,)]),), range(0, 10, 3), slice(1, None, 2)],
    "tuple": lambda: (1, 2),
    "sets": lambda: [set[int](), frozenset[int](), {1, "1", (1,)}, frozenset({1.5, b"1"}), {True}],
    "dict order": lambda: [{"b": 1, "a": 2}, {"a": 2, "b": 1}],
    "marked dict": lambda: {
        "__type__": "tuple",
        "__class__": "os.system",
        "$ref": 1,
        "lc": 1,
        "py/object": "x",
    },
    "collections": lambda: [
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, a=[1]),
        collections.Counter("aab"),
        collections.deque([1, 2], maxlen=2),
        collections.ChainMap({"a": 1}, {"b": 2}),
        types.MappingProxyType({"a": 1}),
        types.SimpleNamespace(a=1),
    ],
    "singletons": lambda: [..., NotImplemented, int, len],
    "times": lambda: [
        dt.datetime(2024, 2, 29, 23, 59, 59, 999_999),  # noqa: DTZ001 - as above
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30), "X")),
        dt.datetime.min,  # noqa: DTZ901 - as above
        dt.date.max,
        dt.time(1, 2, tzinfo=dt.UTC),
        dt.timedelta(days=-1, microseconds=1),
    ],
    "folded time": lambda: _FOLDED,
    "identities": lambda: [uuid.UUID(int=5), Path("a/../b"), PurePosixPath("/a"), PureWindowsPath("C:/a")],
    "addresses": lambda: [ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")],
    "named tuple": lambda: Point(1, 2.0),
    "enums": lambda: [Colour.RED, Level.LOW],
    "int enum": lambda: Level.LOW,
    "subclasses": lambda: [Text("a"), Number(1), Bytes(b"b"), Listed([1]), Mapped(a=1)],
    "str subclass": lambda: Text("a"),
    "int subclass": lambda: Number(1),
    "bytes subclass": lambda: Bytes(b"b"),
    "list subclass": lambda: Listed([1]),
    "dict subclass": lambda: Mapped(a=1),
    "attributes on builtins": _attributed,
    "dataclass": lambda: Record(Record([1, (2,)])),
    "object": lambda: Plain(Plain(None)),
    "errors": lambda: [ValueError("a", 1), KeyError("k"), OSError(2, "missing", "file")],
    "cyclic list": _cyclic_list,
    "cyclic dict": _cyclic_dict,
    "shared": lambda: [[1]] * 3,
    "nested 50": lambda: _deep(50),
    "nested 100000": lambda: _deep(100_000),
    "liar": Liar,
    "raiser": Raiser,
    "lambda": lambda: lambda: None,
    "partial": lambda: functools.partial(int, base=2),
    "generator": lambda: (number for number in range(3)),
    "lock": threading.Lock,
    "open file": lambda: sys.__stderr__,
    "module": lambda: math,
    "local class": lambda: type("Local", (), {})(),  # noqa: PLW0108 - a class of its own each time
    "bare object": object,
}
"""Makes a fresh specimen, by name. A serializer gives it back exactly, or refuses it."""


def _arrays() -> dict[str, Callable[[], Any]]:
    import numpy as np  # noqa: PLC0415 - an array library is there for those who have it

    return {
        "array": lambda: np.arange(12, dtype=np.int32).reshape(3, 4),
        "array fortran": lambda: np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "array strided": lambda: np.arange(20)[::3],
        "array transposed": lambda: np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
        "array big-endian": lambda: np.arange(5, dtype=">i4"),
        "array nan": lambda: np.array([np.nan, -0.0, np.inf], dtype=np.float16),
        "array empty": lambda: np.empty((0, 3), dtype=np.uint8),
        "array of no dimension": lambda: np.array(5),
        "array bool": lambda: np.array([True, False]),
        "array complex": lambda: np.array([1j, 2], dtype=np.complex64),
        "array of texts": lambda: np.array(["a", "bcd"]),
        "array of bytes": lambda: np.array([b"a", b"bcd"]),
        "array of times": lambda: np.array(["2024-01-01", "NaT"], dtype="datetime64[ns]"),
        "array of spans": lambda: np.array([1, 2], dtype="timedelta64[D]"),
        "array of objects": lambda: np.array([None, "a", [1]], dtype=object),
        "array structured": lambda: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        "array masked": lambda: np.ma.masked_array([1, 2], mask=[False, True]),
        "matrix": lambda: np.arange(4).reshape(2, 2).view(np.matrix),
        "array scalar": lambda: [np.float64(1.0), np.int8(1), np.bool_(True)],  # noqa: FBT003 - a value
        "dict of an array": lambda: {"a": np.arange(3)},
    }


def _frames() -> dict[str, Callable[[], Any]]:
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415 - for those who have it; it ships no types

    return {
        "series": lambda: pd.Series([1, 2], name="n"),
        "series unnamed": lambda: pd.Series([1.0, None]),
        "frame": lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
        "frame index": lambda: pd.DataFrame({"a": [1]}, index=pd.Index([5], name="i")),
        "frame levels": lambda: pd.DataFrame(
            {"a": [1]}, index=pd.MultiIndex.from_tuples([(1, "x")], names=["p", "q"])
        ),
        "frame category": lambda: pd.DataFrame({"a": pd.Categorical(["x", "y"], categories=["y", "x"])}),
        "frame times": lambda: pd.DataFrame({"t": pd.DatetimeIndex(["2024-01-01"], tz="Europe/Berlin")}),
        "frame int columns": lambda: pd.DataFrame({1: [1], "1": [2]}),
    }


def specimens() -> dict[str, Callable[[], Any]]:
    """Return all specimens, with arrays and frames where numpy and pandas are installed."""
    found = dict(SPECIMENS)
    if importlib.util.find_spec("numpy") is not None:
        found |= _arrays()
        if importlib.util.find_spec("pandas") is not None:
            found |= _frames()
    return found

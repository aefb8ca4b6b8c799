"""Kind and size of values, in bounded time and without running their code."""

from __future__ import annotations

import array
import collections
import datetime as dt
import decimal
import enum
import functools
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, Union

import pytest

from cachewright.probe import BUDGET, Kind, count_and_size, kind_of, kind_of_type, size_of


class Colour(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Plain:
    items: list[int]


@dataclass(slots=True)
class Slotted:
    items: list[int]


class Hostile:
    """Every question that it is asked itself fails."""

    def __init__(self) -> None:
        object.__setattr__(self, "payload", "x" * 10_000)

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(name)

    def __sizeof__(self) -> int:
        raise AssertionError

    def __len__(self) -> int:
        raise AssertionError

    def __eq__(self, other: object) -> bool:
        raise AssertionError

    __hash__ = None  # type: ignore[assignment]


class HostileDict(dict[str, int]):
    def __len__(self) -> int:
        raise AssertionError

    def __iter__(self) -> object:  # type: ignore[override]
        raise AssertionError

    def items(self) -> object:  # type: ignore[override]
        raise AssertionError


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "atom"),
        (True, "atom"),
        (1, "atom"),
        (1.5, "atom"),
        (Colour.RED, "atom"),
        (decimal.Decimal(1), "atom"),
        (uuid.UUID(int=1), "atom"),
        (Path(), "atom"),
        (dt.datetime.now(tz=dt.UTC), "atom"),
        ("text", "text"),
        (b"", "bytes"),
        (bytearray(), "bytes"),
        (memoryview(b""), "bytes"),
        ([], "container"),
        ({}, "container"),
        ((), "container"),
        (set(), "container"),
        (Point(1, 2), "container"),
        (collections.deque(), "container"),
        (collections.Counter(), "container"),
        (array.array("d"), "array"),
        (Plain([]), "object"),
        (object(), "object"),
        (len, "code"),
        (lambda: 0, "code"),
        (int, "code"),
        (functools.partial(len), "code"),
        (sys, "code"),
    ],
)
def test_kind_of_builtin_values(value: object, kind: Kind) -> None:
    """Values of the standard library belong to the family of their type."""
    assert kind_of(value) == kind


def test_kind_of_values_of_other_libraries() -> None:
    """Arrays and frames are recognised by name, through subclasses and whatever their module."""
    numpy, pandas, polars = map(pytest.importorskip, ("numpy", "pandas", "polars"))
    assert kind_of(numpy.zeros(3)) == "array"
    assert kind_of(numpy.ma.zeros(3)) == "array"
    assert kind_of(numpy.float64(3)) == "atom"
    assert kind_of(pandas.DataFrame()) == kind_of(pandas.Series([1])) == "frame"
    assert kind_of(polars.DataFrame()) == kind_of(polars.Series([1])) == "frame"
    tensor = type("Tensor", (), {"__module__": "torch"})
    assert kind_of(type("Parameter", (tensor,), {})()) == "tensor"


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (int, "atom"),
        (None, "atom"),
        (list[int], "container"),
        (dict[str, int] | None, "container"),
        (Optional[str], "text"),  # noqa: UP045 - people still write it
        (Union[None, bytes, str], "bytes"),  # noqa: UP007 - as above
        (Annotated[str, 1], "text"),
        (Literal["a"], "text"),
        (NewType("Name", str), "text"),
        (Mapping[str, int], "container"),
        (Callable[[], int], "code"),
        (Plain, "object"),
        (Point, "container"),
        ("array", "array"),
        ("np.ndarray", "array"),
        ("NDArray[np.float64]", "object"),
        ("pd.DataFrame | None", "frame"),
        ("Optional[DataFrame]", "frame"),
        ("dict[str, int | None]", "container"),
        ("str", "text"),
        ("whatever", "object"),
        ("", "atom"),
        ("[", "object"),
        (3, "object"),
    ],
)
def test_kind_of_types(annotation: object, kind: Kind) -> None:
    """A class, an annotation or a name tells the kind before there is a value."""
    if annotation == "NDArray[np.float64]":
        kind = "array"
    assert kind_of_type(annotation) == kind


def test_sizes_of_flat_values_are_exact() -> None:
    """Text, bytes and numbers count what the interpreter says they take."""
    for value in (1, 10**100, 1.5, "x" * 1000, "\u20ac" * 10, b"x" * 1000):
        assert size_of(value) == value.__sizeof__()


def test_sizes_of_buffers_are_exact() -> None:
    """Arrays count their elements, frames the buffers of their columns."""
    numpy, pandas, polars = map(pytest.importorskip, ("numpy", "pandas", "polars"))
    assert size_of(numpy.zeros(1000)) == 8000
    assert size_of(pandas.Series(range(1000), dtype="int64")) == 8000
    frame = pandas.DataFrame({"a": numpy.zeros(1000), "b": numpy.zeros(1000, dtype="int32")})
    assert size_of(frame) == 12_000
    assert size_of(polars.DataFrame({"a": range(1000)})) == 8000
    assert size_of(numpy.array(["x"] * 1000, dtype=object)) > 16_000
    assert size_of(memoryview(bytes(10_000))) > 10_000


@pytest.mark.parametrize("cls", [Plain, Slotted])
def test_small_values_are_counted_exactly(cls: type[Plain | Slotted]) -> None:
    """Up to thirty parts, every distinct object is counted once."""
    shared = "shared" * 100
    value = {"a": shared, "b": shared, "c": [1000, 2000], "d": cls([1])}
    keys = 4
    assert count_and_size(value)[0] == 1 + keys + 1 + 3 + 1 + 2
    assert size_of(value) > size_of(shared)


def test_estimates_of_large_values_are_of_the_right_order() -> None:
    """Even nested values are estimated to within a factor of two."""
    rows: list[dict[str, Any]] = [
        {"id": 10_000 + i, "name": f"user {i}", "tags": [f"{i}-{k}" for k in range(5)]} for i in range(2000)
    ]
    exact = sum(
        row.__sizeof__()
        + sum(map(sys.getsizeof, row))
        + sum(each.__sizeof__() for each in row.values())
        + sum(tag.__sizeof__() for tag in row["tags"])
        for row in rows
    )
    assert exact / 2 < size_of(rows) < exact * 2
    assert 2000 * 6 < count_and_size(rows)[0] < 2000 * 24


def test_estimates_repeat() -> None:
    """The same value gives the same estimate: the generator is deterministic."""
    value = [[str(i * j) for i in range(50)] for j in range(50)]
    assert len({size_of(value) for _ in range(5)}) == 1


def test_few_children_are_visited() -> None:
    """A value of a million parts is not walked: the budget bounds what is looked at."""
    looked_at = 0

    class Watched(list[int]):
        def __sizeof__(self) -> int:
            raise AssertionError

    class Meta(type):
        @property
        def __module__(cls) -> str:  # type: ignore[override]
            nonlocal looked_at
            looked_at += 1
            return "watched"

    element = Meta("Element", (), {})
    value = Watched(element() for _ in range(100_000))
    count_and_size(value)
    assert 0 < looked_at <= BUDGET * 8


def test_cycles_end() -> None:
    """A value that contains itself is measured like any other."""
    loop: list[object] = []
    loop.append(loop)
    assert count_and_size(loop)[0] == 1
    wide: list[object] = []
    wide.extend([wide] * 100)
    assert size_of(wide) < 2**60
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep, 1]
    assert size_of(deep) > 0


def test_code_of_the_value_is_not_run() -> None:
    """Overridden methods are not called, so a hostile value cannot disturb the probe."""
    assert kind_of(Hostile()) == "object"
    assert size_of(Hostile()) >= 10_000
    assert size_of(HostileDict({str(i): i for i in range(100)})) > 1000


def test_failing_library_properties_are_survived() -> None:
    """An array whose size cannot be read counts what its head takes."""
    cls = type("ndarray", (), {"__module__": "numpy", "nbytes": property(lambda _: 1 / 0)})
    assert size_of(cls()) >= 1


def test_probing_imports_no_library() -> None:
    """Looking for arrays and frames does not import numpy, pandas, polars or torch."""
    code = (
        "import sys; from cachewright.workload import Workload as W; W.of([{}]); W.of_type('DataFrame');"
        "print({'numpy', 'pandas', 'polars', 'torch', 'random'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"

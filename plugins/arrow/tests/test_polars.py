"""Frames and series of polars: every dtype that Arrow gives back, and a refusal of the others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from cachewright_arrow.serializer import ArrowSerializer

from cachewright.errors import UnserializableError

pl: Any = pytest.importorskip("polars", reason="polars is not installed")

SERIES: dict[str, Callable[[], Any]] = {
    **{
        name: lambda name=name: pl.Series([1, None, 3], dtype=getattr(pl, name))
        for name in ("Int8", "Int64", "UInt8", "UInt64", "Float32", "Float64")
    },
    "Boolean": lambda: pl.Series([True, None] * 9),
    "String": lambda: pl.Series(["a", None, "é" * 50]),
    "Binary": lambda: pl.Series([b"a", None, b"x" * 50]),
    "Date": lambda: pl.Series([dt.date(2024, 2, 29), None]),
    "Time": lambda: pl.Series([dt.time(1, 2, 3, 4)]),
    "Datetime": lambda: pl.Series([dt.datetime(2024, 1, 1), None], dtype=pl.Datetime("ns")),
    "Datetime of a zone": lambda: pl.Series(
        [dt.datetime(2024, 1, 1)], dtype=pl.Datetime("ms", "Europe/Berlin")
    ),
    "Duration": lambda: pl.Series([dt.timedelta(1), None]),
    "Decimal": lambda: pl.Series([Decimal("1.10"), None], dtype=pl.Decimal(20, 2)),
    "List": lambda: pl.Series([[1], None, []]),
    "List of texts": lambda: pl.Series([["a", None], []]),
    "Array": lambda: pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
    "Struct": lambda: pl.Series([{"a": 1, "b": "x"}, None]),
    "Null": lambda: pl.Series([None, None]),
    "Categorical": lambda: pl.Series(["a", "b", None, "a"], dtype=pl.Categorical),
    "Enum inside": lambda: pl.Series([[{"x": "a"}]], dtype=pl.List(pl.Struct({"x": pl.Enum(["b", "a"])}))),
    "Enum": lambda: pl.Series(["a", None], dtype=pl.Enum(["b", "a"])),
}


@pytest.mark.parametrize("name", sorted(SERIES))
def test_series_and_frames_come_back(name: str, back: Callable[[object], Any]) -> None:
    """Name, dtype and values are the same: whole, sliced, empty and in a frame."""
    whole = SERIES[name]().alias("name")
    if whole.dtype.is_nested() and pl.__version__ < "2":
        with pytest.raises(UnserializableError):
            ArrowSerializer().dumps(whole)
        pytest.skip("polars before 2.0 reads a part of nested values out of its memory")
    for series in (whole, whole.slice(1), whole.slice(0, 0), pl.concat([whole, whole], rechunk=False)):
        result = back(series)
        assert (result.name, result.dtype) == ("name", series.dtype)
        assert result.equals(series, check_dtypes=True)
        frame = pl.DataFrame({"b": series, "": series})
        copy = back(frame)
        assert (type(copy), copy.schema) == (type(frame), frame.schema)
        assert copy.equals(frame)


def test_a_frame_without_columns(back: Callable[[object], Any]) -> None:
    """It comes back as one."""
    assert back(pl.DataFrame()).equals(pl.DataFrame())


@pytest.mark.parametrize(
    "value",
    [
        pl.Series([object()], dtype=pl.Object),
        pl.LazyFrame({"a": [1]}),
        type("Sub", (pl.DataFrame,), {})({"a": [1]}),
    ],
    ids=["Object", "LazyFrame", "subclass"],
)
def test_what_would_not_come_back_is_refused(value: Any) -> None:
    """Objects, dtypes that Arrow does not have, queries and subclasses."""
    for one in (value, pl.DataFrame({"a": value})) if isinstance(value, pl.Series) else (value,):
        with pytest.raises(UnserializableError) as caught:
            ArrowSerializer().dumps(one)
        assert len(caught.value.reason) > 10


def test_another_dtype_is_a_miss() -> None:
    """An entry that this polars reads as another dtype than was stored is refused."""
    frames = [bytes(frame) for frame in ArrowSerializer().dumps(pl.Series("n", [1]))]
    frames[0] = frames[0].replace(b'"Int64"', b'"Int32"')
    with pytest.raises(ValueError, match="another dtype"):
        ArrowSerializer().loads([memoryview(frame) for frame in frames])

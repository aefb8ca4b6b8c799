"""Frames, series and indexes of pandas: every kind of column and index exactly, or a refusal."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from cachewright_arrow.serializer import ArrowSerializer

from cachewright.errors import UnserializableError

pd: Any = pytest.importorskip("pandas", reason="pandas is not installed")
pa: Any = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

TIMES = ["2024-01-31 10:00", None, "1890-06-01"]
OBJECTS = [
    "x",
    None,
    np.nan,
    1,
    -(2**63),
    2.5,
    -0.0,
    True,
    b"b",
    pd.NA,
    pd.NaT,
    dt.date(2024, 2, 29),
    Decimal("1.10"),
    "",
    "\U0001f600",
]


def times(zone: Any = None, unit: str = "us") -> Any:
    values = pd.to_datetime(pd.Series(TIMES), format="mixed").dt.as_unit(unit)
    return values if zone is None else values.dt.tz_localize("UTC").dt.tz_convert(zone)


FRAMES: dict[str, Callable[[], Any]] = {
    "plain": lambda: pd.DataFrame(
        {"i": [1, 2], "f": [1.5, np.nan], "b": [True, False], "c": [1j, 2], "t": ["x", None]}
    ),
    "numbers": lambda: pd.DataFrame(
        {name: np.arange(3).astype(name) for name in ("i1", "u2", "i4", "u8", "f2", "f4", "c8")}
    ),
    "big-endian": lambda: pd.DataFrame({"a": np.arange(3, dtype=">i4")}),
    "objects": lambda: pd.DataFrame(
        {"a": pd.Series(OBJECTS, dtype=object), "b": pd.Series(OBJECTS[::-1], dtype=object)}
    ),
    "texts as objects": lambda: pd.DataFrame({"a": pd.Series(["x", None, "é"], dtype=object)}),
    "ints as objects": lambda: pd.DataFrame(
        {"a": pd.Series([1, 2], dtype=object), "b": pd.Series([True, False], dtype=object)}
    ),
    "nones": lambda: pd.DataFrame(
        {"a": pd.Series([None, None], dtype=object), "b": pd.Series([pd.NA, pd.NA], dtype=object)}
    ),
    "categories": lambda: pd.DataFrame(
        {
            "ordered": pd.Categorical(["x", "y", None], categories=["z", "y", "x"], ordered=True),
            "ints": pd.Categorical([3, 1, 3]),
            "times": pd.Categorical(pd.to_datetime(["2020", "2021", "2020"])),
            "objects": pd.Categorical(pd.Series([1, "a", 1], dtype=object)),
        }
    ),
    "nullable": lambda: pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int8"),
            "u": pd.array([2**64 - 1, None], dtype="UInt64"),
            "f": pd.array([1.5, None], dtype="Float32"),
            "b": pd.array([True, None], dtype="boolean"),
            "s": pd.array(["a", None], dtype="string"),
            "p": pd.array(["a", None], dtype="string[python]"),
            "a": pd.array(["a", None], dtype="string[pyarrow]"),
        }
    ),
    "naive": lambda: pd.DataFrame({unit: times(unit=unit) for unit in ("s", "ms", "us", "ns")}),
    "zones": lambda: pd.DataFrame(
        {
            "utc": times(dt.UTC),
            "berlin": times(zoneinfo.ZoneInfo("Europe/Berlin"), "ns"),
            "named": times("America/New_York", "s"),
            "fixed": times(dt.timezone(dt.timedelta(hours=5, minutes=30))),
        }
    ),
    "two of a zone": lambda: pd.DataFrame({"a": times("Europe/Berlin"), "b": times("Europe/Berlin")}).copy(),
    "spans": lambda: pd.DataFrame(
        {"a": pd.to_timedelta([1, None, -5], unit="s"), "b": pd.to_timedelta([1, 2, 3], unit="D")}
    ),
    "periods": lambda: pd.DataFrame(
        {
            name: pd.PeriodIndex(["2024-01-01", None], freq=name)
            for name in ("M", "D", "W-SUN", "Q-NOV", "3h", "Y")
        }
    ),
    "intervals": lambda: pd.DataFrame(
        {
            "a": pd.arrays.IntervalArray.from_breaks([0, 1, 2], closed="left"),
            "b": pd.arrays.IntervalArray.from_tuples([(0, 1.5), None], closed="both"),
            "c": pd.arrays.IntervalArray.from_breaks(pd.to_datetime(["2020", "2021", "2022"])),
        }
    ),
    "arrow": lambda: pd.DataFrame(
        {
            "i": pd.array([1, None], dtype=pd.ArrowDtype(pa.int64())),
            "l": pd.array([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
            "d": pd.array(["x", None], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
            "t": pd.array([dt.datetime(2024, 1, 1), None], dtype=pd.ArrowDtype(pa.timestamp("ms", "UTC"))),
        }
    ),
    "range": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(5, 9, 2, name="r")),
    "duplicate labels": lambda: pd.DataFrame([[1, 2.5, "x"]], columns=["a", "a", "b"], index=[1]),
    "labels of types": lambda: pd.DataFrame([[1, 2, 3]], columns=[1, "1", None]),
    "labels of times": lambda: pd.DataFrame([[1, 2]], columns=pd.to_datetime(["2024-01-01", "2024-01-02"])),
    "levels": lambda: pd.DataFrame(
        {"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "x"), (2, None)], names=["p", ("q", 1)])
    ),
    "levels of columns": lambda: pd.DataFrame(
        [[1, 2]], columns=pd.MultiIndex.from_product([["a"], [1, 2]], names=[None, "n"])
    ),
    "sorted levels": lambda: (
        pd.DataFrame({"k": [2, 1], "l": ["b", "a"], "v": [1, 2]}).set_index(["k", "l"]).sort_index()
    ),
    "frequency": lambda: pd.DataFrame(
        {"a": [1, 2]}, index=pd.date_range("2024", periods=2, freq="2D", tz="Europe/Berlin")
    ),
    "no columns": lambda: pd.DataFrame(index=[1, 2]),
    "no rows": lambda: pd.DataFrame(
        {"a": pd.Series([], dtype="i4"), "b": pd.Series([], dtype=object), "c": pd.Categorical([])}
    ),
    "nothing": pd.DataFrame,
    "one block": lambda: pd.DataFrame(np.arange(50_000.0).reshape(5_000, 10)),
    "block turned": lambda: pd.DataFrame(np.asfortranarray(np.arange(50_000.0).reshape(5_000, 10))),
    "block with gaps": lambda: pd.DataFrame(np.arange(60.0).reshape(12, 5))[::3],
    "blocks mixed": lambda: pd.DataFrame(
        {f"c{n}": np.arange(3) if n % 3 else np.arange(3) / 2 for n in range(20)}
    ),
    "rows of it": lambda: pd.DataFrame(
        {"a": ["x", "y", "z"] * 10, "b": pd.Categorical(["x", "y", "z"] * 10)}
    ).iloc[5:7],
    "no duplicates allowed": lambda: pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
}
OTHERS: dict[str, Callable[[], Any]] = {
    "series": lambda: pd.Series([1.5, None], name=("n", 1)),
    "series named by a number": lambda: pd.DataFrame([[1, 2]], columns=np.array([3, 4])).iloc[:, 0],
    "series of month ends": lambda: pd.Series(
        [1, 2], index=pd.date_range("2024-01-31", periods=2, freq="ME")
    ),
    "index": lambda: pd.Index([1, 2], name="x"),
    "index of objects": lambda: pd.Index([1, "a", None, b"b"], dtype=object),
    "index of nullable": lambda: pd.Index([1, None], dtype="Int64"),
    "index of bools": lambda: pd.Index([True, False]),
    "index of texts": lambda: pd.Index(["a", "b"]),
    "index of periods": lambda: pd.period_range("2024", periods=3, freq="Q-NOV", name="q"),
    "index of spans": lambda: pd.timedelta_range("1h", periods=3, freq="h"),
    "index of categories": lambda: pd.CategoricalIndex(["a", "b"], ordered=True),
    "index of intervals": lambda: pd.interval_range(0, 3),
    "index of times": lambda: pd.DatetimeIndex(["2024-01-01", None]),
    "range": lambda: pd.RangeIndex(10, 0, -2),
}


def assert_same(one: Any, other: Any) -> None:
    """Fail unless two objects agree in everything that can be asked of them."""
    assert type(one) is type(other)
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(
            one,
            other,
            check_exact=True,
            check_index_type="exact",
            check_column_type="exact",
            check_flags=True,
        )
        assert one.attrs == other.attrs
        for place in range(one.shape[1]):
            assert_same(one.iloc[:, place], other.iloc[:, place])
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(
            one, other, check_exact=True, check_index_type="exact", check_flags=True
        )
        assert type(one.array) is type(other.array)
        assert (one.attrs, type(one.name)) == (other.attrs, type(other.name))
        assert_same_objects(one, other)
        assert_same(one.index, other.index)
    else:
        pd.testing.assert_index_equal(one, other, exact=True)
        assert getattr(one, "freq", None) == getattr(other, "freq", None)
        assert list(one.names) == list(other.names)
        if isinstance(one, pd.MultiIndex):
            assert one.sortorder == other.sortorder
            for left, right in zip(one.levels, other.levels, strict=True):
                assert_same(left, right)
        else:
            assert_same_objects(one, other)


def assert_same_objects(one: Any, other: Any) -> None:
    if one.dtype == object:
        assert [(type(item), repr(item)) for item in one] == [(type(item), repr(item)) for item in other]


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_frames_come_back(name: str, back: Callable[[object], Any]) -> None:
    """Columns, their dtypes and arrays, both indexes, names, order and flags are the same."""
    frame = FRAMES[name]()
    assert_same(back(frame), frame)
    for place in range(frame.shape[1]):
        series = frame.iloc[:, place].rename("n")
        assert_same(back(series), series)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_series_and_indexes_come_back(name: str, back: Callable[[object], Any]) -> None:
    """Class, labels, name and frequency are the same."""
    value = OTHERS[name]()
    assert_same(back(value), value)


def test_attributes_come_back(back: Callable[[object], Any]) -> None:
    """What was put into attrs is kept, if it is plain."""
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"unit": "m", "more": (1, [b"x", None], {2: 1.5})}
    assert_same(back(frame), frame)
    frame.attrs["bad"] = object()
    with pytest.raises(UnserializableError, match="attribute"):
        ArrowSerializer().dumps(frame)


def test_what_lies_under_a_mask_comes_back(back: Callable[[object], Any]) -> None:
    """A nullable column keeps even the numbers that nobody sees."""
    column = pd.arrays.IntegerArray(np.array([7, 8]), np.array([True, False]))
    assert back(pd.Series(column)).array._data.tolist() == [7, 8]


@pytest.mark.parametrize(
    "value",
    [
        pd.Series(pd.arrays.SparseArray([0, 1])),
        pd.Series([[1]]),
        pd.Series([np.float64(1), "a"], dtype=object),
        pd.Series([2**70], dtype=object),
        pd.Series(["\ud800"], dtype=object),
        pd.Series([pd.Timestamp("2024"), 1], dtype=object),
        pd.Series([1], name=dt.date(2024, 1, 1)),
        pd.Series([(1,)]),
        pd.Series([type("Text", (str,), {})("a")], dtype=object),
        pd.Series(
            [1, 2],
            index=pd.date_range(
                "2024", periods=2, freq=pd.offsets.CustomBusinessDay(holidays=["2024-01-05"])
            ),
        ),
        type("Sub", (pd.DataFrame,), {})({"a": [1]}),
        pd.Series(np.zeros(1, np.longdouble)),
        pd.array([1, None]),
    ],
    ids=range(13),
)
def test_what_would_not_come_back_is_refused(value: Any) -> None:
    """Sparse columns, objects of other types, huge ints, custom frequencies and subclasses."""
    with pytest.raises(UnserializableError) as caught:
        ArrowSerializer().dumps(value)
    assert len(caught.value.reason) > 10


def test_memory_is_not_copied() -> None:
    """A block is stored as a view of its memory, and a column comes back as a view of the frame."""
    whole = np.arange(100_000.0).reshape(10_000, 10)
    frame = pd.DataFrame(whole, copy=False)
    stored = ArrowSerializer().dumps(frame)
    assert np.shares_memory(np.frombuffer(stored[2], np.uint8), whole)
    frames = [memoryview(bytes(one)).toreadonly() for one in stored]
    result: Any = ArrowSerializer().loads(frames)
    assert np.shares_memory(result[3].to_numpy(), np.frombuffer(frames[2], np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        result[3].to_numpy()[0] = 5
    changed = result.copy()
    changed.loc[0, 0] = 5.0
    assert frame.loc[0, 0] == 0

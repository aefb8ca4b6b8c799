"""Tables and arrays of pyarrow, and what every description has to stand: hostile bytes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from cachewright_arrow import plugin
from cachewright_arrow.serializer import ArrowSerializer

from cachewright import open_cache
from cachewright.errors import UnserializableError

pa: Any  # it ships no types
GOLDEN = Path(__file__).parent / "golden" / "payloads.json"

VALUES: dict[str, Callable[[], Any]] = {
    "table": lambda: pa.table({"a": [1, None], "b": ["x", "y"]}),
    "metadata": lambda: pa.table(
        {"a": [1]}, schema=pa.schema([pa.field("a", pa.int8(), False, {"k": b"\xff"})], metadata={"m": "v"})
    ),
    "chunks": lambda: pa.chunked_array([[1], [2, None], []]),
    "no chunk": lambda: pa.chunked_array([], pa.int8()),
    "batch": lambda: pa.record_batch({"a": [1], "b": [None]}),
    "schema": lambda: pa.schema({"a": pa.int8(), "b": pa.list_(pa.map_(pa.string(), pa.int8()))}),
    "empty table": lambda: pa.table({}),
    "slice": lambda: pa.array(range(100_000)).slice(5, 10),
    "beginning": lambda: pa.array(range(100_000)).slice(0, 10),
    "bits": lambda: pa.array([True, None] * 9).slice(3, 7),
    "texts": lambda: pa.array(["abc", "d", None, "ef"]).slice(1, 2),
    "struct": lambda: pa.array([{"a": 1, "b": ["x"]}, None]),
    "slice of structs": lambda: pa.array([{"a": 1, "b": ["x"]}, {"a": 2, "b": ["y", "z"]}, None] * 3).slice(
        2, 4
    ),
    "map": lambda: pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
    "dictionary": lambda: pa.array(["a", "b", "a", None]).dictionary_encode(),
    "ordered dictionary": lambda: pa.DictionaryArray.from_arrays(
        pa.array([1, 0], pa.int8()), ["a", "b"], ordered=True
    ),
    "dictionary inside": lambda: pa.array([["a"], ["b"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    "empty dictionary": lambda: pa.array([], pa.dictionary(pa.int8(), pa.string())),
    "fixed list": lambda: pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
    "large list": lambda: pa.array([[1, 2], None], pa.large_list(pa.int8())),
    "nulls": lambda: pa.nulls(3),
    "decimals": lambda: pa.array([Decimal("1.1"), None]),
    "interval": lambda: pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    "halves": lambda: pa.array(np.array([1.5, math.nan], "f2")),
    "fixed bytes": lambda: pa.array([b"ab", None], pa.binary(2)),
    "times": lambda: pa.array([1, None], pa.time64("ns")),
    "stamps": lambda: pa.array([1, None], pa.timestamp("us", "Europe/Berlin")),
    "spans": lambda: pa.array([1, None], pa.duration("s")),
}
if hasattr(pa, "string_view"):
    VALUES["views"] = lambda: pa.array(["a" * 50, None, "b"], pa.string_view())
    VALUES["list views"] = lambda: pa.array([[1, 2], None], pa.list_view(pa.int8()))


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, pa.Schema | pa.Table | pa.RecordBatch):
        assert one.equals(other, check_metadata=True)
    else:
        assert one.type.equals(other.type, check_metadata=True)
        assert one.equals(other) or one.to_pylist() != one.to_pylist()
    if isinstance(one, pa.ChunkedArray):
        assert list(map(len, one.chunks)) == list(map(len, other.chunks))


@pytest.mark.parametrize("name", sorted(VALUES))
def test_objects_of_pyarrow_come_back(name: str, back: Callable[[object], Any]) -> None:
    """Types, metadata, nulls, dictionaries and chunks are the same."""
    value = VALUES[name]()
    assert_same(back(value), value)


def test_a_slice_is_stored_without_the_rest() -> None:
    """Ten rows of a hundred thousand take the space of ten."""
    frames = ArrowSerializer().dumps(pa.array(range(100_000)).slice(50_000, 10))
    assert sum(memoryview(frame).nbytes for frame in frames) < 1000


def test_buffers_are_not_copied() -> None:
    """A large buffer is stored as it is, and read where it lies."""
    array = pa.array(np.arange(100_000))
    stored = ArrowSerializer().dumps(array)
    assert pa.py_buffer(stored[2]).address == array.buffers()[1].address
    frames = [memoryview(bytes(frame)).toreadonly() for frame in stored]
    result: Any = ArrowSerializer().loads(frames)
    assert result.buffers()[1].address == pa.py_buffer(frames[2]).address


def test_an_unaligned_buffer_is_copied() -> None:
    """Arrow reads numbers at multiples of their size only."""
    stored = [bytes(frame) for frame in ArrowSerializer().dumps(pa.array(np.arange(10_000)))]
    whole = memoryview(b"x" + stored[2])[1:]
    result: Any = ArrowSerializer().loads([memoryview(stored[0]), memoryview(stored[1]), whole])
    assert result.buffers()[1].address % 16 == 0
    assert result.to_pylist() == list(range(10_000))


@pytest.mark.parametrize(
    "value",
    [
        pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
        pa.RunEndEncodedArray.from_arrays([2], pa.array(["a"])),
        pa.schema([pa.field("a", pa.int8(), metadata={"ARROW:extension:name": "x"})]),
        pa.schema([], metadata={"ARROW:extension:name": "x"}),
        pa.record_batch([], names=[]).schema.field,
        pa.int8(),
        pa.scalar(1),
    ],
    ids=range(7),
)
def test_what_is_not_stored_is_refused(value: Any) -> None:
    """Unions, run-end encoding, extension types under any name, and what is no array or table."""
    with pytest.raises(UnserializableError) as caught:
        ArrowSerializer().dumps(value)
    assert len(caught.value.reason) > 10


def test_the_record_tells_what_the_serializer_is() -> None:
    """It is asked about subclasses, because each kind of array and index is one; listing imports nothing."""
    (info,) = plugin.cachewright_serializers()
    assert (info.name, info.code, info.rank, info.executable, info.exact) == ("arrow", 0x11, 20, False, False)
    kinds = [
        pd.DataFrame,
        pd.Series,
        pd.Index,
        pl.DataFrame,
        pl.Series,
        pl.LazyFrame,
        pa.Table,
        pa.Array,
        pa.Schema,
    ]
    for kind in kinds:
        assert f"{kind.__module__}.{kind.__qualname__}" in info.types


def test_without_pandas_and_polars_nothing_of_them_is_imported() -> None:
    """Storing a table imports pyarrow, which may look for pandas itself, and nothing else."""
    program = (
        "import sys, pyarrow\n"
        "from cachewright_arrow.serializer import ArrowSerializer\n"
        "frames = ArrowSerializer().dumps(pyarrow.table({'a': [1]}))\n"
        "ArrowSerializer().loads([memoryview(frame) for frame in frames])\n"
        "print('cachewright_arrow.pandas_value' in sys.modules, 'polars' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_a_cache_uses_it_for_what_it_is_for(tmp_path: Path) -> None:
    """Frames, series, indexes and tables, authenticated or not."""
    values = {
        "pandas": pd.DataFrame({"a": [1]}),
        "index": pd.date_range("2024", periods=2),
        "polars": pl.Series([1]),
        "pyarrow": pa.array([1]),
    }
    with open_cache(engine="sqlite", path=tmp_path / "store") as cache:
        for name, value in values.items():
            cache.set(name, value)
            assert cache.get(name).equals(value)
            entry = cache.explain(name).entry
            assert entry is not None
            assert entry.serializer == "arrow"


def golden_values() -> dict[str, Any]:
    frame = pd.DataFrame(
        {
            "n": [1.5, 2.5],
            "m": [3.5, 4.5],
            "c": pd.Categorical([2, 1], categories=[2, 1], ordered=True),
            "z": pd.to_datetime(["2024-01-01", None]).tz_localize("UTC").as_unit("us"),
            "i": pd.array([1, None], dtype="Int16"),
            "o": pd.Series(["x", 1], dtype=object),
            "p": pd.PeriodIndex(["2024-01", "2024-02"], freq="M"),
        },
        index=pd.MultiIndex.from_tuples([(1, True), (2, False)], names=["a", None]),
    )
    frame.columns = pd.Index(list(frame.columns), dtype=object, name="c")
    return {
        "frame": frame,
        "series": pd.Series([1, 2], index=pd.date_range("2024", periods=2, freq="D", unit="ns"), name="s"),
        "polars": pl.DataFrame({"a": [1, None], "e": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"]))}),
        "table": pa.table({"a": pa.array([{"x": [1]}, None]), "d": pa.array(["u", "v"]).dictionary_encode()}),
    }


@pytest.mark.skipif(
    sys.byteorder != "little", reason="the golden payloads are those of a little-endian machine"
)
def test_golden_payloads_are_read_for_ever() -> None:
    """What this format stored on the day it was fixed still comes back."""
    golden = json.loads(GOLDEN.read_text())
    values = golden_values()
    assert golden.keys() == values.keys()
    for name, frames in golden.items():
        result: Any = ArrowSerializer().loads([memoryview(bytes.fromhex(frame)) for frame in frames])
        assert type(result) is type(values[name])
        assert result.equals(values[name]), name
    assert golden_values()["series"].index.freq == "D"

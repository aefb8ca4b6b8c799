"""A column is an array of NumPy or of pandas, described by its parts; each kind is named in one table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types

from cachewright.errors import UnserializableError
from cachewright_arrow.kind import class_of, full_name
from cachewright_arrow.objects import described_objects, rebuilt_objects
from cachewright_arrow.table import described_chunks, rebuilt_chunks
from cachewright_arrow.zone import described_zone, rebuilt_zone

if TYPE_CHECKING:
    from cachewright_arrow.memory import MemoryReader, MemoryWriter

_PANDAS: Any = pd
_ARRAYS: Any = _PANDAS.arrays
_DTYPE: Final = re.compile(r"[<>|](?:b1|[iu][1248]|f[248]|c(?:8|16)|[mM]8\[(?:s|ms|us|ns)\])")
_FREQUENCY: Final = re.compile(r"[A-Za-z0-9-]{1,40}")
_UNITS: Final = ("s", "ms", "us", "ns")
_CLOSED: Final = ("left", "right", "both", "neither")
_MASKED: Final = (_ARRAYS.IntegerArray, _ARRAYS.FloatingArray, _ARRAYS.BooleanArray)
_MASKED_BY_KIND: Final = dict(zip(("iu", "f", "b"), _MASKED, strict=True))


def described_column(values: Any, memory: MemoryWriter) -> list[Any]:
    """Return the description of a one-dimensional array.

    Raises:
        UnserializableError: it is of a kind that is not stored, or holds something that would not come back.
    """
    if type(values) is np.ndarray:
        if values.dtype == object:
            return ["objects", described_objects(values, memory)]
        return ["numpy", *described_block(values, memory)]
    kind = class_of(values)
    describe = DESCRIBERS.get(kind)
    if describe is None:
        raise UnserializableError(full_name(kind), "no column of this kind is stored")
    return describe(values, memory)


def rebuilt_column(description: Any, memory: MemoryReader) -> Any:
    """Return an array; any exception if it is not the description of one."""
    kind, *rest = description
    return REBUILDERS[kind](rest, memory)


def described_block(values: Any, memory: MemoryWriter) -> list[Any]:
    """Return dtype, shape, order and place of an array of numbers or times, of one or two dimensions."""
    text = values.dtype.str
    if not _DTYPE.fullmatch(text) or np.dtype(text).char != values.dtype.char or values.dtype.metadata:
        raise UnserializableError(
            f"numpy.ndarray of dtype {str(values.dtype)[:80]}", "no column of such is stored"
        )
    turned = values.flags.f_contiguous and not values.flags.c_contiguous
    line = values.T if turned else np.ascontiguousarray(values)
    place = memory.add(line.reshape(-1).view(np.uint8).data.toreadonly() if values.nbytes else b"")
    return [text, list(values.shape), "F" if turned else "C", place]


def rebuilt_block(description: Any, memory: MemoryReader) -> Any:
    """Return a read-only array over the stored memory."""
    text, shape, order, place = description
    if not _DTYPE.fullmatch(text) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("not the description of an array")
    dtype = np.dtype(text)
    piece = memory.at(place)
    size = int(np.prod(shape, dtype=object))
    if size * dtype.itemsize != piece.nbytes:
        raise ValueError("the memory does not fit the shape")
    flat: Any = np.frombuffer(piece, dtype) if size else np.empty(0, dtype)
    if not flat.flags.aligned:
        flat = flat.copy()
        flat.flags.writeable = False
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _described_datetimes(values: Any, memory: MemoryWriter) -> list[Any]:
    zone = getattr(values, "tz", None)
    numbers = values.view("i8")
    if zone is None:
        return ["numpy", *described_block(numbers.view(values.dtype), memory)]
    return ["zoned", values.dtype.unit, described_zone(values.dtype.tz), described_block(numbers, memory)]


def _rebuilt_zoned(rest: list[Any], memory: MemoryReader) -> Any:
    unit, zone, block = rest
    if unit not in _UNITS:
        raise ValueError("not a unit of time")
    dtype = _PANDAS.DatetimeTZDtype(unit, rebuilt_zone(zone))
    return _PANDAS.array(_integers(block, memory), dtype=dtype, copy=False)


def _integers(block: Any, memory: MemoryReader) -> Any:
    numbers = rebuilt_block(block, memory)
    if numbers.dtype != np.dtype("i8") or numbers.ndim != 1:
        raise ValueError("times are 64-bit numbers")
    return numbers


def _described_periods(values: Any, memory: MemoryWriter) -> list[Any]:
    frequency = str(values.dtype).removeprefix("period[").removesuffix("]")  # spelt otherwise than freqstr
    if not _FREQUENCY.fullmatch(frequency) or _PANDAS.PeriodDtype(frequency) != values.dtype:
        raise UnserializableError("pandas.PeriodArray", f"its frequency {frequency} would not come back")
    return ["periods", frequency, described_block(values.view("i8"), memory)]


def _rebuilt_periods(rest: list[Any], memory: MemoryReader) -> Any:
    frequency, block = rest
    if not _FREQUENCY.fullmatch(frequency):
        raise ValueError("not a frequency")
    return _ARRAYS.PeriodArray(_integers(block, memory), dtype=_PANDAS.PeriodDtype(frequency))


def _described_masked(values: Any, memory: MemoryWriter) -> list[Any]:
    # Public ways convert, and what is under the mask would be lost.
    data, mask = values._data, values._mask  # noqa: SLF001 - as above
    return ["masked", described_block(data, memory), described_block(mask, memory)]


def _rebuilt_masked(rest: list[Any], memory: MemoryReader) -> Any:
    data, mask = [rebuilt_block(block, memory) for block in rest]
    (make,) = [kind for letters, kind in _MASKED_BY_KIND.items() if data.dtype.kind in letters]
    return make(data, mask, copy=False)


def _described_intervals(values: Any, memory: MemoryWriter) -> list[Any]:
    ends = [
        described_column(end.array if end.dtype != object else end.to_numpy(), memory)
        for end in _ends(values)
    ]
    return ["intervals", values.closed, *ends]


def _ends(values: Any) -> tuple[Any, Any]:
    return values.left, values.right


def _rebuilt_intervals(rest: list[Any], memory: MemoryReader) -> Any:
    closed, left, right = rest
    if closed not in _CLOSED:
        raise ValueError("not how an interval is closed")
    return _ARRAYS.IntervalArray.from_arrays(
        rebuilt_column(left, memory), rebuilt_column(right, memory), closed=closed
    )


def _described_texts(values: Any, memory: MemoryWriter) -> list[Any]:
    dtype = values.dtype
    missing = "na" if getattr(dtype, "na_value", _PANDAS.NA) is _PANDAS.NA else "nan"
    if dtype.storage == "python":
        return ["texts", "python", missing, described_objects(values.to_numpy(), memory)]
    return ["texts", "pyarrow", missing, described_chunks(values.__arrow_array__(), memory)]


def _text_dtype(storage: str, missing: str) -> Any:
    if storage not in ("python", "pyarrow") or missing not in ("na", "nan"):
        raise ValueError("not the description of texts")
    if missing == "na":
        return _PANDAS.StringDtype(storage)
    return _PANDAS.StringDtype(storage, na_value=np.nan)


def _rebuilt_texts(rest: list[Any], memory: MemoryReader) -> Any:
    storage, missing, contents = rest
    dtype = _text_dtype(storage, missing)
    if storage == "python":
        return _PANDAS.array(rebuilt_objects(contents, memory), dtype=dtype)
    return dtype.__from_arrow__(rebuilt_chunks(contents, memory))


def _described_arrow(values: Any, memory: MemoryWriter) -> list[Any]:
    return ["arrow", described_chunks(values.__arrow_array__(), memory)]


def _rebuilt_arrow(rest: list[Any], memory: MemoryReader) -> Any:
    return _ARRAYS.ArrowExtensionArray(rebuilt_chunks(rest[0], memory))


def _described_plain(values: Any, memory: MemoryWriter) -> list[Any]:
    return described_column(values.to_numpy(), memory)


def _new_text_dtypes() -> list[Any]:
    try:
        return [_text_dtype(storage, "nan") for storage in ("python", "pyarrow")]
    except TypeError:  # before pandas 2.3
        return []


# an index, which is made of columns, adds categories, which have one
DESCRIBERS: Final[dict[Any, Callable[[Any, MemoryWriter], list[Any]]]] = {
    _ARRAYS.NumpyExtensionArray: _described_plain,
    _ARRAYS.DatetimeArray: _described_datetimes,
    _ARRAYS.TimedeltaArray: _described_datetimes,
    _ARRAYS.PeriodArray: _described_periods,
    _ARRAYS.IntervalArray: _described_intervals,
    _ARRAYS.StringArray: _described_texts,
    _ARRAYS.ArrowStringArray: _described_texts,
    _ARRAYS.ArrowExtensionArray: _described_arrow,
    **dict.fromkeys(_MASKED, _described_masked),
}
# pandas 2.3 keeps the texts of its new dtype in arrays of their own, which have no public name
for _dtype in _new_text_dtypes():
    DESCRIBERS[type(_PANDAS.array([""], dtype=_dtype))] = _described_texts

REBUILDERS: Final[dict[str, Callable[[list[Any], MemoryReader], Any]]] = {
    "objects": lambda rest, memory: rebuilt_objects(rest[0], memory),
    "numpy": rebuilt_block,
    "zoned": _rebuilt_zoned,
    "periods": _rebuilt_periods,
    "masked": _rebuilt_masked,
    "intervals": _rebuilt_intervals,
    "texts": _rebuilt_texts,
    "arrow": _rebuilt_arrow,
}

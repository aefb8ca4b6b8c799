"""An index is described by its class, its column and its names; a range by three numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types

from cachewright.errors import UnserializableError
from cachewright_arrow.column import (
    DESCRIBERS,
    REBUILDERS,
    described_block,
    described_column,
    rebuilt_block,
    rebuilt_column,
)
from cachewright_arrow.kind import class_of, full_name
from cachewright_arrow.literal import described_literal, rebuilt_literal

if TYPE_CHECKING:
    from cachewright_arrow.memory import MemoryReader, MemoryWriter

_PANDAS: Any = pd
_CLASSES: Final = {
    cls.__name__: cls
    for cls in (
        _PANDAS.Index,
        _PANDAS.DatetimeIndex,
        _PANDAS.TimedeltaIndex,
        _PANDAS.PeriodIndex,
        _PANDAS.IntervalIndex,
        _PANDAS.CategoricalIndex,
    )
}


def described_index(index: Any, memory: MemoryWriter) -> list[Any]:
    """Return the description of an index.

    Raises:
        UnserializableError: it is of another class, or its labels, names or frequency would not come back.
    """
    kind = class_of(index)
    if kind is _PANDAS.RangeIndex:
        return ["range", index.start, index.stop, index.step, described_literal(index.name)]
    if kind is _PANDAS.MultiIndex:
        return [
            "multi",
            [described_index(level, memory) for level in index.levels],
            [described_block(np.asarray(codes), memory) for codes in index.codes],
            [described_literal(name) for name in index.names],
            described_literal(index.sortorder),
        ]
    if kind not in _CLASSES.values():
        raise UnserializableError(full_name(kind), "no index of this class is stored")
    values = index.to_numpy() if index.dtype == object else index.array
    return [
        kind.__name__,
        described_column(values, memory),
        described_literal(index.name),
        _described_frequency(index),
    ]


def rebuilt_index(description: Any, memory: MemoryReader) -> Any:
    """Return an index; any exception if it is not the description of one."""
    kind, *rest = description
    if kind == "range":
        start, stop, step, name = rest
        return _PANDAS.RangeIndex(start, stop, step, name=rebuilt_literal(name))
    if kind == "multi":
        return _rebuilt_levels(rest, memory)
    column, name, frequency = rest
    values = rebuilt_column(column, memory)
    index = _PANDAS.Index(values, dtype=values.dtype, name=rebuilt_literal(name), copy=False)
    if type(index) is not _CLASSES[kind] or values.ndim != 1:
        raise ValueError("the values of an index are those of another class")
    if frequency is not None:
        index.freq = _PANDAS.tseries.frequencies.to_offset(_checked_text(frequency))
    return index


def _rebuilt_levels(rest: list[Any], memory: MemoryReader) -> Any:
    levels, codes, names, order = rest
    return _PANDAS.MultiIndex(
        levels=[rebuilt_index(level, memory) for level in levels],
        codes=[rebuilt_block(block, memory) for block in codes],
        names=[rebuilt_literal(name) for name in names],
        sortorder=order,
        verify_integrity=True,
    )


def _described_frequency(index: Any) -> str | None:
    if not isinstance(index, _PANDAS.DatetimeIndex | _PANDAS.TimedeltaIndex) or index.freq is None:
        return None
    text: str = index.freq.freqstr
    try:
        same = _PANDAS.tseries.frequencies.to_offset(_checked_text(text)) == index.freq
    except ValueError:
        same = False
    if not same:
        raise UnserializableError(
            f"pandas.{type(index).__name__}", f"its frequency {text} would not come back"
        )
    return text


def _checked_text(text: Any) -> str:
    if type(text) is not str or len(text) > 40:
        raise ValueError("not a frequency")
    return text


def _described_categories(values: Any, memory: MemoryWriter) -> list[Any]:
    return [
        "categories",
        described_block(np.asarray(values.codes), memory),
        described_index(values.categories, memory),
        bool(values.ordered),
    ]


def _rebuilt_categories(rest: list[Any], memory: MemoryReader) -> Any:
    codes, categories, ordered = rest
    dtype = _PANDAS.CategoricalDtype(rebuilt_index(categories, memory), ordered=ordered is True)
    return _PANDAS.Categorical.from_codes(rebuilt_block(codes, memory), dtype=dtype)


DESCRIBERS[_PANDAS.Categorical] = _described_categories
REBUILDERS["categories"] = _rebuilt_categories

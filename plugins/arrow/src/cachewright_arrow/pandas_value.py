"""Frames and series of pandas: a frame is an index, labels, and blocks of columns of one dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types

from cachewright_arrow.column import described_block, described_column, rebuilt_block, rebuilt_column
from cachewright_arrow.index import described_index, rebuilt_index
from cachewright_arrow.kind import class_of
from cachewright_arrow.literal import described_literal, rebuilt_literal

if TYPE_CHECKING:
    from cachewright_arrow.memory import MemoryReader, MemoryWriter

_PANDAS: Any = pd


def described_value(value: Any, memory: MemoryWriter) -> list[Any] | None:
    """Return the description of a frame, series or index; ``None`` if it is none.

    Raises:
        UnserializableError: something in it would not come back exactly.
    """
    kind = class_of(value)
    if kind is _PANDAS.DataFrame:
        blocks = [_described_part(values, where, memory) for values, where in _blocks(value)]
        axes = [described_index(axis, memory) for axis in (value.index, value.columns)]
        return ["frame", *axes, blocks, *_described_extras(value)]
    if kind is _PANDAS.Series:
        values = value.to_numpy() if value.dtype == object else value.array
        column = described_column(values, memory)
        index = described_index(value.index, memory)
        return ["series", index, column, described_literal(value.name), *_described_extras(value)]
    if isinstance(value, _PANDAS.Index):
        return ["index", described_index(value, memory)]
    return None


def _described_extras(value: Any) -> list[Any]:
    return [described_literal(value.attrs), value.flags.allows_duplicate_labels]


def _with_extras(value: Any, attrs: Any, duplicates: Any) -> Any:
    value.attrs = rebuilt_literal(attrs)
    if duplicates is not True:
        value.flags.allows_duplicate_labels = False
    return value


def _blocks(frame: Any) -> Iterator[tuple[Any, list[int]]]:
    """Yield arrays, with two dimensions where columns of one dtype lie together, and where they belong.

    Asking for each column by itself would take longer than storing it, where a frame is wide.
    """
    for block in frame._mgr.blocks:  # noqa: SLF001 - there is no public way to the memory of several columns
        values, where = block.values, block.mgr_locs.as_array.tolist()  # noqa: PD011 - no Series
        if values.ndim == 1 or (type(values) is np.ndarray and values.dtype != object):
            yield values, where
        else:
            yield from ((values[row], [place]) for row, place in enumerate(where))


def _described_part(values: Any, where: list[int], memory: MemoryWriter) -> list[Any]:
    if values.ndim == 2:
        return [where, "block", described_block(values, memory)]
    return [where, "column", described_column(values, memory)]


def _rebuilt_frame(rest: list[Any], memory: MemoryReader) -> Any:
    rows, labels, parts, *extras = rest
    index, columns = rebuilt_index(rows, memory), rebuilt_index(labels, memory)
    blocks: list[tuple[Any, Any]] = []
    for where, kind, description in parts:
        values = (rebuilt_block if kind == "block" else rebuilt_column)(description, memory)
        shape = (len(where), len(index)) if kind == "block" else (len(index),)
        if values.shape != shape or (kind != "block" and len(where) != 1):
            raise ValueError("a block does not fit the frame")
        blocks.append((values, np.array(where, dtype=np.intp)))
    # pandas does not check this, and would read what is nowhere
    if sorted(place for where, _, _ in parts for place in where) != list(range(len(columns))):
        raise ValueError("the blocks do not cover the columns")
    return _with_extras(_composed(blocks, index, columns), *extras)


def _composed(blocks: list[tuple[Any, Any]], index: Any, columns: Any) -> Any:
    try:
        internals: Any = import_module("pandas.api.internals")
    except ImportError:  # before pandas 3
        return _composed_by_column(blocks, index, columns)
    whole = [
        (values if values.ndim == 2 or type(values) is not np.ndarray else values[np.newaxis], where)
        for values, where in blocks
    ]
    return internals.create_dataframe_from_blocks(whole, index=index, columns=columns)


def _composed_by_column(blocks: list[tuple[Any, Any]], index: Any, columns: Any) -> Any:
    by_place: dict[int, Any] = {}
    for values, where in blocks:
        by_place.update(zip(where.tolist(), values if values.ndim == 2 else [values], strict=True))
    series = {
        place: _PANDAS.Series(by_place[place], index=index, dtype=by_place[place].dtype, copy=False)
        for place in range(len(columns))
    }
    frame = _PANDAS.DataFrame(series, index=index, copy=False)
    frame.columns = columns
    return frame


def _rebuilt_series(rest: list[Any], memory: MemoryReader) -> Any:
    rows, column, name, *extras = rest
    index, values = rebuilt_index(rows, memory), rebuilt_column(column, memory)
    if values.ndim != 1 or len(values) != len(index):
        raise ValueError("the values do not fit the index")
    series = _PANDAS.Series(values, index=index, dtype=values.dtype, name=rebuilt_literal(name), copy=False)
    return _with_extras(series, *extras)


REBUILDERS: Final[dict[str, Callable[[list[Any], MemoryReader], Any]]] = {
    "frame": _rebuilt_frame,
    "series": _rebuilt_series,
    "index": lambda rest, memory: rebuilt_index(rest[0], memory),
}
"""Rebuilds what :func:`described_value` described, by the first item."""

"""Frames and series of polars, by way of Arrow arrays, which share their memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyarrow as pa

from cachewright.errors import UnserializableError
from cachewright_arrow.array import described_array, rebuilt_array
from cachewright_arrow.kind import class_of

if TYPE_CHECKING:
    from cachewright_arrow.memory import MemoryReader, MemoryWriter

_POLARS: Any = pl
_ARROW: Any = pa
_NEWEST: Final[dict[str, Any]] = (
    {"compat_level": _POLARS.CompatLevel.newest()} if hasattr(_POLARS, "CompatLevel") else {}
)
"""Texts as polars holds them, uncopied; polars 1.0 always converts them."""
_KEEPS_NESTED: Final = int(_POLARS.__version__.partition(".")[0]) >= 2

_FAILURES: Final = (_POLARS.exceptions.PolarsError, _POLARS.exceptions.PanicException)
"""What polars raises; a panic is no ``Exception``, and would be taken for the end of the program."""


def described_value(value: Any, memory: MemoryWriter) -> list[Any] | None:
    """Return the description of a frame or series; ``None`` if it is none.

    Raises:
        UnserializableError: a column would not come back exactly.
    """
    kind = class_of(value)
    if kind is _POLARS.Series:
        return ["series", value.name, _described(value, memory)]
    if kind is _POLARS.DataFrame:
        if value.height and not value.width:
            raise UnserializableError("polars.DataFrame", "it has rows and no columns")
        return ["frame", [[column.name, _described(column, memory)] for column in value.get_columns()]]
    if kind is _POLARS.LazyFrame:
        raise UnserializableError(
            "polars.LazyFrame", "it is a query, and no result", hint="return .collect()"
        )
    return None


def _described(shared: Any, memory: MemoryWriter) -> list[Any]:
    series = shared.clone()  # exporting joins chunks in place, which two threads must not do at once
    dtype = series.dtype
    categories = dtype.categories.to_list() if isinstance(dtype, _POLARS.Enum) else None
    array: Any = None
    try:
        array = series.to_arrow(**_NEWEST)
        array.validate()  # polars before 2.0 exports a part of nested values wrongly, too
        back = None if dtype == _POLARS.Object else _rebuilt(array.slice(0, 1), categories)
    except (TypeError, ValueError, _ARROW.ArrowException, *_FAILURES):
        back = None
    # how a dtype travels does not depend on the rows, but some versions first fail on one
    if back is None or back.dtype != dtype:
        raise UnserializableError(
            f"polars.Series of {str(dtype)[:80]}", "Arrow does not give back this dtype"
        )
    return [repr(dtype), categories, described_array(array, memory)]


def _rebuilt(array: Any, categories: list[str] | None) -> Any:
    if not _KEEPS_NESTED and _ARROW.types.is_nested(array.type):
        raise TypeError("polars before 2.0 reads a part of nested values out of its memory")
    series = _POLARS.from_arrow(array, rechunk=False)
    return series if categories is None else series.cast(_POLARS.Enum(categories))


def _rebuilt_series(named: list[Any], memory: MemoryReader) -> Any:
    name, description = named
    dtype, categories, array = description
    try:
        series = _rebuilt(rebuilt_array(array, memory), categories)
    except _POLARS.exceptions.PanicException as panic:
        raise ValueError(str(panic)) from None
    if repr(series.dtype) != dtype:
        raise ValueError("this polars reads it as another dtype")
    return series.alias(name)


def _rebuilt_frame(columns: list[Any], memory: MemoryReader) -> Any:
    # a list would not do: the name of a series is lost there if it is empty
    return _POLARS.DataFrame({column[0]: _rebuilt_series(column, memory) for column in columns})


REBUILDERS: Final[dict[str, Callable[[list[Any], MemoryReader], Any]]] = {
    "series": _rebuilt_series,
    "frame": lambda rest, memory: _rebuilt_frame(rest[0], memory),
}
"""Rebuilds what :func:`described_value` described, by the first item."""

"""Tables, record batches, arrays, chunked arrays and schemas of pyarrow, with their chunks as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from cachewright.errors import UnserializableError
from cachewright_arrow.array import described_array, described_contents, rebuilt_array, rebuilt_contents
from cachewright_arrow.kind import class_of
from cachewright_arrow.types import (
    described_field,
    described_metadata,
    described_type,
    rebuilt_field,
    rebuilt_metadata,
    rebuilt_type,
)

if TYPE_CHECKING:
    from cachewright_arrow.memory import MemoryReader, MemoryWriter

_LIBRARY: Any = pa


def described_table(value: Any, memory: MemoryWriter) -> list[Any] | None:
    """Return the description of an object of pyarrow; ``None`` if it is none.

    Raises:
        UnserializableError: a type in it is not stored, or it has rows but no columns.
    """
    kind = class_of(value)
    if kind is _LIBRARY.Schema:
        return ["schema", _described_schema(value)]
    if kind is _LIBRARY.Table:
        _refuse_rows_alone(value)
        return [
            "table",
            _described_schema(value.schema),
            [_chunks(column, memory) for column in value.columns],
        ]
    if kind is _LIBRARY.RecordBatch:
        _refuse_rows_alone(value)
        columns = [described_contents(column, memory) for column in value.columns]
        return ["batch", _described_schema(value.schema), columns]
    if kind is _LIBRARY.ChunkedArray:
        return ["chunked", described_chunks(value, memory)]
    if isinstance(value, _LIBRARY.Array):
        return ["array", described_array(value, memory)]
    return None


def described_chunks(value: Any, memory: MemoryWriter) -> list[Any]:
    """Return type and chunks of a chunked array."""
    return [described_type(value.type), _chunks(value, memory)]


def rebuilt_chunks(description: Any, memory: MemoryReader) -> Any:
    """Return a chunked array; any exception if it is not the description of one."""
    kind, chunks = description
    return _rebuilt_chunks(rebuilt_type(kind), chunks, memory)


def _chunks(column: Any, memory: MemoryWriter) -> list[Any]:
    return [described_contents(chunk, memory) for chunk in column.chunks]


def _rebuilt_chunks(kind: Any, chunks: list[Any], memory: MemoryReader) -> Any:
    arrays = [rebuilt_contents(kind, chunk, memory) for chunk in chunks]
    return _LIBRARY.chunked_array(arrays, type=kind)


def _described_schema(schema: Any) -> list[Any]:
    return [[described_field(field) for field in schema], described_metadata(schema.metadata)]


def _rebuilt_schema(description: Any) -> Any:
    fields, metadata = description
    return _LIBRARY.schema([rebuilt_field(field) for field in fields], rebuilt_metadata(metadata))


def _rebuilt_table(rest: list[Any], memory: MemoryReader) -> Any:
    schema = _rebuilt_schema(rest[0])
    columns = [
        _rebuilt_chunks(field.type, chunks, memory) for field, chunks in zip(schema, rest[1], strict=True)
    ]
    table = _LIBRARY.Table.from_arrays(columns, schema=schema)
    table.validate()
    return table


def _rebuilt_batch(rest: list[Any], memory: MemoryReader) -> Any:
    schema = _rebuilt_schema(rest[0])
    columns = [
        rebuilt_contents(field.type, contents, memory)
        for field, contents in zip(schema, rest[1], strict=True)
    ]
    batch = _LIBRARY.RecordBatch.from_arrays(columns, schema=schema)
    batch.validate()
    return batch


def _refuse_rows_alone(value: Any) -> None:
    if value.num_rows and not value.num_columns:
        raise UnserializableError(type(value).__name__, "it has rows and no columns")


REBUILDERS: Final[dict[str, Callable[[list[Any], MemoryReader], Any]]] = {
    "schema": lambda rest, _: _rebuilt_schema(rest[0]),
    "table": _rebuilt_table,
    "batch": _rebuilt_batch,
    "chunked": lambda rest, memory: rebuilt_chunks(rest[0], memory),
    "array": lambda rest, memory: rebuilt_array(rest[0], memory),
}
"""Rebuilds what :func:`described_table` described, by the first item."""

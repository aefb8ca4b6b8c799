"""An Arrow array is described by lengths and places of its buffers, which travel uncopied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from cachewright_arrow.types import described_type, rebuilt_type

if TYPE_CHECKING:
    from cachewright_arrow.memory import MemoryReader, MemoryWriter

_LIBRARY: Any = pa
_SLACK: Final = 4096
"""Bytes of buffers that may go unused before an array is copied to be stored."""

_NO_MEMORY: Final = _LIBRARY.py_buffer(bytes(64)).slice(0, 0)
"""A buffer of no bytes at an address that may be read."""

_ALIGNMENT: Final = 16
"""Arrow reads its widest numbers at multiples of this."""


def described_array(array: Any, memory: MemoryWriter) -> list[Any]:
    """Return type and contents of an array.

    Raises:
        UnserializableError: its type is not stored.
    """
    return [described_type(array.type), described_contents(array, memory)]


def rebuilt_array(description: Any, memory: MemoryReader) -> Any:
    """Return an array, validated; any exception if it is not the description of one."""
    kind, contents = description
    return rebuilt_contents(rebuilt_type(kind), contents, memory)


def described_contents(array: Any, memory: MemoryWriter) -> list[Any]:
    """Return the contents of an array of a type that is known already."""
    return _described(_compact(array), memory)


def rebuilt_contents(kind: Any, contents: Any, memory: MemoryReader) -> Any:
    """Return an array of a type, validated: nothing in it points out of its buffers, and texts are texts."""
    array = _rebuilt(kind, contents, memory)
    array.validate(full=True)
    return array


def _compact(array: Any) -> Any:
    """Return the array, or a copy if it is a slice or a small part of its buffers."""
    try:
        if not array.offset and array.get_total_buffer_size() <= array.nbytes * 1.05 + _SLACK:
            return array
    except _LIBRARY.ArrowException:  # older ones do not know what a view refers to
        if not array.offset:
            return array
    sink = _LIBRARY.BufferOutputStream()
    batch = _LIBRARY.record_batch([array], names=["array"])
    with _LIBRARY.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with _LIBRARY.ipc.open_stream(sink.getvalue()) as reader:  # written just now, by this process
        return reader.read_next_batch().column(0)


def _described(array: Any, memory: MemoryWriter) -> list[Any]:
    kind = array.type
    if isinstance(kind, _LIBRARY.DictionaryType):
        return [_described(array.indices, memory), _described(_compact(array.dictionary), memory)]
    children = _children(array)
    buffers = array.buffers()
    own = buffers[: kind.num_buffers] if children else buffers
    places = [None if buffer is None else memory.add(memoryview(buffer)) for buffer in own]
    return [len(array), array.offset, places, [_described(child, memory) for child in children]]


def _children(array: Any) -> list[Any]:
    kind = array.type
    if isinstance(kind, _LIBRARY.StructType):
        return [array.field(place) for place in range(kind.num_fields)]
    return [array.values] if kind.num_fields else []


def _rebuilt(kind: Any, contents: Any, memory: MemoryReader) -> Any:
    if isinstance(kind, _LIBRARY.DictionaryType):
        indices, dictionary = contents
        values = _rebuilt(kind.value_type, dictionary, memory)
        values.validate(full=True)
        keys = _rebuilt(kind.index_type, indices, memory)
        keys.validate(full=True)
        return _LIBRARY.DictionaryArray.from_arrays(keys, values, ordered=kind.ordered, safe=True)
    length, offset, places, children = contents
    if not all(type(number) is int and 0 <= number < 1 << 48 for number in (length, offset)):
        raise ValueError("the length of an array makes no sense")
    buffers = [None if place is None else _buffer(memory.at(place)) for place in places]
    # of no elements there may be no memory either, but not everything that reads it looks first
    buffers[1:] = [buffer if buffer is not None and buffer.size else _NO_MEMORY for buffer in buffers[1:]]
    kinds = _kinds_of_children(kind)
    parts = [_rebuilt(child, part, memory) for child, part in zip(kinds, children, strict=True)]
    # the number of nulls is counted again, for a wrong one would let reading skip the check for null
    return _LIBRARY.Array.from_buffers(kind, length, buffers, -1, offset, parts or None)


def _kinds_of_children(kind: Any) -> list[Any]:
    if isinstance(kind, _LIBRARY.MapType):
        return [_LIBRARY.struct([kind.key_field, kind.item_field])]
    return [kind.field(place).type for place in range(kind.num_fields)]


def _buffer(piece: memoryview) -> Any:
    buffer = _LIBRARY.py_buffer(piece)
    if buffer.size and buffer.address % _ALIGNMENT:
        aligned = _LIBRARY.allocate_buffer(buffer.size)
        memoryview(aligned).cast("B")[:] = piece
        return aligned
    return buffer

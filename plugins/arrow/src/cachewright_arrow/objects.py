"""A column of objects is stored exactly if each is a text, a number, a date or a kind of nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types
import pyarrow as pa

from cachewright.errors import UnserializableError
from cachewright_arrow.array import described_array, rebuilt_array
from cachewright_arrow.kind import class_of, full_name

if TYPE_CHECKING:
    from cachewright_arrow.memory import MemoryReader, MemoryWriter

_ARROW: Any = pa
_PANDAS: Any = pd
_NOTHING: Final[dict[str, Any]] = {"none": None, "na": _PANDAS.NA, "nat": _PANDAS.NaT}
_NOTHING_BY_KIND: Final[dict[Any, str]] = {class_of(value): name for name, value in _NOTHING.items()}

_STORED: Final[dict[type[Any], tuple[str, Callable[[list[Any]], Any]]]] = {
    str: ("str", lambda values: _ARROW.array(values, _ARROW.large_string())),
    bytes: ("bytes", lambda values: _ARROW.array(values, _ARROW.large_binary())),
    int: ("int", lambda values: _ARROW.array(values, _ARROW.int64())),
    float: ("float", lambda values: _ARROW.array(np.array(values, "f8"), from_pandas=False)),
    bool: ("bool", lambda values: _ARROW.array(values, _ARROW.bool_())),
    dt.date: ("date", lambda values: _ARROW.array(values, _ARROW.date32())),
    Decimal: ("decimal", lambda values: _ARROW.array(list(map(str, values)), _ARROW.large_string())),
}
"""How the objects of each type are stored as an array, by a name."""

_REBUILT: Final[dict[str, Callable[[Any], Any]]] = {
    "str": lambda array: array.to_numpy(zero_copy_only=False),
    "bytes": lambda array: array.to_numpy(zero_copy_only=False),
    "int": lambda array: array.to_numpy().astype(object),
    "float": lambda array: array.to_numpy().astype(object),
    "bool": lambda array: array.to_numpy(zero_copy_only=False).astype(object),
    "date": lambda array: _objects(array.to_pylist()),
    "decimal": lambda array: _objects([Decimal(text) for text in array.to_pylist()]),
}
_TEXTS: Final = ({str}, {str, type(None)})


def described_objects(objects: Any, memory: MemoryWriter) -> list[Any]:
    """Return the description of a one-dimensional array of objects.

    Raises:
        UnserializableError: one of them is of another type, or an int has more than 64 bits.
    """
    values: list[Any] = objects.tolist()
    kinds = set(map(type, values))
    if kinds in _TEXTS:
        return ["texts", described_array(_array(str, values), memory)]
    unknown = kinds - _STORED.keys() - _NOTHING_BY_KIND.keys()
    if unknown:
        kind = unknown.pop()
        raise UnserializableError(full_name(kind), "a column of objects holds one, which is no plain value")
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    numbers = {kind: number for number, kind in enumerate(ordered)}
    which = bytes(map(numbers.__getitem__, map(type, values))) if len(ordered) > 1 else b""
    parts: list[Any] = []
    for kind in ordered:
        if kind in _NOTHING_BY_KIND:
            parts.append([_NOTHING_BY_KIND[kind], None])
            continue
        some = values if len(ordered) == 1 else [value for value in values if type(value) is kind]
        parts.append([_STORED[kind][0], described_array(_array(kind, some), memory)])
    return ["mixed", len(values), memory.add(which), parts]


def rebuilt_objects(description: Any, memory: MemoryReader) -> Any:
    """Return an array of objects; any exception if it is not the description of one."""
    kind, *rest = description
    if kind == "texts":
        (array,) = rest
        texts = rebuilt_array(array, memory)
        if texts.type != _ARROW.large_string():
            raise ValueError("not an array of texts")
        return texts.to_numpy(zero_copy_only=False)
    size, place, parts = rest
    if len(parts) == 1:
        return _part(parts[0], size, memory)
    which = np.frombuffer(memory.at(place), np.uint8)
    if kind != "mixed" or len(which) != size or (size and which.max() >= len(parts)):
        raise ValueError("not the description of an array of objects")
    objects = np.empty(size, dtype=object)
    for number, part in enumerate(parts):
        here = which == number
        objects[here] = _part(part, int(here.sum()), memory)
    return objects


def _array(kind: type[Any], values: list[Any]) -> Any:
    try:
        return _STORED[kind][1](values)
    except (ValueError, OverflowError, _ARROW.ArrowException) as error:
        raise UnserializableError(f"builtins.{kind.__name__}", f"in a column: {str(error)[:100]}") from None


def _part(part: Any, size: int, memory: MemoryReader) -> Any:
    name, array = part
    if name in _NOTHING:
        nothing = np.empty(size, dtype=object)
        nothing[:] = [_NOTHING[name]] * size
        return nothing
    rebuilt = rebuilt_array(array, memory)
    if rebuilt.null_count or len(rebuilt) != size:
        raise ValueError("an array of objects has gaps")
    return _REBUILT[name](rebuilt)


def _objects(values: list[Any]) -> Any:
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects

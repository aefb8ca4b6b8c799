"""An Arrow type is described by names and numbers; only types named here are ever rebuilt.

Extension types are refused, and none is looked up: what was registered for one runs when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import pyarrow as pa

from cachewright.errors import UnserializableError

DataType: TypeAlias = Any
"""A ``pyarrow.DataType``; pyarrow ships no types."""

_LIBRARY: Any = pa
_EXTENSION: Final = b"ARROW:extension"
_DEPTH_LIMIT: Final = 50
_SIMPLE: Final[dict[str, DataType]] = {
    name: getattr(_LIBRARY, name)()
    for name in (
        *("null", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "date32", "date64", "month_day_nano_interval"),
        *("string", "large_string", "string_view", "binary", "large_binary", "binary_view"),
    )
    if hasattr(_LIBRARY, name)  # the views are younger than the oldest pyarrow
}
_NAMES: Final = {kind: name for name, kind in _SIMPLE.items()}


def described_type(kind: DataType, depth: int = 0) -> Any:
    """Return the description of a type.

    Raises:
        UnserializableError: it is an extension type, or of a kind that is not stored.
    """
    name = None if isinstance(kind, _LIBRARY.BaseExtensionType) else _NAMES.get(kind)
    if name is not None:
        return name
    describe = None if depth > _DEPTH_LIMIT else _DESCRIBERS.get(kind.id)
    if describe is None:
        raise UnserializableError(
            f"pyarrow type {str(kind)[:80]}", "only Arrow's own simple and nested types"
        )
    description = describe(kind, depth + 1)
    if depth == 0 and not rebuilt_type(description).equals(kind, check_metadata=True):
        raise UnserializableError(f"pyarrow type {str(kind)[:80]}", "it would come back as another one")
    return description


def rebuilt_type(description: Any, depth: int = 0) -> DataType:
    """Return a type; any exception if it is not the description of one."""
    if isinstance(description, str):
        return _SIMPLE[description]
    if depth > _DEPTH_LIMIT:
        raise ValueError("a type is nested too deeply")
    name, *rest = description
    return _MAKERS[name](rest, depth + 1)


def described_field(field: Any, depth: int = 0) -> list[Any]:
    """Return name, type, nullability and metadata of a field."""
    kind = described_type(field.type, depth)
    return [field.name, kind, field.nullable, described_metadata(field.metadata)]


def rebuilt_field(description: Any, depth: int = 0) -> Any:
    """Return a field; any exception if it is not the description of one."""
    name, kind, nullable, metadata = description
    if type(name) is not str or type(nullable) is not bool:
        raise TypeError("not the description of a field")
    return _LIBRARY.field(name, rebuilt_type(kind, depth), nullable, rebuilt_metadata(metadata))


def described_metadata(metadata: dict[bytes, bytes] | None) -> list[list[str]] | None:
    """Return metadata as texts, byte by byte."""
    if metadata is None:
        return None
    if any(key.startswith(_EXTENSION) for key in metadata):
        raise UnserializableError("pyarrow.Field", "its metadata names an extension type")
    return [[key.decode("latin-1"), value.decode("latin-1")] for key, value in metadata.items()]


def rebuilt_metadata(pairs: list[list[str]] | None) -> dict[bytes, bytes] | None:
    """Return metadata."""
    if pairs is None:
        return None
    metadata = {key.encode("latin-1"): value.encode("latin-1") for key, value in pairs}
    if any(key.startswith(_EXTENSION) for key in metadata):
        raise ValueError("extension types are never rebuilt")
    return metadata


def _list_of(make: str) -> Callable[[list[Any], int], DataType]:
    return lambda rest, depth: getattr(_LIBRARY, make)(rebuilt_field(rest[0], depth))


def _with_numbers(make: str) -> Callable[[list[Any], int], DataType]:
    return lambda rest, _: getattr(_LIBRARY, make)(*rest)


def _rebuilt_map(rest: list[Any], depth: int) -> DataType:
    key, item, keys_sorted = rest
    return _LIBRARY.map_(rebuilt_field(key, depth), rebuilt_field(item, depth), keys_sorted is True)


_IDS: Any = _LIBRARY.lib
_NESTED: Final = {
    getattr(_IDS, f"Type_{constant}"): name
    for constant, name in (
        ("LIST", "list_"),
        ("LARGE_LIST", "large_list"),
        ("LIST_VIEW", "list_view"),
        ("LARGE_LIST_VIEW", "large_list_view"),
    )
    if hasattr(_IDS, f"Type_{constant}")
}
_DECIMALS: Final = {
    getattr(_IDS, f"Type_{name.upper()}"): name
    for name in ("decimal32", "decimal64", "decimal128", "decimal256")
    if hasattr(_LIBRARY, name)
}
_UNITS: Final = {_IDS.Type_TIME32: "time32", _IDS.Type_TIME64: "time64", _IDS.Type_DURATION: "duration"}

_DESCRIBERS: Final[dict[int, Callable[[DataType, int], list[Any]]]] = {
    **dict.fromkeys(
        _NESTED, lambda kind, depth: [_NESTED[kind.id], described_field(kind.value_field, depth)]
    ),
    **dict.fromkeys(_DECIMALS, lambda kind, _: [_DECIMALS[kind.id], kind.precision, kind.scale]),
    **dict.fromkeys(_UNITS, lambda kind, _: [_UNITS[kind.id], kind.unit]),
    _IDS.Type_TIMESTAMP: lambda kind, _: ["timestamp", kind.unit, kind.tz],
    _IDS.Type_FIXED_SIZE_BINARY: lambda kind, _: ["fixed_binary", kind.byte_width],
    _IDS.Type_FIXED_SIZE_LIST: lambda kind, depth: [
        "fixed_list", described_field(kind.value_field, depth), kind.list_size,
    ],
    _IDS.Type_STRUCT: lambda kind, depth: [
        "struct", *[described_field(kind.field(place), depth) for place in range(kind.num_fields)],
    ],
    _IDS.Type_MAP: lambda kind, depth: [
        "map",
        *[described_field(field, depth) for field in (kind.key_field, kind.item_field)],
        kind.keys_sorted,
    ],
    _IDS.Type_DICTIONARY: lambda kind, depth: [
        "dictionary",
        *[described_type(part, depth) for part in (kind.index_type, kind.value_type)],
        kind.ordered,
    ],
}  # fmt: skip
_MAKERS: Final[dict[str, Callable[[list[Any], int], DataType]]] = {
    **{name: _list_of(name) for name in _NESTED.values()},
    **{name: _with_numbers(name) for name in (*_DECIMALS.values(), *_UNITS.values())},
    "timestamp": lambda rest, _: _LIBRARY.timestamp(*rest),
    "fixed_binary": lambda rest, _: _LIBRARY.binary(*rest),
    "fixed_list": lambda rest, depth: _LIBRARY.list_(rebuilt_field(rest[0], depth), rest[1]),
    "struct": lambda rest, depth: _LIBRARY.struct([rebuilt_field(field, depth) for field in rest]),
    "map": _rebuilt_map,
    "dictionary": lambda rest, depth: _LIBRARY.dictionary(
        rebuilt_type(rest[0], depth), rebuilt_type(rest[1], depth), rest[2] is True
    ),
}

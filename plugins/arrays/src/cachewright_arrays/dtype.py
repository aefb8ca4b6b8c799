"""A dtype is described by text, or by lists of texts and numbers, which are matched and never evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np

from cachewright.errors import UnserializableError
from cachewright_arrays.kind import class_of

_PLAIN: Final = re.compile(
    r"(?P<text>(?P<order>[<>|])(?:[biufc]\d{1,3}|[SUV]\d{1,9}|[mM]8(?:\[\d{0,9}[A-Za-z]{1,7}\])?))"
    r"(?::(?P<char>[lLqQgG]))?(?:/(?P<digits>\d{1,3}))?"
)
_FIELD_LIMIT: Final = 10_000
_DEPTH_LIMIT: Final = 20
_LONG: Final = "gG"
"""Type characters of ``longdouble`` and ``clongdouble``, whose format depends on the platform."""

_SIMPLE: Final[dict[tuple[int, str], str]] = {
    (dtype.num, dtype.byteorder): dtype.str
    for dtype in map(np.dtype, ("?", "b", "h", "i", "B", "H", "I", "e", "f", "d", "F", "D", "i8", "u8"))
}
"""The descriptions of the dtypes that nearly all arrays have."""


def described_dtype(dtype: np.dtype[Any]) -> Any:
    """Return the description of a dtype.

    Raises:
        UnserializableError: it holds objects or metadata, is of a class of its own, or would not come
            back as it was.
    """
    simple = _SIMPLE.get((dtype.num, dtype.byteorder))
    if simple is not None and dtype.metadata is None:
        return simple
    try:
        description = _described(dtype)
        same = rebuilt_dtype(description)
    except (TypeError, ValueError, RecursionError) as error:
        raise _refusal(dtype, str(error)) from None
    if not _is_same(same, dtype):
        raise _refusal(dtype, "it would come back as another one")
    return description


def rebuilt_dtype(description: Any, depth: int = 0) -> np.dtype[Any]:
    """Return the dtype of a description.

    Raises:
        ValueError: it is not one that :func:`described_dtype` makes, or means another thing here.
        TypeError: likewise.
    """
    if isinstance(description, str):
        return _rebuilt_plain(description)
    if class_of(description) is not list or depth > _DEPTH_LIMIT:
        raise TypeError("not the description of a dtype")
    if description[0] == "array":
        _, base, shape = description
        return np.dtype((rebuilt_dtype(base, depth + 1), lengths(shape)))
    kind, itemsize, align, fields = description
    if kind != "struct" or type(itemsize) is not int or type(align) is not bool:
        raise ValueError("not the description of a dtype")
    return _rebuilt_struct(itemsize, fields, depth, align=align)


def lengths(shape: object) -> tuple[int, ...]:
    """Return a shape, made sure of.

    Raises:
        ValueError: it is not a list of sizes.
    """
    sizes = cast("Sequence[object]", shape if isinstance(shape, list) else [None])
    checked = tuple([size for size in sizes if type(size) is int and size >= 0])
    if len(checked) != len(sizes):
        raise ValueError("the shape makes no sense")
    return checked


def _described(dtype: np.dtype[Any]) -> Any:
    if dtype.metadata is not None:
        raise ValueError("it carries metadata")
    if dtype.hasobject:
        raise ValueError("it holds objects")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["array", _described(base), list(shape)]
    if dtype.names is None:
        return _described_plain(dtype)
    if dtype.type is not np.void or dtype.fields is None:
        raise ValueError("its records are of a class of their own")
    fields: list[Any] = []
    fields_of = cast("Mapping[str, tuple[Any, ...]]", dtype.fields)
    for name in dtype.names:
        kind, offset, *title = fields_of[name]
        if title and type(title[0]) is not str:
            raise ValueError("a title is not text")
        fields.append([name, title[0] if title else None, offset, _described(kind)])
    return ["struct", dtype.itemsize, dtype.isalignedstruct, fields]


def _described_plain(dtype: np.dtype[Any]) -> str:
    text = dtype.str
    if dtype.char in _LONG:
        # One name, several formats: 80 bits on one machine are 128 on the next.
        return f"{text}:{dtype.char}/{np.finfo(dtype).nmant}"
    return text if np.dtype(text).char == dtype.char else f"{text}:{dtype.char}"


@lru_cache(maxsize=512)
def _rebuilt_plain(text: str) -> np.dtype[Any]:
    found = _PLAIN.fullmatch(text)
    if found is None:
        raise ValueError("not the description of a dtype without objects")
    char, digits = found["char"], found["digits"]
    dtype: np.dtype[Any] = np.dtype(found["text"]) if char is None else np.dtype(char)
    if char is not None and found["order"] in "<>":
        dtype = dtype.newbyteorder(cast("Any", found["order"]))
    if dtype.str != found["text"] or (dtype.char in _LONG) is not (digits is not None):
        raise ValueError("the dtype is another one on this platform")
    if digits is not None and np.finfo(cast("Any", dtype)).nmant != int(digits):
        raise ValueError("long floats have another format on this platform")
    return dtype


def _rebuilt_struct(itemsize: int, fields: Any, depth: int, *, align: bool) -> np.dtype[Any]:
    if not 0 <= itemsize < 1 << 31 or len(fields) > _FIELD_LIMIT:
        raise ValueError("the size of a structure makes no sense")
    layout: dict[str, list[Any]] = {"names": [], "titles": [], "offsets": [], "formats": []}
    for name, title, offset, kind in fields:
        if type(name) is not str or type(offset) is not int or not isinstance(title, str | None):
            raise TypeError("a field has a name, a title, an offset and a dtype")
        row = (name, title, offset, rebuilt_dtype(kind, depth + 1))
        for column, part in zip(layout.values(), row, strict=True):
            column.append(part)
    if all(title is None for title in layout["titles"]):
        del layout["titles"]
    rebuilt: np.dtype[Any] = np.dtype(cast("Any", {**layout, "itemsize": itemsize}), align=align)
    return rebuilt


def _is_same(one: np.dtype[Any], other: np.dtype[Any]) -> bool:
    return (
        one == other
        and one.str == other.str
        and one.char == other.char
        and one.isalignedstruct == other.isalignedstruct
        and one.fields == other.fields
    )


def _refusal(dtype: np.dtype[Any], why: str) -> UnserializableError:
    return UnserializableError(f"numpy.ndarray of dtype {str(dtype)[:80]}", f"its dtype: {why}")

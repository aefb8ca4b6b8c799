"""An array is described by data alone: dtype, shape, order and memory, all checked before it is rebuilt."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

import numpy as np

from cachewright.errors import UnserializableError

_PLAIN: Final = re.compile(r"[<>|](?:[biufc]\d{1,3}|[SUV]\d{1,9}|[mM]8(?:\[\d{0,9}[A-Za-z]{1,7}\])?)")
_LARGEST_CODE_POINT: Final = 0x10FFFF
_FIELD_LIMIT: Final = 10_000
_DEPTH_LIMIT: Final = 20


def described(value: object) -> tuple[object, list[int], str, memoryview]:
    """Return dtype, shape, order (``"C"`` or ``"F"``) and memory of an array.

    Raises:
        UnserializableError: it is of a subclass (masked arrays, matrices), holds objects, or its dtype
            would not come back as it was.
    """
    if type(value) is not np.ndarray:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        raise UnserializableError(name, "only numpy.ndarray itself comes back as it was")
    array = cast("np.ndarray[Any, np.dtype[Any]]", value)
    dtype = described_dtype(array.dtype)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    if not array.nbytes:
        return dtype, list(array.shape), order, memoryview(b"")
    line = (array.T if order == "F" else _whole(array)).reshape(-1)
    return dtype, list(array.shape), order, line.view(np.uint8).data.toreadonly()


def _whole(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array without gaps; a copy of a structure has zeros between its fields, not old memory."""
    if array.flags.c_contiguous or array.dtype.names is None:
        return np.ascontiguousarray(array)
    copy = np.zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


def rebuilt(dtype: object, shape: object, order: object, memory: bytes | memoryview) -> np.ndarray[Any, Any]:
    """Return a read-only array over ``memory``, which has to fit exactly.

    Raises:
        ValueError: the description is not one that :func:`described` makes, or does not fit.
        TypeError: likewise.
    """
    kind = rebuilt_dtype(dtype)
    lengths = _lengths(shape)
    if order not in ("C", "F"):
        raise ValueError("the order makes no sense")
    view = memoryview(memory)
    if math.prod(lengths) * kind.itemsize != view.nbytes:
        raise ValueError("the memory does not fit the shape")
    layout: Literal["C", "F"] = "F" if order == "F" else "C"
    if view.nbytes:
        array: np.ndarray[Any, Any] = np.ndarray(lengths, kind, buffer=view.toreadonly(), order=layout)
        _check_text(array)
    else:
        array = np.empty(lengths, kind, order=layout)
    array.flags.writeable = False
    return array


def described_dtype(dtype: np.dtype[Any]) -> object:
    """Return a dtype as text, or as lists of texts and numbers if it has fields or is a sub-array.

    Raises:
        UnserializableError: it holds objects or something else that text cannot describe.
    """
    description = _described_dtype(dtype)
    try:
        same = rebuilt_dtype(description)
    except (TypeError, ValueError):
        same = None
    if (
        same != dtype
        or same is None
        or same.isalignedstruct != dtype.isalignedstruct
        or same.str != dtype.str
    ):
        raise UnserializableError(
            f"numpy.ndarray of dtype {str(dtype)[:80]}",
            "its dtype holds objects or cannot be described by data",
        )
    return description


def _described_dtype(dtype: np.dtype[Any]) -> object:
    if dtype.hasobject or dtype.metadata is not None:
        return None
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["array", _described_dtype(base), list(shape)]
    if dtype.names is None:
        return dtype.str
    if dtype.type is not np.void or dtype.fields is None:
        return None
    fields: list[object] = []
    fields_of = cast("Mapping[str, tuple[Any, ...]]", dtype.fields)
    for name in dtype.names:
        kind, offset, *title = fields_of[name]
        if title and type(title[0]) is not str:
            return None
        fields.append([name, title[0] if title else None, offset, _described_dtype(kind)])
    return ["struct", dtype.itemsize, dtype.isalignedstruct, fields]


def rebuilt_dtype(description: object, depth: int = 0) -> np.dtype[Any]:
    """Return the dtype of a description; text is matched exactly and never evaluated."""
    if isinstance(description, str):
        if not _PLAIN.fullmatch(description):
            raise ValueError("not the description of a dtype without objects")
        return np.dtype(description)
    if not isinstance(description, list | tuple) or depth > _DEPTH_LIMIT:
        raise TypeError("not the description of a dtype")
    match list(cast("Sequence[Any]", description)):
        case ["array", base, shape]:
            return np.dtype((rebuilt_dtype(base, depth + 1), _lengths(shape)))
        case ["struct", int() as itemsize, bool() as align, fields]:
            if not 0 <= itemsize < 1 << 31 or len(fields) > _FIELD_LIMIT:
                raise ValueError("the size of a structure makes no sense")
            return _rebuilt_struct(itemsize, fields, depth, align=align)
        case _:
            raise ValueError("not the description of a dtype")


def _lengths(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, list | tuple):
        raise TypeError("a shape is a list of sizes")
    sizes = cast("Sequence[object]", shape)
    lengths = tuple(size for size in sizes if type(size) is int and size >= 0)
    if len(lengths) != len(sizes):
        raise ValueError("the shape makes no sense")
    return lengths


def _rebuilt_struct(itemsize: int, fields: Any, depth: int, *, align: bool) -> np.dtype[Any]:
    names: list[str] = []
    titles: list[str | None] = []
    offsets: list[int] = []
    formats: list[np.dtype[Any]] = []
    for name, title, offset, kind in fields:
        if type(name) is not str or type(offset) is not int or not isinstance(title, str | None):
            raise TypeError("a field has a name, a title, an offset and a dtype")
        names.append(name)
        titles.append(title)
        offsets.append(offset)
        formats.append(rebuilt_dtype(kind, depth + 1))
    layout: dict[str, Any] = {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}
    if any(title is not None for title in titles):
        layout["titles"] = titles
    rebuilt: np.dtype[Any] = np.dtype(cast("Any", layout), align=align)
    return rebuilt


def _check_text(array: np.ndarray[Any, Any]) -> None:
    """Refuse code points that no text has: reading them would make strings that Python cannot handle."""
    kind = array.dtype
    if kind.names is not None:
        for name in kind.names:
            _check_text(array[name])
    elif kind.kind == "U" and array.size and kind.itemsize:
        codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype(f"{kind.byteorder}u4"))
        if codes.max() > _LARGEST_CODE_POINT:
            raise ValueError("not text")

"""An array is described by dtype, shape and order of its axes; its memory travels beside, uncopied."""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias, cast

import numpy as np

from cachewright.errors import UnserializableError
from cachewright_arrays.dtype import described_dtype, lengths, rebuilt_dtype

AnyArray: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

_LARGEST_CODE_POINT: Final = 0x10FFFF
_DIMENSION_LIMIT: Final = 64


def described_array(array: AnyArray) -> tuple[list[Any], memoryview]:
    """Return the description of an array, and its memory: the array's own, unless it has gaps.

    The order of the axes in memory is kept (C, Fortran, or any other), gaps and negative steps are not.

    Raises:
        UnserializableError: its dtype cannot be described.
    """
    dtype = described_dtype(array.dtype)
    shape = list(array.shape)
    if not array.nbytes:
        return [dtype, shape, None], memoryview(b"")
    order, line = None, array
    if not array.flags.c_contiguous:
        order, line = _unfolded(array)
    # a dtype with fields at overlapping or unordered offsets has no buffer format, bytes always do
    return [dtype, shape, order], line.reshape(-1).view(np.uint8).data.toreadonly()


def rebuilt_array(description: object, memory: memoryview) -> AnyArray:
    """Return a read-only array over ``memory``, which has to fit exactly.

    Raises:
        ValueError: the description is not one that :func:`described_array` makes, or does not fit.
        TypeError: likewise.
    """
    dtype, shape, order = cast("list[Any]", description)
    kind = rebuilt_dtype(dtype)
    sizes = lengths(shape)
    if len(sizes) > _DIMENSION_LIMIT or math.prod(sizes) * kind.itemsize != memory.nbytes:
        raise ValueError("the memory does not fit the shape")
    axes = None if order is None else _axes(order, len(sizes))
    stored = sizes if axes is None else tuple([sizes[axis] for axis in axes])
    array: AnyArray = np.ndarray(stored, kind, memory.toreadonly() if memory.nbytes else None)
    if memory.nbytes:
        _check_text(array)
    array.flags.writeable = False
    return array if axes is None else array.transpose(np.argsort(axes))


def described_scalar(value: Any) -> list[str]:
    """Return dtype and bytes of a scalar.

    Raises:
        UnserializableError: it would not come back as it was.
    """
    name = f"numpy.{type(value).__name__}"
    if isinstance(value, np.void):  # its fields are references into the array that it came from
        raise UnserializableError(name, "only scalars of simple dtypes come back as they were")
    whole = np.asarray(value)
    description = [described_dtype(whole.dtype), whole.tobytes().hex()]
    back = rebuilt_scalar(*description)
    # NumPy cuts off the zeros at the end of a text
    if type(back) is not type(value) or (isinstance(value, np.character) and back != value):
        raise UnserializableError(name, "it would come back as something else")
    return description


def rebuilt_scalar(dtype: object, memory: object) -> np.generic:
    """Return a scalar; ``ValueError`` or ``TypeError`` if the bytes do not fit."""
    if type(memory) is not str or type(dtype) is not str:
        raise TypeError("a scalar is described by texts")
    no_shape: list[int] = []
    whole = rebuilt_array([dtype, no_shape, None], memoryview(bytes.fromhex(memory)))
    return cast("np.generic", whole[()])


def described_texts(array: AnyArray) -> tuple[list[Any], AnyArray, bytes]:
    """Return the description of an array of ``StringDType``, the length of each text, and all texts as UTF-8.

    A missing text has the length -1.

    Raises:
        UnserializableError: what stands for missing texts is neither ``None`` nor NaN.
    """
    dtype = cast("Any", array.dtype)
    missing = _MISSING[0]
    if hasattr(dtype, "na_object"):
        absent = dtype.na_object
        is_nan = type(absent) is float and math.isnan(absent)
        missing = "none" if absent is None else "nan" if is_nan else ""
    if not missing:
        raise UnserializableError("numpy.ndarray of StringDType", "only None and NaN may stand for texts")
    encoded: list[bytes | None] = [
        text.encode() if isinstance(text, str) else None
        for text in cast("list[object]", array.reshape(-1).tolist())
    ]
    sizes = np.fromiter([-1 if text is None else len(text) for text in encoded], "<i8", len(encoded))
    return [missing, dtype.coerce, list(array.shape)], sizes, b"".join(filter(None, encoded))


def rebuilt_texts(description: object, sizes: AnyArray, memory: memoryview) -> AnyArray:
    """Return a read-only array of ``StringDType``; ``ValueError`` if the parts do not fit."""
    missing, coerce, shape = cast("list[Any]", description)
    if missing not in _MISSING or type(coerce) is not bool or sizes.dtype != np.dtype("<i8"):
        raise ValueError("not the description of an array of texts")
    absent = math.nan if missing == "nan" else None
    options: dict[str, Any] = {} if missing == _MISSING[0] else {"na_object": absent}
    whole = bytes(memory)
    texts: list[str | float | None] = []
    at = 0
    for size in cast("list[int]", sizes.tolist()):
        if size < -1 or at + size > len(whole) or (size < 0 and not options):
            raise ValueError("the lengths of the texts do not fit")
        texts.append(absent if size < 0 else str(whole[at : at + size], "utf-8"))
        at += max(size, 0)
    if at != len(whole):
        raise ValueError("the lengths of the texts do not fit")
    dtype = np.dtypes.StringDType(coerce=coerce, **options)
    array: AnyArray = np.array(texts, dtype=dtype).reshape(lengths(shape))
    array.flags.writeable = False
    return array


_MISSING: Final = ("never", "none", "nan")


def _unfolded(array: AnyArray) -> tuple[list[int] | None, AnyArray]:
    """Return the axes from the outermost in memory to the innermost, and the array turned that way."""
    axes = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    turned = array.transpose(axes)
    if turned.flags.c_contiguous:
        return axes, turned
    if array.dtype.names is None:
        return None, np.ascontiguousarray(array)
    # what lies between the fields of a copy would be left over from other things
    whole: AnyArray = np.zeros(array.shape, array.dtype)
    whole[...] = array
    return None, whole


def _axes(order: object, dimensions: int) -> list[int]:
    axes = cast("list[object]", order)
    if type(order) is not list or sorted(cast("list[int]", axes)) != list(range(dimensions)):
        raise ValueError("the order of the axes makes no sense")
    if not all(type(axis) is int for axis in axes):
        raise TypeError("an axis is a number")
    return cast("list[int]", axes)


def _check_text(array: AnyArray) -> None:
    """Refuse code points that no text has: reading them would make strings that Python cannot handle."""
    kind = array.dtype
    if kind.names is not None:
        for name in kind.names:
            _check_text(array[name])
    elif kind.kind == "U" and array.size and kind.itemsize:
        codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype(f"{kind.byteorder}u4"))
        if codes.max() > _LARGEST_CODE_POINT:
            raise ValueError("not text")

"""Encodings of numpy's arrays, scalars and data types, by the names of their types.

An array is its data type, its shape and its bytes in C order, wherever and however they lie in memory.
Bytes, because an array can do what a number cannot: 1/0.0 and 1/-0.0 differ.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from cachewright.builtin.canonical_builtins import octets
from cachewright.builtin.canonical_format import Encoded, Parts, RefusedError, framed, kind_of, kind_tag, text
from cachewright.builtin.canonical_names import class_name, function_itself
from cachewright.builtin.canonical_numbers import cartesian, integer, real, wide_cartesian, wide_real
from cachewright.builtin.canonical_standard import DURATION, NAIVE, EncoderTable

_ARRAY = kind_tag("numpy array")
_MATRIX = kind_tag("numpy matrix")
_RECORDS = kind_tag("numpy records")
_MASKED = kind_tag("numpy masked array")
_MASK = kind_tag("numpy masked")
_DTYPE = kind_tag("numpy dtype")
_VOID = kind_tag("numpy void")
_MONTHS = kind_tag("numpy months")
_UNITLESS = kind_tag("numpy timedelta")
NAT: Final = kind_tag("not a time")
"""The missing time of numpy and pandas."""

ATTOSECONDS: Final[dict[str, int]] = {
    "W": 604_800 * 10**18, "D": 86_400 * 10**18, "h": 3_600 * 10**18, "m": 60 * 10**18, "s": 10**18,
    "ms": 10**15, "us": 10**12, "ns": 10**9, "ps": 10**6, "fs": 10**3, "as": 1,
}  # fmt: skip


def array(value: Any) -> Parts:
    """Return an array taken apart."""
    dtype = value.dtype
    if dtype.names is not None:  # field by field: the bytes between the fields are nobody's
        return Parts(_ARRAY, (dtype, value.shape, [_plain(value[name]) for name in dtype.names]))
    if dtype.hasobject or dtype.kind == "T":
        return Parts(_ARRAY, (dtype, value.shape, value.astype(object).reshape(-1).tolist()))
    flat = value if value.flags.c_contiguous else value.copy(order="C")
    content = flat.reshape(-1).view("u1") if flat.nbytes else b""
    return Parts(_ARRAY, (dtype, value.shape, Encoded(framed(b"#", memoryview(content)))))


def _plain(value: Any) -> Any:
    """Return an array without what its class adds."""
    return value.view(sys.modules["numpy"].ndarray)


def _matrix(value: Any) -> Parts:
    return Parts(_MATRIX, (_plain(value),))


def _records(value: Any) -> Parts:
    return Parts(_RECORDS, (_plain(value),))


def _masked(value: Any) -> Parts:
    """Hidden elements count: they can still be read."""
    mask = sys.modules["numpy"].ma.getmaskarray(value)
    return Parts(_MASKED, (_plain(value.data), mask, _plain(value.fill_value.reshape(()))))


def _mask(_: object) -> bytes:
    return _MASK


def _dtype(value: Any) -> Parts:
    if value.names is not None:
        fields = [(name, value.fields[name][0], *value.fields[name][1:]) for name in value.names]
        return Parts(_DTYPE, ("fields", value.itemsize, tuple(fields)))
    if value.subdtype is not None:
        return Parts(_DTYPE, ("block", *value.subdtype))
    if value.kind == "T":
        missing = getattr(value, "na_object", _dtype)  # any object that nobody else has
        return Parts(_DTYPE, ("text", () if missing is _dtype else (missing,), value.coerce))
    foreign = value.type.__module__ != "numpy"  # bfloat16, for one: by its text a void of two bytes
    return Parts(_DTYPE, (value.str, Encoded(class_name(value.type)) if foreign else None))


def _scalar(value: Any) -> bytes | Parts:
    kind = value.dtype.kind
    if kind in "biu":
        return integer(int(value))
    if kind == "f":
        return real(float(value)) if value.dtype.itemsize <= 8 else wide_real(value)
    if kind == "c":
        return cartesian(complex(value)) if value.dtype.itemsize <= 16 else wide_cartesian(value)
    if kind == "M":
        return _moment(value)
    if kind == "m":
        return _duration(value)
    numpy = sys.modules["numpy"]
    if type(value) in {numpy.void, numpy.record}:
        return Parts(_VOID, (numpy.asarray(value),))
    raise RefusedError(kind_of(value), "it is a scalar of an unknown kind")


def _moment(value: Any) -> Parts:
    numpy = sys.modules["numpy"]
    if numpy.isnat(value):
        return Parts(NAT, ())
    unit, count = numpy.datetime_data(value.dtype)
    if unit in "YM":
        days = value.astype("M8[D]")
        if days.astype(value.dtype) != value:
            raise RefusedError(kind_of(value), "its days cannot be counted in 64 bits")
        value, unit, count = days, "D", 1
    return ticks(NAIVE, int(value.astype("i8")) * count * ATTOSECONDS[unit])


def _duration(value: Any) -> Parts:
    numpy = sys.modules["numpy"]
    if numpy.isnat(value):
        return Parts(NAT, ())
    unit, count = numpy.datetime_data(value.dtype)
    number = int(value.astype("i8")) * count
    if unit == "generic":
        return Parts(_UNITLESS, (number,))
    if unit in "YM":
        return Parts(_MONTHS, (number * (12 if unit == "Y" else 1),))
    return ticks(DURATION, number * ATTOSECONDS[unit])


def ticks(tag: bytes, attoseconds: int) -> Parts:
    """Return a time taken apart as ``datetime`` counts it, and what is too fine for that."""
    microseconds, rest = divmod(attoseconds, 10**12)
    return Parts(tag, (microseconds, rest) if rest else (microseconds,))


ARRAYS: Final = EncoderTable(
    exact={
        "numpy.ndarray": array,
        "numpy.memmap": array,
        "numpy.matrix": _matrix,
        "numpy.matrixlib.defmatrix.matrix": _matrix,
        "numpy.recarray": _records,
        "numpy.rec.recarray": _records,
        "numpy.ma.MaskedArray": _masked,
        "numpy.ma.core.MaskedArray": _masked,
        "numpy.ma.core.MaskedConstant": _mask,
        "numpy.str_": lambda value: text(str.__str__(value)),
        "numpy.bytes_": lambda value: octets(bytes.__bytes__(value)),
        "numpy.ufunc": function_itself,
        "numpy._ArrayFunctionDispatcher": function_itself,
    },
    families={"numpy.generic": _scalar, "numpy.dtype": _dtype},
)

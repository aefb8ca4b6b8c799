"""Canonical encodings of arrays and frames: contents, types and labels, wherever they lie in memory.

Types are told by name, so that nothing is imported that the application has not imported.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from cachewright.builtin.canonical_encoding import blob, deeper, encode, integer, ratio, real, sequence, text

if TYPE_CHECKING:
    from cachewright.builtin.canonical_encoding import Encoder


def array_encoder(kind: type[Any]) -> Encoder | None:
    """Return the encoder for a type of numpy, pandas or polars, or ``None``."""
    for base in kind.__mro__:
        encoder = _BY_NAME.get(f"{base.__module__.partition('.')[0]}.{base.__qualname__}")
        if encoder is not None:
            return encoder
    return None


def _ndarray(value: Any, depth: int) -> bytes:
    # Subclasses, matrices for instance, mean something else by the same numbers.
    return (
        b"n"
        + text(type(value).__name__)
        + _dtype(value.dtype, depth)
        + _contents(value, deeper(value, depth))
    )


def _contents(value: Any, depth: int) -> bytes:
    shape = sequence(b"t", value.shape, depth)
    if value.dtype.names is not None:  # field by field: padding is not part of the value
        return shape + b"".join(_contents(value[name], depth) for name in value.dtype.names)
    if value.dtype.hasobject:
        return shape + sequence(b"l", value.ravel().tolist(), depth)
    if not value.flags.c_contiguous:
        value = value.copy(order="C")
    # A digest of its own for the buffer, so that it is not copied into the encoding.
    data = value.reshape(-1).view("u1") if value.size else b""
    return shape + blob(b"h", blake2b(data, digest_size=32).digest())


def _dtype(value: Any, depth: int) -> bytes:
    if value.names is None:
        return b"T" + text(value.str)
    fields = [(name, _dtype(value.fields[name][0], depth)) for name in value.names]
    return b"T" + sequence(b"l", fields, depth)


def _masked(value: Any, depth: int) -> bytes:
    inner = deeper(value, depth)
    # What lies under the mask is not part of the value: put the fill value there.
    return (
        b"K"
        + _dtype(value.dtype, depth)
        + _contents(value.filled(), inner)
        + encode(value.mask.tolist(), inner)
    )


def _scalar(value: Any, depth: int) -> bytes:
    kind = value.dtype.kind
    if kind in "Mm":
        return b"e" + text(value.dtype.str) + integer(int(value.astype("i8")))
    if kind == "V":
        return b"v" + _dtype(value.dtype, depth) + encode(value.item(), deeper(value, depth))
    plain = value.item()
    if type(plain) is not type(value):
        return encode(plain, depth)
    if plain != plain:  # noqa: PLR0124 - a NaN of a type wider than Python's
        return b"!"
    return ratio(*plain.as_integer_ratio()) if kind == "f" else b"c" + real(plain.real) + real(plain.imag)


def _series(value: Any, depth: int) -> bytes:
    depth = deeper(value, depth)
    head = b"g" + text(type(value).__name__) + encode(value.name, depth)
    return head + _column(value, depth) + _index(value.index, depth)


def _frame(value: Any, depth: int) -> bytes:
    depth = deeper(value, depth)
    columns = [_column(value.iloc[:, position], depth) for position in range(value.shape[1])]
    head = b"G" + text(type(value).__name__)
    return head + _index(value.columns, depth) + _index(value.index, depth) + sequence(b"l", columns, depth)


def _index(value: Any, depth: int) -> bytes:
    names = sequence(b"l", list(value.names), depth)
    if getattr(value, "levels", None) is not None:
        return b"X" + names + sequence(b"l", value.tolist(), depth)
    return b"X" + names + _column(value, depth)


def _column(value: Any, depth: int) -> bytes:
    """Encode the values of a pandas column or index, with their dtype."""
    dtype = value.dtype
    if hasattr(dtype, "categories"):
        codes = value.cat.codes if hasattr(value, "cat") else value.codes
        categories = value.cat.categories if hasattr(value, "cat") else value.categories
        codes = codes.to_numpy() if hasattr(codes, "to_numpy") else codes
        return b"Y" + encode(bool(dtype.ordered), depth) + _index(categories, depth) + _ndarray(codes, depth)
    if type(dtype).__module__.startswith("numpy") and not dtype.hasobject:
        return _ndarray(value.to_numpy(), depth)
    return b"W" + text(str(dtype)) + sequence(b"l", value.tolist(), depth)


def _polars_series(value: Any, depth: int) -> bytes:
    depth = deeper(value, depth)
    head = b"o" + text(value.name) + text(str(value.dtype))
    if value.dtype.is_numeric() and value.null_count() == 0 and not value.dtype.is_decimal():
        return head + _ndarray(value.to_numpy(), depth)
    return head + sequence(b"l", value.to_list(), depth)


def _polars_frame(value: Any, depth: int) -> bytes:
    inner = deeper(value, depth)
    columns = [_polars_series(column, inner) for column in value.get_columns()]
    return b"Q" + integer(value.height) + sequence(b"l", columns, inner)


_BY_NAME: dict[str, Encoder] = {
    "numpy.MaskedArray": _masked,
    "numpy.ndarray": _ndarray,
    "numpy.generic": _scalar,
    "numpy.dtype": _dtype,
    "pandas.Series": _series,
    "pandas.DataFrame": _frame,
    "pandas.Index": lambda value, depth: _index(value, deeper(value, depth)),
    "pandas.NAType": lambda value, depth: b"0",
    "pandas.NaTType": lambda value, depth: b"1",
    "polars.Series": _polars_series,
    "polars.DataFrame": _polars_frame,
}

"""A literal is a small plain value inside a description: a name, a label, what stands in ``attrs``."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np

from cachewright.errors import UnserializableError
from cachewright_arrow.kind import class_of, full_name

_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_SCALAR: Final = re.compile(r"[<|](?:b1|[iu][1248]|f[248])")
_DEPTH_LIMIT: Final = 50


def described_literal(value: object, depth: int = 0) -> Any:
    """Return a value as JSON has it; tuples, lists, dicts and bytes as lists that begin with their name.

    Raises:
        UnserializableError: it is of another type, or deeper than any name is.
    """
    kind = class_of(value)
    if kind in _PLAIN:
        return value
    items: Any = value
    if depth < _DEPTH_LIMIT:
        if kind is tuple or kind is list:
            return [kind.__name__, *[described_literal(item, depth + 1) for item in items]]
        if kind is dict:
            pairs = [part for pair in items.items() for part in pair]
            return ["dict", *[described_literal(part, depth + 1) for part in pairs]]
        if kind is bytes:
            return ["bytes", items.hex()]
        if isinstance(value, np.generic) and _SCALAR.fullmatch(items.dtype.str):
            return ["numpy", items.dtype.str, items.tobytes().hex()]
    raise UnserializableError(full_name(kind), "a name or attribute is no plain value")


def rebuilt_literal(description: Any) -> Any:
    """Return the value; any exception if it is not the description of one."""
    if type(description) in _PLAIN:
        return description
    kind, *rest = description
    if kind == "bytes":
        (digits,) = rest
        return bytes.fromhex(digits)
    if kind == "numpy":
        dtype, digits = rest
        if not _SCALAR.fullmatch(dtype):
            raise ValueError("not the description of a scalar")
        return np.frombuffer(bytes.fromhex(digits), dtype)[0]
    items = [rebuilt_literal(item) for item in rest]
    if kind == "dict":
        return dict(zip(items[::2], items[1::2], strict=True))
    return {"tuple": tuple[Any, ...], "list": list[Any]}[kind](items)

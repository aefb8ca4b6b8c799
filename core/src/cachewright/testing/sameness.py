"""Two values are the same if type and content agree all the way down; stricter than being equal."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any, cast


def same(one: object, other: object) -> bool:
    """Tell whether two values have the same types and contents, at every depth.

    True is not 1, -0.0 is not 0.0, NaN is NaN, a tuple is no list, and dicts agree in their order too.
    Whether two places share one object (aliasing) is not compared; cycles are followed once.
    """
    try:
        return _same(one, other, set())
    except RecursionError:
        return _same_chain(one, other)


def _same_chain(one: Any, other: Any) -> bool:
    """Compare lists of one list each, nested too deep to be compared by recursion."""
    while _is_list(one) and _is_list(other) and len(one) == len(other) == 1:
        one, other = one[0], other[0]
    return _is_list(one) and _is_list(other) and not one and not other


def _is_list(value: object) -> bool:
    return type(value) is list


def _same(one: Any, other: Any, under_way: set[tuple[int, int]]) -> bool:
    if type(one) is not type(other):
        return False
    pair = (id(one), id(other))
    if one is other or pair in under_way:
        return True
    under_way.add(pair)
    try:
        return _same_kind(one, other, under_way)
    finally:
        # an identity may be given to another object once these are gone
        under_way.discard(pair)


def _same_kind(one: Any, other: Any, under_way: set[tuple[int, int]]) -> bool:  # noqa: PLR0911 - one per kind
    """Compare two values of one type."""
    if isinstance(one, (float, complex, Decimal)):
        return _same_number(one, other)
    if issubclass(type(one), Mapping):
        return _same_mapping(one, other, under_way) and _same_state(one, other, under_way)
    if isinstance(one, (set, frozenset)):
        return _same_set(cast("set[Any]", one), other, under_way)
    if isinstance(one, (list, tuple, deque)):
        return _same_sequence(one, other, under_way) and _same_state(one, other, under_way)
    if isinstance(one, BaseException):
        return _same(one.args, other.args, under_way) and _same_state(one, other, under_way)
    if hasattr(one, "dtype") and hasattr(one, "tobytes"):
        return _same_array(one, other, under_way)
    return _same_object(one, other, under_way)


def _same_number(one: Any, other: Any) -> bool:
    if isinstance(one, complex):
        return _same_number(one.real, other.real) and _same_number(one.imag, other.imag)
    if one != one:  # noqa: PLR0124 - NaN
        return bool(other != other)  # noqa: PLR0124 - NaN
    if isinstance(one, Decimal):
        return bool(one.as_tuple() == other.as_tuple())
    return bool(one == other) and math.copysign(1, one) == math.copysign(1, other)


def _same_mapping(one: Mapping[Any, Any], other: Mapping[Any, Any], under_way: set[tuple[int, int]]) -> bool:
    if getattr(one, "default_factory", None) is not getattr(other, "default_factory", None):
        return False
    return len(one) == len(other) and all(
        _same(key, other_key, under_way) and _same(value, other_value, under_way)
        for (key, value), (other_key, other_value) in zip(one.items(), other.items(), strict=True)
    )


def _same_set(one: Any, other: Any, under_way: set[tuple[int, int]]) -> bool:
    left = list(other)
    for element in one:
        match = next((n for n, candidate in enumerate(left) if _same(element, candidate, under_way)), None)
        if match is None:
            return False
        del left[match]
    return not left


def _same_sequence(one: Any, other: Any, under_way: set[tuple[int, int]]) -> bool:
    return (
        len(one) == len(other)
        and getattr(one, "maxlen", None) == getattr(other, "maxlen", None)
        and all(_same(left, right, under_way) for left, right in zip(one, other, strict=True))
    )


def _same_array(one: Any, other: Any, under_way: set[tuple[int, int]]) -> bool:
    if one.dtype != other.dtype or getattr(one, "shape", ()) != getattr(other, "shape", ()):
        return False
    for part in ("mask", "fill_value"):
        if hasattr(one, part) and not _same(getattr(one, part), getattr(other, part), under_way):
            return False
    if one.dtype.hasobject:
        return _same(one.tolist(), other.tolist(), under_way)
    return bool(one.tobytes() == other.tobytes())


def _same_object(one: Any, other: Any, under_way: set[tuple[int, int]]) -> bool:
    equals = getattr(one, "equals", None)
    if callable(equals) and hasattr(one, "columns" if hasattr(one, "columns") else "name"):
        return bool(equals(other)) and _same_labels(one, other, under_way)
    if is_dataclass(one) and not isinstance(one, type):
        return all(_same(getattr(one, f.name), getattr(other, f.name), under_way) for f in fields(one))
    if isinstance(one, (datetime, time)) and (one.fold, one.tzinfo) != (other.fold, other.tzinfo):
        return False
    try:
        equal = bool(one == other)
    except Exception:  # noqa: BLE001 - foreign comparison, which may raise anything
        equal = False
    if isinstance(one, (str, bytes, int)):
        return equal and _same_state(one, other, under_way)
    return equal or (not _compares(one) and _same_recipe(one, other, under_way))


def _same_recipe(one: Any, other: Any, under_way: set[tuple[int, int]]) -> bool:
    """Compare by how pickling would rebuild them, for objects that do not compare themselves."""
    try:
        recipes = one.__reduce_ex__(4), other.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - foreign code, which may raise anything
        return False
    return _same(*recipes, under_way)


def _compares(value: object) -> bool:
    """Tell whether the class of a value says itself what is equal."""
    return any("__eq__" in vars(kind) for kind in type(value).__mro__ if kind is not object)


def _same_labels(one: Any, other: Any, under_way: set[tuple[int, int]]) -> bool:
    for part in ("name", "attrs"):
        if hasattr(one, part) and not _same(getattr(one, part), getattr(other, part), under_way):
            return False
    for axis in ("index", "columns"):
        left, right = getattr(one, axis, None), getattr(other, axis, None)
        if hasattr(left, "names") and not (
            type(left) is type(right)
            and _same(list(cast("Any", left).names), list(cast("Any", right).names), under_way)
        ):
            return False
    return True


def _same_state(one: Any, other: Any, under_way: set[tuple[int, int]]) -> bool:
    """Compare the attributes that instances of a subclass may have besides their contents."""
    state, other_state = getattr(one, "__dict__", {}), getattr(other, "__dict__", {})
    return _same_mapping(state, other_state, under_way)

"""Encodings of enumerations and dataclasses, which are values of a class by its name."""

from __future__ import annotations

import enum
import sys
from types import FunctionType
from typing import Any

from cachewright.builtin.canonical_builtins import Encoder
from cachewright.builtin.canonical_format import Parts, kind_of, text
from cachewright.builtin.canonical_names import class_name


def enum_encoder(kind: type[enum.Enum]) -> Encoder | None:
    """Return the encoder of an enum, or ``None`` for one whose members equal their values (``IntEnum``)."""
    if kind.__eq__ is not object.__eq__ and not _is_generated(kind):
        return None
    if issubclass(kind, enum.Flag):
        return lambda value: Parts(b"E" + class_name(kind_of(value)), (value._value_,))
    return lambda value: Parts(b"E" + class_name(kind_of(value)), (value._name_,))


def record_encoder(kind: type, base: type) -> Encoder | None:
    """Return the encoder of a dataclass by the fields it compares.

    Args:
        kind: the class of the values.
        base: itself or a base; only the nearest one that defines equality counts.

    Returns:
        ``None`` if ``base`` is no dataclass, or its ``__eq__`` is not the generated one.
    """
    if kind.__eq__ is not base.__dict__.get("__eq__") or not _is_generated(base):
        return None
    names = _compared(base)
    heads = [text(name) for name in names]

    def encoder(value: Any) -> Parts:
        fields = [getattr(value, name) for name in names]
        return Parts(b"@" + class_name(kind_of(value)) + b"".join((text(str(len(heads))), *heads)), fields)

    return encoder


def _compared(kind: type) -> list[str]:
    from dataclasses import fields  # noqa: PLC0415 - 10 ms that only users of dataclasses pay, and have paid

    return [field.name for field in fields(kind) if field.compare]


def _is_generated(kind: type) -> bool:
    """Whether ``__eq__`` of a dataclass is what the decorator makes: the same code as for a model of it."""
    owner = next(base for base in kind.__mro__ if "__eq__" in base.__dict__)
    own = owner.__dict__["__eq__"]
    if "__dataclass_params__" not in owner.__dict__ or "dataclasses" not in sys.modules:
        return False
    from dataclasses import make_dataclass  # noqa: PLC0415 - as above

    model = make_dataclass("Model", _compared(owner)).__dict__["__eq__"]
    return isinstance(own, FunctionType) and _traits(own) == _traits(model)


def _traits(function: FunctionType) -> tuple[Any, ...]:
    code = function.__code__
    return code.co_code, code.co_names, code.co_consts, code.co_varnames, function.__closure__

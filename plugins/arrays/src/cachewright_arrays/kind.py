"""The class of a value, for tables by class and for messages."""

from __future__ import annotations

from typing import Any


def class_of(value: object) -> Any:
    """Return the class of a value."""
    return type(value)


def full_name(cls: Any) -> str:
    """Return the name of a class with that of its module."""
    return f"{cls.__module__}.{cls.__qualname__}"

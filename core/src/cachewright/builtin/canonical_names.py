"""The name of a class or function stands for it only if whoever imports the name finds the same object."""

from __future__ import annotations

import sys
from typing import Any, Final

from cachewright.builtin.canonical_format import RefusedError, kind_of, kind_tag, text

_HEAP_TYPE: Final = 1 << 9
"""Flag of classes made at run time; the others are part of an interpreter or an extension module."""

_MOVED: Final = {"pathlib._local": "pathlib"}
"""Modules of the standard library that have another name in some versions of Python."""

_IMPORTABLE: Final = kind_tag("importable")


def class_name(kind: type) -> bytes:
    """Return the encoded name of a class.

    Raises:
        RefusedError: another class can have that name: it is local, was replaced, or cannot be found.
    """
    if kind.__flags__ & _HEAP_TYPE and not _is_found(kind, kind.__module__, kind.__qualname__):
        raise RefusedError(kind, f"the class {kind.__qualname__} cannot be imported by its name")
    return declared_name(kind)


def declared_name(kind: type) -> bytes:
    """Return the encoded name of a class that somebody vouches for, whether it can be imported or not.

    Raises:
        RefusedError: it is local to a function, which makes another class of that name in every call.
    """
    if "<locals>" in kind.__qualname__:
        raise RefusedError(kind, f"others can have the name of the local class {kind.__qualname__}")
    return text(_MOVED.get(kind.__module__, kind.__module__)) + text(kind.__qualname__)


def class_itself(value: type) -> bytes:
    """Return the encoding of a class that is an argument."""
    return _IMPORTABLE + class_name(value)


def function_itself(value: Any) -> bytes:
    """Return the encoding of a function that is an argument, by where it can be imported from.

    Raises:
        RefusedError: it is a lambda, a local function or a bound method, or the name leads elsewhere.
    """
    kind = kind_of(value)
    owner = getattr(value, "__objclass__", value)  # str.lower knows no module, but its class does
    module = getattr(owner, "__module__", None) or kind.__module__
    qualname = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(qualname, str) or not isinstance(module, str) or not _is_found(value, module, qualname):
        raise RefusedError(kind, f"{qualname or 'it'} cannot be imported by its name")
    return _IMPORTABLE + text(_MOVED.get(module, module)) + text(qualname)


def _is_found(wanted: object, module: object, qualname: str) -> bool:
    found: object = sys.modules.get(module) if isinstance(module, str) else None
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found is wanted

"""A hasher is joblib's, without the cases in which joblib gives two different values one hash.

joblib.hash pickles a value into a hash function: types matter, arrays count by their memory, strings by their
text, dicts and sets whatever their order. Where joblib loses something, or is not stable, this one differs:

- The order of an OrderedDict counts, as it does for ``==``.
- What a subclass of ndarray adds, such as a mask or a unit, counts. Gaps between elements do not.
- Digests of arrays and dtypes are part of the pickle, at their place, instead of going ahead of it.
- A frozenset is a set. Keys and members of mixed types, or of types that are ordered only in part, are put in
  order by their own digests.
- ``object()`` and iterators are refused: the first equals only itself, the others would be consumed.
"""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from hashlib import sha256
from operator import itemgetter
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import TYPE_CHECKING, Any, Final, TypeVar

import joblib.hashing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_library: Any = joblib.hashing  # joblib has no types
_T = TypeVar("_T")

DIGITS: Final = 40
"""Hexadecimal digits of a digest: 160 bits of a SHA-256."""

_BYTES: Final = DIGITS // 2
_PATHS: Final = frozenset({PosixPath, PurePosixPath, PureWindowsPath, WindowsPath})

_PROTOCOL: Final = 3
"""joblib's: it has not changed between versions of Python."""


class RefusedError(Exception):
    """A value has no hash; its message says why."""


class _Canon:
    """Stands in the pickle for a value that does not pickle the same way every time."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts


class Hasher(_library.Hasher):  # type: ignore[misc]  # as above
    """Hashes one value; not used again."""

    dispatch: Any = _library.Hasher.dispatch.copy()

    def __init__(self) -> None:
        _library.Hasher.__init__(self, "sha1")
        self._hash = sha256(usedforsecurity=False)  # what joblib's method feeds

    def digest(self, value: object) -> bytes:
        """Return the digest of ``value``; anything that its pickling raises passes through."""
        self.hash(value, return_digest=False)
        return self._hash.digest()[:_BYTES]

    def save(self, obj: Any) -> None:
        kind = _type_of(obj)
        if kind is object:
            raise RefusedError("it equals only itself")
        if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
            raise RefusedError("it would be consumed")
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            if isinstance(obj, numpy.ndarray):
                obj = self._array(numpy, obj)
            elif isinstance(obj, numpy.dtype):
                # Equal dtypes are not always one object, and in one pickle the second would be a reference.
                obj = _Canon("dtype", pickle.dumps(obj, _PROTOCOL))
        if kind in _PATHS:
            # Versions of Python pickle them differently, and some as they were spelt.
            obj = _Canon("path", kind.__qualname__, str(obj))
        if isinstance(obj, OrderedDict):
            obj = _ordered(kind, obj)
        _library.Hasher.save(self, obj)

    def save_set(self, obj: Any) -> None:
        """Save the members in an order that only their contents decide."""
        kind = _type_of(obj)
        self.save(_Canon("set", kind, _sorted(obj, key=lambda member: member)))

    dispatch[set] = save_set
    dispatch[frozenset] = save_set

    def _batch_setitems(self, items: Iterable[tuple[Any, Any]], *rest: object) -> None:
        pairs = _sorted(items, key=itemgetter(0))
        _library.Pickler._batch_setitems(self, iter(pairs), *rest)  # noqa: SLF001 - joblib's own would sort them again

    def _array(self, numpy: Any, array: Any) -> object:
        kind = _type_of(array)
        plain = kind is numpy.ndarray or kind is numpy.memmap
        if array.dtype.hasobject or array.dtype.kind not in "biufcmMSUV":
            if plain:
                return _Canon("objects", array.dtype, array.shape, array.ravel().tolist())
            return _Canon("objects", kind, array.__reduce_ex__(_PROTOCOL))
        base = array.view(numpy.ndarray)
        described = _Canon("array", base.dtype, base.shape, *_memory_digest(base))
        if plain:
            return described
        if kind is numpy.ma.MaskedArray:
            # its __dict__ has what it computes when it is needed; a view, for asking does that
            fill_value = array.view().fill_value
            return _Canon("masked", described, numpy.ma.getmaskarray(array), fill_value)
        return _Canon(
            "subclass", kind, described, array.__reduce_ex__(_PROTOCOL), getattr(array, "__dict__", None)
        )


def _type_of(value: object) -> Any:
    return type(value)


def _ordered(kind: Any, pairs: Any) -> _Canon:
    return _Canon("ordered", kind, list(pairs.items()), getattr(pairs, "__dict__", None))


def _memory_digest(array: Any) -> tuple[str, bytes]:
    """Return in which order the digest has the elements, and the digest."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        order, flat = "F", array.T.reshape(-1)
    else:
        order, flat = "C", array.ravel()  # a copy, where the memory has gaps
    memory = memoryview(flat.view("u1")) if array.nbytes else b""
    return order, sha256(memory, usedforsecurity=False).digest()


def _sorted(items: Iterable[_T], *, key: Callable[[_T], Any]) -> list[_T]:
    """Return items in an order that depends neither on the process nor on when each was added."""
    listed = list(items)
    kinds: set[type] = {type(key(item)) for item in listed}
    if len(kinds) <= 1 and kinds <= {str, int, bytes}:
        return sorted(listed, key=key)
    return sorted(listed, key=lambda item: Hasher().digest(key(item)))

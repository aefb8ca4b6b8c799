"""The canonical key maker: equal arguments have equal keys, in every process, for ever.

Hashable values follow Python's own equality, as functools does: 1, 1.0, ``True`` and ``Decimal(1)`` are one
argument, a namedtuple is a tuple, an ``IntEnum`` an int. Beyond that: all NaN are one; a list and a tuple,
a set and a frozenset, a bytearray and bytes are different; arrays and frames are equal if their types,
labels, shapes and bytes are, wherever those lie in memory. Numpy's datetimes count as ``datetime``, never
as ``date``. Values that are equal only to themselves, and functions and classes that cannot be imported by
their name, have no key; neither has a value that contains itself or is nested deeper than 10,000 levels.

Arguments must not change while their key is made. Golden keys in the tests pin the format.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, cast

from cachewright.builtin.canonical_builtins import LEAVES
from cachewright.builtin.canonical_format import RefusedError, composed, text
from cachewright.builtin.canonical_names import declared_name
from cachewright.builtin.canonical_registry import register_encoder
from cachewright.builtin.canonical_walk import encode
from cachewright.errors import UnkeyableArgumentError
from cachewright.keymaker import KeyMaker

if TYPE_CHECKING:
    from cachewright.keymaker import Call

__all__ = ["CanonicalKeyMaker", "register_encoder"]

FORMAT: Final = b"\x01"
"""Version of the encoding: the first byte of whatever is hashed."""

_MOST_HEADS = 4096
"""Signatures whose heads are kept; only programs that make functions at run time have more."""


class CanonicalKeyMaker(KeyMaker):
    """Makes keys of 40 hexadecimal digits: BLAKE2b over the names and encodings of the arguments.

    Safe to use from any number of threads; keeps nothing that a key depends on.
    """

    def __init__(self) -> None:
        self._heads: dict[tuple[str, ...], bytes] = {}

    def call_key(self, call: Call, /) -> str:
        """Return the key of a call.

        With ``call.typed`` the types of its arguments are part of it, also those of the items of a ``*args``
        or ``**kwargs``, whose names come with their stars; as in functools, types further down are not.

        Raises:
            UnkeyableArgumentError: an argument has no encoding; names the parameter. What an argument's
                own code raises, such as a property of a dataclass, passes through untouched.
        """
        head = self._heads.get(call.names) or self._head(call.names)
        leaves, parts = LEAVES, [head]
        try:
            for value in call.values:
                leaf = leaves.get(type(value))
                parts.append(leaf(value) if leaf is not None else encode(value))
            if call.typed:
                parts.append(_types(call))
        except RefusedError as refusal:
            raise _unkeyable(call, len(parts) - 1, refusal) from None
        return blake2b(b"".join(parts), digest_size=20).hexdigest()

    def value_key(self, value: object, /) -> str:
        """Return the key of one value; no call has it.

        Raises:
            UnkeyableArgumentError: the value has no encoding.
        """
        try:
            data = encode(value)
        except RefusedError as refusal:
            raise _refused("the cache", "key", value, refusal) from None
        return blake2b(FORMAT + b"V" + data, digest_size=20).hexdigest()

    def _head(self, names: tuple[str, ...]) -> bytes:
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        head = self._heads[names] = FORMAT + b"C" + composed(b"t", [text(name) for name in names])
        return head


def _types(call: Call) -> bytes:
    """Return the encoded types that functools would put into the key."""
    kinds: list[bytes] = []
    for name, value in zip(call.names, call.values, strict=True):
        try:
            items = _items(name, value)
            kinds.append(composed(b"T", [declared_name(type(item)) for item in items]))
        except RefusedError as refusal:
            raise _refused(call.function, name.lstrip("*"), value, refusal) from None
    return composed(b"T", kinds)


def _items(name: str, value: object) -> tuple[object, ...]:
    if name.startswith("**"):
        return tuple(item for _, item in cast("tuple[tuple[str, object], ...]", value))
    return cast("tuple[object, ...]", value) if name.startswith("*") else (value,)


def _unkeyable(call: Call, position: int, refusal: RefusedError) -> UnkeyableArgumentError:
    parameter = call.names[position] if position < len(call.names) else f"argument {position + 1}"
    return _refused(call.function, parameter.lstrip("*"), call.values[position], refusal)


def _refused(function: str, parameter: str, value: object, refusal: RefusedError) -> UnkeyableArgumentError:
    """Return the error for the argument as a whole, saying what in it was refused."""
    kind = type(value)
    reason = refusal.reason
    if refusal.kind is not kind:
        reason = f"it holds a {refusal.kind.__qualname__}" + (f": {reason}" if reason else "")
    return UnkeyableArgumentError(function, parameter, kind.__qualname__, reason=reason)

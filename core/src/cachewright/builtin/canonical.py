"""The canonical key maker: equal arguments have equal keys, in every process, for ever.

A key is the BLAKE2b digest (160 bits) of the canonical encoding of a call or value; see
:mod:`cachewright.builtin.canonical_encoding`. Golden keys in the tests pin the format.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, cast

from cachewright.builtin.canonical_encoding import (
    NoEncodingError,
    deeper,
    encode,
    finders,
    forget_found,
    size,
    text,
)
from cachewright.errors import UnkeyableArgumentError
from cachewright.keymaker import KeyMaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachewright.builtin.canonical_encoding import Encoder
    from cachewright.keymaker import Call

FORMAT: Final = b"\x01"
"""Version of the encoding; part of every key."""


class CanonicalKeyMaker(KeyMaker):
    """Makes keys of 40 hexadecimal digits."""

    def call_key(self, call: Call, /) -> str:
        """Return the key of a call; with ``call.typed`` the types of its arguments are part of it."""
        parts = [FORMAT, b"T" if call.typed else b"C", size(len(call.values))]
        for position, value in enumerate(call.values):
            try:
                parts.append(encode(value, 0))
                if call.typed:
                    parts.append(_types(call.names[position], value))
            except NoEncodingError as refusal:
                raise UnkeyableArgumentError(
                    call.function, call.names[position], refusal.type_name, reason=refusal.reason
                ) from None
        return blake2b(b"".join(parts), digest_size=20).hexdigest()

    def value_key(self, value: object, /) -> str:
        """Return the key of one value, in a domain apart from that of calls."""
        try:
            data = encode(value, 0)
        except NoEncodingError as refusal:
            raise UnkeyableArgumentError(
                "the cache", "key", refusal.type_name, reason=refusal.reason
            ) from None
        return blake2b(FORMAT + b"V" + data, digest_size=20).hexdigest()


def register_encoder(kind: type[Any] | str, function: Callable[[Any], object]) -> None:
    """Make values of a type usable as keys, for the whole process.

    Args:
        kind: the type, or its name ``"module.qualname"`` where importing it would be too much. Subclasses
            are covered.
        function: returns an encodable value that stands for the given one: equal for equal values,
            different for different ones, and the same in every process.
    """
    if not isinstance(kind, type) and not (isinstance(cast("object", kind), str) and "." in kind):
        message = f"an encoder is for a type or its name 'module.qualname', not for {kind!r}"
        raise TypeError(message)
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"

    def registered(value: Any, depth: int) -> bytes:
        return b"R" + text(name) + encode(function(value), deeper(value, depth))

    _registered[kind] = registered
    forget_found()


_registered: dict[type[Any] | str, Encoder] = {}
"""Encoders of applications and plugins: the one process-wide registry, filled by :func:`register_encoder`."""


def _types(name: str, value: Any) -> bytes:
    """Return the types that count with ``typed=True``: of the argument or, for ``*args``, of each."""
    kinds: list[type[Any]]
    if name.startswith("**"):
        kinds = [type(item) for _, item in value]
    elif name.startswith("*"):
        kinds = [type(item) for item in value]
    else:
        kinds = [type(value)]
    return b"".join(text(f"{kind.__module__}.{kind.__qualname__}") for kind in kinds)


def _registered_for(kind: type[Any]) -> Encoder | None:
    for base in kind.__mro__:
        found = _registered.get(base) or _registered.get(f"{base.__module__}.{base.__qualname__}")
        if found is not None:
            return found
    return None


def _known(kind: type[Any]) -> Encoder | None:
    from cachewright.builtin.canonical_types import encoder_for  # noqa: PLC0415 - for what is no builtin

    return encoder_for(kind)


finders += [_registered_for, _known]

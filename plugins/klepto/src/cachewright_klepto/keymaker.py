"""The klepto key maker: canonical keys of arguments whose floats were rounded as klepto rounds them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, cast

from cachewright.errors import ConfigurationError, UnkeyableArgumentError
from cachewright.keymaker import Call, KeyMaker, canonical
from cachewright_klepto.rounding import Rounding


class KleptoKeyMaker(KeyMaker):
    """Makes the canonical keys of rounded arguments: calls that differ by less share an entry.

    Without ``tol`` nothing is rounded and the keys are the canonical ones. Keys of different settings
    never meet, so that an entry computed for a near-by argument is not taken for an exact one later.

    Args:
        tol: digits after the point to which floats are rounded, as by ``round``; may be negative.
        deep: also round floats in lists, tuples, sets, dicts (their values) and arrays, at any depth;
            otherwise only arguments that are floats themselves.

    Raises:
        ConfigurationError: ``tol`` is no ``int``, or ``deep`` no ``bool``.
    """

    def __init__(self, tol: int | None = None, deep: bool = False) -> None:  # noqa: FBT001, FBT002 - klepto's signature
        if tol is not None and (not isinstance(cast("object", tol), int) or isinstance(tol, bool)):
            raise ConfigurationError("tol", tol, "a number of digits, or None to round nothing")
        if not isinstance(cast("object", deep), bool):
            raise ConfigurationError("deep", deep, "True or False")
        self.tol = tol
        self.deep = deep
        self._canonical = canonical()
        self._rounding = None if tol is None else Rounding(tol, deep=deep)
        self._settings = f"\0klepto-1 tol={tol} deep={deep:d}".encode()

    def __repr__(self) -> str:
        return f"KleptoKeyMaker(tol={self.tol}, deep={self.deep})"

    def call_key(self, call: Call, /) -> str:
        """Return the key of a call; see :meth:`KeyMaker.call_key`.

        Raises:
            UnkeyableArgumentError: an argument has no canonical encoding, or cannot be rounded.
        """
        rounding = self._rounding
        if rounding is None:
            return self._canonical.call_key(call)
        values = tuple(
            self._rounded(rounding, call.function, name, value)
            for name, value in zip(call.names, call.values, strict=True)
        )
        return self._own(self._canonical.call_key(Call(call.function, call.names, values, typed=call.typed)))

    def value_key(self, value: object, /) -> str:
        """Return the key of one value, rounded like an argument.

        Raises:
            UnkeyableArgumentError: the value has no canonical encoding, or cannot be rounded.
        """
        rounding = self._rounding
        if rounding is None:
            return self._canonical.value_key(value)
        return self._own(self._canonical.value_key(self._rounded(rounding, "the cache", "key", value)))

    def _rounded(self, rounding: Rounding, function: str, name: str, value: Any) -> Any:
        """Return one argument rounded; those that the stars collect count as arguments of their own."""
        try:
            if name.startswith("**"):
                names, items = tuple(name for name, _ in value), tuple(item for _, item in value)
                return tuple(zip(names, rounding.items(items), strict=True))
            if name.startswith("*"):
                return rounding.items(value)
            return rounding.items((value,))[0]
        except OverflowError as error:
            raise UnkeyableArgumentError(
                function, name.lstrip("*"), type(value).__qualname__, reason=f"it cannot be rounded: {error}"
            ) from error

    def _own(self, key: str) -> str:
        return blake2b(key.encode() + self._settings, digest_size=20).hexdigest()

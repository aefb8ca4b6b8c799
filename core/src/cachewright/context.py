"""A load context lets a function decide, while it computes a result, how that is to be stored."""

from __future__ import annotations

from typing import Any, Final

from cachewright.entry import MISSING


class LoadContext:
    """Passed to a function that declares a parameter with the default :data:`INJECTED`.

    ::

        @cached(ttl="10m")
        def price(symbol: str, *, ctx: LoadContext = INJECTED) -> float:
            quote = fetch(symbol)
            ctx.ttl = quote.valid_for
            ctx.tags.append(f"market:{quote.market}")
            return quote.price

    The parameter is no part of the key, and callers leave it out.

    Attributes:
        ttl: how long this result lives, in any of the forms of ``ttl=``; ``MISSING`` leaves it as it is.
        tags: tags to add to those of the decorator.
        stale_value: the value that is being replaced, ``MISSING`` if there is none.
    """

    __slots__ = ("renewed", "stale_value", "stored", "tags", "ttl")

    def __init__(self, stale_value: Any = MISSING) -> None:
        self.ttl: Any = MISSING
        self.tags: list[str] = []
        self.stale_value = stale_value
        self.stored = True
        self.renewed = False

    def no_store(self) -> None:
        """Return the result to those who wait for it, and do not store it."""
        self.stored = False

    def not_modified(self) -> Any:
        """Return the value that is being replaced; returned by the function, it is fresh again.

        Raises:
            LookupError: there is none.
        """
        if self.stale_value is MISSING:
            message = "there is no stale_value that could be unmodified"
            raise LookupError(message)
        self.renewed = True
        return self.stale_value


class _Detached(LoadContext):
    """What a function sees that is called without its cache: a context that leads nowhere."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        # a fresh list each time: what one call appends is not seen by another
        return [] if name == "tags" else super().__getattribute__(name)

    def __setattr__(self, name: str, value: object) -> None:
        """Forget it."""

    def __repr__(self) -> str:
        return "INJECTED"

    def __reduce__(self) -> str:
        return "INJECTED"


INJECTED: Final[LoadContext] = object.__new__(_Detached)
"""Default of the parameter that is to be given the :class:`LoadContext` of the call."""

for _name, _value in (("ttl", MISSING), ("stale_value", MISSING), ("stored", True), ("renewed", False)):
    object.__setattr__(INJECTED, _name, _value)

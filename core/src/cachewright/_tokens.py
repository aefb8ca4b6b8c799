"""A token stands for an instance in the keys of its methods, without keeping the instance alive."""

from __future__ import annotations

from collections import deque
from typing import Any
from weakref import ref

from cachewright.errors import ConfigurationError


class Token:
    """Stands for an instance in the keys of its methods, without keeping it alive."""

    __slots__ = ("__weakref__",)


class Tokens(dict[int, Token]):
    """The token of every living instance that a cached method was called on, by ``id``.

    An entry goes with its instance, before the ``id`` can be given to another one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._refs: dict[int, ref[Any]] = {}
        self.dead: deque[Token] = deque()

    def of(self, instance: Any, function: str) -> Token:
        """Return the token of ``instance``, a new one if there is none."""
        number = id(instance)
        token = self.get(number)
        if token is None:
            try:
                self._refs[number] = ref(instance, lambda _: self._forget(number))
            except TypeError:
                raise ConfigurationError(
                    "key",
                    None,
                    f"a function that identifies the instance: {type(instance).__qualname__} objects cannot"
                    f" be referenced weakly, as {function} needs (or add '__weakref__' to __slots__)",
                ) from None
            token = self.setdefault(number, Token())
        return token

    def _forget(self, number: int) -> None:
        # Runs wherever the last reference goes, perhaps inside the engine: only notes what to do.
        self._refs.pop(number, None)
        token = self.pop(number, None)
        if token is not None:
            self.dead.append(token)

"""The encoders of all types: those of the application, and ours, which are found by a type's name.

By name, because a type need not be imported to be known: whoever passes a value has imported its type.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from threading import RLock
from typing import Final
from weakref import WeakKeyDictionary

from cachewright.builtin.canonical_arrays import ARRAYS
from cachewright.builtin.canonical_builtins import CONTAINERS, INHERITED, LEAVES, Encoder
from cachewright.builtin.canonical_format import Parts, RefusedError, kind_of
from cachewright.builtin.canonical_frames import FRAMES
from cachewright.builtin.canonical_names import declared_name
from cachewright.builtin.canonical_records import enum_encoder, record_encoder
from cachewright.builtin.canonical_standard import STANDARD
from cachewright.errors import ConfigurationError

_FAMILIES: Final[dict[str, Encoder]] = {**STANDARD.families, **ARRAYS.families}
_EXACT: Final[dict[str, Encoder]] = {**STANDARD.exact, **ARRAYS.exact, **FRAMES.exact}
_INHERITED: Final[dict[str, Encoder]] = {
    **{_base.__module__ + "." + _base.__qualname__: _made for _base, _made in INHERITED.items()},
    **STANDARD.inherited,
}


class EncoderRegistry:
    """Finds the encoder of a type, and keeps what was found for as long as the type lives.

    Safe to use from any number of threads.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._registered: dict[type | str, Callable[[object], object]] = {}
        self._found: WeakKeyDictionary[type, Encoder] = WeakKeyDictionary()

    def register(self, kind: type | str, function: Callable[..., object]) -> None:
        """Make values of a type usable as keys; see :func:`register_encoder`."""
        given: object = kind  # the annotation does not hold for callers without a type checker
        named = isinstance(given, str) and "." in given.strip(".")
        if not (named or isinstance(given, type)):
            raise ConfigurationError("kind", kind, 'a class, or its name as "module.qualname"')
        if kind in LEAVES or kind in CONTAINERS or kind is object:
            raise ConfigurationError("kind", kind, "a class whose equality is not fixed by Python itself")
        if not callable(function):
            raise ConfigurationError("function", function, "a function of one value")
        with self._lock:
            self._registered[kind] = function
            self._found.clear()

    def encoder_of(self, kind: type) -> Encoder:
        """Return the encoder of a type that is no builtin.

        Raises:
            RefusedError: it has none.
        """
        encoder = self._found.get(kind)
        if encoder is None:
            with self._lock:  # held while looking, so that nothing found before a registration survives it
                encoder = self._found[kind] = self._find(kind)
        return encoder

    def _find(self, kind: type) -> Encoder:
        """Walk up the bases: the nearest one with an encoder decides."""
        for base in kind.__mro__:
            name = f"{base.__module__}.{base.__qualname__}"
            function = self._registered.get(base) or self._registered.get(name)
            if function is not None:
                _check_equality(kind, base)
                return _registered_encoder(function)
            encoder = _own_encoder(kind, base, name)
            if encoder is not None:
                return encoder
        alone = not any("__eq__" in base.__dict__ for base in kind.__mro__[:-1])
        raise RefusedError(kind, "it is equal to nothing but itself" if alone else "its equality is its own")


def _own_encoder(kind: type, base: type, name: str) -> Encoder | None:
    if name in _FAMILIES:
        return _FAMILIES[name]
    if name in _EXACT:
        if kind is not base:
            raise RefusedError(kind, f"what a subclass adds to {name} is not known")
        return _EXACT[name]
    if name in _INHERITED:
        _check_equality(kind, base)
        return _INHERITED[name]
    if base is kind and issubclass(kind, enum.Enum):
        encoder = enum_encoder(kind)
        if encoder is not None:
            return encoder
    return record_encoder(kind, base)


def _check_equality(kind: type, base: type) -> None:
    """Refuse a subclass that changed what it is equal to: its values cannot be encoded as the base's."""
    hashes_as_base = base.__hash__ is None or kind.__hash__ is base.__hash__
    if kind.__eq__ is not base.__eq__ or not hashes_as_base:
        raise RefusedError(kind, f"its equality is not that of {base.__qualname__}")


def _registered_encoder(function: Callable[[object], object]) -> Encoder:
    # The type is asked of the value: a closure over it would keep it alive.
    return lambda value: Parts(b"R" + declared_name(kind_of(value)), (function(value),))


_REGISTRY: Final = EncoderRegistry()
"""The one registry of this process."""

encoder_of: Final = _REGISTRY.encoder_of


def register_encoder(kind: type | str, function: Callable[..., object]) -> None:
    """Make values of a type, and of its subclasses, usable as keys in the whole process.

    Example::

        register_encoder(Account, lambda account: account.number)
        register_encoder("shapely.geometry.polygon.Polygon", lambda polygon: polygon.wkb)

    The key is made of the full name of the value's class and of what ``function`` returns, so that it is
    never that of another type. A class that is local to a function has no name of its own: its values are
    refused all the same. A subclass that redefines ``__eq__`` needs an encoder of its own. A second
    registration replaces the first; keys made before stay as they are.

    Args:
        kind: a class, or ``"module.qualname"`` of one that need not be imported for this.
        function: takes a value and returns one that has an encoding: equal for equal values, different
            for different ones, and the same in every process. What it raises reaches the caller.

    Raises:
        ConfigurationError: ``kind`` is no class nor the full name of one, or one of Python's own atoms and
            containers; or ``function`` cannot be called.
    """
    _REGISTRY.register(kind, function)

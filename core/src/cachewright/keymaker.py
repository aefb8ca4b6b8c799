"""A key maker turns a call, or any other value, into the key under which its entry is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from cachewright.call import Call
from cachewright.target import load_target

__all__ = ["Call", "KeyMaker", "KeyMakerInfo", "canonical"]


class KeyMaker(ABC):
    """Two methods; both are pure: equal input gives equal keys in every process, for ever."""

    @abstractmethod
    def call_key(self, call: Call, /) -> str:
        """Return the key of a call: lower-case hexadecimal, at least 128 bits.

        Raises:
            UnkeyableArgumentError: an argument has no canonical encoding; names the parameter.
        """

    @abstractmethod
    def value_key(self, value: object, /) -> str:
        """Return the key of one value, for direct use of a cache; see :meth:`call_key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMakerInfo:
    """The record by which a plugin announces a key maker.

    Attributes:
        name: what users write in ``key_maker=``.
        target: ``"package.module:Class"`` of the :class:`KeyMaker`.
        requires: distributions that have to be installed.
        install: what to install when they are not.
        summary: one line for tables.
        distribution: filled in by the registry.
    """

    name: str
    target: str
    requires: tuple[str, ...] = ()
    install: str = ""
    summary: str = ""
    distribution: str = ""

    def load(self) -> type[KeyMaker]:
        """Import and return the key maker class.

        Raises:
            PluginLoadError: it cannot be imported or is no :class:`KeyMaker`.
        """
        return load_target(self.target, KeyMaker, plugin=self.name, install=self.install or self.distribution)

    def from_distribution(self, distribution: str) -> KeyMakerInfo:
        """Return this record with the distribution filled in."""
        return replace(self, distribution=distribution)


def canonical() -> KeyMaker:
    """Return the built-in key maker, for key makers that change arguments before keys are made of them.

    Example::

        class CaseBlind(KeyMaker):
            def __init__(self):
                self._inner = canonical()

            def call_key(self, call, /):
                values = tuple(v.lower() if isinstance(v, str) else v for v in call.values)
                return self._inner.call_key(Call(call.function, call.names, values, typed=call.typed))

            def value_key(self, value, /):
                return self._inner.value_key(value.lower() if isinstance(value, str) else value)
    """
    # by its name: a contract imports nothing that is built on it
    target = "cachewright.builtin.canonical:CanonicalKeyMaker"
    made: type[KeyMaker] = load_target(target, KeyMaker, plugin="canonical")
    return made()

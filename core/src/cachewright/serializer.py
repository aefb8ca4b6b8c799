"""A serializer turns a value into buffers and back, exactly, or refuses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from cachewright.target import load_target

Frames: TypeAlias = "Sequence[bytes | bytearray | memoryview]"
"""A serialized value: the first frame describes it, further ones are large buffers, uncopied."""

EXECUTABLE: int = 0x80
"""Serializer ids from here on mark payloads whose decoding could execute code."""


class Serializer(ABC):
    """Two methods; neither keeps state, both may be called from several threads at once."""

    @abstractmethod
    def dumps(self, value: object, /) -> Frames:
        """Return ``value`` as one or more frames.

        Raises:
            UnserializableError: it cannot give back the exact value and type. Never returns a form
                that decodes to something else.
        """

    @abstractmethod
    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value; the frames are read-only views that may stay referenced by it.

        A serializer whose id is below :data:`EXECUTABLE` must not be able to execute code, whatever
        the frames hold. Raises any exception on damaged input: the core treats it as a miss.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SerializerInfo:
    """The record by which a plugin announces a serializer.

    Attributes:
        name: what users write in ``serializer=``.
        code: the byte that marks its payloads for ever, 1 to 255. Ids below 0x80 are data-only,
            0x01-0x3F and 0x80-0xBF belong to this project, the rest to third parties.
        target: ``"package.module:Class"`` of the :class:`Serializer`.
        types: ``"module.qualname"`` of the types it is made for; ``()`` for any object.
        exact: with ``types`` given, whether only these very types, not subclasses, are meant.
        rank: among serializers that accept a value the lowest rank is asked first.
        requires: distributions that have to be installed.
        install: what to install when they are not.
        summary: one line for tables.
        distribution: filled in by the registry.
    """

    name: str
    code: int
    target: str
    types: tuple[str, ...] = ()
    exact: bool = True
    rank: int = 50
    requires: tuple[str, ...] = ()
    install: str = ""
    summary: str = ""
    distribution: str = ""

    @property
    def executable(self) -> bool:
        """Whether decoding a payload of this serializer could execute code."""
        return self.code >= EXECUTABLE

    def load(self) -> type[Serializer]:
        """Import and return the serializer class.

        Raises:
            PluginLoadError: it cannot be imported or is no :class:`Serializer`.
        """
        return load_target(
            self.target, Serializer, plugin=self.name, install=self.install or self.distribution
        )

    def from_distribution(self, distribution: str) -> SerializerInfo:
        """Return this record with the distribution filled in."""
        return replace(self, distribution=distribution)

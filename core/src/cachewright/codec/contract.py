"""The contract of a codec: two methods, and the record that announces them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from cachewright.target import load_target


class Codec(ABC):
    """Two methods; neither keeps state, both may be called from several threads at once.

    A class is made without arguments. What one instance has compressed, every later release of the
    codec decompresses.
    """

    @abstractmethod
    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Return ``data`` in as few bytes as is quickly done; for data that does not shrink, some more.

        Raises any exception for data that the codec cannot take, for instance because there is too much
        of it: the core stores it uncompressed.
        """

    @abstractmethod
    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        """Return exactly the ``size`` bytes that were compressed.

        ``data`` may be anything that somebody put into a store. So nothing in it decides how much is
        allocated: that is bounded by a small multiple of ``size``. All of ``data`` is one stream, which
        ends where ``data`` ends: nothing may be missing, follow or be skipped.

        Raises any exception, quickly, if ``data`` is anything else. The core treats it as a miss.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecInfo:
    """The record by which a plugin announces a codec.

    Attributes:
        name: what users write in ``compress=``.
        code: the byte that marks its entries for ever, 1 to 255. 0x01-0x3F belong to this project, the
            rest to third parties.
        target: ``"package.module:Class"`` of the :class:`Codec`.
        automatic: whether ``compress=True`` may try it; if not, it is used when asked for by name.
        hardened: whether its decoder is made for hostile bytes. If not, it is used only where entries
            are authenticated.
        requires: distributions that have to be installed.
        install: what to install when they are not.
        summary: one line for tables.
        distribution: filled in by the registry.
    """

    name: str
    code: int
    target: str
    automatic: bool = True
    hardened: bool = True
    requires: tuple[str, ...] = ()
    install: str = ""
    summary: str = ""
    distribution: str = ""

    def load(self) -> type[Codec]:
        """Import and return the codec class.

        Raises:
            PluginLoadError: it cannot be imported or is no :class:`Codec`.
        """
        return load_target(self.target, Codec, plugin=self.name, install=self.install or self.distribution)

    def from_distribution(self, distribution: str) -> CodecInfo:
        """Return this record with the distribution filled in."""
        return replace(self, distribution=distribution)

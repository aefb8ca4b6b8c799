"""A cipher encrypts stored entries and proves who wrote them, with one key per namespace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from cachewright.target import load_target

KEY_SIZE: int = 32
"""Bytes of the key that a cipher is made with."""

FIRST_CODE: int = 3
"""Lowest id of a cipher: it takes the place of a suite in the header, of which the core has three."""


class Cipher(ABC):
    """Authenticated encryption with associated data (RFC 5116), which chooses its nonces itself.

    One instance is shared by threads, survives forks, and seals any number of entries: nonces are random
    and long enough for that. Neither key nor plain bytes appear in messages or in ``repr``.

    Args:
        key: 32 bytes, used for nothing else.

    Raises:
        ValueError: the key has another length; does not show it.
    """

    @abstractmethod
    def __init__(self, key: bytes, /) -> None: ...

    @abstractmethod
    def seal(self, associated: bytes, plain: bytes | memoryview, /) -> bytes:
        """Return nonce, encrypted bytes and tag in one; ``associated`` is authenticated, not contained.

        Raises any exception for what cannot be encrypted, for instance because it is too long: the value
        is not stored.
        """

    @abstractmethod
    def open(self, associated: bytes, sealed: bytes | memoryview, /) -> bytes:
        """Return the plain bytes.

        Raises any exception unless ``sealed`` is, to the last bit, what :meth:`seal` returned for this
        key and ``associated``. Nothing of the plain bytes is returned or shown then.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CipherInfo:
    """The record by which a plugin announces a cipher.

    Attributes:
        name: what users write in ``encrypt=``.
        code: the byte that marks its entries for ever, 3 to 255. Ids up to 0x3F belong to this project,
            the rest to third parties.
        target: ``"package.module:Class"`` of the :class:`Cipher`.
        requires: distributions that have to be installed.
        install: what to install when they are not.
        summary: one line for tables.
        distribution: filled in by the registry.
    """

    name: str
    code: int
    target: str
    requires: tuple[str, ...] = ()
    install: str = ""
    summary: str = ""
    distribution: str = ""

    def load(self) -> type[Cipher]:
        """Import and return the cipher class.

        Raises:
            PluginLoadError: it cannot be imported or is no :class:`Cipher`.
        """
        return load_target(self.target, Cipher, plugin=self.name, install=self.install or self.distribution)

    def from_distribution(self, distribution: str) -> CipherInfo:
        """Return this record with the distribution filled in."""
        return replace(self, distribution=distribution)

"""A wording is how an engine puts what it asks: plainly, or in terms of the generation of its namespace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cachewright.entry import MISSING, MissingType
from cachewright_redis import commands, scripts
from cachewright_redis.commands import Store, called, milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.engine import Blob, Chunks
    from cachewright_redis.commands import Command
    from cachewright_redis.keyspace import Keyspace

Clearing: TypeAlias = Literal["scan", "generation"]

NUMBER_SIZE: Final = 16
"""Bytes of the number of a generation, which is random, so that none comes back."""


class Plain:
    """Entries are stored as they are; clearing looks for them."""

    clearing: Clearing = "scan"

    def reading(self, name: bytes) -> Command:
        """Return what to say to read an entry; :meth:`read` understands the answer."""
        return ("GET", name)

    def read(self, reply: object) -> bytes | MissingType:
        """Return the value in an answer."""
        return commands.blob(reply)

    def reading_many(self, names: list[bytes]) -> list[bytes]:
        """Return the names to read; :meth:`read_many` understands the values."""
        return names

    def read_many(self, values: Sequence[bytes | MissingType]) -> Sequence[bytes | MissingType]:
        """Return the entries in what was read."""
        return values

    def storing(self, name: bytes, value: Chunks, ttl: float | None) -> Store:
        """Return what to say to store a value."""
        whole = commands.joined(value)
        if whole is None:
            return Store(self.removing(name), fits=False)
        px = milliseconds(ttl)
        return Store(("SET", name, whole) if px is None else ("SET", name, whole, "PX", px), fits=True)

    def removing(self, name: bytes) -> Command:
        """Return what to say to remove an entry; the answer is how many there were."""
        return ("UNLINK", name)

    def swapping(
        self, name: bytes, expected: Blob | MissingType, value: Chunks | MissingType, ttl: float | None
    ) -> tuple[Command, bool]:
        """Return what to say to swap values, and whether the new one is not too large."""
        whole = None if value is MISSING else commands.joined(value)
        return self._swap(name, (*commands.expectation(expected), *_content(whole, ttl))), (
            value is MISSING or whole is not None
        )

    def _swap(self, name: bytes, arguments: Command) -> Command:
        return called(scripts.SWAP, (name,), (b"", *arguments))


class Generational(Plain):
    """Entries begin with the number of their generation, and only those of the current one count.

    The number is stored beside them, and read in one step with each entry: an entry that was written before a
    clear is none afterwards, for anybody. Where no number is stored, because the namespace was cleared or
    the server has dropped it, there is no entry, and the first to write makes a new one.

    Args:
        space: the names; that of the number is none of an entry.
    """

    clearing: Clearing = "generation"

    def __init__(self, space: Keyspace) -> None:
        self.number_name = space.beside("generation")

    def reading(self, name: bytes) -> Command:
        return ("MGET", self.number_name, name)

    def read(self, reply: object) -> bytes | MissingType:
        number, stored = commands.blobs(reply, 2)
        return _live(number, stored)

    def reading_many(self, names: list[bytes]) -> list[bytes]:
        return [self.number_name, *names]

    def read_many(self, values: Sequence[bytes | MissingType]) -> Sequence[bytes | MissingType]:
        return [_live(values[0], stored) for stored in values[1:]]

    def storing(self, name: bytes, value: Chunks, ttl: float | None) -> Store:
        whole = commands.joined(value)
        if whole is None:
            return Store(self.removing(name), fits=False)
        arguments = (_new_number(), b"", b"", b"", b"", *_content(whole, ttl))
        return Store(called(scripts.STORE_LIVE, (name, self.number_name), arguments), fits=True)

    def removing(self, name: bytes) -> Command:
        return called(scripts.REMOVE_LIVE, (name, self.number_name), ())

    def _swap(self, name: bytes, arguments: Command) -> Command:
        return called(scripts.SWAP_LIVE, (name, self.number_name), (_new_number(), *arguments))

    def clearing_command(self) -> Command:
        """Return what to say to remove all entries at once."""
        return ("UNLINK", self.number_name)

    def asking_live(self, names: Sequence[bytes]) -> Command:
        """Return what to say to learn which of several names are entries; see :meth:`live`."""
        return called(scripts.LIVE, (self.number_name, *names), ())

    def live(self, names: Sequence[bytes], reply: object) -> list[bytes]:
        """Return those of the names that are entries according to an answer."""
        flags = commands.numbers(reply, len(names))
        return [name for name, flag in zip(names, flags, strict=True) if flag]


def _live(number: bytes | MissingType, stored: bytes | MissingType) -> bytes | MissingType:
    if number is MISSING or stored is MISSING or not stored.startswith(number):
        return MISSING
    return stored[len(number) :]


def _content(whole: bytes | None, ttl: float | None) -> Command:
    px = milliseconds(ttl)
    return (b"0", b"", b"") if whole is None else (b"1", whole, b"" if px is None else px)


def _new_number() -> bytes:
    return os.urandom(NUMBER_SIZE)

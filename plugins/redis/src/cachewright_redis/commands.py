"""A command is what an operation says to the server; the same words for threads and for event loops."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar, cast

from redis.exceptions import NoScriptError

from cachewright.entry import MISSING, MissingType
from cachewright_redis.scripts import BY_DIGEST, CLEAR, digest

if TYPE_CHECKING:
    from cachewright.engine import Blob, Chunks

T = TypeVar("T")

Command: TypeAlias = "tuple[str | bytes | int, ...]"

MAX_VALUE_SIZE: Final = 512 * 1024 * 1024
"""Bytes of the largest value that a server takes."""

LONGEST_MS: Final = 10**15
"""Milliseconds from which on a ttl means never; servers refuse what overflows their clock."""

BATCH: Final = 256
"""Keys that go into one command or pipeline."""

PAGE: Final = 1000
"""Names that the server is asked to look at per step of a scan."""

DIGESTED: Final = 16 * 1024
"""Bytes from which on an expected value is compared by its digest: sending the value would cost more."""

HEAD: Final = 256
"""Bytes at the beginning of such a value that are compared first, which spares the server most digests."""


class UnexpectedReplyError(Exception):
    """The server answered something that is no answer to the command; the connection is not to be used."""

    def __init__(self, reply: object) -> None:
        super().__init__(f"a reply of type {type(reply).__name__} that does not fit the command")


class Unknown(Enum):
    """Stands for the answer of a server that does not know a script."""

    UNKNOWN = 0


UNKNOWN: Final = Unknown.UNKNOWN


def known(read: Callable[[object], T]) -> Callable[[object], T | Literal[Unknown.UNKNOWN]]:
    """Return the same understanding of an answer, with :data:`UNKNOWN` where the script is not known."""
    return lambda reply: UNKNOWN if isinstance(reply, NoScriptError) else read(reply)


def _refusal(reply: object) -> Exception:
    """Return what to raise for a reply that is no answer: the server's own error, if that is what it is."""
    return reply if isinstance(reply, Exception) else UnexpectedReplyError(reply)


def joined(value: Chunks) -> bytes | None:
    """Return the chunks as one run of bytes; ``None`` if they are more than a server takes."""
    if len(value) == 1 and isinstance(value[0], bytes):
        whole = value[0]
        return whole if len(whole) <= MAX_VALUE_SIZE else None
    if sum(memoryview(chunk).nbytes for chunk in value) > MAX_VALUE_SIZE:
        return None
    return b"".join(value)


def milliseconds(ttl: float | None) -> int | None:
    """Return a ttl as the server wants it, rounded down but for the last millisecond."""
    if ttl is None or math.isinf(ttl):
        return None
    whole = max(1, int(ttl * 1000))
    return whole if whole < LONGEST_MS else None


@dataclass(frozen=True, slots=True)
class Store:
    """What to say in order to store a value, or to remove the entry because the value is too large."""

    command: Command
    fits: bool

    def done(self, reply: object) -> bool:
        """Return whether the value is stored, now that the server has answered."""
        if not self.fits:
            number(reply)
        elif reply is not True and reply not in (b"OK", "OK", 1):
            raise _refusal(reply)
        return self.fits


def called(script: str, names: Sequence[bytes], arguments: Command) -> Command:
    """Return what to say to have a script run that the server knows."""
    return ("EVALSHA", digest(script), len(names), *names, *arguments)


def in_full(command: Command) -> Command:
    """Return the same with the script itself, for a server that does not know it."""
    return ("EVAL", BY_DIGEST[str(command[1])], *command[2:])


def clearing(cursor: bytes, pattern: bytes) -> Command:
    """Return what to say to delete what matches among the next names; :func:`word` says where to go on."""
    return called(CLEAR, (), (cursor, pattern, PAGE))


def expectation(expected: Blob | MissingType) -> tuple[bytes, bytes, int, str]:
    """Return what a script is told about the value that it is to replace."""
    if expected is MISSING:
        return b"0", b"", 0, ""
    view = memoryview(expected).cast("B")
    if len(view) < DIGESTED:
        return b"1", bytes(view), 0, ""
    content = hashlib.sha1(view, usedforsecurity=False).hexdigest()
    return b"2", bytes(view[:HEAD]), len(view), content


def blob(reply: object) -> bytes | MissingType:
    """Return the value in the reply to a read."""
    if isinstance(reply, bytes):
        return reply
    if reply is None:
        return MISSING
    raise _refusal(reply)


def blobs(reply: object, count: int) -> list[bytes | MissingType]:
    """Return the values in the reply to a read of ``count`` keys."""
    return [blob(item) for item in _items(reply, count)]


def _items(reply: object, count: int) -> list[object]:
    given = reply
    items = cast("list[object]", reply) if isinstance(reply, list) else None
    if items is None or len(items) != count:
        raise _refusal(given)
    return items


def word(reply: object) -> bytes:
    """Return the bytes that an answer has to be."""
    if isinstance(reply, bytes):
        return reply
    raise _refusal(reply)


def number(reply: object) -> int:
    """Return the number in the reply to a command that counts."""
    if isinstance(reply, int) and not isinstance(reply, bool):
        return reply
    raise _refusal(reply)


def numbers(reply: object, count: int) -> list[int]:
    """Return the numbers in the replies to ``count`` commands that count.

    Raises:
        Exception: the first error among the replies.
    """
    return [number(item) for item in _items(reply, count)]


def all_done(todo: list[Store], replies: list[object]) -> int:
    """Return how many values are stored, now that the server has answered to all."""
    return sum(one.done(reply) for one, reply in zip(todo, _items(replies, len(todo)), strict=True))


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield the items in lists that are not too long for one command."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def rounds(swaps: Iterable[tuple[bytes, tuple[Command, bool]]]) -> Iterator[list[tuple[Command, bool]]]:
    """Yield named swaps in batches in which no name is twice, so that their order is kept everywhere."""
    batch: dict[bytes, tuple[Command, bool]] = {}
    for name, one in swaps:
        if name in batch or len(batch) == BATCH:
            yield list(batch.values())
            batch = {}
        batch[name] = one
    if batch:
        yield list(batch.values())

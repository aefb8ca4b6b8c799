"""A command is what an operation says to the server; the same words for threads and for event loops."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

from cachewright.entry import MISSING, MissingType

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

SWAP: Final = """\
local stored = redis.call('GET', KEYS[1])
if ARGV[1] == '0' then
  if stored then return 0 end
elseif not stored then
  return 0
elseif ARGV[1] == '1' then
  if stored ~= ARGV[2] then return 0 end
elseif #stored ~= tonumber(ARGV[6]) or string.sub(stored, 1, #ARGV[2]) ~= ARGV[2]
    or redis.sha1hex(stored) ~= ARGV[7] then
  return 0
end
if ARGV[3] == '0' then
  redis.call('UNLINK', KEYS[1])
elseif ARGV[5] == '' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
end
return 1
"""
"""Stores ARGV[4] for ARGV[5] milliseconds, or deletes, only if what is expected is stored.

That is nothing ('0'), ARGV[2] ('1'), or what begins with ARGV[2], has ARGV[6] bytes and the SHA-1
digest ARGV[7] ('2').
"""

SWAP_SHA: Final = hashlib.sha1(SWAP.encode(), usedforsecurity=False).hexdigest()


class UnexpectedReplyError(Exception):
    """The server answered something that is no answer to the command; the connection is not to be used."""

    def __init__(self, reply: object) -> None:
        super().__init__(f"a reply of type {type(reply).__name__} that does not fit the command")


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
        if isinstance(reply, Exception):
            raise reply
        if not self.fits:
            number(reply)
        elif reply is not True and reply not in {b"OK", "OK"}:
            raise UnexpectedReplyError(reply)
        return self.fits


def store(name: bytes, value: Chunks, ttl: float | None) -> Store:
    """Return what to say in order to store a value."""
    whole = joined(value)
    if whole is None:
        return Store(("UNLINK", name), fits=False)
    px = milliseconds(ttl)
    return Store(("SET", name, whole) if px is None else ("SET", name, whole, "PX", px), fits=True)


def swap(
    name: bytes, expected: Blob | MissingType, value: Chunks | MissingType, ttl: float | None
) -> tuple[Command, bool]:
    """Return what to hand to the script, and whether ``value`` is not too large."""
    whole = None if value is MISSING else joined(value)
    px = milliseconds(ttl)
    kind, seen, length, digest = _expectation(expected)
    arguments: Command = (
        1,
        name,
        kind,
        seen,
        b"0" if whole is None else b"1",
        b"" if whole is None else whole,
        b"" if px is None else px,
        length,
        digest,
    )
    return arguments, value is MISSING or whole is not None


def _expectation(expected: Blob | MissingType) -> tuple[bytes, bytes, int, str]:
    if expected is MISSING:
        return b"0", b"", 0, ""
    view = memoryview(expected).cast("B")
    if len(view) < DIGESTED:
        return b"1", bytes(view), 0, ""
    digest = hashlib.sha1(view, usedforsecurity=False).hexdigest()
    return b"2", bytes(view[:HEAD]), len(view), digest


def blob(reply: object) -> bytes | MissingType:
    """Return the value in the reply to a read."""
    if isinstance(reply, bytes):
        return reply
    if reply is None:
        return MISSING
    raise UnexpectedReplyError(reply)


def blobs(reply: object, count: int) -> list[bytes | MissingType]:
    """Return the values in the reply to a read of ``count`` keys."""
    given = reply
    items = cast("list[object]", reply) if isinstance(reply, list) else []
    if len(items) != count:
        raise UnexpectedReplyError(given)
    return [blob(item) for item in items]


def number(reply: object) -> int:
    """Return the number in the reply to a command that counts."""
    if isinstance(reply, int) and not isinstance(reply, bool):
        return reply
    raise UnexpectedReplyError(reply)


def numbers(replies: list[object], count: int) -> list[int]:
    """Return the numbers in the replies to ``count`` commands that count.

    Raises:
        Exception: the first error among the replies.
    """
    if len(replies) != count:
        raise UnexpectedReplyError(replies)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return [number(reply) for reply in replies]


def all_done(todo: list[Store], replies: list[object]) -> int:
    """Return how many values are stored, now that the server has answered to all."""
    if len(replies) != len(todo):
        raise UnexpectedReplyError(replies)
    return sum(one.done(reply) for one, reply in zip(todo, replies, strict=True))


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

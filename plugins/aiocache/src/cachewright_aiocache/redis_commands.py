"""A command is what an operation says to a Redis server, and what its answer means."""

from __future__ import annotations

import hashlib
import math
import re
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

from cachewright.entry import MISSING, MissingType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

GLOB: Final = re.compile(r"([*?\[\]\\^-])")

SWAP: Final = """\
local stored = redis.call('GET', KEYS[1])
if ARGV[1] == '0' then
  if stored then return 0 end
elseif stored ~= ARGV[2] then
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
"""Stores ARGV[4] for ARGV[5] milliseconds, or deletes, only if nothing ('0') or ARGV[2] ('1') is stored."""

SWAP_SHA: Final = hashlib.sha1(SWAP.encode(), usedforsecurity=False).hexdigest()


class UnexpectedReplyError(Exception):
    """The server answered something that is no answer to the command."""

    def __init__(self, reply: object) -> None:
        super().__init__(f"a reply of type {type(reply).__name__} that does not fit the command")


def pattern_of(stem: str) -> str:
    """Return the pattern that matches all names with this beginning, and no other."""
    return GLOB.sub(r"\\\1", stem) + "*"


def joined(value: Chunks) -> bytes | None:
    """Return the chunks as one run of bytes; ``None`` if they are more than a server takes."""
    if sum(memoryview(chunk).nbytes for chunk in value) > MAX_VALUE_SIZE:
        return None
    return value[0] if len(value) == 1 and isinstance(value[0], bytes) else b"".join(value)


def milliseconds(ttl: float | None) -> int | None:
    """Return a ttl as the server wants it, rounded down but for the last millisecond."""
    if ttl is None or math.isinf(ttl):
        return None
    whole = max(1, int(ttl * 1000))
    return whole if whole < LONGEST_MS else None


def store(name: str, value: Chunks, ttl: float | None) -> Command:
    """Return what to say in order to store a value, or to remove the entry if the value is too large."""
    whole, px = joined(value), milliseconds(ttl)
    if whole is None:
        return ("UNLINK", name)
    return ("SET", name, whole) if px is None else ("SET", name, whole, "PX", px)


def stored(command: Command, reply: object) -> bool:
    """Return whether the value of :func:`store` is stored, now that the server has answered."""
    if command[0] == "UNLINK":
        number(reply)
        return False
    if isinstance(reply, Exception):
        raise reply
    if reply is True or reply in {b"OK", "OK"}:
        return True
    raise UnexpectedReplyError(reply)


def swap(
    name: str, expected: Blob | MissingType, value: Chunks | MissingType, ttl: float | None
) -> tuple[Command, bool]:
    """Return what to hand to the script, and whether ``value`` is not too large."""
    whole = None if value is MISSING else joined(value)
    px = milliseconds(ttl)
    arguments: Command = (
        1,
        name,
        b"0" if expected is MISSING else b"1",
        b"" if expected is MISSING else bytes(expected),
        b"0" if whole is None else b"1",
        b"" if whole is None else whole,
        b"" if px is None else px,
    )
    return arguments, value is MISSING or whole is not None


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


def page(reply: object) -> tuple[bytes, list[str]]:
    """Return where to go on, and the names in the reply to one step of a scan."""
    given = reply
    parts = cast("list[object]", reply) if isinstance(reply, list) else []
    if len(parts) != 2 or not isinstance(parts[0], bytes) or not isinstance(parts[1], list):
        raise UnexpectedReplyError(given)
    names = cast("list[bytes]", parts[1])
    return parts[0], [name.decode("utf-8", "surrogateescape") for name in names]


def number(reply: object) -> int:
    """Return the number in the reply to a command that counts."""
    if isinstance(reply, Exception):
        raise reply
    if isinstance(reply, int) and not isinstance(reply, bool):
        return reply
    raise UnexpectedReplyError(reply)


def rounds(swaps: Iterable[tuple[Command, bool]]) -> Iterator[list[tuple[Command, bool]]]:
    """Yield swaps in batches in which no name is twice, so that their order is kept whatever happens."""
    batch: dict[str | bytes | int, tuple[Command, bool]] = {}
    for arguments, fits in swaps:
        name = arguments[1]
        if name in batch or len(batch) == BATCH:
            yield list(batch.values())
            batch = {}
        batch[name] = arguments, fits
    if batch:
        yield list(batch.values())


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield the items in lists that are not too long for one command."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch

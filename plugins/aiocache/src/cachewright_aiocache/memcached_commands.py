"""A command is what an operation says to a memcached server, and what its answer means."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cachewright.engine import Chunks

T = TypeVar("T")

MAX_VALUE_SIZE: Final = 1_048_000
"""Bytes of the largest value; a server takes 1 MiB, name and notes included, unless told otherwise."""

MONTH: Final = 30 * 86_400
"""Seconds above which a server takes an expiry for a date."""

LAST_DATE: Final = 2**31 - 1
"""The latest date that every server understands."""

BATCH: Final = 64
"""Names that go into one command, and commands that are sent at once."""

BATCH_BYTES: Final = 1_000_000
"""Bytes after which no further command is sent at once."""

Outcome: TypeAlias = Literal["done", "not done", "too large"]

OUTCOMES: Final[dict[bytes, Outcome]] = {
    b"STORED": "done",
    b"DELETED": "done",
    b"NOT_STORED": "not done",
    b"EXISTS": "not done",
    b"NOT_FOUND": "not done",
    b"SERVER_ERROR object too large for cache": "too large",
}


class UnexpectedReplyError(Exception):
    """The server answered something that is no answer to the command, or an error."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(bytes(reply[:100]).decode("ascii", "backslashreplace"))


def outcome(reply: bytes) -> Outcome:
    """Return what became of a command that changes something.

    Raises:
        UnexpectedReplyError: the server failed, or is no memcached server.
    """
    if reply not in OUTCOMES:
        raise UnexpectedReplyError(reply)
    return OUTCOMES[reply]


def store(verb: bytes, name: bytes, value: bytes, exptime: int) -> bytes:
    """Return the command that stores a value: ``set``, or ``add`` where there is none."""
    return b"%s %s 0 %d %d\r\n%s\r\n" % (verb, name, exptime, len(value), value)


def replace(name: bytes, value: bytes, exptime: int, token: int) -> bytes:
    """Return the command that stores a value in place of the one that has ``token``."""
    return b"cas %s 0 %d %d %d\r\n%s\r\n" % (name, exptime, len(value), token, value)


def forget(name: bytes, token: int) -> bytes:
    """Return the command that removes what has ``token``.

    A command that deletes conditionally came late; storing what has expired works since there is cas.
    """
    return replace(name, b"", -1, token)


def delete(name: bytes) -> bytes:
    """Return the command that removes an entry."""
    return b"delete %s\r\n" % name


def exptime(ttl: float | None, wall: Callable[[], float]) -> int:
    """Return a ttl as a server wants it, whose seconds begin at any time: never too short."""
    if ttl is None or math.isinf(ttl):
        return 0
    whole = math.ceil(ttl) + 1
    if whole <= MONTH:
        return whole
    date = int(wall()) + whole
    return date if date <= LAST_DATE else 0


def joined(value: Chunks) -> bytes | None:
    """Return the chunks as one run of bytes; ``None`` if they are more than a server takes."""
    if sum(memoryview(chunk).nbytes for chunk in value) > MAX_VALUE_SIZE:
        return None
    return b"".join(value)


def batches(items: Iterable[tuple[bytes, T]], size: Callable[[T], int]) -> Iterator[dict[bytes, T]]:
    """Yield named items in portions to be sent at once, in which no name is twice, so that order is kept."""
    batch: dict[bytes, T] = {}
    total = 0
    for name, item in items:
        if name in batch or len(batch) == BATCH or (batch and total + size(item) > BATCH_BYTES):
            yield batch
            batch, total = {}, 0
        batch[name] = item
        total += size(item)
    if batch:
        yield batch

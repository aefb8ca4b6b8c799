"""An entry is a stored value together with its clocks; ``MISSING`` stands for no entry at all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from enum import Enum
from typing import Final, Literal, TypeAlias


class Missing(Enum):
    """Type of :data:`MISSING`; an enum so that checkers narrow on it and pickling keeps identity."""

    MISSING = "MISSING"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING
"""Returned where nothing is stored. ``None`` is a value like any other."""

MissingType: TypeAlias = Literal[Missing.MISSING]

NEVER: Final = math.inf
"""Deadline of an entry that does not expire."""


class Clock:
    """The two clocks of a cache, in seconds, replaceable in tests.

    In-process deadlines use ``monotonic``; entries that outlive the process use ``wall``.
    """

    __slots__ = ("monotonic", "wall")

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.wall = wall
        self.monotonic = monotonic


SYSTEM_CLOCK: Final = Clock()


class Entry:
    """A value with its clocks, as object engines hold it.

    A plain slotted class rather than a dataclass: one is built on every miss, and the generated hit
    paths read ``expires`` and ``value``.

    Attributes:
        value: what the caller stored.
        expires: deadline on the clock of the cache that stored it; ``NEVER`` for no deadline.
        created: wall-clock seconds since the epoch.
        tags: tags given at storing time.
        seconds: what computing the value took; 0.0 when unknown.
        key: the key as the caller wrote it, for listing; ``MISSING`` where it is not kept.
    """

    __slots__ = ("created", "expires", "key", "seconds", "tags", "value")

    def __init__(
        self,
        value: object,
        expires: float = NEVER,
        created: float = 0.0,
        tags: tuple[str, ...] = (),
        seconds: float = 0.0,
        key: object = MISSING,
    ) -> None:
        self.value = value
        self.expires = expires
        self.created = created
        self.tags = tags
        self.seconds = seconds
        self.key = key

    def __repr__(self) -> str:
        return f"Entry(type={type(self.value).__name__}, expires={self.expires}, tags={self.tags})"


class AgedEntry(Entry):
    """An entry that has to be judged before it is served: it has windows, tags, or stands for an exception.

    Attributes:
        expires: up to here a generated hit path serves it without a question.
        soft: when its ttl is over; ``NEVER`` for no ttl. On the clock of ``expires``.
        until: how long it is kept.
        ttl: the ttl that it was stored with, ``None`` for none.
        negative: whether ``value`` says what the computation raised.
        tokens: the tokens that its tags had when it was computed; empty in an engine of objects.
    """

    __slots__ = ("negative", "soft", "tokens", "ttl", "until")

    def __init__(
        self,
        value: object,
        expires: float = NEVER,
        created: float = 0.0,
        tags: tuple[str, ...] = (),
        seconds: float = 0.0,
        key: object = MISSING,
        *,
        soft: float = NEVER,
        until: float = NEVER,
        ttl: float | None = None,
        negative: bool = False,
        tokens: dict[str, str] | None = None,
    ) -> None:
        super().__init__(value, expires, created, tags, seconds, key)
        self.soft = soft
        self.until = until
        self.ttl = ttl
        self.negative = negative
        self.tokens = tokens or {}

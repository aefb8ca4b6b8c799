"""An event is a frozen record of something that happened in a cache; a listener receives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened in the cache ``namespace`` on ``engine``."""

    namespace: str
    engine: str


@dataclass(frozen=True, slots=True)
class Hit(Event):
    """A look-up was answered from the store."""


@dataclass(frozen=True, slots=True)
class Miss(Event):
    """A look-up was not answered from the store."""


@dataclass(frozen=True, slots=True)
class Stored(Event):
    """An entry was stored.

    Attributes:
        size: bytes it counts for; 0 where an engine of objects was not asked to bound bytes.
        seconds: what computing the value took; 0.0 when unknown.
        serializer: name of the serializer; empty for an engine of objects.
    """

    size: int
    seconds: float
    serializer: str


@dataclass(frozen=True, slots=True)
class NotStored(Event):
    """A value was computed and not stored.

    Attributes:
        reason: too-large, unserializable, ttl, condition, invalidated, superseded, engine.
        detail: one sentence.
    """

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unreadable(Event):
    """A stored entry was refused and treated as a miss; ``reason`` as in ``EnvelopeError``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Invalidated(Event):
    """Entries were removed on purpose; ``count`` is ``None`` where the engine cannot tell."""

    count: int | None


@dataclass(frozen=True, slots=True)
class EngineFailed(Event):
    """An engine raised; the caller was served all the same.

    Attributes:
        operation: get, set, delete, ...
        error: the exception.
    """

    operation: str
    error: Exception


@dataclass(frozen=True, slots=True)
class ServedStale(Event):
    """A call was answered with a value whose ttl was over.

    Attributes:
        reason: refreshing (a new one is on its way), failed (loading raised), timeout (it takes too
            long), unreachable (the engine is).
    """

    reason: str


@dataclass(frozen=True, slots=True)
class RefreshFailed(Event):
    """A computation that nobody waited for raised ``error``."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class BreakerChanged(Event):
    """The engine is left alone from now on (``open``), or asked again.

    Attributes:
        open: whether it is left alone.
        pending: invalidations that it has to be told of, or has just been told of.
    """

    open: bool
    pending: int


class Listener(Protocol):
    """Receives events in the thread where they happen. What it raises is logged and dropped."""

    def __call__(self, event: Event, /) -> None:
        """Handle one event; must be quick, and must not use the cache that sent it."""
        ...

"""Statistics: counters that need no lock, and the immutable snapshots made from them."""

from __future__ import annotations

import sys
from itertools import repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from typing import Self


class Tally:
    """A counter advanced in C: exact under the global interpreter lock, without taking a lock.

    Generated hit paths advance :attr:`source` with a ``for`` that breaks at once, which costs a few
    nanoseconds; everybody else calls :meth:`add`.
    """

    __slots__ = ("_before", "source")

    def __init__(self) -> None:
        self.source = repeat(None, sys.maxsize)
        self._before = sys.maxsize

    def add(self) -> None:
        """Count one."""
        next(self.source)

    @property
    def count(self) -> int:
        """How often it was advanced since the last :meth:`reset`."""
        return self._before - length_hint(self.source)

    def reset(self) -> None:
        """Start again at zero; what other threads count meanwhile is kept."""
        self._before = length_hint(self.source)


class Counters:
    """What one cache, or one decorated function, counts.

    Attributes:
        calls: look-ups.
        misses: look-ups that the store did not answer; hits are ``calls - misses``.
        loads: times the user's function ran.
        coalesced: misses served by a computation that another caller had started.
        stored: entries written.
        refused: values computed and not stored (too large, ttl, condition, engine down).
        unreadable: stored entries that were refused and treated as misses.
        errors: engine operations that failed.
        stale: calls answered with a value whose ttl was over.
        refreshes: computations that were started before anybody had to wait for them.
    """

    __slots__ = (
        "calls",
        "coalesced",
        "errors",
        "loads",
        "misses",
        "refreshes",
        "refused",
        "stale",
        "stored",
        "unreadable",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, Tally())

    calls: Tally
    misses: Tally
    loads: Tally
    coalesced: Tally
    stored: Tally
    refused: Tally
    unreadable: Tally
    errors: Tally
    stale: Tally
    refreshes: Tally

    def reset(self) -> None:
        """Start again at zero."""
        for name in self.__slots__:
            getattr(self, name).reset()

    def snapshot(self, *, maxsize: int | None, currsize: int) -> CacheInfo:
        """Return the counts as they are now."""
        misses = self.misses.count
        # Misses first: a call is counted before its miss, so hits cannot come out negative.
        info = CacheInfo(max(self.calls.count - misses, 0), misses, maxsize, currsize)
        info.loads = self.loads.count
        info.coalesced = self.coalesced.count
        info.stored = self.stored.count
        info.refused = self.refused.count
        info.unreadable = self.unreadable.count
        info.errors = self.errors.count
        info.stale = self.stale.count
        info.refreshes = self.refreshes.count
        return info


class _FunctoolsInfo(NamedTuple):
    hits: int
    misses: int
    maxsize: int | None
    currsize: int


class CacheInfo(_FunctoolsInfo):
    """A snapshot: the four fields of functools as a tuple, and more as attributes.

    The further attributes are those of :class:`Counters`, and ``engine_open``: whether the engine is
    left alone because it failed, and ``pending``: invalidations that it has to be told of. They take no
    part in comparison or unpacking, so code written for functools keeps working.
    """

    loads: int = 0
    coalesced: int = 0
    stored: int = 0
    refused: int = 0
    unreadable: int = 0
    errors: int = 0
    stale: int = 0
    refreshes: int = 0
    engine_open: bool = False
    pending: int = 0

    def _replace(  # pyright: ignore[reportIncompatibleMethodOverride] # keeps what functools lacks
        self, /, **changes: Any
    ) -> Self:
        """Return a copy with some of the four fields changed; the further attributes stay."""
        changed = super()._replace(**changes)
        changed.__dict__.update(self.__dict__)
        return changed

    @property
    def hit_ratio(self) -> float:
        """Hits per look-up; 0.0 before the first."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0

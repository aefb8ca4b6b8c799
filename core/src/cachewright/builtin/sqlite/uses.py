"""Uses are reads that the lru policy has to know of, gathered until the next write takes them along."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cachewright.builtin.sqlite.table import Totals

MOST = 64
"""Uses that wait at most; it also bounds what they add to one write."""

FLUSH_SECONDS = 1.0
"""A process that only reads records its uses at most this often; older ones than the last are lost."""

EXACT = 64
"""Up to that many entries every use counts, so that the order of eviction is exactly lru."""


class Uses:
    """The reads of one engine object since its last write.

    In a large namespace an entry that was stored or used recently is far from being evicted, so its
    use is not recorded: only entries whose rank lags behind by a quarter of the namespace are.
    Losing some of it, in a race or a crash, costs precision of the policy and nothing else.
    """

    __slots__ = ("_clock", "_due", "_pending", "_slack")

    def __init__(self) -> None:
        self._pending: dict[int, None] = {}
        self._clock = 0
        self._due = 0.0
        self._slack = 0

    def note(self, row: int, rank: object) -> bool:
        """Remember a read of a row with that rank; return whether it is time to record."""
        pending = self._pending
        if row in pending:
            pending.pop(row, None)
        elif not isinstance(rank, int) or (self._slack and self._clock - rank <= self._slack):
            return False
        pending[row] = None
        if len(pending) < MOST:
            return False
        if time.monotonic() >= self._due:
            return True
        pending.pop(next(iter(list(pending))), None)
        return False

    @property
    def pending(self) -> bool:
        """Whether there is something to record."""
        return bool(self._pending)

    def take(self) -> list[int]:
        """Return the rows read, the last one last, and start again."""
        if not self._pending:
            return []
        self._due = time.monotonic() + FLUSH_SECONDS
        pending, self._pending = self._pending, {}
        return list(pending)

    def settle(self, totals: Totals) -> None:
        """Learn from a write how large the namespace is and how far its clock has got."""
        self._clock = totals.clock
        self._slack = totals.entries // 4 if totals.entries > EXACT else 0

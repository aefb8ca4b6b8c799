"""Uses are reads that the lru policy has to know of, gathered until the next write takes them along."""

from __future__ import annotations

import time
from typing import Final

MOST: Final = 64
"""Uses that wait at most: it bounds what they add to one write."""

FLUSH_SECONDS: Final = 1.0
"""A process that only reads records its uses at most this often; older ones than the last are lost."""


class Uses:
    """The reads of one engine object since its last write; used under the lock of the store.

    Losing some of it, in a crash or because there are many, costs precision of the policy and nothing else.
    """

    __slots__ = ("_due", "_pending")

    def __init__(self) -> None:
        self._pending: dict[bytes, None] = {}
        self._due = 0.0

    def note(self, key: bytes) -> bool:
        """Remember a read; return whether it is time to record."""
        pending = self._pending
        pending.pop(key, None)
        pending[key] = None
        if len(pending) < MOST:
            return False
        if time.monotonic() >= self._due:
            return True
        del pending[next(iter(pending))]
        return False

    @property
    def pending(self) -> bool:
        """Whether there is something to record."""
        return bool(self._pending)

    def take(self) -> list[bytes]:
        """Return the keys read, the last one last, and start again."""
        if not self._pending:
            return []
        self._due = time.monotonic() + FLUSH_SECONDS
        pending, self._pending = self._pending, {}
        return list(pending)

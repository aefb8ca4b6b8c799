"""A breaker keeps callers away from an engine that fails, and keeps what it must be told when it is back.

Invalidations that an engine could not be told of are queued, the latest of each key, and told before
it is asked for anything else: what they remove is never served in between.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cachewright.errors import EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachewright.errors import EngineError

FIRST_REST: Final = 0.1
LONGEST_REST: Final = 0.5
"""Seconds between two attempts at an engine that fails, doubling from the first to the longest."""

FAILURES: Final = 5
"""Failures in a row after which an engine that does answer, but only with errors, is left alone."""

MOST_PENDING: Final = 10_000
"""Invalidations that are queued one by one; more of them become one of everything."""

Debt: TypeAlias = "tuple[str, Any]"
"""What an engine has to be told: ``("key", key)``, ``("tag", tag)`` or ``("clear", None)``."""

CLEAR: Final[Debt] = ("clear", None)


class Breaker:
    """Whether an engine is asked at all.

    Attributes:
        open: it is not; read without the lock by every operation.
        failures: operations that failed in a row; read without the lock as well.
        error: what it failed with last.
    """

    __slots__ = (
        "__weakref__",
        "_debts",
        "_lock",
        "_now",
        "_owed",
        "_probing",
        "_rest",
        "_retry_at",
        "_told",
        "error",
        "failures",
        "open",
    )

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._debts: dict[Debt, int] = {}
        self._owed = 0  # numbers debts: one that is queued again while it is being paid has to be paid again
        self._told = 0
        self.failures = 0
        self._rest = FIRST_REST
        self._retry_at = 0.0
        self._probing = False
        self.open = False
        self.error: EngineError | None = None

    @property
    def pending(self) -> int:
        """How many invalidations are queued."""
        return len(self._debts)

    def failed(self, error: EngineError) -> bool:
        """Note a failure; return whether it opened the breaker."""
        with self._lock:
            self.error = error
            self.failures += 1
            if self.open or not (isinstance(error, EngineUnavailableError) or self.failures >= FAILURES):
                return False
            self._open()
            return True

    def answered(self) -> None:
        """Note that an operation succeeded."""
        with self._lock:
            if not self.open:
                self.failures = 0

    def owe(self, debt: Debt) -> bool:
        """Queue an invalidation that could not be made; until it is, nothing is read.

        Returns:
            Whether that opened the breaker.
        """
        with self._lock:
            if debt == CLEAR or len(self._debts) >= MOST_PENDING:
                self._debts.clear()
                debt = CLEAR
            self._owed += 1
            self._debts[CLEAR if CLEAR in self._debts else debt] = self._owed
            if self.open:
                return False
            self._open()
            return True

    def begin_probe(self, *, urgent: bool = False) -> bool:
        """Return whether the caller has to find out if the engine is back; one at a time does.

        It ends with :meth:`paid` or :meth:`still_down`.
        """
        with self._lock:
            if not self.open or self._probing or (not urgent and self._now() < self._retry_at):
                return False
            self._probing = True
            return True

    def debts(self) -> list[Debt]:
        """Return what is queued, for the caller to pay, who has begun a probe."""
        with self._lock:
            self._told = self._owed
            return list(self._debts)

    def paid(self, debts: list[Debt]) -> bool:
        """Forget debts that have been paid; return whether none is left, in which case it is closed.

        One that was queued again since :meth:`debts` returned it stays: the engine may have been told of it
        before that, and written to by others in between.
        """
        with self._lock:
            for debt in debts:
                if self._debts.get(debt, 0) <= self._told:
                    self._debts.pop(debt, None)
            if self._debts:
                return False
            self.open = self._probing = False
            self.failures = 0
            self._rest = FIRST_REST
            return True

    def still_down(self) -> None:
        """Note that a probe failed."""
        with self._lock:
            self._probing = False
            self._retry_at = self._now() + self._rest
            self._rest = min(self._rest * 2, LONGEST_REST)

    def reset_after_fork(self) -> None:
        """Let a child find out for itself: the thread that was probing is not in it."""
        self._lock = threading.RLock()
        self._probing = False

    def _open(self) -> None:
        self.open = True
        self._retry_at = self._now() + self._rest

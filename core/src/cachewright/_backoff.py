"""A back-off is the pause after a failed computation, per key, before it is tried again."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cachewright.freshness import LONGEST_BACKOFF

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

REMEMBERED: Final = 4096
"""Keys whose computation failed lately; of more, the oldest are tried again at once."""


class Backoffs:
    """The keys whose computation failed lately.

    Plain dictionary operations, without a lock that a fork could leave held: a race costs one attempt.
    """

    __slots__ = ("_now", "_until")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until: dict[Hashable, tuple[float, float]] = {}

    def resting(self, key: Hashable) -> bool:
        """Whether it is too early for another attempt."""
        found = self._until.get(key)
        return found is not None and self._now() < found[0]

    def failed(self, key: Hashable, first: float) -> None:
        """Note a failure; the pause doubles with every one in a row."""
        found = self._until.pop(key, None)
        pause = first if found is None else min(found[1] * 2, first * LONGEST_BACKOFF)
        while len(self._until) >= REMEMBERED:
            with suppress(RuntimeError):  # another thread has changed it between two steps: look again
                self._until.pop(next(iter(self._until), None), None)
        self._until[key] = (self._now() + pause, pause)

    def succeeded(self, key: Hashable) -> None:
        """Forget the failures of a key."""
        if self._until:
            self._until.pop(key, None)

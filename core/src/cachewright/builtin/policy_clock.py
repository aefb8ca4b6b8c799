"""Policies that remember one bit of use per entry, kept so that a hit has nothing to write.

Entries that were touched since the hand last passed are in one dict, ``visible``, the others in a
second one. A reader subscripts only the first; the first touch misses it, asks ``get``, and that
moves the entry over. Every further hit is a plain dict look-up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any

from cachewright.builtin.policy_queue import SLACK, Places
from cachewright.entry import MISSING

if TYPE_CHECKING:
    from threading import RLock

PATIENCE = 256
"""Touched entries that one eviction passes over at most, so that no write waits for a whole lap."""

SMALL_PERCENT = 15
"""Share of the entries that S3-FIFO keeps on trial; beyond it the trial queue is evicted from."""


class _TwoDicts(ABC):
    """Touched and untouched entries, apart."""

    __slots__ = ("_cold", "_places", "lock", "reader", "visible")

    def __init__(self, lock: RLock) -> None:
        self.lock = lock
        self.visible: dict[Any, Any] = {}
        self.reader = self.visible
        self._cold: dict[Any, Any] = {}
        self._places = Places()

    def __len__(self) -> int:
        return len(self.visible) + len(self._cold)

    def get(self, key: Any, /) -> Any:
        """Return the value and mark the entry as touched."""
        value = self._cold.pop(key, MISSING)
        if value is MISSING:
            return self.visible.get(key, MISSING)
        self.visible[key] = value
        return value

    def peek(self, key: Any, /) -> Any:
        """Return the value."""
        value = self.visible.get(key, MISSING)
        return self._cold.get(key, MISSING) if value is MISSING else value

    def replace(self, key: Any, value: Any, /) -> Any:
        """Replace the value; neither a touch nor a new place in the queue."""
        held = self._cold.get(key, MISSING)
        if held is not MISSING:
            self._cold[key] = value
            return held
        held = self.visible.get(key, MISSING)
        if held is not MISSING:
            self.visible[key] = value
        return held

    def pop(self, key: Any, /) -> Any:
        """Remove an entry."""
        value = self.visible.pop(key, MISSING)
        if value is MISSING:
            value = self._cold.pop(key, MISSING)
        if value is not MISSING and self._places.void(key, len(self)):
            self._sweep()
            self._places.clear()
        return value

    def hide(self, key: Any, /) -> Any:
        """Remove an entry from what the reader sees, and leave its place."""
        return self.visible.pop(key, MISSING)

    def clear(self) -> list[Any]:
        """Remove every entry."""
        held = [*self.visible, *self.visible.values(), self._cold]
        self.visible.clear()
        self._cold = {}
        self._places = Places()
        return held

    def keys(self) -> list[Any]:
        """Return the keys."""
        return [*self.visible, *self._cold]

    def _held_once(self, places: deque[Any], seen: set[Any]) -> deque[Any]:
        """Return the places of entries that are held, and only one of each."""
        kept: deque[Any] = deque()
        for key in places:
            if key not in seen and self.peek(key) is not MISSING:
                seen.add(key)
                kept.append(key)
        return kept

    @abstractmethod
    def _sweep(self) -> None:
        """Take the void places out of every queue."""


class Sieve(_TwoDicts):
    """SIEVE (Zhang et al., NSDI 2024): the hand passes from old to new and starts again.

    Touched entries keep their place and lose their mark when the hand passes; the first untouched
    one is evicted. ``_ahead`` holds the places before the hand, ``_behind`` those it has passed.
    """

    __slots__ = ("_ahead", "_behind")

    def __init__(self, lock: RLock) -> None:
        super().__init__(lock)
        self._ahead: deque[Any] = deque()
        self._behind: deque[Any] = deque()

    def insert(self, key: Any, value: Any, /) -> None:
        """Hold a new, untouched entry."""
        self._cold[key] = value
        self._ahead.append(key)

    def evict(self) -> tuple[Any, Any] | None:
        """Move the hand to the next untouched entry and remove it."""
        hot, cold, places = self.visible, self._cold, self._places
        patience = PATIENCE
        while self._ahead or self._behind:
            if not self._ahead:
                self._ahead, self._behind = self._behind, self._ahead
            key = self._ahead.popleft()
            if places and places.skip(key):
                continue
            value = cold.pop(key, MISSING)
            if value is MISSING:
                value = hot.pop(key, MISSING)
                if value is MISSING:
                    continue
                if patience:
                    patience -= 1
                    cold[key] = value
                    self._behind.append(key)
                    continue
            if not self._ahead:
                # From the newest entry the hand goes to the oldest one, not to the next to come.
                self._ahead, self._behind = self._behind, self._ahead
            return key, value
        return None

    def clear(self) -> list[Any]:
        """Remove every entry."""
        held = [*super().clear(), self._ahead, self._behind]
        self._ahead, self._behind = deque(), deque()
        return held

    def tidy(self) -> None:
        """Drop the places that :meth:`hide` has left, once they are many."""
        if len(self._ahead) + len(self._behind) > 2 * len(self) + SLACK:
            seen: set[Any] = set()
            self._behind = self._held_once(self._behind, seen)
            self._ahead = self._held_once(self._ahead, seen)
            self._places.clear()

    def _sweep(self) -> None:
        # Places behind the hand are the older ones: a key that was removed and came back is ahead.
        self._behind = deque(self._places.sweep(self._behind))
        self._ahead = deque(self._places.sweep(self._ahead))


class S3Fifo(_TwoDicts):
    """S3-FIFO (Yang et al., SOSP 2023): new entries are on trial in a small queue.

    Those that are touched before they reach its end move to the main queue, the others are evicted,
    and only their hashes are remembered: whoever comes back soon goes to the main queue at once. The
    main queue gives touched entries another lap. Hashes live in two generations, each of up to half
    as many as there are entries, so that forgetting costs nothing per entry.
    """

    __slots__ = ("_ghosts", "_main", "_older_ghosts", "_small")

    def __init__(self, lock: RLock) -> None:
        super().__init__(lock)
        self._small: deque[Any] = deque()
        self._main: deque[Any] = deque()
        self._ghosts: set[int] = set()
        self._older_ghosts: set[int] = set()

    def insert(self, key: Any, value: Any, /) -> None:
        """Hold a new, untouched entry: on trial unless it was evicted from trial not long ago."""
        if self._older_ghosts or self._ghosts:
            digest = hash(key)
            returned = digest in self._ghosts or digest in self._older_ghosts
        else:
            returned = False
        self._cold[key] = value
        (self._main if returned else self._small).append(key)

    def evict(self) -> tuple[Any, Any] | None:
        """Remove the oldest untouched entry of the queue that exceeds its share."""
        hot, cold, small, main, places = self.visible, self._cold, self._small, self._main, self._places
        patience = PATIENCE
        while small or main:
            on_trial = not main or len(small) * 100 >= (len(hot) + len(cold)) * SMALL_PERCENT
            key = small.popleft() if on_trial and small else main.popleft()
            if places and places.skip(key):
                continue
            value = cold.pop(key, MISSING)
            if value is not MISSING:
                if on_trial:
                    self._remember(hash(key))
                return key, value
            value = hot.pop(key, MISSING)
            if value is MISSING:
                continue
            if not patience:
                return key, value
            patience -= 1
            cold[key] = value
            main.append(key)
        return None

    def clear(self) -> list[Any]:
        """Remove every entry and forget those that were evicted."""
        held = [*super().clear(), self._small, self._main]
        self._small, self._main = deque(), deque()
        self._ghosts, self._older_ghosts = set(), set()
        return held

    def _remember(self, digest: int) -> None:
        self._ghosts.add(digest)
        if len(self._ghosts) * 2 > len(self.visible) + len(self._cold):
            self._older_ghosts, self._ghosts = self._ghosts, set()

    def tidy(self) -> None:
        """Drop the places that :meth:`hide` has left, once they are many."""
        if len(self._small) + len(self._main) > 2 * len(self) + SLACK:
            seen: set[Any] = set()
            self._main = self._held_once(self._main, seen)
            self._small = self._held_once(self._small, seen)
            self._places.clear()

    def _sweep(self) -> None:
        self._small = deque(self._places.sweep(self._small))
        self._main = deque(self._places.sweep(self._main))

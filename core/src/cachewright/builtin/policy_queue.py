"""Policies that never look at how entries are used: unbounded, first in first out, random."""

from __future__ import annotations

from collections import deque
from random import random
from typing import TYPE_CHECKING, Any, TypeVar

from cachewright.entry import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from threading import RLock

T = TypeVar("T")

SLACK = 64
"""Places of removed entries that a queue may always keep, beyond one for each entry it holds."""


class Places:
    """The places of removed entries that are still in some queue, to be skipped when they come up.

    A queue holds one place (a reference to the key) for each entry, 8 bytes. Taking a place out of
    the middle would cost a search, so a removed entry only leaves a note here. Where one key has
    several places, the earliest ones are the void ones.
    """

    __slots__ = ("_count", "_void")

    def __init__(self) -> None:
        self._void: dict[Any, int] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._void)

    def void(self, key: Any, held: int) -> bool:
        """Note that the earliest place of ``key`` is void; return whether it is time to sweep."""
        self._void[key] = self._void.get(key, 0) + 1
        self._count += 1
        return self._count > held + SLACK

    def skip(self, key: Any) -> bool:
        """Whether this place of ``key``, just taken out of its queue, is void."""
        times = self._void.get(key)
        if times is None:
            return False
        if times == 1:
            del self._void[key]
        else:
            self._void[key] = times - 1
        self._count -= 1
        return True

    def sweep(self, queue: Iterable[T]) -> list[T]:
        """Return ``queue``, earliest first, without its void places."""
        return [key for key in queue if not self.skip(key)]

    def clear(self) -> None:
        """Forget every note: the queues are empty."""
        self._void.clear()
        self._count = 0


class Unbounded:
    """A plain dict, for engines that need never evict anything."""

    __slots__ = ("lock", "reader", "visible")

    def __init__(self, lock: RLock) -> None:
        self.lock = lock
        self.visible: dict[Any, Any] = {}
        self.reader = self.visible

    def __len__(self) -> int:
        return len(self.visible)

    def get(self, key: Any, /) -> Any:
        """Return the value or ``MISSING``."""
        return self.visible.get(key, MISSING)

    peek = get

    def replace(self, key: Any, value: Any, /) -> Any:
        """Replace the value of a held entry; its place in the queue stays."""
        held = self.visible.get(key, MISSING)
        if held is not MISSING:
            self.visible[key] = value
        return held

    def insert(self, key: Any, value: Any, /) -> None:
        """Hold a new entry."""
        self.visible[key] = value

    def evict(self) -> tuple[Any, Any] | None:
        """Remove the entry that was inserted last; only a bound that is added later would ask."""
        return self.visible.popitem() if self.visible else None

    def pop(self, key: Any, /) -> Any:
        """Remove an entry."""
        return self.visible.pop(key, MISSING)

    def hide(self, key: Any, /) -> Any:
        """Remove an entry from what the reader sees, and leave its place."""
        return self.visible.pop(key, MISSING)

    def tidy(self) -> None:
        """There are no places."""

    def clear(self) -> list[Any]:
        """Remove every entry."""
        held = [*self.visible, *self.visible.values()]
        self.visible.clear()
        return held

    def keys(self) -> list[Any]:
        """Return the keys."""
        return list(self.visible)


class Fifo(Unbounded):
    """First in, first out; overwriting an entry does not renew it."""

    __slots__ = ("_places", "_queue")

    def __init__(self, lock: RLock) -> None:
        super().__init__(lock)
        self._queue: deque[Any] = deque()
        self._places = Places()

    def insert(self, key: Any, value: Any, /) -> None:
        """Hold a new entry, to be evicted after all others."""
        self.visible[key] = value
        self._queue.append(key)

    def evict(self) -> tuple[Any, Any] | None:
        """Remove the entry that was inserted first."""
        queue, places = self._queue, self._places
        while queue:
            key = queue.popleft()
            if places and places.skip(key):
                continue
            value = self.visible.pop(key, MISSING)
            if value is not MISSING:
                return key, value
        return None

    def pop(self, key: Any, /) -> Any:
        """Remove an entry."""
        value = self.visible.pop(key, MISSING)
        if value is not MISSING and self._places.void(key, len(self.visible)):
            self._queue = deque(self._places.sweep(self._queue))
            self._places.clear()
        return value

    def tidy(self) -> None:
        """Make the queue anew: the dict has never changed the order of insertion."""
        if len(self._queue) > 2 * len(self.visible) + SLACK:
            self._queue = deque(self.visible)
            self._places.clear()

    def clear(self) -> list[Any]:
        """Remove every entry."""
        held = [*super().clear(), self._queue]
        self._queue = deque()
        self._places = Places()
        return held


class RandomReplacement(Unbounded):
    """Evicts any entry, each as likely as the others; draws from the ``random`` module."""

    __slots__ = ("_places", "_pool")

    def __init__(self, lock: RLock) -> None:
        super().__init__(lock)
        self._pool: list[Any] = []
        self._places = Places()

    def insert(self, key: Any, value: Any, /) -> None:
        """Hold a new entry."""
        self.visible[key] = value
        self._pool.append(key)

    def evict(self) -> tuple[Any, Any] | None:
        """Remove an entry drawn at random."""
        pool, places = self._pool, self._places
        while pool:
            drawn = int(random() * len(pool))  # noqa: S311 - a choice of victims keeps no secret
            key = pool[drawn]
            pool[drawn] = pool[-1]
            pool.pop()
            if places and places.skip(key):
                continue
            value = self.visible.pop(key, MISSING)
            if value is not MISSING:
                return key, value
        return None

    def pop(self, key: Any, /) -> Any:
        """Remove an entry."""
        value = self.visible.pop(key, MISSING)
        if value is not MISSING and self._places.void(key, len(self.visible)):
            self._pool = self._places.sweep(self._pool)
            self._places.clear()
        return value

    def tidy(self) -> None:
        """Make the pool anew."""
        if len(self._pool) > 2 * len(self.visible) + SLACK:
            self._pool = list(self.visible)
            self._places.clear()

    def clear(self) -> list[Any]:
        """Remove every entry."""
        held = [*super().clear(), self._pool]
        self._pool = []
        self._places = Places()
        return held

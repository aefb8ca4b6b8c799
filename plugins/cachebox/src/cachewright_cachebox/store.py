"""A store is a compiled cache together with the bounds that it has to keep."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import cachebox

from cachewright.entry import MISSING
from cachewright.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Items: TypeAlias = "cachebox.BaseCacheImpl[Any, Any]"

POLICIES: Final[dict[str, Callable[[int], Items]]] = {
    "lru": cachebox.LRUCache,
    "lfu": cachebox.LFUCache,
    "fifo": cachebox.FIFOCache,
    "rr": cachebox.RRCache,
}


class Store(Guard):
    """Entries bounded by number, by the sum of their sizes, by both or not at all.

    The compiled cache holds a lock of its own while it compares keys or evicts, and would wait for
    itself for ever if foreign code used it again meanwhile. So nothing that could have a finaliser is
    let go inside it: whatever is displaced is taken out and returned, for the caller to drop.
    """

    __slots__ = ("_kind", "_max_bytes", "_maxsize", "_sizes", "_used", "items")

    def __init__(self, policy: str, maxsize: int | None, max_bytes: int | None) -> None:
        bounded = maxsize is not None or max_bytes is not None
        self._kind: Callable[[int], Items] = POLICIES[policy] if bounded else cachebox.Cache[Any, Any]
        self._maxsize = sys.maxsize if maxsize is None else min(maxsize, sys.maxsize)
        self._max_bytes = max_bytes
        self._sizes: dict[Any, int] = {}
        self._used = 0
        self.items: Items = self._kind(self._maxsize)
        super().__init__()

    def put(self, key: Hashable, value: Any, size: int) -> tuple[bool, list[Any]]:
        """Store an entry under the lock; return whether it fits, and what it displaced."""
        if self._maxsize < 1 or (self._max_bytes is not None and size > self._max_bytes):
            return False, [self.remove(key)]
        items = self.items
        dropped: list[Any]
        if self._max_bytes is not None:
            dropped = self._make_room(key, size, self._max_bytes)
        elif len(items) >= self._maxsize and key not in items:
            dropped = [items.popitem()]
        else:
            dropped = []
        dropped.append(items.insert(key, value))
        return True, dropped

    def remove(self, key: Hashable, /) -> Any:
        """Remove the entry under the lock; return its object, or ``MISSING``."""
        if self._max_bytes is not None:
            self._used -= self._sizes.pop(key, 0)
        return self.items.pop(key, MISSING)

    def take(self, key: Hashable) -> tuple[Any, ...]:
        """Remove the entry; return its object in a tuple, which is empty where there was none."""
        old = self.remove(key)
        return () if old is MISSING else (old,)

    def swap(self, key: Hashable, expected: Any, value: Any, size: int) -> tuple[bool, Any]:
        """Store or, for ``MISSING``, remove if ``expected`` is stored; return success, what it displaced."""
        try:
            current = self.items[key]
        except KeyError:
            current = MISSING
        if current is not expected:
            return False, None
        return (True, self.remove(key)) if value is MISSING else self.put(key, value, size)

    def empty(self) -> object:
        """Remove every entry under the lock, readers staying attached; return what was stored."""
        dropped = self.items.copy()
        self.items.clear()
        self._sizes = {}
        self._used = 0
        return dropped

    def shut(self) -> object:
        """Remove every entry and take no more; return what was stored."""
        self._maxsize = 0
        return self.empty()

    def settle(self) -> None:
        """Wait until no reader is inside the compiled cache."""
        self.items.current_size()

    def replace(self) -> None:
        """Begin with another compiled cache: a thread that is no more may hold the lock of this one."""
        self.items = self._kind(self._maxsize)
        self._sizes = {}
        self._used = 0

    def _make_room(self, key: Hashable, size: int, max_bytes: int) -> list[Any]:
        """Evict until the entry fits, and count it; return what was evicted."""
        dropped: list[Any] = []
        while self._lacks_room(key, size, max_bytes):
            evicted = self.items.popitem()
            self._used -= self._sizes.pop(evicted[0])
            dropped.append(evicted)
        self._used += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        return dropped

    def _lacks_room(self, key: Hashable, size: int, max_bytes: int) -> bool:
        old = self._sizes.get(key)
        if old is None:
            return self._used + size > max_bytes or len(self.items) >= self._maxsize
        return self._used - old + size > max_bytes

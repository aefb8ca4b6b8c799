"""A store is a cachetools cache together with the bounds that it has to keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import cachetools

from cachewright.entry import MISSING
from cachewright.guard import BUSY, FORKS, IN_ORDER, SPOILT, Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Items: TypeAlias = "cachetools.Cache[Any, Any]"

POLICIES: Final[dict[str, Callable[[float], Items]]] = {
    "lru": cachetools.LRUCache,
    "lfu": cachetools.LFUCache,
    "fifo": cachetools.FIFOCache,
    "rr": cachetools.RRCache,
}


class Store(Guard):
    """Entries bounded by number, by the sum of their sizes, by both or not at all.

    The cache is plain Python and not safe for threads, so everything happens under the lock, reading
    too, for it reorders entries. Whatever is displaced is taken out and returned, for the caller to
    drop: a finaliser inside the cache would find it half-changed.
    """

    __slots__ = ("_kind", "_max_bytes", "_maxsize", "_sizes", "_used", "items")

    def __init__(self, policy: str, maxsize: int | None, max_bytes: int | None) -> None:
        bounded = maxsize is not None or max_bytes is not None
        self._kind: Callable[[float], Items] = POLICIES[policy] if bounded else cachetools.Cache[Any, Any]
        self._maxsize = math.inf if maxsize is None else maxsize
        self._max_bytes = max_bytes
        self._sizes: dict[Any, int] = {}
        self._used = 0
        self.items: Items = self._kind(self._maxsize)
        super().__init__()

    def __getitem__(self, key: Any, /) -> Any:
        """Return the stored object, which counts as a use; ``KeyError`` on a miss.

        Code that interrupts a write or a read of its own thread finds nothing.
        """
        if FORKS.pending:
            FORKS.let_pass()
        with self.lock:  # as in Guard.alone, written out: this is the hit path
            if self.state:
                raise KeyError(key)
            after = SPOILT
            try:
                self.state = BUSY
                value = self.items[key]
                after = IN_ORDER
            except (KeyError, TypeError) as error:
                if isinstance(error, KeyError) or not _is_hashable(key):
                    after = IN_ORDER  # nothing was touched
                raise
            else:
                return value
            finally:
                try:
                    if self.late:
                        self.catch_up()
                finally:
                    self.state = after

    def put(self, key: Hashable, value: Any, size: int) -> tuple[bool, list[Any]]:
        """Store an entry under the lock; return whether it fits, and what it displaced."""
        if self._maxsize < 1 or (self._max_bytes is not None and size > self._max_bytes):
            return False, [self.remove(key)]
        dropped = self._make_room(key, size)
        if key in self.items:
            # the base class reads without counting a use: the overwriting alone should be one
            dropped.append(cachetools.Cache[Any, Any].__getitem__(self.items, key))
        self.items[key] = value
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
        dropped, self.items = self.items, self._kind(self._maxsize)
        self._sizes = {}
        self._used = 0
        return dropped

    def shut(self) -> object:
        """Remove every entry and take no more; return what was stored."""
        self._maxsize = 0
        return self.empty()

    def replace(self) -> None:
        """Begin with an empty cache: a thread that is no more may have left this one half-changed."""
        self.empty()

    def _make_room(self, key: Hashable, size: int) -> list[Any]:
        """Evict until the entry fits, and count it; return what was evicted."""
        items = self.items
        if self._max_bytes is None:
            return [items.popitem()] if len(items) >= self._maxsize and key not in items else []
        dropped: list[Any] = []
        while self._lacks_room(key, size, self._max_bytes):
            evicted = items.popitem()
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


def _is_hashable(key: Any) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True

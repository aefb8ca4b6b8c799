"""A store is a dict of entries together with a cachetools cache that decides which of them has to go."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import cachetools

from cachewright.entry import MISSING
from cachewright.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

Order: TypeAlias = "cachetools.Cache[Any, None]"

POLICIES: Final[dict[str, Callable[[float], Order]]] = {
    "lru": cachetools.LRUCache,
    "lfu": cachetools.LFUCache,
    "fifo": cachetools.FIFOCache,
    "rr": cachetools.RRCache,
}

_COUNT_USES: Final = frozenset({"lru", "lfu"})
"""Policies that go by which entries were read."""

_REMEMBERED: Final = 2048
"""Uses that are told to cachetools at the next write; of more, the latest. Telling one takes 0.25 us."""


class Store(Guard):
    """Entries bounded by number, by the sum of their sizes, by both or not at all.

    Reading is one look-up in a dict, without a lock, also while somebody writes. What was read is noted,
    and told to the cachetools cache by the next write: it is plain Python, not safe for threads, and only
    has to know before something is evicted. Whatever is displaced is taken out and returned, for the
    caller to drop: a finaliser inside the store would find it half-changed.

    Attributes:
        values: the entries.
    """

    __slots__ = ("_kind", "_max_bytes", "_maxsize", "_order", "_sizes", "_touch", "_used", "_uses", "values")

    def __init__(self, policy: str, maxsize: int | None, max_bytes: int | None) -> None:
        bounded = maxsize is not None or max_bytes is not None
        self._kind: Callable[[float], Order] = POLICIES[policy] if bounded else cachetools.Cache[Any, None]
        self._maxsize = math.inf if maxsize is None else maxsize
        self._max_bytes = max_bytes
        self._sizes: dict[Any, int] = {}
        self._used = 0
        self._order: Order = self._kind(math.inf)  # the bounds are kept here
        self._uses: deque[Any] | None = (
            deque(maxlen=_REMEMBERED) if bounded and policy in _COUNT_USES else None
        )
        self._touch = _forget if self._uses is None else self._uses.append
        self.values: dict[Any, Any] = {}
        super().__init__()

    def __getitem__(self, key: Any, /) -> Any:
        """Return the stored object, which counts as a use; ``KeyError`` on a miss."""
        value = self.values[key]
        self._touch(key)
        return value

    @property
    def reader(self) -> Store | Mapping[Any, Any]:
        """What is fastest to subscript: the dict itself where uses do not count."""
        return self.values if self._uses is None else self

    def put(self, key: Hashable, value: Any, size: int) -> tuple[bool, list[Any]]:
        """Store an entry under the lock; return whether it fits, and what it displaced."""
        if self._maxsize < 1 or (self._max_bytes is not None and size > self._max_bytes):
            return False, [self.remove(key)]
        dropped = self._make_room(key, size)
        dropped.append(self.values.get(key))
        self._order[key] = None
        self.values[key] = value
        return True, dropped

    def remove(self, key: Hashable, /) -> Any:
        """Remove the entry under the lock; return its object, or ``MISSING``."""
        if self._max_bytes is not None:
            self._used -= self._sizes.pop(key, 0)
        self._order.pop(key, None)
        return self.values.pop(key, MISSING)

    def take(self, key: Hashable) -> tuple[Any, ...]:
        """Remove the entry; return its object in a tuple, which is empty where there was none."""
        old = self.remove(key)
        return () if old is MISSING else (old,)

    def swap(self, key: Hashable, expected: Any, value: Any, size: int) -> tuple[bool, Any]:
        """Store or, for ``MISSING``, remove if ``expected`` is stored; return success, what it displaced."""
        if self.values.get(key, MISSING) is not expected:
            return False, None
        return (True, self.remove(key)) if value is MISSING else self.put(key, value, size)

    def empty(self) -> object:
        """Remove every entry under the lock, readers staying attached; return what was stored."""
        dropped = self.values.copy()
        self.values.clear()
        self._order = self._kind(math.inf)
        if self._uses is not None:
            self._uses.clear()
        self._sizes = {}
        self._used = 0
        return dropped

    def shut(self) -> object:
        """Remove every entry and take no more; return what was stored."""
        self._maxsize = 0
        return self.empty()

    def replace(self) -> None:
        """Begin empty: a thread that is no more may have left the order half-changed."""
        self.empty()

    def postpone(self, key: Hashable) -> None:
        """Have ``key`` removed when the write under way is over; nobody finds it from now on."""
        if key is MISSING:
            self.values.clear()
        else:
            self.values.pop(key, None)
        super().postpone(key)

    def _make_room(self, key: Hashable, size: int) -> list[Any]:
        """Evict until the entry fits, and count it; return what was evicted."""
        if self._uses:
            self._tell_uses(self._uses)
        dropped: list[Any] = []
        while self._lacks_room(key, size):
            evicted, _ = self._order.popitem()
            if self._max_bytes is not None:
                self._used -= self._sizes.pop(evicted)
            dropped += evicted, self.values.pop(evicted, None)
        if self._max_bytes is not None:
            self._used += size - self._sizes.get(key, 0)
            self._sizes[key] = size
        return dropped

    def _lacks_room(self, key: Hashable, size: int) -> bool:
        if len(self._order) >= self._maxsize and key not in self._order:
            return True
        return self._max_bytes is not None and self._used - self._sizes.get(key, 0) + size > self._max_bytes

    def _tell_uses(self, uses: deque[Any]) -> None:
        for _ in range(len(uses)):  # others go on adding
            self._order.get(uses.popleft())


def _forget(_key: Any) -> None:
    """Count no use."""

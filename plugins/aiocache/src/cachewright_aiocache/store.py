"""A store is aiocache's cache in memory together with what that lacks: a bound, and deadlines that hold."""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from cachewright.entry import MISSING
from cachewright.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Hashable

    from cachewright.engine import EngineConfig

    class SimpleMemoryCache:
        """What is used of aiocache's cache in memory, which is typed in part."""

        _cache: OrderedDict[Any, Any]

        def __init__(self, *, timeout: float | None) -> None: ...

else:
    from aiocache import SimpleMemoryCache

POLICIES: Final = ("clock", "fifo")

SWEEP: Final = 2
"""Overdue deadlines that one write looks after, at least one more than it can add."""

SLACK: Final = 64
"""Deadlines of entries that are no more, allowed beyond one for each entry."""


class Box:
    """One entry: aiocache takes a stored ``None`` for a miss, so nothing is stored unwrapped.

    Attributes:
        value: the object.
        deadline: when it ends, by the clock of the store; ``None`` for never.
        used: whether it was read since the eviction last passed by.
    """

    __slots__ = ("deadline", "used", "value")

    def __init__(self, value: object, deadline: float | None) -> None:
        self.value = value
        self.deadline = deadline
        self.used = False


class BoxCache(SimpleMemoryCache):
    """aiocache's cache in memory, whose entries are in order of their arrival.

    No ttl is passed on to it. It would set a timer of the running loop for each: those are lost with
    the loop, which makes entries immortal, and ``clear`` forgets them without cancelling, so that they
    delete what is stored later.
    """

    def __init__(self) -> None:
        super().__init__(timeout=None)
        self._cache = OrderedDict()

    @property
    def boxes(self) -> OrderedDict[Any, Box]:
        """The entries."""
        return self._cache


class Store(Guard):
    """Entries bounded by number or not at all, shared by the event loops of one cache.

    Writing happens under the lock of the guard. Reading takes no lock: it looks one key up, and notes
    in the entry that it was used. Whatever is displaced is taken out and returned, for the caller to
    drop: a finaliser inside the cache would find it half-changed.
    """

    __slots__ = ("_cache", "_config", "_due", "_maxsize", "_now", "_second_chance", "boxes")

    def __init__(self, config: EngineConfig) -> None:
        self._config = config  # kept, for the store is found by its identity
        self._now = config.clock.monotonic
        self._maxsize = math.inf if config.maxsize is None else config.maxsize
        self._second_chance = config.policy != "fifo"
        self._start()
        super().__init__()

    def __getitem__(self, key: Any, /) -> Any:
        """Return the stored object, which counts as a use; ``KeyError`` if there is none or it has ended."""
        box = self.boxes[key]
        if box.deadline is not None and not self._now() < box.deadline:
            raise KeyError(key)
        box.used = True
        return box.value

    def belongs_to(self, config: EngineConfig) -> bool:
        """Return whether this is the store for what was opened with the very object ``config``."""
        return self._config is config

    def put(self, key: Hashable, value: object, ttl: float | None) -> tuple[bool, list[Any]]:
        """Store an entry under the lock; return whether there is room at all, and what it displaced."""
        if self._maxsize < 1:
            return False, []
        now = self._now()
        dropped = self._sweep(now)
        old = self.boxes.get(key)
        if old is None and len(self.boxes) >= self._maxsize:
            dropped.append(self._evict())
        deadline = None if ttl is None or math.isinf(ttl) else now + ttl
        box = Box(value, deadline)
        box.used = old is not None  # overwriting is a use
        self.boxes[key] = box
        if deadline is not None:
            self._plan(key, deadline)
        return True, [*dropped, old]

    def take(self, key: Hashable) -> tuple[bool, Any]:
        """Remove the entry under the lock; return whether it was there and had not ended, and itself."""
        box = self.remove(key)
        return box is not None and self._lives(box), box

    def swap(self, key: Hashable, expected: Any, value: Any, ttl: float | None) -> tuple[bool, Any]:
        """Store or, for ``MISSING``, remove if ``expected`` is stored; return success, what it displaced."""
        box = self.boxes.get(key)
        current = box.value if box is not None and self._lives(box) else MISSING
        if current is not expected:
            return False, None
        return (True, self.remove(key)) if value is MISSING else self.put(key, value, ttl)

    def live_keys(self) -> list[Any]:
        """Return the keys of all entries that have not ended.

        It counts as a write, for listing an ordered dictionary compares keys.
        """
        return self.alone(self._listed) or []

    def remove(self, key: Hashable, /) -> Box | None:
        """Remove the entry under the lock and return it."""
        return self.boxes.pop(key, None)

    def empty(self) -> object:
        """Remove every entry under the lock; return what was stored."""
        dropped = self.boxes
        self._start()
        return dropped

    def replace(self) -> None:
        """Begin with an empty cache: a thread that is no more may have left this one half-changed."""
        self._start()

    def _listed(self) -> list[Any]:
        return [key for key, box in self.boxes.items() if self._lives(box)]

    def _start(self) -> None:
        self._cache = BoxCache()
        self._due: list[tuple[float, int, Any]] = []
        self.boxes = self._cache.boxes

    def _lives(self, box: Box) -> bool:
        return box.deadline is None or self._now() < box.deadline

    def _evict(self) -> Box | None:
        """Remove the oldest entry that was not read since it was last passed over, and return it."""
        boxes = self.boxes
        while self._second_chance:
            key = next(iter(boxes))
            box = boxes[key]
            if not box.used:
                break
            box.used = False
            boxes.move_to_end(key)
        return boxes.popitem(last=False)[1]

    def _plan(self, key: Hashable, deadline: float) -> None:
        # the number in the middle keeps keys from ever being compared
        heappush(self._due, (deadline, id(key), key))
        if len(self._due) > 2 * len(self.boxes) + SLACK:
            planned = [(box.deadline, id(key), key) for key, box in self.boxes.items()]
            self._due = [(deadline, number, key) for deadline, number, key in planned if deadline is not None]
            heapify(self._due)

    def _sweep(self, now: float) -> list[Any]:
        """Remove some of the entries that have ended, and return them: a few with every write."""
        dropped: list[Any] = []
        for _ in range(SWEEP):
            if not self._due or self._due[0][0] > now:
                break
            key = heappop(self._due)[2]
            box = self.boxes.get(key)
            if box is not None and box.deadline is not None and box.deadline <= now:
                dropped.append(self.remove(key))
        return dropped


_shared: WeakValueDictionary[int, Store] = WeakValueDictionary()
"""The stores in use, by the identity of the configuration that each of them keeps alive."""

_lock = threading.Lock()


def store_of(config: EngineConfig) -> Store:
    """Return the store of all engines that were opened with the very object ``config``.

    Equal configurations are not enough: two caches of one name, in a process, have nothing to do with
    each other.
    """
    with _lock:
        store = _shared.get(id(config))
        if store is None or not store.belongs_to(config):
            store = _shared[id(config)] = Store(config)
        return store


def _forked() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it, which the child does not have
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

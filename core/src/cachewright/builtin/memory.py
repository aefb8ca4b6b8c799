"""The memory engine: objects in this process, bounded by entries or bytes, with a choice of policies."""

from __future__ import annotations

import heapq
import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cachewright.builtin.policies import Fifo, Lfu, Lru, Policy, RandomReplacement, S3Fifo, Sieve
from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.errors import ClosedError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cachewright.engine import EngineConfig, Reader

POLICIES = ("s3-fifo", "lru", "lfu", "fifo", "rr", "sieve")

SWEEP = 8
"""Expired entries removed per write at the most, beyond those that have to make room."""


FORK_PATIENCE = 1.0
"""Seconds that a fork waits for a change under way in another thread."""


class MemoryEngine(Engine):
    """Entries in dictionaries of this process.

    Entries that were read since their policy last looked at them are *touched* and lie in ``_hot``; the
    others lie in ``_cold``, and move at their next read. The reader is ``_hot`` itself, so a hit on a
    touched entry is one look-up in a plain dictionary, without a lock. Policies for which reads make no
    difference keep everything in ``_hot``.

    Everything but the reader is done under one lock. Keys may run code of the user in ``__eq__`` and
    ``__hash__`` that comes back here in the same thread; values are let go only after the lock.
    """

    name = "memory"

    def __init__(self, config: EngineConfig) -> None:
        if config.options:
            raise ConfigurationError("options", dict(config.options), "none: engine 'memory' has no options")
        self._maxsize = config.maxsize
        self._max_bytes = config.max_bytes
        self._now = config.clock.monotonic
        self._hot: dict[Any, Any] = {}
        self._cold: dict[Any, Any] = {}
        self._sizes: dict[Any, int] = {}
        self._bytes = 0
        self._deadlines: dict[Any, float] = {}
        self._heap: list[tuple[float, int, Any]] = []
        self._heap_count = 0
        self._lock = threading.RLock()
        self._closed = False
        self._held = False
        self._policy, self._marks, self._counts = self._open_policy(config.policy)
        _engines.add(self)
        _watch_forks()

    def _open_policy(self, name: str | None) -> tuple[Policy | None, bool, bool]:
        """Return the policy, whether it needs marks, and whether it has to hear of every read."""
        if name is not None and name not in POLICIES:
            raise ConfigurationError("policy", name, "one of " + ", ".join(POLICIES))
        if self._maxsize is None and self._max_bytes is None:
            return None, False, False
        if name == "lru":
            return Lru(), False, True
        if name == "lfu":
            return Lfu(), False, True
        if name == "fifo":
            return Fifo(), False, False
        if name == "rr":
            return RandomReplacement(), False, False
        if name == "sieve":
            return Sieve(self._untouch), True, False
        return S3Fifo(self._untouch, self._maxsize), True, False

    def get(self, key: Any, /) -> Any:
        with self._lock:
            self._open()
            if self._deadlines and self._expired(key):
                gone = self._drop(key)  # noqa: F841 - let go after the lock
                return MISSING
            if key in self._hot:
                value = self._hot[key]
                if self._counts and self._policy is not None:
                    self._policy.used(key)
                return value
            value = self._cold.get(key, MISSING)
            if value is not MISSING:
                self._hot[key] = value
                del self._cold[key]
            return value

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        released: list[Any] = []  # values to let go after the lock: their __del__ may come back here
        with self._lock:
            self._open()
            if self._maxsize == 0 or (self._max_bytes is not None and size > self._max_bytes):
                released.append(self._drop(key))
                return False
            self._put(key, value, ttl, size, released)
        return True

    def delete(self, key: Any, /) -> bool:
        with self._lock:
            self._open()
            live = not self._expired(key)
            gone = self._drop(key)
        return live and gone is not MISSING

    def clear(self) -> None:
        with self._lock:
            self._open()
            released = self._empty()
        del released

    def keys(self) -> Iterator[Any]:
        with self._lock:
            self._open()
            found = [*self._hot, *self._cold]
            if self._deadlines:
                now = self._now()
                found = [key for key in found if self._deadlines.get(key, now + 1) > now]
        return iter(found)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            released = self._empty()
        del released

    def reader(self) -> Reader:
        return _CountingReader(self) if self._counts else self._hot

    def count(self) -> int:
        with self._lock:
            self._open()
            released: list[Any] = []
            self._sweep(released, None)
            count = len(self._hot) + len(self._cold)
        return count

    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        released: list[Any] = []
        with self._lock:
            self._open()
            found = self._hot.get(key, MISSING)
            if found is MISSING:
                found = self._cold.get(key, MISSING)
            if found is not MISSING and self._expired(key):
                found = MISSING
            if found is not expected:
                return False
            if value is MISSING:
                released.append(self._drop(key))
                return True
            if self._maxsize == 0 or (self._max_bytes is not None and size > self._max_bytes):
                return False
            self._put(key, value, ttl, size, released)
        return True

    # Inside, under the lock -----------------------------------------------------------------------------

    def _open(self) -> None:
        if self._closed:
            raise ClosedError("engine 'memory'")

    def _put(self, key: Any, value: Any, ttl: float | None, size: int, released: list[Any]) -> None:
        if self._heap:
            self._sweep(released, SWEEP)
        if key in self._hot:
            released.append(self._hot[key])
            self._hot[key] = value
            new = False
        elif key in self._cold:
            released.append(self._cold[key])
            self._cold[key] = value
            new = False
        else:
            new = True
            if self._policy is not None and self._maxsize is not None:
                while len(self._hot) + len(self._cold) >= self._maxsize:
                    released.append(self._evict())
        if self._max_bytes is not None:
            self._bytes += size - self._sizes.get(key, 0)
            if not new:
                self._sizes[key] = size
            while self._bytes > self._max_bytes and (self._hot or self._cold):
                released.append(self._evict())
            if new:
                self._sizes[key] = size
        if new:
            (self._cold if self._marks else self._hot)[key] = value
            if self._policy is not None:
                self._policy.added(key)
        if ttl is not None:
            deadline = self._now() + ttl
            self._deadlines[key] = deadline
            self._heap_count += 1
            heapq.heappush(self._heap, (deadline, self._heap_count, key))
            if len(self._heap) > 2 * len(self._deadlines) + 64:
                self._rebuild_heap()
        elif self._deadlines:
            self._deadlines.pop(key, None)

    def _drop(self, key: Any) -> Any:
        """Remove an entry and return its value, ``MISSING`` if there is none."""
        value = self._hot.pop(key, MISSING)
        if value is MISSING:
            value = self._cold.pop(key, MISSING)
        if value is not MISSING:
            if self._policy is not None:
                self._policy.removed(key)
            self._forget(key)
        return value

    def _evict(self) -> Any:
        """Remove the policy's victim and return its value."""
        assert self._policy is not None  # noqa: S101 - bounds come with a policy
        key = self._policy.victim()
        value = self._hot.pop(key, MISSING)
        if value is MISSING:
            value = self._cold.pop(key)
        self._forget(key)
        return value

    def _forget(self, key: Any) -> None:
        if self._max_bytes is not None:
            self._bytes -= self._sizes.pop(key, 0)
        if self._deadlines:
            self._deadlines.pop(key, None)

    def _untouch(self, key: Any) -> bool:
        """Clear the mark of an entry; return whether it was set."""
        value = self._hot.get(key, MISSING)
        if value is MISSING:
            return False
        self._cold[key] = value
        del self._hot[key]
        return True

    def _expired(self, key: Any) -> bool:
        deadline = self._deadlines.get(key)
        return deadline is not None and deadline <= self._now()

    def _sweep(self, released: list[Any], most: int | None) -> None:
        """Remove expired entries, at most so many."""
        heap, now = self._heap, self._now() if self._heap else 0.0
        while heap and heap[0][0] <= now and (most is None or most > 0):
            deadline, _, key = heapq.heappop(heap)
            if self._deadlines.get(key) == deadline:
                released.append(self._drop(key))
            if most is not None:
                most -= 1

    def _rebuild_heap(self) -> None:
        """Leave out what was overwritten or removed."""
        current: dict[Any, tuple[float, int, Any]] = {}
        for item in self._heap:
            if self._deadlines.get(item[2]) == item[0]:
                current[item[2]] = item
        self._heap = list(current.values())
        heapq.heapify(self._heap)

    def _empty(self) -> list[Any]:
        """Remove everything in place, for generated code holds the reader; return the values."""
        released = [*self._hot.values(), *self._cold.values()]
        self._hot.clear()
        self._cold.clear()
        self._sizes.clear()
        self._deadlines.clear()
        self._heap.clear()
        self._bytes = 0
        if self._policy is not None:
            self._policy.clear()
        return released

    def before_fork(self) -> None:
        """Wait for the change under way, so that a child finds whole entries."""
        self._held = self._lock.acquire(timeout=FORK_PATIENCE)

    def after_fork(self, *, in_child: bool) -> None:
        """Let go again; a child whose parent could not wait starts empty, and with a new lock."""
        if self._held:
            self._lock.release()
        elif in_child:
            self._lock = threading.RLock()
            self._empty()


class _CountingReader:
    """Reads for policies that have to hear of every read."""

    __slots__ = ("_get",)

    def __init__(self, engine: MemoryEngine) -> None:
        self._get = engine.get

    def __getitem__(self, key: Any, /) -> Any:
        value = self._get(key)
        if value is MISSING:
            raise KeyError(key)
        return value


_engines: WeakSet[MemoryEngine] = WeakSet()
_forks_watched = False


def _watch_forks() -> None:
    global _forks_watched  # noqa: PLW0603 - the hooks cannot be removed, so they are registered once
    if not _forks_watched and hasattr(os, "register_at_fork"):
        _forks_watched = True
        os.register_at_fork(
            before=lambda: _each(MemoryEngine.before_fork),
            after_in_parent=lambda: _each(lambda engine: engine.after_fork(in_child=False)),
            after_in_child=lambda: _each(lambda engine: engine.after_fork(in_child=True)),
        )


def _each(step: Callable[[MemoryEngine], None]) -> None:
    for engine in list(_engines):
        step(engine)

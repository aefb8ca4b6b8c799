"""The memory engine keeps objects in this process, within bounds of entries and of bytes."""

from __future__ import annotations

import os
import time
from functools import cache
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from cachewright.builtin.memory_contents import IDLE, LOOKING, SHUT, WRITING, Contents
from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.errors import ClosedError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cachewright.engine import EngineConfig, Reader

PATIENCE: Final = 1_000
"""Pieces of postponed work, which may postpone more, done before everything is dropped instead."""

FORK_PATIENCE: Final = 1.0
"""Seconds that a fork waits, at most and for all engines together, for changes under way."""


class MemoryEngine(Contents, Engine):
    """Objects under hashable keys; hits on ``reader()`` cost a dict look-up.

    One lock guards everything but the reader. Code that comes back here in the same thread while a
    method is at work (a key's ``__eq__`` or ``__hash__``, a finalizer, a signal handler) is told of a
    miss when it reads, and what it writes is done before that method returns. Keys that raise in the
    middle of a change cost the contents, never their consistency. What is removed is let go only when
    the lock has been released.

    After ``close`` the reader is empty and every other use raises :class:`ClosedError`.
    """

    name = "memory"

    def __init__(self, config: EngineConfig) -> None:
        """Open an empty engine.

        Raises:
            ConfigurationError: a bound is negative or no integer, the policy unknown, an option given.
        """
        if config.options:
            raise ConfigurationError("options", dict(config.options), "none: engine 'memory' has no options")
        self._lock = RLock()
        super().__init__(config, self._lock)
        self._reader = self._policy.reader
        visible = self._policy.visible
        self._hits: dict[Any, Any] = visible if self._reader is visible else {}
        self._postponed: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        _engines_of_this_process().add(self)

    def get(self, key: Any, /) -> Any:
        """Return the object stored under ``key``, or ``MISSING``."""
        if self._expiry is None:
            value = self._hits.get(key, MISSING)
            if value is not MISSING:
                return value
        trash: list[Any] = []
        with self._lock:
            if self._state:
                self._check_open()
                return MISSING
            self._state = LOOKING
            try:
                expiry = self._expiry
                if expiry is not None:
                    deadline = expiry.deadlines.get(key)
                    if deadline is not None and deadline <= self._now():
                        self._state = WRITING
                        self._drop(key, trash)
                        return MISSING
                return self._policy.get(key)
            except BaseException:
                self._repair(trash)
                raise
            finally:
                self._state = IDLE
                if self._postponed:
                    self._settle(trash)

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store ``value``; see :meth:`Engine.set`. A ttl that is not above 0 removes the entry."""
        trash: list[Any] = []
        with self._lock:
            if self._state:
                return self._postpone_set(key, value, ttl, size)
            self._state = LOOKING
            try:
                if not self._plain or ttl is not None or value is MISSING:
                    return self._store(key, value, ttl, size, trash)
                policy = self._policy
                old = policy.replace(key, value)
                if old is MISSING:
                    self._state = WRITING
                    if len(policy) >= self._maxsize:
                        old = policy.evict()
                        if old is None:
                            self._reset(trash)
                    policy.insert(key, value)
            except BaseException:
                self._repair(trash)
                raise
            finally:
                self._state = IDLE
                if self._postponed:
                    self._settle(trash)
        return True

    def delete(self, key: Any, /) -> bool:
        """Remove the entry; return whether there was one that had not expired."""
        return bool(self._exclusively(self._delete, (key,), lambda: self._postpone_delete(key)))

    def clear(self) -> None:
        """Remove every entry; the reader stays the same object."""
        self._exclusively(self._reset, (), lambda: self._postpone_all(self._reset))

    def keys(self) -> Iterator[Any]:
        """Iterate over a snapshot of the keys that have not expired."""
        return iter(self._exclusively(self._live_keys, (), list))

    def close(self) -> None:
        """Drop everything; every later use but of the reader is an error."""
        with self._lock:
            if self._state != SHUT:
                self._exclusively(self._shut, (), lambda: self._postpone_all(self._shut))

    def reader(self) -> Reader:
        """Return the fastest read: a dict, or for lru and lfu an object that notes every use.

        It knows nothing of the ttl given to :meth:`set`, and may miss what :meth:`get` finds.
        """
        return self._reader

    def count(self) -> int:
        """Return the number of entries that have not expired."""
        return int(self._exclusively(self._live_count, (), self._policy.__len__))

    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        """Store ``value`` if the very object ``expected`` is stored; see the contract.

        For code that another method of this engine is running, nothing is ever as expected.
        """
        return bool(self._exclusively(self._compare, (key, expected, value, ttl, size), bool))

    # One at a time: the lock, and what comes back in the same thread --------------------------------

    def _exclusively(
        self, work: Callable[..., Any], arguments: tuple[Any, ...], otherwise: Callable[[], Any]
    ) -> Any:
        """Do ``work``, or ``otherwise`` if this thread is inside of another method already."""
        trash: list[Any] = []
        with self._lock:
            if self._state:
                self._check_open()
                return otherwise()
            self._state = LOOKING
            try:
                return work(*arguments, trash)
            except BaseException:
                self._repair(trash)
                raise
            finally:
                self._rest()
                if self._postponed:
                    self._settle(trash)

    def _rest(self) -> None:
        if self._state != SHUT:
            self._state = IDLE

    def _check_open(self) -> None:
        if self._state == SHUT:
            raise ClosedError("engine 'memory'")

    def _postpone_set(self, key: Any, value: Any, ttl: float | None, size: int) -> bool:
        self._check_open()
        self._postponed.append((self._store, (key, value, ttl, size)))
        self._hide(key)
        return self._admits(value, ttl, size)

    def _postpone_delete(self, key: Any) -> bool:
        self._postponed.append((self._delete, (key,)))
        held = self._policy.peek(key) is not MISSING
        self._hide(key)
        return held

    def _postpone_all(self, work: Callable[..., Any]) -> None:
        self._postponed.append((work, ()))
        # The values go on living for the moment: one of their finalizers may be what called.
        self._postponed.append((_nothing, tuple(self._policy.visible.values())))
        self._policy.visible.clear()

    def _hide(self, key: Any) -> None:
        """Let the reader miss ``key`` from now on; what is postponed does the rest."""
        self._postponed.append((_nothing, (self._policy.hide(key),)))

    def _settle(self, trash: list[Any]) -> None:
        """Do what was postponed, and what that postpones."""
        patience = PATIENCE
        while self._postponed:
            pending, self._postponed = self._postponed, []
            trash.append(pending)
            self._state = WRITING
            try:
                patience -= len(pending)
                if patience < 0:
                    self._abandon(trash)
                    return
                for work, arguments in pending:
                    work(*arguments, trash)
                self._policy.tidy()
            except BaseException:
                self._abandon(trash)
                raise
            finally:
                self._rest()

    def _abandon(self, trash: list[Any]) -> None:
        """Drop what is postponed, and everything else, so that nothing is left that should be gone."""
        self._reset(trash)
        trash.append(self._postponed)
        self._postponed = []

    def _repair(self, trash: list[Any]) -> None:
        """After a key has raised: drop everything unless it is certain that nothing had changed."""
        if self._state == WRITING or (self._max_bytes is not None and len(self._sizes) != len(self._policy)):
            self._reset(trash)

    def _shut(self, trash: list[Any]) -> None:
        self._reset(trash)
        self._state = SHUT

    def before_fork(self, deadline: float) -> RLock | None:
        """Wait until ``deadline`` for the change under way; return the lock if it is held now."""
        lock = self._lock
        return lock if lock.acquire(timeout=max(deadline - time.monotonic(), 0.0)) else None

    def after_fork_in_child(self) -> None:
        """Start over if a thread that the child does not have was in the middle of a change."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            return
        self._lock = self._policy.lock = RLock()
        self._postponed = []
        self._reset([])
        self._rest()


def _nothing(*_: Any) -> None:
    """Postponed only for the sake of what it holds."""


@cache
def _engines_of_this_process() -> WeakSet[MemoryEngine]:
    """Return the set of all engines, which every fork goes through; hooks cannot be removed."""
    engines: WeakSet[MemoryEngine] = WeakSet()
    held: dict[int, list[RLock]] = {}  # by thread: several may be forking

    def before() -> None:
        deadline = time.monotonic() + FORK_PATIENCE
        locks = [engine.before_fork(deadline) for engine in list(engines)]
        held[get_ident()] = [lock for lock in locks if lock is not None]

    def after_in_parent() -> None:
        for lock in held.pop(get_ident(), ()):
            lock.release()

    def after_in_child() -> None:
        after_in_parent()
        held.clear()
        for engine in list(engines):
            engine.after_fork_in_child()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after_in_parent, after_in_child=after_in_child)
    return engines

"""A guard lets one write happen at a time, for threads, for forks and for code that interrupts a write."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from cachewright.entry import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

PATIENCE: Final = 1.0
"""Seconds that a fork waits for writes to end. Afterwards the child starts with empty engines."""


IN_ORDER: Final = 0
BUSY: Final = 1
SPOILT: Final = 2


class Guard(ABC):
    """A lock that knows whether the thread that takes it is in the middle of a write already.

    Foreign code can interrupt a write in its own thread: a signal handler, a finaliser, a key's
    ``__eq__``. It must not touch the store then, for that is half-changed. What the interrupting code
    wants gone is postponed to the end of the interrupted write. If it raises, the store is spoilt, and
    emptied before the next write.

    A fork waits until no write is under way, so that the child inherits whole entries and free locks.

    A subclass is a store; its methods named here are called under the lock.
    """

    __slots__ = ("__weakref__", "late", "lock", "state")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.state: int = IN_ORDER
        self.late: list[Hashable] = []
        FORKS.watch(self)

    @abstractmethod
    def remove(self, key: Hashable, /) -> object:
        """Remove the entry under ``key``, if there is one."""

    @abstractmethod
    def empty(self) -> object:
        """Remove every entry, also from a store that is half-changed."""

    @abstractmethod
    def replace(self) -> None:
        """Begin anew, in a child, where a thread that is no more may hold the old store for ever."""

    def settle(self) -> None:  # noqa: B027 - most stores have nothing to wait for
        """Wait until no reader is inside the store; called before a fork."""

    def alone(self, work: Callable[..., T], /, *arguments: Any) -> T | None:
        """Return ``work(*arguments)``, done while nobody else writes; ``None``, undone, in mid-write.

        What ``work`` returns may hold objects that were displaced: the lock is free again by then, so
        that their finalisers may use the store.
        """
        if FORKS.pending:
            FORKS.let_pass()
        with self.lock:
            before = self.state
            if before == BUSY:
                return None
            after = SPOILT
            try:
                self.state = BUSY
                if before == SPOILT:
                    self.empty()
                result = work(*arguments)
                if self.late:
                    self.catch_up()
                after = IN_ORDER
                return result
            finally:
                # a Python context manager would not do: a signal handler may raise on the way into
                # its __exit__, whereas between the lines here nothing is called that lets one run
                try:
                    if self.late:
                        self.empty()
                        self.late = []
                finally:
                    self.state = after

    def postpone(self, key: Hashable) -> None:
        """Have ``key`` removed when the write that is under way is over; ``MISSING`` for every key."""
        self.late.append(key)

    def pause(self, seconds: float) -> bool:
        """Keep writers out, waiting at most so long for them; return whether that worked."""
        if not self.lock.acquire(timeout=seconds):
            return False
        self.settle()
        return True

    def resume(self) -> None:
        """Let writers in again."""
        self.lock.release()

    def renew(self) -> None:
        """Forget the lock and the entries of a write that was under way in another thread."""
        self.lock = threading.RLock()
        self.state = IN_ORDER
        self.late = []
        self.replace()

    def catch_up(self) -> None:
        """Remove what was postponed, at the end of a write."""
        while self.late:
            key = self.late[0]
            try:
                self.empty() if key is MISSING else self.remove(key)
            except Exception:  # noqa: BLE001 - a key's __eq__ may raise anything, and its entry has to go
                self.empty()
            del self.late[0]  # others may have been added meanwhile


class Forks:
    """The guards of this process, paused while it forks."""

    def __init__(self) -> None:
        self.pending = False
        """Whether a fork waits for writes to end, so that others should not begin."""
        self._guards: WeakSet[Guard] = WeakSet()
        self._lock = threading.RLock()
        self._forking: int | None = None
        self._paused: list[Guard] = []
        self._busy: list[Guard] = []

    def watch(self, guard: Guard) -> None:
        """Have ``guard`` paused around forks for as long as it lives."""
        with self._lock:
            self._guards.add(guard)

    def let_pass(self) -> None:
        """Wait until a fork that is pending is over; locks are not fair, so that it could wait long."""
        with self._lock:
            pass

    def before(self) -> None:
        """Pause every guard whose writes end in time."""
        deadline = time.monotonic() + PATIENCE
        if not self._lock.acquire(timeout=PATIENCE):
            return
        self._forking = threading.get_ident()
        self.pending = True
        for guard in list(self._guards):
            paused = guard.pause(max(0.0, deadline - time.monotonic()))
            (self._paused if paused else self._busy).append(guard)

    def after_in_parent(self) -> None:
        """Go on."""
        if self._forking != threading.get_ident():
            return
        self.pending = False
        paused, self._paused, self._busy, self._forking = self._paused, [], [], None
        for guard in paused:
            guard.resume()
        self._lock.release()

    def after_in_child(self) -> None:
        """Go on, with empty stores where a write did not end in time."""
        if self._forking != threading.get_ident():  # another thread was forking, for very long
            self._lock, self.pending = threading.RLock(), False
            self._paused, self._busy, self._forking = [], list(self._guards), None
        for guard in self._busy:
            guard.renew()
        self.after_in_parent()


FORKS: Final = Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=FORKS.before,
        after_in_parent=FORKS.after_in_parent,
        after_in_child=FORKS.after_in_child,
    )

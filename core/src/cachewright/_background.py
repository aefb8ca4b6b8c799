"""The background is a few threads of the process that refresh values nobody waits for."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("cachewright")

WORKERS: Final = 16
"""Threads at the most; the first starts with the first piece of work."""

QUEUED: Final = 1024
"""Pieces of work that wait for a thread; more are turned down, and asked for again by a later call."""

IDLE_SECONDS: Final = 10.0
"""How long a thread without work stays."""


class Background:
    """A bounded pool of daemon threads: they keep no process from ending."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[Callable[[], None]] = deque()
        self._workers = 0
        self._idle = 0

    def submit(self, work: Callable[[], None], *, now: bool = False) -> bool:
        """Run ``work`` in a thread of the pool; return whether it will be.

        Args:
            work: must not raise.
            now: turn it down unless a thread is free for it: it may not wait for others.
        """
        with self._changed:
            free = self._idle - len(self._queue)
            if free > 0:
                self._queue.append(work)
                self._changed.notify()
                return True
            if self._workers < WORKERS:
                self._queue.append(work)
                self._workers += 1
                try:
                    threading.Thread(target=self._work, name="cachewright", daemon=True).start()
                except RuntimeError:  # the interpreter ends, or the system has no more threads
                    self._workers -= 1
                    self._queue.pop()
                    return False
                return True
            if now or len(self._queue) >= QUEUED:
                return False
            self._queue.append(work)
            return True

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue:
                    self._idle += 1
                    told = self._changed.wait(IDLE_SECONDS)
                    self._idle -= 1
                    if not told and not self._queue:
                        self._workers -= 1
                        return
                work = self._queue.popleft()
            try:
                work()
            except BaseException:  # nobody is there to raise it to, and the thread has more to do
                log.exception("a background refresh failed in an unexpected way")
            del work  # it may refer to a cache that nobody else does


_current: tuple[int, Background] | None = None


def background() -> Background:
    """Return the background of this process; a forked child has one of its own."""
    global _current  # noqa: PLW0603 - one pool per process, made on first use
    if _current is None or _current[0] != os.getpid():
        _current = (os.getpid(), Background())
    return _current[1]

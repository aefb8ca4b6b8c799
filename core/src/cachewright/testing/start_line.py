"""A start line is where threads meet before each round, so that they do the round at the same time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

PATIENCE = 60.0
"""Seconds after which a round, or an operation in it, counts as hung."""

SWITCH_SECONDS = 1e-6
"""How long a thread keeps the interpreter: as short as it gets, so that threads meet in mid-operation."""


class StartLine:
    """Where threads meet before each round.

    They wait awake, unlike at a barrier, so that none has ended a round of microseconds before the
    others are woken.
    """

    def __init__(self, threads: int) -> None:
        self._left = threads
        self._lock = threading.Lock()
        self._threads = threads
        self._round = -1
        self.broken = False

    def meet(self, turn: int) -> None:
        """Return when all threads have come to this round.

        Raises:
            BrokenBarrierError: another thread has given up, or they do not come.
        """
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._left = self._threads
                self._round = turn
        deadline = 0.0
        spins = 0
        while self._round != turn:
            time.sleep(0)
            spins += 1
            if spins % 1000 == 0:
                deadline = deadline or time.monotonic() + PATIENCE
                self.broken |= time.monotonic() > deadline
            if self.broken:
                raise threading.BrokenBarrierError


@contextmanager
def switching_eagerly() -> Generator[None, None, None]:
    """Have the interpreter switch threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)

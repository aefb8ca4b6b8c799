"""The expiry of an engine knows which of its entries have a deadline, and which is the next to end."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

from cachewright.entry import MISSING

SLACK = 64
"""Outdated items that are always allowed, beyond one for each deadline."""


class _Several(list[Any]):
    """Keys that share one deadline; unlike a plain list it can never be mistaken for a key."""

    __slots__ = ()


class Expiry:
    """Deadlines of keys, on a clock that the caller reads.

    About 130 bytes a deadline: the heap holds bare floats, not tuples, and each float leads to its
    key. Keys are never compared with one another.
    """

    __slots__ = ("_due", "_heap", "_outdated", "deadlines")

    def __init__(self) -> None:
        self.deadlines: dict[Any, float] = {}
        self._due: dict[float, Any] = {}
        self._heap: list[float] = []
        self._outdated = 0

    def plan(self, key: Any, deadline: float) -> None:
        """Let ``key`` end at ``deadline``, whatever was planned for it before."""
        planned = self.deadlines.get(key)
        if planned == deadline:
            return
        if planned is not None:
            self.forget(key)
        self.deadlines[key] = deadline
        held = self._due.get(deadline, MISSING)
        if held is MISSING:
            self._due[deadline] = key
            heappush(self._heap, deadline)
        elif type(held) is _Several:
            held.append(key)
        else:
            self._due[deadline] = _Several((held, key))

    def forget(self, key: Any) -> None:
        """Drop what was planned for ``key``, if anything."""
        deadline = self.deadlines.pop(key, None)
        if deadline is None:
            return
        if type(self._due.get(deadline)) is not _Several:
            self._due.pop(deadline, None)
        self._outdated += 1
        if self._outdated > len(self.deadlines) + SLACK:
            self._rebuild()

    def take(self, now: float) -> Any:
        """Return a key whose deadline has come, and forget it; ``MISSING`` if there is none."""
        heap, due = self._heap, self._due
        while heap and heap[0] <= now:
            deadline = heap[0]
            held = due.get(deadline, MISSING)
            if type(held) is _Several and held:
                key = held.pop()
            else:
                heappop(heap)
                due.pop(deadline, None)
                if held is MISSING or type(held) is _Several:
                    continue
                key = held
            if self.deadlines.get(key) == deadline:
                del self.deadlines[key]
                return key
        return MISSING

    def _rebuild(self) -> None:
        self._due, self._outdated = {}, 0
        for key, deadline in self.deadlines.items():
            held = self._due.get(deadline, MISSING)
            if held is MISSING:
                self._due[deadline] = key
            elif type(held) is _Several:
                held.append(key)
            else:
                self._due[deadline] = _Several((held, key))
        self._heap = list(self._due)
        heapify(self._heap)

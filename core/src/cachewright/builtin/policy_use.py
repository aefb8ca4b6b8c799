"""Policies that write down every use: least recently used, least frequently used."""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any

from cachewright.builtin.policy_queue import SLACK
from cachewright.entry import MISSING

if TYPE_CHECKING:
    from threading import RLock

    from cachewright.engine import Reader


PREVIOUS, NEXT, NAME, HELD = range(4)


class Lru:
    """Evicts the entry whose last use (get, overwriting or insertion) is the longest ago.

    A dict leads to the nodes ``[previous, next, key, value]`` of a ring, the oldest use first. Only
    the look-up can run code of a key, and it comes before the first link is changed; the ordered
    dict of the standard library looks keys up in the middle, and a key that then changes it is fatal.
    """

    __slots__ = ("_root", "lock", "visible")

    def __init__(self, lock: RLock) -> None:
        self.lock = lock
        self.visible: dict[Any, list[Any]] = {}
        self._root = _ring()

    @property
    def reader(self) -> Reader:
        """The policy itself: its subscript is a use."""
        return self

    def __getitem__(self, key: Any, /) -> Any:
        with self.lock:
            node = self.visible[key]
            root = self._root
            # The same lines as in _renew: a call would double the time.
            after = node[NEXT]
            if after is not root:
                before = node[PREVIOUS]
                before[NEXT], after[PREVIOUS] = after, before
                last = root[PREVIOUS]
                node[PREVIOUS], node[NEXT] = last, root
                last[NEXT] = root[PREVIOUS] = node
            return node[HELD]

    def __len__(self) -> int:
        return len(self.visible)

    def get(self, key: Any, /) -> Any:
        """Return the value and note its use."""
        node = self.visible.get(key)
        if node is None:
            return MISSING
        self._renew(node)
        return node[HELD]

    def peek(self, key: Any, /) -> Any:
        """Return the value."""
        node = self.visible.get(key)
        return MISSING if node is None else node[HELD]

    def replace(self, key: Any, value: Any, /) -> Any:
        """Replace the value, which is a use."""
        node = self.visible.get(key)
        if node is None:
            return MISSING
        self._renew(node)
        old, node[HELD] = node[HELD], value
        return old

    def insert(self, key: Any, value: Any, /) -> None:
        """Hold a new entry."""
        root = self._root
        node: list[Any] = [root, root, key, value]
        self.visible[key] = node
        last = root[PREVIOUS]
        node[PREVIOUS] = last
        last[NEXT] = root[PREVIOUS] = node

    def evict(self) -> tuple[Any, Any] | None:
        """Remove the entry that was used the longest ago."""
        root = self._root
        while root[NEXT] is not root:
            node: list[Any] = root[NEXT]
            popped = self.visible.pop(node[NAME], None)
            if popped is node:
                _unlink(node)
                return node[NAME], node[HELD]
            if root[NEXT] is node:  # otherwise it was hidden during the look-up
                break
        return None

    def pop(self, key: Any, /) -> Any:
        """Remove an entry."""
        node = self.visible.pop(key, None)
        if node is None:
            return MISSING
        _unlink(node)
        return node[HELD]

    hide = pop

    def tidy(self) -> None:
        """Nothing is left behind."""

    def clear(self) -> list[Any]:
        """Remove every entry."""
        held = [*self.visible, *self.visible.values()]
        self.visible.clear()
        root = self._root
        while root[NEXT] is not root:
            _unlink(root[NEXT])
        return held

    def keys(self) -> list[Any]:
        """Return the keys."""
        return list(self.visible)

    def _renew(self, node: list[Any]) -> None:
        root = self._root
        after = node[NEXT]
        if after is not root:
            before = node[PREVIOUS]
            before[NEXT], after[PREVIOUS] = after, before
            last = root[PREVIOUS]
            node[PREVIOUS], node[NEXT] = last, root
            last[NEXT] = root[PREVIOUS] = node


def _ring() -> list[Any]:
    root: list[Any] = []
    root += (root, root, None, None)
    return root


def _unlink(node: list[Any]) -> None:
    """Take a node out of its ring, and out of every cycle of references; once more does no harm."""
    before, after = node[PREVIOUS], node[NEXT]
    if before is not None:
        before[NEXT], after[PREVIOUS] = after, before
        node[PREVIOUS] = node[NEXT] = None


RANK, BORN, KEY, VALUE, USES = range(5)


class Lfu:
    """Evicts the entry with the fewest uses (gets and overwritings), the oldest of several.

    Counts never fade: what was popular once stays until it is outnumbered.

    An entry is one list ``[rank, born, key, value, uses]`` that is an item of a heap as well: lists
    compare by rank, then by the unique number of their birth, and never get as far as the key. A use
    only counts; the rank, which may lag behind, is brought up to date when it comes to the top.
    """

    __slots__ = ("_births", "_heap", "lock", "visible")

    def __init__(self, lock: RLock) -> None:
        self.lock = lock
        self.visible: dict[Any, list[Any]] = {}
        self._heap: list[list[Any]] = []
        self._births = 0

    @property
    def reader(self) -> Reader:
        """The policy itself: its subscript is a use."""
        return self

    def __getitem__(self, key: Any, /) -> Any:
        with self.lock:
            held = self.visible[key]
            held[USES] += 1
            return held[VALUE]

    def __len__(self) -> int:
        return len(self.visible)

    def get(self, key: Any, /) -> Any:
        """Return the value and count its use."""
        held = self.visible.get(key)
        if held is None:
            return MISSING
        held[USES] += 1
        return held[VALUE]

    def peek(self, key: Any, /) -> Any:
        """Return the value."""
        held = self.visible.get(key)
        return MISSING if held is None else held[VALUE]

    def replace(self, key: Any, value: Any, /) -> Any:
        """Replace the value, which is a use."""
        held = self.visible.get(key)
        if held is None:
            return MISSING
        held[USES] += 1
        old, held[VALUE] = held[VALUE], value
        return old

    def insert(self, key: Any, value: Any, /) -> None:
        """Hold a new entry, as yet unused."""
        self._births += 1
        held = [0, self._births, key, value, 0]
        self.visible[key] = held
        heappush(self._heap, held)

    def evict(self) -> tuple[Any, Any] | None:
        """Remove the entry with the fewest uses."""
        heap = self._heap
        while heap:
            least = heap[0]
            if self.visible.get(least[KEY]) is not least:
                heappop(heap)
            elif least[RANK] != least[USES]:
                least[RANK] = least[USES]
                heapreplace(heap, least)
            else:
                heappop(heap)
                self.visible.pop(least[KEY], None)  # it may have been hidden meanwhile
                return least[KEY], least[VALUE]
        return None

    def pop(self, key: Any, /) -> Any:
        """Remove an entry."""
        held = self.visible.pop(key, None)
        if held is None:
            return MISSING
        # The heap may keep the list for a while, but not what the entry held.
        value, held[VALUE] = held[VALUE], MISSING
        self.tidy()
        return value

    def hide(self, key: Any, /) -> Any:
        """Remove an entry from what the reader sees."""
        return self.visible.pop(key, MISSING)

    def tidy(self) -> None:
        """Take out of the heap what is not held any more, once that is more than what is."""
        if len(self._heap) > 2 * len(self.visible) + SLACK:
            self._heap = list(self.visible.values())
            heapify(self._heap)

    def clear(self) -> list[Any]:
        """Remove every entry."""
        held = [*self.visible, self._heap]
        self.visible.clear()
        self._heap = []
        return held

    def keys(self) -> list[Any]:
        """Return the keys."""
        return list(self.visible)

"""An eviction policy keeps the order of a memory engine's keys and names the next one to go."""

from __future__ import annotations

from collections import OrderedDict
from random import random
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL_PERCENT = 15
"""Share of the entries that S3-FIFO keeps on trial."""


class Policy(Protocol):
    """What the memory engine tells a policy, and asks of it; always under the engine's lock."""

    def added(self, key: Any) -> None:
        """Note a new key."""
        ...

    def removed(self, key: Any) -> None:
        """Forget a key that was removed by other means than :meth:`victim`."""
        ...

    def used(self, key: Any) -> None:
        """Note a read; only told to policies that count."""
        ...

    def victim(self) -> Any:
        """Forget the key that has to go, and return it; there is at least one."""
        ...

    def clear(self) -> None:
        """Forget every key."""
        ...


class Fifo:
    """First in, first out."""

    def __init__(self) -> None:
        self._order: OrderedDict[Any, None] = OrderedDict()

    def added(self, key: Any) -> None:
        self._order[key] = None

    def removed(self, key: Any) -> None:
        self._order.pop(key, None)

    def used(self, key: Any) -> None:
        """Reads make no difference."""

    def victim(self) -> Any:
        return self._order.popitem(last=False)[0]

    def clear(self) -> None:
        self._order.clear()


class Lru(Fifo):
    """The key whose last read or insertion is the longest ago."""

    def used(self, key: Any) -> None:
        self._order.move_to_end(key)


class Lfu:
    """The key with the fewest reads, the oldest of several."""

    def __init__(self) -> None:
        self._uses: dict[Any, int] = {}
        self._groups: dict[int, OrderedDict[Any, None]] = {}

    def added(self, key: Any) -> None:
        self._uses[key] = 0
        self._groups.setdefault(0, OrderedDict())[key] = None

    def removed(self, key: Any) -> None:
        uses = self._uses.pop(key, None)
        if uses is not None:
            self._leave(key, uses)

    def used(self, key: Any) -> None:
        uses = self._uses[key]
        self._leave(key, uses)
        self._uses[key] = uses + 1
        self._groups.setdefault(uses + 1, OrderedDict())[key] = None

    def victim(self) -> Any:
        key = next(iter(self._groups[min(self._groups)]))
        self.removed(key)
        return key

    def clear(self) -> None:
        self._uses.clear()
        self._groups.clear()

    def _leave(self, key: Any, uses: int) -> None:
        group = self._groups[uses]
        del group[key]
        if not group:
            del self._groups[uses]


class RandomReplacement:
    """Any key, each as likely as the others."""

    def __init__(self) -> None:
        self._keys: list[Any] = []
        self._places: dict[Any, int] = {}

    def added(self, key: Any) -> None:
        self._places[key] = len(self._keys)
        self._keys.append(key)

    def removed(self, key: Any) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            last = self._keys.pop()
            if place < len(self._keys):
                self._keys[place] = last
                self._places[last] = place

    def used(self, key: Any) -> None:
        """Reads make no difference."""

    def victim(self) -> Any:
        key = self._keys[int(random() * len(self._keys))]  # noqa: S311 - a victim keeps no secret
        self.removed(key)
        return key

    def clear(self) -> None:
        self._keys.clear()
        self._places.clear()


class Sieve(Fifo):
    """SIEVE (Zhang et al., NSDI 2024): the hand passes from old to new and starts again."""

    def __init__(self, untouch: Callable[[Any], bool]) -> None:
        super().__init__()
        self._untouch = untouch
        self._behind: OrderedDict[Any, None] = OrderedDict()

    def removed(self, key: Any) -> None:
        self._order.pop(key, None)
        self._behind.pop(key, None)

    def victim(self) -> Any:
        while True:
            if not self._order:
                self._order, self._behind = self._behind, self._order
            key = self._order.popitem(last=False)[0]
            if not self._untouch(key):
                return key
            self._behind[key] = None

    def clear(self) -> None:
        self._order.clear()
        self._behind.clear()


class S3Fifo:
    """S3-FIFO (Yang et al., SOSP 2023): new keys are on trial, those that come back stay longer."""

    def __init__(self, untouch: Callable[[Any], bool], maxsize: int | None) -> None:
        self._untouch = untouch
        self._maxsize = maxsize
        self._small: OrderedDict[Any, None] = OrderedDict()
        self._main: OrderedDict[Any, None] = OrderedDict()
        self._ghosts: OrderedDict[int, None] = OrderedDict()

    def added(self, key: Any) -> None:
        if self._ghosts.pop(hash(key), 0) is None:
            self._main[key] = None
        else:
            self._small[key] = None

    def removed(self, key: Any) -> None:
        self._small.pop(key, None)
        self._main.pop(key, None)

    def used(self, key: Any) -> None:
        """The engine's marks tell."""

    def victim(self) -> Any:
        small, main = self._small, self._main
        while True:
            if small and (not main or len(small) * 100 >= (len(small) + len(main)) * SMALL_PERCENT):
                key = small.popitem(last=False)[0]
                if not self._untouch(key):
                    self._remember(hash(key))
                    return key
            else:
                key = main.popitem(last=False)[0]
                if not self._untouch(key):
                    return key
            main[key] = None

    def clear(self) -> None:
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()

    def _remember(self, digest: int) -> None:
        self._ghosts[digest] = None
        while len(self._ghosts) > (self._maxsize or len(self._small) + len(self._main)):
            self._ghosts.popitem(last=False)

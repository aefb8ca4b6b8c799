"""What a cache has last seen of an engine is served while that engine is down, where that was asked for."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from cachewright._steps import FAILED
from cachewright.entry import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cachewright._steps import Ask

ENTRIES: Final = 1024
"""Stored forms that are kept; beyond it the oldest goes."""


class LastSeen:
    """The latest stored forms that an engine returned, by key.

    What this process writes or removes is forgotten at once, whether or not the engine could be told: so
    an invalidation holds here even while the engine is down.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[bool, Any], Any] = OrderedDict()

    def note(self, ask: Ask, answer: Any) -> None:
        """Remember what an engine answered to a look-up."""
        if ask.method == "get":
            self._keep(ask.aside, ask.args[0], answer)
        elif ask.method == "get_many":
            for key in ask.args[0]:
                self._keep(ask.aside, key, answer.get(key, MISSING))

    def forget(self, ask: Ask) -> None:
        """Forget what a write is about to change."""
        if ask.method in {"set", "delete", "compare_and_set"}:
            self._seen.pop((ask.aside, ask.args[0]), None)
        elif ask.method in {"set_many", "compare_and_set_many"}:
            entries: Iterable[Any] = ask.args[0]
            for key, *_ in entries:
                self._seen.pop((ask.aside, key), None)
        elif ask.method == "clear":
            self._seen.clear()

    def recall(self, ask: Ask) -> Any:
        """Return what an engine would have answered to a look-up, as far as it is known; else ``FAILED``."""
        if ask.method == "get":
            return self._seen.get((ask.aside, ask.args[0]), FAILED)
        if ask.method == "get_many":
            found = {key: self._seen.get((ask.aside, key), MISSING) for key in ask.args[0]}
            return {key: stored for key, stored in found.items() if stored is not MISSING}
        return FAILED

    def _keep(self, aside: bool, key: Any, stored: Any) -> None:  # noqa: FBT001 - part of the key
        place = (aside, key)
        self._seen.pop(place, None)
        if stored is not MISSING:
            self._seen[place] = stored
            if len(self._seen) > ENTRIES:
                self._seen.popitem(last=False)

"""A tag is a name that several entries share, so that they can be invalidated together.

Among the objects of one process an index leads from a tag to its keys. In a store of bytes every tag
has a token in the companion of the store; an entry remembers the tokens of its tags as they were before
it was computed, and is no longer used when one of them has changed. A token that the store has lost
counts as changed.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

TOKEN_SIZE: Final = 16

EPOCH: Final = ""
"""Stands for all tags together: its token changes before that of any tag does. A result that chooses its
tags itself was computed before anybody could know them, so it is bound to the epoch. No tag is empty."""

SPARE: Final = 1024
"""Keys of evicted entries that an index may keep, beyond as many as there are entries."""


def new_token() -> bytes:
    """Return a token that no tag has had."""
    return os.urandom(TOKEN_SIZE)


def checked_tags(tags: object) -> tuple[str, ...]:
    """Return tags as a tuple, each once.

    Raises:
        TypeError: something else than texts that are not empty.
    """
    if isinstance(tags, str):
        tags = (tags,)
    try:
        several = tuple(cast("Iterable[object]", tags))
    except TypeError:
        several = (tags,)
    unique: dict[str, None] = {}
    for tag in several:
        if not isinstance(tag, str) or not tag:
            message = f"a tag is a text that is not empty, not {tag!r:.80}"
            raise TypeError(message)
        unique[tag] = None
    return tuple(unique)


Mark: TypeAlias = "list[str] | None"
"""Stands for one entry: not for its key, and not for another one with equal tags."""


class TagIndex:
    """Leads from tags to keys, and back; for engines of objects."""

    __slots__ = ("__weakref__", "_keys", "_lock", "_tags")

    def __init__(self) -> None:
        self._lock = threading.RLock()  # keys may run user code that comes back here
        self._keys: dict[str, set[Hashable]] = {}
        self._tags: dict[Hashable, list[str]] = {}

    def __len__(self) -> int:
        return len(self._tags)

    def put(self, key: Hashable, tags: tuple[str, ...]) -> None:
        """Note the tags of an entry, in place of those it had."""
        with self._lock:
            self._forget(key)
            if tags:
                self._tags[key] = list(tags)  # an object of its own, by which the entry is known again
                for tag in tags:
                    self._keys.setdefault(tag, set()).add(key)

    def mark(self, key: Hashable) -> Mark:
        """Return what stands for the entry that is known now, for :meth:`forget`."""
        return self._tags.get(key) if self._tags else None

    def forget(self, key: Hashable, mark: Mark) -> None:
        """Forget an entry that was removed, unless another one has come in its place since ``mark``."""
        if mark is not None:
            with self._lock:
                if self._tags.get(key) is mark:
                    self._forget(key)

    def forget_all(self, noted: dict[Hashable, list[str]]) -> None:
        """Forget the entries that :meth:`noted` returned, unless others have come in their place."""
        for key, mark in noted.items():
            self.forget(key, mark)

    def tags(self, key: Hashable) -> tuple[str, ...]:
        """Return the tags of an entry."""
        return tuple(self._tags.get(key, ())) if self._tags else ()

    def keys(self, tags: Iterable[str]) -> list[Hashable]:
        """Return the keys of the entries that have one of the tags."""
        with self._lock:
            return list({key: None for tag in tags for key in self._keys.get(tag, ())})

    def crowded(self, entries: int) -> bool:
        """Whether many of the keys must belong to entries that were evicted."""
        return len(self._tags) > 2 * entries + SPARE

    def noted(self) -> dict[Hashable, list[str]]:
        """Return what is known now, for :meth:`since`."""
        with self._lock:
            return dict(self._tags)

    def since(self, noted: dict[Hashable, list[str]]) -> list[Hashable]:
        """Return the keys of the entries that were stored after :meth:`noted` returned."""
        with self._lock:
            return [key for key, tags in self._tags.items() if noted.get(key) is not tags]

    def retain(self, stored: Callable[[], Iterable[Hashable]]) -> None:
        """Forget the entries that are not stored any more."""
        with self._lock:
            for key in set(self._tags).difference(stored()):
                self._forget(key)

    def reset_after_fork(self) -> None:
        """Replace the lock, which a thread that is not in the child may have held."""
        self._lock = threading.RLock()

    def _forget(self, key: Hashable) -> None:
        for tag in self._tags.pop(key, ()):
            keys = self._keys.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._keys[tag]

"""Transfers between a cache and an archive of the user's own: klepto's load and dump, by explicit call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class OpenCache(Protocol):
    """What is used of an open cache."""

    def __iter__(self) -> Iterator[Any]: ...
    def get(self, key: Any, default: Any = None) -> Any: ...
    def set(self, key: Any, value: Any) -> bool: ...


class OpenArchive(Protocol):
    """What is used of an archive, with or without klepto's cache in front of it."""

    @property
    def archive(self) -> Any:
        """The archive itself, whatever is in front of it."""
        ...


def load(cache: OpenCache, archive: OpenArchive, *keys: Any) -> int:
    """Store entries of a klepto archive in an open cache, under the same keys; return how many.

    **klepto decodes them in its own way, which for most archives means that it unpickles or imports what
    is stored.** Do this only with archives that nobody else could have written. Nothing else in this
    package does.

    Args:
        cache: an open cache; its ttl applies. A key that it cannot make a digest of raises.
        archive: an archive of klepto. If it is cached, what was not yet dumped is not seen.
        keys: the keys as they are in the archive; none for all. Absent ones are left out.
    """
    store = archive.archive
    wanted: Iterable[Any] = keys or list(store.keys())
    return sum(cache.set(key, value) for key, value in _found(store, wanted))


def dump(cache: OpenCache, archive: OpenArchive, *keys: Any) -> int:
    """Store entries of an open cache in a klepto archive, under the same keys; return how many.

    klepto encodes them in its own way, and reading them back from there is a matter of trust again.
    Deadlines and tags stay behind. Keys of decorated functions are no keys of the cache itself.

    Args:
        cache: an open cache.
        archive: an archive of klepto. If it is cached, what is in front of it is passed by.
        keys: the keys as they are in the cache; none for all that it can list. Absent ones are left out.
    """
    absent = object()
    stored = 0
    for key in keys or list(cache):
        value = cache.get(key, absent)
        if value is not absent:
            archive.archive[key] = value
            stored += 1
    return stored


def _found(store: Mapping[Any, Any], keys: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for key in keys:
        try:
            yield key, store[key]
        except KeyError:  # klepto says so, too, of an entry that it cannot decode
            continue

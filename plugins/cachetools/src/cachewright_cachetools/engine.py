"""The cachetools engine keeps objects in this process; a cachetools cache decides which of them goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError
from cachewright_cachetools.store import POLICIES, Store

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from cachewright.engine import EngineConfig, Reader


class CachetoolsEngine(Engine):
    """Objects in this process, bounded by number, by size, by both or not at all.

    Evicts the least recently used entry unless another policy is asked for. Every engine has a store
    of its own, so namespaces cannot meet. Closing drops the entries; a closed engine stores nothing.

    Reading takes no lock. Stored objects may use the engine in their finalisers. What code writes that
    interrupts a write of its own thread is not stored; what it overwrites or deletes is gone at once.
    """

    name: ClassVar[str] = "cachetools"

    def __init__(self, config: EngineConfig) -> None:
        _check(config)
        self._store = Store(config.policy or "lru", config.maxsize, config.max_bytes)

    def get(self, key: Hashable, /) -> Any:
        """Return the stored object, which counts as a use, or ``MISSING``."""
        try:
            return self._store[key]
        except KeyError:
            return MISSING

    def set(self, key: Hashable, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the object; the caller keeps to ``ttl``, see :meth:`Engine.set`."""
        hash(key)  # an unhashable key is refused before anything is touched
        done = self._store.alone(self._store.put, key, value, size)
        if done is None:
            self._store.postpone(key)
            return False
        return done[0]

    def delete(self, key: Hashable, /) -> bool:
        """Remove the entry; return whether there was one."""
        hash(key)
        old = self._store.alone(self._store.take, key)
        if old is None:
            self._store.postpone(key)
            return False
        return bool(old)

    def clear(self) -> None:
        """Remove every entry; readers stay attached."""
        if self._store.alone(self._store.empty) is None:
            self._store.postpone(MISSING)

    def keys(self) -> Iterator[Any]:
        """Iterate over a snapshot of the stored keys, in no particular order."""
        return iter(list(self._store.values))

    def count(self) -> int:
        """Return the number of entries."""
        return len(self._store.values)

    def reader(self) -> Reader:
        """Return what to subscript; for the policies that go by uses, that counts as one."""
        return self._store.reader

    def compare_and_set(
        self, key: Hashable, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        """Store ``value`` only if the very object ``expected`` is stored now."""
        hash(key)
        done = self._store.alone(self._store.swap, key, expected, value, size)
        return done is not None and done[0]

    def close(self) -> None:
        """Drop the entries and store nothing from now on."""
        if self._store.alone(self._store.shut) is None:
            self._store.postpone(MISSING)


def _check(config: EngineConfig) -> None:
    for option, value in config.options.items():
        raise ConfigurationError(f"options[{option!r}]", value, "no options for the cachetools engine")
    if config.policy is not None and config.policy not in POLICIES:
        raise ConfigurationError("policy", config.policy, f"one of {', '.join(POLICIES)}")
    for setting in ("maxsize", "max_bytes"):
        bound = getattr(config, setting)
        if bound is not None and bound < 0:
            raise ConfigurationError(setting, bound, "a number from 0, or None for no bound")

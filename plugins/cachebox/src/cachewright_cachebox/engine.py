"""The cachebox engine keeps objects in a compiled cache of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError
from cachewright_cachebox.store import POLICIES, Store

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from cachewright.engine import EngineConfig, Reader


class CacheboxEngine(Engine):
    """Objects in a cachebox cache, bounded by number, by size, by both or not at all.

    Evicts the least recently used entry unless another policy is asked for. Every engine has a store
    of its own, so namespaces cannot meet. Closing drops the entries; a closed engine stores nothing.

    Stored objects may use the engine in their finalisers. Code that interrupts a write of its own
    thread may read; what it writes is not stored, and what it overwrites or deletes is gone when the
    interrupted write is over. A key whose own ``__eq__`` uses the cache that it is a key of waits for
    ever.
    """

    name: ClassVar[str] = "cachebox"

    def __init__(self, config: EngineConfig) -> None:
        _check(config)
        self._store = Store(config.policy or "lru", config.maxsize, config.max_bytes)

    def get(self, key: Hashable, /) -> Any:
        """Return the stored object, which counts as a use, or ``MISSING``."""
        return self._store.items.get(key, MISSING)

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
        # a copy, because iterating over a store that others read or write raises
        return iter(list(self._store.items.copy().keys()))

    def count(self) -> int:
        """Return the number of entries."""
        return len(self._store.items)

    def reader(self) -> Reader:
        """Return the compiled cache itself; subscripting it counts as a use."""
        return cast("Reader", self._store.items)

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
        raise ConfigurationError(f"options[{option!r}]", value, "no options for the cachebox engine")
    if config.policy is not None and config.policy not in POLICIES:
        raise ConfigurationError("policy", config.policy, f"one of {', '.join(POLICIES)}")
    for setting in ("maxsize", "max_bytes"):
        bound = getattr(config, setting)
        if bound is not None and bound < 0:
            raise ConfigurationError(setting, bound, "a number from 0, or None for no bound")

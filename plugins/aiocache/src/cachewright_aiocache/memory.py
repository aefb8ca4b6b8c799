"""The aiocache engine keeps objects in aiocache's cache in memory, for the event loops of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cachewright.engine import AsyncEngine
from cachewright.entry import MISSING
from cachewright.errors import ClosedError, ConfigurationError
from cachewright_aiocache.store import POLICIES, Store, store_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable

    from cachewright.engine import EngineConfig


class AiocacheEngine(AsyncEngine):
    """Objects in a :class:`aiocache.SimpleMemoryCache`, bounded by number or not at all.

    Engines that were opened with the same configuration object share their entries. The entries are
    dropped when the last of these engines is closed.

    Operations never wait, so they cannot be cancelled half-way. Stored objects may use the engine in
    their finalisers. Code that interrupts a write of its own thread finds what is there at that
    moment; what it writes is not stored, and what it overwrites or deletes is gone when the
    interrupted write is over.
    """

    name: ClassVar[str] = "aiocache"

    def __init__(self, config: EngineConfig) -> None:
        _check(config)
        self._now = config.clock.monotonic
        self._store: Store | None = store_of(config)

    async def get(self, key: Hashable, /) -> Any:
        """Return the stored object, or ``MISSING``."""
        store = self._store
        if store is None:
            raise _closed()
        box = store.boxes.get(key)
        if box is None:
            return MISSING
        if box.deadline is None or self._now() < box.deadline:
            box.used = True
            return box.value
        return MISSING

    async def set(self, key: Hashable, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the object; False only with ``maxsize=0``, see :meth:`AsyncEngine.set`."""
        hash(key)  # an unhashable key is refused before anything is touched
        store = self._open_store()
        done = store.alone(store.put, key, value, ttl)
        if done is None:
            store.postpone(key)
            return False
        return done[0]

    async def delete(self, key: Hashable, /) -> bool:
        """Remove the entry; return whether there was one."""
        hash(key)
        store = self._open_store()
        done = store.alone(store.take, key)
        if done is None:
            store.postpone(key)
            return False
        return done[0]

    async def clear(self) -> None:
        """Remove every entry, in all event loops."""
        store = self._open_store()
        if store.alone(store.empty) is None:
            store.postpone(MISSING)

    async def keys(self) -> AsyncIterator[Any]:
        """Iterate over a snapshot of the stored keys, in no particular order."""
        for key in self._open_store().live_keys():
            yield key

    async def count(self) -> int:
        """Return the number of entries."""
        return len(self._open_store().live_keys())

    async def compare_and_set(
        self, key: Hashable, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        """Store ``value`` only if the very object ``expected`` is stored now."""
        hash(key)
        store = self._open_store()
        done = store.alone(store.swap, key, expected, value, ttl)
        return done is not None and done[0]

    def reader(self) -> Store | None:
        """Return the store; subscripting it counts as a use."""
        return self._store

    def size_now(self) -> int:
        """Return the number of entries."""
        return len(self._open_store().live_keys())

    async def close(self) -> None:
        """Let go of the entries; they are dropped unless another event loop still uses them."""
        self._store = None

    def _open_store(self) -> Store:
        if self._store is None:
            raise _closed()
        return self._store


def _closed() -> ClosedError:
    return ClosedError("engine 'aiocache'")


def _check(config: EngineConfig) -> None:
    for option, value in config.options.items():
        raise ConfigurationError(f"options[{option!r}]", value, "no options for the aiocache engine")
    if config.policy is not None and config.policy not in POLICIES:
        raise ConfigurationError("policy", config.policy, f"one of {', '.join(POLICIES)}")
    if config.maxsize is not None and config.maxsize < 0:
        raise ConfigurationError("maxsize", config.maxsize, "a number from 0, or None for no bound")
    if config.max_bytes is not None:
        raise ConfigurationError("max_bytes", config.max_bytes, "None: engine 'aiocache' counts no bytes")

"""The klepto-dict engine keeps objects in a dict archive of klepto, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError
from cachewright.guard import Guard
from cachewright_klepto.library import dict_archive

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from cachewright.engine import EngineConfig


class _Store(Guard):
    """The archive, which is a dict: reading needs no lock, for single operations are atomic."""

    __slots__ = ("items", "open")

    def __init__(self) -> None:
        self.items = dict_archive()
        self.open = True
        super().__init__()

    def put(self, key: Hashable, value: Any) -> tuple[bool, Any]:
        """Store an object; return whether that was done, and what it displaced."""
        if not self.open:
            return False, None
        old = self.items.get(key, MISSING)
        self.items[key] = value
        return True, old

    def remove(self, key: Hashable, /) -> Any:
        """Remove the entry; return its object, or ``MISSING``."""
        return self.items.pop(key, MISSING)

    def take(self, key: Hashable) -> tuple[Any, ...]:
        """Remove the entry; return its object in a tuple, which is empty where there was none."""
        old = self.remove(key)
        return () if old is MISSING else (old,)

    def swap(self, key: Hashable, expected: Any, value: Any) -> tuple[bool, Any]:
        """Store or, for ``MISSING``, remove if ``expected`` is stored; return success, what it displaced."""
        if self.items.get(key, MISSING) is not expected:
            return False, None
        return (True, self.remove(key)) if value is MISSING else self.put(key, value)

    def empty(self) -> object:
        """Remove every entry, readers staying attached; return what was stored."""
        dropped = list(self.items.items())
        self.items.clear()
        return dropped

    def shut(self) -> object:
        """Remove every entry and take no more; return what was stored."""
        self.open = False
        return self.empty()

    def replace(self) -> None:
        """Begin with an empty archive."""
        self.items.clear()


class KleptoDictEngine(Engine):
    """Objects in klepto's ``dict_archive``, without bounds. A closed engine stores nothing.

    Every engine has an archive of its own, so namespaces cannot meet. Code that interrupts a write of its
    own thread (a finaliser, a signal handler, a key's ``__eq__``) reads as usual; what it writes is not
    stored, and what it overwrites or deletes is gone when the interrupted write is over.
    """

    name: ClassVar[str] = "klepto-dict"

    def __init__(self, config: EngineConfig) -> None:
        for setting in ("maxsize", "max_bytes", "policy"):
            if (value := getattr(config, setting)) is not None:
                raise ConfigurationError(setting, value, "None: the klepto-dict engine has no bounds")
        for option, value in config.options.items():
            raise ConfigurationError(f"options[{option!r}]", value, "no options for the klepto-dict engine")
        self._store = _Store()

    def get(self, key: Hashable, /) -> Any:
        """Return the stored object, or ``MISSING``."""
        return self._store.items.get(key, MISSING)

    def set(self, key: Hashable, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the object; the caller keeps to ``ttl``, see :meth:`Engine.set`."""
        hash(key)  # an unhashable key is refused before anything is touched
        done = self._store.alone(self._store.put, key, value)
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
        """Iterate over a snapshot of the stored keys."""
        return iter(list(self._store.items))

    def count(self) -> int:
        """Return the number of entries."""
        return len(self._store.items)

    def reader(self) -> dict[Any, Any]:
        """Return the archive, which is subscripted as fast as any dict."""
        return self._store.items

    def compare_and_set(
        self, key: Hashable, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        """Store ``value`` only if the very object ``expected`` is stored now."""
        hash(key)
        done = self._store.alone(self._store.swap, key, expected, value)
        return done is not None and done[0]

    def close(self) -> None:
        """Drop the entries and store nothing from now on."""
        if self._store.alone(self._store.shut) is None:
            self._store.postpone(MISSING)

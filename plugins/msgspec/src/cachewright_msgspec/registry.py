"""The registry knows the classes that may be stored by declared type; payloads only name them."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from cachewright_msgspec.declared import DeclaredClass

C = TypeVar("C", bound=type)


class Registry:
    """Registered classes, by themselves and by name; may be used by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_class: dict[type[Any], DeclaredClass] = {}
        self._by_name: dict[str, DeclaredClass] = {}
        self.generation = 0

    def add(self, declared: DeclaredClass) -> None:
        """Register a class; it takes the place of another one of its name."""
        with self._lock:
            former = self._by_name.get(declared.name)
            if former is not None:
                del self._by_class[former.cls]
            self._by_class[declared.cls] = self._by_name[declared.name] = declared
            self.generation += 1

    def entry(self, cls: type[Any]) -> DeclaredClass | None:
        """Return what is known about a class."""
        return self._by_class.get(cls)

    def named(self, name: str, fingerprint: str) -> type[Any]:
        """Return a class by its name; ``LookupError`` if none is registered that has these fields."""
        declared = self._by_name[name]
        if declared.fingerprint != fingerprint:
            raise LookupError("the fields of the class have changed")
        return declared.cls


REGISTRY: Final = Registry()
"""The one registry of this process."""


def register(cls: C, /) -> C:
    """Let instances of ``cls`` be stored by their declared types; may be used as a decorator.

    ``cls`` is a :class:`msgspec.Struct`, a dataclass, an enum of texts or ints, or a named tuple. Classes in
    the types of its fields need not be registered. An instance is refused if a field holds something else
    than declared (an int in a ``float`` field). Rebuilding calls no ``__init__``; an entry written before the
    fields or their types changed is a miss.

    Raises:
        ConfigurationError: its instances would not come back exactly; says why.
    """
    from cachewright_msgspec.declared import DeclaredClass  # noqa: PLC0415 - imports msgspec

    REGISTRY.add(DeclaredClass(cls))
    return cls

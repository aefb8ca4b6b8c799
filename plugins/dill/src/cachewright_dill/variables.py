"""A snapshot is a dict of variables, a notebook's or a service's namespace, stored as one entry.

::

    from cachewright import open_cache
    from cachewright_dill import restore, snapshot

    with open_cache("notebook", persist=True) as cache:
        report = snapshot(cache, "before training", globals())
        print(report.left_out)          # {'server': "server: <socket.socket>: it is a connection ..."}

    with open_cache("notebook", persist=True) as cache:
        globals().update(restore(cache, "before training"))

Variables are stored together, so that an object which two of them share is one object again. Whatever dill
stores, classes and functions of ``__main__`` included, needs nothing of the program that wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cachewright.errors import UnserializableError
from cachewright.serializer import Serializer
from cachewright_dill.culprit import culprits, name_of
from cachewright_dill.serializer import DillSerializer, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from cachewright.serializer import Frames

    class Store(Protocol):
        """What a snapshot needs of a :class:`cachewright.Cache`."""

        def get(self, key: Any, default: Any = None) -> Any: ...
        def set(self, key: Any, value: Any, *, ttl: Any = None) -> bool: ...


_DILL: Final = DillSerializer()
_INTERPRETER: Final = "it belongs to the interpreter"
_NAMED: Final = 3
"""Culprits that the reason of a variable names; it may have more."""


class Variables:
    """Variables as dill wrote them; decoded only by :meth:`values`.

    Never pickled: the entry is one of the serializer ``dill-snapshot``, which the core lets nobody decode
    where entries are not authenticated.
    """

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def values(self) -> dict[str, Any]:
        """Return the variables, new objects at every call."""
        variables: dict[str, Any] = _DILL.loads([memoryview(self.payload)])  # type: ignore[assignment] # what pack() put there
        return variables

    def __reduce__(self) -> NoReturn:
        raise TypeError("a snapshot is stored by its own serializer only")


class VariablesSerializer(Serializer):
    """The bytes of a snapshot. Its payloads execute code when the variables are restored."""

    def dumps(self, value: object, /) -> Frames:
        """Return what dill wrote, as it is."""
        if type(value) is not Variables:
            raise UnserializableError(name_of(value), "it is no snapshot")
        return [value.payload]

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the snapshot, undecoded."""
        (frame,) = frames
        return Variables(bytes(frame))


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """What a snapshot holds, and what it does not.

    Attributes:
        kept: names of the stored variables.
        left_out: the other names, each with the reason.
        size: bytes that dill wrote.
    """

    kept: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    size: int = 0

    def __str__(self) -> str:
        lines = [f"kept {len(self.kept)} variables in {self.size} bytes: {', '.join(self.kept) or 'none'}"]
        lines += [f"left out {name}: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines)


def snapshot(cache: Store, name: str, variables: Mapping[str, Any], *, ttl: Any = None) -> SnapshotReport:
    """Store a dict of variables under ``name``, leaving out what cannot be stored.

    Args:
        cache: an open cache; entries have to be authenticated there, or stay in this process.
        name: what to call the snapshot; an older one of the name is replaced.
        variables: names and values, for instance ``globals()``.
        ttl: how long to keep it, as in ``cache.set``.

    Returns:
        What was kept, and why the rest was left out.

    Raises:
        UnserializableError: entries of this cache are not authenticated, so that restoring could execute
            what somebody else put there.
    """
    packed, report = pack(variables)
    cache.set(_key(name), packed, ttl=ttl)
    return report


def restore(cache: Store, name: str) -> dict[str, Any]:
    """Return the variables of a snapshot, new objects at every call.

    Raises:
        LookupError: the cache has no snapshot of that name.
    """
    packed = cache.get(_key(name))
    if not isinstance(packed, Variables):
        raise LookupError(f"no snapshot {name!r} is stored in this cache")  # noqa: TRY004 - it is not there
    return packed.values()


def pack(variables: Mapping[str, Any]) -> tuple[Variables, SnapshotReport]:
    """Return a snapshot to store, for caches that are awaited, and the report on it."""
    own = {name: value for name, value in variables.items() if not _is_dunder(name)}
    left_out = dict.fromkeys((name for name in variables if _is_dunder(name)), _INTERPRETER)
    reason = refusal(own)
    if reason is not None:
        for name, value in list(own.items()):
            if refusal(value) is not None:
                left_out[name] = _reason(name, value)
                del own[name]
    (payload,) = _DILL.dumps(own)
    packed = Variables(bytes(payload))
    return packed, SnapshotReport(tuple(own), MappingProxyType(left_out), len(packed.payload))


def _reason(name: str, value: object) -> str:
    found = culprits(value, refusal, start=name)
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(map(str, found[:_NAMED])) + more


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _key(name: str) -> tuple[str, str]:
    return "cachewright_dill.snapshot", name

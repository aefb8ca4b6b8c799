"""A workload is what is to be cached: its kind and size, and what its entries need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict, Unpack, cast

from cachewright.engine import SCOPES, Scope
from cachewright.errors import ConfigurationError
from cachewright.probe import KINDS, Kind, count_and_size, kind_of, kind_of_type, size_of

__all__ = ["KINDS", "Kind", "Needs", "Workload", "kind_of", "size_of"]

TYPICAL_BYTES: dict[Kind, int] = {
    "atom": 32, "text": 200, "bytes": 1_000, "container": 2_000, "array": 1_000_000,
    "frame": 1_000_000, "tensor": 1_000_000, "object": 1_000, "code": 1_000,
}  # fmt: skip
"""Sizes assumed where only the kind is known."""

BYTES_PER_OBJECT = 64
"""Memory per object of a container, assumed where the objects were not counted."""


class Needs(TypedDict, total=False):
    """The arguments of :class:`Workload` beyond kind and size."""

    persist: bool
    scope: Scope
    asynchronous: bool
    ttl: bool
    maxsize: int | None
    max_bytes: int | None
    policy: str | None
    executable: bool
    hit_ratio: float
    reads_per_write: float | None
    load_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is to be cached: a profile, which decides costs, and needs, which decide who qualifies.

    Attributes:
        kind: family of the values.
        nbytes: size of a typical value in memory; default: typical for the kind.
        count: objects inside a value; default: guessed from kind and size.
        persist: entries have to survive the process.
        scope: who must be able to see an entry, at least.
        asynchronous: the cache is used from an event loop.
        ttl: entries expire. Any engine will do, since the core enforces it; kept for explanations.
        maxsize: a bound on the number of entries that the engine itself has to keep; ``None`` where
            it need not (a default bound is not a need: a server bounds its own memory).
        max_bytes: a bound on the bytes that the engine itself has to keep.
        policy: the eviction policy that the engine has to offer.
        executable: only pickle, dill or the like can store the values, and stored entries are not
            authenticated by a key of the user's, so a store that others can write to is out.
        hit_ratio: share of look-ups that are expected to hit, from 0 to 1.
        reads_per_write: look-ups per computation; where given, the hit ratio follows from it.
        load_seconds: what computing a value takes; ``None`` if unknown.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    kind: Kind = "object"
    nbytes: int | None = None
    count: int | None = None
    persist: bool = False
    scope: Scope = "process"
    asynchronous: bool = False
    ttl: bool = False
    maxsize: int | None = None
    max_bytes: int | None = None
    policy: str | None = None
    executable: bool = False
    hit_ratio: float = 0.8
    reads_per_write: float | None = None
    load_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, choices in (("kind", KINDS), ("scope", SCOPES)):
            value = getattr(self, name)
            _check(isinstance(value, str) and value in choices, name, value, f"one of {', '.join(choices)}")
        for name in ("persist", "asynchronous", "ttl", "executable"):
            _check(isinstance(getattr(self, name), bool), name, getattr(self, name), "True or False")
        for name in ("nbytes", "count", "maxsize", "max_bytes"):
            value = getattr(self, name)
            whole = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)
            _check(whole, name, value, "a whole number from 0 on, or None")
        named = self.policy is None or (isinstance(cast("object", self.policy), str) and self.policy != "")
        _check(named, "policy", self.policy, "the name of an eviction policy, or None")
        share = _is_amount(self.hit_ratio) and self.hit_ratio <= 1
        _check(share, "hit_ratio", self.hit_ratio, "a number from 0 to 1")
        for name in ("reads_per_write", "load_seconds"):
            value = getattr(self, name)
            _check(value is None or _is_amount(value), name, value, "a number from 0 on, or None")

    @classmethod
    def of(cls, value: object, **needs: Unpack[Needs]) -> Workload:
        """Return the workload of values like ``value``; probes kind and size in bounded time."""
        count, nbytes = count_and_size(value)
        return cls(kind=kind_of(value), nbytes=nbytes, count=count, **needs)

    @classmethod
    def of_type(cls, type_: object, *, nbytes: int | None = None, **needs: Unpack[Needs]) -> Workload:
        """Return the workload of values of a type, before there is one.

        Args:
            type_: a class, an annotation such as ``list[int]`` or ``DataFrame | None``, or a name: a
                kind, a type's name, dotted or not. What cannot be told is an ``object``.
            nbytes: size of a typical value; default: typical for the kind.
            **needs: as for the class.
        """
        return cls(kind=kind_of_type(type_), nbytes=nbytes, **needs)

    @property
    def size(self) -> int:
        """Bytes of a typical value, guessed from the kind where unknown; at least 1."""
        return max(1, TYPICAL_BYTES[self.kind] if self.nbytes is None else self.nbytes)

    @property
    def objects(self) -> int:
        """Objects inside a typical value; at least 1. A buffer is one object, whatever its size."""
        if self.count is not None:
            return max(1, self.count)
        return max(1, self.size // BYTES_PER_OBJECT) if self.kind in {"container", "object"} else 1

    @property
    def expected_hits(self) -> float:
        """Share of look-ups that are expected to hit: of ``n`` reads per write one misses."""
        if self.reads_per_write is None:
            return self.hit_ratio
        return 1.0 - 1.0 / self.reads_per_write if self.reads_per_write > 1 else 0.0

    def needs_text(self) -> str:
        """Return the hard needs in words, to follow "no installed engine offers"."""
        return ", ".join(self._needs()) or "storage in this process"

    def __str__(self) -> str:
        return f"{self.kind} of about {self.size:,} bytes; needs {self.needs_text()}"

    def _needs(self) -> list[str]:
        needs: list[str] = []
        if self.persist:
            needs.append("entries that survive the process")
        if self.scope != "process":
            seen = "all processes of this host" if self.scope == "host" else "every host on the network"
            needs.append(f"entries visible to {seen}")
        if self.asynchronous:
            needs.append("use from an event loop")
        if self.maxsize is not None:
            needs.append(f"a bound of {self.maxsize:,} entries")
        if self.max_bytes is not None:
            needs.append(f"a bound of {self.max_bytes:,} bytes")
        if self.policy is not None:
            needs.append(f"the policy {self.policy!r}")
        if self.executable:
            needs.append("a private store, for values that need an executable serializer")
        return needs


def _check(fine: bool, name: str, value: object, expected: str) -> None:  # noqa: FBT001 - an assertion
    if not fine:
        raise ConfigurationError(name, value, expected)


def _is_amount(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= cast("float", value) < math.inf

"""A loader is how values come about that are not in the store: the function, its key, its rules."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any, cast

from cachewright.call import Call
from cachewright.entry import MISSING
from cachewright.stats import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from cachewright._negative import CacheErrors
    from cachewright.freshness import Freshness
    from cachewright.keymaker import KeyMaker

_PLAIN = frozenset({int, str, bytes, bool, NoneType})


class _Marker:
    """Keeps keys made by us apart from anything a user could pass as an argument."""

    __slots__ = ()


CANONICAL = _Marker()
"""First element of the in-process key of a call whose arguments cannot be hashed."""

ATTACHED = _Marker()
"""First element of the in-process key of a function that shares an open cache."""


class Loader:
    """One function with everything that decides under which key and for how long its values live.

    Attributes:
        fn: the user's function.
        name: ``module.qualname``, for messages.
        names: parameters that take part in the key, in the order of the signature.
        single: whether the raw key is one value itself instead of a tuple of several.
        typed: whether the raw key is followed by the types of its parts.
        bound: whether the raw key starts with the token of an instance.
        ttl: seconds, a callable of the result, or ``None``.
        jitter: share by which a ttl is shortened at random, 0 to 1.
        cache_if: a value is stored only if this says so.
        single_flight: whether concurrent calls share one computation.
        counters: where its calls are counted.
        scope: namespace inside a shared cache; empty for a function with a cache of its own.
        version: changes every stored key when it changes; where a callable is given, it is asked once,
            for the first stored key: a fingerprint has to see helpers that are defined further down.
        label: the key, where the caller chose it: kept beside the value for listing.
        freshness: windows around the end of the ttl; ``None`` for none.
        tags: returns the tags of a call, given its arguments.
        result_tags: return further tags, given the result.
        cache_errors: exceptions that are remembered.
        injects: whether the function wants a :class:`LoadContext`.
        rich: whether any of the last five asks for more than look-up, computation and storing.
    """

    __slots__ = (
        "_version",
        "bound",
        "cache_errors",
        "cache_if",
        "counters",
        "fn",
        "freshness",
        "injects",
        "jitter",
        "label",
        "name",
        "names",
        "result_tags",
        "rich",
        "scope",
        "single",
        "single_flight",
        "tags",
        "ttl",
        "typed",
    )

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str,
        names: tuple[str, ...] = (),
        *,
        single: bool = False,
        typed: bool = False,
        bound: bool = False,
        ttl: float | Callable[[Any], Any] | None = None,
        jitter: float = 0.0,
        cache_if: Callable[[Any], object] | None = None,
        single_flight: bool = True,
        counters: Counters | None = None,
        scope: str = "",
        version: str | Callable[[], str] = "",
        label: object = MISSING,
        freshness: Freshness | None = None,
        tags: Callable[..., tuple[str, ...]] | None = None,
        result_tags: tuple[Callable[[Any], Any], ...] = (),
        cache_errors: CacheErrors = (),
        injects: bool = False,
    ) -> None:
        self.fn = fn
        self.name = name
        self.names = names
        self.single = single
        self.typed = typed
        self.bound = bound
        self.ttl = ttl
        self.jitter = jitter
        self.cache_if = cache_if
        self.single_flight = single_flight
        self.counters = Counters() if counters is None else counters
        self.scope = scope
        self._version = version
        self.label = label
        self.freshness = freshness
        self.tags = tags
        self.result_tags = result_tags
        self.cache_errors = cache_errors
        self.injects = injects
        self.rich = bool(freshness or tags or result_tags or cache_errors or injects)

    @property
    def version(self) -> str:
        """What changes every stored key when it changes."""
        version = self._version
        if not isinstance(version, str):
            version = self._version = version()
        return version

    def object_key(self, raw: Any, keymaker: KeyMaker, *, digest: bool = False) -> Hashable:
        """Return the key for an engine of objects: the raw key itself wherever it can serve.

        With ``digest``, the key maker alone decides which calls share a key.
        """
        if digest or not plain(raw):
            parts = raw if not self.single else (raw,)
            token = (parts[0],) if self.bound else ()
            raw = (*token, CANONICAL, keymaker.call_key(self._call(raw)))
        return (ATTACHED, self.scope, raw) if self.scope else raw

    def digest_key(self, raw: Any, keymaker: KeyMaker) -> str:
        """Return the key for an engine of bytes."""
        digest = keymaker.call_key(self._call(raw))
        version = self.version
        if not self.scope and not version:
            return digest
        from hashlib import blake2b  # noqa: PLC0415 - costs 5 ms, which a bare decorator need not pay

        prefix = f"{len(self.scope)}:{self.scope}{version}".encode("utf-8", "surrogatepass")
        return blake2b(prefix + bytes.fromhex(digest), digest_size=20, person=b"scoped").hexdigest()

    def values(self, raw: Any) -> tuple[Any, ...]:
        """Return the values of :attr:`names` in a raw key."""
        values = (raw,) if self.single else raw
        if self.bound:
            values = values[1:]
        return cast("tuple[Any, ...]", values[: len(self.names)])

    def raw_of(self, object_key: Any) -> Any:
        """Return the raw key in the key of an engine of objects.

        ``MISSING`` if it is the key of another function, ``CANONICAL`` if it tells nothing about arguments.
        """
        raw: Any = object_key
        if self.scope:
            shape = _parts(raw)
            if len(shape) != 3 or shape[0] is not ATTACHED or shape[1] != self.scope:
                return MISSING
            raw = shape[2]
        return CANONICAL if any(part is CANONICAL for part in _parts(raw)) else raw

    @property
    def open_tags(self) -> bool:
        """Whether a result may have tags that are not known before it is computed."""
        return self.injects or bool(self.result_tags)

    def _call(self, raw: Any) -> Call:
        return Call(self.name, self.names, self.values(raw), typed=self.typed)


def _parts(key: object) -> tuple[Any, ...]:
    parts: Any = key
    return parts if type(key) is tuple else ()


def plain(key: object) -> bool:
    """Whether ``key`` can serve as a dictionary key with the equality of the canonical encoding.

    That needs a hash, and no NaN: two NaN are one key for us, but not for a dictionary.
    """
    kind: type[object] = type(key)
    if kind in _PLAIN:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(plain, cast("tuple[object, ...]", key)))
    try:
        hash(key)
    except TypeError:
        return False
    if isinstance(key, (tuple, frozenset)):
        return all(map(plain, cast("tuple[object, ...]", key)))
    try:
        return bool(key == key)  # noqa: PLR0124 - false for NaN, of whatever library, and for NaT
    except Exception:  # noqa: BLE001 - foreign code; a dictionary asks for identity first
        return True

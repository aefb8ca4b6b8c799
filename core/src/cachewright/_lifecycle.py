"""What :class:`Cache` and :class:`AsyncCache` share: everything between a caller and an engine but I/O.

The life of a value: a key is made, an entry is looked for and judged, or else a value is computed,
judged, packed and stored. Here are the steps that do not wait; the two caches arrange them.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

from cachewright import events
from cachewright._loader import ATTACHED, CANONICAL, plain, scope_label
from cachewright._packing import Packed, SealedPacker
from cachewright.duration import parse_ttl
from cachewright.entry import MISSING, NEVER, Entry, MissingType
from cachewright.errors import CachewrightError, EngineError, EngineUnavailableError, EnvelopeError
from cachewright.inventory import EntryInfo
from cachewright.stats import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cachewright._loader import Loader
    from cachewright._packing import Packer
    from cachewright.engine import EngineInfo
    from cachewright.entry import Clock
    from cachewright.keymaker import KeyMaker

log = logging.getLogger("cachewright")

FIRST_REST = 0.5
LONGEST_REST = 30.0
"""Seconds for which an unreachable engine is left alone, doubling from the first to the longest."""


class _Default:
    """Stands for the cache's own ttl where ``None`` already means never."""

    def __repr__(self) -> str:
        return "the cache's default"


DEFAULT_TTL = _Default()

ATTEMPTS = 10_000
"""Rounds of a compare-and-set loop before the engine is declared broken; each lost round means that
another caller has won one."""

REFUSED = {
    None: ("engine", "the engine could not be written to"),
    False: ("too-large", "it is larger than the bounds of the engine allow"),
}
"""Why a value was not stored, by what the engine answered; ``None`` if it failed."""


class Lifecycle:
    """The rules of one cache, without its engine."""

    def __init__(
        self,
        *,
        namespace: str,
        info: EngineInfo,
        packer: Packer,
        keymaker: KeyMaker,
        clock: Clock,
        ttl: float | None = None,
        on_engine_error: str = "compute",
        listeners: Sequence[Callable[[events.Event], None]] = (),
        maxsize: int | None = None,
        alternatives: Callable[[str], tuple[str, ...]] = lambda _: (),
    ) -> None:
        self.namespace = namespace
        self.info = info
        self.packer = packer
        self.keymaker = keymaker
        self.clock = clock
        self.ttl = ttl
        self.maxsize = maxsize
        self.counters = Counters()
        self.listeners = tuple(listeners)
        self.alternatives = alternatives
        self.holds_objects = info.capabilities.holds == "objects"
        self._raises = on_engine_error == "raise"
        self._rest_until = 0.0
        self._rest = FIRST_REST

    # Keys -------------------------------------------------------------------------------------------

    def value_key(self, key: object) -> Any:
        """Return the engine's key for a key that the caller chose."""
        if not self.holds_objects:
            return self.keymaker.value_key(key)
        return key if plain(key) else (CANONICAL, self.keymaker.value_key(key))

    def call_key(self, loader: Loader, raw: Any) -> Any:
        """Return the engine's key for a call."""
        if self.holds_objects:
            return loader.object_key(raw, self.keymaker)
        return loader.digest_key(raw, self.keymaker)

    def digest_of(self, engine_key: Any) -> str:
        """Return a printable form of an engine's key."""
        if not self.holds_objects:
            return str(engine_key)
        from reprlib import repr as short  # noqa: PLC0415 - for explaining only

        return short(engine_key)

    # Reading ----------------------------------------------------------------------------------------

    def unpack(self, key: Any, stored: object) -> Entry | MissingType:
        """Judge what the engine returned; what must not be used is counted and is a miss."""
        if stored is MISSING:
            return MISSING
        try:
            entry: Entry | MissingType = self.packer.unpack(key, stored)
        except EnvelopeError as refusal:
            self.counters.unreadable.add()
            self.emit(events.Unreadable, refusal.reason)
            return MISSING
        return entry

    def remaining(self, entry: Entry) -> float | None:
        """Return the seconds left to live, ``None`` for never."""
        if entry.expires == NEVER:
            return None
        now = self.clock.monotonic() if self.holds_objects else self.clock.wall()
        return max(entry.expires - now, 0.0)

    def describe(self, key: Any, stored: Any) -> EntryInfo | None:
        """Return what is known about a stored entry; ``None`` if it has expired or is unreadable."""
        packer = self.packer
        if not isinstance(packer, SealedPacker):
            entry = self.unpack(key, stored)
            if entry is MISSING:
                return None
            original = entry.key if entry.key is not MISSING else _readable(key)
            return EntryInfo(
                key=original,
                digest=self.digest_of(key),
                engine=self.info.name,
                created=entry.created,
                expires=self.remaining(entry),
                compute_seconds=entry.seconds,
                tags=entry.tags,
            )
        try:
            opened = packer.open(key, stored)
        except EnvelopeError:
            return None
        if opened is MISSING:
            return None
        return EntryInfo(
            key=packer.label_of(opened),
            digest=key,
            engine=self.info.name,
            size=opened.size,
            serializer=packer.chain.name_of(opened.serializer),
            created=opened.created,
            expires=None if opened.expires is None else max(opened.expires - self.clock.wall(), 0.0),
            compute_seconds=opened.seconds,
            tags=opened.tags,
        )

    def in_scope(self, scope: str, key: Any, stored: Any) -> bool:
        """Whether an entry belongs to the function ``scope`` that shares this cache."""
        if self.holds_objects:
            parts: Any = key
            return isinstance(key, tuple) and len(parts) > 1 and parts[0] is ATTACHED and parts[1] == scope
        info = None if stored is MISSING else self.describe(key, stored)
        return info is not None and info.key == scope_label(scope)

    # Storing ----------------------------------------------------------------------------------------

    def pack(
        self,
        key: Any,
        value: object,
        *,
        ttl: float | None,
        tags: tuple[str, ...] = (),
        seconds: float = 0.0,
        label: object = MISSING,
    ) -> Packed:
        """Return the stored form of ``value``; see :meth:`Packer.pack`."""
        return self.packer.pack(key, value, ttl=ttl, tags=tags, seconds=seconds, label=label)

    def ttl_of(self, loader: Loader, value: object) -> float | None:
        """Return the seconds that ``value`` may live; ``<= 0`` means that it is not to be stored."""
        ttl = loader.ttl
        if callable(ttl):
            ttl = parse_ttl(ttl(value), setting="ttl", origin=f"the ttl function of {loader.name}")
        if ttl is not None and ttl > 0 and loader.jitter:
            ttl *= 1.0 - loader.jitter * random.random()  # noqa: S311 - spreads expiry, keeps no secret
        return ttl

    def admits(self, loader: Loader, value: object) -> bool:
        """Whether the loader's condition lets ``value`` be stored."""
        if value is MISSING:
            return False
        if loader.cache_if is None or loader.cache_if(value):
            return True
        self.refused("condition", "cache_if said no")
        return False

    def note_stored(self, packed: Packed, seconds: float) -> None:
        """Count and announce a stored entry."""
        self.counters.stored.add()
        if self.listeners:
            self.emit(events.Stored, packed.size, seconds, packed.serializer)

    def refused(self, reason: str, detail: str) -> None:
        """Count and announce a value that was computed and not stored."""
        self.counters.refused.add()
        self.emit(events.NotStored, reason, detail)

    # Events and failing engines -----------------------------------------------------------------------

    def emit(self, kind: Callable[..., events.Event], *details: Any) -> None:
        """Hand an event to every listener."""
        for listener in self.listeners:
            try:
                listener(kind(self.namespace, self.info.name, *details))
            except Exception:  # a listener is foreign code, and must not break the call it observes
                log.exception("a listener of cache %r raised", self.namespace)

    @property
    def resting(self) -> bool:
        """Whether the engine was unreachable a moment ago and is left alone for now."""
        return self._rest_until != 0.0 and self.clock.monotonic() < self._rest_until

    def absorb(self, operation: str, error: Exception, *, always: bool) -> None:
        """Take in what an engine raised, or raise it where it must not be lost.

        Args:
            operation: what the engine was asked to do.
            error: what it raised.
            always: losing the operation in silence would do harm.
        """
        failure = error
        if not isinstance(failure, EngineError):
            # With objects, keys run user code in __eq__ and __hash__: what that raises is the caller's.
            if isinstance(error, CachewrightError) or self.holds_objects:
                raise error
            # An engine of bytes works on opaque input: whatever it raises is a failure of its own.
            failure = EngineError(self.info.name, operation, f"{type(error).__name__}: {error}")
            failure.__cause__ = error
        self.engine_failed(operation, failure)
        if always:
            raise failure

    def engine_failed(self, operation: str, error: EngineError) -> None:
        """Count, announce and, where asked for, raise a failure of the engine."""
        self.counters.errors.add()
        self.emit(events.EngineFailed, operation, error)
        if isinstance(error, EngineUnavailableError):
            if self._rest_until == 0.0:
                log.warning("%s; results are computed until it is back", error)
            self._rest_until = self.clock.monotonic() + self._rest
            self._rest = min(self._rest * 2, LONGEST_REST)
        else:
            log.warning("%s", error)
        if self._raises:
            raise error

    def engine_answered(self) -> None:
        """Note that the engine works."""
        if self._rest_until:
            log.warning("engine %r is back", self.info.name)
            self._rest_until = 0.0
            self._rest = FIRST_REST


def _readable(key: Any) -> object:
    parts: Any = key
    return MISSING if isinstance(key, tuple) and parts and parts[0] is CANONICAL else parts


def hashable(key: Any) -> Any:
    """Return ``key`` if it can be a key of a dict, such as ``get_many`` returns."""
    try:
        hash(key)
    except TypeError:
        message = "get_many() returns a dict, so its keys must be hashable; use get() for other keys"
        raise TypeError(message) from None
    return key

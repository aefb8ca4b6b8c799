"""What :class:`Cache` and :class:`AsyncCache` share: everything between a caller and an engine but I/O.

The life of a value: a key is made, an entry is looked for and judged, or else a value is computed,
judged, packed and stored. Here are the steps that do not wait; the two caches arrange them.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from cachewright import events
from cachewright._backoff import Backoffs
from cachewright._breaker import Breaker
from cachewright._claims import LEASE_SECONDS, Claim, claim_payload
from cachewright._last_seen import LastSeen
from cachewright._loader import ATTACHED, CANONICAL, Loader, plain
from cachewright._packing import DIGEST_BYTES, CallLabel, Draft, Packed, SealedPacker
from cachewright._steps import FAILED
from cachewright.duration import parse_ttl
from cachewright.entry import MISSING, NEVER, AgedEntry, Entry, MissingType
from cachewright.errors import CachewrightError, EngineError, EngineUnavailableError, EnvelopeError
from cachewright.freshness import STRICT, Age
from cachewright.inventory import EntryInfo
from cachewright.stats import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cachewright._packing import Packer
    from cachewright._steps import Ask
    from cachewright.context import LoadContext
    from cachewright.engine import EngineInfo
    from cachewright.entry import Clock
    from cachewright.freshness import Freshness
    from cachewright.keymaker import KeyMaker
    from cachewright.stats import CacheInfo

log = logging.getLogger("cachewright")

Change: TypeAlias = "Callable[[Entry | MissingType], tuple[Any, float | None] | None]"


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
        lease: float = LEASE_SECONDS,
        own_keys: bool = False,
    ) -> None:
        self.namespace = namespace
        self.info = info
        self.packer = packer
        self.keymaker = keymaker
        self.own_keys = own_keys
        self.clock = clock
        self.ttl = ttl
        self.maxsize = maxsize
        self.counters = Counters()
        self.listeners = tuple(listeners)
        self.alternatives = alternatives
        self.holds_objects = info.capabilities.holds == "objects"
        self.shared = info.capabilities.scope != "process" and info.capabilities.compare_and_set
        self.lease = lease
        self.breaker = Breaker(clock.monotonic)
        self.backoffs = Backoffs(clock.monotonic)
        self.raises = on_engine_error == "raise"
        self.last_seen = LastSeen() if on_engine_error == "stale" and not self.holds_objects else None
        self.changes = Changes(self)
        self.on_debt: Callable[[], Callable[[], None] | None] = _nobody  # a weak reference

    @property
    def can_tag(self) -> bool:
        """Whether an invalidation of a tag is noticed by everybody who sees its entries."""
        return self.shared or self.holds_objects or self.info.capabilities.scope == "process"

    # Keys -------------------------------------------------------------------------------------------

    def value_key(self, key: object) -> Any:
        """Return the engine's key for a key that the caller chose."""
        if not self.holds_objects:
            return self.keymaker.value_key(key)
        return key if plain(key) and not self.own_keys else (CANONICAL, self.keymaker.value_key(key))

    def call_key(self, loader: Loader, raw: Any) -> Any:
        """Return the engine's key for a call."""
        if self.holds_objects:
            return loader.object_key(raw, self.keymaker, digest=self.own_keys)
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
        end = entry.soft if isinstance(entry, AgedEntry) else entry.expires
        if end == NEVER:
            return None
        now = self.clock.monotonic() if self.holds_objects else self.clock.wall()
        return max(end - now, 0.0)

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
        from cachewright.envelope import CLAIM  # noqa: PLC0415 - loaded already, by the packer

        try:
            opened = packer.open(key, stored)
        except EnvelopeError:
            return None
        if opened is MISSING:
            return None
        if opened.flags & CLAIM:
            return None
        label = packer.label_of(opened)
        expires = opened.expires if opened.soft is None else opened.soft
        codec, raw_size, cipher = packer.protection_of(opened)
        return EntryInfo(
            key=MISSING if isinstance(label, CallLabel) else label,
            digest=key,
            engine=self.info.name,
            size=opened.size,
            serializer=packer.chain.name_of(opened.serializer),
            created=opened.created,
            expires=None if expires is None else max(expires - self.clock.wall(), 0.0),
            compute_seconds=opened.seconds,
            tags=tuple(tag.partition(":")[2] for tag in opened.tags),
            codec=codec,
            raw_size=raw_size,
            cipher=cipher,
        )

    def label_in_store(self, key: Any, stored: Any) -> object:
        """Return the label of an entry or of a claim, ``MISSING`` if it has none or cannot be read."""
        packer = self.packer
        if stored is MISSING or not isinstance(packer, SealedPacker):
            return MISSING
        try:
            opened = packer.open(key, stored)
        except EnvelopeError:
            return MISSING
        return MISSING if opened is MISSING else packer.label_of(opened)

    def in_scope(self, scope: str, key: Any, stored: Any) -> bool:
        """Whether an entry or a claim belongs to the function ``scope`` that shares this cache."""
        if self.holds_objects:
            parts: Any = key
            return isinstance(key, tuple) and len(parts) > 1 and parts[0] is ATTACHED and parts[1] == scope
        label = self.label_in_store(key, stored)
        return isinstance(label, CallLabel) and label.scope == scope

    def age(self, freshness: Freshness | None, entry: Entry) -> Age:
        """Judge an entry by the windows of the function that asks for it."""
        if not isinstance(entry, AgedEntry):
            return Age.FRESH
        windows = STRICT if freshness is None or entry.negative else freshness
        if self.holds_objects:
            due = entry.expires if windows is freshness else entry.soft
            return windows.age(self.clock.monotonic(), due, entry.soft, entry.until)
        due = min(windows.due(entry.created, entry.soft, entry.seconds), entry.soft)
        return windows.age(self.clock.wall(), due, entry.soft, entry.until)

    def usable(self, entry: Entry | MissingType) -> Entry | MissingType:
        """Return an entry if it may be handed out as it is: its ttl is not over and it is a value."""
        if entry is MISSING or not isinstance(entry, AgedEntry):
            return entry
        fresh = not entry.negative and self.age(None, entry) is Age.FRESH
        return entry if fresh else MISSING

    # Claims -----------------------------------------------------------------------------------------

    def claim(self, key: Any, token: bytes, tokens: dict[str, str], label: object) -> bytes:
        """Return the stored form of a claim; the engine's ttl ends it where the engine has one."""
        own_ttl = self.info.capabilities.ttl_per_entry
        expires = None if own_ttl else self.clock.wall() + self.lease
        return self._sealed.claim(key, claim_payload(token), tokens, label, expires=expires)

    def claim_of(self, key: Any, stored: Any) -> Claim | None:
        """Return the claim that is stored, ``None`` if something else is."""
        return self._sealed.claim_of(key, stored)

    @property
    def _sealed(self) -> SealedPacker:
        if not isinstance(self.packer, SealedPacker):
            message = "only stores of bytes hold claims"
            raise TypeError(message)
        return self.packer

    def tag_key(self, tag: str) -> str:
        """Return the key of a tag's token in the companion of the store."""
        return self.keymaker.value_key(("tag", tag))

    def label(self, loader: Loader, raw: Any) -> object:
        """Return what is kept beside the result of a call: in a store of bytes, whose call it was."""
        if loader.label is not MISSING or self.holds_objects:
            return loader.label
        parts = tuple(self.part(value) for value in loader.values(raw))
        return CallLabel(loader.scope, parts)

    def part(self, value: object) -> bytes:
        """Return the digest by which an argument is recognised in a :class:`CallLabel`."""
        return bytes.fromhex(self.keymaker.value_key(value))[:DIGEST_BYTES]

    # Storing ----------------------------------------------------------------------------------------

    def draft(
        self, key: object, value: object, ttl: float | None, tags: tuple[str, ...]
    ) -> tuple[Any, Draft]:
        """Return the engine's key and the draft of an entry whose key the caller chose."""
        return self.value_key(key), Draft(value, ttl, tags=dict.fromkeys(tags, ""), label=key)

    def call_draft(self, loader: Loader, raw: Any, value: object, tags: tuple[str, ...]) -> Draft:
        """Return the draft of a value that a caller stores as the result of a call."""
        ttl, label = self.ttl_of(loader, value), self.label(loader, raw)
        return Draft(value, ttl, 0.0, dict.fromkeys(tags, ""), label, loader.freshness)

    def item_draft(self, loader: Loader, item: Labelled, value: object) -> Draft:
        """Return the draft of a value that a caller stores as one of the results of a batch."""
        ttl = self.ttl_of(loader, value)
        return Draft(value, ttl, 0.0, dict.fromkeys(item.tags, ""), item.label)

    def value_loader(
        self, fn: Callable[[], Any], key: object, ttl: float | None, tags: tuple[str, ...]
    ) -> Loader:
        """Return the loader of a value whose key the caller chose, and count the look-up."""
        self.counters.calls.add()
        names = (lambda: tags) if tags else None
        return Loader(fn, "get_or_set()", ttl=ttl, counters=self.counters, label=key, tags=names)

    def pack(self, key: Any, draft: Draft) -> Packed:
        """Return the stored form of a value; see :meth:`Packer.pack`."""
        return self.packer.pack(key, draft)

    def ttl_of(self, loader: Loader, value: object, ctx: LoadContext | None = None) -> float | None:
        """Return the seconds that ``value`` may live; ``<= 0`` means that it is not to be stored."""
        ttl = loader.ttl
        if ctx is not None and ctx.ttl is not MISSING:
            ttl = parse_ttl(ctx.ttl, setting="ctx.ttl", origin=f"the load context of {loader.name}")
        elif callable(ttl):
            ttl = parse_ttl(ttl(value), setting="ttl", origin=f"the ttl function of {loader.name}")
        return self.jittered(loader, ttl)

    @staticmethod
    def jittered(loader: Loader, ttl: float | None) -> float | None:
        """Return a ttl shortened at random, as the loader says."""
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

    def snapshot(self, *, currsize: int) -> CacheInfo:
        """Return the statistics as they are now."""
        return self.described(self.counters.snapshot(maxsize=self.maxsize, currsize=currsize))

    def described(self, info: CacheInfo) -> CacheInfo:
        """Add to statistics how the engine is."""
        info.engine_open, info.pending = self.breaker.open, self.breaker.pending
        return info

    def counted(self, wanted: Mapping[Any, Any], found: Mapping[Any, Entry]) -> dict[Any, Any]:
        """Count a look-up for every key wanted, and return the values found."""
        values: dict[Any, Any] = {}
        for key, engine_key in wanted.items():
            self.counters.calls.add()
            if engine_key in found:
                values[key] = found[engine_key].value
            else:
                self.counters.misses.add()
        return values

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

    def absorb(self, operation: str, error: Exception, *, urgent: bool) -> None:
        """Take in what an engine raised, or raise it where the caller cannot do without an answer.

        Args:
            operation: what the engine was asked to do.
            error: what it raised.
            urgent: the caller cannot.
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
        if urgent:
            raise failure

    def engine_failed(self, operation: str, error: EngineError) -> None:
        """Count, announce and, where asked for, raise a failure of the engine."""
        self.counters.errors.add()
        self.emit(events.EngineFailed, operation, error)
        if self.breaker.failed(error):
            log.warning("%s; results are computed until it is back", error)
            self.engine_left_alone()
        elif not isinstance(error, EngineUnavailableError):
            log.warning("%s", error)
        if self.raises:
            raise error

    def left_alone(self, ask: Ask) -> Any:
        """Answer for an engine that is left alone, or raise where that is asked for."""
        if ask.urgent or self.raises:
            raise self.unavailable(ask.operation)
        return self.unanswered(ask)

    def unavailable(self, operation: str) -> EngineUnavailableError:
        """Return the error of an operation that the engine was not even asked for."""
        error = self.breaker.error
        reason = "it failed a moment ago" if error is None else f"it failed a moment ago ({error.reason})"
        hint = "" if error is None else error.hint
        return EngineUnavailableError(self.info.name, operation, reason, hint=hint)

    def unanswered(self, ask: Ask) -> Any:
        """Answer for an engine that did not."""
        if self.last_seen is not None:
            recalled = self.last_seen.recall(ask)
            if recalled is not FAILED:
                if ask.method == "get" and not ask.aside and recalled is not MISSING:
                    self.counters.stale.add()
                    self.emit(events.ServedStale, "unreachable")
                return recalled
        return ask.fallback

    def engine_left_alone(self) -> None:
        """Announce that the engine is not asked any more."""
        self.emit(events.BreakerChanged, True, self.breaker.pending)  # noqa: FBT003 - fields of an event

    def engine_is_back(self, pending: int) -> None:
        """Announce that the engine is asked again."""
        log.warning("engine %r is back", self.info.name)
        self.emit(events.BreakerChanged, False, pending)  # noqa: FBT003 - fields of an event


def _nobody() -> None:
    """Nobody has to know of an invalidation that is queued."""


class Labelled(Protocol):
    """A key of a batch: what is kept beside its value."""

    label: object
    tags: tuple[str, ...]


class Changes:
    """What :meth:`Operations.swap` makes of an entry: a value and its ttl, or ``None`` to leave it."""

    __slots__ = ("_life",)

    def __init__(self, life: Lifecycle) -> None:
        self._life = life

    def add(self, value: object, ttl: float | None) -> Change:
        """Store a value where there is none."""
        return lambda entry: (value, ttl) if entry is MISSING else None

    def touch(self, ttl: float | None) -> Change:
        """Keep the value for longer or shorter."""
        return lambda entry: None if entry is MISSING else (entry.value, ttl)

    def incr(self, key: object, delta: int) -> Change:
        """Add to an integer."""

        def added(entry: Entry | MissingType) -> tuple[Any, float | None]:
            if entry is MISSING:
                return delta, self._life.ttl
            if type(entry.value) is not int:
                message = f"the value under {key!r} is a {type(entry.value).__name__}, not an int"
                raise TypeError(message)
            return entry.value + delta, self._life.remaining(entry)

        return added


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

"""Packing turns a value into what an engine stores, and back: three packers, one per way of storing.

``PlainPacker`` stores the value itself, ``EntryPacker`` a value with its clocks, ``SealedPacker`` an
authenticated envelope of serialized bytes.
"""

from __future__ import annotations

import copy
import random
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from cachewright.entry import MISSING, NEVER, AgedEntry, Clock, Entry, MissingType
from cachewright.errors import ConfigurationError, EnvelopeError, PluginLoadError, UnserializableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cachewright._claims import Claim
    from cachewright.codec.codecs import Codecs
    from cachewright.codec.compressor import Compressor
    from cachewright.envelope import Envelope, Opened
    from cachewright.freshness import Freshness
    from cachewright.serializer import Frames, Serializer, SerializerInfo


class Draft(NamedTuple):
    """A value about to be stored, with everything that is stored beside it.

    Attributes:
        value: the value, or what :func:`cachewright._negative.frozen` made of an exception.
        ttl: seconds, ``None`` for ever.
        seconds: what computing the value took.
        tags: tags with their tokens; these are empty where an index does their work.
        label: the key for listing, or a :class:`CallLabel`; ``MISSING`` to keep none.
        freshness: windows around the end of the ttl; ``None`` for none.
        negative: whether ``value`` stands for an exception.
    """

    value: object
    ttl: float | None = None
    seconds: float = 0.0
    tags: dict[str, str] = {}  # noqa: RUF012 - never changed
    label: object = MISSING
    freshness: Freshness | None = None
    negative: bool = False

    @property
    def kept(self) -> float | None:
        """Seconds until the entry is of no use at all; ``None`` for never."""
        if self.ttl is None:
            return None
        kept = self.ttl if self.freshness is None or self.negative else self.ttl + self.freshness.kept
        return None if kept == NEVER else kept


class CallLabel(NamedTuple):
    """What is kept beside the result of a call: whose it is, and a digest of every argument."""

    scope: str
    parts: tuple[bytes, ...]


class Packed:
    """What goes to the engine: the stored form, its bytes and its time to live, and who serialized it."""

    __slots__ = ("serializer", "size", "stored", "ttl")

    def __init__(self, stored: Any, size: int, serializer: str = "", ttl: float | None = None) -> None:
        self.stored = stored
        self.size = size
        self.serializer = serializer
        self.ttl = ttl


class Packer(Protocol):
    """Turns values into their stored form and back."""

    def pack(self, key: Any, draft: Draft) -> Packed:
        """Return the stored form; ``UnserializableError`` if there is none."""
        ...

    def unpack(self, key: Any, stored: Any) -> Entry | MissingType:
        """Return the entry, ``MISSING`` if it has expired; ``EnvelopeError`` if it must not be used."""
        ...


class PlainPacker:
    """Stores the value itself: for functions of one process without a ttl, at no cost at all."""

    def __init__(self, measure: Callable[[object], int] | None = None) -> None:
        self._measure = measure

    def pack(self, key: Any, draft: Draft) -> Packed:
        """Return the value as it is; there is no room for a deadline beside it."""
        value = draft.value
        if draft.ttl is not None:
            raise ConfigurationError(
                "ttl", draft.ttl, "None: this cache was opened without a ttl and keeps no deadlines"
            )
        _refuse_one_shot(value)
        return Packed(value, self._measure(value) if self._measure else 1)

    def unpack(self, key: Any, stored: Any) -> Entry | MissingType:
        """Return the value in an entry that never expires."""
        return Entry(stored)


class EntryPacker:
    """Stores an :class:`Entry` with a deadline on the monotonic clock of this process."""

    def __init__(
        self, clock: Clock, measure: Callable[[object], int] | None = None, *, private_copy: bool = False
    ) -> None:
        self._clock = clock
        self._measure = measure
        self._private_copy = private_copy

    def pack(self, key: Any, draft: Draft) -> Packed:
        """Return the value with its clocks."""
        value, ttl = draft.value, draft.ttl
        _refuse_one_shot(value)
        kept = self._copied(value) if self._private_copy else value
        tags = tuple(draft.tags)
        created = self._clock.wall()
        if draft.freshness is None and not draft.negative:
            expires = NEVER if ttl is None else self._clock.monotonic() + ttl
            entry = Entry(kept, expires, created, tags, draft.seconds, draft.label)
        else:
            entry = self._aged(draft, kept, created, tags)
        return Packed(entry, self._measure(value) if self._measure else 1, ttl=draft.kept)

    def _aged(self, draft: Draft, kept: object, created: float, tags: tuple[str, ...]) -> AgedEntry:
        now = self._clock.monotonic()
        soft = NEVER if draft.ttl is None else now + draft.ttl
        until = NEVER if draft.kept is None else now + draft.kept
        if draft.negative or draft.freshness is None:
            due = -NEVER  # a hit path hands out values: it must not meet this one
        else:
            due = min(draft.freshness.due(now, soft, draft.seconds), soft)
        return AgedEntry(
            kept, due, created, tags, draft.seconds, draft.label,
            soft=soft, until=until, ttl=draft.ttl, negative=draft.negative,
        )  # fmt: skip

    def unpack(self, key: Any, stored: Any) -> Entry | MissingType:
        """Return the stored entry, or a copy of it with a value of the caller's own."""
        entry: Entry = stored
        now = self._clock.monotonic()
        if entry.expires <= now and not (isinstance(entry, AgedEntry) and entry.until > now):
            return MISSING
        if not self._private_copy:
            return entry
        try:
            value = self._copied(entry.value)
        except UnserializableError:
            raise EnvelopeError("decode") from None
        copied = copy.copy(entry)
        copied.value = value
        return copied

    @staticmethod
    def _copied(value: object) -> object:
        try:
            return copy.deepcopy(value)
        except Exception as error:  # copying runs foreign code, which may refuse in any way
            name = f"{type(value).__module__}.{type(value).__qualname__}"
            reason = f'copy="value" cannot copy it: {type(error).__name__}: {error}'
            raise UnserializableError(name, reason, hint="leave out copy=") from error


class SerializerChain:
    """The serializers that may be used for one cache, asked in the order of their rank."""

    def __init__(self, infos: Sequence[SerializerInfo]) -> None:
        self.infos = tuple(sorted(infos, key=lambda info: (info.rank, info.name)))
        self._by_code = {info.code: info for info in self.infos}
        self._loaded: dict[int, Serializer] = {}

    def dumps(self, value: object) -> tuple[SerializerInfo, Frames]:
        """Serialize with the first serializer that accepts ``value``.

        Whatever a serializer raises, also for want of stack or memory, is its refusal.

        Raises:
            UnserializableError: none does; carries what each one said.
        """
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        refusals: list[str] = []
        for info in self.infos:
            if info.types and name not in info.types and not (not info.exact and _inherits(kind, info.types)):
                continue
            try:
                return info, self._serializer(info).dumps(value)
            except UnserializableError as refusal:
                refusals.append(f"{info.name}: {refusal.reason}")
            except PluginLoadError as broken:
                refusals.append(f"{info.name}: {broken.reason}")
            except Exception as error:  # noqa: BLE001 - foreign code; the next one may do better
                refusals.append(f"{info.name}: {type(error).__name__}: {error}")
        raise UnserializableError(
            name, "; ".join(refusals) or "no serializer is allowed for it", hint=self._hint()
        )

    def loads(self, opened: Opened) -> object:
        """Deserialize; any failure is an :class:`EnvelopeError`, which callers see as a miss."""
        info = self._by_code.get(opened.serializer)
        if info is None:
            raise EnvelopeError("serializer")
        try:
            return self._serializer(info).loads(opened.frames)
        except EnvelopeError:
            raise
        except PluginLoadError:
            raise EnvelopeError("serializer") from None
        except (RecursionError, MemoryError):  # its traceback would keep alive what did not fit
            raise EnvelopeError("decode") from None
        except Exception as error:  # decoding runs foreign code: a class may have moved, changed or raise
            raise EnvelopeError("decode") from error

    def name_of(self, code: int) -> str:
        """Return the name of the serializer with this id, for listing."""
        info = self._by_code.get(code)
        return info.name if info else f"unknown ({code:#04x})"

    def _serializer(self, info: SerializerInfo) -> Serializer:
        serializer = self._loaded.get(info.code)
        if serializer is None:
            serializer = self._loaded[info.code] = info.load()()
        return serializer

    def _hint(self) -> str:
        if any(info.executable for info in self.infos):
            return "return something that can be pickled, or keep the results in memory"
        return (
            "only plain data may be stored here, because stored entries are not authenticated; set"
            " CACHEWRIGHT_SIGNING_KEYS (or signing_keys=) to allow pickle, or return plain data"
        )


class SealedPacker:
    """Stores envelopes; see :mod:`cachewright.envelope`.

    Args:
        clock: its wall clock is used.
        envelope: seals and opens.
        chain: serializes.
        labels: serializes keys for listing.
        codecs: the codecs that ``envelope`` opens; ``None`` for none.
    """

    def __init__(
        self,
        clock: Clock,
        envelope: Envelope,
        chain: SerializerChain,
        labels: Serializer,
        codecs: Codecs | None = None,
    ) -> None:
        self._clock = clock
        self._envelope = envelope
        self._labels = labels
        self._codecs = codecs
        self.chain = chain

    def pack(self, key: Any, draft: Draft) -> Packed:
        """Serialize and seal."""
        info, frames = self.chain.dumps(draft.value)
        now = self._clock.wall()
        kept = draft.kept
        ages = draft.freshness is not None and draft.ttl is not None
        chunks = self._envelope.seal(
            key,
            frames,
            serializer=info.code,
            created=now,
            expires=None if kept is None else now + kept,
            soft=now + draft.ttl if ages and draft.ttl is not None else None,
            seconds=draft.seconds,
            tags=_joined_tags(draft.tags) if draft.tags else (),
            label=self._label(draft.label),
            flags=_EXCEPTION if draft.negative else 0,
            # two stored forms are never the same bytes: a compare-and-set tells even equal values apart
            generation=random.getrandbits(64),
        )
        return Packed(chunks, sum(map(len, chunks)), info.name, kept)

    def unpack(self, key: Any, stored: Any) -> Entry | MissingType:
        """Authenticate and deserialize; a claim is no entry."""
        opened = self.open(key, stored)
        if opened is MISSING:
            return MISSING
        if opened.special:
            return self._aged(opened)
        value = self.chain.loads(opened)
        expires = NEVER if opened.expires is None else opened.expires
        return Entry(value, expires, opened.created, (), opened.seconds)

    def _aged(self, opened: Opened) -> Entry | MissingType:
        if opened.flags & _CLAIM:
            return MISSING
        until = NEVER if opened.expires is None else opened.expires
        soft = until if opened.soft is None else opened.soft
        tokens = _split_tags(opened.tags)
        ttl = None if soft == NEVER else soft - opened.created
        value = self.chain.loads(opened)
        return AgedEntry(
            value, soft, opened.created, tuple(tokens), opened.seconds,
            soft=soft, until=until, ttl=ttl, negative=bool(opened.flags & _EXCEPTION), tokens=tokens,
        )  # fmt: skip

    def claim(
        self, key: str, payload: bytes, tokens: dict[str, str], label: object, *, expires: float | None
    ) -> bytes:
        """Return the envelope of a claim; see :mod:`cachewright._claims`."""
        chunks = self._envelope.seal(
            key,
            [payload],
            serializer=_RAW,
            created=self._clock.wall(),
            expires=expires,
            tags=_joined_tags(tokens),
            label=self._label(label),
            flags=_CLAIM,
        )
        return b"".join(chunks)

    def claim_of(self, key: str, stored: Any) -> Claim | None:
        """Return the claim that is stored under ``key``, ``None`` if something else is."""
        from cachewright._claims import parse_payload  # noqa: PLC0415 - for shared stores only

        try:
            opened = MISSING if stored is MISSING else self.open(key, stored)
        except EnvelopeError:
            return None
        if opened is MISSING or not opened.flags & _CLAIM:
            return None
        return parse_payload(opened.frames[0], _split_tags(opened.tags))

    def open(self, key: str, stored: Any) -> Opened | MissingType:
        """Authenticate without deserializing; ``MISSING`` if the entry has expired."""
        try:
            return self._envelope.open(key, stored, now=self._clock.wall())
        except EnvelopeError as refusal:
            if refusal.reason == "expired":
                return MISSING
            raise

    @property
    def key_id(self) -> bytes:
        """The id of the key that seals, zeros where none does."""
        return self._envelope.key_id

    def protection_of(self, opened: Opened) -> tuple[str, int, str]:
        """Return the names of codec, empty for none, and cipher, and the bytes before compressing."""
        codec = self._codecs.name_of(opened.codec) if self._codecs is not None else ""
        return codec, getattr(opened, "raw", 0), self._envelope.cipher

    def label_of(self, opened: Opened) -> object:
        """Return the key as the caller wrote it, a call's label, or ``MISSING`` where none was kept."""
        if not opened.label:
            return MISSING
        if opened.label[:1] == _CALL:
            return _parse_call(opened.label)
        try:
            return self._labels.loads([memoryview(opened.label)])
        except Exception:  # noqa: BLE001 - a label only serves listing; one that cannot be read is one that is absent
            return MISSING

    def _label(self, label: object) -> bytes:
        if label is MISSING:
            return b""
        if isinstance(label, CallLabel):
            scope = label.scope.encode("utf-8", "surrogatepass")
            return b"".join((_CALL, len(scope).to_bytes(4, "big"), scope, *label.parts))
        try:
            frames = self._labels.dumps(label)
        except UnserializableError:
            return b""
        return bytes(frames[0]) if len(frames) == 1 and len(frames[0]) <= _LABEL_LIMIT else b""


class CompressingPacker(SealedPacker):
    """Compresses what gains from it before sealing.

    A class of its own, so that who does not compress pays nothing for it.

    Args:
        compressor: chooses a codec for every value.
        clock: as for :class:`SealedPacker`, like the other arguments.
        envelope: seals and opens.
        chain: serializes.
        labels: serializes keys for listing.
        codecs: the codecs that ``envelope`` opens.
    """

    def __init__(
        self,
        compressor: Compressor,
        clock: Clock,
        envelope: Envelope,
        chain: SerializerChain,
        labels: Serializer,
        codecs: Codecs,
    ) -> None:
        super().__init__(clock, envelope, chain, labels, codecs)
        self._compressor = compressor

    def pack(self, key: Any, draft: Draft) -> Packed:
        """Serialize, compress if that pays, and seal."""
        info, frames = self.chain.dumps(draft.value)
        run = self._run(info, draft.value, frames)
        now, kept = self._clock.wall(), draft.kept
        ages = draft.freshness is not None and draft.ttl is not None
        fields: dict[str, Any] = {
            "serializer": info.code,
            "created": now,
            "expires": None if kept is None else now + kept,
            "soft": now + draft.ttl if ages and draft.ttl is not None else None,
            "seconds": draft.seconds,
            "tags": _joined_tags(draft.tags),
            "label": self._label(draft.label),
            "flags": _EXCEPTION if draft.negative else 0,
            "generation": random.getrandbits(64),  # as in SealedPacker
        }
        if run is None:
            chunks = self._envelope.seal(key, frames, **fields)
        else:
            packed, codec, raw = run
            chunks = self._envelope.seal_run(key, packed, codec=codec, raw=raw, **fields)
        return Packed(chunks, sum(map(len, chunks)), info.name, kept)

    def _run(self, info: SerializerInfo, value: object, frames: Frames) -> tuple[bytes, int, int] | None:
        """Return a compressed run, the id of its codec and its length before; ``None`` if none pays."""
        from cachewright._envelope_parts import flat, packed_run  # noqa: PLC0415 - for who compresses

        kind = type(value)
        views = [flat(frame) for frame in frames]
        choice = self._compressor.choose((info.code, kind.__module__, kind.__qualname__), views)
        if choice is None:
            return None
        run = packed_run(views)
        packed = choice.compress(run)
        if packed is None or not self._envelope.may_inflate(len(run), len(packed)):
            return None
        return packed, choice.code, len(run)


_LABEL_LIMIT = 4096
"""A longer key is not kept for listing."""

_CALL: Final = b"C"
"""First byte of the label of a call; those of keys are pickles, which begin with 0x80."""

DIGEST_BYTES: Final = 10
"""Bytes of the digest of an argument: two that differ match once in 2**80 times."""

_RAW: Final = 0x01
"""The serializer of claims: bytes as they are."""

_EXCEPTION, _CLAIM = 2, 4  # as in cachewright.envelope, which only engines of bytes need


def _parse_call(label: bytes) -> CallLabel:
    size = int.from_bytes(label[1:5], "big")
    scope, rest = label[5 : 5 + size], label[5 + size :]
    parts = [rest[at : at + DIGEST_BYTES] for at in range(0, len(rest), DIGEST_BYTES)]
    return CallLabel(scope.decode("utf-8", "surrogatepass"), tuple(parts))


def _joined_tags(tokens: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{token}:{tag}" for tag, token in tokens.items())


def _split_tags(stored: tuple[str, ...]) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for one in stored:
        token, _, tag = one.partition(":")
        tokens[tag] = token
    return tokens


def _inherits(kind: type, names: tuple[str, ...]) -> bool:
    return any(f"{base.__module__}.{base.__qualname__}" in names for base in kind.__mro__)


def _refuse_one_shot(value: object) -> None:
    kind = type(value)
    if kind is CoroutineType or hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
        raise UnserializableError(
            type(value).__name__,
            "it can be consumed only once, so a second caller would get nothing",
            hint="return a list instead",
        )

"""Packing turns a value into what an engine stores, and back: three packers, one per way of storing.

``PlainPacker`` stores the value itself, ``EntryPacker`` a value with its clocks, ``SealedPacker`` an
authenticated envelope of serialized bytes.
"""

from __future__ import annotations

import copy
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from cachewright.entry import MISSING, NEVER, Clock, Entry, MissingType
from cachewright.errors import ConfigurationError, EnvelopeError, PluginLoadError, UnserializableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cachewright.envelope import Envelope, Opened
    from cachewright.serializer import Frames, Serializer, SerializerInfo


class Packed:
    """What goes to the engine: the stored form, the bytes it counts for, and who serialized it."""

    __slots__ = ("serializer", "size", "stored")

    def __init__(self, stored: Any, size: int, serializer: str = "") -> None:
        self.stored = stored
        self.size = size
        self.serializer = serializer


class Packer(Protocol):
    """Turns values into their stored form and back."""

    def pack(
        self,
        key: Any,
        value: object,
        *,
        ttl: float | None,
        tags: tuple[str, ...],
        seconds: float,
        label: object,
    ) -> Packed:
        """Return the stored form; ``UnserializableError`` if there is none."""
        ...

    def unpack(self, key: Any, stored: Any) -> Entry | MissingType:
        """Return the entry, ``MISSING`` if it has expired; ``EnvelopeError`` if it must not be used."""
        ...


class PlainPacker:
    """Stores the value itself: for functions of one process without a ttl, at no cost at all."""

    def __init__(self, measure: Callable[[object], int] | None = None) -> None:
        self._measure = measure

    def pack(
        self,
        key: Any,
        value: object,
        *,
        ttl: float | None,
        tags: tuple[str, ...],
        seconds: float,
        label: object,
    ) -> Packed:
        """Return the value as it is; there is no room for a deadline beside it."""
        if ttl is not None:
            raise ConfigurationError(
                "ttl", ttl, "None: this cache was opened without a ttl and keeps no deadlines"
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

    def pack(
        self,
        key: Any,
        value: object,
        *,
        ttl: float | None,
        tags: tuple[str, ...],
        seconds: float,
        label: object,
    ) -> Packed:
        """Return the value with its clocks."""
        _refuse_one_shot(value)
        expires = NEVER if ttl is None else self._clock.monotonic() + ttl
        kept = self._copied(value) if self._private_copy else value
        entry = Entry(kept, expires, self._clock.wall(), tags, seconds, label)
        return Packed(entry, self._measure(value) if self._measure else 1)

    def unpack(self, key: Any, stored: Any) -> Entry | MissingType:
        """Return the stored entry, or a copy of it with a value of the caller's own."""
        entry: Entry = stored
        if entry.expires <= self._clock.monotonic():
            return MISSING
        if not self._private_copy:
            return entry
        try:
            value = self._copied(entry.value)
        except UnserializableError:
            raise EnvelopeError("decode") from None
        return Entry(value, entry.expires, entry.created, entry.tags, entry.seconds, entry.key)

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
    """Stores envelopes; see :mod:`cachewright.envelope`."""

    def __init__(self, clock: Clock, envelope: Envelope, chain: SerializerChain, labels: Serializer) -> None:
        self._clock = clock
        self._envelope = envelope
        self._labels = labels
        self.chain = chain

    def pack(
        self,
        key: Any,
        value: object,
        *,
        ttl: float | None,
        tags: tuple[str, ...],
        seconds: float,
        label: object,
    ) -> Packed:
        """Serialize and seal."""
        info, frames = self.chain.dumps(value)
        now = self._clock.wall()
        chunks = self._envelope.seal(
            key,
            frames,
            serializer=info.code,
            created=now,
            expires=None if ttl is None else now + ttl,
            seconds=seconds,
            tags=tags,
            label=self._label(label),
        )
        return Packed(chunks, sum(map(len, chunks)), info.name)

    def unpack(self, key: Any, stored: Any) -> Entry | MissingType:
        """Authenticate and deserialize."""
        opened = self.open(key, stored)
        if opened is MISSING:
            return MISSING
        value = self.chain.loads(opened)
        expires = NEVER if opened.expires is None else opened.expires
        return Entry(value, expires, opened.created, opened.tags, opened.seconds)

    def open(self, key: str, stored: Any) -> Opened | MissingType:
        """Authenticate without deserializing; ``MISSING`` if the entry has expired."""
        try:
            return self._envelope.open(key, stored, now=self._clock.wall())
        except EnvelopeError as refusal:
            if refusal.reason == "expired":
                return MISSING
            raise

    def label_of(self, opened: Opened) -> object:
        """Return the key as the caller wrote it, or ``MISSING`` where it was not kept."""
        if not opened.label:
            return MISSING
        try:
            return self._labels.loads([memoryview(opened.label)])
        except Exception:  # noqa: BLE001 - a label only serves listing; one that cannot be read is one that is absent
            return MISSING

    def _label(self, label: object) -> bytes:
        if label is MISSING:
            return b""
        try:
            frames = self._labels.dumps(label)
        except UnserializableError:
            return b""
        return bytes(frames[0]) if len(frames) == 1 and len(frames[0]) <= _LABEL_LIMIT else b""


_LABEL_LIMIT = 4096
"""A longer key is not kept for listing."""


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

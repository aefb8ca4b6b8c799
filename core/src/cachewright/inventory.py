"""An inventory says what a store holds: one description per entry, and a report on all of them."""

from __future__ import annotations

from dataclasses import dataclass


class EntryInfo:
    """What is known about one stored entry without decoding its value.

    Attributes:
        key: the key as the caller wrote it, ``MISSING`` where it was not kept.
        digest: the engine's key.
        size: stored bytes; 0 for an engine of objects.
        serializer: name of the serializer; empty for an engine of objects.
        engine: name of the engine.
        created: wall-clock seconds; 0.0 when not kept.
        expires: seconds left to live, ``None`` for never.
        compute_seconds: what computing the value took; 0.0 when unknown.
        tags: tags of the entry.
        codec: name of the codec; empty if the entry is not compressed.
        raw_size: bytes of the serialized value before it was compressed; 0 if it was not.
        cipher: name of the cipher; empty if the entry is not encrypted.
    """

    __slots__ = (
        "cipher",
        "codec",
        "compute_seconds",
        "created",
        "digest",
        "engine",
        "expires",
        "key",
        "raw_size",
        "serializer",
        "size",
        "tags",
    )

    def __init__(
        self,
        *,
        key: object,
        digest: str,
        engine: str,
        size: int = 0,
        serializer: str = "",
        created: float = 0.0,
        expires: float | None = None,
        compute_seconds: float = 0.0,
        tags: tuple[str, ...] = (),
        codec: str = "",
        raw_size: int = 0,
        cipher: str = "",
    ) -> None:
        self.key = key
        self.digest = digest
        self.size = size
        self.serializer = serializer
        self.engine = engine
        self.created = created
        self.expires = expires
        self.compute_seconds = compute_seconds
        self.tags = tags
        self.codec = codec
        self.raw_size = raw_size
        self.cipher = cipher

    def __repr__(self) -> str:
        return (
            f"EntryInfo(key={self.key!r}, digest={self.digest!r}, size={self.size},"
            f" serializer={self.serializer!r}, engine={self.engine!r})"
        )


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What :meth:`Cache.verify` found.

    Attributes:
        checked: entries looked at.
        unreadable: entries that cannot be used; each would be a miss.
        removed: of those, how many were removed.
    """

    checked: int
    unreadable: int
    removed: int

    @property
    def ok(self) -> bool:
        """Whether every entry can be used."""
        return self.unreadable == self.removed


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditGroup:
    """Entries of a store that have something in common.

    Attributes:
        about: "value" (how it is serialized), "signature", "size", or "unreadable".
        name: "objects", "data-only" or the name of a serializer that runs code; "unsigned", "signed",
            "encrypted" or "signed with an old key"; "oversized"; or why the entries cannot be read.
        entries: how many.
        size: their stored bytes.
        advice: what to do about them; empty if nothing.
    """

    about: str
    name: str
    entries: int
    size: int
    advice: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What :meth:`Cache.audit` found.

    Attributes:
        namespace: the cache.
        engine: its engine.
        entries: entries looked at.
        size: their stored bytes.
        groups: the entries by what they are; one entry is in several.
    """

    namespace: str
    engine: str
    entries: int
    size: int
    groups: tuple[AuditGroup, ...]

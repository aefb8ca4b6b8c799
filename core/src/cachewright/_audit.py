"""An audit counts the entries of a store by what they are, how they are signed, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cachewright._packing import SealedPacker
from cachewright.cipher import FIRST_CODE
from cachewright.engine import MappedBlob
from cachewright.entry import MISSING
from cachewright.envelope import CLAIM
from cachewright.envelope.header import HEADER, HEADER_SIZE
from cachewright.errors import EnvelopeError
from cachewright.inventory import AuditGroup, AuditReport
from cachewright.serializer import EXECUTABLE

if TYPE_CHECKING:
    from cachewright._lifecycle import Lifecycle
    from cachewright.envelope import Opened

_UNSIGNED: Final = "unsigned"
_OLD_KEY: Final = "signed with an old key"
_OVERSIZED: Final = "oversized"
_OBJECTS: Final = "objects"
_DATA: Final = "data-only"

_ADVICE: Final = {
    _UNSIGNED: "who can write to the store can change them, so that only plain data is kept there: set"
    " CACHEWRIGHT_SIGNING_KEYS",
    _OLD_KEY: "keep the old key in CACHEWRIGHT_SIGNING_KEYS, behind the new one, until they have expired or"
    " were stored again",
    _OVERSIZED: "store less of them, or compress=True, or an engine that maps files, such as sqlite",
    "pickle": "decoding runs code of their classes, and a class that has moved is a miss; plain data or a"
    " serializer for their type needs no pickle",
    "dill": "readable by the same versions of Python and dill only, and slow: functions and classes at top"
    " of a module need no dill",
}

_UNREADABLE: Final = {
    "suite": "written without a key or under other settings, and never used here: clear the cache, or remove"
    " them with verify(repair=True)",
    "unknown-key": "sealed with a key that is not among CACHEWRIGHT_SIGNING_KEYS: add it behind the first, or"
    " remove them with verify(repair=True)",
    "serializer": "stored by a serializer that is not installed, or not allowed here: install its plugin",
    "codec": "compressed by a codec that is not installed: install its plugin",
    "decode": "a class or a library has changed since they were stored: they will be computed again",
}
_DAMAGED: Final = "damaged or changed by somebody else, and never used: remove them with verify(repair=True)"


class Audit:
    """Takes in the stored entries of one cache and makes a report of them.

    Args:
        life: the rules of the cache.
        oversized: bytes from which an entry counts as oversized.
    """

    def __init__(self, life: Lifecycle, oversized: int) -> None:
        self._life = life
        self._oversized = oversized
        self._entries = 0
        self._bytes = 0
        self._groups: dict[tuple[str, str], tuple[int, int]] = {}

    def take(self, key: Any, stored: Any) -> None:
        """Count one entry; what has expired is none, nor is a claim."""
        packer = self._life.packer
        if not isinstance(packer, SealedPacker):
            if self._life.unpack(key, stored) is not MISSING:
                self._count(0, "value", _OBJECTS)
            return
        size = len(stored.view if isinstance(stored, MappedBlob) else stored)
        try:
            opened = packer.open(key, stored)
            if opened is MISSING or opened.flags & CLAIM:
                return
            packer.chain.loads(opened)
        except EnvelopeError as refusal:
            self._count(size, "unreadable", refusal.reason)
            return
        self._count(size, "value", self._kind(packer, opened))
        self._sign(packer, stored, size)
        if size >= self._oversized:
            self._add("size", _OVERSIZED, size)

    def report(self) -> AuditReport:
        """Return what was counted: kinds of values first, then signatures, sizes, and what is unreadable."""
        order = ("value", "signature", "size", "unreadable")
        groups = [
            AuditGroup(
                about=about,
                name=name,
                entries=entries,
                size=size,
                advice=_UNREADABLE.get(name, _DAMAGED) if about == "unreadable" else _ADVICE.get(name, ""),
            )
            for (about, name), (entries, size) in sorted(
                self._groups.items(), key=lambda item: (order.index(item[0][0]), -item[1][0], item[0][1])
            )
        ]
        return AuditReport(
            self._life.namespace, self._life.info.name, self._entries, self._bytes, tuple(groups)
        )

    @staticmethod
    def _kind(packer: SealedPacker, opened: Opened) -> str:
        return _DATA if opened.serializer < EXECUTABLE else packer.chain.name_of(opened.serializer)

    def _sign(self, packer: SealedPacker, stored: Any, size: int) -> None:
        header = HEADER.unpack_from(stored.view if isinstance(stored, MappedBlob) else stored[:HEADER_SIZE])
        suite, key_id = header[1], header[6]
        if not suite:
            self._add("signature", _UNSIGNED, size)
        elif key_id != packer.key_id:
            self._add("signature", _OLD_KEY, size)
        else:
            self._add("signature", "encrypted" if suite >= FIRST_CODE else "signed", size)

    def _count(self, size: int, about: str, name: str) -> None:
        self._entries += 1
        self._bytes += size
        self._add(about, name, size)

    def _add(self, about: str, name: str, size: int) -> None:
        entries, total = self._groups.get((about, name), (0, 0))
        self._groups[about, name] = entries + 1, total + size

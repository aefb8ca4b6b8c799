"""A space is the records of one namespace: what a transaction reads and changes of them.

All namespaces share one tree. Every name in it is a letter, the digest of the namespace, and:

======  ==================  ===========================================================
letter  then                record
======  ==================  ===========================================================
``e``   key                 deadline (8 bytes), then the entry's bytes
``m``   key                 deadline, rank, size (8 bytes each), then a long key's spelling
``o``   rank (8 bytes)      key, so that entries are found in the order of eviction
``t``                       entries, bytes, last rank given (8 bytes each)
======  ==================  ===========================================================

Numbers are big-endian; deadlines are microseconds since the epoch, all bits set for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Final

from cachewright_lmdb.failure import DamagedStoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cachewright_lmdb.environment import Txn

NEVER: Final = (1 << 64) - 1
SPARE: Final = 512
"""Entries that a write evicts beyond the room it needs, where a bound was lowered."""

_THREE: Final = Struct(">QQQ")
_ONE: Final = Struct(">Q")


@dataclass(slots=True)
class Totals:
    """What a namespace holds, and the last rank that it gave."""

    entries: int = 0
    bytes: int = 0
    clock: int = 0


@dataclass(slots=True)
class Row:
    """An entry that is to be stored.

    Attributes:
        key: as :func:`~cachewright_lmdb.key.encoded` returns it.
        spelling: of a long key.
        body: deadline and bytes; ``None`` if it is too large or is to be removed.
        expires: its deadline.
        size: what it counts for.
        removes: it is to be removed.
    """

    key: bytes
    spelling: bytes = b""
    body: bytes | None = None
    expires: int = NEVER
    size: int = 1
    removes: bool = False


class Space:
    """The records of one namespace, with its bounds. Every method works inside a transaction."""

    __slots__ = ("entry", "max_bytes", "maxsize", "meta", "order", "totals_name")

    def __init__(self, namespace: str, maxsize: int | None, max_bytes: int | None) -> None:
        digest = blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self.entry, self.meta, self.order, self.totals_name = (
            letter + digest for letter in (b"e", b"m", b"o", b"t")
        )
        self.maxsize = maxsize
        self.max_bytes = max_bytes

    def totals(self, txn: Txn) -> Totals:
        """Return the totals."""
        found = txn.get(self.totals_name)
        if found is None:
            return Totals()
        if len(found) != _THREE.size:
            raise DamagedStoreError("totals that are none")
        return Totals(*_THREE.unpack(found))

    def save(self, txn: Txn, totals: Totals) -> None:
        """Store the totals."""
        txn.put(self.totals_name, _THREE.pack(max(totals.entries, 0), max(totals.bytes, 0), totals.clock))

    def admits(self, size: int) -> bool:
        """Whether an entry of that size may be stored at all."""
        if self.maxsize is not None and self.maxsize < 1:
            return False
        return self.max_bytes is None or size <= self.max_bytes

    def read(self, txn: Txn, key: bytes, now: int) -> bytes | None:
        """Return the bytes of an entry that has not expired."""
        found = txn.get(self.entry + key)
        if found is None or len(found) < _ONE.size or _ONE.unpack_from(found)[0] <= now:
            return None
        return bytes(found[_ONE.size :])

    def put(self, txn: Txn, totals: Totals, row: Row) -> bool:
        """Store or remove an entry, and evict others for it; return whether it was stored."""
        before = (totals.entries, totals.bytes)
        if row.body is None:
            self.remove(txn, totals, row.key, 0)
            return False
        found = txn.get(self.meta + row.key)
        if found is not None:
            _, old, size = _numbers(found)
            txn.delete(self.order + _ONE.pack(old))
            totals.entries -= 1
            totals.bytes -= size
        totals.clock += 1
        rank = _ONE.pack(totals.clock)
        txn.put(self.entry + row.key, row.body)
        txn.put(self.meta + row.key, _THREE.pack(row.expires, totals.clock, row.size) + row.spelling)
        txn.put(self.order + rank, row.key)
        totals.entries += 1
        totals.bytes += row.size
        if self._over(totals, None):
            self._evict(txn, totals, before, totals.clock)
        return True

    def remove(self, txn: Txn, totals: Totals, key: bytes, now: int) -> bool:
        """Remove an entry; return whether there was one that had not expired."""
        found = txn.get(self.meta + key)
        if found is None:
            return False
        expires, rank, size = _numbers(found)
        txn.delete(self.meta + key)
        txn.delete(self.entry + key)
        txn.delete(self.order + _ONE.pack(rank))
        totals.entries -= 1
        totals.bytes -= size
        return expires > now

    def use(self, txn: Txn, totals: Totals, keys: Iterable[bytes]) -> None:
        """Move entries to the end of the order of eviction, the last one last."""
        for key in keys:
            found = txn.get(self.meta + key)
            if found is None:
                continue
            expires, rank, size = _numbers(found)
            totals.clock += 1
            txn.delete(self.order + _ONE.pack(rank))
            txn.put(self.order + _ONE.pack(totals.clock), key)
            txn.put(self.meta + key, _THREE.pack(expires, totals.clock, size) + bytes(found[_THREE.size :]))

    def listed(self, txn: Txn, after: bytes, limit: int) -> list[tuple[bytes, int, bytes]]:
        """Return up to ``limit`` keys behind ``after``, each with its deadline and spelling."""
        found: list[tuple[bytes, int, bytes]] = []
        start, length = self.meta, len(self.meta)
        with txn.cursor() as cursor:
            ready = cursor.set_range(start + after)
            while ready and len(found) < limit:
                name, record = bytes(cursor.key()), bytes(cursor.value())
                if not name.startswith(start):
                    break
                key = name[length:]
                if key != after or not after:
                    found.append((key, _numbers(record)[0], record[_THREE.size :]))
                ready = cursor.next()
        return found

    def sweep(self, txn: Txn, totals: Totals, now: int, after: bytes, limit: int) -> bytes:
        """Remove what has expired among the next ``limit`` entries; return where to go on."""
        found = self.listed(txn, after, limit)
        for key, expires, _ in found:
            if expires <= now:
                self.remove(txn, totals, key, now)
        return found[-1][0] if len(found) == limit else b""

    def empty(self, txn: Txn, totals: Totals, after: bytes, limit: int) -> bytes:
        """Remove the next ``limit`` entries whatever they are; return where to go on, nothing at the end."""
        found = self.listed(txn, after, limit)
        for key, _, _ in found:
            self.remove(txn, totals, key, 0)
        return found[-1][0] if len(found) == limit else b""

    def empty_rest(self, txn: Txn, totals: Totals) -> None:
        """Remove every record, those that damage has made unreachable too."""
        for prefix in (self.meta, self.entry, self.order):
            with txn.cursor() as cursor:
                ready = cursor.set_range(prefix)
                while ready and bytes(cursor.key()).startswith(prefix):
                    ready = cursor.delete()
        totals.entries = totals.bytes = 0

    def _over(self, totals: Totals, before: tuple[int, int] | None) -> bool:
        """Whether a bound is exceeded; with ``before``, by more than it was then."""
        entries, size = self.maxsize, self.max_bytes
        if entries is not None and totals.entries > (max(entries, before[0]) if before else entries):
            return True
        return size is not None and totals.bytes > (max(size, before[1]) if before else size)

    def _evict(self, txn: Txn, totals: Totals, before: tuple[int, int], keep: int) -> None:
        """Remove entries of the lowest rank until the bounds hold.

        Where they did not hold ``before`` this write, because one was lowered, at most :data:`SPARE` go
        beyond what this write needs.
        """
        spare, recounted = SPARE, False
        while self._over(totals, None):
            if not self._over(totals, before):
                if not spare:
                    return
                spare -= 1
            lowest = self._lowest(txn)
            if lowest is None or lowest[0] == keep:
                if recounted:
                    return  # nothing but the new entry is left
                recounted = True
                self._recount(txn, totals)
                continue
            rank, key = lowest
            txn.delete(self.order + _ONE.pack(rank))
            found = txn.get(self.meta + key)
            if found is not None and _numbers(found)[1] == rank:
                self.remove(txn, totals, key, 0)

    def _lowest(self, txn: Txn) -> tuple[int, bytes] | None:
        with txn.cursor() as cursor:
            if not cursor.set_range(self.order):
                return None
            name, key = bytes(cursor.key()), bytes(cursor.value())
        if not name.startswith(self.order):
            return None
        if len(name) != len(self.order) + _ONE.size:
            raise DamagedStoreError("a rank that is none")
        return _ONE.unpack_from(name, len(self.order))[0], key

    def _recount(self, txn: Txn, totals: Totals) -> None:
        totals.entries = totals.bytes = 0
        with txn.cursor() as cursor:
            ready = cursor.set_range(self.meta)
            while ready and bytes(cursor.key()).startswith(self.meta):
                totals.entries += 1
                totals.bytes += _numbers(cursor.value())[2]
                ready = cursor.next()


def deadline(micros: int) -> bytes:
    """Return a deadline as the first bytes of an entry."""
    return _ONE.pack(micros)


def _numbers(record: bytes) -> tuple[int, int, int]:
    if len(record) < _THREE.size:
        raise DamagedStoreError("a record that is too short")
    expires, rank, size = _THREE.unpack_from(record)
    return expires, rank, size

"""A space is the rows of one namespace, with totals that every change keeps exact in its transaction."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from cachewright.builtin.sqlite.failure import DamagedIndexError
from cachewright.entry import MISSING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from cachewright.engine import Blob, MappedBlob
    from cachewright.entry import MissingType

READ = "SELECT key, space, expires, rank, file, body FROM entries WHERE id = ?"

_TOTALS = "SELECT name, entries, bytes, clock FROM spaces WHERE id = ?"
_NEW_SPACE = "INSERT INTO spaces (id, name, entries, bytes, clock) VALUES (?, ?, 0, 0, 0)"
_SAVE = "UPDATE spaces SET entries = ?, bytes = ?, clock = ? WHERE id = ?"
_SHRINK_OTHER = "UPDATE spaces SET entries = entries - 1, bytes = bytes - ? WHERE id = ?"
_RECOUNT = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM entries WHERE space = ?"
_OLD = "SELECT space, size, file FROM entries WHERE id = ?"
_ONE = "SELECT space, key, expires, size, file FROM entries WHERE id = ?"
_INSERT = (
    "INSERT INTO entries (space, key, size, expires, rank, file, body, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE entries SET space = ?, key = ?, size = ?, expires = ?, rank = ?, file = ?, body = ? WHERE id = ?"
)
_RANK = "SELECT rank FROM entries WHERE id = ?"
"""Asked after a write: in a damaged tree an id can be there twice, and an old value must not come back."""
_DELETE = "DELETE FROM entries WHERE id = ?"
_USE = "UPDATE entries SET rank = ? WHERE id = ? AND space = ?"
_EXPIRED = (
    "SELECT id, size, file FROM entries WHERE space = ? AND expires <= ? AND id <> ? ORDER BY expires LIMIT ?"
)
_OLDEST = "SELECT id, size, file FROM entries WHERE space = ? AND id <> ? ORDER BY rank LIMIT ?"
_FIRST = "SELECT id, size, file FROM entries WHERE space = ? AND rank <= ? ORDER BY rank LIMIT ?"
_SPACES = "SELECT name FROM spaces WHERE EXISTS (SELECT 1 FROM entries WHERE space = spaces.id) ORDER BY name"
_COUNT = (
    "SELECT entries - (SELECT COUNT(*) FROM entries WHERE space = spaces.id AND expires <= ?)"
    " FROM spaces WHERE id = ?"
)
_KEYS = "SELECT key FROM entries WHERE space = ? AND (expires IS NULL OR expires > ?) ORDER BY rank"

BATCH = 64
"""Rows that one write may remove beyond those it needs the room of."""

LAST = 2**63 - 1


def space_names(connection: sqlite3.Connection) -> list[bytes]:
    """Return the encoded names of the namespaces that have entries."""
    return [name for (name,) in connection.execute(_SPACES) if isinstance(name, bytes)]


def digest(content: bytes) -> int:
    """Return the signed 64-bit integer by which SQLite finds a row fastest."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


_PRIME: Final = 2**63 - 25


def row_id(space: int, key: bytes) -> int:
    """Return the id of the row for a key of a namespace, whose own id is ``space``.

    Keys are hexadecimal digests, so a remainder spreads them as well as another digest would, in a
    quarter of the time. Two keys that meet in one row replace each other; since the key itself is stored
    and compared, neither is taken for the other.
    """
    try:
        number = int(key, 16)
    except ValueError:
        return digest(space.to_bytes(8, "little", signed=True) + key)
    return ((number << 16 | len(key) & 0xFFFF) % _PRIME) ^ space


@dataclass(slots=True)
class Totals:
    """What the namespace's own row says: number of entries, sum of their sizes, and its clock."""

    entries: int
    bytes: int
    clock: int


@dataclass(slots=True)
class Row:
    """An entry about to be stored in ``file`` or ``body``; ``expires`` is in microseconds."""

    id: int
    key: bytes
    size: int
    expires: int | None
    file: bytes | None = None
    body: bytes | None = None

    @property
    def stored(self) -> bool:
        """Whether there is something to store; an entry that is larger than the bounds has nothing."""
        return self.file is not None or self.body is not None


@dataclass(slots=True)
class SwapRow(Row):
    """A row that is stored only if the entry is ``expected`` then; removed if it has nothing to store."""

    expected: Blob | MappedBlob | MissingType = MISSING
    removes: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    """The statements on one namespace; every method runs inside the caller's transaction.

    Methods that remove rows add the names of files which must go once the transaction is committed
    to ``dropped``.

    Attributes:
        id: digest of ``name``.
        name: the namespace, encoded.
        maxsize: bound on the number of entries.
        max_bytes: bound on the sum of their sizes.
    """

    id: int
    name: bytes
    maxsize: int | None
    max_bytes: int | None

    def totals(self, connection: sqlite3.Connection) -> Totals:
        """Return the totals, after making the namespace's row where there is none."""
        row = connection.execute(_TOTALS, (self.id,)).fetchone()
        if row is None:
            connection.execute(_NEW_SPACE, (self.id, self.name))
            return Totals(0, 0, 0)
        name, entries, size, clock = row
        if name != self.name:
            raise DamagedIndexError("a namespace has another one's digest")
        return Totals(_whole(entries), _whole(size), _whole(clock))

    def save(self, connection: sqlite3.Connection, totals: Totals) -> None:
        """Write the totals back."""
        connection.execute(_SAVE, (totals.entries, totals.bytes, totals.clock, self.id))

    def put(
        self, connection: sqlite3.Connection, totals: Totals, row: Row, now: int, dropped: list[object]
    ) -> None:
        """Store an entry, replacing the one it has the id of, and make room for it."""
        entries, size = totals.entries, totals.bytes
        statement = _UPDATE if self._forget(connection, totals, row.id, dropped) else _INSERT
        totals.clock += 1
        totals.entries += 1
        totals.bytes += row.size
        connection.execute(
            statement, (self.id, row.key, row.size, row.expires, totals.clock, row.file, row.body, row.id)
        )
        if connection.execute(_RANK, (row.id,)).fetchone() != (totals.clock,):
            raise DamagedIndexError("a row that was just written cannot be found")
        if self._over(totals, None):
            self._evict(connection, totals, Totals(entries, size, 0), row.id, now, dropped)

    def delete(
        self,
        connection: sqlite3.Connection,
        totals: Totals,
        key: bytes,
        row: int,
        now: int,
        dropped: list[object],
    ) -> bool:
        """Remove the entry of a key; return whether there was one that had not expired."""
        found = connection.execute(_ONE, (row,)).fetchone()
        if found is None:
            return False
        space, stored, expires, size, file = found
        if space != self.id or stored != key:
            return False
        self._discard(connection, totals, row, size, file, dropped)
        if connection.execute(_RANK, (row,)).fetchone() is not None:
            raise DamagedIndexError("a row that was just removed is still there")
        return not isinstance(expires, int) or expires > now

    def put_or_delete(
        self, connection: sqlite3.Connection, totals: Totals, row: Row, now: int, dropped: list[object]
    ) -> None:
        """Store an entry; one that has nothing to store leaves none under its key."""
        if row.stored:
            self.put(connection, totals, row, now, dropped)
        else:
            self.delete(connection, totals, row.key, row.id, now, dropped)

    def use(self, connection: sqlite3.Connection, totals: Totals, rows: Iterable[int]) -> None:
        """Count ``rows`` as used, in that order."""
        for row in rows:
            totals.clock += 1
            connection.execute(_USE, (totals.clock, row, self.id))

    def purge(self, connection: sqlite3.Connection, totals: Totals, now: int, dropped: list[object]) -> None:
        """Remove up to ``BATCH`` expired entries."""
        for row, size, file in connection.execute(_EXPIRED, (self.id, now, 0, BATCH)).fetchall():
            self._discard(connection, totals, row, size, file, dropped)

    def empty(
        self, connection: sqlite3.Connection, totals: Totals, until: int, limit: int, dropped: list[object]
    ) -> int:
        """Remove up to ``limit`` entries of a rank up to ``until``; return how many there were."""
        rows = connection.execute(_FIRST, (self.id, until, limit)).fetchall()
        for row, size, file in rows:
            self._discard(connection, totals, row, size, file, dropped)
        return len(rows)

    def empty_rest(self, connection: sqlite3.Connection, totals: Totals, dropped: list[object]) -> None:
        """Remove every entry that is left, and give the totals a fresh start."""
        while self.empty(connection, totals, LAST, BATCH, dropped):
            pass
        totals.entries = totals.bytes = 0

    def count(self, connection: sqlite3.Connection, now: int) -> int:
        """Return the number of entries that have not expired."""
        row = connection.execute(_COUNT, (now, self.id)).fetchone()
        return max(0, _whole(row[0])) if row else 0

    def keys(self, connection: sqlite3.Connection, now: int) -> list[object]:
        """Return the keys of the entries that have not expired, those stored or used last at the end."""
        return [key for (key,) in connection.execute(_KEYS, (self.id, now)).fetchall()]

    def _over(self, totals: Totals, before: Totals | None) -> bool:
        """Whether a bound is exceeded; with ``before``, by more than it was then."""
        entries, size = self.maxsize, self.max_bytes
        if entries is not None and totals.entries > (max(entries, before.entries) if before else entries):
            return True
        return size is not None and totals.bytes > (max(size, before.bytes) if before else size)

    def _evict(
        self,
        connection: sqlite3.Connection,
        totals: Totals,
        before: Totals,
        keep: int,
        now: int,
        dropped: list[object],
    ) -> None:
        """Remove entries until the bounds hold: expired ones first, then those of the lowest rank.

        A write makes the room it needs, however many entries that takes; where the bounds did not
        hold ``before`` it, because a limit was lowered, it removes at most ``BATCH`` more.

        Args:
            connection: in a transaction.
            totals: as they are now; kept up to date.
            before: as they were before this write.
            keep: the row just written, which stays.
            now: wall-clock microseconds.
            dropped: takes the names of files.
        """
        spare, recounted, limit = BATCH, False, 4
        while self._over(totals, None) and (spare or self._over(totals, before)):
            rows = connection.execute(_EXPIRED, (self.id, now, keep, limit)).fetchall()
            rows = rows or connection.execute(_OLDEST, (self.id, keep, limit)).fetchall()
            limit = BATCH
            if not rows:
                if recounted:
                    return  # nothing but the new entry is left
                recounted = self._recount(connection, totals)
            for row, size, file in rows:
                if not self._over(totals, None):
                    return
                if not self._over(totals, before):
                    if not spare:
                        return
                    spare -= 1
                self._discard(connection, totals, row, size, file, dropped)

    def _forget(
        self, connection: sqlite3.Connection, totals: Totals, row: int, dropped: list[object]
    ) -> bool:
        """Take a row out of the totals, but leave it; return whether it exists."""
        old = connection.execute(_OLD, (row,)).fetchone()
        if old is None:
            return False
        space, size, file = old
        if space == self.id:
            totals.entries -= 1
            totals.bytes -= _whole(size)
        else:  # two keys with one 64-bit digest: the later one wins, the other is a miss
            connection.execute(_SHRINK_OTHER, (_whole(size), space))
        if file is not None:
            dropped.append(file)
        return True

    def _discard(
        self,
        connection: sqlite3.Connection,
        totals: Totals,
        row: int,
        size: object,
        file: object,
        dropped: list[object],
    ) -> None:
        if connection.execute(_DELETE, (row,)).rowcount != 1:
            raise DamagedIndexError("an index lists a row that does not exist")
        totals.entries -= 1
        totals.bytes -= _whole(size)
        if file is not None:
            dropped.append(file)

    def _recount(self, connection: sqlite3.Connection, totals: Totals) -> bool:
        entries, size = connection.execute(_RECOUNT, (self.id,)).fetchone()
        totals.entries, totals.bytes = _whole(entries), _whole(size)
        return True


def _whole(value: object) -> int:
    if type(value) is not int:
        raise DamagedIndexError("a number in the index is none")
    return value

"""The diskcache engines keep entries in a directory of diskcache's layout, for the processes of a host."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cachewright.engine import Engine, MappedBlob
from cachewright.entry import MISSING, MissingType
from cachewright.errors import ClosedError
from cachewright_diskcache.cache import TOGETHER, BytesCache
from cachewright_diskcache.change import Change, make
from cachewright_diskcache.disk import as_chunks
from cachewright_diskcache.failure import RefusedRowError, failure
from cachewright_diskcache.library import MODE_RAW
from cachewright_diskcache.notice import notice
from cachewright_diskcache.options import Options
from cachewright_diskcache.stores import leave_store, open_store, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cachewright.engine import Blob, Chunks, EngineConfig, Swap
    from cachewright_diskcache.shard import Shard
    from cachewright_diskcache.stores import Store

_PREFIX: Final = 16
"""Bytes of a stored key that stand for the namespace."""

_LATEST: Final = 1e15
"""Deadlines beyond this are none."""


class DiskcacheEngine(Engine):
    """Entries in a diskcache ``Cache``: an SQLite database, and files for large values.

    Nothing is ever pickled or unpickled. A process that is killed loses nothing that was acknowledged. Large
    values are returned as views on their files where the directory is private.

    Options: see :class:`Options`.
    """

    name: ClassVar[str] = "diskcache"
    shards: ClassVar[int] = 0
    """Databases by default; 0 for the one of a plain Cache."""

    def __init__(self, config: EngineConfig) -> None:
        options = Options.of(config, self.shards)
        digest = blake2b(config.namespace.encode("utf-8", "surrogatepass"), digest_size=_PREFIX)
        self._namespace = config.namespace
        self._prefix = digest.digest()
        self._tag = digest.hexdigest()
        self._wall = config.clock.wall
        self._store: Store | None = open_store(self.name, options)
        if not options.accept_cve:
            notice.give(self.name)

    @property
    def private(self) -> bool:
        """Whether only the current user can have written what is stored."""
        return self._opened().directory.private

    def get(self, key: str, /) -> bytes | MappedBlob | MissingType:
        """Return the stored bytes, mapped if they have a large file of their own, or ``MISSING``."""
        text = key.encode("utf-8", "surrogatepass") if type(key) is str else self._encoded(key)
        name = self._prefix + text
        shards = (self._store or self._opened()).shards
        shard = shards[0] if len(shards) == 1 else shards[place_of(name, len(shards))]
        for _ in range(3):  # a file that vanished belonged to an entry which was replaced meanwhile
            row = shard.find(name, self._wall)
            if row is None:
                return MISSING
            value = row[2]
            if row[0] == MODE_RAW and type(value) is bytes:
                return value
            blob = self._fetch(shard, row)
            if blob is not None:
                return blob
        return MISSING

    def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; see :meth:`Engine.set`."""
        return self.set_many(((key, value, ttl, size),)) == 1

    def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, many per transaction; return how many were stored."""
        swaps = ((key, None, value, ttl, size) for key, value, ttl, size in entries)
        return sum(self._write_all("set", swaps, compare=False))

    def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one that had not expired."""
        return self.delete_many((key,)) == 1

    def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, many per transaction; return how many had not expired."""
        store, removed = self._opened(), 0
        names: dict[Shard, list[bytes]] = {}
        for key in keys:
            name = self._stored(key)
            names.setdefault(store.pick(name), []).append(name)
        now = self._wall()
        for shard, mine in names.items():
            for at in range(0, len(mine), TOGETHER):
                removed += shard.run(
                    "delete", BytesCache.drop_all, mine[at : at + TOGETHER], now, writing=True
                )
        return removed

    def get_many(self, keys: Iterable[str], /) -> dict[str, bytes | MappedBlob]:
        """Return the entries found, keyed as asked."""
        found: dict[str, bytes | MappedBlob] = {}
        for key in keys:
            blob = self.get(key)
            if blob is not MISSING:
                found[key] = blob
        return found

    def clear(self) -> None:
        """Remove every entry of this namespace and of no other, by the index of tags.

        Most goes in small transactions, so that other writers get their turn; the last one of each database
        takes whatever is left.
        """
        tag = self._tag
        for shard in self._opened().shards:
            more = TOGETHER
            while more == TOGETHER:
                more = shard.run("clear", BytesCache.drop_tagged, tag, TOGETHER, writing=True)
            shard.run("clear", BytesCache.drop_tagged, tag, -1, writing=True)

    def keys(self) -> Iterator[str]:
        """Iterate over a snapshot of the keys of entries that have not expired."""
        tag, now = self._tag, self._wall()
        found: list[str] = []
        for shard in self._opened().shards:
            names = shard.run("list keys", BytesCache.tagged, tag, now)
            mine = [name for name in names if isinstance(name, bytes) and name.startswith(self._prefix)]
            found += [name[_PREFIX:].decode("utf-8", "surrogatepass") for name in mine]
        return iter(found)

    def count(self) -> int:
        """Return the number of entries that have not expired."""
        tag, now = self._tag, self._wall()
        shards = self._opened().shards
        return sum([shard.run("count", BytesCache.count_tagged, tag, now) for shard in shards])

    def compare_and_set(
        self,
        key: str,
        expected: Blob | MappedBlob | MissingType,
        value: Chunks | MissingType,
        /,
        *,
        ttl: float | None = None,
        size: int = 1,
    ) -> bool:
        """Store ``value`` only if ``expected`` is stored now; atomic for all processes of the host."""
        return self.compare_and_set_many(((key, expected, value, ttl, size),))[0]

    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        """Do :meth:`compare_and_set` for each swap in turn, many per transaction; return which took place."""
        return self._write_all("compare_and_set", swaps, compare=True)

    def close(self) -> None:
        """Let go of the store; its databases are closed with its last engine."""
        store, self._store = self._store, None
        if store is not None:
            leave_store(store)

    def _opened(self) -> Store:
        store = self._store
        if store is None:
            raise ClosedError(f"{self.name} engine of namespace {self._namespace!r}")
        return store

    def _stored(self, key: object) -> bytes:
        """Return the key under which diskcache stores an entry: bytes, so that nobody pickles it."""
        return self._prefix + self._encoded(key)

    def _encoded(self, key: object) -> bytes:
        """Return the bytes of a key."""
        if isinstance(key, str):
            return key.encode("utf-8", "surrogatepass")
        raise TypeError(f"the {self.name} engine takes keys of type str, not {type(key).__name__}")

    def _fetch(self, shard: Shard, row: tuple[Any, ...]) -> bytes | MappedBlob | MissingType | None:
        """Return the value of a row, ``None`` if its file is gone."""
        try:
            return shard.disk.fetch(row[0], row[1], row[2], False)  # noqa: FBT003 - the library's own parameter
        except RefusedRowError:
            return MISSING
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failure(self.name, "get", error) from error

    def _write_all(self, operation: str, swaps: Iterable[Swap], *, compare: bool) -> list[bool]:
        done: list[bool] = []
        batch: list[Change] = []
        try:
            for swap in swaps:
                batch.append(self._change(operation, swap, compare=compare))
                if len(batch) >= TOGETHER:
                    done += self._commit(operation, batch)
                    batch = []
            return done + self._commit(operation, batch)
        except BaseException:
            for change in batch:
                change.undo()
            raise

    def _change(self, operation: str, swap: Swap, *, compare: bool) -> Change:
        """Return what a swap is to change, its value file written."""
        key, expected, value, ttl, _ = swap
        name = self._stored(key)
        shard = self._opened().pick(name)
        change = Change(name, shard, expected if compare else None)
        if value is not MISSING:
            change.fields = shard.prepare(operation, as_chunks(value))
            deadline = None if ttl is None else self._wall() + ttl
            change.expires = deadline if deadline is None or deadline < _LATEST else None
        return change

    def _commit(self, operation: str, batch: list[Change]) -> list[bool]:
        """Make the changes, those to one database in one transaction; return which took place."""
        now = self._wall()
        for shard in dict.fromkeys([change.shard for change in batch]):
            changes = [change for change in batch if change.shard is shard]
            shard.run(operation, make, changes, self._tag, now, writing=True)
        for change in batch:
            if not change.made:
                change.undo()
        return [change.made for change in batch]


class FanoutEngine(DiskcacheEngine):
    """The same over the databases of a diskcache ``FanoutCache``, for many who write at once."""

    name: ClassVar[str] = "diskcache-fanout"
    shards: ClassVar[int] = 8

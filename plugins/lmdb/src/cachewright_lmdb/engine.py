"""The lmdb engine keeps entries in a memory-mapped file that the processes of a host share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

import lmdb

from cachewright.engine import Engine
from cachewright.entry import MISSING, MissingType
from cachewright.errors import ClosedError, EngineError
from cachewright_lmdb.key import LONGEST, decoded, encoded, spelled
from cachewright_lmdb.options import Options
from cachewright_lmdb.stores import leave_store, open_store
from cachewright_lmdb.table import NEVER, Row, Space, Totals, deadline
from cachewright_lmdb.uses import Uses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cachewright.engine import Blob, Chunks, EngineConfig, Swap
    from cachewright_lmdb.environment import Txn
    from cachewright_lmdb.store import Store

T = TypeVar("T")

MICROSECONDS: Final = 1_000_000
LARGEST: Final = (1 << 32) - 16
"""LMDB takes values of up to 4 GiB; a few bytes are ours."""

TOGETHER: Final = 256
"""Entries that are stored, listed or removed in one transaction."""

SWEEP_EVERY: Final = 16
"""Writes after which some entries are looked at, and removed if they have expired."""

_HEAD = 8
_VIEWED = 8192
"""Bytes from which on a view on what LMDB returned is cheaper than a copy without the deadline."""


class LmdbEngine(Engine):
    """Entries in one LMDB file, read without a system call.

    Engine objects and namespaces of one directory share one file, open once per process. A process that is
    killed loses nothing that was acknowledged; a crash of the operating system may lose the latest writes, or
    have the file found damaged and set aside with a
    :class:`~cachewright.errors.StoreQuarantinedWarning`, unless ``durable`` is set.

    Options: ``durable``, ``trust_directory``, ``map_size`` and ``max_readers``, see :class:`Options`.
    """

    name: ClassVar[str] = "lmdb"

    def __init__(self, config: EngineConfig) -> None:
        options = Options.of(config)
        self._namespace = config.namespace
        self._space = Space(config.namespace, config.maxsize, config.max_bytes)
        self._entry = self._space.entry
        self._clock = config.clock
        self._timeout = config.timeout
        bounded = config.maxsize is not None or config.max_bytes is not None
        self._uses = Uses() if bounded and config.policy != "fifo" else None
        self._writes = 0
        self._swept = b""
        self._store: Store | None = open_store(options)

    @property
    def private(self) -> bool:
        """Whether only the current user can have written what is stored."""
        return self._opened().private

    def get(self, key: str, /) -> bytes | memoryview | MissingType:
        """Return the stored bytes, or ``MISSING``."""
        short = key.encode("utf-8", "surrogatepass") if type(key) is str else encoded(key)
        if len(short) > LONGEST:
            short = encoded(key)
        name = self._entry + short
        store, found, done = self._opened(), None, False
        with store.gate:
            environment = store.environment
            if environment is not None and time.monotonic() < store.recheck:
                try:
                    txn = environment.begin()
                    found = txn.get(name)
                    txn.abort()
                    done = True
                except lmdb.Error:  # the store finds out what to do about it
                    done = False
        if not done:
            found = store.read("get", lambda txn: txn.get(name), self._timeout)
        if found is None or len(found) < _HEAD:
            return MISSING
        expires = int.from_bytes(found[:_HEAD], "big")
        if expires != NEVER and expires <= self._now():
            return MISSING
        if self._uses is not None:
            self._note(store, short)
        return found[_HEAD:] if len(found) < _VIEWED else memoryview(found)[_HEAD:]

    def get_many(self, keys: Iterable[str], /) -> dict[str, bytes | memoryview]:
        """Return the entries found, all of one snapshot, keyed as asked."""
        names = {key: encoded(key) for key in keys}
        now, space = self._now(), self._space

        def work(txn: Txn) -> dict[str, bytes | memoryview]:
            found = ((key, space.read(txn, name, now)) for key, name in names.items())
            return {key: body for key, body in found if body is not None}

        store = self._opened()
        found = store.read("get", work, self._timeout)
        if self._uses is not None:
            for key in found:
                self._note(store, names[key])
        return found

    def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; see :meth:`Engine.set`."""
        return self._put_all([self._row(key, value, ttl, size)])[0]

    def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, many per transaction; return how many were stored."""
        stored = 0
        rows: list[Row] = []
        for entry in entries:
            rows.append(self._row(*entry))
            if len(rows) >= TOGETHER:
                stored += sum(self._put_all(rows))
                rows = []
        return stored + (sum(self._put_all(rows)) if rows else 0)

    def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one that had not expired."""
        return self.delete_many((key,)) == 1

    def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, many per transaction; return how many had not expired."""
        names = [encoded(key) for key in keys]
        now, space, removed = self._now(), self._space, 0
        for at in range(0, len(names), TOGETHER):
            batch = names[at : at + TOGETHER]

            def work(txn: Txn, totals: Totals, batch: list[bytes] = batch) -> int:
                return sum(space.remove(txn, totals, name, now) for name in batch)

            removed += self._change("delete", work)
        return removed

    def clear(self) -> None:
        """Remove every entry of this namespace and of no other.

        Most goes in small transactions, so that other writers get their turn; the last one takes whatever
        is left, so that nothing written before this was called survives.
        """
        space, after = self._space, b""
        while True:

            def work(txn: Txn, totals: Totals, at: bytes = after) -> bytes:
                return space.empty(txn, totals, at, TOGETHER)

            after = self._change("clear", work)
            if not after:
                break
        self._change("clear", space.empty_rest)

    def keys(self) -> Iterator[str]:
        """Iterate over a snapshot of the keys of entries that have not expired."""
        listed = (decoded(name, spelling) for name, spelling in self._listed())
        return iter([key for key in listed if key is not None])

    def compare_and_set(
        self,
        key: str,
        expected: Blob | MissingType,
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
        done: list[bool] = []
        batch: list[tuple[Row, Blob | MissingType]] = []
        for key, expected, value, ttl, size in swaps:
            removes = value is MISSING
            row = Row(encoded(key), removes=True) if removes else self._row(key, value, ttl, size)
            batch.append((row, expected))
            if len(batch) >= TOGETHER:
                done += self._swap_all(batch)
                batch = []
        return done + (self._swap_all(batch) if batch else [])

    def close(self) -> None:
        """Let go of the store; the last engine on it closes it, and waits until the disk has all of it."""
        store, self._store = self._store, None
        if store is None:
            return
        if self._uses is not None and self._uses.pending:
            self._record(store)
        leave_store(store, self._timeout)

    def _opened(self) -> Store:
        store = self._store
        if store is None:
            raise ClosedError(f"lmdb engine of namespace {self._namespace!r}")
        return store

    def _now(self) -> int:
        return int(self._clock.wall() * MICROSECONDS)

    def _row(self, key: str, value: Chunks, ttl: float | None, size: int) -> Row:
        """Return the row for an entry; without a body if it is too large."""
        row = Row(encoded(key), spelled(key), size=size)
        length = sum([chunk.nbytes if isinstance(chunk, memoryview) else len(chunk) for chunk in value])
        if length > LARGEST or not self._space.admits(size):
            return row
        if ttl is not None:
            row.expires = int(min((self._clock.wall() + ttl) * MICROSECONDS, NEVER))
        row.body = b"".join((deadline(row.expires), *value))
        return row

    def _put_all(self, rows: list[Row]) -> list[bool]:
        space = self._space
        return self._change("set", lambda txn, totals: [space.put(txn, totals, row) for row in rows])

    def _swap_all(self, batch: list[tuple[Row, Blob | MissingType]]) -> list[bool]:
        space, now = self._space, self._now()

        def work(txn: Txn, totals: Totals) -> list[bool]:
            swapped: list[bool] = []
            for row, expected in batch:
                held = _holds(space.read(txn, row.key, now), expected)
                swapped.append(held and (space.put(txn, totals, row) or row.removes))
            return swapped

        return self._change("compare_and_set", work)

    def _change(self, operation: str, work: Callable[[Txn, Totals], T], store: Store | None = None) -> T:
        """Return what ``work`` returns after its changes, with the totals, have been committed."""
        space = self._space
        used = self._uses.take() if self._uses is not None else ()
        self._writes += 1
        now = self._now() if self._writes % SWEEP_EVERY == 0 else None
        swept = self._swept

        def transaction(txn: Txn) -> tuple[T, bytes]:
            totals = space.totals(txn)
            if used:
                space.use(txn, totals, used)
            result = work(txn, totals)
            after = swept if now is None else space.sweep(txn, totals, now, swept, 4 * SWEEP_EVERY)
            space.save(txn, totals)
            return result, after

        result, self._swept = (store or self._opened()).write(operation, transaction, self._timeout)
        return result

    def _listed(self) -> list[tuple[bytes, bytes]]:
        space, store, now = self._space, self._opened(), self._now()
        names: list[tuple[bytes, bytes]] = []
        after = b""
        while True:

            def work(txn: Txn, at: bytes = after) -> list[tuple[bytes, int, bytes]]:
                return space.listed(txn, at, TOGETHER)

            page = store.read("list keys", work, self._timeout)
            names += [(name, spelling) for name, expires, spelling in page if expires > now]
            if len(page) < TOGETHER:
                return names
            after = page[-1][0]

    def _note(self, store: Store, name: bytes) -> None:
        with store.gate:
            due = self._uses is not None and self._uses.note(name)
        if due:
            self._record(store)

    def _record(self, store: Store) -> None:
        try:
            self._change("record uses", lambda _txn, _totals: None, store)
        except EngineError:
            return  # the read it comes with succeeded; what is lost is a little recency


def _holds(stored: bytes | None, expected: Blob | MissingType) -> bool:
    """Whether what is stored has the content that is expected; ``MISSING`` stands for nothing."""
    if stored is None or expected is MISSING:
        return stored is None and expected is MISSING
    view = memoryview(expected)
    return len(stored) == view.nbytes and stored == bytes(view)

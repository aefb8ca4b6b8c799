"""The sqlite engine keeps entries in a directory that the processes of a host share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

from cachewright.builtin.sqlite.batch import TOGETHER, in_batches
from cachewright.builtin.sqlite.blob import holds_expected, joined, length_of
from cachewright.builtin.sqlite.failure import failure
from cachewright.builtin.sqlite.key import decoded
from cachewright.builtin.sqlite.key import encoded as key_bytes
from cachewright.builtin.sqlite.options import Options
from cachewright.builtin.sqlite.stores import open_store
from cachewright.builtin.sqlite.table import LAST, Row, Space, SwapRow, Totals, digest, row_id, space_names
from cachewright.builtin.sqlite.uses import Uses
from cachewright.builtin.sqlite.values import MOST_DOOMED
from cachewright.engine import Engine, MappedBlob
from cachewright.entry import MISSING, MissingType
from cachewright.errors import ClosedError, EngineError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from cachewright.builtin.sqlite.connection import Link
    from cachewright.builtin.sqlite.store import Store
    from cachewright.engine import Blob, Chunks, EngineConfig, Swap

T = TypeVar("T")

MICROSECONDS = 1_000_000
PURGE_EVERY = 16
"""Writes after which expired entries are looked for even where no bound asks for it."""


class SqliteEngine(Engine):
    """Entries in an SQLite index, large values in files beside it.

    Engine objects and namespaces of one directory share one index and one connection per thread.
    A process that is killed loses nothing that was acknowledged; a crash of the operating system
    may lose the latest writes unless ``durable`` is set. A damaged index is set aside with a
    :class:`~cachewright.errors.StoreQuarantinedWarning` and made anew. Reads of a large value
    return a view on its file, which stays valid after the entry is gone.

    Options: ``durable``, ``trust_directory`` and ``file_size``, see :class:`Options`.
    """

    name: ClassVar[str] = "sqlite"

    def __init__(self, config: EngineConfig) -> None:
        options = Options.of(config)
        namespace = config.namespace.encode("utf-8", "surrogatepass")
        self._namespace = config.namespace
        self._space = Space(digest(namespace), namespace, config.maxsize, config.max_bytes)
        self._clock = config.clock
        self._timeout = config.timeout
        self._file_size = options.file_size
        self._writes = 0
        bounded = config.maxsize is not None or config.max_bytes is not None
        self._uses = Uses() if bounded and config.policy != "fifo" else None
        self._store: Store | None = open_store(
            options.path, trusted=options.trust_directory, durable=options.durable
        )

    @property
    def private(self) -> bool:
        """Whether only the current user can have written what is stored."""
        return self._opened().files.directory.private

    def get(self, key: str, /) -> MappedBlob | bytes | MissingType:
        """Return the stored bytes, mapped if they have a file of their own, or ``MISSING``."""
        encoded = key_bytes(key)
        store = self._opened()
        link = store.link()
        with link.lock:
            return self._get(store, link, encoded, row_id(self._space.id, encoded))

    def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; see :meth:`Engine.set`."""
        return in_batches(self._opened(), ((key, value, ttl, size),), self._row, self._put_all)[0]

    def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, many per transaction; return how many were stored."""
        return sum(in_batches(self._opened(), entries, self._row, self._put_all))

    def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one that had not expired."""
        return self.delete_many((key,)) == 1

    def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, many per transaction; return how many had not expired."""
        store = self._opened()
        link = store.link()
        names = [key_bytes(key) for key in keys]
        removed = 0
        for at in range(0, len(names), TOGETHER):
            batch = [(name, row_id(self._space.id, name)) for name in names[at : at + TOGETHER]]
            now = self._now()

            def work(
                connection: sqlite3.Connection,
                totals: Totals,
                dropped: list[object],
                batch: list[tuple[bytes, int]] = batch,
                now: int = now,
            ) -> int:
                space = self._space
                return sum(space.delete(connection, totals, *name, now, dropped) for name in batch)

            with link.lock:
                removed += self._change(store, link, "delete", work)
        return removed

    def clear(self) -> None:
        """Remove every entry of this namespace, in bounded memory, and of no other.

        Most goes in small transactions, so that other writers get their turn. The last transaction
        takes whatever is left: entries that a use has moved up meanwhile are not missed.
        """
        store, space = self._opened(), self._space
        link = store.link()
        with link.lock:
            until = self._change(store, link, "clear", lambda _connection, totals, _dropped: totals.clock)
            more = TOGETHER
            while more == TOGETHER:
                more = self._change(
                    store,
                    link,
                    "clear",
                    lambda connection, totals, dropped: space.empty(
                        connection, totals, until, TOGETHER, dropped
                    ),
                )
            self._change(store, link, "clear", space.empty_rest)
            store.give_back(link)

    def keys(self) -> Iterator[str]:
        """Iterate over a snapshot of the keys of entries that have not expired."""
        store, now = self._opened(), self._now()
        link = store.link()
        with link.lock:
            found = store.read(link, "list keys", lambda c: self._space.keys(c, now), self._timeout)
        return iter([key for key in map(decoded, found) if key is not None])

    def count(self) -> int:
        """Return the number of entries that have not expired."""
        store, now = self._opened(), self._now()
        link = store.link()
        with link.lock:
            return store.read(link, "count", lambda c: self._space.count(c, now), self._timeout)

    def namespaces(self) -> list[str]:
        """Return the names of the namespaces with entries in this directory, expired ones included."""
        store = self._opened()
        link = store.link()
        with link.lock:
            names = store.read(link, "list namespaces", space_names, self._timeout)
        return [name.decode("utf-8", "surrogatepass") for name in names]

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
        swap = (key, expected, value, ttl, size)
        return in_batches(self._opened(), (swap,), self._swap_row, self._swap_all)[0]

    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        """Do :meth:`compare_and_set` for each swap in turn, many per transaction; return which took place."""
        return in_batches(self._opened(), swaps, self._swap_row, self._swap_all)

    def close(self) -> None:
        """Let go of the store; its connections are closed with its last engine."""
        store, self._store = self._store, None
        if store is not None:
            link = store.link()
            with link.lock:
                self._record_uses(store, link)

    def _opened(self) -> Store:
        store = self._store
        if store is None:
            raise ClosedError(f"sqlite engine of namespace {self._namespace!r}")
        return store

    def _now(self) -> int:
        return int(self._clock.wall() * MICROSECONDS)

    def _get(self, store: Store, link: Link, encoded: bytes, row: int) -> MappedBlob | bytes | MissingType:
        for _ in range(3):  # a file that vanished belonged to an entry which was replaced meanwhile
            found = store.fetch(link, row, self._timeout)
            if found is None or found[0] != encoded or found[1] != self._space.id:
                return MISSING
            _, _, expires, rank, file, body = found
            if expires is not None and not (isinstance(expires, int) and expires > self._now()):
                return MISSING
            if self._uses is not None and self._uses.note(row, rank) and not link.writing:
                self._record_uses(store, link)
            if body is not None:
                return body if isinstance(body, bytes) else MISSING
            try:
                blob = store.files.read(file)
            except OSError as error:
                raise failure("get", error) from error
            if isinstance(blob, MappedBlob):
                # Where others can write, a map could change after it has been verified: hand out a copy.
                return blob if store.files.directory.private else bytes(blob.view)
            if blob is not MISSING:
                return blob
        return MISSING

    def _row(self, store: Store, link: Link, entry: tuple[str, Chunks, float | None, int]) -> Row:
        """Return the row for an entry, its file written; without file and body if it is too large."""
        key, value, ttl, size = entry
        encoded = key_bytes(key)
        row = Row(row_id(self._space.id, encoded), encoded, size, None)
        self._fill(store, link, row, value, ttl)
        return row

    def _swap_row(self, store: Store, link: Link, swap: Swap) -> SwapRow:
        """Return the row for a swap, as :meth:`_row` does; without file and body if it removes the entry."""
        key, expected, value, ttl, size = swap
        encoded = key_bytes(key)
        row = SwapRow(row_id(self._space.id, encoded), encoded, size, None, None, None, expected)
        if value is MISSING:
            row.removes = True
        else:
            self._fill(store, link, row, value, ttl)
        return row

    def _fill(self, store: Store, link: Link, row: Row, value: Chunks, ttl: float | None) -> None:
        maxsize, max_bytes = self._space.maxsize, self._space.max_bytes
        if (maxsize is not None and maxsize < 1) or (max_bytes is not None and row.size > max_bytes):
            return
        if ttl is not None:
            deadline = (self._clock.wall() + ttl) * MICROSECONDS
            row.expires = int(deadline) if deadline < LAST else None
        if length_of(value) < self._file_size:
            row.body = joined(value)
        else:
            row.file = store.write_file(link, row.id, value)

    def _put_all(self, store: Store, link: Link, rows: list[Row]) -> list[bool]:
        space, now = self._space, self._now()

        def work(connection: sqlite3.Connection, totals: Totals, dropped: list[object]) -> None:
            for row in rows:
                space.put_or_delete(connection, totals, row, now, dropped)

        self._change(store, link, "set", work)
        return [row.stored for row in rows]

    def _swap_all(self, store: Store, link: Link, rows: list[SwapRow]) -> list[bool]:
        space, now = self._space, self._now()

        def work(connection: sqlite3.Connection, totals: Totals, dropped: list[object]) -> list[bool]:
            swapped: list[bool] = []
            for row in rows:
                # re-entering is meant: the read goes through the transaction of this very thread
                held = holds_expected(self._get(store, link, row.key, row.id), row.expected)
                if held:
                    space.put_or_delete(connection, totals, row, now, dropped)
                else:
                    dropped.append(row.file)
                swapped.append(held and (row.stored or row.removes))
            return swapped

        return self._change(store, link, "compare_and_set", work)

    def _change(
        self,
        store: Store,
        link: Link,
        operation: str,
        work: Callable[[sqlite3.Connection, Totals, list[object]], T],
        patience: float | None = None,
    ) -> T:
        """Return what ``work`` returns after its changes, with the totals, have been committed."""
        space, uses = self._space, self._uses
        used = uses.take() if uses is not None else ()
        self._writes += 1
        purge = self._writes % PURGE_EVERY == 0

        dropped: list[object] = []

        def transaction(connection: sqlite3.Connection) -> tuple[T, Totals]:
            dropped.clear()
            totals = space.totals(connection)
            if used:
                space.use(connection, totals, used)
            result = work(connection, totals, dropped)
            if purge:
                space.purge(connection, totals, self._now(), dropped)
            space.save(connection, totals)
            return result, totals

        try:
            result, totals = store.write(
                link, operation, transaction, self._timeout if patience is None else patience
            )
        except BaseException:
            if dropped:
                store.files.doubtful += dropped[:MOST_DOOMED]
            raise
        if dropped:
            store.files.remove(dropped)
        if store.files.doubtful:
            store.remove_unreferred(link)
        if uses is not None:
            uses.settle(totals)
        return result

    def _record_uses(self, store: Store, link: Link) -> None:
        if self._uses is None or not self._uses.pending:
            return
        try:
            self._change(store, link, "record uses", lambda _connection, _totals, _dropped: None, 0.0)
        except EngineError:
            return  # the read it comes with succeeded; what is lost is a little recency

"""The asynchronous cache: the same semantics as :class:`Cache`, awaited."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from cachewright import events
from cachewright._bridge import Bridge
from cachewright._flight import ABANDONED, ALOFT, FAILED, LANDED, Flight, FlightTable, lead
from cachewright._lifecycle import ATTEMPTS, DEFAULT_TTL, REFUSED, Lifecycle, hashable
from cachewright._loader import Loader
from cachewright._packing import Packed
from cachewright.duration import parse_ttl
from cachewright.entry import MISSING, Entry, MissingType
from cachewright.errors import ClosedError, EngineError, UnsupportedByEngineError
from cachewright.inventory import VerifyReport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from cachewright.engine import AsyncEngine
    from cachewright.explanation import Explanation
    from cachewright.inventory import EntryInfo
    from cachewright.stats import CacheInfo

T = TypeVar("T")


class _Lease(NamedTuple):
    """An engine of one event loop, and the generator that closes it with the loop."""

    engine: AsyncEngine
    ending: AsyncGenerator[None, None]


class AsyncCache:
    """An asynchronous cache; open one with :func:`cachewright.open_async_cache`.

    Usable from any number of event loops, each of which gets an engine of its own where the backend
    library demands that; computations are shared across loops. See :class:`Cache` for keys and values.
    """

    def __init__(
        self,
        connect: Callable[[], AsyncEngine],
        lifecycle: Lifecycle,
        explain: Callable[[], Explanation] | None = None,
        *,
        per_loop: bool = True,
    ) -> None:
        self._connect = connect
        self._shared = None if per_loop else connect()
        self._engines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lease] = WeakKeyDictionary()
        self._life = lifecycle
        self._flights = FlightTable()
        self._explain = explain
        self._closed = False

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<{type(self).__name__} {self.namespace!r} on {self.engine!r}{state}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def namespace(self) -> str:
        """The namespace whose entries this cache sees."""
        return self._life.namespace

    @property
    def engine(self) -> str:
        """The name of the engine."""
        return self._life.info.name

    # Look-ups ---------------------------------------------------------------------------------------

    async def get(self, key: Any, default: Any = None) -> Any:
        """Return the value stored under ``key``, else ``default``."""
        entry = await self._lookup(self._life.value_key(key))
        return default if entry is MISSING else entry.value

    async def contains(self, key: Any) -> bool:
        """Return whether there is an entry (``in`` cannot be awaited)."""
        return await self._read(self._life.value_key(key)) is not MISSING

    async def get_many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """Return the values found, under the keys as given; absent keys are left out."""
        wanted = [(key, self._life.value_key(key)) for key in keys]
        found = await self._call("get", "get_many", [engine_key for _, engine_key in wanted], fallback={})
        values: dict[Any, Any] = {}
        counters = self._life.counters
        for key, engine_key in wanted:
            counters.calls.add()
            entry = self._life.unpack(engine_key, found.get(engine_key, MISSING))
            if entry is MISSING:
                counters.misses.add()
            else:
                values[hashable(key)] = entry.value
        return values

    async def ttl(self, key: Any) -> float | None:
        """Return the seconds that the entry has left, ``None`` for ever; ``KeyError`` if absent."""
        entry = await self._read(self._life.value_key(key))
        if entry is MISSING:
            raise KeyError(key)
        return self._life.remaining(entry)

    async def get_or_set(self, key: Any, fn: Callable[[], Awaitable[T]], *, ttl: Any = DEFAULT_TTL) -> T:
        """Return the stored value, else compute it with ``await fn()`` and store it.

        Callers that ask for the same key at the same time share one computation. It belongs to none of
        them: cancelling a caller does not cancel it.
        """
        loader = Loader(fn, "get_or_set()", ttl=self._ttl(ttl), counters=self._life.counters, label=key)
        loader.counters.calls.add()
        value: T = await self.resolve(loader, (), (), {}, key=self._life.value_key(key))
        return value

    # Changes ----------------------------------------------------------------------------------------

    async def set(self, key: Any, value: Any, *, ttl: Any = DEFAULT_TTL) -> bool:
        """Store ``value``; see :meth:`Cache.set`."""
        return await self.put_key(self._life.value_key(key), value, self._ttl(ttl), label=key)

    async def set_many(self, mapping: Mapping[Any, Any], *, ttl: Any = DEFAULT_TTL) -> int:
        """Store every item; return how many were stored."""
        return sum([await self.set(key, value, ttl=ttl) for key, value in mapping.items()])

    async def add(self, key: Any, value: Any, *, ttl: Any = DEFAULT_TTL) -> bool:
        """Store ``value`` only if the key is absent; atomic among all who can see the entry."""
        seconds = self._ttl(ttl)

        def absent(entry: Entry | MissingType) -> tuple[Any, float | None] | None:
            return (value, seconds) if entry is MISSING else None

        return await self._swap(key, absent, "add") is not MISSING

    async def touch(self, key: Any, ttl: Any) -> bool:
        """Give an entry a new ttl; return whether there was one."""
        seconds = self._ttl(ttl)

        def renewed(entry: Entry | MissingType) -> tuple[Any, float | None] | None:
            return None if entry is MISSING else (entry.value, seconds)

        return await self._swap(key, renewed, "touch") is not MISSING

    async def incr(self, key: Any, delta: int = 1) -> int:
        """Add ``delta`` to the integer stored under ``key`` (0 if absent); see :meth:`Cache.incr`."""
        default = self._life.ttl

        def added(entry: Entry | MissingType) -> tuple[Any, float | None] | None:
            if entry is MISSING:
                return delta, default
            if type(entry.value) is not int:
                message = f"the value under {key!r} is a {type(entry.value).__name__}, not an int"
                raise TypeError(message)
            return entry.value + delta, self._life.remaining(entry)

        total: int = await self._swap(key, added, "incr")
        return total

    async def delete(self, key: Any) -> bool:
        """Remove the entry; see :meth:`Cache.delete`."""
        return await self.drop_key(self._life.value_key(key))

    async def delete_many(self, keys: Iterable[Any]) -> int:
        """Remove the entries; return how many there were."""
        return sum([await self.delete(key) for key in keys])

    async def clear(self) -> None:
        """Remove every entry of this namespace, and nothing else."""
        for flight in self._flights.detach_all():
            await self._make_stale(flight)
        await self._call("clear", "clear", always=True)
        self._life.emit(events.Invalidated, None)

    # Listing ----------------------------------------------------------------------------------------

    async def keys(self) -> AsyncIterator[Any]:
        """Iterate over the keys as they were written; unlistable ones are left out."""
        async for info in self.entries():
            if info.key is not MISSING:
                yield info.key

    async def count(self) -> int:
        """Return the number of entries (``len`` cannot be awaited)."""
        if self._life.info.capabilities.ttl_per_entry or not self._life.holds_objects:
            return int(await self._call("count", "count", fallback=0))
        return len([None async for _ in self.entries()])

    async def entries(self) -> AsyncIterator[EntryInfo]:
        """Describe every stored entry, without decoding values."""
        for engine_key in await self._keys():
            info = self._life.describe(engine_key, await self._call("get", "get", engine_key))
            if info is not None:
                yield info

    async def verify(self, *, repair: bool = False) -> VerifyReport:
        """Read and decode every entry; with ``repair`` remove those that cannot be used."""
        checked = unreadable = removed = 0
        for engine_key in await self._keys():
            stored = await self._call("get", "get", engine_key)
            if stored is MISSING:
                continue
            checked += 1
            if self._life.unpack(engine_key, stored) is MISSING:
                unreadable += 1
                removed += repair and await self.drop_key(engine_key)
        return VerifyReport(checked, unreadable, removed)

    async def stats(self) -> CacheInfo:
        """Return the statistics of this cache since it was opened."""
        try:
            size = await self.count()
        except (ClosedError, EngineError):
            size = 0
        return self._life.counters.snapshot(maxsize=self._life.maxsize, currsize=size)

    async def explain(self, key: Any = MISSING) -> Explanation:
        """Say why this engine is in use and, for a key, what is stored under it."""
        return await self.explain_key(key if key is MISSING else self._life.value_key(key))

    async def close(self) -> None:
        """Release the engine of the running loop; what is stored stays stored."""
        if not self._closed:
            self._closed = True
            if self._shared is not None:
                await self._shared.close()
            lease = self._engines.pop(asyncio.get_running_loop(), None)
            if lease is not None:
                await lease.ending.aclose()

    # For decorated functions: the same, by engine key ---------------------------------------------------

    @property
    def lifecycle(self) -> Lifecycle:
        """The rules of this cache; for the code that decorates functions."""
        return self._life

    async def resolve(
        self,
        loader: Loader,
        raw: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        key: Any = MISSING,
        fresh: bool = False,
    ) -> Any:
        """Answer a call from the store or by computing it; see :meth:`Cache.resolve`."""
        if key is MISSING:
            key = self._life.call_key(loader, raw)
        flights = self._flights
        epoch: int | None = flights.epoch
        counters = loader.counters
        if fresh:
            await self._supersede(key)
            epoch = None
        else:
            entry = await self._read(key)
            if entry is not MISSING:
                self._life.emit(events.Hit)
                return entry.value
            counters.misses.add()
            self._life.emit(events.Miss)
        while True:
            flight, leads = flights.join(key) if loader.single_flight else (Flight(key), True)
            if leads:
                loop = asyncio.get_running_loop()
                flight.leader = loop
                # A task of its own: whoever asked first may be cancelled, the work goes on.
                flight.task = loop.create_task(self._compute(flight, epoch, loader, args, kwargs))
            if not await flights.wait_async(flight):
                counters.loads.add()
                return await loader.fn(*args, **kwargs)
            if flight.state != ABANDONED:
                if not leads:
                    counters.coalesced.add()
                return flight.result()

    async def peek_key(self, key: Any) -> Entry | MissingType:
        """Return the entry without counting a look-up."""
        return await self._read(key)

    async def put_key(self, key: Any, value: object, ttl: float | None, *, label: object = MISSING) -> bool:
        """Store a value under an engine key; a computation under way for it will not be stored."""
        self._open()
        claim = await self._claim(key)
        try:
            if ttl is not None and ttl <= 0:
                await self._call("delete", "delete", key, always=True)
                self._life.refused("ttl", f"ttl={ttl} means not to store")
                return False
            return await self._write(key, value, ttl, 0.0, label)
        finally:
            self._flights.end(claim, ABANDONED)

    async def put_call(self, loader: Loader, key: Any, value: object) -> bool:
        """Store a value as the result of a call, under the rules of its function."""
        return await self.put_key(key, value, self._life.ttl_of(loader, value), label=loader.label)

    async def drop_key(self, key: Any) -> bool:
        """Remove the entry under an engine key; see :meth:`delete`."""
        self._open()
        await self._supersede(key)
        live = self._life.info.capabilities.ttl_per_entry or await self._read(key) is not MISSING
        there = bool(await self._call("delete", "delete", key, always=True)) and live
        self._life.emit(events.Invalidated, int(there))
        return there

    async def explain_key(self, key: Any) -> Explanation:
        """Explain the cache and, unless ``key`` is ``MISSING``, what is stored under an engine key."""
        from dataclasses import replace  # noqa: PLC0415 - for explaining only

        from cachewright.explanation import Explanation  # noqa: PLC0415 - for explaining only

        if self._explain is None:
            base = Explanation(namespace=self.namespace, engine=self.engine, why="the engine was passed in")
        else:
            base = self._explain()
        if key is MISSING:
            return base
        stored = await self._call("get", "get", key)
        entry = None if stored is MISSING else self._life.describe(key, stored)
        return replace(base, digest=self._life.digest_of(key), entry=entry)

    async def engine_keys(self) -> list[Any]:
        """Return a snapshot of the engine's keys."""
        self._open()
        return await self._keys()

    async def scope_keys(self, scope: str) -> list[Any]:
        """Return the engine's keys of one of the functions that share this cache."""
        keys = await self.engine_keys()
        return [key for key in keys if self._life.in_scope(scope, key, await self._call("get", "get", key))]

    async def clear_scope(self, scope: str) -> None:
        """Remove the entries of one of the functions that share this cache."""
        for flight in self._flights.detach_all():
            await self._make_stale(flight)
        for key in await self.scope_keys(scope):
            await self.drop_key(key)

    def reader(self) -> Any:
        """Return the engine's fastest read where an event loop may use it directly, else ``None``."""
        return self._shared.reader() if isinstance(self._shared, Bridge) else None

    def size_now(self, scope: str) -> int:
        """Return the number of entries without awaiting; -1 if that takes asking a disk or a server."""
        if self._closed:
            return 0
        if scope or not isinstance(self._shared, Bridge):
            return -1
        return self._shared.size_now()

    # Inside -----------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._closed:
            raise ClosedError(f"cache {self.namespace!r}")

    async def _engine(self) -> AsyncEngine:
        self._open()
        if self._shared is not None:
            return self._shared
        loop = asyncio.get_running_loop()
        lease = self._engines.get(loop)
        if lease is None:
            engine = self._connect()
            lease = self._engines[loop] = _Lease(engine, self._until_the_loop_ends(loop, engine))
            await anext(lease.ending)
        return lease.engine

    async def _until_the_loop_ends(
        self, loop: asyncio.AbstractEventLoop, engine: AsyncEngine
    ) -> AsyncGenerator[None, None]:
        # An event loop closes its asynchronous generators when it ends: the one hook there is for
        # closing connections that must not outlive it.
        try:
            yield
        finally:
            self._engines.pop(loop, None)
            await engine.close()

    def _ttl(self, ttl: Any) -> float | None:
        return self._life.ttl if ttl is DEFAULT_TTL else parse_ttl(ttl, setting="ttl")

    async def _keys(self) -> list[Any]:
        async def collect() -> list[Any]:
            return [key async for key in (await self._engine()).keys()]

        keys: list[Any] = await self._guarded("list", collect, fallback=[])
        return keys

    async def _lookup(self, key: Any) -> Entry | MissingType:
        counters = self._life.counters
        counters.calls.add()
        entry = await self._read(key)
        if entry is MISSING:
            counters.misses.add()
        self._life.emit(events.Miss if entry is MISSING else events.Hit)
        return entry

    async def _read(self, key: Any) -> Entry | MissingType:
        return self._life.unpack(key, await self._call("get", "get", key))

    async def _compute(
        self, flight: Flight, epoch: int | None, loader: Loader, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Run the user's coroutine function in a task that belongs to the flight."""
        flights = self._flights
        lead(flight)  # in this task's own context, which ends with it
        try:
            if epoch is not None and flights.epoch != epoch:
                entry = await self._read(flight.key)
                if entry is not MISSING:
                    flights.end(flight, LANDED, value=entry.value)
                    return
            loader.counters.loads.add()
            started = time.perf_counter()
            value = await loader.fn(*args, **kwargs)
            seconds = time.perf_counter() - started
            with flight.guard:
                flight.storing = not flight.stale
            if flight.storing:
                await self._store(loader, flight.key, value, seconds)
            else:
                self._life.refused("invalidated", "it was invalidated while it was computed")
        except Exception as error:  # noqa: BLE001 - the user's, raised by those who wait
            flights.end(flight, FAILED, error=error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # its loop ends: those who wait elsewhere start over
                flights.end(flight, ABANDONED)
                raise
            flights.end(flight, FAILED, error=error)  # the function raised it, so it is the answer
        except BaseException:
            flights.end(flight, ABANDONED)
            raise
        else:
            flights.end(flight, LANDED, value=value)

    async def _store(self, loader: Loader, key: Any, value: object, seconds: float) -> None:
        if not self._life.admits(loader, value):
            return
        ttl = self._life.ttl_of(loader, value)
        if ttl is not None and ttl <= 0:
            await self._call("delete", "delete", key)
            self._life.refused("ttl", f"ttl={ttl} means not to store")
            return
        await self._write(key, value, ttl, seconds, loader.label)

    async def _write(self, key: Any, value: object, ttl: float | None, seconds: float, label: object) -> bool:
        packed = self._life.pack(key, value, ttl=ttl, seconds=seconds, label=label)
        stored = await self._call("set", "set", key, packed.stored, ttl=ttl, size=packed.size, fallback=None)
        if stored:
            self._life.note_stored(packed, seconds)
        else:
            self._life.refused(*REFUSED[stored])
        return bool(stored)

    async def _swap(
        self, key: Any, change: Callable[[Entry | MissingType], tuple[Any, float | None] | None], ability: str
    ) -> Any:
        """Replace the entry by what ``change`` makes of it, atomically; return that, else ``MISSING``."""
        life = self._life
        if not life.info.capabilities.compare_and_set:
            raise UnsupportedByEngineError(life.info.name, ability, life.alternatives("compare_and_set"))
        engine_key = life.value_key(key)
        claim = await self._claim(engine_key)
        try:
            for _ in range(ATTEMPTS):
                stored = await self._call("get", "get", engine_key, always=True)
                wanted = change(life.unpack(engine_key, stored))
                if wanted is None:
                    return MISSING
                value, ttl = wanted
                if ttl is not None and ttl <= 0:
                    packed = Packed(MISSING, 0)
                else:
                    packed = life.pack(engine_key, value, ttl=ttl, label=key)
                if await self._call(
                    "set",
                    "compare_and_set",
                    engine_key,
                    stored,
                    packed.stored,
                    ttl=ttl,
                    size=packed.size,
                    always=True,
                ):
                    return value
        finally:
            self._flights.end(claim, ABANDONED)
        raise EngineError(life.info.name, ability, f"{ATTEMPTS} attempts lost against other writers")

    async def _claim(self, key: Any) -> Flight:
        """Take the place of the flight for ``key``; see ``_Claim`` of the synchronous cache."""
        while True:
            await self._supersede(key)
            flight, leads = self._flights.join(key)
            if leads:
                flight.leader = asyncio.get_running_loop()
                return flight

    async def _supersede(self, key: Any) -> None:
        flight = self._flights.detach(key)
        if flight is not None:
            await self._make_stale(flight)

    async def _make_stale(self, flight: Flight) -> None:
        with flight.guard:
            flight.stale = True
        if flight.storing and flight.state == ALOFT:
            await self._flights.wait_async(flight)  # the store under way ends first; none follows

    async def _call(
        self,
        operation: str,
        method: str,
        *args: Any,
        fallback: Any = MISSING,
        always: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Call the engine of the running loop; see ``Cache._call``."""

        async def call() -> Any:
            return await getattr(await self._engine(), method)(*args, **kwargs)

        return await self._guarded(operation, call, fallback=fallback, always=always)

    async def _guarded(
        self, operation: str, call: Callable[[], Awaitable[Any]], *, fallback: Any, always: bool = False
    ) -> Any:
        life = self._life
        if life.resting and not always:
            return fallback
        try:
            answer = await call()
        except Exception as error:  # noqa: BLE001 - an engine is foreign code; the lifecycle judges what it raised
            life.absorb(operation, error, always=always)
            return fallback
        life.engine_answered()
        return answer

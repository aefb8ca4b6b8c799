"""The asynchronous cache: the same semantics as :class:`Cache`, awaited."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary, WeakMethod, ref

from cachewright import events
from cachewright._batch import Batch
from cachewright._batching import BatchResolution
from cachewright._chase import chase
from cachewright._claims import keeper, new_token
from cachewright._flight import FlightTable, led
from cachewright._lifecycle import DEFAULT_TTL, Lifecycle, hashable
from cachewright._resolution import Request, Resolution
from cachewright._steps import Ask, Compute, Hold, Pause, Spawn, Steps, Wait
from cachewright._streaming import RunningStream, SharedStream
from cachewright._streams_async import AsyncStream
from cachewright._tags import checked_tags
from cachewright.duration import parse_size, parse_ttl
from cachewright.entry import MISSING, AgedEntry, Entry, MissingType
from cachewright.errors import ClosedError, EngineError, UnsupportedByEngineError

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Iterable,
        Mapping,
    )
    from types import TracebackType
    from typing import Self

    from cachewright._loader import Loader
    from cachewright._packing import Draft
    from cachewright.engine import AsyncEngine
    from cachewright.explanation import Explanation
    from cachewright.inventory import AuditReport, EntryInfo, VerifyReport
    from cachewright.stats import CacheInfo

T = TypeVar("T")

BEHIND = 256
"""Refreshes of one cache that may be under way; more are turned down, and asked for again by a later call."""

_writing: set[asyncio.Task[None]] = set()
"""Tasks that write claims again: a loop does not keep its tasks."""


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
        companion: Callable[[], AsyncEngine] | None = None,
        per_loop: bool = True,
    ) -> None:
        self._connect = {False: connect, True: companion}
        self._per_loop = per_loop
        self._common: dict[bool, AsyncEngine] = {} if per_loop else {False: connect()}
        self._engines: dict[bool, WeakKeyDictionary[asyncio.AbstractEventLoop, _Lease]] = {
            False: WeakKeyDictionary(),
            True: WeakKeyDictionary(),
        }
        self._life = lifecycle
        self._flights = FlightTable()
        self._operations = Resolution(lifecycle, self._flights, inline=False)
        self._chase = new_token()
        lifecycle.on_debt = WeakMethod(self._begin_chase)
        self._behind: set[asyncio.Task[Any]] = set()  # a loop does not keep its tasks
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
        wanted = {hashable(key): self._life.value_key(key) for key in keys}
        found = await self._run(self._operations.get_many(list(wanted.values())))
        return self._life.counted(wanted, found)

    async def ttl(self, key: Any) -> float | None:
        """Return the seconds that the entry has left, ``None`` for ever; ``KeyError`` if absent."""
        entry = await self._read(self._life.value_key(key))
        if entry is MISSING:
            raise KeyError(key)
        return self._life.remaining(entry)

    async def get_or_set(
        self, key: Any, fn: Callable[[], Awaitable[T]], *, ttl: Any = DEFAULT_TTL, tags: Iterable[str] = ()
    ) -> T:
        """Return the stored value, else compute it with ``await fn()`` and store it.

        Callers that ask for the same key at the same time share one computation. It belongs to none of
        them: cancelling a caller does not cancel it.
        """
        loader = self._life.value_loader(fn, key, self._ttl(ttl), checked_tags(tags))
        value: T = await self.resolve(loader, (), (), {}, key=self._life.value_key(key))
        return value

    # Changes ----------------------------------------------------------------------------------------

    async def set(self, key: Any, value: Any, *, ttl: Any = DEFAULT_TTL, tags: Iterable[str] = ()) -> bool:
        """Store ``value``; see :meth:`Cache.set`."""
        engine_key, draft = self._life.draft(key, value, self._ttl(ttl), checked_tags(tags))
        return await self._run(self._operations.put(engine_key, draft))

    async def set_many(
        self, mapping: Mapping[Any, Any], *, ttl: Any = DEFAULT_TTL, tags: Iterable[str] = ()
    ) -> int:
        """Store every item; return how many were stored."""
        seconds, names = self._ttl(ttl), checked_tags(tags)
        drafts = [self._life.draft(key, value, seconds, names) for key, value in mapping.items()]
        return await self._run(self._operations.put_many(drafts))

    async def add(self, key: Any, value: Any, *, ttl: Any = DEFAULT_TTL, tags: Iterable[str] = ()) -> bool:
        """Store ``value`` only if the key is absent; atomic among all who can see the entry."""
        change = self._life.changes.add(value, self._ttl(ttl))
        return await self._swap(key, change, "add", checked_tags(tags)) is not MISSING

    async def touch(self, key: Any, ttl: Any) -> bool:
        """Give an entry a new ttl; return whether there was one."""
        return await self._swap(key, self._life.changes.touch(self._ttl(ttl)), "touch") is not MISSING

    async def incr(self, key: Any, delta: int = 1) -> int:
        """Add ``delta`` to the integer stored under ``key`` (0 if absent); see :meth:`Cache.incr`."""
        total: int = await self._swap(key, self._life.changes.incr(key, delta), "incr")
        return total

    async def delete(self, key: Any) -> bool:
        """Remove the entry; see :meth:`Cache.delete`."""
        return await self.drop_key(self._life.value_key(key))

    async def delete_many(self, keys: Iterable[Any]) -> int:
        """Remove the entries; return how many there were."""
        return sum([await self.delete(key) for key in keys])

    async def clear(self) -> None:
        """Remove every entry of this namespace, and nothing else."""
        await self._run(self._operations.clear())

    async def invalidate_tags(self, *tags: str) -> int | None:
        """Remove every entry that has one of the tags; see :meth:`Cache.invalidate_tags`."""
        return await self._run(self._operations.invalidate_tags(checked_tags(tags)))

    # Listing ----------------------------------------------------------------------------------------

    async def keys(self) -> AsyncIterator[Any]:
        """Iterate over the keys as they were written; unlistable ones are left out."""
        async for info in self.entries():
            if info.key is not MISSING:
                yield info.key

    async def count(self) -> int:
        """Return the number of entries (``len`` cannot be awaited)."""
        if self._life.info.capabilities.ttl_per_entry or not self._life.holds_objects:
            return int(await self._ask(Ask("count", "count", fallback=0)))
        return len([None async for _ in self.entries()])

    async def entries(self) -> AsyncIterator[EntryInfo]:
        """Describe every stored entry, without decoding values."""
        for engine_key in await self.engine_keys():
            info = await self._run(self._operations.describe(engine_key))
            if info is not None:
                yield info

    async def verify(self, *, repair: bool = False) -> VerifyReport:
        """Read and decode every entry; with ``repair`` remove those that cannot be used."""
        return await self._run(self._operations.verify(repair=repair))

    async def audit(self, *, oversized: int | str = "16MB") -> AuditReport:
        """Count the entries by how they are serialized and signed, by size, and by why they cannot be read.

        Args:
            oversized: size from which an entry is called oversized, as a number or "16MB".
        """
        limit = parse_size(oversized, setting="oversized")
        return await self._run(self._operations.audit(oversized=limit))

    async def stats(self) -> CacheInfo:
        """Return the statistics of this cache since it was opened."""
        try:
            size = await self.count()
        except (ClosedError, EngineError):
            size = 0
        except UnsupportedByEngineError:  # it cannot list what it stores
            size = -1
        return self._life.snapshot(currsize=size)

    async def explain(self, key: Any = MISSING) -> Explanation:
        """Say why this engine is in use and, for a key, what is stored under it."""
        return await self.explain_key(key if key is MISSING else self._life.value_key(key))

    async def close(self) -> None:
        """Release the engine of the running loop; what is stored stays stored."""
        if not self._closed:
            if self._life.breaker.pending and self._life.breaker.begin_probe(urgent=True):
                await self._run(self._operations.recover())  # the last chance to say what is queued
            keeper.release(self._chase)
            self._closed = True
            for engine in self._common.values():
                await engine.close()
            for engines in self._engines.values():
                lease = engines.pop(asyncio.get_running_loop(), None)
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
        life = self._life
        if key is MISSING:
            key = life.call_key(loader, raw)
        epoch = self._flights.epoch
        stored: Any = MISSING
        entry: Entry | MissingType = MISSING
        if not fresh:
            stored = await self._ask(_lookup(key))
            entry = life.unpack(key, stored)
            if entry is not MISSING and entry.__class__ is Entry:
                life.emit(events.Hit)
                return entry.value
        request = Request(loader, key, args, kwargs, life.label(loader, raw), epoch)
        return (await self._run(self._operations.resolve(request, stored, entry, fresh=fresh))).result()

    async def resolve_many(self, batch: Batch, *, fresh: bool = False) -> dict[Any, Any]:
        """Answer a call for many keys; see :mod:`cachewright._batching`."""
        steps = BatchResolution(self._operations, batch, fresh=fresh).answer()
        found: dict[Any, Any] = (await self._run(steps)).result()
        return found

    async def open_stream(
        self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, fresh: bool = False
    ) -> tuple[object, ...] | AsyncStream[object] | None:
        """Return the stored items of a call, else the stream; see :meth:`Cache.open_stream`."""
        life, flights = self._life, self._flights
        key = life.call_key(loader, raw)
        counted = fresh
        if fresh:
            await self._run(self._operations.supersede(key))
        while True:
            epoch = flights.epoch
            stored, entry = await self._run(self._operations.fetch(key))
            entry = life.usable(entry)
            if entry is not MISSING and not fresh:
                life.emit(events.Hit)
                return cast("tuple[object, ...]", entry.value)
            if not counted:
                loader.counters.misses.add()
                life.emit(events.Miss)
                counted = True
            request = await self._run(self._operations.requested(loader, raw, key, args, kwargs, epoch))
            running = RunningStream(self._operations, request, stored, entry, fresh=fresh)
            stream = AsyncStream(running.source_async(self._run), self._stream_end(running))
            if not loader.single_flight:
                return stream
            mine = SharedStream(running.flight, stream)
            shared, other = flights.share_stream(key, mine)
            if shared is mine:
                return stream
            if isinstance(shared, SharedStream) and shared.flight not in led():
                if await self._run(self._operations.may_join(shared.flight, stored, request)):
                    loader.counters.coalesced.add()
                    return cast("AsyncStream[object]", shared.stream)
            elif other is None or not await flights.wait_async(other):
                return None  # it asks for its own items, and would be given them again and again

    def _stream_end(
        self, running: RunningStream
    ) -> Callable[[list[Any] | None, BaseException | None], Awaitable[None]]:
        async def ended(items: list[Any] | None, _error: BaseException | None) -> None:
            await self._run(running.ended(items))

        return ended

    async def peek_key(self, key: Any) -> Entry | MissingType:
        """Return the entry without counting a look-up."""
        return await self._read(key)

    async def put_key(self, key: Any, draft: Draft) -> bool:
        """Store a value under an engine key; a computation under way for it will not be stored."""
        return await self._run(self._operations.put(key, draft))

    async def peek_keys(self, keys: list[Any]) -> dict[Any, Entry]:
        """Return the entries found, with one look-up that is not counted."""
        return await self._run(self._operations.get_many(keys))

    async def put_keys(self, drafts: list[tuple[Any, Draft]]) -> int:
        """Store values under engine keys, in one write; return how many were stored."""
        return await self._run(self._operations.put_many(drafts))

    async def drop_key(self, key: Any) -> bool:
        """Remove the entry under an engine key; see :meth:`delete`."""
        return await self._run(self._operations.drop(key))

    async def drop_where(self, matches: Callable[[Any, Any], bool]) -> int:
        """Remove the entries that ``matches(engine key, stored)``; see :meth:`Operations.drop_where`."""
        return await self._run(self._operations.drop_where(matches))

    async def explain_key(self, key: Any) -> Explanation:
        """Explain the cache and, unless ``key`` is ``MISSING``, what is stored under an engine key."""
        from cachewright.explanation import Explanation  # noqa: PLC0415 - for explaining only

        if self._explain is None:
            base = Explanation(namespace=self.namespace, engine=self.engine, why="the engine was passed in")
        else:
            base = self._explain()
        if key is MISSING:
            return base
        entry = await self._run(self._operations.describe(key))
        return replace(base, digest=self._life.digest_of(key), entry=entry)

    async def engine_keys(self) -> list[Any]:
        """Return a snapshot of the engine's keys."""
        keys: list[Any] = await self._ask(Ask("list", "keys", fallback=[]))
        return keys

    async def scope_keys(self, scope: str) -> list[Any]:
        """Return the engine's keys of one of the functions that share this cache."""
        return await self._run(self._operations.scope_keys(scope))

    def reader(self) -> Any:
        """Return the engine's fastest read where an event loop may use it directly, else ``None``."""
        common = self._common.get(False)
        return None if common is None else common.reader()

    def size_now(self, scope: str) -> int:
        """Return the number of entries without awaiting; -1 if that takes asking a disk or a server."""
        if self._closed:
            return 0
        common = self._common.get(False)
        if scope or common is None:
            return -1
        return common.size_now()

    # Inside -----------------------------------------------------------------------------------------

    def _ttl(self, ttl: Any) -> float | None:
        return self._life.ttl if ttl is DEFAULT_TTL else parse_ttl(ttl, setting="ttl")

    async def _lookup(self, key: Any) -> Entry | MissingType:
        counters = self._life.counters
        counters.calls.add()
        entry = await self._read(key)
        if entry is MISSING:
            counters.misses.add()
        self._life.emit(events.Miss if entry is MISSING else events.Hit)
        return entry

    async def _read(self, key: Any) -> Entry | MissingType:
        entry = self._life.unpack(key, await self._ask(_lookup(key)))
        if isinstance(entry, AgedEntry):
            return self._life.usable(await self._run(self._operations.examine(entry)))
        return entry

    async def _swap(self, key: Any, change: Any, ability: str, tags: tuple[str, ...] = ()) -> Any:
        engine_key = self._life.value_key(key)
        return await self._run(self._operations.swap(engine_key, change, ability, label=key, tags=tags))

    # Engines ----------------------------------------------------------------------------------------

    async def _engine(self, *, aside: bool) -> AsyncEngine:
        """Return the engine, or its companion, for the running loop."""
        if self._closed:
            raise ClosedError(f"cache {self.namespace!r}")
        engine = self._common.get(aside)
        if engine is not None:
            return engine
        loop = asyncio.get_running_loop()
        lease = self._engines[aside].get(loop)
        if lease is not None:
            return lease.engine
        connect = self._connect[aside]
        if connect is None:
            raise UnsupportedByEngineError(self.engine, "tags and refreshing without a companion engine")
        engine = connect()
        if not self._per_loop:
            self._common[aside] = engine
            return engine
        lease = self._engines[aside][loop] = _Lease(engine, self._until_the_loop_ends(loop, engine, aside))
        await anext(lease.ending)
        return engine

    async def _until_the_loop_ends(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: AsyncEngine,
        aside: bool,  # noqa: FBT001 - which of the two
    ) -> AsyncGenerator[None, None]:
        # An event loop closes its asynchronous generators when it ends: the one hook there is for
        # closing connections that must not outlive it.
        try:
            yield
        finally:
            self._engines[aside].pop(loop, None)
            await engine.close()

    def look_again(self) -> bool:
        """Find out behind the callers, if it is time, whether the engine is back; return if that is open."""
        breaker = self._life.breaker
        if self._closed or not breaker.open:
            return False
        if breaker.begin_probe() and not self._spawn(Spawn(self._operations.recover())):
            breaker.still_down()
        return True

    def _begin_chase(self) -> None:
        chase(self, self._chase, asyncio.get_running_loop().call_soon_threadsafe)

    # Taking steps -----------------------------------------------------------------------------------

    async def _run(self, steps: Steps[T]) -> T:
        """Take the steps of an operation in the running task."""
        answer: Any = None
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Ask):
                        answer = await self._ask(step)
                    elif isinstance(step, Compute):
                        answer = await self._compute(step)
                    elif isinstance(step, Wait):
                        answer = await self._flights.wait_async(step.flight, step.seconds)
                    elif isinstance(step, Spawn):
                        answer = self._spawn(step)
                    elif isinstance(step, Pause):
                        await asyncio.sleep(step.seconds)
                    else:
                        self._hold(step)
                except BaseException as error:  # noqa: BLE001 - the operation decides about it
                    step = steps.throw(error)
                else:
                    # an exception refers to this frame, which must not refer to the exception
                    answers, answer = [answer], None
                    step = steps.send(answers.pop())
        except StopIteration as end:
            results: list[T] = [end.value]
            return results.pop()  # one that has failed holds an exception, which refers to this frame

    async def _ask(self, ask: Ask) -> Any:
        """Call the engine of the running loop; see :class:`Ask`."""
        life = self._life
        breaker = life.breaker
        if life.last_seen is not None:
            life.last_seen.forget(ask)
        if breaker.open and not ask.urgent:
            self._let_go_of_closed_loops()  # one of them may have been about to find out if it is back
            self.look_again()
            return life.left_alone(ask)
        try:
            engine = await self._engine(aside=ask.aside)
            if ask.method == "keys":
                answer: Any = [key async for key in engine.keys()]
            else:
                answer = await getattr(engine, ask.method)(*ask.args, **ask.options)
        except Exception as error:  # noqa: BLE001 - an engine is foreign code; the lifecycle judges what it raised
            life.absorb(ask.operation, error, urgent=ask.urgent)
            return life.unanswered(ask)
        if breaker.failures:
            breaker.answered()
        if life.last_seen is not None:
            life.last_seen.note(ask, answer)
        return answer

    @staticmethod
    async def _compute(step: Compute) -> tuple[Any, BaseException | None]:
        task = asyncio.current_task()
        try:
            return await step.fn(*step.args, **step.kwargs), None
        except Exception as error:  # noqa: BLE001 - the user's, raised by those who wait
            return None, error
        except GeneratorExit as error:
            if _running_task() is not task:  # it is being collected, because its loop was closed
                raise
            return None, error
        except asyncio.CancelledError as error:
            if task is not None and task.cancelling():  # its loop ends: those who wait elsewhere start over
                raise
            return None, error  # the function raised it, so it is the answer

    def _spawn(self, step: Spawn) -> bool:
        """Run an operation in a task of its own: whoever asked for it may be cancelled, the work goes on."""
        loop = asyncio.get_running_loop()
        if not step.now and len(self._behind) >= BEHIND:
            self._let_go_of_closed_loops()
            if len(self._behind) >= BEHIND:
                return False
        task = loop.create_task(self._run(step.steps))
        if step.flight is not None:
            step.flight.leader = loop
            step.flight.task = task
        if not step.now:
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)
        return True

    def _let_go_of_closed_loops(self) -> None:
        """Drop the tasks that will never end; what they have begun ends when they are collected."""
        for task in [task for task in self._behind if task.get_loop().is_closed()]:
            self._behind.discard(task)

    def _hold(self, step: Hold) -> None:
        me, lease, loop = ref(self), self._life.lease, asyncio.get_running_loop()

        async def write() -> None:
            cache = me()
            try:
                kept = cache is not None and await (await cache._engine(aside=step.aside)).compare_and_set(  # noqa: SLF001 - our own
                    step.key, step.blob, [step.blob], ttl=lease, size=len(step.blob)
                )
            except Exception:  # noqa: BLE001 - foreign code; the next attempt is a third of a lease away
                return
            if not kept:
                keeper.release(step.token)

        async def write_waits(waits: bytes) -> None:
            cache = me()
            if cache is not None:
                await cache._run(cache._operations.sharing.tell(step.token, waits))  # noqa: SLF001 - our own

        def begin(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
            task = loop.create_task(work())
            _writing.add(task)
            task.add_done_callback(_writing.discard)

        def soon(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
            try:
                loop.call_soon_threadsafe(begin, work)
            except RuntimeError:  # the loop has ended, and with it the computation
                keeper.release(step.token)

        keeper.hold(step.token, lambda: soon(write), lambda waits: soon(lambda: write_waits(waits)), lease)


def _running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs
        return None


def _lookup(key: Any) -> Ask:
    return Ask("get", "get", key, fallback=MISSING)

"""A cache binds one engine to one namespace, with all of the semantics: keys, ttl, flights, trust."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakMethod, ref

from cachewright import events
from cachewright._background import background
from cachewright._batch import Batch
from cachewright._batching import BatchResolution
from cachewright._chase import chase
from cachewright._claims import keeper, new_token
from cachewright._flight import ABANDONED, FAILED, LANDED, FlightTable, lead, unlead
from cachewright._lifecycle import DEFAULT_TTL, REFUSED, Lifecycle, hashable
from cachewright._loader import Loader
from cachewright._packing import Draft
from cachewright._resolution import Request, Resolution
from cachewright._steps import Ask, Compute, Hold, Pause, Spawn, Steps, Wait
from cachewright._streaming import RunningStream, SharedStream
from cachewright._streams import Stream
from cachewright._tags import checked_tags
from cachewright.duration import parse_size, parse_ttl
from cachewright.entry import MISSING, AgedEntry, Entry, MissingType
from cachewright.errors import ClosedError, EngineError, UnsupportedByEngineError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cachewright.engine import Engine
    from cachewright.explanation import Explanation
    from cachewright.inventory import AuditReport, EntryInfo, VerifyReport
    from cachewright.stats import CacheInfo

T = TypeVar("T")


class Cache(MutableMapping[Any, Any]):
    """A synchronous cache; open one with :func:`cachewright.open_cache`.

    Safe to use from any number of threads. A key is any value with a canonical encoding (atoms,
    containers in any nesting, dataclasses, paths, dates, arrays, frames); keys that compare equal are
    one key. Values are whatever the engine can hold. As a mapping it raises ``KeyError`` on a miss;
    :meth:`get` returns a default. It is always true, even when empty.

    Args:
        engine: where entries live.
        lifecycle: the rules.
        explain: says why this engine is in use.
        companion: opens the engine that holds what is not an entry (tokens of tags, claims on values that
            are being refreshed); ``None`` for engines of one process, which need none.
    """

    def __init__(
        self,
        engine: Engine,
        lifecycle: Lifecycle,
        explain: Callable[[], Explanation] | None = None,
        *,
        companion: Callable[[], Engine] | None = None,
    ) -> None:
        self._engine = engine
        self._companion = companion
        self._aside: Engine | None = None
        self._life = lifecycle
        self._flights = FlightTable()
        self._operations = Resolution(lifecycle, self._flights, inline=True)
        self._explain = explain
        self._closed = False
        self._chase = new_token()
        lifecycle.on_debt = WeakMethod(self._begin_chase)
        if lifecycle.last_seen is not None:
            self._fetch = lambda key: self._ask(_lookup(key))  # type: ignore[method-assign] # the long way

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<{type(self).__name__} {self.namespace!r} on {self.engine!r}{state}>"

    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType] # equal by identity, unlike mappings

    def __eq__(self, other: object) -> bool:
        return self is other

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def namespace(self) -> str:
        """The namespace whose entries this cache sees."""
        return self._life.namespace

    @property
    def engine(self) -> str:
        """The name of the engine."""
        return self._life.info.name

    # Look-ups ---------------------------------------------------------------------------------------

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value stored under ``key``, else ``default``."""
        entry = self._lookup(self._life.value_key(key))
        return default if entry is MISSING else entry.value

    def __getitem__(self, key: Any) -> Any:
        entry = self._lookup(self._life.value_key(key))
        if entry is MISSING:
            raise KeyError(key)
        return entry.value

    def __contains__(self, key: object) -> bool:
        return self._read(self._life.value_key(key)) is not MISSING

    def get_many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """Return the values found, under the keys as given; absent keys are left out."""
        wanted = {hashable(key): self._life.value_key(key) for key in keys}
        found = self._run(self._operations.get_many(list(wanted.values())))
        return self._life.counted(wanted, found)

    def ttl(self, key: Any) -> float | None:
        """Return the seconds that the entry has left, ``None`` for ever; ``KeyError`` if absent."""
        entry = self._read(self._life.value_key(key))
        if entry is MISSING:
            raise KeyError(key)
        return self._life.remaining(entry)

    def get_or_set(
        self, key: Any, fn: Callable[[], T], *, ttl: Any = DEFAULT_TTL, tags: Iterable[str] = ()
    ) -> T:
        """Return the stored value, else compute it with ``fn()`` and store it.

        Callers that ask for the same key at the same time share one computation.
        """
        loader = self._life.value_loader(fn, key, self._ttl(ttl), checked_tags(tags))
        value: T = self.resolve(loader, (), (), {}, key=self._life.value_key(key))
        return value

    # Changes ----------------------------------------------------------------------------------------

    def set(self, key: Any, value: Any, *, ttl: Any = DEFAULT_TTL, tags: Iterable[str] = ()) -> bool:
        """Store ``value``; it replaces value, ttl and tags, and wins over a computation under way.

        Returns:
            False if it was not stored: ``ttl <= 0``, too large, or the engine is unreachable.
        """
        engine_key, draft = self._life.draft(key, value, self._ttl(ttl), checked_tags(tags))
        return self._run(self._operations.put(engine_key, draft))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.set(key, value)

    def set_many(
        self, mapping: Mapping[Any, Any], *, ttl: Any = DEFAULT_TTL, tags: Iterable[str] = ()
    ) -> int:
        """Store every item; return how many were stored."""
        seconds, names = self._ttl(ttl), checked_tags(tags)
        drafts = [self._life.draft(key, value, seconds, names) for key, value in mapping.items()]
        return self._run(self._operations.put_many(drafts))

    def add(self, key: Any, value: Any, *, ttl: Any = DEFAULT_TTL, tags: Iterable[str] = ()) -> bool:
        """Store ``value`` only if the key is absent; atomic among all who can see the entry."""
        change = self._life.changes.add(value, self._ttl(ttl))
        return self._swap(key, change, "add", checked_tags(tags)) is not MISSING

    def touch(self, key: Any, ttl: Any) -> bool:
        """Give an entry a new ttl; return whether there was one."""
        return self._swap(key, self._life.changes.touch(self._ttl(ttl)), "touch") is not MISSING

    def incr(self, key: Any, delta: int = 1) -> int:
        """Add ``delta`` to the integer stored under ``key`` (0 if absent) and return the sum; atomic.

        The ttl of the entry stays.
        """
        total: int = self._swap(key, self._life.changes.incr(key, delta), "incr")
        return total

    def delete(self, key: Any) -> bool:
        """Remove the entry; return whether there was one.

        After it returns, no later call is answered with a value computed before.
        """
        return self.drop_key(self._life.value_key(key))

    def __delitem__(self, key: Any) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def delete_many(self, keys: Iterable[Any]) -> int:
        """Remove the entries; return how many there were."""
        return sum(self.delete(key) for key in keys)

    def clear(self) -> None:
        """Remove every entry of this namespace, and nothing else."""
        self._run(self._operations.clear())

    def invalidate_tags(self, *tags: str) -> int | None:
        """Remove every entry that has one of the tags.

        After it returns, no later call is answered with a value that was read before. In a store that
        others share this takes one write per tag, whatever the number of entries.

        Returns:
            How many entries there were; ``None`` where that is not known.
        """
        return self._run(self._operations.invalidate_tags(checked_tags(tags)))

    # Listing ----------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys as they were written, of a snapshot; unlistable ones are left out."""
        for info in self.entries():
            if info.key is not MISSING:
                yield info.key

    def __len__(self) -> int:
        if self._life.info.capabilities.ttl_per_entry or not self._life.holds_objects:
            return int(self._ask(Ask("count", "count", fallback=0)))
        # The engine knows nothing of deadlines: count what has not expired.
        return sum(1 for _ in self.entries())

    def entries(self) -> Iterator[EntryInfo]:
        """Describe every stored entry, without decoding values; a snapshot of keys, read one by one."""
        for engine_key in self.engine_keys():
            info = self._run(self._operations.describe(engine_key))
            if info is not None:
                yield info

    def verify(self, *, repair: bool = False) -> VerifyReport:
        """Read and decode every entry; with ``repair`` remove those that cannot be used."""
        return self._run(self._operations.verify(repair=repair))

    def audit(self, *, oversized: int | str = "16MB") -> AuditReport:
        """Count the entries by how they are serialized and signed, by size, and by why they cannot be read.

        Args:
            oversized: size from which an entry is called oversized, as a number or "16MB".
        """
        limit = parse_size(oversized, setting="oversized")
        return self._run(self._operations.audit(oversized=limit))

    def stats(self) -> CacheInfo:
        """Return the statistics of this cache since it was opened."""
        try:
            size = len(self)
        except (ClosedError, EngineError):
            size = 0
        except UnsupportedByEngineError:  # it cannot list what it stores
            size = -1
        return self._life.snapshot(currsize=size)

    def explain(self, key: Any = MISSING) -> Explanation:
        """Say why this engine is in use and, for a key, what is stored under it."""
        if key is MISSING:
            return self.explain_key(MISSING)
        return self.explain_key(self._life.value_key(key))

    def close(self) -> None:
        """Release the engine; what is stored stays stored. Closing twice is allowed."""
        if not self._closed:
            if self._life.breaker.pending and self._life.breaker.begin_probe(urgent=True):
                self._run(self._operations.recover())  # the last chance to say what is queued
            keeper.release(self._chase)
            self._closed = True
            self._engine.close()
            if self._aside is not None:
                self._aside.close()

    # For decorated functions: the same, by engine key ---------------------------------------------------

    @property
    def lifecycle(self) -> Lifecycle:
        """The rules of this cache; for the code that decorates functions."""
        return self._life

    def resolve(  # noqa: C901, PLR0911, PLR0912, PLR0915 - one frame: recursive functions pay for each
        self,
        loader: Loader,
        raw: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        key: Any = MISSING,
        fresh: bool = False,
    ) -> Any:
        """Answer a call from the store or by computing it, once for all who ask at the same time.

        Args:
            loader: the function and its rules.
            raw: the arguments as the wrapper packed them; see :class:`Loader`.
            args: what to call the function with.
            kwargs: what to call the function with.
            key: the engine's key, if it is known already.
            fresh: compute even if there is an entry, and supersede what is being computed.
        """
        life = self._life
        if key is MISSING:
            key = life.call_key(loader, raw)
        flights = self._flights
        epoch = flights.epoch
        stored: Any = MISSING
        entry: Entry | MissingType = MISSING
        if not fresh:
            if self._closed:
                self._check_open()
            stored = self._fetch(key)
            entry = life.unpack(key, stored)
            if entry is not MISSING and entry.__class__ is Entry:
                if life.listeners:
                    life.emit(events.Hit)
                return entry.value
        if loader.rich or not life.holds_objects or fresh or entry is not MISSING:
            request = Request(loader, key, args, kwargs, life.label(loader, raw), epoch)
            return self._run(self._operations.resolve(request, stored, entry, fresh=fresh)).result()
        # From here on a short cut: what a resolution does for a function that asks for nothing special.
        counters = loader.counters
        counters.misses.add()
        if life.listeners:
            life.emit(events.Miss)
        while True:
            flight, leads = flights.join(key) if loader.single_flight else (flights.alone(key), True)
            if leads:
                break
            if not flights.wait(flight):
                counters.loads.add()
                return loader.fn(*args, **kwargs)
            if flight.state != ABANDONED:
                counters.coalesced.add()
                try:
                    return flight.result()
                finally:
                    del flight  # an exception refers to this frame, which must not refer to the exception
            entry = self._read(key)
            if entry is not MISSING:
                counters.coalesced.add()
                return entry.value
        flight.leader = threading.current_thread()
        flight.tags = ()
        token = lead(flight)
        try:
            if flights.epoch != epoch:
                # Another flight for this key may have landed between our look-up and our lead.
                # Who joined since looks for itself: it may have been invalidated before that.
                entry = self._read(key)
                if entry is not MISSING:
                    flights.end(flight, ABANDONED)
                    counters.coalesced.add()
                    return entry.value
            counters.loads.add()
            started = time.perf_counter()
            value = loader.fn(*args, **kwargs)
            seconds = time.perf_counter() - started
            with flight.guard:
                if flight.stale:
                    life.refused("invalidated", "it was invalidated while it was computed")
                else:
                    self._store(loader, key, value, seconds)
        except Exception as error:
            flights.end(flight, FAILED, error=error)
            del flight  # as above
            raise
        except BaseException:
            flights.end(flight, ABANDONED)
            raise
        finally:
            unlead(token)
        flights.end(flight, LANDED, value=value)
        return value

    def resolve_many(self, batch: Batch, *, fresh: bool = False) -> dict[Any, Any]:
        """Answer a call for many keys; see :mod:`cachewright._batching`."""
        steps = BatchResolution(self._operations, batch, fresh=fresh).answer()
        found: dict[Any, Any] = (self._run(steps)).result()
        return found

    def open_stream(
        self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, fresh: bool = False
    ) -> tuple[object, ...] | Stream[object] | None:
        """Return the stored items of a call of a generator function, else the stream that produces them.

        ``None`` where waiting for whoever holds the place of the stream would never end: the caller runs
        the function itself.
        """
        life, flights = self._life, self._flights
        key = life.call_key(loader, raw)
        counted = fresh
        if fresh:
            self._run(self._operations.supersede(key))
        while True:
            epoch = flights.epoch
            stored, entry = self._run(self._operations.fetch(key))
            entry = life.usable(entry)
            if entry is not MISSING and not fresh:
                life.emit(events.Hit)
                return cast("tuple[object, ...]", entry.value)
            if not counted:
                loader.counters.misses.add()
                life.emit(events.Miss)
                counted = True
            request = self._run(self._operations.requested(loader, raw, key, args, kwargs, epoch))
            running = RunningStream(self._operations, request, stored, entry, fresh=fresh)
            stream = Stream(running.source(self._run), self._stream_end(running))
            if not loader.single_flight:
                return stream
            mine = SharedStream(running.flight, stream)
            shared, other = flights.share_stream(key, mine)
            if shared is mine:
                return stream
            if isinstance(shared, SharedStream):
                if self._run(self._operations.may_join(shared.flight, stored, request)):
                    loader.counters.coalesced.add()
                    return cast("Stream[object]", shared.stream)
            elif other is not None and not flights.wait(other):
                return None

    def _stream_end(self, running: RunningStream) -> Callable[[list[Any] | None, BaseException | None], None]:
        def ended(items: list[Any] | None, _error: BaseException | None) -> None:
            if items is not None:
                self._run(running.ended(items))
            else:
                # The garbage collector may have come here, from within whatever the engine does: what has
                # to be said to the engine is said in another thread.
                self._flights.end(running.flight, ABANDONED)
                if running.flight.token:
                    self._spawn(Spawn(self._operations.sharing.release(running.flight)))

        return ended

    def peek_key(self, key: Any) -> Entry | MissingType:
        """Return the entry without counting a look-up."""
        return self._read(key)

    def put_key(self, key: Any, draft: Draft) -> bool:
        """Store a value under an engine key; a computation under way for it will not be stored."""
        return self._run(self._operations.put(key, draft))

    def peek_keys(self, keys: list[Any]) -> dict[Any, Entry]:
        """Return the entries found, with one look-up that is not counted."""
        return self._run(self._operations.get_many(keys))

    def put_keys(self, drafts: list[tuple[Any, Draft]]) -> int:
        """Store values under engine keys, in one write; return how many were stored."""
        return self._run(self._operations.put_many(drafts))

    def drop_key(self, key: Any) -> bool:
        """Remove the entry under an engine key; see :meth:`delete`."""
        return self._run(self._operations.drop(key))

    def drop_where(self, matches: Callable[[Any, Any], bool]) -> int:
        """Remove the entries that ``matches(engine key, label)``; see :meth:`Operations.drop_where`."""
        return self._run(self._operations.drop_where(matches))

    def explain_key(self, key: Any) -> Explanation:
        """Explain the cache and, unless ``key`` is ``MISSING``, what is stored under an engine key."""
        if self._explain is None:
            from cachewright.explanation import Explanation  # noqa: PLC0415 - for explaining only

            base = Explanation(namespace=self.namespace, engine=self.engine, why="the engine was passed in")
        else:
            base = self._explain()
        if key is MISSING:
            return base
        entry = self._run(self._operations.describe(key))
        return replace(base, digest=self._life.digest_of(key), entry=entry)

    def engine_keys(self) -> list[Any]:
        """Return a snapshot of the engine's keys."""
        keys: list[Any] = self._ask(Ask("list", "keys", fallback=[]))
        return keys

    def scope_keys(self, scope: str) -> list[Any]:
        """Return the engine's keys of one of the functions that share this cache."""
        return self._run(self._operations.scope_keys(scope))

    def reader(self) -> Any:
        """Return the engine's fastest read, or ``None``; see :meth:`Engine.reader`."""
        return self._engine.reader()

    # Inside -----------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"cache {self.namespace!r}")

    def _ttl(self, ttl: Any) -> float | None:
        return self._life.ttl if ttl is DEFAULT_TTL else parse_ttl(ttl, setting="ttl")

    def _lookup(self, key: Any) -> Entry | MissingType:
        counters = self._life.counters
        counters.calls.add()
        entry = self._read(key)
        if entry is MISSING:
            counters.misses.add()
        if self._life.listeners:
            self._life.emit(events.Miss if entry is MISSING else events.Hit)
        return entry

    def _read(self, key: Any) -> Entry | MissingType:
        if self._closed:
            self._check_open()
        life = self._life
        stored = self._fetch(key)
        entry = life.unpack(key, stored)
        if isinstance(entry, AgedEntry):
            return life.usable(self._run(self._operations.examine(entry)))
        return entry

    def _store(self, loader: Loader, key: Any, value: object, seconds: float) -> None:
        life = self._life
        if not life.admits(loader, value):
            return
        ttl = life.ttl_of(loader, value)
        if ttl is not None and ttl <= 0:
            self._ask(Ask("delete", "delete", key))
            life.refused("ttl", f"ttl={ttl} means not to store")
            return
        packed = life.pack(key, Draft(value, ttl, seconds, label=loader.label))
        stored = self._ask(Ask("set", "set", key, packed.stored, ttl=ttl, size=packed.size, fallback=None))
        if stored:
            life.note_stored(packed, seconds)
        else:
            life.refused(*REFUSED[stored])

    def _swap(self, key: Any, change: Any, ability: str, tags: tuple[str, ...] = ()) -> Any:
        engine_key = self._life.value_key(key)
        return self._run(self._operations.swap(engine_key, change, ability, label=key, tags=tags))

    # Taking steps -----------------------------------------------------------------------------------

    def _run(self, steps: Steps[T], *, contain: bool = False) -> T:
        """Take the steps of an operation in this thread.

        Args:
            steps: the operation.
            contain: whether nobody called the user's function, so that whatever it raises is its result.
        """
        answer: Any
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Ask):
                        answer = self._ask(step)
                    elif isinstance(step, Compute):
                        try:
                            answer = (step.fn(*step.args, **step.kwargs), None)
                        except BaseException as error:
                            if not (contain or isinstance(error, (Exception, GeneratorExit))):
                                raise
                            answer = (None, error)
                    else:
                        answer = self._take(step)
                except BaseException as error:  # noqa: BLE001 - the operation decides about it
                    step = steps.throw(error)
                else:
                    # an exception refers to this frame, which must not refer to the exception
                    answers, answer = [answer], None
                    step = steps.send(answers.pop())
        except StopIteration as end:
            results: list[T] = [end.value]
            return results.pop()  # one that has failed holds an exception, which refers to this frame

    def _take(self, step: Wait | Pause | Hold | Spawn) -> Any:
        if isinstance(step, Wait):
            return self._flights.wait(step.flight, step.seconds)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Hold):
            return self._hold(step)
        return self._spawn(step)

    def _ask(self, ask: Ask) -> Any:
        """Call the engine; see :class:`Ask`."""
        if self._closed:
            self._check_open()
        life = self._life
        breaker = life.breaker
        if life.last_seen is not None:
            life.last_seen.forget(ask)
        if breaker.open and not ask.urgent:
            self.look_again()
            return life.left_alone(ask)
        try:
            answer = getattr(self._engine_for(aside=ask.aside), ask.method)(*ask.args, **ask.options)
            if ask.method == "keys":
                answer = list(answer)
        except Exception as error:  # noqa: BLE001 - an engine is foreign code; the lifecycle judges what it raised
            life.absorb(ask.operation, error, urgent=ask.urgent)
            return life.unanswered(ask)
        if breaker.failures:
            breaker.answered()
        if life.last_seen is not None:
            life.last_seen.note(ask, answer)
        return answer

    def _fetch(self, key: Any) -> Any:
        """Ask the engine for a key: what most look-ups of a store of bytes do, and nothing else."""
        life = self._life
        breaker = life.breaker
        if breaker.open:
            return self._ask(_lookup(key))
        try:
            stored = self._engine.get(key)
        except Exception as error:  # noqa: BLE001 - as in _ask
            life.absorb("get", error, urgent=False)
            return MISSING
        if breaker.failures:
            breaker.answered()
        return stored

    def look_again(self) -> bool:
        """Find out behind the callers, if it is time, whether the engine is back; return if that is open."""
        breaker = self._life.breaker
        if self._closed or not breaker.open:
            return False
        if breaker.begin_probe() and not self._spawn(Spawn(self._operations.recover())):
            breaker.still_down()
        return True

    def _begin_chase(self) -> None:
        chase(self, self._chase, lambda probe: probe())

    def _engine_for(self, *, aside: bool) -> Engine:
        if not aside:
            return self._engine
        if self._aside is None:
            if self._companion is None:
                raise UnsupportedByEngineError(self.engine, "tags and refreshing without a companion engine")
            self._aside = self._companion()
        return self._aside

    def _spawn(self, step: Spawn) -> bool:
        me = ref(self)  # what waits in a queue must not keep a cache alive
        flight, steps, context = step.flight, step.steps, copy_context()

        def work() -> None:
            cache = me()
            if cache is None:
                return
            if flight is not None:
                flight.leader = threading.current_thread()
            if cache._closed:  # noqa: SLF001 - our own
                if flight is not None:
                    cache._flights.end(flight, ABANDONED)  # noqa: SLF001 - as above
            else:
                context.run(cache._run, steps, contain=True)  # noqa: SLF001 - as above

        return background().submit(work, now=step.now)

    def _hold(self, step: Hold) -> None:
        me, lease = ref(self), self._life.lease

        def renew() -> None:
            cache = me()
            try:
                kept = cache is not None and cache._engine_for(aside=step.aside).compare_and_set(  # noqa: SLF001 - our own
                    step.key, step.blob, [step.blob], ttl=lease, size=len(step.blob)
                )
            except Exception:  # noqa: BLE001 - foreign code; the next attempt is a third of a lease away
                return
            if not kept:
                keeper.release(step.token)

        def tell(waits: bytes) -> None:
            cache = me()
            if cache is not None:
                cache._run(cache._operations.sharing.tell(step.token, waits))  # noqa: SLF001 - our own

        keeper.hold(step.token, renew, tell, lease)


def _lookup(key: Any) -> Ask:
    return Ask("get", "get", key, fallback=MISSING)

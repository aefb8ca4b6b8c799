"""A cache binds one engine to one namespace, with all of the semantics: keys, ttl, flights, trust."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from cachewright import events
from cachewright._flight import ABANDONED, FAILED, LANDED, Flight, FlightTable, lead, unlead
from cachewright._lifecycle import ATTEMPTS, DEFAULT_TTL, REFUSED, Lifecycle, hashable
from cachewright._loader import Loader
from cachewright._packing import Packed
from cachewright.duration import parse_ttl
from cachewright.entry import MISSING, Entry, MissingType
from cachewright.errors import ClosedError, EngineError, UnsupportedByEngineError
from cachewright.inventory import EntryInfo, VerifyReport

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cachewright.engine import Engine
    from cachewright.explanation import Explanation
    from cachewright.stats import CacheInfo

T = TypeVar("T")


class Cache(MutableMapping[Any, Any]):
    """A synchronous cache; open one with :func:`cachewright.open_cache`.

    Safe to use from any number of threads. A key is any value with a canonical encoding (atoms,
    containers in any nesting, dataclasses, paths, dates, arrays, frames); keys that compare equal are
    one key. Values are whatever the engine can hold. As a mapping it raises ``KeyError`` on a miss;
    :meth:`get` returns a default. It is always true, even when empty.
    """

    def __init__(
        self, engine: Engine, lifecycle: Lifecycle, explain: Callable[[], Explanation] | None = None
    ) -> None:
        self._engine = engine
        self._life = lifecycle
        self._flights = FlightTable()
        self._explain = explain
        self._closed = False

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
        wanted = [(key, self._life.value_key(key)) for key in keys]
        self._open()
        found = self._call(
            "get", self._engine.get_many, [engine_key for _, engine_key in wanted], fallback={}
        )
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

    def ttl(self, key: Any) -> float | None:
        """Return the seconds that the entry has left, ``None`` for ever; ``KeyError`` if absent."""
        entry = self._read(self._life.value_key(key))
        if entry is MISSING:
            raise KeyError(key)
        return self._life.remaining(entry)

    def get_or_set(self, key: Any, fn: Callable[[], T], *, ttl: Any = DEFAULT_TTL) -> T:
        """Return the stored value, else compute it with ``fn()`` and store it.

        Callers that ask for the same key at the same time share one computation.
        """
        loader = Loader(fn, "get_or_set()", ttl=self._ttl(ttl), counters=self._life.counters, label=key)
        loader.counters.calls.add()
        value: T = self.resolve(loader, (), (), {}, key=self._life.value_key(key))
        return value

    # Changes ----------------------------------------------------------------------------------------

    def set(self, key: Any, value: Any, *, ttl: Any = DEFAULT_TTL) -> bool:
        """Store ``value``; it replaces value and ttl, and wins over a computation under way.

        Returns:
            False if it was not stored: ``ttl <= 0``, too large, or the engine is unreachable.
        """
        engine_key = self._life.value_key(key)
        return self.put_key(engine_key, value, self._ttl(ttl), label=key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.set(key, value)

    def set_many(self, mapping: Mapping[Any, Any], *, ttl: Any = DEFAULT_TTL) -> int:
        """Store every item; return how many were stored."""
        seconds = self._ttl(ttl)
        return sum(
            self.put_key(self._life.value_key(key), value, seconds, label=key)
            for key, value in mapping.items()
        )

    def add(self, key: Any, value: Any, *, ttl: Any = DEFAULT_TTL) -> bool:
        """Store ``value`` only if the key is absent; atomic among all who can see the entry."""
        engine_key = self._life.value_key(key)
        seconds = self._ttl(ttl)

        def absent(entry: Entry | MissingType) -> tuple[Any, float | None] | None:
            return (value, seconds) if entry is MISSING else None

        return self._swap(engine_key, absent, "add", label=key) is not MISSING

    def touch(self, key: Any, ttl: Any) -> bool:
        """Give an entry a new ttl; return whether there was one."""
        engine_key = self._life.value_key(key)
        seconds = self._ttl(ttl)

        def renewed(entry: Entry | MissingType) -> tuple[Any, float | None] | None:
            return None if entry is MISSING else (entry.value, seconds)

        return self._swap(engine_key, renewed, "touch", label=key) is not MISSING

    def incr(self, key: Any, delta: int = 1) -> int:
        """Add ``delta`` to the integer stored under ``key`` (0 if absent) and return the sum; atomic.

        The ttl of the entry stays.
        """
        engine_key = self._life.value_key(key)
        default = self._life.ttl

        def added(entry: Entry | MissingType) -> tuple[Any, float | None] | None:
            if entry is MISSING:
                return delta, default
            if type(entry.value) is not int:
                message = f"the value under {key!r} is a {type(entry.value).__name__}, not an int"
                raise TypeError(message)
            return entry.value + delta, self._life.remaining(entry)

        total: int = self._swap(engine_key, added, "incr", label=key)
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
        self._open()
        for flight in self._flights.detach_all():
            with flight.guard:
                flight.stale = True
        self._call("clear", self._engine.clear, always=True)
        self._life.emit(events.Invalidated, None)

    # Listing ----------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys as they were written, of a snapshot; unlistable ones are left out."""
        for info in self.entries():
            if info.key is not MISSING:
                yield info.key

    def __len__(self) -> int:
        self._open()
        if self._life.info.capabilities.ttl_per_entry or not self._life.holds_objects:
            return int(self._call("count", self._engine.count, fallback=0))
        # The engine knows nothing of deadlines: count what has not expired.
        return sum(1 for _ in self.entries())

    def entries(self) -> Iterator[EntryInfo]:
        """Describe every stored entry, without decoding values; a snapshot of keys, read one by one."""
        self._open()
        for engine_key in self._keys():
            info = self._life.describe(engine_key, self._call("get", self._engine.get, engine_key))
            if info is not None:
                yield info

    def verify(self, *, repair: bool = False) -> VerifyReport:
        """Read and decode every entry; with ``repair`` remove those that cannot be used."""
        self._open()
        checked = unreadable = removed = 0
        for engine_key in self._keys():
            stored = self._call("get", self._engine.get, engine_key)
            if stored is MISSING:
                continue
            checked += 1
            if self._life.unpack(engine_key, stored) is MISSING:
                unreadable += 1
                removed += repair and self.drop_key(engine_key)
        return VerifyReport(checked, unreadable, removed)

    def stats(self) -> CacheInfo:
        """Return the statistics of this cache since it was opened."""
        try:
            size = len(self)
        except (ClosedError, EngineError):
            size = 0
        return self._life.counters.snapshot(maxsize=self._life.maxsize, currsize=size)

    def explain(self, key: Any = MISSING) -> Explanation:
        """Say why this engine is in use and, for a key, what is stored under it."""
        if key is MISSING:
            return self.explain_key(MISSING)
        return self.explain_key(self._life.value_key(key))

    def close(self) -> None:
        """Release the engine; what is stored stays stored. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._engine.close()

    # For decorated functions: the same, by engine key ---------------------------------------------------

    @property
    def lifecycle(self) -> Lifecycle:
        """The rules of this cache; for the code that decorates functions."""
        return self._life

    def resolve(  # noqa: C901, PLR0912, PLR0915 - one frame: recursive functions pay for each
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
        if key is MISSING:
            key = self._life.call_key(loader, raw)
        flights = self._flights
        epoch = flights.epoch
        if fresh:
            supersede(flights, key)
        else:
            entry = self._read(key)
            if entry is not MISSING:
                if self._life.listeners:
                    self._life.emit(events.Hit)
                return entry.value
            loader.counters.misses.add()
            if self._life.listeners:
                self._life.emit(events.Miss)
        counters = loader.counters
        while True:
            flight, leads = flights.join(key) if loader.single_flight else (Flight(key), True)
            if leads:
                break
            if not flights.wait(flight):
                counters.loads.add()
                return loader.fn(*args, **kwargs)
            if flight.state != ABANDONED:
                counters.coalesced.add()
                return flight.result()
        flight.leader = threading.current_thread()
        token = lead(flight)
        try:
            if flights.epoch != epoch and not fresh:
                # Another flight for this key may have landed between our look-up and our lead.
                entry = self._read(key)
                if entry is not MISSING:
                    flights.end(flight, LANDED, value=entry.value)
                    counters.coalesced.add()
                    return entry.value
            counters.loads.add()
            started = time.perf_counter()
            value = loader.fn(*args, **kwargs)
            seconds = time.perf_counter() - started
            with flight.guard:
                if flight.stale:
                    self._life.refused("invalidated", "it was invalidated while it was computed")
                else:
                    self._store(loader, key, value, seconds)
        except Exception as error:
            flights.end(flight, FAILED, error=error)
            raise
        except BaseException:
            flights.end(flight, ABANDONED)
            raise
        finally:
            unlead(token)
        flights.end(flight, LANDED, value=value)
        return value

    def peek_key(self, key: Any) -> Entry | MissingType:
        """Return the entry without counting a look-up."""
        return self._read(key)

    def put_key(self, key: Any, value: object, ttl: float | None, *, label: object = MISSING) -> bool:
        """Store a value under an engine key; a computation under way for it will not be stored."""
        self._open()
        with _Claim(self._flights, key):
            if ttl is not None and ttl <= 0:
                self._call("delete", self._engine.delete, key, always=True)
                self._life.refused("ttl", f"ttl={ttl} means not to store")
                return False
            return self._write(key, value, ttl, 0.0, label)

    def put_call(self, loader: Loader, key: Any, value: object) -> bool:
        """Store a value as the result of a call, under the rules of its function."""
        return self.put_key(key, value, self._life.ttl_of(loader, value), label=loader.label)

    def drop_key(self, key: Any) -> bool:
        """Remove the entry under an engine key; see :meth:`delete`."""
        self._open()
        supersede(self._flights, key)
        # An engine that knows no deadlines would report an expired entry as one.
        live = self._life.info.capabilities.ttl_per_entry or self._read(key) is not MISSING
        there = bool(self._call("delete", self._engine.delete, key, always=True)) and live
        self._life.emit(events.Invalidated, int(there))
        return there

    def explain_key(self, key: Any) -> Explanation:
        """Explain the cache and, unless ``key`` is ``MISSING``, what is stored under an engine key."""
        if self._explain is None:
            from cachewright.explanation import Explanation  # noqa: PLC0415 - for explaining only

            base = Explanation(namespace=self.namespace, engine=self.engine, why="the engine was passed in")
        else:
            base = self._explain()
        if key is MISSING:
            return base
        stored = self._call("get", self._engine.get, key)
        entry = None if stored is MISSING else self._life.describe(key, stored)
        return replace(base, digest=self._life.digest_of(key), entry=entry)

    def engine_keys(self) -> list[Any]:
        """Return a snapshot of the engine's keys."""
        self._open()
        return self._keys()

    def scope_keys(self, scope: str) -> list[Any]:
        """Return the engine's keys of one of the functions that share this cache."""
        return [
            key
            for key in self.engine_keys()
            if self._life.in_scope(scope, key, self._call("get", self._engine.get, key))
        ]

    def clear_scope(self, scope: str) -> None:
        """Remove the entries of one of the functions that share this cache."""
        for flight in self._flights.detach_all():  # which of them belong to it is not worth knowing
            with flight.guard:
                flight.stale = True
        for key in self.scope_keys(scope):
            self.drop_key(key)

    def reader(self) -> Any:
        """Return the engine's fastest read, or ``None``; see :meth:`Engine.reader`."""
        return self._engine.reader()

    # Inside -----------------------------------------------------------------------------------------

    def _keys(self) -> list[Any]:
        keys: list[Any] = self._call("list", lambda: list(self._engine.keys()), fallback=[])
        return keys

    def _open(self) -> None:
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
            self._open()
        life = self._life
        if life.holds_objects:
            return life.unpack(key, self._engine.get(key))
        return life.unpack(key, self._call("get", self._engine.get, key))

    def _store(self, loader: Loader, key: Any, value: object, seconds: float) -> None:
        if not self._life.admits(loader, value):
            return
        ttl = self._life.ttl_of(loader, value)
        if ttl is not None and ttl <= 0:
            self._call("delete", self._engine.delete, key)
            self._life.refused("ttl", f"ttl={ttl} means not to store")
            return
        self._write(key, value, ttl, seconds, loader.label)

    def _write(self, key: Any, value: object, ttl: float | None, seconds: float, label: object) -> bool:
        packed = self._life.pack(key, value, ttl=ttl, seconds=seconds, label=label)
        stored = self._call(
            "set", self._engine.set, key, packed.stored, ttl=ttl, size=packed.size, fallback=None
        )
        if stored:
            self._life.note_stored(packed, seconds)
        else:
            self._life.refused(*REFUSED[stored])
        return bool(stored)

    def _swap(
        self,
        key: Any,
        change: Callable[[Entry | MissingType], tuple[Any, float | None] | None],
        ability: str,
        *,
        label: object,
    ) -> Any:
        """Replace the entry by what ``change`` makes of it, atomically; return that, else ``MISSING``."""
        self._open()
        life = self._life
        if not life.info.capabilities.compare_and_set:
            raise UnsupportedByEngineError(life.info.name, ability, life.alternatives("compare_and_set"))
        with _Claim(self._flights, key):
            for _ in range(ATTEMPTS):
                stored = self._call("get", self._engine.get, key, always=True)
                wanted = change(life.unpack(key, stored))
                if wanted is None:
                    return MISSING
                value, ttl = wanted
                if ttl is not None and ttl <= 0:
                    packed = Packed(MISSING, 0)
                else:
                    packed = life.pack(key, value, ttl=ttl, label=label)
                swap = self._engine.compare_and_set
                if self._call(
                    "set", swap, key, stored, packed.stored, ttl=ttl, size=packed.size, always=True
                ):
                    return value
        raise EngineError(life.info.name, ability, f"{ATTEMPTS} attempts lost against other writers")

    def _call(
        self,
        operation: str,
        method: Callable[..., Any],
        *args: Any,
        fallback: Any = MISSING,
        always: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Call the engine; a failure becomes ``fallback``, except where losing it would do harm.

        ``always``: the operation must not be lost in silence, so it is tried even while the engine
        rests, and its failure is raised.
        """
        life = self._life
        if life.resting and not always:
            return fallback
        try:
            answer = method(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - an engine is foreign code; the lifecycle judges what it raised
            life.absorb(operation, error, always=always)
            return fallback
        life.engine_answered()
        return answer


class _Claim:
    """Holds the place of the flight for a key while a value is stored by other means.

    Computations under way are superseded, and callers that miss meanwhile wait, then look again.
    """

    __slots__ = ("_flight", "_flights", "_key")

    def __init__(self, flights: FlightTable, key: Any) -> None:
        self._flights = flights
        self._key = key

    def __enter__(self) -> None:
        while True:
            supersede(self._flights, self._key)
            self._flight, leads = self._flights.join(self._key)
            if leads:
                self._flight.leader = threading.current_thread()
                return

    def __exit__(self, *details: object) -> None:
        self._flights.end(self._flight, ABANDONED)


def supersede(flights: FlightTable, key: Any) -> None:
    """Detach the flight for ``key``, if any, and make sure that it stores nothing from now on."""
    flight = flights.detach(key)
    if flight is not None:
        with flight.guard:  # waits for a store under way
            flight.stale = True

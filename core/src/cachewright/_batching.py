"""A batch is answered with one look-up, one call of the function for what is missing, and one write.

Batches that overlap share work key by key: every missing key has a flight, led by the batch that asked
first. A batch computes what it leads before it waits for what others lead, so that two never wait for
each other.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cachewright import events
from cachewright._batch import Batch, BatchStore, Item, by_element
from cachewright._flight import ABANDONED, ALOFT, LANDED, Flight, lead, unlead
from cachewright._flight import FAILED as FLIGHT_FAILED
from cachewright._resolution import Outcome
from cachewright._steps import Ask, Compute, Spawn, Steps, Wait
from cachewright.entry import MISSING, AgedEntry

if TYPE_CHECKING:
    from cachewright._resolution import Resolution
    from cachewright.entry import Entry


class BatchResolution:
    """One batch while it is answered."""

    def __init__(self, operations: Resolution, batch: Batch, *, fresh: bool = False) -> None:
        self._operations = operations
        self._life = operations.life
        self._sharing = operations.sharing
        self._flights = operations.flights
        self._batch = batch
        self._loader = batch.loader
        self._fresh = fresh
        self._values: dict[Item, Any] = {}
        self._store = BatchStore(operations, batch.loader)
        self._waiting = batch.items
        self._epoch = 0

    def answer(self) -> Steps[Outcome]:
        """Answer the batch: the outcome maps elements to values, without those that have none."""
        counters = self._loader.counters
        for item in self._batch.items:
            if self._fresh:
                yield from self._operations.supersede(item.key)
            else:
                counters.calls.add()
        first = True
        while self._waiting:
            yield from self._look_up(first=first)
            first = False
            joined = yield from self._join()
            led = [item for item in joined if item.leads]
            if led:
                yield from self._launch(led)
            outcome = yield from self._land(joined)
            if outcome is not None:
                return outcome
        values = ((item.element, self._values[item]) for item in self._batch.items)
        return Outcome({element: value for element, value in values if value is not MISSING})

    # The store, and who else computes -------------------------------------------------------------------

    def _look_up(self, *, first: bool) -> Steps[None]:
        """Take what is stored, with one look-up, and one more for tags."""
        life, loader = self._life, self._loader
        self._epoch = self._flights.epoch
        entries = yield from self._entries(self._waiting)
        for item in self._waiting:
            item.readable = item in entries
            if self._fresh:
                continue
            if item.readable:
                self._values[item] = entries[item]
                life.emit(events.Hit)
                if not first:
                    loader.counters.coalesced.add()
            elif first:
                loader.counters.misses.add()
                life.emit(events.Miss)
        self._waiting = [item for item in self._waiting if item not in self._values]
        if life.shared:
            tags = {tag for item in self._waiting for tag in item.tags}
            tokens = (yield from self._sharing.tokens(tags)) if tags else {}
            for item in self._waiting:
                item.tokens = {tag: tokens[tag] for tag in item.tags if tag in tokens}

    def _entries(self, items: list[Item]) -> Steps[dict[Item, Any]]:
        """Note what is stored under the keys; return the values that may be used."""
        life = self._life
        found = yield Ask("get", "get_many", [item.key for item in items], fallback={})
        entries: dict[Item, Entry] = {}
        for item in items:
            item.stored = found.get(item.key, MISSING)
            entry = life.unpack(item.key, item.stored)
            if entry is not MISSING:
                entries[item] = entry
        tags = {tag for entry in entries.values() if isinstance(entry, AgedEntry) for tag in entry.tokens}
        current = (yield from self._sharing.tokens(tags)) if tags else {}
        values: dict[Item, Any] = {}
        for item, entry in entries.items():
            tokens = entry.tokens if isinstance(entry, AgedEntry) else {}
            valid = all(current.get(tag) == token for tag, token in tokens.items())
            if valid and life.usable(entry) is not MISSING:
                values[item] = entry.value
        return values

    def _join(self) -> Steps[list[Item]]:
        """Join the flight of every missing key; return the items whose flights have not been outdated."""
        flights, joined, single_flight = self._flights, list[Item](), self._loader.single_flight
        try:
            for item in self._waiting:
                if single_flight:
                    item.flight, item.leads = flights.join(item.key)
                else:
                    item.flight, item.leads = flights.alone(item.key), True
                joined.append(item)
                if item.leads:
                    flights.mark_leader(item.flight)
            return (yield from self._standing(joined)) if self._life.shared else joined
        except BaseException:
            for item in joined:
                if item.leads:
                    flights.end(item.flight, ABANDONED)
            raise

    def _standing(self, joined: list[Item]) -> Steps[list[Item]]:
        """Return the items but those whose flight was outdated by another process, and supersede these."""
        standing: list[Item] = []
        for item in joined:
            flight = item.flight
            if item.leads or (yield from self._sharing.stands(flight, item.stored, item.tokens)):
                standing.append(item)
            else:
                yield from self._operations.retire(flight)
        return standing

    def _land(self, joined: list[Item]) -> Steps[Outcome | None]:
        """Wait for every flight; what ended without a result stays to be asked for again."""
        counters, alone = self._loader.counters, list[Item]()
        for item in joined:
            flight = item.flight
            if flight.state == ALOFT and (yield Wait(flight)) is False:
                alone.append(item)
            elif flight.state == FLIGHT_FAILED:
                return Outcome(None, flight.error, flight.traceback)
            elif flight.state == LANDED:
                self._values[item] = flight.value
                if not item.leads:
                    counters.coalesced.add()
            elif item.found is not MISSING:
                self._values[item] = item.found
                counters.coalesced.add()
        if alone:  # they are asked for from within their own computation
            counters.loads.add()
            elements = [item.element for item in alone]
            result, error = yield Compute(self._loader.fn, *self._batch.arguments(elements))
            if error is not None:
                return Outcome(None, error, error.__traceback__)
            results = by_element(self._loader, elements, result)
            self._values |= {item: results.get(at, MISSING) for at, item in enumerate(alone)}
        self._waiting = [item for item in self._waiting if item not in self._values]
        return None

    # Computing ------------------------------------------------------------------------------------------

    def _launch(self, led: list[Item]) -> Steps[None]:
        """Start the computation of the items, here or behind the caller."""
        first, steps = led[0].flight, self._lead(led)
        if self._operations.inline or not (yield Spawn(steps, first, now=True)):
            yield from steps
            return
        for item in led:
            if item.flight.state == ALOFT:
                item.flight.task = first.task

    def _lead(self, led: list[Item]) -> Steps[None]:
        """Compute, store and end the flights of the items, however it goes."""
        flights = [item.flight for item in led]
        marks = [lead(flight) for flight in self._marked(flights)]
        state, error = ABANDONED, None
        try:
            todo = yield from (self._claimed(led) if self._life.shared else self._still_missing(led))
            error = (yield from self._compute(todo)) if todo else None
            for item in led:  # claimed by other processes: waited for now that they do not wait for us
                if item.flight.state == ALOFT and error is None:
                    error = yield from self._late(item)
        except Exception as failure:  # noqa: BLE001 - of the user's rules or of the engine; raised by those who wait
            error = failure
        finally:
            for mark in reversed(marks):
                unlead(mark)
            yield from self._store.release(flights)
            for flight in flights:
                self._flights.end(flight, state if error is None else FLIGHT_FAILED, error=error)

    def _marked(self, flights: list[Flight]) -> list[Flight]:
        """Return what the running code is marked with, so that circles of waiting are found."""
        if self._life.shared:
            return flights  # other processes are told their claims
        group = Flight(None)  # in place of each flight: a mark costs as much as there are marks
        for flight in flights:
            flight.waits_for.add(group)
        return [group]

    def _still_missing(self, led: list[Item]) -> Steps[list[Item]]:
        """Return the items to compute; the others were stored between the look-up and the lead."""
        entries: dict[Item, Any] = {}
        if self._flights.epoch != self._epoch and not self._fresh:
            entries = yield from self._entries(led)
        for item in led:
            item.flight.tags = item.tags
            if item in entries:
                self._land_on(item, entries[item])
        return [item for item in led if item not in entries]

    def _claimed(self, led: list[Item]) -> Steps[list[Item]]:
        """Claim the keys among all who share the store; return the items that are to be computed now."""
        for item in led:
            flight = item.flight
            flight.tags, flight.tokens = item.tags, item.tokens
        return (yield from self._store.claim(led))

    def _late(self, item: Item) -> Steps[BaseException | None]:
        """Wait for what another process computes; compute it if that process does not."""
        stored, wait = item.stored, self._loader.single_flight and not self._fresh
        while True:
            stored = yield from self._sharing.claim(item.flight, stored, item.tokens, item.label, wait=wait)
            if stored is MISSING:
                return (yield from self._compute([item]))
            entry = self._life.unpack(item.key, stored)
            if isinstance(entry, AgedEntry):
                entry = self._life.usable((yield from self._operations.examine(entry)))
            if entry is not MISSING:
                self._land_on(item, entry.value)
                return None

    def _land_on(self, item: Item, value: object) -> None:
        """Take what is stored now. Who has joined since it was invalidated must not: they look again."""
        item.found = value
        self._flights.end(item.flight, ABANDONED)

    def _compute(self, todo: list[Item]) -> Steps[BaseException | None]:
        """Call the function for the items, store what it returns, and end their flights."""
        loader, elements = self._loader, [item.element for item in todo]
        loader.counters.loads.add()
        started = time.perf_counter()
        result: Any
        error: BaseException | None
        result, error = yield Compute(loader.fn, *self._batch.arguments(elements))
        seconds = (time.perf_counter() - started) / len(todo)
        if error is not None:
            return error
        results = by_element(loader, elements, result)
        yield from self._store.keep([(todo[at], value) for at, value in results.items()], seconds)
        yield from self._store.release([item.flight for item in todo])
        for at, item in enumerate(todo):
            self._flights.end(item.flight, LANDED, value=results.get(at, MISSING))
        return None

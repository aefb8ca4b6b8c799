"""The operations of a cache, written once for both colours; see :mod:`cachewright._steps`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cachewright import events
from cachewright._breaker import CLEAR
from cachewright._flight import ABANDONED, ALOFT, Flight, FlightTable, led, reset_in_children
from cachewright._lifecycle import ATTEMPTS, REFUSED, Lifecycle
from cachewright._packing import Draft, Packed
from cachewright._sharing import Sharing
from cachewright._steps import FAILED, Ask, Steps, Wait
from cachewright._tags import EPOCH, TagIndex, new_token
from cachewright.entry import MISSING, AgedEntry, Entry, MissingType
from cachewright.errors import EngineError, UnsupportedByEngineError
from cachewright.inventory import AuditReport, EntryInfo, VerifyReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cachewright._breaker import Debt


class Operations:
    """What can be done to the entries of one cache by their engine keys.

    Attributes:
        life: the rules.
        flights: the computations under way.
        tags: leads from tags to keys, where entries are this process's own.
        sharing: what is done for others that share the store.
    """

    def __init__(self, life: Lifecycle, flights: FlightTable) -> None:
        self.life = life
        self.flights = flights
        self.tags = TagIndex()
        self._tagged = 0
        reset_in_children(self.tags)
        reset_in_children(life.breaker)
        self.sharing = Sharing(life)

    # Reading ----------------------------------------------------------------------------------------

    def fetch(self, key: Any) -> Steps[tuple[Any, Entry | MissingType]]:
        """Return what is stored under a key, as it is and as an entry whose tags are valid."""
        stored = yield Ask("get", "get", key, fallback=MISSING)
        entry = self.life.unpack(key, stored)
        if isinstance(entry, AgedEntry):
            entry = yield from self.examine(entry)
        return stored, entry

    def examine(self, entry: AgedEntry) -> Steps[Entry | MissingType]:
        """Return the entry unless one of its tags was invalidated."""
        if entry.tokens and not (yield from self.sharing.still_valid(entry.tokens)):
            return MISSING
        return entry

    def get(self, key: Any) -> Steps[Entry | MissingType]:
        """Return the entry whose ttl is not over."""
        _, entry = yield from self.fetch(key)
        return self.life.usable(entry)

    def get_many(self, keys: list[Any]) -> Steps[dict[Any, Entry]]:
        """Return the entries found, by key."""
        found = yield Ask("get", "get_many", keys, fallback={})
        entries: dict[Any, Entry] = {}
        for key in keys:
            entry = self.life.unpack(key, found.get(key, MISSING))
            if isinstance(entry, AgedEntry):
                entry = self.life.usable((yield from self.examine(entry)))
            if entry is not MISSING:
                entries[key] = entry
        return entries

    # Storing ----------------------------------------------------------------------------------------

    def put(self, key: Any, draft: Draft) -> Steps[bool]:
        """Store a value under an engine key.

        A computation under way for it will not be stored, and callers that miss meanwhile wait.
        """
        life, tags = self.life, tuple(draft.tags)
        place = yield from self._take_place(key, tags)
        try:
            if draft.ttl is not None and draft.ttl <= 0:
                yield from self.remove(key)
                life.refused("ttl", f"ttl={draft.ttl} means not to store")
                return False
            try:
                packed = yield from self._packed(key, draft)
                answer = yield Ask("set", "set", key, packed.stored, ttl=packed.ttl, size=packed.size)
            except EngineError:
                yield from self.remove(key)
                raise
            return (yield from self._written(key, packed, tags, answer))
        finally:
            self.flights.end(place, ABANDONED)

    def put_many(self, drafts: Iterable[tuple[Any, Draft]]) -> Steps[int]:
        """Store several values, in one write; return how many were stored."""
        latest = dict(drafts)
        at_once = {key: draft for key, draft in latest.items() if draft.ttl is None or draft.ttl > 0}
        stored = 0
        if len(at_once) < 2 or not self.life.info.capabilities.many:
            for key, draft in latest.items():
                stored += yield from self.put(key, draft)
            return stored
        for key in latest.keys() - at_once.keys():
            yield from self.put(key, latest[key])
        return (yield from self._put_together(at_once))

    def _put_together(self, drafts: dict[Any, Draft]) -> Steps[int]:
        places: list[Flight] = []
        stored = 0
        try:
            packed: dict[Any, Packed] = {}
            for key, draft in drafts.items():
                places.append((yield from self._take_place(key, tuple(draft.tags))))
            try:
                for key, draft in drafts.items():
                    packed[key] = yield from self._packed(key, draft)
                answers = yield from self._write_all(packed)
            except EngineError:
                for key in drafts:
                    self._owe(("key", key))
                raise
            for key, answer in answers.items():
                stored += yield from self._written(key, packed[key], tuple(drafts[key].tags), answer)
            return stored
        finally:
            for place in places:
                self.flights.end(place, ABANDONED)

    def _packed(self, key: Any, draft: Draft) -> Steps[Packed]:
        if draft.tags:
            draft = draft._replace(tags=(yield from self._tokens_for(tuple(draft.tags))))
        return self.life.pack(key, draft)

    def _write_all(self, packed: dict[Any, Packed]) -> Steps[dict[Any, Any]]:
        """Write packed values together; return what the engine says of each."""
        entries = [(key, one.stored, one.ttl, one.size) for key, one in packed.items()]
        answer = yield Ask("set", "set_many", entries)
        if answer is FAILED or answer == len(entries):
            return dict.fromkeys(packed, FAILED if answer is FAILED else True)
        there = yield Ask("get", "get_many", list(packed), fallback={})  # some were too large
        return {key: key in there for key in packed}

    def _written(self, key: Any, packed: Packed, tags: tuple[str, ...], answer: Any) -> Steps[bool]:
        """Note what the engine said of a value that a caller wanted to be stored."""
        if answer is FAILED:  # what may be stored is not what the caller wants: it must not come back
            yield from self.remove(key)
            self.life.refused(*REFUSED[None])
        elif answer:
            self.indexed(key, tags)
            self.life.note_stored(packed, 0.0)
            yield from self.trimmed()
            return True
        else:
            self.life.refused(*REFUSED[False])
        return False

    def swap(
        self,
        key: Any,
        change: Callable[[Entry | MissingType], tuple[Any, float | None] | None],
        ability: str,
        *,
        label: object,
        tags: tuple[str, ...] = (),
    ) -> Steps[Any]:
        """Replace the entry by what ``change`` makes of it, atomically; return that, else ``MISSING``."""
        life = self.life
        if not life.info.capabilities.compare_and_set:
            raise UnsupportedByEngineError(life.info.name, ability, life.alternatives("compare_and_set"))
        yield from self._need_engine(ability)
        place: Flight | None = None
        try:
            for _ in range(ATTEMPTS):
                stored = yield Ask("get", "get", key, urgent=True)
                entry = life.unpack(key, stored)
                if isinstance(entry, AgedEntry):
                    entry = life.usable((yield from self.examine(entry)))
                wanted = change(entry)
                if wanted is None:
                    return MISSING
                if place is None:  # not before: what changes nothing supersedes nothing
                    place = yield from self._take_place(key, tags)
                value, ttl = wanted
                packed = yield from self._swapped(key, value, ttl, entry, label, tags)
                swap = Ask("set", "compare_and_set", key, stored, packed.stored, urgent=True)
                swap.options = {"ttl": packed.ttl, "size": packed.size}
                if (yield swap):
                    if entry is MISSING:
                        self.indexed(key, tags)
                        yield from self.trimmed()
                    return value
        finally:
            if place is not None:
                self.flights.end(place, ABANDONED)
        raise EngineError(life.info.name, ability, f"{ATTEMPTS} attempts lost against other writers")

    def _need_engine(self, ability: str) -> Steps[None]:
        """Raise unless the engine is there and knows every invalidation."""
        breaker = self.life.breaker
        if breaker.open and breaker.begin_probe(urgent=True):
            yield from self.recover()
        if breaker.open:
            raise self.life.unavailable(ability)

    def _swapped(
        self,
        key: Any,
        value: object,
        ttl: float | None,
        entry: Entry | MissingType,
        label: object,
        tags: tuple[str, ...],
    ) -> Steps[Packed]:
        """Return the stored form of what replaces an entry, whose tags it keeps."""
        if ttl is not None and ttl <= 0:
            return Packed(MISSING, 0)
        if isinstance(entry, AgedEntry) and entry.tokens:
            tokens = entry.tokens
        else:
            kept = self.tags.tags(key) if entry is not MISSING else tags
            tokens = yield from self._tokens_for(kept)
        return self.life.pack(key, Draft(value, ttl, tags=tokens, label=label))

    # Removing ---------------------------------------------------------------------------------------

    def drop(self, key: Any) -> Steps[bool]:
        """Remove an entry; return whether there was one that could have been served."""
        yield from self.supersede(key)
        if self.life.info.capabilities.compare_and_set:
            there = yield from self._take_out(key)
        else:
            try:
                _, entry = yield from self.fetch(key)
            except EngineError:
                self._owe(("key", key))
                raise
            live = self.life.usable(entry) is not MISSING
            there = (yield from self.remove(key)) and live
        self.life.emit(events.Invalidated, int(there))
        return there

    def _take_out(self, key: Any) -> Steps[bool]:
        """Remove just what is seen to be stored, be it a claim, so that the answer is right among writers."""
        try:
            for _ in range(ATTEMPTS):
                mark = self.tags.mark(key)
                stored = yield Ask("get", "get", key)
                if stored is MISSING:
                    self.tags.forget(key, mark)
                    return False
                if stored is FAILED:
                    break
                entry = self.life.unpack(key, stored)
                if isinstance(entry, AgedEntry):
                    entry = yield from self.examine(entry)
                gone = yield Ask("delete", "compare_and_set", key, stored, MISSING)
                if gone is FAILED:
                    break
                if gone:
                    self.tags.forget(key, mark)
                    return self.life.usable(entry) is not MISSING
        except EngineError:
            self._owe(("key", key))
            raise
        return (yield from self.remove(key))

    def remove(self, key: Any) -> Steps[bool]:
        """Remove whatever is stored; what the engine cannot be told now it is told before it is read."""
        mark = self.tags.mark(key)
        try:
            answer = yield Ask("delete", "delete", key, fallback=FAILED)
        except EngineError:
            self._owe(("key", key))
            raise
        if answer is FAILED:
            self._owe(("key", key))
        self.tags.forget(key, mark)
        return bool(answer)

    def clear(self) -> Steps[None]:
        """Remove every entry."""
        for flight in self.flights.aloft():
            yield from self.retire(flight)
        noted = self.tags.noted()
        try:
            answer = yield Ask("clear", "clear", fallback=FAILED)
            if answer is not FAILED and self.sharing.beside:
                # Tags are made anew when they are needed; a lost token only costs the entries of its tag.
                yield Ask("clear", "clear", aside=True)
        except EngineError:
            self._owe(CLEAR)
            raise
        if answer is FAILED:
            self._owe(CLEAR)
        self.tags.forget_all(noted)
        self.life.emit(events.Invalidated, None)

    def invalidate_tags(self, tags: tuple[str, ...]) -> Steps[int | None]:
        """Remove every entry that has one of the tags; return how many, ``None`` where that is not known."""
        wanted = set(tags)
        for flight in self.flights.aloft():
            if flight.open_tags or (flight.tags is not None and wanted.intersection(flight.tags)):
                yield from self.retire(flight)
        if self.life.shared:
            try:
                known = yield from self.sharing.change_tokens(tags)
            except EngineError:
                known = False
                if self.life.raises:
                    self._owe_tags(tags)
                    raise
            if not known:
                self._owe_tags(tags)
            self.life.emit(events.Invalidated, None)
            return None
        count = 0
        for key in self.tags.keys(tags):
            count += yield from self.remove(key)
        self.life.emit(events.Invalidated, count)
        return count

    def drop_where(self, matches: Callable[[Any, Any], bool]) -> Steps[int]:
        """Remove the entries that ``matches(key, stored)``, and what is being computed for them.

        ``stored`` is ``MISSING`` for engines of objects, whose keys tell enough; of engines of bytes all
        computations of this process are superseded.
        """
        life = self.life
        if not life.info.capabilities.scan:
            raise UnsupportedByEngineError(life.info.name, "invalidate_where", life.alternatives("scan"))
        for flight in self.flights.aloft():
            if not life.holds_objects or matches(flight.key, MISSING):
                yield from self.retire(flight)
        count = 0
        try:
            keys = yield Ask("list", "keys", fallback=FAILED)
            if keys is FAILED:  # which entries are meant cannot be found out: none of them is served again
                self._owe(CLEAR)
                keys = ()
            for key in keys:
                stored = MISSING if life.holds_objects else (yield Ask("get", "get", key))
                if stored is FAILED:  # it could be one of them
                    self._owe(("key", key))
                elif (life.holds_objects or stored is not MISSING) and matches(key, stored):
                    counts = life.holds_objects or life.claim_of(key, stored) is None
                    count += (yield from self.remove(key)) and counts
        except EngineError:
            self._owe(CLEAR)
            raise
        life.emit(events.Invalidated, count)
        return count

    # Listing ----------------------------------------------------------------------------------------

    def describe(self, key: Any) -> Steps[EntryInfo | None]:
        """Return what is known about an entry."""
        stored = yield Ask("get", "get", key, fallback=MISSING)
        info = None if stored is MISSING else self.life.describe(key, stored)
        if info is not None and not info.tags:
            info.tags = self.tags.tags(key)
        return info

    def verify(self, *, repair: bool) -> Steps[VerifyReport]:
        """Read and decode every entry."""
        checked = unreadable = removed = 0
        for key in (yield Ask("list", "keys", fallback=())):
            stored = yield Ask("get", "get", key, fallback=MISSING)
            if stored is MISSING or (self.life.shared and self.life.claim_of(key, stored) is not None):
                continue
            checked += 1
            if self.life.unpack(key, stored) is MISSING:
                unreadable += 1
                removed += repair and (yield from self.remove(key))
        return VerifyReport(checked, unreadable, removed)

    def audit(self, *, oversized: int) -> Steps[AuditReport]:
        """Look at every entry, and count them by what they are."""
        from cachewright._audit import Audit  # noqa: PLC0415 - for who asks

        audit = Audit(self.life, oversized)
        for key in (yield Ask("list", "keys", fallback=())):
            stored = yield Ask("get", "get", key, fallback=MISSING)
            if stored is not MISSING:
                audit.take(key, stored)
        return audit.report()

    def scope_keys(self, scope: str) -> Steps[list[Any]]:
        """Return the keys of one of the functions that share this cache, those being computed included."""
        keys: list[Any] = []
        for key in (yield Ask("list", "keys", fallback=())):
            stored = MISSING if self.life.holds_objects else (yield Ask("get", "get", key, fallback=MISSING))
            if self.life.in_scope(scope, key, stored):
                keys.append(key)
        return keys

    # Flights ----------------------------------------------------------------------------------------

    def supersede(self, key: Any) -> Steps[None]:
        """Make sure that the flights for a key store nothing from now on, and that nobody joins them."""
        for flight in self.flights.of(key):
            yield from self.retire(flight)

    def retire(self, flight: Flight) -> Steps[None]:
        """Make sure that a flight stores nothing from now on, and that nobody joins it.

        It leaves the table last: until then another invalidation finds it, and waits as this one does.
        """
        with flight.guard:  # waits for a short cut's store under way
            flight.stale = True
        if flight.storing and flight.state == ALOFT and flight not in led():
            yield Wait(flight)  # the store under way ends first; none follows
        self.flights.leave(flight)

    def _take_place(self, key: Any, tags: tuple[str, ...]) -> Steps[Flight]:
        """Hold the place of the flight for a key while a value is stored by other means.

        Computations under way are superseded, and callers that miss meanwhile wait, then look again.
        """
        while True:
            yield from self.supersede(key)
            flight, leads = self.flights.join(key)
            if leads:
                flight.tags = tags
                self.flights.mark_leader(flight)
                return flight

    def _tokens_for(self, tags: tuple[str, ...]) -> Steps[dict[str, str]]:
        if not tags:
            return {}
        if self.life.shared:
            tokens = yield from self.sharing.tokens(tags)
            # A tag whose token cannot be had is as good as invalidated, not one that the value does not have.
            return {tag: tokens.get(tag, "") for tag in tags}
        if not self.life.can_tag:
            raise UnsupportedByEngineError(
                self.life.info.name, "tags", self.life.alternatives("compare_and_set")
            )
        return dict.fromkeys(tags, "")

    def indexed(self, key: Any, tags: tuple[str, ...]) -> None:
        """Note the tags of an entry that has just been stored."""
        if not self.life.shared and (tags or len(self.tags)):
            self.tags.put(key, tags)

    def trimmed(self) -> Steps[None]:
        """Forget the tags of entries that the engine has evicted, every now and then."""
        if self.tags.crowded(self._tagged):
            noted = self.tags.noted()
            stored = yield Ask("list", "keys")
            if stored is not FAILED:
                # an entry that was stored while the engine listed its keys need not be among them
                self.tags.retain(lambda: [*stored, *self.tags.since(noted)])
                self._tagged = len(self.tags)

    # An engine that fails -----------------------------------------------------------------------------

    def recover(self) -> Steps[None]:
        """Tell an engine that failed what it has to be told; if it takes it all, ask it again.

        Whoever runs it has begun a probe; see :meth:`Breaker.begin_probe`.
        """
        breaker = self.life.breaker
        pending = 0
        try:
            while True:
                debts = breaker.debts()
                if not debts:
                    yield Ask("get", "get", _PROBE, urgent=True)
                for debt in debts:
                    yield from self._pay(debt)
                pending += len(debts)
                if breaker.paid(debts):
                    self.life.engine_is_back(pending)
                    return
        except EngineError:
            breaker.still_down()
        except BaseException:
            breaker.still_down()
            raise

    def _pay(self, debt: Debt) -> Steps[None]:
        kind, what = debt
        if kind == "clear":
            yield Ask("clear", "clear", urgent=True)
        elif kind == "key":
            yield Ask("delete", "delete", what, urgent=True)
        else:
            for tag in (EPOCH, what):
                token = new_token()
                key = self.life.tag_key(tag)
                yield Ask("set", "set", key, [token], size=len(token), aside=True, urgent=True)

    def _owe(self, debt: Debt) -> None:
        seen = self.life.last_seen
        if seen is not None:  # nor is it served from what was seen before
            kind, what = debt
            if kind == "clear":
                seen.forget(Ask("clear", "clear"))
            elif kind == "key":
                seen.forget(Ask("delete", "delete", what))
            else:
                seen.forget(Ask("set", "set", self.life.tag_key(what), aside=True))
        if self.life.breaker.owe(debt):
            self.life.engine_left_alone()
        begin_chase = self.life.on_debt()
        if begin_chase is not None:
            begin_chase()

    def _owe_tags(self, tags: Iterable[str]) -> None:
        for tag in tags:
            self._owe(("tag", tag))


_PROBE = "0" * 40
"""A key that nobody uses: reading it tells whether an engine answers."""

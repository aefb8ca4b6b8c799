"""A resolution answers a call: from the store, from somebody's computation, or by computing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from cachewright import events
from cachewright._flight import ABANDONED, ALOFT, LANDED, Flight, FlightTable, lead, unlead
from cachewright._flight import FAILED as FLIGHT_FAILED
from cachewright._lifecycle import REFUSED, Lifecycle
from cachewright._negative import SAME_TTL, frozen, thawed, ttl_of
from cachewright._operations import Operations
from cachewright._packing import Draft, Packed
from cachewright._sharing import NOTHING, same_blob
from cachewright._steps import FAILED, Ask, Compute, Spawn, Steps, Wait
from cachewright._tags import EPOCH, checked_tags
from cachewright.context import INJECTED, LoadContext
from cachewright.entry import MISSING, AgedEntry, Entry, MissingType
from cachewright.errors import LoadTimeoutError, UnserializableError
from cachewright.freshness import STRICT, Age

if TYPE_CHECKING:
    from cachewright._loader import Loader


class Outcome(NamedTuple):
    """How a call ended: with a value, or with an exception and its traceback."""

    value: Any = None
    error: BaseException | None = None
    traceback: TracebackType | None = None

    def result(self) -> Any:
        """Return the value or raise."""
        if self.error is None:
            return self.value
        try:
            # Every waiter raises the same object: put the traceback back to where it was raised, or
            # each of them would lengthen it for the next.
            raise self.error.with_traceback(self.traceback)
        finally:
            del self  # the exception refers to this frame, which must not refer to the exception


class Request:
    """One call to be answered.

    Attributes:
        loader: the function and its rules.
        key: the engine's key.
        args: what to call the function with.
        kwargs: what to call the function with.
        label: what is kept beside the result.
        epoch: of the flight table before the store was looked at.
        tags: the tags of the call, known before it is computed.
        tokens: their tokens in a shared store, the epoch's too if the result may add tags.
        found: an entry that another process stored while this call waited for its claim.
    """

    __slots__ = ("args", "epoch", "found", "key", "kwargs", "label", "loader", "tags", "tokens")

    def __init__(
        self,
        loader: Loader,
        key: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        label: object,
        epoch: int,
    ) -> None:
        self.loader = loader
        self.key = key
        self.args = args
        self.kwargs = kwargs
        self.label = label
        self.epoch = epoch
        self.tags = () if loader.tags is None else loader.tags(*args, **kwargs)
        self.tokens: dict[str, str] = {}
        self.found: Entry | MissingType = MISSING

    def compute(self, context: LoadContext | None) -> Compute:
        """Return the step that calls the function."""
        if context is None:
            return Compute(self.loader.fn, self.args, self.kwargs)
        args = tuple(context if value is INJECTED else value for value in self.args)
        kwargs = {name: context if value is INJECTED else value for name, value in self.kwargs.items()}
        return Compute(self.loader.fn, args, kwargs)


class Resolution(Operations):
    """The operations that call the user's function.

    Attributes:
        inline: whether a caller computes itself, rather than wait for a task that does.
    """

    def __init__(self, life: Lifecycle, flights: FlightTable, *, inline: bool) -> None:
        super().__init__(life, flights)
        self.inline = inline

    def resolve(
        self, request: Request, stored: Any, entry: Entry | MissingType, *, fresh: bool = False
    ) -> Steps[Outcome]:
        """Answer a call.

        Args:
            request: the call.
            stored: what was found under its key.
            entry: the same as an entry.
            fresh: compute whatever is stored, and supersede what is being computed.
        """
        loader, life = request.loader, self.life
        if fresh:
            yield from self.supersede(request.key)
            stored, old = yield from self._replaceable(request)
        else:
            served, old = yield from self._served(request, stored, entry)
            if served is not None:
                life.emit(events.Hit)
                return served
            loader.counters.misses.add()
            life.emit(events.Miss)
        while True:
            outcome = yield from self._attempt(request, stored, old, fresh=fresh)
            if outcome is not None:
                return outcome
            if fresh:
                stored, old = yield from self._replaceable(request)
                continue
            stored = yield Ask("get", "get", request.key, fallback=MISSING)
            served, old = yield from self._served(request, stored, life.unpack(request.key, stored))
            if served is not None:
                loader.counters.coalesced.add()
                return served

    def _attempt(
        self, request: Request, stored: Any, old: Entry | MissingType, *, fresh: bool
    ) -> Steps[Outcome | None]:
        """Lead the flight for the key, or join it; return ``None`` if the caller has to look again."""
        loader, shared = request.loader, self.life.shared
        if shared:
            yield from self._read_tokens(request)
        if loader.single_flight:
            flight, leads = self.flights.join(request.key)
        else:
            flight, leads = self.flights.alone(request.key), True
        if leads:
            yield from self._launch(flight, request, stored, old, fresh=fresh)
        elif shared and not (yield from self.sharing.stands(flight, stored, request.tokens)):
            yield from self.retire(flight)
            return None
        outcome = yield from self._await(flight, request, MISSING if fresh else old)
        if outcome is None and request.found is not MISSING:
            return _told(request, request.found)
        if outcome is not None and not leads:
            loader.counters.coalesced.add()
        return outcome

    def _replaceable(self, request: Request) -> Steps[tuple[Any, Entry | MissingType]]:
        """Return what is stored, and the same as an entry that may serve in need."""
        stored, entry = yield from self.fetch(request.key)
        negative = isinstance(entry, AgedEntry) and entry.negative
        return stored, MISSING if negative else entry

    def requested(
        self,
        loader: Loader,
        raw: Any,
        key: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        epoch: int,
    ) -> Steps[Request]:
        """Return a request for a call that the store did not answer."""
        request = Request(loader, key, args, kwargs, self.life.label(loader, raw), epoch)
        if self.life.shared:
            yield from self._read_tokens(request)
        return request

    def _served(  # noqa: PLR0911 - one row of the table of freshness after the other
        self, request: Request, stored: Any, entry: Entry | MissingType
    ) -> Steps[tuple[Outcome | None, Entry | MissingType]]:
        """Return the answer that an entry allows, if any, and the entry if it may serve in need."""
        loader, life = request.loader, self.life
        if isinstance(entry, AgedEntry):
            entry = yield from self.examine(entry)
        if entry is MISSING:
            return None, MISSING
        age = life.age(loader.freshness, entry)
        if age is Age.GONE:
            return None, MISSING
        if isinstance(entry, AgedEntry) and entry.negative:
            return _told(request, entry), MISSING
        if age is Age.GRACE:
            if life.backoffs.resting(request.key):
                return self._stale(request, entry, "failed"), entry
            return None, entry
        if age is not Age.FRESH:
            yield from self._refresh_behind(request, stored, entry)
        if age is Age.STALE:
            return self._stale(request, entry, "refreshing"), entry
        return Outcome(entry.value), entry

    def may_join(self, flight: Flight, stored: Any, request: Request) -> Steps[bool]:
        """Return whether a caller that has seen ``stored`` may join a flight; supersede it if not."""
        if not self.life.shared or (yield from self.sharing.stands(flight, stored, request.tokens)):
            return True
        yield from self.retire(flight)
        return False

    def _stale(self, request: Request, entry: Entry, reason: str) -> Outcome:
        request.loader.counters.stale.add()
        self.life.emit(events.ServedStale, reason)
        return Outcome(entry.value)

    def _read_tokens(self, request: Request) -> Steps[None]:
        """Read the tokens of the tags, before anything that depends on them is read."""
        tags = (EPOCH, *request.tags) if request.loader.open_tags else request.tags
        if tags:
            request.tokens = yield from self.sharing.tokens(tags)

    # Waiting ----------------------------------------------------------------------------------------

    def _await(self, flight: Flight, request: Request, old: Entry | MissingType) -> Steps[Outcome | None]:
        """Return how a flight ended for this caller; ``None`` if it ended without a result."""
        loader = request.loader
        windows = STRICT if loader.freshness is None else loader.freshness
        if flight.state == ALOFT:
            limit: Any = windows.hard_timeout
            soft: Any = windows.soft_timeout if old is not MISSING else None
            if soft is not None and (limit is None or soft <= limit):
                limit = soft
            else:
                soft = None
            ended = yield Wait(flight, limit)
            if ended is False:
                loader.counters.loads.add()
                value, error = yield request.compute(LoadContext() if loader.injects else None)
                return Outcome(value, error, None if error is None else error.__traceback__)
            if ended is None:
                late = LoadTimeoutError(loader.name, limit)
                if old is not MISSING and (soft is not None or windows.forgives(late)):
                    return self._stale(request, old, "timeout")
                return Outcome(error=late)
        if flight.state == ABANDONED:
            return None
        if flight.error is not None and old is not MISSING and self._outlives(request, old, flight.error):
            return self._stale(request, old, "failed")
        return Outcome(flight.value, flight.error, flight.traceback)

    def _launch(
        self, flight: Flight, request: Request, stored: Any, old: Entry | MissingType, *, fresh: bool
    ) -> Steps[None]:
        """Start the computation of a flight, here or behind the caller."""
        freshness = request.loader.freshness
        steps = self._lead(flight, request, stored, old, fresh=fresh)
        behind = not self.inline or (freshness is not None and freshness.bounded)
        if behind and (yield Spawn(steps, flight, now=True)):
            return
        self.flights.mark_leader(flight)
        yield from steps

    def _refresh_behind(self, request: Request, stored: Any, entry: Entry) -> Steps[None]:
        """Start a computation that nobody waits for, unless one is under way or has just failed."""
        if self.life.backoffs.resting(request.key) or self.life.breaker.open:
            return
        flight, leads = self.flights.join(request.key)
        if not leads:
            if flight.leader_is_gone():  # its event loop was closed, and nobody waits who would notice
                self.flights.end(flight, ABANDONED)
            return
        begun = False
        try:
            if self.life.shared:
                yield from self._read_tokens(request)
            begun = yield Spawn(self._refresh(flight, request, stored, entry), flight)
        finally:
            if not begun:
                self.flights.end(flight, ABANDONED)

    def _refresh(self, flight: Flight, request: Request, stored: Any, entry: Entry) -> Steps[None]:
        yield from self._lead(flight, request, stored, entry, fresh=False, behind=True)
        if flight.state == LANDED and flight.error is None:
            request.loader.counters.refreshes.add()
        elif flight.error is not None:
            self.life.emit(events.RefreshFailed, flight.error)

    # Computing --------------------------------------------------------------------------------------

    def _lead(
        self,
        flight: Flight,
        request: Request,
        stored: Any,
        old: Entry | MissingType,
        *,
        fresh: bool,
        behind: bool = False,
    ) -> Steps[None]:
        """Compute, store and end the flight, however it goes."""
        mark = lead(flight)
        value: Any = None
        error: BaseException | None = None
        collected = False
        try:
            found = yield from self.prepare(flight, request, stored, old, fresh=fresh, behind=behind)
            if found is not MISSING:
                self._land_on(flight, request, found)
                return
            if flight.state != ALOFT:
                return
            if flight.stale and flight.expected is NOTHING:  # superseded while it waited for others
                self.flights.end(flight, ABANDONED)
                return
            value, error = yield from self._computed(flight, request, old)
        except Exception as failure:  # noqa: BLE001 - of the user's rules or of the engine; raised by those who wait
            error = failure
        except GeneratorExit:
            # The event loop was closed with this task in it. Whoever collects it takes no more steps, and
            # runs in another context.
            collected = True
            self.flights.end(flight, ABANDONED)
            self.sharing.let_go(flight)
            raise
        except BaseException:
            self.flights.end(flight, ABANDONED)
            raise
        finally:
            if not collected:
                unlead(mark)
                if self.life.shared:
                    yield from self.sharing.release(flight)
        if error is None:
            self.flights.end(flight, LANDED, value=value)
        else:
            self.flights.end(flight, FLIGHT_FAILED, error=error)

    def _land_on(self, flight: Flight, request: Request, found: Entry) -> None:
        """End a flight without computing, because there is an entry now.

        Somebody may have joined since the entry was read, and after it was invalidated: who joined looks
        again.
        """
        request.loader.counters.coalesced.add()
        request.found = found
        self.flights.end(flight, ABANDONED)

    def prepare(
        self,
        flight: Flight,
        request: Request,
        stored: Any,
        old: Entry | MissingType,
        *,
        fresh: bool,
        behind: bool,
    ) -> Steps[Entry | MissingType]:
        """Get hold of the key; return an entry that has come up meanwhile and makes computing needless."""
        life = self.life
        flight.tokens = request.tokens
        found: Entry | MissingType = MISSING
        if life.shared:
            found = yield from self._shared(flight, request, stored, old, fresh=fresh, behind=behind)
        elif self.flights.epoch != request.epoch and not fresh:
            # Another flight for this key may have landed between our look-up and our lead.
            now, found = yield from self.fetch(request.key)
            if behind and now is not stored and not (not life.holds_objects and same_blob(now, stored)):
                self.flights.end(flight, ABANDONED)
            found = MISSING if behind else self._fresh(request, found)
        # From here on the result is bound to what its tags are now.
        flight.open_tags = request.loader.open_tags
        flight.tags = request.tags
        return found

    def _shared(
        self,
        flight: Flight,
        request: Request,
        stored: Any,
        old: Entry | MissingType,
        *,
        fresh: bool,
        behind: bool,
    ) -> Steps[Entry | MissingType]:
        """Claim the key among all who share the store."""
        if behind:
            leased = yield from self.sharing.lease(flight, stored)
            # Another process may have refreshed it between our look-up and our lease.
            if not (leased and same_blob((yield Ask("get", "get", request.key, fallback=MISSING)), stored)):
                self.flights.end(flight, ABANDONED)
            return MISSING
        while True:
            if old is not MISSING:  # it stays readable; whoever is first replaces it
                flight.expected = stored
                return MISSING
            wait = request.loader.single_flight and not fresh
            stored = yield from self.sharing.claim(flight, stored, request.tokens, request.label, wait=wait)
            claimed = stored is MISSING
            if claimed:
                return MISSING
            entry = self.life.unpack(request.key, stored)
            if isinstance(entry, AgedEntry):
                entry = yield from self.examine(entry)
            found = self._fresh(request, entry)
            if found is not MISSING:
                return found
            yield from self._read_tokens(request)
            flight.tokens = request.tokens

    def _fresh(self, request: Request, entry: Entry | MissingType) -> Entry | MissingType:
        if entry is MISSING or _told(request, entry) is None:
            return MISSING
        age = self.life.age(request.loader.freshness, entry)
        return entry if age in {Age.FRESH, Age.EARLY} else MISSING

    def _computed(
        self, flight: Flight, request: Request, old: Entry | MissingType
    ) -> Steps[tuple[Any, BaseException | None]]:
        loader, life = request.loader, self.life
        context = None
        if loader.injects:
            context = LoadContext(MISSING if old is MISSING else old.value)
        loader.counters.loads.add()
        started = time.perf_counter()
        value, error = yield request.compute(context)
        seconds = time.perf_counter() - started
        if error is None:
            life.backoffs.succeeded(request.key)
            if context is not None and context.renewed and old is not MISSING:
                self._renew(context, request, old)
            yield from self.keep(flight, request, value, seconds, context)
            return value, None
        if loader.freshness is not None and isinstance(error, Exception):
            life.backoffs.failed(request.key, float(loader.freshness.backoff))  # type: ignore[arg-type] # normalised
        if not self._outlives(request, old, error):
            yield from self._keep_error(flight, request, error, seconds)
        return None, error

    def _renew(self, context: LoadContext, request: Request, old: Entry) -> None:
        """Let a value that is not modified keep the ttl and the tags that it had."""
        if context.ttl is MISSING and isinstance(old, AgedEntry):
            context.ttl = old.ttl
        had = old.tags or self.tags.tags(request.key)
        context.tags += [tag for tag in had if tag not in request.tags and tag not in context.tags]

    # Storing what was computed ------------------------------------------------------------------------

    def keep(
        self, flight: Flight, request: Request, value: object, seconds: float, context: LoadContext | None
    ) -> Steps[None]:
        """Store a result, if all rules allow it."""
        loader, life = request.loader, self.life
        if context is not None and not context.stored:
            life.refused("condition", "the load context said no")
            return
        if not life.admits(loader, value):
            return
        ttl = life.ttl_of(loader, value, context)
        if ttl is not None and ttl <= 0:
            yield from self._unstore(flight)
            life.refused("ttl", f"ttl={ttl} means not to store")
            return
        tags = yield from self._all_tags(flight, request, value, context)
        if tags is None:
            life.refused("invalidated", "a tag was invalidated while it was computed")
            return
        draft = Draft(value, ttl, seconds, tags, request.label, loader.freshness)
        yield from self._store(flight, life.pack(flight.key, draft), tuple(tags), seconds)

    def _keep_error(
        self, flight: Flight, request: Request, error: BaseException, seconds: float
    ) -> Steps[None]:
        """Store an exception that is to be remembered."""
        loader, life = request.loader, self.life
        ttl = ttl_of(loader.cache_errors, error) if loader.cache_errors else False
        if ttl is False:
            return
        if ttl is SAME_TTL:
            ttl = loader.ttl
        if callable(ttl):  # of a result, and there is none
            return
        ttl = life.jittered(loader, ttl)
        if ttl is not None and ttl <= 0:
            return
        tokens = {tag: request.tokens.get(tag, "") for tag in request.tags}
        try:
            raised = frozen(error)
            draft = Draft(raised, ttl, seconds, tokens, request.label, None, negative=True)
            packed = life.pack(flight.key, draft)
        except UnserializableError as refusal:  # the caller is to see its own exception, not this one
            life.refused("unserializable", str(refusal))
            return
        if thawed(loader.cache_errors, raised) is not None:
            yield from self._store(flight, packed, request.tags, seconds)

    def _outlives(self, request: Request, old: Entry | MissingType, error: BaseException) -> bool:
        """Whether the value that was to be replaced goes on being served in spite of this failure."""
        freshness = request.loader.freshness
        if freshness is None or old is MISSING or not freshness.forgives(error):
            return False
        return self.life.age(freshness, old) is not Age.GONE

    def _all_tags(
        self, flight: Flight, request: Request, value: object, context: LoadContext | None
    ) -> Steps[dict[str, str] | None]:
        """Return the tags of a result with their tokens; ``None`` if one was invalidated meanwhile."""
        loader = request.loader
        more: list[str] = [] if context is None else list(checked_tags(context.tags))
        for result_tags in loader.result_tags:
            more += checked_tags(result_tags(value))
        if not self.life.shared:
            if flight.stale:
                return None
            return dict.fromkeys((*request.tags, *more), "")
        tokens = {tag: request.tokens.get(tag, "") for tag in request.tags}
        added = [tag for tag in more if tag not in tokens]
        if added:
            tokens |= yield from self.sharing.tokens(added)
            # The epoch changes before a tag does: if it has not, those are the tokens from before the load.
            epoch = {EPOCH: request.tokens.get(EPOCH, "")}
            if not (yield from self.sharing.still_valid(epoch)):
                return None
        return tokens

    def _store(self, flight: Flight, packed: Packed, tags: tuple[str, ...], seconds: float) -> Steps[None]:
        """Write a result unless its flight was superseded."""
        life = self.life
        with flight.guard:
            flight.storing = not flight.stale
        if not flight.storing:
            life.refused("invalidated", "it was invalidated while it was computed")
            return
        if not life.shared:
            answer = yield Ask("set", "set", flight.key, packed.stored, ttl=packed.ttl, size=packed.size)
        elif flight.expected is NOTHING:
            answer = FAILED
        else:
            answer = yield Ask(
                "set", "compare_and_set", flight.key, flight.expected, packed.stored,
                ttl=packed.ttl, size=packed.size,
            )  # fmt: skip
            self.sharing.settled(flight)
        if answer is FAILED:
            life.refused(*REFUSED[None])
        elif answer:
            self.indexed(flight.key, tags)
            life.note_stored(packed, seconds)
            yield from self.trimmed()
        elif life.shared:
            life.refused("superseded", "its key was invalidated or written by others, or it is too large")
        else:
            life.refused(*REFUSED[False])

    def _unstore(self, flight: Flight) -> Steps[None]:
        """Remove what a result that is not to be stored would have replaced."""
        with flight.guard:
            flight.storing = not flight.stale
        if not flight.storing:
            return
        if not self.life.shared:
            yield from self.remove(flight.key)
        elif flight.expected is not NOTHING and not flight.token:
            yield Ask("delete", "compare_and_set", flight.key, flight.expected, MISSING)


def _told(request: Request, entry: Entry) -> Outcome | None:
    """Return what an entry tells: its value, or the exception it stands for; ``None`` if that is unknown."""
    if not (isinstance(entry, AgedEntry) and entry.negative):
        return Outcome(entry.value)
    error = thawed(request.loader.cache_errors, entry.value)
    return None if error is None else Outcome(error=error)

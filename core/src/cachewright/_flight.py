"""A flight is one computation for one key that several callers share.

Threads and tasks of any number of event loops wait for the same flight. It is owned by no caller: a
task that started one may be cancelled, the work goes on. What ends without a result (its leader was
interrupted, its event loop closed) is *abandoned*, and those who waited start over.

Deadlocks are found exactly rather than by time-out: a flight knows which flights its computation
waits for, and a caller that would close a circle computes on its own instead.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from _thread import allocate_lock
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task
    from collections.abc import Hashable
    from types import TracebackType

log = logging.getLogger("cachewright")

ALOFT, LANDED, FAILED, ABANDONED = range(4)

CHECK_SECONDS: Final = 5.0
"""How long a caller waits before it looks whether the leader still exists."""

LIMIT_SECONDS: Final = 600.0
"""How long a caller waits at the most before it computes on its own, with a diagnostic."""

_stack: ContextVar[tuple[Flight, ...]] = ContextVar("cachewright_flights", default=())
"""The flights that the running code computes, outermost first."""

_graph = allocate_lock()
"""Guards every ``Flight.waits_for``; taken only by callers that themselves compute a flight."""


class Flight:
    """One computation.

    Attributes:
        key: the engine's key.
        state: ALOFT, LANDED, FAILED or ABANDONED.
        value: the result once LANDED.
        error: the exception once FAILED.
        stale: set by an invalidation; the result then still reaches those who waited, but is not stored.
        storing: an asynchronous store is under way.
        guard: held while ``stale`` is read and acted upon, so that a store and an invalidation exclude
            each other.
        leader: the thread or event loop that computes; ``None`` before it is known.
        task: the task that computes in an event loop; kept here, because the loop does not keep it.
        waits_for: the flights that this computation waits for.
        expected: what a shared store has to hold for the result to be stored: the claim of this flight or
            the value that it replaces; ``None`` while that is not known.
        token: token of the claim that ``expected`` is, empty if it is none or has been replaced.
        lease: token of the claim beside an old value that is being refreshed.
        tags: the tags of the result, ``None`` before the computation begins.
        tokens: their tokens in a shared store, as they were before the computation began.
        stream: the generator whose items are the result, if it is one.
        open_tags: whether the result may add tags of its own.
        traceback: that of ``error`` as the leader saw it.
        latch: held by the flight until it ends; a thread that gets it passes it on.
        loop_waiters: the futures of waiting tasks, by event loop; ``None`` while there are none.
    """

    __slots__ = (
        "error",
        "expected",
        "guard",
        "key",
        "latch",
        "leader",
        "lease",
        "loop_waiters",
        "open_tags",
        "stale",
        "state",
        "storing",
        "stream",
        "tags",
        "task",
        "token",
        "tokens",
        "traceback",
        "value",
        "waits_for",
    )

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.state = ALOFT
        self.value: Any = None
        self.error: BaseException | None = None
        self.stale = False
        self.storing = False
        self.guard = allocate_lock()
        self.leader: threading.Thread | AbstractEventLoop | None = None
        self.task: Task[Any] | None = None
        self.waits_for: set[Flight] = set()
        self.traceback: TracebackType | None = None
        self.latch = allocate_lock()
        self.latch.acquire()
        self.loop_waiters: dict[AbstractEventLoop, list[Future[None]]] | None = None
        self.expected: Any = None
        self.token = b""
        self.lease = b""
        self.tags: tuple[str, ...] | None = None
        self.tokens: dict[str, str] | None = None
        self.open_tags = False
        self.stream: Any = None

    def result(self) -> Any:
        """Return the value, or raise the exception as the leader saw it."""
        if self.error is None:
            return self.value
        try:
            # Every waiter raises the same object: put the traceback back to where it was raised, or
            # each of them would lengthen it for the next.
            raise self.error.with_traceback(self.traceback)
        finally:
            del self  # the exception refers to this frame, which must not refer to the exception

    def leader_is_gone(self) -> bool:
        """Whether nobody is left who could end this flight."""
        leader = self.leader
        if leader is None:
            return False
        if isinstance(leader, threading.Thread):
            return not leader.is_alive()
        return leader.is_closed() or not leader.is_running()


class Running(Protocol):
    """A generator that several consumers share, as its flight knows it."""

    flight: Flight


class FlightTable:
    """The flights of one cache, by key.

    Attributes:
        epoch: counts the flights that ended. A caller that missed before a flight ended, and leads the
            next, has to look again: ``epoch`` tells whether that can be the case.
    """

    __slots__ = ("__weakref__", "_alone", "_flights", "_lock", "epoch")

    def __init__(self) -> None:
        self._lock = threading.RLock()  # keys may run user code in __eq__ that comes back here
        self._flights: dict[Hashable, Flight] = {}
        self._alone: set[Flight] = set()
        self.epoch = 0
        reset_in_children(self)

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: Hashable) -> tuple[Flight, bool]:
        """Return the flight for ``key`` and whether the caller has to lead it."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight(key)
            return flight, True

    def alone(self, key: Hashable) -> Flight:
        """Return a flight that nobody joins, but that an invalidation of ``key`` finds."""
        flight = Flight(key)
        with self._lock:
            self._alone.add(flight)
        return flight

    def end(
        self, flight: Flight, state: int, *, value: Any = None, error: BaseException | None = None
    ) -> None:
        """Record how ``flight`` ended and wake everybody who waits for it; later calls do nothing."""
        with self._lock:
            if flight.state != ALOFT:
                return
            flight.value = value
            flight.error = error
            flight.traceback = None if error is None else error.__traceback__
            flight.state = state
            flight.task = flight.stream = None
            self.epoch += 1
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            if self._alone:
                self._alone.discard(flight)
            waiters, flight.loop_waiters = flight.loop_waiters, None
        flight.latch.release()
        for loop, futures in (waiters or {}).items():
            try:
                loop.call_soon_threadsafe(_wake, futures)
            except RuntimeError:  # that loop closed meanwhile: nobody waits in it any more
                continue

    @staticmethod
    def mark_leader(flight: Flight) -> None:
        """Note that the running thread, or event loop, is who ends ``flight``."""
        running: Any = sys.modules.get("asyncio.events")  # who runs in a loop has imported it
        loop = None if running is None else running._get_running_loop()  # noqa: SLF001 - as asyncio's own C code does
        flight.leader = threading.current_thread() if loop is None else loop

    def aloft(self) -> list[Flight]:
        """Return all flights of which an invalidation has to know."""
        with self._lock:
            return [*self._flights.values(), *self._alone]

    def leave(self, flight: Flight) -> None:
        """Take ``flight`` out of the table if it is still in it: later callers start a new one."""
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            self._alone.discard(flight)

    def share_stream(self, key: Hashable, running: Running) -> tuple[Running | None, Flight | None]:
        """Return the running stream for ``key``, ``running`` itself if there is none that may be joined.

        Where something else holds the place of a computation, the flight to wait for comes instead.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                self._flights[key] = running.flight
                running.flight.stream = running
                return running, None
            if flight.stream is None:
                return None, flight
            return flight.stream, None

    def of(self, key: Hashable) -> list[Flight]:
        """Return the flights for ``key``, those included that nobody joins."""
        with self._lock:
            flight = self._flights.get(key)
            flights = [] if flight is None else [flight]
            if self._alone:
                flights += [alone for alone in list(self._alone) if alone.key == key]
            return flights

    def wait(self, flight: Flight, seconds: float | None = None) -> bool | None:
        """Block until ``flight`` has ended.

        Args:
            flight: of this table.
            seconds: how long to wait at the most; ``None`` for :data:`LIMIT_SECONDS`.

        Returns:
            ``None`` if ``seconds`` were not enough. False if the caller has to compute on its own, because
            waiting would never end: it computes this very flight, or that flight waits for one of the
            caller's, or it takes too long.
        """
        if not _enter_wait(flight):
            return False
        try:
            deadline = time.monotonic() + (LIMIT_SECONDS if seconds is None else seconds)
            while not flight.latch.acquire(timeout=_patience(deadline)):
                if flight.leader_is_gone():
                    self.end(flight, ABANDONED)
                elif time.monotonic() >= deadline:
                    if seconds is not None:
                        return None
                    _report_limit(flight)
                    return False
            flight.latch.release()  # pass the latch on to the next waiter
            return True
        finally:
            _leave_wait(flight)

    async def wait_async(self, flight: Flight, seconds: float | None = None) -> bool | None:
        """Wait in a task until ``flight`` has ended; see :meth:`wait`. Cancelling affects nobody else."""
        import asyncio  # noqa: PLC0415 - only asynchronous callers pay for it

        if not _enter_wait(flight):
            return False
        try:
            loop = asyncio.get_running_loop()
            deadline = time.monotonic() + (LIMIT_SECONDS if seconds is None else seconds)
            while True:
                future: Future[None] = loop.create_future()
                with self._lock:
                    if flight.state != ALOFT:
                        return True
                    if flight.loop_waiters is None:
                        flight.loop_waiters = {}
                    flight.loop_waiters.setdefault(loop, []).append(future)
                await asyncio.wait((future,), timeout=_patience(deadline))
                if flight.state != ALOFT:
                    return True
                if flight.leader_is_gone():
                    self.end(flight, ABANDONED)
                elif time.monotonic() >= deadline:
                    if seconds is not None:
                        return None
                    _report_limit(flight)
                    return False
        finally:
            _leave_wait(flight)

    def reset_after_fork(self) -> None:
        """Forget all flights in a new process: the threads that led them do not exist there.

        One of them may have held the lock, so that is replaced as well.
        """
        self._lock = threading.RLock()
        self._flights.clear()
        self._alone.clear()


def lead(flight: Flight) -> object:
    """Mark ``flight`` as computed by the running code; undo with :func:`unlead`."""
    return _stack.set((*_stack.get(), flight))


def unlead(token: Any) -> None:
    """Undo :func:`lead`."""
    _stack.reset(token)


def led() -> tuple[Flight, ...]:
    """Return the flights that the running code computes, outermost first."""
    return _stack.get()


def leading() -> list[Flight]:
    """Return the flights that the running code computes, and those of this process that wait for them."""
    own = list(_stack.get())
    if own:
        with _graph:
            tables = [one for one in list(_resettable) if isinstance(one, FlightTable)]
            aloft = [flight for table in tables for flight in table.aloft()]
            more = own
            while more:
                more = [
                    flight for flight in aloft if flight not in own and not flight.waits_for.isdisjoint(own)
                ]
                own += more
    return own


def _patience(deadline: float) -> float:
    return min(CHECK_SECONDS, max(deadline - time.monotonic(), 0.0))


def _enter_wait(flight: Flight) -> bool:
    mine = _stack.get()
    if not mine:
        return True
    with _graph:
        seen: set[Flight] = set()
        frontier = [flight]
        while frontier:
            current = frontier.pop()
            if current in mine:
                return False
            if current not in seen:
                seen.add(current)
                frontier.extend(current.waits_for)
        for own in mine:
            own.waits_for.add(flight)
    return True


def _leave_wait(flight: Flight) -> None:
    mine = _stack.get()
    if mine:
        with _graph:
            for own in mine:
                own.waits_for.discard(flight)


def _report_limit(flight: Flight) -> None:
    log.warning(
        "waited %.0f s for a computation led by %r; computing the value once more",
        LIMIT_SECONDS,
        flight.leader,
    )


def _wake(futures: list[Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Resettable(Protocol):
    """Holds a lock that another thread may hold at the moment of a fork."""

    def reset_after_fork(self) -> None:
        """Replace it, and forget what only the parent can end."""
        ...


_resettable: WeakSet[Resettable] = WeakSet()
_forks_watched = False


def reset_in_children(one: Resettable) -> None:
    """Call ``one.reset_after_fork()`` in every child that is forked while ``one`` exists."""
    global _forks_watched  # noqa: PLW0603 - the hook cannot be removed, so it is registered once
    _resettable.add(one)
    if not _forks_watched:
        _forks_watched = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_reset_all)


def _reset_all() -> None:
    global _graph  # noqa: PLW0603 - may be held by a thread that the child does not have
    _graph = allocate_lock()
    _stack.set(())
    for one in list(_resettable):
        one.reset_after_fork()

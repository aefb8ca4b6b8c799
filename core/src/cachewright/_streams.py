"""A stream is one running generator that several consumers share.

Items are kept as they are produced and replayed to whoever comes later. The consumer that needs the
next item advances the source, one consumer at a time; the others wait for that item. What the
generator returns is not kept, only what it yields.

There is no lock: a consumer may be collected, and so leave, at any point of any thread, even inside
these very methods. Whoever advances owns ``_turn``, which is taken in one atomic step that also names the
owner, so that an interrupt at any point leaves nothing taken that its owner does not give back.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar, cast

from cachewright._flight import LANDED, Flight, FlightTable, lead, unlead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import TracebackType

T = TypeVar("T")

State: TypeAlias = Literal["running", "complete", "failed", "abandoned"]
"""``abandoned``: ended without a result, because nobody wanted it or what advanced it was interrupted."""

TURN: Final = 0
"""The one key of ``Stream._turn``."""


class UnservedError(Exception):
    """A stream cannot serve a consumer any further; a signal to the caller, never shown to users.

    Attributes:
        served: how many items the consumer has got. The caller goes on behind them.
    """

    def __init__(self, served: int) -> None:
        super().__init__(served)
        self.served = served


class AbandonedStreamError(UnservedError):
    """The stream was abandoned: look for another one, or start one, and ``consume(served)``."""


class BlockedStreamError(UnservedError):
    """Waiting for the next item would never end, or takes too long: compute directly, skip ``served``.

    The consumer runs inside the source itself, or inside a computation that the source waits for.
    """


class Tape(Generic[T]):
    """What a stream has produced so far, and how it ended: common to both kinds of streams.

    Attributes:
        state: running, complete, failed or abandoned; it changes after ``ended`` has been called.
    """

    def __init__(self) -> None:
        self.state: State = "running"
        self._items: list[T] = []
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._alive: set[object] = set()
        self._flights = FlightTable()
        self._node = Flight(None)  # stands for the source where circles of waiting are looked for

    def _latch(self) -> Flight:
        """Return what a consumer that waits for the source waits for."""
        latch = Flight(None)
        latch.waits_for.add(self._node)
        return latch

    def _close_tape(self, state: State, error: BaseException | None) -> None:
        self._error = error
        self._traceback = None if error is None else error.__traceback__
        self.state = state

    def _conclude(self, served: int) -> None:
        """Raise what a consumer gets after the last item, if anything."""
        if self.state == "failed" and self._error is not None:
            # One object for all: see Flight.result.
            raise self._error.with_traceback(self._traceback)
        if self.state == "abandoned":
            raise AbandonedStreamError(served) from self._error


class Stream(Tape[T]):
    """One running generator, shared by the consumers of any number of threads.

    An exception of the source reaches every consumer after the items before it. An interrupt such as
    ``KeyboardInterrupt`` belongs to the consumer that was advancing: another one takes over, or, if it
    killed the source, the stream is abandoned. A process forked while another thread advances finds the
    stream abandoned; one forked at rest goes on with a copy of its own.

    Args:
        source: the generator; nobody else may advance it.
        ended: called once, by the consumer that got to know it and before any consumer sees the end:
            with all items (then they are complete; the list must not be changed), with an exception of
            the source, or with neither (abandoned). Where an interrupt hit it, it may be called again. What
            it raises is everybody's error. The garbage collector may call it, by closing what nobody
            holds.
    """

    def __init__(
        self, source: Iterator[T], ended: Callable[[list[T] | None, BaseException | None], None]
    ) -> None:
        super().__init__()
        self._ended = ended
        self._source: Iterator[T] | None = source
        self._exhausted: list[bool] = []
        self._steps: Generator[T, None, None] | None = _steps(source, self._exhausted)
        self._turn: dict[int, _Seat] = {}
        self._latches: deque[Flight] = deque()

    def consume(self, start: int = 0) -> Generator[T, None, None]:
        """Return a generator of all items from number ``start`` on.

        It counts as a consumer until it ends, is closed or is collected, whether it is ever started
        or not. The last one to leave a running stream closes the source.

        Raises:
            AbandonedStreamError: the stream was abandoned; the generator raises it, too.
            BlockedStreamError: the source is being advanced by this very thread; the generator raises
                it, too, where waiting for an item would never end.
        """
        if self.state == "abandoned":
            raise AbandonedStreamError(start)
        driver = self._turn.get(TURN)
        if driver is not None and driver.is_me():
            raise BlockedStreamError(start)
        consumer = self._served(start)
        next(consumer)  # into its try block: from there on it leaves whatever becomes of it
        return consumer

    def _served(self, index: int) -> Generator[T, None, None]:
        me = _Seat()
        items = self._items
        try:
            self._alive.add(me)
            yield cast("T", None)  # taken by consume()
            while True:
                while index < len(items):
                    yield items[index]
                    index += 1
                if self.state == "running":
                    self._advance(me, index)
                elif index >= len(items):
                    break
        finally:
            self._leave(me)
        self._conclude(index)

    def _advance(self, me: _Seat, index: int) -> None:
        """Take the source one step further, or wait for who does, unless item ``index`` is there."""
        me.sit()
        latch: Flight | None = None
        try:
            while self.state == "running" and len(self._items) <= index:
                driver = self._turn.setdefault(TURN, me)
                if driver is me:
                    if self.state == "running" and len(self._items) <= index:  # still, now that it is ours
                        self._step()
                    return
                if driver.pid != me.pid:  # a thread that this process, forked meanwhile, does not have
                    self._end("abandoned")
                elif driver.ident == me.ident:
                    raise BlockedStreamError(index)
                elif latch is None:
                    # Announced first, and then looked again: who ends a turn after that will see it.
                    latch = self._latch()
                    latch.leader = driver.thread
                    self._latches.append(latch)
                elif self._flights.wait(latch):
                    latch = None
                else:
                    raise BlockedStreamError(index)
        finally:
            self._pass_on(me)

    def _step(self) -> None:
        before = len(self._items)
        token = lead(self._node)
        try:
            # One call into C: an interrupt hits before, after, or inside the source, and never between
            # taking an item and keeping it.
            self._items.extend(islice(cast("Iterator[T]", self._steps), 1))
            if len(self._items) == before:
                if self._exhausted:
                    self._end("complete", self._items)
                else:  # the source died of an interrupt that went to another consumer
                    self._end("abandoned")
        except Exception as error:  # noqa: BLE001 - the user's, raised by every consumer
            self._end("failed", error=error)
        finally:
            unlead(token)

    def _end(self, state: State, items: list[T] | None = None, *, error: BaseException | None = None) -> None:
        try:
            self._ended(items, error)
        except Exception as failure:  # noqa: BLE001 - of a store, raised by every consumer
            state, error = "failed", failure
        self._close_tape(state, error)
        self._source = self._steps = None

    def _pass_on(self, me: _Seat) -> None:
        """End the turn of a consumer, if it has it, and wake those who wait."""
        if self._turn.get(TURN) is me:
            del self._turn[TURN]
            self._wake()

    def _wake(self) -> None:
        while self._latches:
            try:
                latch = self._latches.popleft()
            except IndexError:  # another thread was faster
                return
            self._flights.end(latch, LANDED)

    def _leave(self, me: _Seat) -> None:
        self._alive.discard(me)
        me.sit()
        try:
            while not self._alive and self.state == "running" and self._turn.setdefault(TURN, me) is me:
                if not self._alive and self.state == "running":
                    self._abandon()
                self._pass_on(me)  # and look again: who left meanwhile relied on us
        finally:
            self._pass_on(me)
            self._wake()  # an interrupt may have hit between the end of a turn and this

    def _abandon(self) -> None:
        steps, source = self._steps, self._source
        try:
            for generator in (steps, source):  # the source itself, too: it may not have been started
                close = getattr(generator, "close", None)
                if close is not None:
                    close()
        finally:
            self._end("abandoned")
        if self.state == "failed":
            self._conclude(0)


class _Seat:
    """A consumer, and where it runs while it has the turn."""

    __slots__ = ("ident", "pid", "thread")

    def __init__(self) -> None:
        self.ident = 0
        self.pid = 0
        self.thread: threading.Thread | None = None

    def sit(self) -> None:
        ident = threading.get_ident()
        if ident != self.ident:
            self.ident = ident
            self.thread = threading.current_thread()
        self.pid = os.getpid()

    def is_me(self) -> bool:
        return self.ident == threading.get_ident() and self.pid == os.getpid()


def _steps(source: Iterator[T], exhausted: list[bool]) -> Generator[T, None, None]:
    """Yield from ``source``; what killed it cannot be mistaken for its end, which is noted."""
    yield from source
    exhausted.append(True)

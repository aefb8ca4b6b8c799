"""The calls of a generator function: its items are teed while they are produced, and stored when complete."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cachewright._flight import ABANDONED, ALOFT, LANDED, Flight, lead
from cachewright.context import LoadContext
from cachewright.entry import MISSING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from cachewright._resolution import Request, Resolution
    from cachewright._steps import Steps
    from cachewright.entry import Entry, MissingType


class SharedStream:
    """One run of a generator function, as the flight table hands it to those who consume it.

    Attributes:
        flight: found by invalidations; a stale one stores nothing, and nobody joins it.
        stream: the shared generator.
    """

    __slots__ = ("flight", "stream")

    def __init__(self, flight: Flight, stream: Any) -> None:
        self.flight = flight
        self.stream = stream


class RunningStream:
    """One run of a generator function: where its items come from, and what becomes of them.

    It does not know its stream, which knows it: what has ended is gone with its last consumer, and with it
    the arguments of the call.

    Attributes:
        flight: that of the run.
    """

    def __init__(
        self, operations: Resolution, request: Request, stored: Any, old: Entry | MissingType, *, fresh: bool
    ) -> None:
        key, flights = request.key, operations.flights
        self.flight = Flight(key) if request.loader.single_flight else flights.alone(key)
        # from the beginning: items that were stored may be replayed to who joins
        self.flight.tags, self.flight.open_tags = request.tags, request.loader.open_tags
        self._operations = operations
        self._request = request
        self._stored = stored
        self._old = old  # stays readable until all items of a refresh are there
        self._fresh = fresh
        self._context: LoadContext | None = None
        self._started = 0.0
        self._replayed = False

    def source(self, run: Callable[[Steps[Any]], Any]) -> Generator[Any, None, None]:
        """Yield the items: what another process has stored meanwhile, else what the function yields."""
        found = run(self._begun())
        if found is not MISSING:
            yield from found.value
        else:
            yield from self._request.compute(self._context).call()

    async def source_async(self, run: Callable[[Steps[Any]], Awaitable[Any]]) -> AsyncGenerator[Any, None]:
        """Yield the items; see :meth:`source`. To be run in a task of its own from first to last."""
        lead(self.flight)  # whoever asks for these items from in here has to do without: see open_stream()
        found = await run(self._begun())
        if found is not MISSING:
            for item in found.value:
                yield item
            return
        inner = self._request.compute(self._context).call()
        try:
            async for item in inner:
                yield item
        finally:
            await inner.aclose()

    def _begun(self) -> Steps[Entry | MissingType]:
        loader, old = self._request.loader, self._old
        found = yield from self._operations.prepare(
            self.flight, self._request, self._stored, old, fresh=self._fresh, behind=False
        )
        self._replayed = found is not MISSING
        if self._replayed:
            loader.counters.coalesced.add()
            return found
        if loader.injects:
            self._context = LoadContext(MISSING if old is MISSING else old.value)
        loader.counters.loads.add()
        self._started = time.perf_counter()
        return found

    def ended(self, items: list[Any] | None) -> Steps[None]:
        """Store all items, if there are all, and end the flight; later calls do nothing."""
        operations, flight = self._operations, self.flight
        if flight.state != ALOFT:
            return
        state = ABANDONED
        try:
            if items is not None:
                if not self._replayed:
                    seconds = time.perf_counter() - self._started
                    yield from operations.keep(flight, self._request, tuple(items), seconds, self._context)
                state = LANDED
        finally:
            if operations.life.shared:
                yield from operations.sharing.release(flight)
            operations.flights.end(flight, state)

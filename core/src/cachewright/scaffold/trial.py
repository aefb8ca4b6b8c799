"""A trial measures what an engine costs, by its public contract alone, as a record states it."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cachewright.engine import AsyncEngine, Costs, Engine, EngineConfig, EngineInfo, MappedBlob
from cachewright.entry import MISSING
from cachewright.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable

SIZES: Final = (64, 1_000, 16_384, 100_000, 1_000_000, 10_000_000)
"""Bytes of the values that are stored: small, around the sizes at which stores change, and large."""

KEYS: Final = 16
"""Entries per size that are overwritten, deleted and made anew in turn: stores cost more in use than new."""

PATIENCE: Final = 0.25
"""Seconds after which an operation at one size has been measured often enough."""

FEWEST: Final = 3
MOST: Final = 2_000

Operation: TypeAlias = "Callable[[], Any]"
Knots: TypeAlias = "tuple[tuple[int, float], ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one operation took.

    Attributes:
        operation: "get", "set", "miss" or "open".
        nbytes: of the value; 0 where there is none.
        seconds: typical: the lower quartile of look-ups, the median of writes.
        slowest: the 95th percentile.
        repeats: how often it was done.
    """

    operation: str
    nbytes: int
    seconds: float
    slowest: float
    repeats: int


class Trial:
    """Measures one engine in a namespace of its own, and empties it afterwards.

    Args:
        info: the engine's record.
        config: what it is opened with.

    Attributes:
        measurements: what was measured, in that order.
        advance: called once for every operation and size that is done.
    """

    def __init__(self, info: EngineInfo, config: EngineConfig) -> None:
        self._info = info
        self.advance: Callable[[], object] = lambda: None
        self._config = replace(config, namespace=f"{config.namespace}-{random.randrange(2**64):016x}")  # noqa: S311
        self._loop: asyncio.AbstractEventLoop | None = None
        self.measurements: list[Measurement] = []

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that are tried: one for objects, for which it does not matter."""
        if self._info.capabilities.holds == "objects":
            return SIZES[:1]
        limit = self._info.capabilities.max_value_size
        return tuple(size for size in SIZES if limit is None or size <= limit)

    @property
    def steps(self) -> int:
        """How often ``advance`` is called."""
        return 2 * len(self.sizes) + 2

    def run(self) -> Costs:
        """Measure, and return what the record should say.

        Raises:
            EngineError: the engine failed, or gave back something else than it was given.
        """
        if not self._info.capabilities.sync:
            self._loop = asyncio.new_event_loop()
        collecting = gc.isenabled()
        gc.disable()
        engine = self._opened()
        try:
            get, set_ = self._curves(engine)
            ways = [partial(engine.get, self._key(number)) for number in range(KEYS)]
            miss = self._measure("miss", 0, ways)
            self._wait(engine.clear())
        finally:
            if collecting:
                gc.enable()
            self._wait(engine.close())
        opened = self._measure("open", 0, [self._open_and_ask])
        costs = Costs(get=get, set=set_, miss=miss, open=opened)
        if self._loop is not None:
            self._loop.close()
        return costs

    def _curves(self, engine: Engine | AsyncEngine) -> tuple[Knots, Knots]:
        get: list[tuple[int, float]] = []
        set_: list[tuple[int, float]] = []
        keys = [self._key(number) for number in range(KEYS)]

        def delete_some(turn: int) -> None:
            if turn % 2:
                self._wait(engine.delete(keys[turn % KEYS]))

        for size in self.sizes:
            value = self._value(size)
            writes = [partial(engine.set, key, value, size=self._weight(size)) for key in keys]
            set_.append((size, self._measure("set", size, writes, prepare=delete_some)))
            for key in keys:
                self._verify(engine, key, value)
            find = self._fastest(engine)
            get.append((size, self._measure("get", size, [partial(find, key) for key in keys])))
            self._wait(engine.delete_many(keys))
        return tuple(get), tuple(set_)

    def _fastest(self, engine: Engine | AsyncEngine) -> Callable[[Any], Any]:
        """Return what generated hit paths use: the engine's reader where it has one."""
        reader = engine.reader() if isinstance(engine, Engine) else None
        return engine.get if reader is None else reader.__getitem__

    def _opened(self) -> Engine | AsyncEngine:
        if self._loop is None:
            return self._info.load()(self._config)

        async def open_() -> AsyncEngine:
            return self._info.load_async()(self._config)

        return self._loop.run_until_complete(open_())

    def _open_and_ask(self) -> Any:
        if self._loop is not None:
            return self._open_and_await()
        engine = self._info.load()(self._config)
        try:
            engine.get(self._key(0))
        finally:
            engine.close()
        return None

    async def _open_and_await(self) -> None:
        engine = self._info.load_async()(self._config)
        try:
            await engine.get(self._key(0))
        finally:
            await engine.close()

    def _verify(self, engine: Engine | AsyncEngine, key: Any, value: Any) -> None:
        """Raise unless the engine gives back what it was given: an engine that loses it looks fast."""
        stored = self._wait(engine.set(key, value, size=self._weight(sum(map(len, value)))))
        found = self._wait(engine.get(key)) if stored else MISSING
        if isinstance(found, MappedBlob):
            found = found.view
        objects = self._info.capabilities.holds == "objects"
        if found is MISSING or (found is not value if objects else bytes(found) != b"".join(value)):
            raise EngineError(self._info.name, "give back what was stored", "it found something else")

    def _measure(
        self,
        operation: str,
        nbytes: int,
        ways: Sequence[Operation],
        prepare: Callable[[int], object] | None = None,
    ) -> float:
        """Return the typical seconds of an operation, done in turn in several ways.

        Without anything to prepare, all ways are timed together: a clock is slower than a dict.
        """
        rounds = [ways] if prepare is None else [[way] for way in ways]
        seconds: list[float] = []
        begun = time.perf_counter()
        turn = 0
        while turn < FEWEST or (turn < MOST and time.perf_counter() - begun < PATIENCE):
            if prepare is not None:
                prepare(turn)
            together = rounds[turn % len(rounds)]
            seconds.append(self._timed(together) / len(together))
            turn += 1
        seconds.sort()
        typical = statistics.median(seconds) if operation == "set" else seconds[len(seconds) // 4]
        self.measurements.append(
            Measurement(
                operation=operation,
                nbytes=nbytes,
                seconds=float(f"{typical:.2g}"),
                slowest=seconds[min(turn - 1, math.ceil(turn * 0.95))],
                repeats=turn * len(rounds[0]),
            )
        )
        self.advance()
        return self.measurements[-1].seconds

    def _timed(self, ways: Sequence[Operation]) -> float:
        """Return the seconds that it takes to do all of this, one after the other."""
        if self._loop is not None:
            return self._loop.run_until_complete(_timed_awaited(ways))
        start = time.perf_counter()
        for way in ways:
            way()
        return time.perf_counter() - start

    def _wait(self, result: Awaitable[Any] | Any) -> Any:
        if self._loop is not None and asyncio.iscoroutine(result):
            return self._loop.run_until_complete(result)
        return result

    def _key(self, number: int) -> Any:
        return ("key", number) if self._info.capabilities.holds == "objects" else f"{number:064x}"

    def _value(self, size: int) -> Any:
        if self._info.capabilities.holds == "objects":
            return "value"
        head = min(size, 56)  # as entries are: a head, then the payload
        whole = random.Random(size).randbytes(size)  # noqa: S311 - incompressible, not secret
        return [whole[:head], memoryview(whole)[head:]]

    def _weight(self, size: int) -> int:
        return 1 if self._info.capabilities.holds == "objects" else size


async def _timed_awaited(ways: Sequence[Operation]) -> float:
    start = time.perf_counter()
    for way in ways:
        await way()
    return time.perf_counter() - start

"""A freshness probe reads through a cache while its source changes, and counts what came back too old.

The promise under test: after an invalidation has returned, no call that starts later returns data
that was read before it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from cachewright.testing.start_line import PATIENCE, switching_eagerly
from cachewright.testing.versioned_source import VersionedSource

EXAMPLES = 10


class StaleRead(NamedTuple):
    """One call that returned data from before an invalidation that had returned when it started.

    Attributes:
        key: what was read.
        returned: the version that it returned.
        newest: the version at the last invalidation before it started.
        seconds: when, since the probe began.
    """

    key: int
    returned: int
    newest: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessPlan:
    """How much is read and invalidated, by whom.

    Attributes:
        seconds: how long.
        rounds: end after so many invalidations, if that comes first.
        readers: threads or tasks that read.
        writers: threads or tasks that change the source and invalidate.
        pause: seconds between two invalidations of one writer; 0.0 to go on at once.
        exclusive: let only one writer at a time work on a key, as storing a value explicitly demands:
            of two that store what they have read, the later may store what is older.
        whole: an invalidation concerns all keys, not only the one that it is called with.
        seed: of which key comes next.
    """

    seconds: float = 3.0
    rounds: int | None = None
    readers: int = 4
    writers: int = 2
    pause: float = 0.0
    exclusive: bool = False
    whole: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessReport:
    """What a probe has seen. It proves nothing if few reads were hits, or few invalidations happened.

    Attributes:
        reads: calls of the cached reader.
        loads: how many of them read the source; the others were answered by the cache.
        invalidations: how many returned.
        stale: calls that returned data from before an invalidation that had returned when they started.
        seconds: how long it took.
        examples: the first of the stale reads.
    """

    reads: int
    loads: int
    invalidations: int
    stale: int
    seconds: float
    examples: tuple[StaleRead, ...] = ()

    def __bool__(self) -> bool:
        return self.stale == 0

    def __str__(self) -> str:
        shown = "".join(f"\n  {example}" for example in self.examples)
        return (
            f"{self.stale} stale of {self.reads} reads ({self.loads} loads),"
            f" {self.invalidations} invalidations, {self.seconds:.1f} s{shown}"
        )


def merged(reports: Iterable[FreshnessReport]) -> FreshnessReport:
    """Return the sum of reports of probes that ran side by side."""
    every = list(reports)
    return FreshnessReport(
        reads=sum(report.reads for report in every),
        loads=sum(report.loads for report in every),
        invalidations=sum(report.invalidations for report in every),
        stale=sum(report.stale for report in every),
        seconds=max(report.seconds for report in every),
        examples=tuple(example for report in every for example in report.examples)[:EXAMPLES],
    )


def probe_freshness(
    read: Callable[[int], int],
    source: VersionedSource,
    invalidate: Callable[[int], object],
    plan: FreshnessPlan | None = None,
) -> FreshnessReport:
    """Read through a cache in threads while others change the source and invalidate.

    Args:
        read: the cached reader: called with a key, it returns a version, by ``source.load(key)``.
        source: what it reads.
        invalidate: called with the key whose source has changed; how is what is under test.
        plan: how much of it.

    Raises:
        TimeoutError: a call of ``read`` or ``invalidate`` hangs.
    """
    probe = _Probe(source, plan or FreshnessPlan())
    locks = [threading.Lock() if probe.plan.exclusive else nullcontext() for _ in range(source.keys)]

    def keep_reading(number: int) -> None:
        for key in probe.keys(number):
            floor = source.floor(key)
            probe.note(number, key, read(key), floor)

    def keep_writing(number: int) -> None:
        for key in probe.keys(number):
            with locks[key]:
                changed = probe.change(key)
                invalidate(key)
            probe.invalidated(number, changed)
            time.sleep(probe.plan.pause)

    def guarded(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - foreign code; the caller raises it
            probe.failures.append(error)
            probe.done = True

    works = [keep_reading] * probe.plan.readers + [keep_writing] * probe.plan.writers
    threads = [threading.Thread(target=guarded, args=(work, n)) for n, work in enumerate(works)]
    with switching_eagerly():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(probe.plan.seconds + PATIENCE)
    if any(thread.is_alive() for thread in threads):
        raise TimeoutError(f"a call took more than {PATIENCE:g} s")
    return probe.report()


async def async_probe_freshness(
    read: Callable[[int], Awaitable[int]],
    source: VersionedSource,
    invalidate: Callable[[int], Awaitable[object]],
    plan: FreshnessPlan | None = None,
) -> FreshnessReport:
    """Read through a cache in tasks while others change the source and invalidate.

    The reader reads the source by ``await source.async_load(key)``; the rest is as for
    :func:`probe_freshness`.
    """
    probe = _Probe(source, plan or FreshnessPlan())
    locks = [asyncio.Lock() if probe.plan.exclusive else nullcontext() for _ in range(source.keys)]

    async def keep_reading(number: int) -> None:
        for key in probe.keys(number):
            floor = source.floor(key)
            probe.note(number, key, await read(key), floor)
            await asyncio.sleep(0)

    async def keep_writing(number: int) -> None:
        for key in probe.keys(number):
            async with locks[key]:
                changed = probe.change(key)
                await invalidate(key)
            probe.invalidated(number, changed)
            await asyncio.sleep(probe.plan.pause)

    readers = [keep_reading(number) for number in range(probe.plan.readers)]
    writers = [keep_writing(probe.plan.readers + number) for number in range(probe.plan.writers)]
    async with asyncio.timeout(probe.plan.seconds + PATIENCE):
        await asyncio.gather(*readers, *writers)
    return probe.report()


class _Probe:
    """What the readers and writers of one probe share; each has a row of its own to count in."""

    def __init__(self, source: VersionedSource, plan: FreshnessPlan) -> None:
        self.source = source
        self.plan = plan
        self.done = False
        self.failures: list[BaseException] = []
        self._reads = [0] * plan.readers
        self._stale = [0] * plan.readers
        self._invalidations = [0] * (plan.readers + plan.writers)
        self._examples: list[StaleRead] = []
        self._loads = source.loads
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the probe began."""
        return time.monotonic() - self._began

    def keys(self, number: int) -> Iterable[int]:
        """Yield keys until the probe is over."""
        random = Random(f"{self.plan.seed}/{number}")
        while not self.done and self.seconds < self.plan.seconds:
            yield random.randrange(self.source.keys)

    def note(self, number: int, key: int, version: int, floor: int) -> None:
        """Note what a call returned that had to return ``floor`` at the least."""
        self._reads[number] += 1
        if version < floor:
            self._stale[number] += 1
            if len(self._examples) < EXAMPLES:
                self._examples.append(StaleRead(key, version, floor, self.seconds))

    def change(self, key: int) -> dict[int, int]:
        """Change the source; return, by key, the versions from before the invalidation that follows."""
        version = self.source.change(key)
        if self.plan.whole:
            return {each: self.source.version(each) for each in range(self.source.keys)}
        return {key: version}

    def invalidated(self, number: int, versions: dict[int, int]) -> None:
        """Note that an invalidation has returned that began with these versions."""
        for key, version in versions.items():
            self.source.raise_floor(key, version)
        self._invalidations[number] += 1
        if self.plan.rounds is not None and sum(self._invalidations) >= self.plan.rounds:
            self.done = True

    def report(self) -> FreshnessReport:
        """Return what was seen; raises what a reader or writer raised."""
        for error in self.failures:
            raise error
        return FreshnessReport(
            reads=sum(self._reads),
            loads=self.source.loads - self._loads,
            invalidations=sum(self._invalidations),
            stale=sum(self._stale),
            seconds=self.seconds,
            examples=tuple(self._examples),
        )

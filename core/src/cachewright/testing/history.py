"""A history is what some threads or tasks did to some keys at the same time; drivers make random ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError, EngineError
from cachewright.testing.linearizability import NAMES, PENDING, Operation, Verdict, check_history
from cachewright.testing.start_line import PATIENCE, StartLine, switching_eagerly

if TYPE_CHECKING:
    from cachewright.aio import AsyncCache
    from cachewright.cache import Cache

BATCH = 250
LONG = 3600.0
"""The ttl that ``touch`` gives; no history takes as long."""

Operations = Mapping[str, Callable[..., Any]]
"""What to do, by the names of the model: called with a key and the arguments of the model."""

AsyncOperations = Mapping[str, Callable[..., Awaitable[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What random histories have shown.

    Attributes:
        histories: how many were judged; the run ends with the first that is not linearizable.
        operations: how many operations they had.
        concurrent: in how many of them operations of different actors overlapped. The others would
            be linearizable whatever the cache did.
        seconds: how long it took.
        verdict: on the last history.
    """

    histories: int
    operations: int
    concurrent: int
    seconds: float
    verdict: Verdict

    def __bool__(self) -> bool:
        return self.verdict.linearizable

    def __str__(self) -> str:
        return (
            f"{self.histories} histories, {self.concurrent} of them concurrent, {self.operations} operations,"
            f" {self.seconds:.1f} s: {self.verdict}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPlan:
    """What random histories look like. Keys are the integers from ``first_key`` on, new ones each time.

    Attributes:
        histories: how many.
        actors: threads or tasks.
        steps: operations of each actor in each history.
        keys: keys of each history.
        first_key: the first key; it and all that follow have to be absent.
        seed: of everything that is random.
        evictions: whether an entry may vanish at any time, as under a bound.
        loops: event loops, each in a thread of its own, over which tasks are spread.
    """

    histories: int = 1000
    actors: int = 3
    steps: int = 4
    keys: int = 1
    first_key: int = 0
    seed: int = 0
    evictions: bool = False
    loops: int = 2


def cache_operations(cache: Cache) -> dict[str, Callable[..., Any]]:
    """Return what can be done to a cache, by the names of the model."""
    return {
        "get": partial(cache.get, default=MISSING),
        "set": cache.set,
        "add": cache.add,
        "incr": cache.incr,
        "touch": partial(cache.touch, ttl=LONG),
        "delete": cache.delete,
    }


def async_cache_operations(cache: AsyncCache) -> dict[str, Callable[..., Awaitable[Any]]]:
    """Return what can be done to an asynchronous cache, by the names of the model."""
    return {
        "get": partial(cache.get, default=MISSING),
        "set": cache.set,
        "add": cache.add,
        "incr": cache.incr,
        "touch": partial(cache.touch, ttl=LONG),
        "delete": cache.delete,
    }


def try_histories(operations: Operations, plan: HistoryPlan | None = None) -> Trial:
    """Run random concurrent histories in threads, and judge each.

    Args:
        operations: what to do, from :func:`cache_operations` or any part of the model's names.
        plan: how much of it.

    Raises:
        ConfigurationError: an operation is none that the model knows.
    """

    def work(crew: list[_Actor], line: StartLine, rounds: range) -> None:
        (actor,) = crew
        for turn in rounds:
            line.meet(turn)
            for name, key, arguments in actor.steps(turn):
                start = time.perf_counter_ns()
                try:
                    actor.note(name, key, arguments, operations[name](key, *arguments), start)
                except EngineError:
                    actor.note_failure(name, key, arguments, start)

    actors = _actors(operations, plan or HistoryPlan())
    return _try(actors, [[actor] for actor in actors], work)


def try_async_histories(operations: AsyncOperations, plan: HistoryPlan | None = None) -> Trial:
    """Run random concurrent histories in tasks, and judge each; see :func:`try_histories`.

    Starts event loops of its own, in threads, because tasks of one loop never meet within an operation
    that awaits nothing.
    """

    async def act(actor: _Actor, turn: int) -> None:
        for name, key, arguments in actor.steps(turn):
            start = time.perf_counter_ns()
            try:
                actor.note(name, key, arguments, await operations[name](key, *arguments), start)
            except EngineError:
                actor.note_failure(name, key, arguments, start)

    def work(crew: list[_Actor], line: StartLine, rounds: range) -> None:
        async def main() -> None:
            for turn in rounds:
                line.meet(turn)  # nothing else runs on this loop now
                await asyncio.gather(*(act(actor, turn) for actor in crew))

        asyncio.run(main())

    actors = _actors(operations, plan or HistoryPlan())
    loops = actors[0].plan.loops
    crews = [crew for crew in (actors[loop::loops] for loop in range(loops)) if crew]
    return _try(actors, crews, work)


class _Actor:
    """One thread or task: decides what to do at random, and notes what came of it."""

    def __init__(self, number: int, names: Iterable[str], plan: HistoryPlan) -> None:
        self.number = number
        self.plan = plan
        self.noted: list[Operation] = []
        self._names = sorted(names)
        self._random = Random(f"{plan.seed}/{number}")
        self._seen: dict[int, Any] = {}

    def steps(self, turn: int) -> Generator[tuple[str, int, tuple[Any, ...]], None, None]:
        """Yield operation, key and arguments of each step of one history."""
        plan = self.plan
        first = plan.first_key + turn * plan.keys
        self._seen.clear()
        for step in range(plan.steps):
            name = self._random.choice(self._names)
            key = first + self._random.randrange(plan.keys)
            unique = self.number * plan.steps + step + 1
            if name in {"set", "add"}:
                yield name, key, (100 * unique,)
            elif name == "incr":
                yield name, key, (unique,)
            elif name == "compare_and_set":
                yield name, key, (self._seen.get(key, MISSING), 100 * unique)
            else:
                yield name, key, ()

    def note(self, name: str, key: int, arguments: tuple[Any, ...], result: Any, start: int) -> None:
        """Note what an operation has just returned."""
        end = time.perf_counter_ns()
        if name == "get":
            self._seen[key] = result
        self._note(name, key, arguments, result, start, end)

    def note_failure(self, name: str, key: int, arguments: tuple[Any, ...], start: int) -> None:
        """Note that an operation raised: it may have taken place nonetheless."""
        self._note(name, key, arguments, None, start, PENDING)

    def _note(
        self, name: str, key: int, arguments: tuple[Any, ...], result: Any, start: int, end: float
    ) -> None:
        keys: Iterable[int] = (key,)
        if name == "clear":  # it concerns every key of this history
            first = key - (key - self.plan.first_key) % self.plan.keys
            keys = range(first, first + self.plan.keys)
        self.noted += [Operation(name, each, arguments, result, start, end, self.number) for each in keys]


def _actors(operations: Mapping[str, object], plan: HistoryPlan) -> list[_Actor]:
    for name in operations:
        if name not in NAMES:
            raise ConfigurationError("operations", name, f"among {', '.join(NAMES)}")
    return [_Actor(number, operations, plan) for number in range(plan.actors)]


_Work = Callable[[list[_Actor], StartLine, range], None]


def _try(actors: list[_Actor], crews: list[list[_Actor]], work: _Work) -> Trial:
    plan = actors[0].plan
    judged = concurrent = operations = 0
    verdict = Verdict(linearizable=True)
    began = time.perf_counter()
    for first in range(0, plan.histories, BATCH):
        _run(crews, work, range(first, min(first + BATCH, plan.histories)))
        for history in _histories(actors):
            judged += 1
            operations += len(history)
            concurrent += _overlaps(history)
            verdict = check_history(history, evictions=plan.evictions)
            if not verdict:
                break
        if not verdict:
            break
    return Trial(
        histories=judged,
        operations=operations,
        concurrent=concurrent,
        seconds=time.perf_counter() - began,
        verdict=verdict,
    )


def _run(crews: list[list[_Actor]], work: _Work, rounds: range) -> None:
    """Have every crew do the rounds side by side, each round begun together."""
    line = StartLine(len(crews))
    failures: list[BaseException] = []

    def guarded(crew: list[_Actor]) -> None:
        try:
            work(crew, line, rounds)
        except BaseException as error:  # noqa: BLE001 - foreign code; the caller raises it
            failures.append(error)
            line.broken = True

    with switching_eagerly():
        threads = [threading.Thread(target=guarded, args=(crew,), name="history") for crew in crews]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE * 2)
    for error in failures:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    if failures or any(thread.is_alive() for thread in threads):
        raise TimeoutError(f"an operation took more than {PATIENCE:g} s")


def _histories(actors: list[_Actor]) -> list[list[Operation]]:
    """Return what the actors noted, history by history, and let them forget it."""
    plan = actors[0].plan
    found: dict[int, list[Operation]] = {}
    for actor in actors:
        for operation in actor.noted:
            key: Any = operation.key
            found.setdefault((key - plan.first_key) // plan.keys, []).append(operation)
        actor.noted.clear()
    return [found[turn] for turn in sorted(found)]


def _overlaps(history: list[Operation]) -> bool:
    ordered = sorted(history, key=lambda operation: operation.start)
    return any(one.end > other.start and one.actor != other.actor for one, other in pairwise(ordered))

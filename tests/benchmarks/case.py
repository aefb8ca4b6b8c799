"""A case is one row of the report: ours against a peer, measured in one process, taking turns."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 15


@dataclass(frozen=True)
class Case:
    """One row of the report: ours against a peer, with the ratio to reach, if there is one."""

    name: str
    ours: str
    peer: str
    goal: float | None
    measure: Callable[[], dict[str, float]]


def seconds_per_call(calls: dict[str, Callable[[], Any]], number: int) -> dict[str, float]:
    """Return the median seconds per call of each contestant; they take turns."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            for _ in range(number):
                call()
            samples[name].append((time.perf_counter() - started) / number)
    return {name: statistics.median(values) for name, values in samples.items()}


def loops(statements: dict[str, tuple[str, dict[str, Any]]], number: int = 200_000) -> dict[str, float]:
    """Like :func:`seconds_per_call`, for statements so short that calling a function would hide them."""
    import timeit

    timers = {name: timeit.Timer(statement, globals=scope) for name, (statement, scope) in statements.items()}
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            samples[name].append(timer.timeit(number) / number)
    return {name: statistics.median(values) for name, values in samples.items()}


async def awaited(calls: dict[str, Callable[[], Any]], number: int) -> dict[str, float]:
    """Like :func:`seconds_per_call`, for calls that are awaited."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        await call()
        await call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            for _ in range(number):
                await call()
            samples[name].append((time.perf_counter() - started) / number)
    return {name: statistics.median(values) for name, values in samples.items()}

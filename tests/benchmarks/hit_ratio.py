"""Hit ratios of the memory engine's eviction policies on synthetic traces; the same on every run."""

from __future__ import annotations

import random
from bisect import bisect
from itertools import accumulate
from typing import TYPE_CHECKING

from cachewright.builtin.memory import MemoryEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CAPACITY = 1_024
KEYS = 50_000
REQUESTS = 200_000
POLICIES = ("s3-fifo", "lru", "lfu", "fifo", "rr", "sieve")


def zipf(exponent: float, requests: int = REQUESTS, seed: int = 1) -> Iterator[int]:
    """Yield keys of which the n-th most popular is asked for in proportion to n ** -exponent."""
    draw = random.Random(seed).random  # a trace, not a secret
    weights = list(accumulate(rank**-exponent for rank in range(1, KEYS + 1)))
    for _ in range(requests):
        yield bisect(weights, draw() * weights[-1])


def with_scans(requests: int = REQUESTS) -> Iterator[int]:
    """Yield zipf 1.0, interrupted every 10,000 requests by 2,000 keys that are asked for only once."""
    fresh = KEYS
    for number, key in enumerate(zipf(1.0, requests)):
        yield key
        if number % 10_000 == 9_999:
            yield from range(fresh, fresh + 2_000)
            fresh += 2_000


def loop(requests: int = REQUESTS) -> Iterator[int]:
    """Yield the same keys in the same order for ever, half as many again as fit."""
    return (number % (CAPACITY * 3 // 2) for number in range(requests))


def drifting(requests: int = REQUESTS, seed: int = 1) -> Iterator[int]:
    """Yield keys around a centre that moves on by one key every ten requests."""
    rng = random.Random(seed)  # a trace, not a secret
    for number in range(requests):
        yield number // 10 + int(rng.gauss(0, CAPACITY / 2))


TRACES: dict[str, Callable[[], Iterable[int]]] = {
    "zipf 1.0": lambda: zipf(1.0),
    "zipf 0.8": lambda: zipf(0.8),
    "scans": with_scans,
    "loop": loop,
    "drifting": drifting,
}


def hit_ratio(policy: str, trace: Iterable[int], capacity: int = CAPACITY) -> float:
    """Return the share of requests in ``trace`` that a memory engine of that policy answers."""
    random.seed(0)  # the rr policy draws from the module
    engine = MemoryEngine(EngineConfig(maxsize=capacity, policy=policy))
    hits = requests = 0
    for key in trace:
        requests += 1
        if engine.get(key) is MISSING:
            engine.set(key, key)
        else:
            hits += 1
    return hits / requests


def main() -> None:
    """Print one row per policy and one column per trace, in per cent."""
    print(f"{CAPACITY:,} entries of {KEYS:,} keys; hits in % of {REQUESTS:,} requests")
    print(f"{'':8}" + "".join(f"{name:>10}" for name in TRACES))
    for policy in POLICIES:
        ratios = (hit_ratio(policy, trace()) for trace in TRACES.values())
        print(f"{policy:8}" + "".join(f"{100 * ratio:10.1f}" for ratio in ratios))


if __name__ == "__main__":
    main()

"""R10: whatever the wall clock does, nothing is served beyond its expiry, and nothing lives for ever."""

from __future__ import annotations

import random

import pytest

from cachewright import open_cache
from cachewright.entry import MISSING
from cachewright.testing import ManualClock

STEPS = (-86_400.0, -3_600.0, 3_600.0, 86_400.0)
TTL = 600.0


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def cache(tmp_path, clock):
    with open_cache("demo", path=tmp_path / "store", ttl=TTL, clock=clock) as cache:
        yield cache


@pytest.mark.parametrize("step", STEPS)
def test_one_step(cache, clock, step):
    """After a step an entry is served only while the clock is within its life; then it is gone for good."""
    cache.set("k", "v")
    cache.set("large", b"L" * 100_000)
    clock.step_wall(step)
    assert cache.get("k", MISSING) is MISSING
    assert "large" not in cache
    clock.advance(max(-step, 0.0) + TTL)
    assert cache.get("k", MISSING) is MISSING
    assert cache.add("k", "new")
    assert cache.get("k") == "new"
    assert len(cache) == 1


@pytest.mark.parametrize("step", STEPS)
def test_a_clock_that_was_wrong_for_a_while(cache, clock, step):
    """What was stored under the wrong time is not served for longer than its ttl once the clock is right."""
    clock.step_wall(step)
    cache.set("k", "v")
    assert cache.get("k") == "v"
    clock.step_wall(-step)
    served = 0.0
    for _ in range(400):
        if cache.get("k", MISSING) is not MISSING:
            served += TTL / 2
        clock.advance(TTL / 2)
    assert served <= TTL
    assert len(cache) == 0


@pytest.mark.parametrize(
    "histories", [pytest.param(20, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.soak)]
)
def test_histories_of_steps(tmp_path, capsys, histories):
    """In random histories of steps and writes no read gives an entry out of its time."""
    reads = hits = 0
    for seed in range(histories):
        rng, clock = random.Random(seed), ManualClock()
        stored: dict[int, tuple[float, float, int]] = {}
        cache = open_cache(f"history{seed}", path=tmp_path / "store", clock=clock, maxsize=20)
        for turn in range(80):
            key, way = rng.randrange(8), rng.random()
            if way < 0.15:
                clock.step_wall(rng.choice(STEPS))
            elif way < 0.3:
                clock.advance(rng.choice([1.0, TTL / 2, TTL]))
            elif way < 0.6:
                ttl = rng.choice([5.0, TTL, 7200.0])
                cache.set(key, turn, ttl=ttl)
                stored[key] = (clock.wall(), clock.wall() + ttl, turn)
            else:
                found = cache.get(key, MISSING)
                reads += 1
                if found is not MISSING:
                    hits += 1
                    created, expires, value = stored[key]
                    assert found == value
                    assert created - 1e-5 <= clock.wall() < expires, f"history {seed}, turn {turn}"
        clock.advance(2 * 86_400.0 * 80)
        assert [key for key in range(8) if cache.get(key, MISSING) is not MISSING] == []
        assert len(cache) == 0
        cache.close()
    with capsys.disabled():
        print(f"\n{histories} histories of clock steps: {reads} reads, {hits} hits, none out of its time")
    assert hits > histories

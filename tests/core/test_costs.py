"""What operations are expected to cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.costs import (
    AUTHENTICATION,
    THREAD_HOP,
    call_seconds,
    get_seconds,
    interpolated,
    miss_seconds,
    set_seconds,
)
from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.workload import KINDS, Kind, Workload

KNOTS = ((100, 1e-6), (10_000, 1e-4), (1_000_000, 1e-3))


def engine(
    *, holds: str = "bytes", blocking: bool = False, async_: bool = False, maps: bool = False
) -> EngineInfo:
    ability = Capabilities(holds=holds, blocking=blocking, async_=async_, maps=maps)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    costs = Costs(get=KNOTS, set=((64, 2e-6), (1_000_000, 2e-3)), miss=3e-6)
    return EngineInfo(name="e", target="m:E", async_target="m:A", capabilities=ability, costs=costs)


@pytest.mark.parametrize(
    ("nbytes", "seconds"),
    [
        (0, 1e-6),
        (1, 1e-6),
        (100, 1e-6),
        (1000, 1e-5),
        (10_000, 1e-4),
        (100_000, 10**-3.5),
        (10**6, 1e-3),
        (10**7, 1e-2),
    ],
)
def test_interpolation(nbytes: int, seconds: float) -> None:
    """Flat before the first knot, log-log between knots, in proportion beyond the last."""
    assert interpolated(KNOTS, nbytes) == pytest.approx(seconds)


def test_one_knot_means_that_size_does_not_matter() -> None:
    """An engine that holds references costs the same for any size."""
    assert interpolated(((64, 8e-8),), 10**9) == 8e-8


def test_knots_at_zero_need_no_logarithm() -> None:
    """Zero bytes and zero seconds are interpolated too."""
    assert interpolated(((0, 0.0), (100, 1e-6)), 50) == pytest.approx(1e-6 * 0.85, rel=0.01)


@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_costs_grow_with_size(one: int, other: int) -> None:
    """Where the knots ascend, a larger value never costs less."""
    low, high = sorted((one, other))
    assert interpolated(KNOTS, low) <= interpolated(KNOTS, high) * (1 + 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_serializing_costs_only_where_bytes_are_held(kind: Kind) -> None:
    """An engine of objects pays nothing for the codec; one of bytes does, for every kind."""
    workload = Workload(kind=kind, nbytes=10_000)
    assert get_seconds(engine(holds="objects"), workload) == pytest.approx(1e-4)
    assert get_seconds(engine(), workload) > 1e-4
    assert set_seconds(engine(), workload) > set_seconds(engine(holds="objects"), workload)


def test_containers_are_dearer_than_buffers() -> None:
    """A JSON-like document of 8,000 parts costs about a hundred times what an array of that size does."""
    store = interpolated(KNOTS, 500_000)
    maps = engine(maps=True)  # verified once: only decoding is left
    document = get_seconds(maps, Workload(kind="container", nbytes=500_000, count=8_000)) - store
    buffer = get_seconds(maps, Workload(kind="array", nbytes=500_000)) - store
    assert document == pytest.approx(6.6e-4, rel=0.1)
    assert document > 50 * buffer


def test_large_values_are_signed_and_verified() -> None:
    """By every engine of bytes when they are stored, and on every read unless it maps them."""
    workload = Workload(kind="array", nbytes=10_000_000)
    signing = AUTHENTICATION * 10_000_000
    assert get_seconds(engine(), workload) - get_seconds(engine(maps=True), workload) == pytest.approx(
        signing
    )
    assert set_seconds(engine(), workload) == pytest.approx(set_seconds(engine(maps=True), workload))
    small = Workload(kind="array", nbytes=10_000)
    assert get_seconds(engine(), small) == get_seconds(engine(maps=True), small)


def test_a_blocking_engine_pays_for_a_thread_on_an_event_loop() -> None:
    """The hop is added to every operation, unless the engine is asynchronous or does not block."""
    asynchronous, sync = Workload(asynchronous=True), Workload()
    for cost in (get_seconds, set_seconds, miss_seconds):
        hop = cost(engine(blocking=True), asynchronous) - cost(engine(blocking=True), sync)
        assert hop == pytest.approx(THREAD_HOP)
        for free in (engine(blocking=True, async_=True), engine()):
            assert cost(free, asynchronous) == cost(free, sync)


def test_cost_of_a_call() -> None:
    """Hits pay for a get, misses for finding out and for storing."""
    info, workload = engine(), Workload(hit_ratio=0.75)
    get, missing = get_seconds(info, workload), miss_seconds(info, workload) + set_seconds(info, workload)
    assert call_seconds(info, workload) == pytest.approx(0.75 * get + 0.25 * missing)
    assert call_seconds(info, Workload(hit_ratio=1.0)) == get
    assert call_seconds(info, Workload(hit_ratio=0.0)) == missing

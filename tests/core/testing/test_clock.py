"""A manual clock moves when it is told to, and only then."""

from __future__ import annotations

import pytest

from cachewright.testing import ManualClock


def test_it_stands_still() -> None:
    """Reading the clocks does not move them."""
    clock = ManualClock(wall=5.0, monotonic=3.0)
    assert [clock.wall(), clock.wall(), clock.monotonic(), clock.monotonic()] == [5.0, 5.0, 3.0, 3.0]


def test_advancing_moves_both_clocks() -> None:
    """Time that passes passes on both clocks."""
    clock = ManualClock(wall=5.0, monotonic=3.0)
    clock.advance(2.5)
    assert (clock.wall(), clock.monotonic()) == (7.5, 5.5)


def test_stepping_the_wall_clock_leaves_the_monotonic_one() -> None:
    """Setting the wall clock is not the passing of time."""
    clock = ManualClock(wall=5.0, monotonic=3.0)
    clock.step_wall(-4.0)
    assert (clock.wall(), clock.monotonic()) == (1.0, 3.0)


def test_time_does_not_run_backwards() -> None:
    """Advancing by a negative number is an error that names the method to use."""
    with pytest.raises(ValueError, match="step_wall"):
        ManualClock().advance(-1)

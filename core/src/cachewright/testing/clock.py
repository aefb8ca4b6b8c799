"""A manual clock stands still until a test moves it."""

from __future__ import annotations

from cachewright.entry import Clock


class ManualClock(Clock):
    """Both clocks of a cache, moved by hand.

    Args:
        wall: first reading of the wall clock, in seconds since the epoch.
        monotonic: first reading of the monotonic clock, in seconds.
    """

    __slots__ = ("_monotonic_now", "_wall_now")

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._wall_now = wall
        self._monotonic_now = monotonic
        super().__init__(wall=self._read_wall, monotonic=self._read_monotonic)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks; never negative, for time does not run backwards."""
        if seconds < 0:
            message = f"time does not run backwards: advance({seconds}); use step_wall"
            raise ValueError(message)
        self._wall_now += seconds
        self._monotonic_now += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forwards or backwards, as an administrator would; no time passes."""
        self._wall_now += seconds

    def _read_wall(self) -> float:
        return self._wall_now

    def _read_monotonic(self) -> float:
        return self._monotonic_now

"""Freshness is how long a value is served as it is, while it is replaced, and when replacing it fails.

One table for both colours. A value of age *a*, with its ttl *t* and the windows of a :class:`Freshness`::

    age          when                           what a call does
    FRESH        before the refresh point       serves it
    EARLY        from there to t                serves it; one refresh starts in the background
    STALE        up to t + stale_ttl            serves it; one refresh starts in the background
    GRACE        up to t + error_ttl            loads; serves it if that fails as on_error says
    GONE         later                          loads; what that raises is raised

After a failed load the value is served without another attempt until the back-off is over.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from cachewright.duration import parse_ttl
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

Duration: TypeAlias = "float | str | timedelta"
OnError: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], object]"

LONGEST_BACKOFF: Final = 64
"""The back-off doubles with every failure in a row, up to so many times the first."""


class Age(Enum):
    """Where in its life a value is; see the table of this module."""

    FRESH = "fresh"
    EARLY = "early"
    STALE = "stale"
    GRACE = "grace"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What happens to a value around the end of its ttl; pass it as ``cached(freshness=...)``.

    Durations are seconds, a ``timedelta`` or text such as "10m".

    Attributes:
        ttl: the ttl itself, if it is not given as ``cached(ttl=...)``.
        stale_ttl: for how long after the ttl the value is still served, while it is refreshed.
        error_ttl: for how long after the ttl it is served if loading a new one fails.
        refresh_at: share of the ttl, between 0 and 1, after which a call refreshes it in the background.
        early: "xfetch" refreshes at a random moment before the end, the earlier the longer computing
            takes: callers do not do it all at once (Vattani, Chierichetti and Lowenstein, Optimal
            Probabilistic Cache Stampede Prevention, VLDB 2015). Stored entries are judged at every look-up,
            those of one process once, when they are stored.
        beta: how early that is; 1.0 is the optimum of the paper.
        soft_timeout: seconds after which a call that waits for a load is given the old value, where
            ``error_ttl`` allows one; the load goes on.
        hard_timeout: seconds after which a call that waits for a load raises
            :class:`~cachewright.errors.LoadTimeoutError`; the load goes on.
        backoff: pause after a failed load before the next attempt; doubles with every failure in a row.
        on_error: which failures are forgiven: a class, several, or a predicate of the exception.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    ttl: Duration | None = None
    stale_ttl: Duration = 0.0
    error_ttl: Duration = 0.0
    refresh_at: float | None = None
    early: Literal["xfetch"] | None = None
    beta: float = 1.0
    soft_timeout: Duration | None = None
    hard_timeout: Duration | None = None
    backoff: Duration = 1.0
    on_error: OnError = Exception

    def __post_init__(self) -> None:
        for name in ("ttl", "soft_timeout", "hard_timeout"):
            self._normalise(name, optional=True)
        for name in ("stale_ttl", "error_ttl", "backoff"):
            self._normalise(name, optional=False)
        share = self.refresh_at
        if share is not None and not (_is_number(share) and 0 < share < 1):
            raise ConfigurationError("refresh_at", share, "a share of the ttl between 0 and 1, or None")
        if self.early is not None and self.early != "xfetch":
            raise ConfigurationError("early", self.early, '"xfetch" or None')
        if self.early and share is not None:
            raise ConfigurationError("refresh_at", share, 'None beside early="xfetch", which decides when')
        if not _is_number(self.beta) or not 0 < self.beta < math.inf:
            raise ConfigurationError("beta", self.beta, "a number above 0")
        if self.soft_timeout is not None and not self.error_ttl:
            raise ConfigurationError(
                "soft_timeout", self.soft_timeout, "None without error_ttl: there is no old value to serve"
            )
        _check_on_error(self.on_error)

    def _normalise(self, name: str, *, optional: bool) -> None:
        given = getattr(self, name)
        seconds = parse_ttl(given, setting=name)
        if seconds is None and given is not None:  # infinity
            seconds = math.inf
        if (seconds is None and not optional) or (seconds is not None and seconds < 0):
            raise ConfigurationError(name, given, "a duration from 0 on" + ", or None" * optional)
        object.__setattr__(self, name, seconds)

    @property
    def kept(self) -> float:
        """Seconds after its ttl for which a value is kept."""
        return max(_seconds(self.stale_ttl), _seconds(self.error_ttl))

    @property
    def bounded(self) -> bool:
        """Whether callers may stop waiting for a load before it ends."""
        return self.soft_timeout is not None or self.hard_timeout is not None

    def due(self, created: float, soft: float, seconds: float) -> float:
        """Return the moment from which a value is refreshed before its ttl is over.

        Args:
            created: when it was stored.
            soft: when its ttl is over; infinity for never. On the same clock.
            seconds: what computing it took.
        """
        if soft == math.inf:
            return soft
        if self.refresh_at is not None:
            return created + (soft - created) * self.refresh_at
        if self.early is not None:
            return soft + seconds * self.beta * math.log(1.0 - random.random())  # noqa: S311 - no secret
        return soft

    def age(self, now: float, due: float, soft: float, until: float) -> Age:
        """Judge a value; ``until`` is for how long it is kept."""
        if now < soft:
            return Age.FRESH if now < due else Age.EARLY
        if now >= until:
            return Age.GONE
        if now < soft + _seconds(self.stale_ttl):
            return Age.STALE
        return Age.GRACE if now < soft + _seconds(self.error_ttl) else Age.GONE

    def forgives(self, error: BaseException) -> bool:
        """Whether an old value may be served instead of this failure."""
        if not isinstance(error, Exception):
            return False
        matches: Any = self.on_error
        if isinstance(matches, (type, tuple)):
            return isinstance(error, matches)
        return bool(matches(error))


def _seconds(duration: Any) -> float:
    """Return a duration after ``__post_init__``, which has made a number of it."""
    return float(duration)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_on_error(on_error: Any) -> None:
    given: object = on_error
    classes = cast("tuple[object, ...]", given if isinstance(given, tuple) else (given,))
    if all(isinstance(one, type) and issubclass(one, Exception) for one in classes) and classes:
        return
    if isinstance(given, (type, tuple)) or not callable(given):
        raise ConfigurationError(
            "on_error", on_error, "an exception class, a tuple of them, or a predicate of the exception"
        )


STRICT: Final = Freshness()
"""No windows at all: a value is served up to its ttl and not beyond."""

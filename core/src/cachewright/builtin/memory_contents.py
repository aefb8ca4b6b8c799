"""What a memory engine holds: entries within their bounds, for one user at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from cachewright.builtin.expiry import Expiry
from cachewright.builtin.policies import DEFAULT_POLICY, POLICIES, UNBOUNDED
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from threading import RLock

    from cachewright.builtin.policies import Policy
    from cachewright.engine import EngineConfig

IDLE: Final = 0
LOOKING: Final = 1
"""Under way, but nothing has been changed yet: a key that raises does no harm."""
WRITING: Final = 2
"""Half of a change may be done: a key that raises costs the contents."""
SHUT: Final = 3

SWEEP: Final = 4
"""Expired entries that a write removes at most, beyond those whose room it needs."""

FOREVER: Final = 1e15
"""Seconds from which on a ttl is no ttl."""


class Contents:
    """Entries, their sizes and their deadlines, and a policy that says which has to go.

    Not safe for threads; whoever inherits from it takes the lock first. What a method removes it
    appends to ``trash``, for the caller to let go of after releasing the lock: finalizers may call
    anything. ``_state`` tells how much damage a key that raises has done.
    """

    def __init__(self, config: EngineConfig, lock: RLock) -> None:
        maxsize = _bound("maxsize", config.maxsize)
        self._max_bytes = _bound("max_bytes", config.max_bytes)
        policy = DEFAULT_POLICY if config.policy is None else config.policy
        if policy not in POLICIES:
            raise ConfigurationError("policy", config.policy, "one of " + ", ".join(POLICIES))
        self._maxsize = math.inf if maxsize is None else maxsize
        self._now = config.clock.monotonic
        bounded = maxsize is not None or self._max_bytes is not None
        self._policy: Policy = (POLICIES[policy] if bounded else UNBOUNDED)(lock)
        self._sizes: dict[Any, int] = {}
        self._bytes = 0
        self._expiry: Expiry | None = None
        self._plain = self._max_bytes is None and self._maxsize > 0
        self._state: int = IDLE

    def _admits(self, value: Any, ttl: float | None, size: int) -> bool:
        if not size >= 0:
            raise ConfigurationError("size", size, "0 or more bytes")
        return (
            value is not MISSING
            and self._maxsize > 0
            and (self._max_bytes is None or size <= self._max_bytes)
            and (ttl is None or ttl > 0)
        )

    def _store(self, key: Any, value: Any, ttl: float | None, size: int, trash: list[Any]) -> bool:
        admitted = self._admits(value, ttl, size)
        now = self._now() if ttl is not None or self._expiry is not None else 0.0
        self._policy.peek(key)  # a key that is not hashable raises here, where it does no harm
        self._state = WRITING
        if not admitted:
            self._drop(key, trash)
            return False
        if self._expiry is not None:
            self._sweep(self._expiry, key, now, trash)
        if self._make_room(key, size, now, trash):
            trash.append(self._policy.replace(key, value))
        else:
            self._policy.insert(key, value)
        if self._max_bytes is not None:
            self._bytes += size - self._sizes.get(key, 0)
            self._sizes[key] = size
        if ttl is not None and ttl < FOREVER:
            if self._expiry is None:
                self._expiry = Expiry()
                self._plain = False
            self._expiry.plan(key, now + ttl)
        elif self._expiry is not None:
            self._expiry.forget(key)
        return True

    def _make_room(self, key: Any, size: int, now: float, trash: list[Any]) -> bool:
        """Evict until an entry of ``size`` fits under ``key``; return whether one is held there."""
        policy, limit = self._policy, self._max_bytes
        while True:
            held = policy.peek(key) is not MISSING
            if (held or len(policy) < self._maxsize) and (
                limit is None or self._bytes - self._sizes.get(key, 0) + size <= limit
            ):
                return held
            if self._expiry is not None and self._drop_expired(self._expiry, now, trash):
                continue
            victim = policy.evict()
            if victim is None:
                self._reset(trash)
            else:
                trash.append(victim)
                self._forget(victim[0])

    def _sweep(self, expiry: Expiry, key: Any, now: float, trash: list[Any]) -> None:
        """Drop ``key`` if it has expired, and some others that have."""
        if expiry.deadlines.get(key, FOREVER) <= now:
            self._drop(key, trash)
        for _ in range(SWEEP):
            if not self._drop_expired(expiry, now, trash):
                break

    def _drop_expired(self, expiry: Expiry, now: float, trash: list[Any]) -> bool:
        key = expiry.take(now)
        if key is MISSING:
            return False
        self._drop(key, trash)
        return True

    def _drop(self, key: Any, trash: list[Any]) -> None:
        trash.append(self._policy.pop(key))
        self._forget(key)

    def _forget(self, key: Any) -> None:
        if self._max_bytes is not None:
            self._bytes -= self._sizes.pop(key, 0)
        if self._expiry is not None:
            self._expiry.forget(key)

    def _find(self, key: Any) -> Any:
        value = self._policy.peek(key)
        if value is not MISSING and self._expiry is not None:
            deadline = self._expiry.deadlines.get(key)
            if deadline is not None and deadline <= self._now():
                return MISSING
        return value

    def _delete(self, key: Any, trash: list[Any]) -> bool:
        found = self._find(key)
        self._state = WRITING
        self._drop(key, trash)
        return found is not MISSING

    def _compare(
        self, key: Any, expected: Any, value: Any, ttl: float | None, size: int, trash: list[Any]
    ) -> bool:
        if self._find(key) is not expected:
            return False
        if value is MISSING:
            self._delete(key, trash)
            return True
        return self._store(key, value, ttl, size, trash)

    def _live_keys(self, trash: list[Any]) -> list[Any]:
        self._live_count(trash)
        return self._policy.keys()

    def _live_count(self, trash: list[Any]) -> int:
        """Drop all that has expired; return what is left."""
        if self._expiry is not None:
            expiry, now = self._expiry, self._now()
            self._state = WRITING
            while self._drop_expired(expiry, now, trash):
                pass
        return len(self._policy)

    def _reset(self, trash: list[Any]) -> None:
        trash += (self._policy.clear(), self._sizes, self._expiry)
        self._sizes = {}
        self._bytes = 0
        self._expiry = None
        self._plain = self._max_bytes is None and self._maxsize > 0


def _bound(setting: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(setting, value, "None or an integer from 0 on")
    return value

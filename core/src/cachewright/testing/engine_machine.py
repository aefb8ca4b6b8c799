"""A state machine plays random operations on an engine and on a dict, and compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from cachewright.engine import Engine
from cachewright.entry import MISSING, NEVER
from cachewright.testing.clock import ManualClock
from cachewright.testing.engine_contract import EngineContract

MACHINE_SETTINGS = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
)
"""Enough examples to meet every pair of rules; the clock of the machine decides about no result."""

KEYS = st.integers(0, 5)
TTLS = st.sampled_from([None, 1.0, 10.0, 100.0])


class EngineMachine(RuleBasedStateMachine):
    """Random operations: an unbounded engine is a dict with deadlines, a bounded one may forget.

    Args:
        contract: knows sample keys and values and what the engine declares.
        open_empty: opens the engine on a store without entries.
        clock: the clock of that engine.
        bounded: whether the engine was opened with a bound, so that it may forget entries, but never
            return anything that is not stored, nor anything it has forgotten.
    """

    def __init__(
        self,
        contract: EngineContract,
        open_empty: Callable[[], Engine],
        clock: ManualClock,
        *,
        bounded: bool,
    ) -> None:
        super().__init__()
        self.contract = contract
        self.engine = open_empty()
        self.clock = clock
        self.bounded = bounded
        self.stored: dict[int, tuple[Any, float]] = {}
        self.written = 0

    @rule(number=KEYS, ttl=TTLS)
    def set(self, number: int, ttl: float | None) -> None:
        """Store a new value."""
        key, value = self._fresh(number)
        if self.engine.set(key, value, ttl=ttl, size=self.contract.size(value)):
            self._remember(number, value, ttl)
        else:
            assert self.bounded, "an unbounded engine refused a value"
            self.stored.pop(number, None)

    @rule(number=KEYS)
    def get(self, number: int) -> None:
        """Look one key up."""
        self._check(number, self.engine.get(self.contract.key(number)))

    @rule(numbers=st.lists(KEYS, max_size=4))
    def get_many(self, numbers: list[int]) -> None:
        """Look several keys up at once."""
        found = self.engine.get_many([self.contract.key(number) for number in numbers])
        assert set(found) <= {self.contract.key(number) for number in numbers}
        for number in set(numbers):
            self._check(number, found.get(self.contract.key(number), MISSING))

    @rule(number=KEYS)
    def delete(self, number: int) -> None:
        """Delete one key."""
        existed = self.engine.delete(self.contract.key(number))
        known = self._alive(number)
        assert existed is known or (self.bounded and not existed), f"delete said {existed}"
        self.stored.pop(number, None)

    @rule(number=KEYS, ttl=TTLS, fresh=st.booleans(), remove=st.booleans())
    def compare_and_set(self, number: int, ttl: float | None, *, fresh: bool, remove: bool) -> None:
        """Swap against what is stored now, or against something that is not."""
        if not self.contract.info.capabilities.compare_and_set:
            return
        key, value = self._fresh(number)
        stored = self.engine.get(key)
        self._check(number, stored)
        expected = stored if fresh else (MISSING if stored is not MISSING else self._other())
        new = MISSING if remove else value
        swapped = self.engine.compare_and_set(key, expected, new, ttl=ttl, size=self.contract.size(value))
        assert swapped is fresh, f"compare_and_set said {swapped}"
        if swapped and remove:
            self.stored.pop(number, None)
        elif swapped:
            self._remember(number, value, ttl)

    @rule()
    def clear(self) -> None:
        """Remove everything."""
        self.engine.clear()
        self.stored.clear()

    @precondition(lambda self: self.contract.info.capabilities.ttl_per_entry)
    @rule(seconds=st.sampled_from([0.5, 5.0, 50.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass; no sum of these odd times meets a deadline exactly."""
        if not self.contract.clocked_by_server:
            self.clock.advance(seconds * 1.0137)

    @precondition(lambda self: self.contract.info.capabilities.scan)
    @rule()
    def keys_and_count(self) -> None:
        """List and count."""
        listed = list(self.engine.keys())
        numbers = {self.contract.key(number): number for number in range(6)}
        alive = {number for number in list(self.stored) if self._alive(number)}
        assert len(set(listed)) == len(listed), "keys() repeats a key"
        seen = {numbers[key] for key in listed}
        assert seen == alive or (self.bounded and seen <= alive), f"listed {seen}, stored {alive}"
        assert self.engine.count() == len(listed)
        for forgotten in alive - seen:
            del self.stored[forgotten]

    def teardown(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _fresh(self, number: int) -> tuple[Any, Any]:
        self.written += 1
        key = self.contract.key(number)
        return key, self.contract.value(self.written, key=key)

    def _other(self) -> Any:
        return object() if self.contract.info.capabilities.holds == "objects" else b"never stored"

    def _remember(self, number: int, value: Any, ttl: float | None) -> None:
        self.stored[number] = (value, NEVER if ttl is None else self.clock.monotonic() + ttl)

    def _alive(self, number: int) -> bool:
        if number not in self.stored:
            return False
        by_engine = self.contract.info.capabilities.ttl_per_entry and not self.contract.clocked_by_server
        return not by_engine or self.clock.monotonic() < self.stored[number][1]

    def _check(self, number: int, found: object) -> None:
        if not self._alive(number):
            assert found is MISSING, f"key {number} is not stored, yet {found!r:.80} was found"
        elif found is MISSING:
            assert self.bounded, f"key {number} was forgotten"
            del self.stored[number]
        else:
            value = self.stored[number][0]
            assert self.contract.matches(found, value), f"key {number} held {found!r:.80}"

"""The memory engine: bounds, ttl, and everything that keys, values, threads and forks may do to it."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cachewright.builtin.memory import MemoryEngine
from cachewright.builtin.policies import POLICIES
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING, Clock
from cachewright.errors import ClosedError, ConfigurationError

EVERY_POLICY = sorted(POLICIES)


class Time:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.clock = Clock(wall=lambda: self.now, monotonic=lambda: self.now)


def opened(**config: Any) -> MemoryEngine:
    return MemoryEngine(EngineConfig(**config))


def check(engine: MemoryEngine) -> None:
    """Assert that every total is exact and every bound is met."""
    keys = engine._policy.keys()
    assert len(set(keys)) == len(keys) == len(engine._policy)
    assert len(keys) <= engine._maxsize
    if engine._max_bytes is not None:
        assert set(engine._sizes) == set(keys)
        assert engine._bytes == sum(engine._sizes.values()) <= engine._max_bytes
    if engine._expiry is not None:
        assert set(engine._expiry.deadlines) <= set(keys)


# Bounds


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_both_bounds_hold_together(policy: str):
    """Whichever bound is met first evicts."""
    engine = opened(policy=policy, maxsize=5, max_bytes=10)
    for number in range(200):
        assert engine.set(number, number, size=number % 4 + 1) is True
        assert engine.get(number) == number
        check(engine)


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_an_entry_larger_than_the_bound_evicts_nothing_but_its_own_key(policy: str):
    """It is refused, its predecessor is gone, and the others stay."""
    engine = opened(policy=policy, max_bytes=10)
    engine.set("a", 1, size=4)
    engine.set("b", 2, size=4)
    assert engine.set("a", 3, size=11) is False
    assert engine.get("a") is MISSING
    assert engine.get("b") == 2
    check(engine)


def test_overwriting_with_a_larger_value_makes_room_first():
    """An entry may grow up to the whole bound."""
    engine = opened(policy="fifo", max_bytes=10)
    for key in "abcde":
        engine.set(key, key, size=2)
    engine.set("e", "large", size=10)
    assert list(engine.keys()) == ["e"]
    check(engine)
    engine.set("e", "small", size=1)
    engine.set("f", "f", size=9)
    assert sorted(engine.keys()) == ["e", "f"]


def test_maxsize_zero_stores_nothing():
    """Every set returns False."""
    engine = opened(maxsize=0)
    assert engine.set("a", 1) is False
    assert engine.set("a", 1, ttl=5.0) is False
    assert engine.compare_and_set("a", MISSING, 1) is False
    assert engine.count() == 0


def test_bounds_beyond_the_machine_are_no_bounds():
    """A huge maxsize and huge sizes are plain integers."""
    engine = opened(maxsize=10**30, max_bytes=10**40)
    assert engine.set("a", 1, size=10**39) is True
    assert engine.set("b", 1, size=9 * 10**39) is True
    assert engine.set("c", 1, size=1) is True
    assert engine.count() == 2
    check(engine)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("maxsize", -1),
        ("maxsize", True),
        ("maxsize", 1.5),
        ("max_bytes", -1),
        ("policy", "nonsense"),
        ("policy", ""),
        ("options", {"colour": "red"}),
    ],
)
def test_settings_that_make_no_sense_are_named(setting: str, value: object):
    """The error says which setting, on an unbounded engine as well."""
    with pytest.raises(ConfigurationError, match=setting):
        opened(**{setting: value})


def test_a_negative_size_is_refused_and_changes_nothing():
    """A size has to be 0 or more."""
    engine = opened(max_bytes=10)
    engine.set("a", 1, size=2)
    with pytest.raises(ConfigurationError, match="size"):
        engine.set("a", 2, size=-1)
    assert engine.get("a") == 1
    check(engine)


# Keys and values


@pytest.mark.parametrize("value", [None, 0, False, b"", math.nan, []])
def test_every_value_is_a_value(value: object):
    """What looks empty is stored and returned as the same object."""
    engine = opened(maxsize=3)
    engine.set("key", value)
    assert engine.get("key") is value
    assert engine.count() == 1


def test_equal_keys_are_one_entry():
    """1, 1.0 and True share an entry, and None is a key like any other."""
    engine = opened(maxsize=5)
    engine.set(1, "one")
    engine.set(1.0, "float")
    engine.set(True, "true")
    assert engine.get(1) == "true"
    assert engine.count() == 1
    engine.set(None, "none")
    assert engine.delete(None) is True
    assert engine.delete(None) is False


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_a_nan_is_found_by_identity_and_evicted_like_any_key(policy: str):
    """NaN keys do not pile up beyond the bound."""
    engine = opened(policy=policy, maxsize=3, max_bytes=100)
    nan = math.nan
    engine.set(nan, 1)
    assert engine.get(nan) == 1
    for _ in range(20):
        engine.set(float("nan"), 2)
        check(engine)


def test_an_unhashable_key_harms_nothing():
    """TypeError, and every entry is still there."""
    engine = opened(maxsize=3, max_bytes=10)
    engine.set("a", 1, ttl=5.0)
    unhashable: Any = []
    for use in (
        lambda: engine.get(unhashable),
        lambda: engine.set(unhashable, 1),
        lambda: engine.delete(unhashable),
        lambda: engine.compare_and_set(unhashable, MISSING, 1),
    ):
        with pytest.raises(TypeError):
            use()
    assert engine.get("a") == 1
    check(engine)


def test_missing_cannot_be_stored():
    """Storing MISSING removes the entry."""
    engine = opened()
    engine.set("a", 1)
    assert engine.set("a", MISSING) is False
    assert engine.count() == 0


# Time


def test_an_entry_ends_at_its_deadline():
    """It is there just before, and at the deadline get, keys, count and delete do not see it."""
    time = Time()
    engine = opened(maxsize=5, clock=time.clock)
    engine.set("a", 1, ttl=10.0)
    engine.set("b", 2)
    time.now = 109.999
    assert engine.get("a") == 1
    time.now = 110.0
    assert engine.delete("a") is False
    engine.set("a", 1, ttl=10.0)
    time.now = 120.0
    assert list(engine.keys()) == ["b"]
    assert engine.count() == 1
    assert engine.get("a") is MISSING


def test_overwriting_replaces_the_ttl():
    """A new ttl counts from now, and none means never."""
    time = Time()
    engine = opened(clock=time.clock)
    engine.set("a", 1, ttl=10.0)
    time.now += 9
    engine.set("a", 2, ttl=10.0)
    time.now += 9
    assert engine.get("a") == 2
    engine.set("a", 3)
    time.now += 1e9
    assert engine.get("a") == 3


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_what_has_expired_goes_before_what_lives(policy: str):
    """Expired entries free their room before any live one is evicted."""
    time = Time()
    engine = opened(policy=policy, maxsize=60, max_bytes=60, clock=time.clock)
    for number in range(30):
        engine.set(("live", number), number)
        engine.set(("short", number), number, ttl=5.0)
    time.now += 5
    for number in range(30):
        engine.set(("new", number), number)
        check(engine)
    assert all(engine.get(("live", number)) == number for number in range(30))
    assert all(engine.get(("new", number)) == number for number in range(30))


def test_a_large_entry_takes_all_the_room_it_needs_from_what_has_expired():
    """However many expired entries that takes, no live one is evicted."""
    time = Time()
    engine = opened(policy="fifo", max_bytes=100, clock=time.clock)
    engine.set("live", 1, size=10)
    for number in range(45):
        engine.set(number, number, size=2, ttl=5.0)
    time.now += 5
    assert engine.set("large", 2, size=90) is True
    assert engine.get("live") == 1


def test_of_several_entries_with_one_deadline_one_may_be_renewed():
    """The others end, and the renewed one lives, also when nobody reads it meanwhile."""
    time = Time()
    engine = opened(maxsize=10, clock=time.clock)
    for key in "abc":
        engine.set(key, key, ttl=5.0)
    engine.set("b", "renewed", ttl=50.0)
    time.now += 5
    assert engine.count() == 1
    assert engine.get("b") == "renewed"


@pytest.mark.parametrize("ttl", [0, -1, math.nan])
def test_a_ttl_that_is_over_removes_the_entry(ttl: float):
    """It is not stored, and its predecessor is gone."""
    engine = opened(maxsize=3)
    engine.set("a", 1)
    assert engine.set("a", 2, ttl=ttl) is False
    assert engine.get("a") is MISSING


@pytest.mark.parametrize("ttl", [math.inf, 1e18, 10**400])
def test_a_ttl_beyond_all_measure_is_for_ever(ttl: float):
    """No deadline is kept."""
    time = Time()
    engine = opened(maxsize=3, clock=time.clock)
    assert engine.set("a", 1, ttl=ttl) is True
    time.now += 1e14
    assert engine.get("a") == 1


def test_deadlines_are_bounded_by_entries():
    """Overwriting and deleting for ever does not let the bookkeeping grow, with the clock at rest or not."""
    time = Time()
    engine = opened(maxsize=10, clock=time.clock)
    for number in range(3_000):
        engine.set(number % 20, number, ttl=1_000.0)
        engine.delete(number % 7)
        time.now += number % 2
    expiry = engine._expiry
    assert expiry is not None
    assert len(expiry._heap) < 300
    assert sum(len(keys) if isinstance(keys, list) else 1 for keys in expiry._due.values()) < 300
    engine.clear()
    assert engine._expiry is None


# Compare and set


def test_compare_and_set_compares_identity():
    """An equal object is not the expected one; MISSING expects and makes absence."""
    engine = opened(maxsize=3)
    first, twin = [1], [1]
    assert engine.compare_and_set("a", MISSING, first) is True
    assert engine.compare_and_set("a", MISSING, 2) is False
    assert engine.compare_and_set("a", twin, 2) is False
    assert engine.compare_and_set("a", first, 2) is True
    assert engine.get("a") == 2
    assert engine.compare_and_set("a", engine.get("a"), MISSING) is True
    assert engine.count() == 0


def test_compare_and_set_takes_what_has_expired_for_absent():
    """At its deadline an entry is MISSING here, too."""
    time = Time()
    engine = opened(clock=time.clock)
    engine.set("a", 1, ttl=5.0)
    time.now += 5
    assert engine.compare_and_set("a", 1, 2) is False
    assert engine.compare_and_set("a", MISSING, 3, ttl=5.0) is True
    assert engine.get("a") == 3


# Code of keys and values that comes back


class Calling:
    """A key whose comparison does something first; all of them share a hash.

    A dict asks the key that is stored already, so an action has to be there before the call it hits.
    """

    def __init__(self, number: int, action: Callable[[], object] = lambda: None) -> None:
        self.number = number
        self.action = action

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        self.action()
        return isinstance(other, Calling) and self.number == other.number


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_a_key_may_use_the_engine_while_it_is_compared(policy: str):
    """What it stores and deletes is done when the outer call is over; nothing is lost or doubled."""
    engine = opened(policy=policy, maxsize=6, max_bytes=50)
    engine.set("old", 1)

    def act() -> None:
        engine.set("inner", "value", size=2)
        engine.delete("old")
        engine.get("inner")
        engine.count()
        list(engine.keys())

    engine.set(Calling(1, act), "first")
    assert engine.get("old") == 1
    engine.set(Calling(2), "second")
    assert engine.get("inner") == "value"
    assert engine.get("old") is MISSING
    assert engine.get(Calling(1)) == "first"
    check(engine)


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_a_delete_from_within_hides_the_entry_from_the_reader_at_once(policy: str):
    """A delete that returned is true for the reader even while the outer call is under way."""
    engine = opened(policy=policy, maxsize=6)
    engine.set("a", 1)
    engine.get("a")
    reader = engine.reader()
    seen: list[object] = []

    def act() -> None:
        engine.delete("a")
        try:
            seen.append(reader["a"])
        except KeyError:
            seen.append(MISSING)

    engine.set(Calling(1, act), 1)
    assert reader["a"] == 1
    engine.set(Calling(2), 2)
    assert seen
    assert set(seen) == {MISSING}


@pytest.mark.parametrize("inner", ["clear", "close"])
def test_clear_and_close_from_within_are_done_in_the_end(inner: str):
    """Afterwards the engine is empty, or closed."""
    engine = opened(maxsize=6)
    engine.set("a", 1)
    engine.set(Calling(1, getattr(engine, inner)), 1)
    engine.set(Calling(2), 2)
    if inner == "close":
        with pytest.raises(ClosedError):
            engine.get("a")
    else:
        assert engine.count() == 0
        check(engine)


def test_keys_that_call_for_ever_come_to_an_end():
    """Work that always postpones more work is dropped, and so are the contents."""
    engine = opened(maxsize=6)
    calls: list[int] = []

    def act() -> None:
        calls.append(1)
        engine.set(Calling(len(calls), act), 3)

    engine.set(Calling(-1, act), 1)
    engine.set(Calling(-2, act), 2)
    assert 100 < len(calls) < 100_000
    calls.clear()
    assert engine.count() == 0
    check(engine)
    engine.set("a", 1)
    assert engine.get("a") == 1


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_a_key_that_raises_at_any_comparison_leaves_the_totals_exact(policy: str):
    """Whichever comparison fails, the error reaches the caller and the engine goes on."""
    for fatal in range(1, 25):
        left = [10**9]

        def act(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise RuntimeError("comparison")

        engine = opened(policy=policy, maxsize=4, max_bytes=20)
        for number in range(4):
            engine.set(Calling(number, act), number, size=3, ttl=100.0)
        left[0] = fatal
        for number in range(2, 9):
            try:
                engine.get(Calling(number, act))
                engine.set(Calling(number, act), number, size=4, ttl=50.0)
            except RuntimeError as error:
                assert str(error) == "comparison"
        left[0] = 10**9
        check(engine)
        engine.set("a", 1)
        assert engine.get("a") == 1


class Dying:
    """A value whose finalizer does something."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def __del__(self) -> None:
        self.action()


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_values_are_let_go_after_the_lock(policy: str):
    """A finalizer finds the engine free: that of a value evicted, replaced, deleted, expired or cleared."""
    time = Time()
    engine = opened(policy=policy, maxsize=2, max_bytes=10, clock=time.clock)
    free: list[bool] = []

    def probe() -> None:
        free.append(engine._lock.acquire(timeout=2))
        if free[-1]:
            engine._lock.release()

    def act() -> None:
        thread = threading.Thread(target=probe)
        thread.start()
        thread.join()
        engine.set("from a finalizer", 1)

    def store(key: object, **how: Any) -> None:
        engine.set(key, Dying(act), **how)

    store("replaced")
    engine.set("replaced", 1)
    store("deleted")
    engine.delete("deleted")
    store("expired", ttl=5.0)
    time.now += 5
    engine.get("expired")
    store("evicted")
    for number in range(4):
        engine.set(number, number)
    store("large")
    engine.set("large", 1, size=100)
    store("cleared")
    engine.clear()
    gc.collect()
    assert free == [True] * 6
    check(engine)


def test_a_removed_value_is_not_kept_alive():
    """After delete, eviction and clear nothing refers to the value, not even a cycle."""
    gc.disable()
    try:
        released()
    finally:
        gc.enable()


def released() -> None:
    for policy in EVERY_POLICY:
        engine = opened(policy=policy, maxsize=2)
        deleted, evicted = Dying(int), Dying(int)
        gone = [weakref.ref(deleted), weakref.ref(evicted)]
        engine.set("deleted", deleted)
        engine.delete("deleted")
        engine.set("evicted", evicted)
        del deleted, evicted
        for number in range(20):
            engine.set(number, number)
        if policy != "rr" or "evicted" not in set(engine.keys()):
            assert [ref() for ref in gone] == [None, None]
        cleared = Dying(int)
        engine.set("cleared", cleared)
        last = weakref.ref(cleared)
        del cleared
        engine.clear()
        assert last() is None


# Threads, forks, the end


@pytest.mark.parametrize("policy", EVERY_POLICY)
def test_threads_see_only_what_was_stored_under_the_key(policy: str):  # noqa: C901 - one scenario
    """Eight threads read, write, delete and clear; readers get the right value or KeyError."""
    engine = opened(policy=policy, maxsize=40, max_bytes=150)
    reader = engine.reader()
    wrong: list[object] = []

    def work(seed: int) -> None:
        try:
            for step in range(1_500):
                key = (step * 7 + seed * 13) % 90
                engine.set(key, (key, step), size=step % 5, ttl=60.0 if step % 3 else None)
                found = engine.get((key * 3) % 90)
                if found is not MISSING and found[0] != (key * 3) % 90:
                    wrong.append(found)
                try:
                    if reader[key][0] != key:
                        wrong.append(key)
                except KeyError:
                    pass
                if step % 11 == 0:
                    engine.delete(key)
                if step % 500 == 499:
                    engine.clear()
                if engine.count() > 40:
                    wrong.append("count")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    check(engine)


FORKING = """
import os, signal, sys, threading
from cachewright.builtin import memory
from cachewright.builtin.memory import MemoryEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING

memory.FORK_PATIENCE = 0.1
inside, done = threading.Event(), threading.Event()

class Slow:
    def __hash__(self):
        return 1
    def __eq__(self, other):
        inside.set()
        done.wait(60)
        return self is other

POLICY
stuck, idle = (MemoryEngine(EngineConfig(maxsize=10, policy=POLICY)) for _ in range(2))
stuck.set("a", 1)
idle.set("a", 1)
stuck.set(Slow(), 1)
thread = threading.Thread(target=lambda: stuck.set(Slow(), 2))
thread.start()
inside.wait(60)
child = os.fork()
if child == 0:
    signal.alarm(20)
    right = stuck.get("a") is MISSING and stuck.count() == 0 and idle.get("a") == 1
    for engine in (stuck, idle):
        engine.set("b", 2)
        right = right and engine.get("b") == 2
    os._exit(0 if right else 3)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
done.set()
thread.join(60)
print("child", status, "parent", stuck.get("a"), stuck.count(), idle.get("a"))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this platform has no fork")
@pytest.mark.parametrize("policy", ["s3-fifo", "lru"])
def test_a_child_forked_in_the_middle_of_a_change_starts_empty(policy: str):
    """It does not hang; engines that were at rest keep their entries, and so does the parent."""
    code = FORKING.replace("\nPOLICY\n", f"\nPOLICY = {policy!r}\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "child 0 parent 1 3 1\n", done.stderr


def test_closing_drops_everything_and_ends_all_use():
    """The reader is empty, close may be repeated, and the rest raises ClosedError."""
    engine = opened(maxsize=3)
    engine.set("a", 1)
    engine.get("a")
    engine.close()
    engine.close()
    with pytest.raises(KeyError):
        engine.reader()["a"]
    for use in (
        lambda: engine.get("a"),
        lambda: engine.set("a", 1),
        lambda: engine.set("a", 1, ttl=1.0),
        lambda: engine.delete("a"),
        engine.clear,
        engine.count,
        engine.keys,
        lambda: engine.compare_and_set("a", MISSING, 1),
    ):
        with pytest.raises(ClosedError):
            use()


def test_keys_are_a_snapshot():
    """Writing while iterating is allowed."""
    engine = opened()
    for number in range(10):
        engine.set(number, number)
    for key in engine.keys():
        engine.delete(key)
        engine.set(-key - 1, key)
    assert engine.count() == 10


# Against a model


class MemoryMachine(RuleBasedStateMachine):
    """An engine may forget, within its bounds, but never invent, resurrect or exceed."""

    KEYS = st.integers(0, 12)

    @initialize(
        policy=st.sampled_from(EVERY_POLICY),
        maxsize=st.sampled_from([None, 0, 1, 4, 9]),
        max_bytes=st.sampled_from([None, 0, 3, 20]),
    )
    def open(self, policy: str, maxsize: int | None, max_bytes: int | None) -> None:
        self.time = Time()
        self.maxsize, self.max_bytes = maxsize, max_bytes
        self.engine = opened(policy=policy, maxsize=maxsize, max_bytes=max_bytes, clock=self.time.clock)
        self.reader = self.engine.reader()
        self.model: dict[int, tuple[object, float]] = {}

    @rule(key=KEYS, size=st.integers(0, 25), ttl=st.sampled_from([None, None, 1.0, 5.0]))
    def set(self, key: int, size: int, ttl: float | None) -> None:
        value = object()
        fits = self.maxsize != 0 and (self.max_bytes is None or size <= self.max_bytes)
        assert self.engine.set(key, value, ttl=ttl, size=size) is fits
        if fits:
            self.model[key] = value, math.inf if ttl is None else self.time.now + ttl
            assert self.engine.get(key) is value
        else:
            self.model.pop(key, None)
            assert self.engine.get(key) is MISSING

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        found = self.engine.get(key)
        value, deadline = self.model.get(key, (MISSING, math.inf))
        alive = value is not MISSING and deadline > self.time.now
        assert found is MISSING or (alive and found is value)
        if self.maxsize is None and self.max_bytes is None:
            assert (found is not MISSING) == alive

    @rule(key=KEYS)
    def read(self, key: int) -> None:
        try:
            found = self.reader[key]
        except KeyError:
            return
        assert found is self.model[key][0]

    @rule(key=KEYS)
    def delete(self, key: int) -> None:
        there = self.engine.get(key) is not MISSING
        assert self.engine.delete(key) is there
        self.model.pop(key, None)

    @rule(key=KEYS)
    def swap(self, key: int) -> None:
        found, value = self.engine.get(key), object()
        assert self.engine.compare_and_set(key, object(), value) is False
        if self.engine.compare_and_set(key, found, value, size=1):
            self.model[key] = value, math.inf
        else:
            assert self.maxsize == 0 or self.max_bytes == 0
            self.model.pop(key, None)

    @rule()
    def clear(self) -> None:
        self.engine.clear()
        self.model.clear()

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.time.now += seconds

    @rule()
    def listing(self) -> None:
        keys = list(self.engine.keys())
        assert len(keys) == self.engine.count()
        assert all(self.model[key][1] > self.time.now for key in keys)

    @invariant()
    def bounds_hold(self) -> None:
        if hasattr(self, "engine"):
            check(self.engine)


MemoryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_memory_against_a_model = MemoryMachine.TestCase

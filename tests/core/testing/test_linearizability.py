"""The checker accepts exactly the histories that some order explains, and the drivers find wrong caches."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright import MISSING, open_async_cache, open_cache
from cachewright.engine import EngineConfig
from cachewright.errors import ConfigurationError
from cachewright.testing import (
    PENDING,
    Chaos,
    ChaosEngine,
    Failure,
    HistoryPlan,
    Operation,
    async_cache_operations,
    cache_operations,
    check_history,
    try_async_histories,
    try_histories,
)
from cachewright.testing.linearizability import MODEL, NAMES
from cachewright.testing.reference import DictEngine

FEW = HistoryPlan(histories=300)
MANY = HistoryPlan(histories=20_000, actors=4)


def operation(name, arguments, result, start, end, *, key="k", actor=0):
    return Operation(name, key, arguments, result, start, end, actor)


def in_turn(*steps):
    """A history of (name, arguments, result), one after the other."""
    return [operation(*step, 2 * turn, 2 * turn + 1) for turn, step in enumerate(steps)]


def at_once(*steps):
    """A history of (name, arguments, result), all at the same time."""
    return [operation(*step, turn, 100 + turn, actor=turn) for turn, step in enumerate(steps)]


@pytest.mark.parametrize(
    "steps",
    [
        [("get", (), MISSING), ("set", (1,), True), ("get", (), 1)],
        [("set", (None,), True), ("get", (), None), ("delete", (), True), ("delete", (), False)],
        [("add", (1,), True), ("add", (2,), False), ("get", (), 1)],
        [("incr", (2,), 2), ("incr", (3,), 5), ("get", (), 5)],
        [("touch", (), False), ("set", (1,), True), ("touch", (), True)],
        [("set", (1,), True), ("invalidate", (), True), ("get", (), MISSING)],
        [("set", (1,), True), ("clear", (), None), ("get", (), MISSING)],
        [("compare_and_set", (MISSING, 1), True), ("compare_and_set", (2, 3), False), ("get", (), 1)],
        [
            ("compare_and_set", (MISSING, 1), True),
            ("compare_and_set", (1, MISSING), True),
            ("add", (2,), True),
        ],
        [("set", (1,), True), ("set", (2,), False), ("get", (), MISSING)],
    ],
)
def test_the_model_of_a_cache(steps):
    """One after the other, operations return what a cache returns; a refused set removes the older entry."""
    assert check_history(in_turn(*steps))


@pytest.mark.parametrize(
    "steps",
    [
        [("set", (1,), True), ("get", (), MISSING)],
        [("set", (1,), True), ("get", (), 2)],
        [("set", (1,), True), ("get", (), True)],
        [("set", (1,), True), ("add", (2,), True)],
        [("add", (1,), False)],
        [("incr", (2,), 2), ("incr", (2,), 2)],
        [("delete", (), True)],
        [("set", (1,), True), ("invalidate", (), True), ("get", (), 1)],
        [("touch", (), True)],
        [("set", (1,), True), ("compare_and_set", (MISSING, 2), True)],
        [("set", (1,), True), ("compare_and_set", (1, 2), False)],
    ],
)
def test_what_no_cache_returns(steps):
    """One after the other, each of these is wrong in its last step."""
    verdict = check_history(in_turn(*steps))
    assert not verdict
    assert len(verdict.counterexample) == len(steps)


def test_real_time_orders_operations():
    """A result is explained by what went on at the same time, not by what came after."""
    write, read = ("set", (1,), True), ("get", (), 1)
    assert check_history(at_once(read, write))
    assert not check_history(in_turn(read, write))


def test_two_increments_at_once():
    """At the same time they return 1 and 2 in either order, never 1 and 1."""
    assert check_history(at_once(("incr", (1,), 2), ("incr", (1,), 1)))
    assert not check_history(at_once(("incr", (1,), 1), ("incr", (1,), 1)))


def test_keys_are_independent():
    """A wrong key is found among right ones, and only its operations are shown."""
    right = [operation("incr", (1,), turn + 1, turn, turn + 0.5, key="right") for turn in range(50)]
    wrong = [operation("get", (), 7, 3, 4, key="wrong")]
    assert check_history(right)
    verdict = check_history([*right, *wrong])
    assert [each.key for each in verdict.counterexample] == ["wrong"]


def test_an_operation_without_an_answer_may_have_taken_place():
    """What raised may have been done at any time since, or never, and explains both."""
    lost = operation("set", (1,), None, 0, PENDING)
    assert check_history([lost, operation("get", (), 1, 5, 6), operation("get", (), 1, 7, 8)])
    assert check_history([lost, operation("get", (), MISSING, 5, 6), operation("get", (), 1, 7, 8)])
    assert not check_history([lost, operation("get", (), 1, 5, 6), operation("get", (), MISSING, 7, 8)])


def test_evictions_are_allowed_where_told():
    """An entry may vanish, but does not come back, and an older value is never seen."""
    vanished = in_turn(("set", (1,), True), ("get", (), MISSING))
    assert check_history(vanished, evictions=True)
    assert not check_history(vanished)
    back = in_turn(("set", (1,), True), ("get", (), MISSING), ("get", (), 1))
    assert not check_history(back, evictions=True)
    older = in_turn(("set", (1,), True), ("set", (2,), True), ("get", (), 1))
    assert not check_history(older, evictions=True)


def test_an_unknown_operation_is_an_error():
    """The model has to know an operation to judge it."""
    with pytest.raises(KeyError, match="frobnicate"):
        check_history(in_turn(("frobnicate", (), None)))


def test_a_counterexample_is_short_and_readable():
    """It ends with the first result that nothing explains; what had not returned by then has no answer."""
    steps = [("set", (1,), True), ("delete", (), True), ("get", (), 1), ("get", (), 1), ("set", (5,), True)]
    verdict = check_history([*in_turn(*steps), operation("touch", (), True, 0.5, 99, actor=1)])
    assert str(verdict) == (
        "no order explains these operations on key 'k':\n"
        "    1 -  3  actor 0: set(1) -> True\n"
        "    2 -     actor 1: touch() -> no answer\n"
        "    4 -  5  actor 0: delete() -> True\n"
        "    6 -  7  actor 0: get() -> 1\n"
        f"the longest order that explains some of them: {', '.join(map(str, verdict.explained))}"
    )
    assert {each.name for each in verdict.explained} == {"set", "touch", "delete"}
    assert str(check_history([])) == "linearizable"


def explained_by_some_permutation(history):
    """Whether an order within real time explains every result, found by trying all of them."""
    for order in itertools.permutations(history):
        if any(one.start > other.end for one, other in itertools.combinations(order, 2)):
            continue
        state = MISSING
        for each in order:
            state, result = MODEL[each.name](state, *each.arguments)
            if result != each.result or type(result) is not type(each.result):
                break
        else:
            return True
    return False


STEPS = st.one_of(
    st.tuples(st.just("get"), st.just(()), st.sampled_from([MISSING, 1, 2])),
    st.tuples(st.just("set"), st.sampled_from([(1,), (2,)]), st.just(True)),
    st.tuples(st.just("add"), st.sampled_from([(1,), (2,)]), st.booleans()),
    st.tuples(st.just("incr"), st.just((1,)), st.integers(1, 4)),
    st.tuples(st.sampled_from(["delete", "touch"]), st.just(()), st.booleans()),
    st.tuples(st.just("compare_and_set"), st.just((1, 2)), st.booleans()),
)


@given(st.lists(st.tuples(STEPS, st.integers(0, 20), st.integers(1, 20)), max_size=5))
def test_the_search_finds_what_trying_all_orders_finds(drawn):
    """On random histories the verdict is that of brute force."""
    history = [
        operation(*step, start + turn / 10, start + turn / 10 + length + 0.05)
        for turn, (step, start, length) in enumerate(drawn)
    ]
    assert bool(check_history(history)) is explained_by_some_permutation(history)


class Store:
    """A right cache: a dict behind a lock. The subclasses each have one mistake."""

    def __init__(self):
        self.entries = {}
        self.lock = threading.Lock()

    def pause(self):
        """Let the others run, so that a mistake shows in few histories."""
        time.sleep(0)

    def get(self, key):
        return self.entries.get(key, MISSING)

    def set(self, key, value):
        self.entries[key] = value
        return True

    def add(self, key, value):
        with self.lock:
            if key in self.entries:
                return False
            return self.set(key, value)

    def incr(self, key, delta):
        with self.lock:
            self.entries[key] = total = self.entries.get(key, 0) + delta
            return total

    def touch(self, key):
        return key in self.entries

    def delete(self, key):
        return self.entries.pop(key, MISSING) is not MISSING

    def compare_and_set(self, key, expected, value):
        with self.lock:
            if self.get(key) != expected:
                return False
            return self.set(key, value)

    def operations(self):
        return {name: getattr(self, name) for name in NAMES if hasattr(self, name)}


class Locked(Store):
    """Right, and every operation alone under a lock, where it lets the others come and wait."""

    def operations(self):
        lock = threading.RLock()
        self.lock = threading.RLock()

        def alone(method):
            def run(*arguments):
                with lock:
                    self.pause()
                    return method(*arguments)

            return run

        return {name: alone(method) for name, method in super().operations().items()}


class UnatomicIncr(Locked):
    def operations(self):
        def incr(key, delta):
            total = self.entries.get(key, 0) + delta
            self.pause()
            self.entries[key] = total
            return total

        return {**super().operations(), "incr": incr}


class LazyDelete(Locked):
    def operations(self):
        doomed = []

        def delete(key):
            there = key in self.entries
            doomed.append(key)
            return there

        def get(key):
            found = self.get(key)
            while doomed:
                self.entries.pop(doomed.pop(), None)
            return found

        return {**super().operations(), "delete": delete, "get": get}


class AddOverwrites(Locked):
    def operations(self):
        return {**super().operations(), "add": self.set}


class AddLooksFirst(Locked):
    def operations(self):
        def add(key, value):
            if key in self.entries:
                return False
            self.pause()
            return self.set(key, value)

        return {**super().operations(), "add": add}


class DeletesTwice(Locked):
    def operations(self):
        def delete(key):
            there = key in self.entries
            self.pause()
            self.entries.pop(key, None)
            return there

        return {**super().operations(), "delete": delete}


class RemembersReads(Locked):
    def operations(self):
        read = {}

        def get(key):
            read.setdefault((threading.get_ident(), key), self.get(key))
            return read[threading.get_ident(), key]

        return {**super().operations(), "get": get}


class TouchRestores(Locked):
    def operations(self):
        def touch(key):
            found = self.get(key)
            self.pause()
            if found is MISSING:
                return False
            return self.set(key, found)

        return {**super().operations(), "touch": touch}


class SwapLooksFirst(Locked):
    def operations(self):
        def compare_and_set(key, expected, value):
            if self.get(key) != expected:
                return False
            self.pause()
            return self.set(key, value)

        return {**super().operations(), "compare_and_set": compare_and_set}


def test_a_right_cache_passes():
    """Random histories of a dict behind a lock are linearizable, and some of them concurrent."""
    trial = try_histories(Locked().operations(), FEW)
    assert trial, trial
    assert trial.histories == 300
    assert trial.operations == 300 * 12
    assert trial.concurrent > 0


@pytest.mark.parametrize(
    "wrong",
    [
        UnatomicIncr, LazyDelete, AddOverwrites, AddLooksFirst, DeletesTwice, RemembersReads, TouchRestores,
        SwapLooksFirst,
    ],
)  # fmt: skip
def test_a_wrong_cache_is_found(wrong):
    """Each mistake is found within 20,000 histories, and the run ends with the first."""
    trial = try_histories(wrong().operations(), MANY)
    assert not trial, trial
    assert "no order explains" in str(trial)
    assert trial.histories < MANY.histories


def test_a_cache_whose_incr_reads_and_writes_is_found():
    """The mistake that users make by hand, on a real cache."""
    with open_cache("n", engine="memory") as cache:

        def incr(key, delta):
            total = cache.get(key, 0) + delta
            cache.set(key, total)
            return total

        assert not try_histories({"get": cache.get, "incr": incr, "delete": cache.delete}, MANY)


@pytest.mark.parametrize("keys", [1, 3])
def test_clear_concerns_every_key_of_a_history(keys):
    """A cache that clears all its keys passes; one that forgets to is found."""
    store = Locked()

    def clear(key):
        for each in list(store.entries):
            store.entries.pop(each, None)

    plan = HistoryPlan(histories=300, keys=keys, steps=5)
    assert try_histories({**store.operations(), "clear": clear}, plan)
    assert not try_histories({**Locked().operations(), "clear": lambda key: None}, plan)


def test_asynchronous_caches():
    """Tasks on two event loops: a right cache passes, and one whose incr awaits in the middle is found."""
    cache = open_async_cache("n", engine="memory")
    trial = try_async_histories(async_cache_operations(cache), FEW)
    assert trial, trial
    assert trial.concurrent > 0

    async def incr(key, delta):
        total = await cache.get(key, 0) + delta
        await asyncio.sleep(0)
        await cache.set(key, total)
        return total

    operations = {**async_cache_operations(cache), "incr": incr}
    assert not try_async_histories(operations, HistoryPlan(histories=5000, first_key=10_000))


def test_bounded_caches_may_forget():
    """Under a bound an entry may vanish at any time, which has to be said."""
    with open_cache("n", engine="memory", maxsize=2) as cache:
        operations = cache_operations(cache)
        assert try_histories(operations, HistoryPlan(histories=300, keys=3, evictions=True))
        assert not try_histories(operations, HistoryPlan(histories=5000, keys=3, first_key=10_000))


def test_failing_engines_are_linearizable_too():
    """An operation that raised EngineError may or may not have taken place, and both are explained."""
    chaos = Chaos(Failure(probability=0.1), Failure(probability=0.1, done=True), seed=1)
    engine = ChaosEngine(DictEngine(EngineConfig()), chaos)
    operations = {name: getattr(engine, name) for name in ("get", "set", "delete", "compare_and_set")}
    trial = try_histories(operations, FEW)
    assert trial, trial
    assert chaos.happened


def test_what_an_operation_raises_reaches_the_caller():
    """An exception that is no engine's ends the run."""

    def broken(key):
        if key == 7:
            raise ZeroDivisionError
        return MISSING

    async def async_broken(key):
        return broken(key)

    with pytest.raises(ZeroDivisionError):
        try_histories({"get": broken}, FEW)
    with pytest.raises(ZeroDivisionError):
        try_async_histories({"get": async_broken}, FEW)


def test_an_operation_that_the_model_does_not_know_is_refused():
    """A misspelt name is an error before anything runs."""
    with pytest.raises(ConfigurationError, match="remove"):
        try_histories({"remove": print})


def test_the_same_seed_does_the_same():
    """What is done depends on the seed alone."""

    def done(seed):
        store, seen = Locked(), []

        def noted(name, method):
            def run(key, *arguments):
                seen.append((name, key, arguments))
                return method(key, *arguments)

            return run

        operations = {name: noted(name, method) for name, method in store.operations().items()}
        assert try_histories(operations, HistoryPlan(histories=20, actors=1, keys=2, seed=seed))
        return seen

    assert done(1) == done(1) != done(2)

"""The breaker: when an engine is left alone, and what it is told before it is asked again."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cachewright import _breaker, open_cache
from cachewright._breaker import CLEAR, FAILURES, FIRST_REST, LONGEST_REST, Breaker
from cachewright._flight import reset_in_children
from cachewright.errors import EngineError, EngineUnavailableError

DOWN = EngineUnavailableError("e", "get", "refused")
BROKEN = EngineError("e", "get", "broken")
PATIENCE = 20.0


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def breaker(now):
    return Breaker(lambda: now[0])


class TestOpening:
    """What makes it leave the engine alone."""

    def test_it_begins_closed(self, breaker):
        """And there is nothing to find out."""
        assert (breaker.open, breaker.failures, breaker.pending, breaker.error) == (False, 0, 0, None)
        assert not breaker.begin_probe()
        assert not breaker.begin_probe(urgent=True)

    def test_an_engine_that_cannot_be_reached_is_left_alone_at_once(self, breaker):
        """Who opened it is told so, once."""
        assert breaker.failed(DOWN)
        assert breaker.open
        assert breaker.error is DOWN
        assert not breaker.failed(DOWN)

    def test_one_that_answers_with_errors_is_given_some_attempts(self, breaker):
        """In a row: an answer in between starts the count again."""
        for _ in range(3):
            assert not any(breaker.failed(BROKEN) for _ in range(FAILURES - 1))
            assert breaker.failures == FAILURES - 1
            breaker.answered()
            assert breaker.failures == 0
        assert [breaker.failed(BROKEN) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
        assert breaker.open

    def test_a_late_answer_does_not_close_it(self, breaker):
        """Only a probe does, which pays what is owed first."""
        breaker.failed(DOWN)
        breaker.answered()
        assert breaker.open
        assert breaker.failures == 1

    def test_an_invalidation_that_failed_opens_it(self, breaker):
        """Nothing may be read until it is made, though a single error would not have mattered."""
        breaker.failed(BROKEN)
        assert not breaker.open
        breaker.owe(("key", "k"))
        assert breaker.open


class TestProbing:
    """How it finds out that the engine is back."""

    def test_one_at_a_time_after_a_rest(self, breaker, now):
        """The rest is over at its end."""
        breaker.failed(DOWN)
        now[0] += FIRST_REST - 1e-6
        assert not breaker.begin_probe()
        now[0] = 1000.0 + FIRST_REST
        assert breaker.begin_probe()
        assert not breaker.begin_probe()
        assert not breaker.begin_probe(urgent=True)

    def test_who_cannot_do_without_an_answer_does_not_wait_for_the_rest(self, breaker):
        """But for a probe under way."""
        breaker.failed(DOWN)
        assert breaker.begin_probe(urgent=True)
        assert not breaker.begin_probe(urgent=True)

    def test_the_rest_doubles_up_to_the_longest(self, breaker, now):
        """And is the first again once the engine was back."""
        breaker.failed(DOWN)
        rests = []
        for _ in range(6):
            begun = now[0]
            while not breaker.begin_probe():
                now[0] += 0.001
            rests.append(round(now[0] - begun, 2))
            breaker.still_down()
        expected = [min(FIRST_REST * 2**number, LONGEST_REST) for number in range(5)]
        # the first rest was given by opening, and the same by the first probe that failed
        assert rests == [FIRST_REST, *expected]
        assert breaker.begin_probe(urgent=True)
        assert breaker.paid([])
        breaker.failed(DOWN)
        now[0] += FIRST_REST
        assert breaker.begin_probe()

    def test_a_probe_that_fails_leaves_everything_owed(self, breaker, now):
        """And the next may begin after a rest."""
        breaker.owe(("key", 1))
        assert breaker.begin_probe(urgent=True)
        assert breaker.debts() == [("key", 1)]
        breaker.still_down()
        assert breaker.open
        assert breaker.debts() == [("key", 1)]
        now[0] += LONGEST_REST
        assert breaker.begin_probe()

    def test_a_probe_that_succeeds_closes_it(self, breaker):
        """With nothing owed and no failure counted."""
        breaker.failed(DOWN)
        breaker.owe(("key", 1))
        assert breaker.begin_probe(urgent=True)
        assert breaker.paid(breaker.debts())
        assert (breaker.open, breaker.failures, breaker.pending) == (False, 0, 0)
        assert not breaker.begin_probe(urgent=True)

    def test_threads_that_race_for_the_probe_get_one(self, breaker):
        """However many they are."""
        breaker.failed(DOWN)
        start = threading.Barrier(16)

        def race(_):
            start.wait(PATIENCE)
            return breaker.begin_probe(urgent=True)

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(race, range(16))) == 1


class TestDebts:
    """What the engine has to be told."""

    def test_each_key_and_tag_once_in_the_order_of_the_first(self, breaker):
        """A key and a tag of the same name are two."""
        for debt in (("key", "a"), ("tag", "a"), ("key", "b"), ("key", "a")):
            breaker.owe(debt)
        assert breaker.debts() == [("key", "a"), ("tag", "a"), ("key", "b")]
        assert breaker.pending == 3

    def test_everything_swallows_the_rest(self, breaker):
        """What was owed before and what is owed after."""
        breaker.owe(("key", "a"))
        breaker.owe(CLEAR)
        breaker.owe(("tag", "t"))
        breaker.owe(CLEAR)
        assert breaker.debts() == [CLEAR]

    def test_too_many_become_everything(self, breaker, monkeypatch):
        """The queue is bounded, and nothing in it is forgotten."""
        monkeypatch.setattr(_breaker, "MOST_PENDING", 5)
        for number in range(5):
            breaker.owe(("key", number))
        assert breaker.pending == 5
        breaker.owe(("key", 5))
        assert breaker.debts() == [CLEAR]

    def test_what_comes_up_during_a_probe_is_paid_before_it_ends(self, breaker):
        """The breaker stays open, and the same probe goes on."""
        breaker.owe(("key", 1))
        assert breaker.begin_probe(urgent=True)
        debts = breaker.debts()
        breaker.owe(("key", 2))
        assert not breaker.paid(debts)
        assert breaker.open
        assert not breaker.begin_probe(urgent=True)
        assert breaker.debts() == [("key", 2)]
        assert breaker.paid(breaker.debts())

    @pytest.mark.parametrize("again", [("key", 1), CLEAR])
    def test_what_is_owed_again_while_it_is_paid_is_paid_again(self, breaker, again):
        """Others may have written to the engine after it was told and before the second invalidation."""
        breaker.owe(("key", 1))
        assert breaker.begin_probe(urgent=True)
        debts = breaker.debts()
        breaker.owe(again)
        assert not breaker.paid(debts)
        assert breaker.debts() == [again]
        assert breaker.paid(breaker.debts())

    @pytest.mark.parametrize("again", [("key", 1), ("tag", "t"), CLEAR])
    def test_what_is_owed_while_everything_is_cleared_is_not_lost(self, breaker, again):
        """It came after the engine was cleared: it is cleared once more."""
        breaker.owe(CLEAR)
        assert breaker.begin_probe(urgent=True)
        debts = breaker.debts()
        breaker.owe(again)
        assert not breaker.paid(debts)
        assert breaker.debts() == [CLEAR]
        assert breaker.paid(breaker.debts())

    def test_no_invalidation_is_lost_under_fire(self, breaker):
        """Eight threads owe while one pays: after each of theirs there is a payment, or it is still owed."""
        count, done = 2_000, threading.Event()
        owed = [0] * 8  # per thread, the number of its latest debt; each has one key
        told = [0] * 8  # per key, the number that the engine knew of when it was told

        def owe(thread):
            for number in range(1, count + 1):
                owed[thread] = number
                breaker.owe(("key", thread))

        def pay():
            while True:
                ending = done.is_set()
                if breaker.begin_probe(urgent=True):
                    while True:
                        debts = breaker.debts()
                        for _, thread in debts:
                            told[thread] = owed[thread]
                        if breaker.paid(debts):
                            break
                elif ending:
                    return

        payer = threading.Thread(target=pay, daemon=True)
        payer.start()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(owe, range(8)))
        done.set()
        payer.join(PATIENCE)
        assert not payer.is_alive()
        assert told == [count] * 8
        assert not breaker.open


class Owing(RuleBasedStateMachine):
    """Against a model: what was owed since the engine was last told of it is owed."""

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(lambda: 0.0)
        self.owed = set()
        self.paying = None

    @rule(debt=st.sampled_from([("key", 1), ("key", 2), ("tag", 1), CLEAR]))
    def owe(self, debt):
        self.breaker.owe(debt)
        self.owed.add(debt)

    @precondition(lambda self: self.paying is None)
    @rule()
    def tell(self):
        if self.breaker.begin_probe(urgent=True):
            self.paying = self.breaker.debts()
            self.told, self.owed = self.owed, set()

    @precondition(lambda self: self.paying is not None)
    @rule()
    def succeed(self):
        if self.breaker.paid(self.paying):
            assert not self.owed
            self.paying = None
        else:
            self.paying = self.breaker.debts()
            self.told, self.owed = self.owed, set()

    @precondition(lambda self: self.paying is not None)
    @rule()
    def fail(self):
        self.breaker.still_down()
        self.owed |= self.told
        self.paying = None

    @invariant()
    def everything_owed_is_queued(self):
        queued = set(self.breaker.debts()) if self.paying is None else set()
        if self.paying is None:
            assert CLEAR in queued or self.owed <= queued
            assert self.breaker.open or not self.owed


TestOwing = Owing.TestCase


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_finds_out_for_itself(breaker):
    """Forked while another thread probes, with the lock held: the child probes, and owes what is owed."""
    reset_in_children(breaker)
    breaker.owe(("key", 1))
    assert breaker.begin_probe(urgent=True)
    held, free = threading.Event(), threading.Event()

    def hold():
        with breaker._lock:
            held.set()
            free.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(PATIENCE)
    pid = os.fork()
    if pid == 0:
        probes = breaker.begin_probe(urgent=True)
        os._exit(0 if probes and breaker.debts() == [("key", 1)] and breaker.paid([("key", 1)]) else 1)
    free.set()
    thread.join(PATIENCE)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not breaker.begin_probe(urgent=True)


def test_what_is_reset_in_children_is_not_kept_alive():
    """A hook of the process refers to it weakly."""
    breaker = Breaker(lambda: 0.0)
    reset_in_children(breaker)
    reference = weakref.ref(breaker)
    del breaker
    gc.collect()
    assert reference() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_can_use_the_cache_whatever_its_parent_held():
    """Forked while other threads have the breaker, the index of tags and the table of flights."""
    with open_cache("fork", engine="memory") as cache:
        cache.set("k", 1, tags=["t"])
        held, free = threading.Semaphore(0), threading.Event()

        def hold(lock):
            with lock:
                held.release()
                free.wait(PATIENCE)

        locks = (cache.lifecycle.breaker._lock, cache._operations.tags._lock, cache._flights._lock)
        threads = [threading.Thread(target=hold, args=(lock,)) for lock in locks]
        for thread in threads:
            thread.start()
            assert held.acquire(timeout=PATIENCE)
        pid = os.fork()
        if pid == 0:
            cache.set("child", 2, tags=["t"])
            cache.lifecycle.breaker.failed(DOWN)
            probes = cache.lifecycle.breaker.begin_probe(urgent=True)
            os._exit(0 if probes and cache.invalidate_tags("t") is not None else 1)
        free.set()
        for thread in threads:
            thread.join(PATIENCE)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert cache.get("k") == 1

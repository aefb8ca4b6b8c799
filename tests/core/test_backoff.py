"""Back-offs: pauses after failed computations."""

from __future__ import annotations

import threading

import pytest

from cachewright import _backoff
from cachewright._backoff import Backoffs
from cachewright.freshness import LONGEST_BACKOFF


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def backoffs(now):
    return Backoffs(lambda: now[0])


def test_a_key_that_never_failed_does_not_rest(backoffs):
    """Nor does one that succeeds."""
    assert not backoffs.resting("k")
    backoffs.succeeded("k")
    assert not backoffs.resting("k")


def test_it_rests_up_to_the_end_of_the_pause(backoffs, now):
    """That key, and no other."""
    backoffs.failed("k", 2.0)
    assert backoffs.resting("k")
    assert not backoffs.resting("other")
    now[0] = 1001.999
    assert backoffs.resting("k")
    now[0] = 1002.0
    assert not backoffs.resting("k")


def test_the_pause_doubles_with_every_failure_in_a_row(backoffs, now):
    """Up to the longest, and is the first again after a success."""
    pauses = []
    for _ in range(9):
        backoffs.failed("k", 0.5)
        begun = now[0]
        while backoffs.resting("k"):
            now[0] += 0.5
        pauses.append(now[0] - begun)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0]
    assert max(pauses) == 0.5 * LONGEST_BACKOFF
    backoffs.succeeded("k")
    backoffs.failed("k", 0.5)
    now[0] += 0.5
    assert not backoffs.resting("k")


def test_no_pause_is_no_rest(backoffs):
    """However often it failed."""
    for _ in range(5):
        backoffs.failed("k", 0.0)
    assert not backoffs.resting("k")


def test_an_endless_pause_ends_with_a_success_alone(backoffs, now):
    """Infinity is a duration."""
    backoffs.failed("k", float("inf"))
    backoffs.failed("k", float("inf"))
    now[0] = 1e300
    assert backoffs.resting("k")
    backoffs.succeeded("k")
    assert not backoffs.resting("k")


def test_of_too_many_the_oldest_are_forgotten(backoffs, monkeypatch):
    """A failure renews the age of its key."""
    monkeypatch.setattr(_backoff, "REMEMBERED", 3)
    for key in ("a", "b", "c", "a", "d"):
        backoffs.failed(key, 1.0)
    assert [key for key in "abcd" if backoffs.resting(key)] == ["a", "c", "d"]


def test_threads_that_fail_at_once_raise_nothing(backoffs, monkeypatch):
    """A race costs an attempt at the most, also while the oldest are forgotten."""
    monkeypatch.setattr(_backoff, "REMEMBERED", 2)
    errors = []
    start = threading.Barrier(6)

    def fail(thread):
        start.wait(20)
        try:
            for number in range(3_000):
                backoffs.failed((thread, number % 5), 1.0)
                backoffs.resting((thread, number % 5))
                backoffs.succeeded((thread, number % 3))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fail, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(backoffs._until) <= 2 + 6

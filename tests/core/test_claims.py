"""Claims: what stands for a value that somebody computes, and who keeps it alive."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from itertools import pairwise

import pytest

from cachewright import _claims
from cachewright._claims import TOKEN_SIZE, Claim, Keeper, claim_payload, new_token, parse_payload
from cachewright._owner import may_be_alive, owner_mark, realm

PATIENCE = 20.0


def wait_until(condition):
    """Poll with a deadline, for states that no event announces."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def keeper(monkeypatch):
    """A keeper of the test's own, in the place of that of the process."""
    made = Keeper()
    monkeypatch.setattr(_claims, "keeper", made)
    yield made
    for token in list(made._held):
        made.release(token)


class Renewals:
    """Counts how often a claim was renewed."""

    def __init__(self):
        self.times = []
        self._more = threading.Semaphore(0)

    def __call__(self):
        self.times.append(time.monotonic())
        self._more.release()

    def wait_for(self, count):
        for _ in range(count):
            assert self._more.acquire(timeout=PATIENCE)


def hold(keeper, token, renew, lease, tell=lambda waits: None):
    keeper.hold(token, renew, tell, lease)


def lease_threads():
    return sum(thread.name == "cachewright-leases" for thread in threading.enumerate())


def dead_process():
    """Return the number of a process that has just ended."""
    ran = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, timeout=60, check=True
    )
    return int(ran.stdout)


class TestAbandoned:
    """Whether it is certain that no value will come."""

    def test_one_of_this_process_is_while_nobody_holds_it(self, keeper):
        """Announced before it is written, held after."""
        claim = Claim(new_token(), owner_mark(), {})
        assert claim.abandoned
        keeper.announce(claim.token)
        assert not claim.abandoned
        hold(keeper, claim.token, lambda: None, 60)
        assert not claim.abandoned
        keeper.release(claim.token)
        assert claim.abandoned

    def test_one_of_a_process_that_has_ended_is(self):
        """On this host."""
        assert Claim(b"t", f"{realm()}-{dead_process():x}", {}).abandoned

    def test_one_of_a_process_that_runs_is_not(self):
        """Whatever it does."""
        assert not Claim(b"t", f"{realm()}-{os.getppid():x}", {}).abandoned

    def test_another_host_cannot_be_looked_into(self):
        """Its claim ends with its lease."""
        assert not Claim(b"t", "00000000-1", {}).abandoned

    @pytest.mark.parametrize("number", ["", "zz", "1\0", "-", "1.5", "0x", " ", "\ufffd", "1_", "é"])
    def test_an_owner_that_is_none_counts_as_alive(self, number):
        """A store may hold anything; what it says raises nothing."""
        assert not Claim(b"t", f"{realm()}-{number}", {}).abandoned
        assert not Claim(b"t", number, {}).abandoned
        assert may_be_alive(f"{realm()}-{number}")

    @pytest.mark.parametrize("number", ["f" * 40, "f" * 10_000, "7fffffff"])
    def test_a_number_that_no_process_has_is_that_of_a_dead_one(self, number):
        """However large."""
        assert Claim(b"t", f"{realm()}-{number}", {}).abandoned


class TestPayload:
    """What is written into a claim."""

    def test_it_says_who_claims(self):
        """With a token that tells claims apart."""
        token = new_token()
        assert len(token) == TOKEN_SIZE
        read = parse_payload(memoryview(claim_payload(token)), {"t": "a"})
        assert read == Claim(token, owner_mark(), {"t": "a"})
        assert len({new_token() for _ in range(1000)}) == 1000

    @pytest.mark.parametrize("payload", [b"", b"short", bytes(TOKEN_SIZE), b"\xff" * 200])
    def test_anything_can_be_read(self, payload):
        """And counts as claimed by somebody who lives."""
        claim = parse_payload(payload, {})
        assert claim.token == payload[:TOKEN_SIZE]
        assert not claim.abandoned


class TestKeeping:
    """Claims are renewed for as long as they are held."""

    def test_three_times_a_lease(self, keeper):
        """Never before its time, and again and again."""
        renewals, lease = Renewals(), 0.15
        begun = time.monotonic()
        hold(keeper, b"t", renewals, lease)
        renewals.wait_for(4)
        moments = [begun, *renewals.times]
        assert all(later - earlier >= lease / 3 for earlier, later in pairwise(moments))

    def test_not_after_they_were_released(self, keeper):
        """Though others are."""
        released, held = Renewals(), Renewals()
        hold(keeper, b"released", released, 0.03)
        hold(keeper, b"held", held, 0.03)
        released.wait_for(1)
        keeper.release(b"released")
        keeper.release(b"never held")
        assert b"released" not in keeper
        held.wait_for(3)  # one may have been under way
        count = len(released.times)
        held.wait_for(5)
        assert len(released.times) == count

    def test_a_short_lease_does_not_wait_for_a_long_one(self, keeper):
        """Caches of one process may differ."""
        hold(keeper, b"long", Renewals(), 3600)
        wait_until(lambda: keeper._wakes > time.monotonic() + 100)
        short = Renewals()
        hold(keeper, b"short", short, 0.03)
        short.wait_for(3)

    def test_one_thread_for_all_and_it_stays(self, keeper):
        """Whether or not there is something to renew."""
        before = lease_threads()
        for round_ in range(3):
            every = [Renewals() for _ in range(20)]
            for number, renewals in enumerate(every):
                hold(keeper, b"%d-%d" % (round_, number), renewals, 0.03)
            for renewals in every:
                renewals.wait_for(1)
            for number in range(20):
                keeper.release(b"%d-%d" % (round_, number))
        assert lease_threads() == before + 1
        assert not keeper._held

    def test_a_renewal_that_releases_is_the_last(self, keeper):
        """As when the claim was found to be gone: it is not held again by its own renewal."""
        done = threading.Semaphore(0)

        def renew():
            keeper.release(b"t")
            done.release()

        hold(keeper, b"t", renew, 0.03)
        assert done.acquire(timeout=PATIENCE)
        other = Renewals()
        hold(keeper, b"other", other, 0.03)
        other.wait_for(3)
        assert b"t" not in keeper
        assert not done.acquire(blocking=False)

    def test_what_was_released_is_let_go(self, keeper):
        """A renewal refers to a cache."""

        class Renew:
            def __init__(self):
                self.done = threading.Event()

            def __call__(self):
                self.done.set()

        renew = Renew()
        done, reference = renew.done, weakref.ref(renew)
        hold(keeper, b"t", renew, 0.03)
        assert done.wait(PATIENCE)
        keeper.release(b"t")
        del renew
        wait_until(lambda: gc.collect() >= 0 and reference() is None)

    def test_a_system_without_another_thread_leaves_a_claim_unrenewed(self, keeper, monkeypatch):
        """It is held until its lease is over; the next one finds a thread."""

        def refuse(self):
            raise RuntimeError("can't start new thread")

        first, second = Renewals(), Renewals()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            hold(keeper, b"first", first, 0.03)
        assert b"first" in keeper
        hold(keeper, b"second", second, 0.03)
        first.wait_for(1)
        second.wait_for(1)

    def test_what_a_claim_waits_for_is_told_while_it_is_held(self, keeper):
        """By whoever holds it; of a claim that nobody holds there is nothing to tell."""
        told = []
        keeper.announce(b"t")
        keeper.tell(b"t", b"early")
        hold(keeper, b"t", lambda: None, 60, told.append)
        keeper.tell(b"t", b"other")
        keeper.release(b"t")
        keeper.tell(b"t", b"late")
        assert told == [b"other"]

    def test_no_thread_before_the_first(self):
        """Least of all by importing."""
        code = "import threading, cachewright._claims; print(threading.active_count())"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
        assert ran.stdout.strip() == b"1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestFork:
    """A child computes nothing of what its parent does."""

    def test_a_child_holds_nothing_and_keeps_its_own(self, keeper):
        """Forked with the lock held and the thread at work; the parent goes on."""
        renewals = Renewals()
        hold(keeper, b"parent's", renewals, 0.03)
        keeper.announce(b"announced")
        renewals.wait_for(1)
        with keeper._changed:
            pid = os.fork()
            if pid == 0:
                own = Renewals()
                empty = b"parent's" not in keeper and b"announced" not in keeper
                hold(keeper, b"own", own, 0.03)
                own.wait_for(2)
                os._exit(0 if empty and b"own" in keeper else 1)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        renewals.wait_for(2)

    def test_a_child_waits_for_nothing_that_its_parent_computes(self, keeper):
        """The parent may be waiting for the child. What it claims later is another matter."""
        mark = owner_mark()
        keeper.announce(b"announced")
        hold(keeper, b"held", lambda: None, 60)
        pid = os.fork()
        if pid == 0:
            inherited = [Claim(token, mark, {}).abandoned for token in (b"announced", b"held", b"later")]
            os._exit(0 if inherited == [True, True, False] and owner_mark() != mark else 1)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert not Claim(b"held", mark, {}).abandoned

"""The background: a bounded pool for work that nobody waits for."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

from cachewright import _background
from cachewright._background import QUEUED, WORKERS, Background, background

PATIENCE = 20.0


def wait_until(condition):
    """Poll with a deadline, for states that no event announces."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Blockers:
    """Work that does not end before it is told to."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.done = threading.Semaphore(0)
        self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self):
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        assert self.go_on.wait(PATIENCE)
        with self._lock:
            self.running -= 1
        self.done.release()

    def wait_for(self, semaphore, count):
        for _ in range(count):
            assert semaphore.acquire(timeout=PATIENCE)


@pytest.fixture
def pool(monkeypatch):
    """A pool whose threads leave soon after a test."""
    monkeypatch.setattr(_background, "IDLE_SECONDS", 0.2)
    return Background()


@pytest.fixture
def blocker():
    made = Blockers()
    yield made
    made.go_on.set()


class TestBounds:
    """So many threads, so much work."""

    def test_no_more_threads_than_allowed(self, pool, blocker):
        """The rest waits for one of them, and all of it runs."""
        assert all(pool.submit(blocker) for _ in range(WORKERS * 3))
        blocker.wait_for(blocker.begun, WORKERS)
        assert not blocker.begun.acquire(blocking=False)
        blocker.go_on.set()
        blocker.wait_for(blocker.done, WORKERS * 3)
        assert blocker.most == WORKERS

    def test_more_than_the_queue_holds_is_turned_down(self, pool, blocker):
        """And never run."""
        for _ in range(WORKERS):
            assert pool.submit(blocker)
        blocker.wait_for(blocker.begun, WORKERS)
        ran = []
        assert all(pool.submit(lambda: ran.append(1)) for _ in range(QUEUED))
        assert not pool.submit(lambda: ran.append(2))
        blocker.go_on.set()
        wait_until(lambda: len(ran) == QUEUED)
        assert set(ran) == {1}

    def test_what_may_not_wait_is_turned_down_rather_than_queued(self, pool, blocker):
        """A computation could wait for it, and hold the thread that it needs."""
        for _ in range(WORKERS):
            assert pool.submit(blocker, now=True)
        blocker.wait_for(blocker.begun, WORKERS)
        assert not pool.submit(blocker, now=True)
        assert pool.submit(blocker)
        blocker.go_on.set()
        blocker.wait_for(blocker.done, WORKERS + 1)
        wait_until(lambda: pool._idle == WORKERS)
        again = threading.Event()
        assert pool.submit(again.set, now=True)
        assert again.wait(PATIENCE)

    def test_work_promised_now_starts_though_everything_else_blocks(self, pool):
        """A chain in which each waits for the next, as long as there are threads."""
        reached = threading.Event()

        def link(left):
            if not left:
                reached.set()
                return
            begun = threading.Event()
            assert pool.submit(lambda: (begun.set(), link(left - 1)), now=True)
            assert begun.wait(PATIENCE)
            assert reached.wait(PATIENCE)

        assert pool.submit(lambda: link(WORKERS - 1), now=True)
        assert reached.wait(PATIENCE)

    def test_an_idle_thread_is_used_before_another_starts(self, pool):
        """One caller after the other needs one."""
        for _ in range(20):
            done = threading.Event()
            assert pool.submit(done.set)
            assert done.wait(PATIENCE)
            wait_until(lambda: pool._idle == pool._workers)
        assert pool._workers == 1


class TestThreads:
    """They come with the first work and go without any."""

    def test_none_starts_before_there_is_work(self):
        """Least of all by importing."""
        code = (
            "import threading, cachewright._background as b\nb.background()\nprint(threading.active_count())"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
        assert ran.stdout.strip() == b"1"

    def test_they_keep_no_process_from_ending(self):
        """Not even at work."""
        code = (
            "import threading, cachewright._background as b\n"
            "begun = threading.Event()\n"
            "b.background().submit(lambda: (begun.set(), threading.Event().wait()))\n"
            "assert begun.wait(20)"
        )
        subprocess.run([sys.executable, "-c", code], timeout=60, check=True)

    def test_idle_threads_leave_and_others_come(self, pool):
        """Both count."""
        for _ in range(2):
            done = threading.Event()
            assert pool.submit(done.set)
            assert done.wait(PATIENCE)
            wait_until(lambda: pool._workers == 0)
            assert pool._idle == 0

    def test_work_that_raises_costs_no_thread(self, pool, caplog):
        """It is logged, whatever it raised, and the next piece runs."""
        for error in (ValueError("x"), SystemExit(), KeyboardInterrupt()):

            def work(error=error):
                raise error

            assert pool.submit(work)
        done = threading.Event()
        assert pool.submit(done.set)
        assert done.wait(PATIENCE)
        wait_until(lambda: pool._idle == pool._workers)
        assert len([record for record in caplog.records if record.exc_info]) == 3

    def test_a_system_without_another_thread_turns_work_down(self, pool, monkeypatch):
        """The caller is told, nothing is left in the queue, and later it works again."""

        def refuse(self):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            assert not pool.submit(lambda: None)
            assert not pool.submit(lambda: None, now=True)
        assert (pool._workers, len(pool._queue)) == (0, 0)
        done = threading.Event()
        assert pool.submit(done.set)
        assert done.wait(PATIENCE)

    def test_what_has_run_is_let_go(self, pool, monkeypatch):
        """An idle thread keeps no cache alive, also one whose work raised."""
        monkeypatch.setattr(_background.log, "disabled", True)  # pytest keeps what was logged
        monkeypatch.setattr(_background, "IDLE_SECONDS", PATIENCE * 3)  # the thread stays

        class Work:
            def __init__(self, fails):
                self.done, self.fails = threading.Event(), fails

            def __call__(self):
                self.done.set()
                if self.fails:
                    raise ValueError

        for fails in (False, True):
            work = Work(fails)
            done, gone = work.done, threading.Event()
            weakref.finalize(work, gone.set)
            assert pool.submit(work)
            assert done.wait(PATIENCE)
            del work
            wait_until(lambda gone=gone: gc.collect() >= 0 and gone.is_set())


def test_there_is_one_in_a_process():
    """Whoever asks."""
    assert background() is background()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_has_one_of_its_own(blocker):
    """Forked while the lock of the parent's is held and its threads are at work."""
    pool = background()
    assert pool.submit(blocker)
    blocker.wait_for(blocker.begun, 1)
    with pool._changed:
        pid = os.fork()
        if pid == 0:
            done = threading.Event()
            own = background()
            works = own is not pool and own.submit(done.set) and done.wait(PATIENCE)
            os._exit(0 if works else 1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert background() is pool

"""Claims in a store that processes share: invisible, exact, and gone when nobody stands behind them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachewright import cached, open_async_cache, open_cache
from cachewright._claims import keeper
from cachewright._flight import FlightTable
from cachewright.config import Settings
from cachewright.entry import MISSING

PATIENCE = 30.0


@pytest.fixture
def settings(tmp_path):
    """Settings of a store of the test's own."""
    return Settings(dir=tmp_path / "store", data_dir=tmp_path / "keys", timeout=30)


@pytest.fixture
def pair(settings):
    """Two caches on one store, as two processes have them."""
    with (
        open_cache("k", engine="sqlite", settings=settings) as one,
        open_cache("k", engine="sqlite", settings=settings) as two,
    ):
        yield one, two


class Slow:
    """A function that says when it is called, and waits to be told to return."""

    def __init__(self, value="value"):
        self.value = value
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.calls = 0

    def __call__(self):
        self.calls += 1
        value = self.value
        self.began.set()
        assert self.go_on.wait(PATIENCE)
        return value


@pytest.fixture
def slow():
    """Return a slow function that is let go at the end, whatever happens."""
    made = Slow()
    yield made
    made.go_on.set()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(32) as made:
        yield made


def start(pool, slow, ask, *args, **options):
    """Call in a thread, and wait until the function is called."""
    future = pool.submit(ask, *args, **options)
    assert slow.began.wait(PATIENCE)
    return future


def test_a_claim_is_no_entry(pair, slow, pool):
    """Nothing that reads, lists or counts entries shows what is only being computed."""
    one, two = pair
    future = start(pool, slow, one.get_or_set, "k", slow)
    try:
        for cache in pair:
            assert cache.get("k", MISSING) is MISSING
            assert "k" not in cache
            assert cache.get_many(["k"]) == {}
            assert (list(cache), list(cache.entries())) == ([], [])
            with pytest.raises(KeyError):
                cache.ttl("k")
            assert cache.touch("k", 60) is False
            assert cache.explain("k").entry is None
            report = cache.verify(repair=True)
            assert (report.checked, report.unreadable, report.removed) == (0, 0, 0)
            assert cache.stats().unreadable == 0
    finally:
        slow.go_on.set()
    assert future.result(PATIENCE) == "value"
    assert two.get("k") == "value"


def test_deleting_a_claim_removes_no_entry(pair, slow, pool):
    """It returns False; what was being computed is not stored."""
    one, two = pair
    future = start(pool, slow, one.get_or_set, "k", slow)
    assert two.delete("k") is False
    slow.go_on.set()
    assert future.result(PATIENCE) == "value"
    assert two.get("k") is None


@pytest.mark.parametrize(
    ("write", "stored"),
    [
        (lambda cache: cache.add("k", "other"), "other"),
        (lambda cache: cache.incr("k", 3), 3),
        (lambda cache: cache.set("k", "other"), "other"),
        (lambda cache: cache.set_many({"k": "other", "l": 1}), "other"),
    ],
    ids=["add", "incr", "set", "set_many"],
)
def test_what_is_written_wins_over_a_claim(pair, slow, pool, write, stored):
    """As if there were nothing; the computation that held the claim is not stored."""
    one, two = pair
    future = start(pool, slow, one.get_or_set, "k", slow)
    assert write(two)
    assert one.get("k") == stored
    slow.go_on.set()
    assert future.result(PATIENCE) == "value"
    assert [cache.get("k") for cache in pair] == [stored, stored]


@pytest.mark.parametrize("harm", ["truncated", "emptied", "flipped", "of another key", "garbage"])
def test_a_harmed_claim_is_a_miss(pair, slow, pool, harm):
    """Whoever comes next computes at once, without an exception; the first result is not stored."""
    one, two = pair
    future = start(pool, slow, one.get_or_set, "k", slow)
    key = one.lifecycle.value_key("k")
    blob = bytes(one._engine.get(key))
    if harm == "of another key":
        key = one.lifecycle.value_key("other")
    harmed = {
        "truncated": blob[:70],
        "emptied": b"",
        "flipped": blob[:90] + bytes([blob[90] ^ 1]) + blob[91:],
        "of another key": blob,
        "garbage": os.urandom(200),
    }[harm]
    assert one._engine.set(key, [harmed], size=len(harmed))
    name = "other" if harm == "of another key" else "k"
    assert two.get(name) is None
    assert two.stats().unreadable == 1
    assert list(two.entries()) == []
    assert two.get_or_set(name, lambda: "fresh") == "fresh"
    slow.go_on.set()
    assert future.result(PATIENCE) == "value"
    assert one.get(name) == "fresh"
    assert one.get("k") == ("value" if name == "other" else "fresh")


def test_two_caches_share_one_computation(pair, slow, pool):
    """Sixteen threads of each: one call."""
    one, _ = pair
    first = start(pool, slow, one.get_or_set, "k", slow)
    rest = [pool.submit(cache.get_or_set, "k", slow) for cache in pair for _ in range(15)]
    slow.go_on.set()
    assert [future.result(PATIENCE) for future in (first, *rest)] == ["value"] * 31
    assert slow.calls == 1


def test_a_function_that_asks_for_itself_through_another_cache(pair):
    """It computes directly instead of waiting for itself."""
    one, two = pair
    assert one.get_or_set("k", lambda: ("outer", two.get_or_set("k", lambda: "inner"))) == ("outer", "inner")


def test_a_circle_through_threads_and_caches(settings, pool):
    """A thread waits for another of its process, which waits for a process, which waits for the first."""
    with (
        open_cache("k", engine="sqlite", settings=settings) as one,
        open_cache("k", engine="sqlite", settings=settings) as two,
        open_cache("other", engine="sqlite", settings=settings) as other,
        open_cache("other", engine="sqlite", settings=settings) as stranger,
    ):
        at_start = threading.Barrier(3)

        def waits(cache, key, then, wanted):
            def compute():
                at_start.wait(PATIENCE)
                return [key, then.get_or_set(wanted, lambda: [wanted])]

            return cache.get_or_set(key, compute)

        futures = [
            pool.submit(waits, one, "x", other, "y"),
            pool.submit(waits, other, "y", one, "z"),
            pool.submit(waits, two, "z", two, "x"),
        ]
        answers = [future.result(PATIENCE) for future in futures]
    assert [answer[0] for answer in answers] == ["x", "y", "z"]
    assert stranger is not other


def test_a_caller_does_not_join_what_was_invalidated_elsewhere(pair, slow, pool, monkeypatch):
    """Not even if the flight ends between the caller's two looks at the store."""
    one, two = pair
    first = start(pool, slow, one.get_or_set, "k", slow)
    two.delete("k")
    looks = []
    get = one._engine.get

    def look(key):
        if threading.current_thread() is late:
            looks.append(key)
            if len(looks) == 2:  # it has met the flight, and makes sure that its claim stands
                slow.go_on.set()
                first.result(PATIENCE)
        return get(key)

    answers = []
    late = threading.Thread(target=lambda: answers.append(one.get_or_set("k", lambda: "fresh")))
    monkeypatch.setattr(one._engine, "get", look)
    late.start()
    late.join(PATIENCE)
    assert answers == ["fresh"]
    assert first.result(PATIENCE) == "value"


def test_a_caller_does_not_join_who_has_found_what_is_invalidated_since(pair, slow, pool, monkeypatch):
    """One cache waits for the other's value and reads it; it is invalidated before that is handed on."""
    one, two = pair
    theirs = start(pool, slow, two.get_or_set, "k", slow)
    get, wait = one._engine.get, FlightTable.wait
    late_waits = threading.Event()
    answers = []
    threads = []

    def look(key):
        stored = get(key)
        if threading.current_thread() is leader and not threads and stored is not MISSING:
            if one.lifecycle.claim_of(key, stored) is not None:
                slow.go_on.set()
                return stored
            two.delete("k")
            late = threading.Thread(target=lambda: answers.append(one.get_or_set("k", lambda: "fresh")))
            threads.append(late)
            late.start()
            assert late_waits.wait(PATIENCE)
        return stored

    def note(table, flight, seconds=None):
        if threads and threading.current_thread() is threads[0]:
            late_waits.set()
        return wait(table, flight, seconds)

    monkeypatch.setattr(one._engine, "get", look)
    monkeypatch.setattr(FlightTable, "wait", note)
    leader = threading.Thread(target=lambda: answers.append(one.get_or_set("k", lambda: "mine")))
    leader.start()
    leader.join(PATIENCE)
    threads[0].join(PATIENCE)
    assert sorted(answers) == ["fresh", "value"]
    assert theirs.result(PATIENCE) == "value"


def test_a_refresh_computes_whatever_others_store(pair, slow, pool, monkeypatch):
    """f.refresh() never returns what somebody else computed, though that is stored at the same moment."""
    one, two = pair
    swap = one._engine.compare_and_set
    raced = []

    def race(key, expected, value, **options):
        if not raced:
            raced.append(two.set("k", "theirs"))
        return swap(key, expected, value, **options)

    monkeypatch.setattr(one._engine, "compare_and_set", race)
    life = one.lifecycle
    loader = life.value_loader(lambda: "mine", "k", None, ())
    assert one.resolve(loader, (), (), {}, key=life.value_key("k"), fresh=True) == "mine"
    assert raced == [True]


def test_a_claim_that_takes_long_to_write_is_kept(settings, pool, monkeypatch):
    """Longer than a third of its lease: it is renewed all the same, and nobody takes it over."""
    short = Settings(dir=settings.dir, data_dir=settings.data_dir, timeout=30, lease=0.6)
    calls = []
    with (
        open_cache("k", engine="sqlite", settings=short) as one,
        open_cache("k", engine="sqlite", settings=short) as two,
    ):
        swap = one._engine.compare_and_set
        done = threading.Event()

        def late(key, expected, value, **options):
            if expected is MISSING:
                done.wait(0.4)
            return swap(key, expected, value, **options)

        def compute():
            calls.append(threading.get_ident())
            done.wait(1.5)
            return "value"

        monkeypatch.setattr(one._engine, "compare_and_set", late)
        first = pool.submit(one.get_or_set, "k", compute)
        deadline = time.monotonic() + PATIENCE
        while not calls:
            assert time.monotonic() < deadline
        assert two.get_or_set("k", compute) == "value"
        assert first.result(PATIENCE) == "value"
    assert len(calls) == 1


def test_nothing_is_held_afterwards(pair, pool):
    """However a computation ends, its claim is given back."""
    one, two = pair

    def fails():
        raise ZeroDivisionError

    class Interrupted(BaseException):
        pass

    def interrupted():
        raise Interrupted

    for function, error in ((fails, ZeroDivisionError), (interrupted, Interrupted)):
        with pytest.raises(error):
            one.get_or_set("k", function)
        assert one._engine.get(one.lifecycle.value_key("k")) is MISSING
    assert one.get_or_set("t", lambda: 1, ttl=-1) == 1
    assert one._engine.get(one.lifecycle.value_key("t")) is MISSING
    assert (keeper._held, keeper._announced) == ({}, set())
    assert two.get_or_set("k", lambda: 2) == 2


def test_a_loop_that_is_closed_with_a_computation_in_it(settings):
    """Its claim is renewed no more; a warning tells of the task, and nothing else goes wrong."""
    cache = open_async_cache("k", engine="sqlite", settings=settings)
    began = []

    async def forever():
        began.append(True)
        await asyncio.Event().wait()

    async def main():
        task = asyncio.ensure_future(cache.get_or_set("k", forever))
        while not began:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    with open_cache("k", engine="sqlite", settings=settings) as other:
        assert other.get_or_set("k", lambda: "value") == "value"
    assert (keeper._held, keeper._announced) == ({}, set())


CHILD = """
import json, os, sys, threading, time, warnings
from pathlib import Path
warnings.simplefilter("ignore", DeprecationWarning)
from cachewright import _owner, cached, open_cache
from cachewright._claims import keeper
from cachewright.config import Settings
home, lease = Path(sys.argv[1]), float(sys.argv[2])
settings = Settings(dir=home / "store", data_dir=home / "keys", timeout=30, lease=lease)
def say(*what):
    print(*what, flush=True)
"""


@pytest.fixture
def child(tmp_path):
    """Start a script in a process of its own that shares the store."""
    running = []

    def start_child(script, lease=10.0):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CHILD + script, str(tmp_path), str(lease)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(process)
        return process

    yield start_child
    for process in running:
        process.kill()
        process.communicate()


COMPUTES = """
cache = open_cache("k", engine="sqlite", settings=settings)
def compute():
    say("began")
    time.sleep(1000)
cache.get_or_set("k", compute)
"""


def test_what_a_killed_process_claimed(settings, child):
    """It is a miss at once, and the next caller computes at once, however long the lease."""
    process = child(COMPUTES, lease=100_000)
    assert process.stdout.readline() == "began\n"
    with open_cache("k", engine="sqlite", settings=settings) as cache:
        assert cache.get("k") is None
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        assert cache.get("k") is None
        assert list(cache) == []
        assert cache.get_or_set("k", lambda: "value") == "value"


def test_what_a_process_of_another_host_claimed_goes_by_itself(settings, child):
    """Where nobody can tell whether it was killed, the claim ends with its lease, without being asked for."""
    process = child('_owner.realm = lambda: "f" * 8\n' + COMPUTES, lease=0.5)
    assert process.stdout.readline() == "began\n"
    with open_cache("k", engine="sqlite", settings=settings) as cache:
        key = cache.lifecycle.value_key("k")
        assert cache._engine.get(key) is not MISSING
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while cache._engine.get(key) is not MISSING:
            assert time.monotonic() < deadline
        assert cache._engine.count() == 0


FORKS_WITHIN = """
@cached(name="f", engine="sqlite", settings=settings)
def load(x):
    if os.getpid() != parent:
        return "child"
    child = os.fork()
    if child == 0:
        held = len(keeper._held)
        answer = load(x)
        say(answer, held)
        os._exit(0)
    os.waitpid(child, 0)
    return "parent"
parent = os.getpid()
say(load(1), load(1))
"""


def test_fork_within_a_computation_that_waits_for_the_child(child):
    """The child computes what its parent is computing: it neither waits for it nor renews its claim."""
    process = child(FORKS_WITHIN)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert output.splitlines() == ["child 0", "parent child"]


FORKS_BESIDE = """
began, go_on = threading.Event(), threading.Event()
@cached(name="f", engine="sqlite", settings=settings)
def load(x):
    if os.getpid() != parent:
        return "child"
    began.set()
    go_on.wait(60)
    return "parent"
parent = os.getpid()
answers = []
thread = threading.Thread(target=lambda: answers.append(load(1)))
thread.start()
began.wait(60)
for _ in range(3):
    child = os.fork()
    if child == 0:
        say(load(1), len(keeper._held), load(2))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
go_on.set()
thread.join()
say(answers[0], load(1))
"""


def test_fork_beside_a_computation(child):
    """Children of a process in which another thread computes: each is served, one of them computes."""
    process = child(FORKS_BESIDE)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert output.splitlines() == ["child 0 child"] * 3 + ["parent child"]


MANY = """
began = Path(sys.argv[1], "calls")
@cached(name="f", engine="sqlite", settings=settings)
def load(x):
    with began.open("a") as calls:
        calls.write(f"{x}\\n")
    time.sleep(0.01)
    return x * 2
def ask():
    for x in range(20):
        assert load(x) == x * 2
say("ready")
sys.stdin.readline()
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
say(json.dumps({"errors": load.cache_info().errors}))
"""


@pytest.mark.slow
def test_six_processes_of_eight_threads(child, tmp_path):
    """Twenty keys: each is computed once."""
    processes = [child(MANY) for _ in range(6)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    infos = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    calls = (tmp_path / "calls").read_text().split()
    assert sorted(map(int, calls)) == list(range(20))
    assert sum(info["errors"] for info in infos) == 0


def test_two_functions_of_one_name_are_one(settings):
    """Decorated twice, as two processes do: the second finds what the first has stored."""
    calls = []

    def compute(x):
        calls.append(x)
        return x

    one, two = (cached(name="f", engine="sqlite", settings=settings)(compute) for _ in range(2))
    assert [one(1), two(1)] == [1, 1]
    assert calls == [1]

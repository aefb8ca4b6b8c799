"""What is special about the cachetools engine: bounds kept together, foreign code, forks and threads."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cachewright_cachetools.engine import CachetoolsEngine
from cachewright_cachetools.plugin import CACHETOOLS, cachewright_engines
from cachewright_cachetools.store import POLICIES

from cachewright.engine import Capabilities, EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError

Opener = Callable[..., CachetoolsEngine]

PRELUDE = """
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright_cachetools.engine import CachetoolsEngine

def opened(**settings):
    return CachetoolsEngine(EngineConfig(**settings))
"""


def test_the_record_names_what_the_engine_does() -> None:
    """The plugin announces one engine whose policies are those that it can open."""
    assert list(cachewright_engines()) == [CACHETOOLS]
    assert CACHETOOLS.load() is CachetoolsEngine
    assert CACHETOOLS.capabilities == Capabilities(
        holds="objects", max_entries=True, max_bytes=True, policies=tuple(POLICIES), compare_and_set=True
    )


def test_announcing_imports_no_cachetools(run_script: Callable[[str], str]) -> None:
    """Reading the record leaves the backend library unimported."""
    script = "import sys, cachewright_cachetools.plugin\nprint('cachetools' in sys.modules)"
    assert run_script(script) == "False"


@pytest.mark.parametrize("policy", POLICIES)
def test_reading_waits_for_nobody(opened: Opener, policy: str) -> None:
    """Entries are found while another thread is in the middle of a write, however long it takes."""
    engine = opened(maxsize=2, policy=policy)
    reader = engine.reader()
    engine.set("a", None)
    found: list[object] = []
    with engine._store.lock:
        thread = threading.Thread(target=lambda: found.extend((reader["a"], engine.get("a"), *engine.keys())))
        thread.start()
        thread.join(20)
    assert found == [None, None, "a"]
    with pytest.raises(KeyError):
        reader["b"]


def test_uses_count_in_their_order(opened: Opener) -> None:
    """However many reads lie between two writes, the least recently read entry goes."""
    engine = opened(maxsize=3)
    for key in "abc":
        engine.set(key, key)
    for _ in range(5000):
        assert [engine.get(key) for key in "bca"] == ["b", "c", "a"]
    engine.get("b")
    engine.set("d", "d")
    assert sorted(engine.keys()) == ["a", "b", "d"]  # by arrival alone it would have been "a" that goes


def test_what_an_interrupting_handler_deletes_is_gone_at_once(opened: Opener) -> None:
    """No reader finds it any more, although the write that was interrupted goes on."""
    seen: list[object] = []

    class Interrupting:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            engine.delete("gone")
            seen.append(engine.get("gone"))
            return self is other

    engine = opened(maxsize=4)
    engine.set("gone", 1)
    engine.set(Interrupting(), 1)
    engine.set(Interrupting(), 2)
    assert seen
    assert set(seen) == {MISSING}
    assert engine.count() == 2


def test_a_key_may_use_the_engine(run_script: Callable[[str], str]) -> None:
    """A key whose __eq__ writes to the engine that it is a key of neither hangs nor is mistaken."""
    script = f"""{PRELUDE}
class Curious:
    def __init__(self, number): self.number = number
    def __hash__(self): return 7
    def __eq__(self, other):
        engine.set('seen', 1)
        return isinstance(other, Curious) and self.number == other.number

engine = opened(maxsize=4)
engine.set(Curious(1), 'one')
engine.set(Curious(2), 'two')
print(engine.get(Curious(1)), engine.get(Curious(2)), engine.get('seen'), engine.count())
"""
    assert run_script(script) == "one two 1 3"


def test_reading_through_the_reader_counts_as_a_use(opened: Opener) -> None:
    """An entry read by the reader alone outlives one that nobody read."""
    engine = opened(maxsize=2)
    engine.set("read", 1)
    engine.set("unread", 2)
    assert engine.reader()["read"] == 1
    engine.set("new", 3)
    assert [engine.get(key) for key in ("read", "unread", "new")] == [1, MISSING, 3]


@pytest.mark.parametrize("policy", POLICIES)
def test_both_bounds_hold_together(opened: Opener, policy: str) -> None:
    """With maxsize and max_bytes neither is ever exceeded, whatever is overwritten or deleted."""
    engine = opened(maxsize=6, max_bytes=100, policy=policy)
    sizes: dict[int, int] = {}
    for turn in range(400):
        key, size = (turn * 7) % 11, (turn * 13) % 60 + 1
        if turn % 9 == 0:
            engine.delete((turn * 5) % 11)
        assert engine.set(key, turn, size=size) is True
        sizes[key] = size
        stored = list(engine.keys())
        assert key in stored
        assert len(stored) == len(set(stored)) == engine.count() <= 6
        assert sum(sizes[stored_key] for stored_key in stored) <= 100


def test_an_oversize_swap_stores_nothing(opened: Opener) -> None:
    """compare_and_set with a value over max_bytes is False, and the older entry is gone."""
    engine = opened(max_bytes=10)
    engine.set("a", "old", size=5)
    assert engine.compare_and_set("a", "old", "new", size=11) is False
    assert engine.get("a") is MISSING
    assert engine.set("b", 1, size=10) is True


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"policy": "mru"}, "policy='mru'.*lru, lfu, fifo, rr"),
        ({"maxsize": -1}, "maxsize=-1"),
        ({"max_bytes": -5}, "max_bytes=-5"),
        ({"options": {"ttl": 3}}, r"options\['ttl'\]=3"),
    ],
)
def test_a_senseless_setting_is_refused(settings: dict[str, Any], named: str) -> None:
    """A setting that makes no sense is one error that names it and what is expected."""
    with pytest.raises(ConfigurationError, match=named):
        CachetoolsEngine(EngineConfig(**settings))


def test_a_bound_beyond_the_machine_is_no_bound(opened: Opener) -> None:
    """A maxsize over the machine's largest integer is accepted."""
    engine = opened(maxsize=sys.maxsize + 1)
    assert engine.set("a", 1) is True


def test_an_unhashable_key_is_a_type_error(opened: Opener) -> None:
    """A list as a key raises TypeError from every operation and harms nothing."""
    engine = opened(maxsize=1)
    engine.set("a", 1)
    key: Any = ["unhashable"]
    operations: list[Callable[[Any], object]] = [
        engine.get,
        engine.delete,
        lambda k: engine.set(k, 1),
        lambda k: engine.compare_and_set(k, MISSING, 1),
        lambda k: engine.reader()[k],
    ]
    for operation in operations:
        with pytest.raises(TypeError):
            operation(key)
    assert engine.get("a") == 1


def test_an_error_from_a_key_passes_through(opened: Opener) -> None:
    """What a key's __eq__ raises reaches the caller, and the engine goes on working."""

    class Refusing:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            message = "not comparable"
            raise ArithmeticError(message)

    engine = opened(maxsize=2, max_bytes=10)
    engine.set(Refusing(), 1)
    with pytest.raises(ArithmeticError):
        engine.get(Refusing())
    with pytest.raises(ArithmeticError):
        engine.set(Refusing(), 1)
    engine.set(Refusing(), 1)  # the store begins anew after a write that broke off
    with pytest.raises(ArithmeticError):
        engine.compare_and_set(Refusing(), 1, 2)
    assert engine.set("a", 1) is True
    assert engine.get("a") == 1


@pytest.mark.parametrize(
    "drop",
    [
        "engine.set('b', 1)",
        "engine.set('a', 1)",
        "engine.delete('a')",
        "engine.clear()",
        "engine.close()",
        "engine.compare_and_set('a', engine.get('a'), MISSING)",
        "engine.compare_and_set('a', engine.get('a'), 1)",
    ],
)
@pytest.mark.parametrize("bounds", ["maxsize=1", "max_bytes=1", "maxsize=1, policy='rr'"])
def test_a_finaliser_may_use_the_engine(run_script: Callable[[str], str], drop: str, bounds: str) -> None:
    """A stored object whose __del__ uses the engine can be evicted, overwritten, deleted and cleared."""
    script = f"""{PRELUDE}
class Final:
    def __del__(self):
        engine.get('x'); engine.set('y', 1); engine.delete('y'); list(engine.keys())
        print('finalised')

engine = opened({bounds})
engine.set('a', Final())
{drop}
"""
    assert run_script(script) == "finalised"


def test_a_signal_handler_may_use_the_engine(opened: Opener) -> None:
    """A handler that interrupts a write can read, write and delete; bounds and entries stay right."""
    engine = opened(maxsize=4, max_bytes=100)
    handled: list[int] = []

    def handle(_number: int, _frame: object) -> None:
        handled.append(engine.count())
        engine.set("from the handler", 1, size=30)
        engine.delete("from the handler")

    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for turn in range(20_000):
            engine.set(turn % 9, turn, size=20)
            if len(handled) >= 20:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert handled
    assert max(handled) <= 4
    assert engine.count() <= 4
    engine.clear()
    assert all(engine.set(number, number, size=25) for number in range(4))
    assert engine.count() == 4


def test_a_handler_that_deletes_and_raises_leaves_nothing_stale(opened: Opener) -> None:
    """What an interrupting handler deleted is gone, although the handler broke the write off."""

    class Interrupting:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            assert engine.delete("stale") is False
            raise TimeoutError

    engine = opened(maxsize=4, max_bytes=100)
    engine.set("stale", 1)
    engine.set(Interrupting(), 1)
    with pytest.raises(TimeoutError):
        engine.set(Interrupting(), 2)
    assert engine.get("stale") is MISSING
    with pytest.raises(KeyError):
        engine.reader()["stale"]


@pytest.mark.parametrize("policy", POLICIES)
def test_an_exception_out_of_the_blue_spoils_nothing(opened: Opener, policy: str) -> None:
    """After writes broken off by what a signal handler raises, bounds are kept and can be used up."""

    class BrokenOffError(BaseException):
        pass

    def break_off(_number: int, _frame: object) -> None:
        if armed:
            raise BrokenOffError

    engine = opened(maxsize=4, max_bytes=100, policy=policy)
    previous = signal.signal(signal.SIGALRM, break_off)
    broken, armed = 0, False
    gc.disable()  # what is raised inside a collection would be lost
    try:
        for turn in range(100_000):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 0.00001 * (turn % 10 + 1))
                for number in range(50):
                    engine.set((turn + number) % 9, turn, size=20)
                    engine.delete((turn * number) % 9)
                    engine.get(number % 9)
                armed = False
            except BrokenOffError:
                armed = False
                broken += 1
            if broken >= 200:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        gc.enable()
    assert broken >= 200
    for number in range(40):
        assert engine.set(number, number, size=25) is True
        assert engine.get(number) == number
        assert engine.count() <= 4
    assert engine.count() == 4


def test_a_dropped_engine_lets_its_entries_go(opened: Opener) -> None:
    """An engine that nobody refers to is collected with its entries, closed or not."""

    class Value:
        pass

    value = Value()
    watched = weakref.ref(value)
    engine = CachetoolsEngine(EngineConfig(maxsize=3))
    engine.set("a", value)
    del value, engine
    gc.collect()
    assert watched() is None


def test_closing_drops_the_entries(opened: Opener) -> None:
    """After close nothing is found, not even by a reader, and nothing more is stored."""
    engine = opened()
    reader = engine.reader()
    engine.set("a", 1)
    engine.close()
    assert engine.get("a") is MISSING
    with pytest.raises(KeyError):
        reader["a"]
    assert engine.set("a", 1) is False
    assert engine.count() == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_listing_beside_readers_and_writers(opened: Opener, policy: str) -> None:
    """Listing keys while others read, write, evict and clear never raises and never repeats a key."""
    engine = opened(maxsize=64, policy=policy)
    reader, stop = engine.reader(), threading.Event()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def disturb(thread: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            engine.set((thread, turn % 40), turn)
            try:
                reader[thread, turn % 13]
            except KeyError:
                engine.delete((thread, turn % 5))
            if turn % 100 == 0:
                engine.clear()

    try:
        with ThreadPoolExecutor(4) as pool:
            work = [pool.submit(disturb, thread) for thread in range(4)]
            try:
                for _ in range(300):
                    listed = list(engine.keys())
                    assert len(listed) == len(set(listed)) <= 64
            finally:
                stop.set()
            for done in work:
                done.result()
    finally:
        sys.setswitchinterval(interval)


def test_a_fork_beside_slow_keys_leaves_a_usable_child(run_script: Callable[[str], str]) -> None:
    """Children forked while other threads are inside a key's __eq__ find whole entries and never hang."""
    script = f"""{PRELUDE}
import os, signal, sys, threading, time

class Slow:
    def __init__(self, number): self.number = number
    def __hash__(self): return 7
    def __eq__(self, other):
        time.sleep(0.0002)
        return isinstance(other, Slow) and self.number == other.number

engine = opened(maxsize=8, max_bytes=800)
engine.set('kept', 'value', size=1)
stop = threading.Event()

def write(thread):
    turn = 0
    while not stop.is_set():
        turn += 1
        engine.set(Slow(turn % 4), turn, size=100)
        engine.get('kept')

threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
codes = []
for _ in range(30):
    pid = os.fork()
    if not pid:
        signal.alarm(5)
        ok = engine.get('kept') == 'value' and engine.set('new', 1) and engine.get('new') == 1
        os._exit(0 if ok else 3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop.set()
for thread in threads: thread.join()
print(set(codes), engine.get('kept'))
"""
    assert run_script(script) == "{0} value"


def test_a_child_forked_during_an_endless_write_starts_empty(run_script: Callable[[str], str]) -> None:
    """Where a writer does not come to an end, the fork goes on after a while and the child is usable."""
    script = f"""{PRELUDE}
import os, signal, threading

entered, leave = threading.Event(), threading.Event()

class Stuck:
    def __hash__(self): return 7
    def __eq__(self, other):
        entered.set(); leave.wait()
        return self is other

engine = opened(maxsize=4)
engine.set(Stuck(), 1)
thread = threading.Thread(target=engine.set, args=(Stuck(), 2))
thread.start()
entered.wait()
pid = os.fork()
if not pid:
    signal.alarm(5)
    ok = engine.count() == 0 and engine.set('new', 1) and engine.get('new') == 1
    os._exit(0 if ok else 3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
leave.set()
thread.join()
print(engine.set('more', 1), engine.count())
"""
    assert run_script(script) == "0\nTrue 3"

"""Many threads at once: nobody sees another key's value, and compare_and_set has one winner."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from cachewright.engine import Engine, Swap
from cachewright.entry import MISSING
from cachewright.errors import UnsupportedByEngineError
from cachewright.testing.clock import ManualClock
from cachewright.testing.engine_contract import EngineContract, EngineOpener, Token

THREADS = 8


class RaceContract(EngineContract):
    """What holds for one thread holds for eight."""

    stakes: ClassVar[str] = "threads would mix up values, or compute what another one computes"

    @pytest.fixture
    def eager_switching(self) -> Iterator[None]:
        """Has the interpreter switch threads as often as it can."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        yield
        sys.setswitchinterval(interval)

    @pytest.mark.usefixtures("eager_switching")
    def test_threads_never_see_another_keys_value(self, engine: Engine) -> None:
        """Eight threads set, get and delete sixteen keys: each look-up is a miss or a value of its key."""
        keys = [self.key(number) for number in range(16)]

        def hammer(thread: int) -> list[str]:
            wrong: list[str] = []
            for turn in range(150):
                key = keys[(turn * (2 * thread + 1) + thread) % 16]
                self.put(engine, key, turn)
                for asked in (key, keys[turn % 16]):
                    stored = engine.get(asked)
                    if stored is not MISSING and not self.belongs(stored, asked):
                        wrong.append(f"{asked} held {stored!r:.80}")
                if turn % 7 == thread % 7:
                    engine.delete(key)
            return wrong

        assert _in_threads(hammer) == [[]] * THREADS

    @pytest.mark.usefixtures("eager_switching")
    def test_threads_may_do_everything_at_once(self, open_engine: EngineOpener) -> None:
        """Clearing, listing, counting and *_many beside writers raise nothing and mix up nothing."""
        engine = open_engine(maxsize=8) if self.info.capabilities.max_entries else open_engine()
        keys = [self.key(number) for number in range(16)]

        def work(thread: int) -> list[Any]:
            wrong: list[Any] = []
            for turn in range(40):
                key = keys[(turn + thread) % 16]
                self.put(engine, key, turn)
                found = engine.get_many(keys)
                wrong += [asked for asked, stored in found.items() if not self.belongs(stored, asked)]
                if self.info.capabilities.scan:
                    wrong += [listed for listed in engine.keys() if listed not in keys]
                    wrong += [count for count in [engine.count()] if not 0 <= count <= 16]
                if turn % 10 == thread:
                    engine.clear()
                engine.delete_many(keys[:2])
            return wrong

        assert _in_threads(work) == [[]] * THREADS
        value = self.put(engine, keys[5], 1)
        assert self.matches(engine.get(keys[5]), value)

    @pytest.mark.usefixtures("eager_switching")
    def test_each_entry_is_deleted_by_one_thread(self, engine: Engine) -> None:
        """When eight threads delete the same entries, every entry is reported deleted exactly once."""
        barrier = threading.Barrier(THREADS, timeout=60)

        def delete_all(_: int) -> int:
            barrier.wait()
            return sum(engine.delete(self.key(number)) for number in range(20))

        for _ in range(5):
            for number in range(20):
                self.put(engine, self.key(number), number)
            assert sum(_in_threads(delete_all)) == 20

    def test_compare_and_set_undeclared_is_refused(self, engine: Engine) -> None:
        """An engine that does not declare compare_and_set raises UnsupportedByEngineError."""
        if self.info.capabilities.compare_and_set:
            pytest.skip(f"engine {self.info.name!r} declares compare_and_set")
        with pytest.raises(UnsupportedByEngineError):
            engine.compare_and_set(self.key(1), MISSING, self.value(1))

    def test_compare_and_set_stores_only_over_what_is_expected(self, engine: Engine) -> None:
        """It stores over MISSING or over what get returned, and changes nothing otherwise."""
        self.needs("compare_and_set")
        key, first, second = self.key(1), self.value(1), self.value(2)
        assert engine.compare_and_set(key, self._as_stored(first), second) is False
        assert engine.get(key) is MISSING
        assert engine.compare_and_set(key, MISSING, first, size=self.size(first)) is True
        assert self.matches(engine.get(key), first)
        assert engine.compare_and_set(key, MISSING, second) is False
        assert engine.compare_and_set(key, self._as_stored(second), second) is False
        assert self.matches(engine.get(key), first)
        assert engine.compare_and_set(key, engine.get(key), second, size=self.size(second)) is True
        assert self.matches(engine.get(key), second)

    def test_compare_and_set_can_delete(self, engine: Engine) -> None:
        """MISSING as the value deletes what is expected, and is True where MISSING was expected."""
        self.needs("compare_and_set")
        key = self.key(1)
        assert engine.compare_and_set(key, MISSING, MISSING) is True
        first = self.put(engine, key, 1)
        assert engine.compare_and_set(key, MISSING, MISSING) is False
        assert engine.compare_and_set(key, self._as_stored(self.value(2)), MISSING) is False
        assert self.matches(engine.get(key), first)
        assert engine.compare_and_set(key, engine.get(key), MISSING) is True
        assert engine.get(key) is MISSING
        assert engine.delete(key) is False

    def test_compare_and_set_compares_objects_by_identity(self, engine: Engine) -> None:
        """An object that is equal but not the stored one is not what is expected."""
        self.needs("compare_and_set")
        self.needs_objects()
        stored, equal = [1, 2], [1, 2]
        engine.set(self.key(1), stored)
        assert engine.compare_and_set(self.key(1), equal, "new") is False
        assert engine.get(self.key(1)) is stored
        engine.set(self.key(1), None)
        assert engine.compare_and_set(self.key(1), MISSING, "new") is False
        assert engine.compare_and_set(self.key(1), None, "new") is True

    def test_compare_and_set_replaces_the_ttl(self, engine: Engine, clock: ManualClock) -> None:
        """A swapped entry has the ttl it was swapped in with; an expired one counts as MISSING."""
        self.needs("compare_and_set")
        self.needs_clock()
        key, first, second = self.key(1), self.value(1), self.value(2)
        assert engine.compare_and_set(key, MISSING, first, ttl=10) is True
        stored = engine.get(key)
        assert engine.compare_and_set(key, stored, second, ttl=100) is True
        clock.advance(50)
        assert self.matches(engine.get(key), second)
        second_stored = engine.get(key)
        clock.advance(51)
        assert engine.compare_and_set(key, second_stored, first) is False
        assert engine.compare_and_set(key, MISSING, first) is True
        assert self.matches(engine.get(key), first)

    def test_compare_and_set_many_undeclared_is_refused(self, engine: Engine) -> None:
        """Without compare_and_set there is no compare_and_set_many either."""
        if self.info.capabilities.compare_and_set:
            pytest.skip(f"engine {self.info.name!r} declares compare_and_set")
        with pytest.raises(UnsupportedByEngineError):
            engine.compare_and_set_many([self._swap(1, MISSING, self.value(1))])

    def test_compare_and_set_many_says_which_took_place(self, engine: Engine) -> None:
        """Each swap succeeds or fails on its own, and the answers are in the order of the swaps."""
        self.needs("compare_and_set")
        stored = {number: self.put(engine, self.key(number), number) for number in (1, 2, 3)}
        new = {number: self.value(10 + number) for number in range(5)}
        swaps = [
            self._swap(1, engine.get(self.key(1)), new[1]),
            self._swap(2, self._as_stored(self.value(9)), new[2]),
            self._swap(0, MISSING, new[0]),
            self._swap(3, engine.get(self.key(3)), MISSING),
            self._swap(4, self._as_stored(self.value(9)), new[4]),
        ]
        assert engine.compare_and_set_many(swaps) == [True, False, True, True, False]
        assert self.matches(engine.get(self.key(0)), new[0])
        assert self.matches(engine.get(self.key(1)), new[1])
        assert self.matches(engine.get(self.key(2)), stored[2])
        assert engine.get(self.key(3)) is MISSING
        assert engine.get(self.key(4)) is MISSING

    def test_compare_and_set_many_of_none_and_of_duplicates(self, engine: Engine) -> None:
        """No swap is no answer; of two that expect the same of one key, the first takes place."""
        self.needs("compare_and_set")
        first, second = self.value(1), self.value(2)
        assert engine.compare_and_set_many([]) == []
        swaps = iter([self._swap(1, MISSING, first), self._swap(1, MISSING, second)])
        assert engine.compare_and_set_many(swaps) == [True, False]
        assert self.matches(engine.get(self.key(1)), first)

    def test_compare_and_set_many_keep_their_own_ttl(self, engine: Engine, clock: ManualClock) -> None:
        """Each swapped entry lives as long as its own swap says."""
        self.needs("compare_and_set")
        self.needs_clock()
        values = [self.value(number) for number in range(3)]
        ttls = (10, 100, None)
        swaps = [self._swap(n, MISSING, values[n], ttl=ttl) for n, ttl in enumerate(ttls)]
        assert engine.compare_and_set_many(swaps) == [True, True, True]
        clock.advance(50)
        assert engine.get(self.key(0)) is MISSING
        assert self.matches(engine.get(self.key(1)), values[1])
        clock.advance(51)
        assert engine.get(self.key(1)) is MISSING
        assert self.matches(engine.get(self.key(2)), values[2])

    @pytest.mark.usefixtures("eager_switching")
    def test_compare_and_set_many_has_one_winner_per_key(self, engine: Engine) -> None:
        """Of eight threads that swap the same ten entries at once, one succeeds per entry and round."""
        self.needs("compare_and_set")
        keys, barrier = [self.key(number) for number in range(10)], threading.Barrier(THREADS, timeout=60)

        def compete(thread: int) -> list[bool]:
            won: list[bool] = []
            for turn in range(10):
                barrier.wait()
                swaps = [
                    self._swap(number, engine.get(key), self.value(turn * THREADS + thread, key=key))
                    for number, key in enumerate(keys)
                ]
                barrier.wait()
                won += engine.compare_and_set_many(swaps)
            return won

        for winners in zip(*_in_threads(compete), strict=True):
            assert sum(winners) == 1

    @pytest.mark.usefixtures("eager_switching")
    def test_compare_and_set_has_one_winner(self, engine: Engine) -> None:
        """Of eight threads that swap the same expected value at once, one succeeds per round."""
        self.needs("compare_and_set")
        key, barrier = self.key(1), threading.Barrier(THREADS, timeout=60)
        rounds = 40

        def compete(thread: int) -> list[bool]:
            won: list[bool] = []
            for turn in range(rounds):
                barrier.wait()
                expected = engine.get(key)
                value = self.value(turn * THREADS + thread, key=key)
                barrier.wait()
                won.append(engine.compare_and_set(key, expected, value, size=self.size(value)))
            return won

        for winners in zip(*_in_threads(compete), strict=True):
            assert sum(winners) == 1

    def _swap(self, number: int, expected: Any, value: Any, *, ttl: float | None = None) -> Swap:
        return self.key(number), expected, value, ttl, 1 if value is MISSING else self.size(value)

    def _as_stored(self, value: Any) -> Any:
        return value if isinstance(value, Token) else b"".join(value)


def _in_threads(work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))

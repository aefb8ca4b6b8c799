"""Bounds hold after every single store, and what is refused costs nothing else."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError
from cachewright.testing.engine_contract import EngineContract, EngineOpener

KEEPS_WHAT_IS_READ = frozenset(
    {"lru", "lfu", "s3-fifo", "sieve", "slru", "arc", "2q", "tinylfu", "w-tinylfu"}
)
"""Eviction policies under which an entry that is read all the time outlives those never read."""


class BoundContract(EngineContract):
    """maxsize, max_bytes, policies and options are obeyed or refused, never ignored."""

    stakes: ClassVar[str] = "the cache would outgrow its bound, or forget what it has room for"

    @pytest.mark.parametrize("maxsize", [1, 2, 10])
    def test_maxsize_is_exact(self, open_engine: EngineOpener, maxsize: int) -> None:
        """A bounded engine fills up to its bound and not beyond; the newest entry is always there."""
        self.needs("max_entries")
        engine = open_engine(maxsize=maxsize)
        for number in range(3 * maxsize + 2):
            value = self.put(engine, self.key(number), number)
            assert self.matches(engine.get(self.key(number)), value)
            assert self._stored(engine, 3 * maxsize + 2) == min(number + 1, maxsize)

    def test_maxsize_counts_entries_not_writes(self, open_engine: EngineOpener) -> None:
        """Overwriting evicts nothing, and deleting makes room."""
        self.needs("max_entries")
        engine = open_engine(maxsize=3)
        for number in range(3):
            self.put(engine, self.key(number), number)
        for number in range(10):
            self.put(engine, self.key(1), number)
        assert self._stored(engine, 3) == 3
        engine.delete(self.key(0))
        self.put(engine, self.key(3), 3)
        assert {n for n in range(4) if engine.get(self.key(n)) is not MISSING} == {1, 2, 3}

    def test_clear_gives_all_room_back(self, open_engine: EngineOpener) -> None:
        """After clear a bounded engine takes as many entries as when it was new."""
        self.needs("max_entries")
        engine = open_engine(maxsize=4)
        for _ in range(3):
            for number in range(4):
                self.put(engine, self.key(number), number)
            assert self._stored(engine, 4) == 4
            engine.clear()

    def test_maxsize_zero_stores_nothing(self, open_engine: EngineOpener) -> None:
        """With maxsize=0 set returns False and there is never an entry."""
        self.needs("max_entries")
        engine = open_engine(maxsize=0)
        for number in range(3):
            assert engine.set(self.key(number), self.value(number)) is False
            assert engine.get(self.key(number)) is MISSING
        assert self._stored(engine, 3) == 0

    def test_max_bytes_is_never_exceeded(self, open_engine: EngineOpener) -> None:
        """The sizes passed to set never add up to more than max_bytes, after any store."""
        self.needs("max_bytes")
        engine = open_engine(max_bytes=1000)
        sizes: dict[int, int] = {}
        for number in range(60):
            slot, size = number % 17, (number * 37) % 400 + 50
            value = self.value(number, key=self.key(slot), length=size)
            assert engine.set(self.key(slot), value, size=size) is True
            sizes[slot] = size
            stored = {slot for slot in sizes if engine.get(self.key(slot)) is not MISSING}
            assert slot in stored
            assert sum(sizes[slot] for slot in stored) <= 1000

    def test_max_bytes_can_be_used_up(self, open_engine: EngineOpener) -> None:
        """Entries that fit exactly are all kept; deleting and overwriting give their bytes back."""
        self.needs("max_bytes")
        engine = open_engine(max_bytes=1000)
        for number in range(10):
            self._put_sized(engine, number, 100)
        assert self._stored(engine, 10) == 10
        engine.delete(self.key(0))
        self._put_sized(engine, 1, 200)
        assert {n for n in range(10) if engine.get(self.key(n)) is not MISSING} == set(range(1, 10))
        engine.clear()
        self._put_sized(engine, 11, 1000)
        assert engine.get(self.key(11)) is not MISSING

    def test_an_oversize_value_is_refused_at_no_cost(self, open_engine: EngineOpener) -> None:
        """A value over max_bytes is not stored: nothing else is evicted, the older entry is gone."""
        self.needs("max_bytes")
        engine = open_engine(max_bytes=1000)
        for number in range(5):
            self._put_sized(engine, number, 100)
        value = self.value(9, key=self.key(9), length=1001)
        assert engine.set(self.key(9), value, size=1001) is False
        assert engine.get(self.key(9)) is MISSING
        assert self._stored(engine, 5) == 5
        assert engine.set(self.key(2), value, size=1001) is False
        assert engine.get(self.key(2)) is MISSING
        assert self._stored(engine, 5) == 4

    def test_set_many_counts_what_was_stored(self, open_engine: EngineOpener) -> None:
        """An oversize value among many is refused by itself: the others are stored, and it is not counted."""
        self.needs("max_bytes")
        engine = open_engine(max_bytes=1000)
        sizes = (100, 1001, 200)
        entries = [
            (self.key(number), self.value(number, key=self.key(number), length=size), None, size)
            for number, size in enumerate(sizes)
        ]
        assert engine.set_many(entries) == 2
        assert set(engine.get_many([self.key(number) for number in range(3)])) == {self.key(0), self.key(2)}

    def test_both_bounds_hold_at_once(self, open_engine: EngineOpener) -> None:
        """With maxsize and max_bytes whichever is met first evicts."""
        self.needs("max_entries")
        self.needs("max_bytes")
        engine = open_engine(maxsize=3, max_bytes=1000)
        for number in range(6):
            self._put_sized(engine, number, 100)
        assert self._stored(engine, 6) == 3
        self._put_sized(engine, 6, 900)
        assert self._stored(engine, 7) <= 2
        assert engine.get(self.key(6)) is not MISSING

    def test_declared_policies_can_be_opened(self, open_engine: EngineOpener) -> None:
        """Every declared policy opens, respects maxsize and keeps the newest entry."""
        policies = self.info.capabilities.policies
        if not policies:
            pytest.skip(f"engine {self.info.name!r} does not declare policies")
        for policy in policies:
            engine = open_engine(namespace=f"policy-{policy}", maxsize=4, policy=policy)
            for number in range(12):
                value = self.put(engine, self.key(number), number)
                assert self.matches(engine.get(self.key(number)), value), policy
            assert self._stored(engine, 12) == 4, policy

    def test_a_policy_keeps_what_its_name_promises(self, open_engine: EngineOpener) -> None:
        """An entry read all the time outlives a scan of entries never read, except first-in-first-out."""
        self.needs("max_entries")
        known = [p for p in self.info.capabilities.policies if p in KEEPS_WHAT_IS_READ or p == "fifo"]
        if not known:
            pytest.skip(f"engine {self.info.name!r} does not declare a policy that promises an order")
        for policy in known:
            engine = open_engine(namespace=f"order-{policy}", maxsize=8, policy=policy)
            for number in range(40):
                self.put(engine, self.key(number), number)
                engine.get(self.key(0))
                engine.get(self.key(0))
            survived = engine.get(self.key(0)) is not MISSING
            assert survived is (policy != "fifo"), policy

    def test_an_undeclared_policy_is_refused(self, open_engine: EngineOpener) -> None:
        """A policy that is not declared is a ConfigurationError when the engine is opened."""
        for policy in ("no-such-policy", ""):
            with pytest.raises(ConfigurationError):
                open_engine(policy=policy)

    def test_an_unknown_option_is_refused(self, open_engine: EngineOpener) -> None:
        """A misspelt option is a ConfigurationError that names it, never ignored."""
        with pytest.raises(ConfigurationError, match="no_such_option"):
            open_engine(options={"no_such_option": 1})

    def _stored(self, engine: Engine, keys: int) -> int:
        found = len(engine.get_many([self.key(number) for number in range(keys)]))
        if self.info.capabilities.scan:
            assert engine.count() == found
        return found

    def _put_sized(self, engine: Engine, number: int, size: int) -> None:
        value = self.value(number, key=self.key(number), length=size)
        assert engine.set(self.key(number), value, size=size) is True

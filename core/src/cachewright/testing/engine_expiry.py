"""An entry is there until its ttl has passed, and not afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.testing.clock import ManualClock
from cachewright.testing.engine_contract import EngineContract, EngineOpener

YEARS_10 = 10 * 365 * 86_400.0


class ExpiryContract(EngineContract):
    """The engine's own ttl; the core enforces every ttl once more, above it."""

    stakes: ClassVar[str] = "entries would go too early, or take up space after their time"

    def step(self) -> float:
        """Return by how many seconds an engine may be early or late: twice its resolution, or 10 ms."""
        return max(0.01, 2 * self.info.capabilities.ttl_resolution)

    def test_every_ttl_is_accepted(self, engine: Engine) -> None:
        """Storing takes any ttl above zero, from a nanosecond to centuries, and later ones replace it."""
        for number, ttl in enumerate((1e-9, 1e-6, 1e-3, 0.5, 1, 60, 86_400, 1e10)):
            value = self.put(engine, self.key(number), number, ttl=ttl)
            stored = engine.get(self.key(number))
            assert self.matches(stored, value) or (stored is MISSING and ttl < 1), ttl
            value = self.put(engine, self.key(number), number + 100, ttl=3600)
            assert self.matches(engine.get(self.key(number)), value)

    def test_an_entry_lives_until_its_ttl_has_passed(self, engine: Engine, clock: ManualClock) -> None:
        """Get returns the value just before the ttl has passed and MISSING just after it."""
        self.needs_clock()
        value = self.put(engine, self.key(1), 1, ttl=10)
        longer = self.put(engine, self.key(2), 2, ttl=20)
        clock.advance(10 - self.step())
        assert self.matches(engine.get(self.key(1)), value)
        clock.advance(2 * self.step())
        assert engine.get(self.key(1)) is MISSING
        assert self.matches(engine.get(self.key(2)), longer)

    def test_a_very_short_ttl_passes(self, engine: Engine, clock: ManualClock) -> None:
        """An entry whose ttl is below the resolution is gone one step later."""
        self.needs_clock()
        self.put(engine, self.key(1), 1, ttl=1e-9)
        clock.advance(self.step())
        assert engine.get(self.key(1)) is MISSING

    def test_without_ttl_an_entry_never_expires(self, engine: Engine, clock: ManualClock) -> None:
        """Ten years later an entry without a ttl is still there, as is one with a ttl of centuries."""
        self.needs_clock()
        value = self.put(engine, self.key(1), 1)
        centuries = self.put(engine, self.key(2), 2, ttl=1e10)
        clock.advance(YEARS_10)
        assert self.matches(engine.get(self.key(1)), value)
        assert self.matches(engine.get(self.key(2)), centuries)

    @pytest.mark.parametrize(("old", "new"), [(10, 100), (100, 10), (10, None)])
    def test_overwriting_replaces_the_ttl(
        self, engine: Engine, clock: ManualClock, old: float, new: float | None
    ) -> None:
        """Storing again counts from then, by the new ttl alone, be it longer, shorter or none."""
        self.needs_clock()
        self.put(engine, self.key(1), 1, ttl=old)
        clock.advance(5)
        value = self.put(engine, self.key(1), 2, ttl=new)
        clock.advance((YEARS_10 if new is None else new) - self.step())
        assert self.matches(engine.get(self.key(1)), value)
        if new is not None:
            clock.advance(2 * self.step())
            assert engine.get(self.key(1)) is MISSING

    @pytest.mark.parametrize("operation", ["keys", "count", "delete", "delete_many", "get_many"])
    def test_an_expired_entry_is_seen_by_nothing(
        self, engine: Engine, clock: ManualClock, operation: str
    ) -> None:
        """Each operation by itself treats an expired entry, that nobody looked at since, as absent."""
        self.needs_clock()
        if operation in {"keys", "count"}:
            self.needs("scan")
        keys = [self.key(number) for number in range(6)]
        for number, key in enumerate(keys[:5]):
            self.put(engine, key, number, ttl=10)
        value = self.put(engine, keys[5], 5)
        clock.advance(10 + self.step())
        seen: dict[str, Callable[[], object]] = {
            "keys": lambda: list(engine.keys()) == [keys[5]],
            "count": lambda: engine.count() == 1,
            "delete": lambda: [engine.delete(key) for key in keys[:5]] == [False] * 5,
            "delete_many": lambda: engine.delete_many(keys[:5]) == 0,
            "get_many": lambda: list(engine.get_many(keys)) == [keys[5]],
        }
        assert seen[operation](), f"{operation} saw an expired entry"
        assert self.matches(engine.get(keys[5]), value)

    def test_an_expired_entry_stays_gone(self, engine: Engine, clock: ManualClock) -> None:
        """An entry that expired unseen can be stored again and expires again."""
        self.needs_clock()
        for number in range(3):
            value = self.put(engine, self.key(1), number, ttl=10)
            assert self.matches(engine.get(self.key(1)), value)
            clock.advance(10 + self.step())
        assert engine.get(self.key(1)) is MISSING

    @pytest.mark.parametrize("ending", ["delete", "delete_many", "clear", "expiry"])
    def test_an_entry_leaves_no_ttl_behind(self, engine: Engine, clock: ManualClock, ending: str) -> None:
        """A key that is stored again, without a ttl, has none, however its older entry ended."""
        self.needs_clock()
        self.put(engine, self.key(1), 1, ttl=10)
        endings: dict[str, Callable[[], object]] = {
            "delete": lambda: engine.delete(self.key(1)),
            "delete_many": lambda: engine.delete_many([self.key(1)]),
            "clear": engine.clear,
            "expiry": lambda: clock.advance(10 + self.step()),
        }
        endings[ending]()
        value = self.put(engine, self.key(1), 2)
        clock.advance(20)
        assert self.matches(engine.get(self.key(1)), value)

    def test_reading_prolongs_nothing(self, engine: Engine, clock: ManualClock) -> None:
        """However an entry is looked at, and however often, it ends when its ttl has passed."""
        self.needs_clock()
        key = self.key(1)
        value = self.put(engine, key, 1, ttl=10)
        for _ in range(4):
            clock.advance(2.4)
            assert self.matches(engine.get(key), value)
            assert list(engine.get_many([key])) == [key]
            if self.info.capabilities.scan:
                assert list(engine.keys()) == [key]
            if self.info.capabilities.compare_and_set:
                assert engine.compare_and_set(key, MISSING, value) is False
        clock.advance(0.4 + self.step())
        assert engine.get(key) is MISSING

    def test_time_passes_while_a_store_is_closed(self, open_engine: EngineOpener, clock: ManualClock) -> None:
        """After a reboot a store has lost what expired meanwhile; the rest lives on for what it has left."""
        self.needs("persistent")
        self.needs_clock()
        engine = open_engine()
        self.put(engine, self.key(1), 1, ttl=10)
        value = self.put(engine, self.key(2), 2, ttl=100)
        engine.close()
        later = ManualClock(wall=clock.wall() + 50, monotonic=7.0)  # as after a reboot
        reopened = open_engine.open(replace(open_engine.config, clock=later))
        assert reopened.get(self.key(1)) is MISSING
        assert self.matches(reopened.get(self.key(2)), value)
        if self.info.capabilities.scan:
            assert list(reopened.keys()) == [self.key(2)]
        later.advance(50 + self.step())
        assert reopened.get(self.key(2)) is MISSING

    def test_many_keep_their_own_ttl(self, engine: Engine, clock: ManualClock) -> None:
        """set_many gives each entry the ttl beside it."""
        self.needs_clock()
        entries = [
            (self.key(n), self.value(n, key=self.key(n)), ttl, 1) for n, ttl in enumerate((10, 20, None))
        ]
        assert engine.set_many(entries) == 3
        clock.advance(10 + self.step())
        assert set(engine.get_many([self.key(n) for n in range(3)])) == {self.key(1), self.key(2)}
        clock.advance(10)
        assert set(engine.get_many([self.key(n) for n in range(3)])) == {self.key(2)}

    @pytest.mark.parametrize("step", [-86_400.0, -3_600.0, 3_600.0, 86_400.0])
    def test_setting_the_wall_clock_moves_no_deadline_in_process(
        self, engine: Engine, clock: ManualClock, step: float
    ) -> None:
        """Inside one process deadlines follow the monotonic clock, whatever the wall clock says."""
        self.needs_clock()
        if self.info.capabilities.scope != "process" or self.info.capabilities.persistent:
            pytest.skip(f"engine {self.info.name!r} stores beyond the process, where only wall time counts")
        value = self.put(engine, self.key(1), 1, ttl=10)
        clock.step_wall(step)
        clock.advance(10 - self.step())
        assert self.matches(engine.get(self.key(1)), value)
        clock.advance(2 * self.step())
        assert engine.get(self.key(1)) is MISSING

    @pytest.mark.parametrize("step", [-86_400.0, -3_600.0])
    def test_setting_the_clock_back_makes_nothing_immortal(
        self, engine: Engine, clock: ManualClock, step: float
    ) -> None:
        """After the wall clock was set back, an entry is gone once its ttl has passed on that clock."""
        self.needs_clock()
        self.put(engine, self.key(1), 1, ttl=10)
        clock.step_wall(step)
        clock.advance(10 - step + self.step())
        assert engine.get(self.key(1)) is MISSING

    def test_the_servers_clock_ends_an_entry(self, engine: Engine) -> None:
        """Where a server keeps the time, an entry with a short ttl is gone before long, others stay."""
        self.needs("ttl_per_entry")
        if not self.clocked_by_server:
            pytest.skip(f"engine {self.info.name!r} goes by the clock that it is given")
        kept = self.put(engine, self.key(1), 1, ttl=3600)
        overwritten = self.put(engine, self.key(2), 2, ttl=0.05)
        overwritten = self.put(engine, self.key(2), 3)
        self.put(engine, self.key(3), 4, ttl=0.05)
        hung = time.monotonic() + 30
        while engine.get(self.key(3)) is not MISSING:
            assert time.monotonic() < hung, "an entry with a ttl of 50 ms was there after 30 s"
        assert self.matches(engine.get(self.key(1)), kept)
        assert self.matches(engine.get(self.key(2)), overwritten)

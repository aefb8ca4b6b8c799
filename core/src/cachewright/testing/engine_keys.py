"""Keys are told apart exactly, and listed completely."""

from __future__ import annotations

from typing import Any, ClassVar

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.testing.engine_contract import EngineContract
from cachewright.testing.values import BYTE_KEYS, EQUAL_KEYS, OBJECT_KEYS


class KeyContract(EngineContract):
    """Every key has its own entry, whatever it looks like."""

    stakes: ClassVar[str] = "one call would be given the result of another"

    def hostile_keys(self) -> tuple[Any, ...]:
        """Return keys that are all different, for what the engine holds."""
        return OBJECT_KEYS if self.info.capabilities.holds == "objects" else BYTE_KEYS

    def test_hostile_keys_are_distinct_and_exact(self, engine: Engine) -> None:
        """Keys that differ, however little, have entries of their own."""
        keys = self.hostile_keys()
        values = [self.put(engine, key, number) for number, key in enumerate(keys)]
        for key, value in zip(keys, values, strict=True):
            assert self.matches(engine.get(key), value)
        for position, key in enumerate(keys):
            assert engine.delete(key) is True
            assert engine.get(key) is MISSING
            for later in range(position + 1, len(keys)):
                assert self.matches(engine.get(keys[later]), values[later])

    def test_equal_keys_share_an_entry(self, engine: Engine) -> None:
        """Keys that compare equal are one key: 1, True and 1.0 among them."""
        self.needs_objects()
        for group in EQUAL_KEYS:
            for writer in group:
                value = self.put(engine, writer, 1)
                assert all(engine.get(reader) is value for reader in group)
            assert engine.delete(group[-1]) is True
            assert [engine.get(reader) for reader in group] == [MISSING] * len(group)

    def test_keys_lists_every_entry_once(self, engine: Engine) -> None:
        """keys() yields each stored key once, as it was given, and nothing else."""
        self.needs("scan")
        assert list(engine.keys()) == []
        hostile = self.hostile_keys()
        for number, key in enumerate(hostile):
            self.put(engine, key, number)
            self.put(engine, key, number + 1000)
        listed = list(engine.keys())
        assert len(listed) == len(hostile)
        assert set(listed) == set(hostile)
        engine.delete(hostile[3])
        assert set(engine.keys()) == set(hostile) - {hostile[3]}
        engine.clear()
        assert list(engine.keys()) == []

    def test_keys_is_a_snapshot(self, engine: Engine) -> None:
        """Writing and deleting while keys() is iterated neither fails nor changes what it yields."""
        self.needs("scan")
        before = {self.key(number) for number in range(300)}
        for number in range(300):
            self.put(engine, self.key(number), number)
        seen: list[Any] = []
        for number, key in enumerate(engine.keys()):
            seen.append(key)
            self.put(engine, self.key(1000 + number), number)
            engine.delete(self.key(number))
        assert len(seen) == 300
        assert set(seen) == before

    def test_two_iterations_go_on_side_by_side(self, engine: Engine) -> None:
        """Each of two iterators, taken and advanced in turn, lists every entry once."""
        self.needs("scan")
        keys = {self.key(number) for number in range(50)}
        for number in range(50):
            self.put(engine, self.key(number), number)
        pairs = list(zip(engine.keys(), engine.keys(), strict=True))
        assert len(pairs) == 50
        assert {one for one, _ in pairs} == {other for _, other in pairs} == keys

    def test_keys_come_back_as_they_were_given(self, engine: Engine) -> None:
        """A listed key has the type and the contents of the one that was stored, and finds its entry."""
        self.needs("scan")
        keys = self.hostile_keys()[:30]
        hostile = {repr(key): (key, self.put(engine, key, number)) for number, key in enumerate(keys)}
        for listed in engine.keys():
            key, value = hostile[repr(listed)]
            assert type(listed) is type(key)
            assert self.matches(engine.get(listed), value)

    def test_keys_survives_clear_and_neglect(self, engine: Engine) -> None:
        """An iteration that is left half-way, or cleared under, disturbs nothing that comes later."""
        self.needs("scan")
        for number in range(300):
            self.put(engine, self.key(number), number)
        abandoned, cleared = engine.keys(), engine.keys()
        next(abandoned)
        next(cleared)
        engine.clear()
        assert len(list(cleared)) == 299
        value = self.put(engine, self.key(1), 1)
        assert self.matches(engine.get(self.key(1)), value)
        assert list(engine.keys()) == [self.key(1)]

    def test_count_follows_every_change(self, engine: Engine) -> None:
        """count() is the number of entries after storing, overwriting, deleting and clearing."""
        self.needs("scan")
        assert engine.count() == 0
        for number in range(10):
            self.put(engine, self.key(number), number)
            self.put(engine, self.key(number), number)
            assert engine.count() == number + 1
        engine.delete(self.key(1))
        engine.delete(self.key(1))
        assert engine.count() == 9
        engine.clear()
        assert engine.count() == 0

"""What goes in comes out: values, misses, overwriting, deleting, and the same for many at once."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import pytest

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.testing.engine_contract import EngineContract, EngineOpener, content
from cachewright.testing.values import chunk_forms, falsy_values, object_values

MEGABYTES_5 = 5 * 1024 * 1024


class ValueContract(EngineContract):
    """Values of every kind are kept exactly."""

    stakes: ClassVar[str] = "callers would be given a value that nobody stored, or compute one that is there"

    def test_a_miss_is_missing(self, engine: Engine) -> None:
        """Looking up a key that was never stored returns MISSING itself, and stores nothing."""
        assert engine.get(self.key(1)) is MISSING
        assert engine.get(self.key(1)) is MISSING
        assert engine.delete(self.key(1)) is False

    def test_falsy_values_are_values(self, engine: Engine) -> None:
        """None, 0, False, empty containers and NaN are values like any other, not misses."""
        self.needs_objects()
        for number, value in enumerate(falsy_values()):
            assert engine.set(self.key(number), value) is True
            assert engine.get(self.key(number)) is value
            assert engine.delete(self.key(number)) is True

    def test_objects_keep_their_identity(self, engine: Engine) -> None:
        """Get returns the very object that was stored, without comparing, copying or showing it."""
        self.needs_objects()
        values = object_values()
        for number, value in enumerate(values):
            assert engine.set(self.key(number), value) is True
        for number, value in enumerate(values):
            if engine.get(self.key(number)) is not value:
                pytest.fail(f"value {number}, a {type(value).__name__}, did not come back as it was")

    @pytest.mark.parametrize("form", sorted(chunk_forms()))
    def test_chunks_come_back_joined(self, engine: Engine, form: str) -> None:
        """Whatever chunks are stored, get returns one blob with their concatenation."""
        self.needs_bytes()
        chunks = chunk_forms()[form]
        expected = b"".join(chunks)
        assert engine.set(self.key(1), chunks, size=len(expected)) is True
        assert content(engine.get(self.key(1))) == expected

    def test_five_megabytes_come_back(self, engine: Engine) -> None:
        """A value of five megabytes comes back whole, and can be replaced by a small one and back."""
        self.needs_bytes()
        limit = self.info.capabilities.max_value_size
        if limit is not None and limit < MEGABYTES_5:
            pytest.skip(f"engine {self.info.name!r} declares max_value_size={limit}")
        large = random.Random(5).randbytes(MEGABYTES_5)
        halves: list[Any] = [large[:1000], memoryview(large)[1000:]]
        for chunks in (halves, [b"small"], [large]):
            assert engine.set(self.key(1), chunks, size=MEGABYTES_5) is True
            assert content(engine.get(self.key(1))) == b"".join(chunks)

    def test_changing_chunks_afterwards_changes_nothing(self, engine: Engine) -> None:
        """Buffers that are reused after set returned do not change what is stored."""
        self.needs_bytes()
        buffer, large = bytearray(b"before"), bytearray(b"b" * 300_000)
        engine.set(self.key(1), [buffer], size=6)
        engine.set(self.key(2), [memoryview(buffer), b"!"], size=7)
        engine.set(self.key(3), [large], size=300_000)
        buffer[:] = b"AFTER!"
        large[:] = b"a" * 300_000
        assert content(engine.get(self.key(1))) == b"before"
        assert content(engine.get(self.key(2))) == b"before!"
        assert content(engine.get(self.key(3))) == b"b" * 300_000

    def test_changing_a_returned_blob_changes_nothing(self, engine: Engine) -> None:
        """A blob that get returned is read-only, or writing to it does not reach the entry."""
        self.needs_bytes()
        engine.set(self.key(1), [b"stored"], size=6)
        blob = engine.get(self.key(1))
        view = memoryview(getattr(blob, "view", blob))
        if not view.readonly:
            view[:] = b"spoilt"
        assert content(engine.get(self.key(1))) == b"stored"

    def test_a_returned_value_outlives_its_entry(self, engine: Engine) -> None:
        """What get returned stays right when its entry is overwritten, deleted or cleared."""
        first = self.put(engine, self.key(1), 1)
        returned = engine.get(self.key(1))
        self.put(engine, self.key(1), 2)
        assert self.matches(returned, first)
        engine.delete(self.key(1))
        assert self.matches(returned, first)
        engine.clear()
        assert self.matches(returned, first)

    def test_setting_again_replaces_the_value(self, engine: Engine) -> None:
        """The last value stored under a key is the one that get returns; there is one entry."""
        for number in range(5):
            last = self.put(engine, self.key(1), number)
            assert self.matches(engine.get(self.key(1)), last)
        assert engine.delete(self.key(1)) is True
        assert engine.get(self.key(1)) is MISSING

    def test_delete_says_whether_there_was_an_entry(self, engine: Engine) -> None:
        """Deleting returns True once per stored entry and False otherwise, and touches no other key."""
        assert engine.delete(self.key(1)) is False
        self.put(engine, self.key(1), 1)
        other = self.put(engine, self.key(2), 2)
        assert engine.delete(self.key(1)) is True
        assert engine.delete(self.key(1)) is False
        assert engine.get(self.key(1)) is MISSING
        assert self.matches(engine.get(self.key(2)), other)

    def test_clear_leaves_nothing(self, engine: Engine) -> None:
        """After clear every look-up is a miss, and the engine can be filled again."""
        for number in range(20):
            self.put(engine, self.key(number), number)
        engine.clear()
        assert [engine.get(self.key(number)) for number in range(20)] == [MISSING] * 20
        value = self.put(engine, self.key(3), 3)
        assert self.matches(engine.get(self.key(3)), value)
        engine.clear()
        engine.clear()
        assert engine.get(self.key(3)) is MISSING

    def test_a_value_over_the_declared_limit_is_refused(self, engine: Engine) -> None:
        """A value larger than max_value_size is not stored, and the older entry is gone."""
        self.needs_bytes()
        limit = self.info.capabilities.max_value_size
        if limit is None or limit > 64 * 1024 * 1024:
            pytest.skip(f"engine {self.info.name!r} does not declare a max_value_size up to 64 MB")
        self.put(engine, self.key(1), 1)
        assert engine.set(self.key(1), [bytes(limit), b"!"], size=limit + 1) is False
        assert engine.get(self.key(1)) is MISSING

    def test_many_is_the_same_as_a_loop(self, engine: Engine) -> None:
        """The *_many methods find, store and remove what a loop of single calls would."""
        values = {self.key(number): self.value(number, key=self.key(number)) for number in range(50)}
        entries: list[tuple[Any, Any, float | None, int]] = [
            (key, value, None, self.size(value)) for key, value in values.items()
        ]
        assert engine.set_many(iter(entries)) == 50
        asked = [self.key(number) for number in range(0, 100, 5)]
        found = engine.get_many(iter(asked))
        assert set(found) == {self.key(number) for number in range(0, 50, 5)}
        assert all(self.matches(found[key], values[key]) for key in found)
        assert engine.delete_many(iter(asked)) == 10
        assert engine.get_many(asked) == {}
        assert self.matches(engine.get(self.key(1)), values[self.key(1)])

    def test_many_of_none_and_of_duplicates(self, engine: Engine) -> None:
        """The *_many methods take no keys at all, and the same key twice, where the last value wins."""
        assert engine.get_many([]) == {}
        assert engine.set_many([]) == 0
        assert engine.delete_many([]) == 0
        key = self.key(1)
        first, last = self.value(1, key=key), self.value(2, key=key)
        engine.set_many([(key, first, None, self.size(first)), (key, last, None, self.size(last))])
        assert list(engine.get_many([key, key])) == [key]
        assert self.matches(engine.get(key), last)
        assert engine.delete_many([key, key]) == 1

    def test_many_takes_forty_thousand_keys(self, engine: Engine) -> None:
        """More keys than a statement has variables, or a packet room, are looked up and deleted at once."""
        keys = [self.key(number) for number in range(40_000)]
        values = {keys[number]: self.put(engine, keys[number], number) for number in (0, 1, 20_000, 39_999)}
        found = engine.get_many(keys)
        assert set(found) == set(values)
        assert all(self.matches(found[key], value) for key, value in values.items())
        assert engine.delete_many(keys) == 4
        assert engine.get_many(list(values)) == {}

    def test_many_stores_two_thousand_entries(self, engine: Engine) -> None:
        """set_many stores every entry of a long list, and says how many there were."""
        values = {self.key(number): self.value(number, key=self.key(number)) for number in range(2000)}
        assert engine.set_many((key, value, None, self.size(value)) for key, value in values.items()) == 2000
        found = engine.get_many(values)
        assert len(found) == 2000
        assert all(self.matches(found[key], value) for key, value in values.items())

    def test_a_thousand_entries_are_kept(self, open_engine: EngineOpener) -> None:
        """An engine opened without a bound forgets none of a thousand entries."""
        engine = open_engine()
        values = [self.put(engine, self.key(number), number) for number in range(1000)]
        assert all(self.matches(engine.get(self.key(number)), values[number]) for number in range(1000))

"""Objects are let go when their entries are gone, and foreign code in them harms nobody."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.testing.engine_contract import EngineContract, EngineOpener, Token

ENDINGS: dict[str, Callable[[Engine, Any], object]] = {
    "overwrite": lambda engine, key: engine.set(key, "other"),
    "delete": lambda engine, key: engine.delete(key),
    "delete_many": lambda engine, key: engine.delete_many([key]),
    "clear": lambda engine, _: engine.clear(),
    "close": lambda engine, _: engine.close(),
}
"""Ways for an entry of an engine without bounds to end."""


class Awkward:
    """A key that hashes like others of its class and cannot be compared with them."""

    def __hash__(self) -> int:
        return 11

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        message = "this key cannot be compared"
        raise RuntimeError(message)


class Farewell:
    """A value whose finaliser uses the engine."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work

    def __del__(self) -> None:
        self.work()


class ObjectContract(EngineContract):
    """What only an engine of objects can get wrong: lifetimes, and code of keys and values."""

    stakes: ClassVar[str] = "memory would leak, or a finaliser or a key of the application hang it"

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_what_is_gone_is_released(self, engine: Engine, ending: str) -> None:
        """The engine keeps no reference to a value whose entry has ended."""
        self.needs_objects()
        value = Token("key", 1)
        engine.set(self.key(1), value)
        assert engine.get(self.key(1)) is value
        reader = engine.reader()
        remembered = weakref.ref(value)
        del value
        ENDINGS[ending](engine, self.key(1))
        gc.collect()
        assert remembered() is None, f"the value is alive after {ending}"
        del reader

    def test_what_is_evicted_is_released(self, open_engine: EngineOpener) -> None:
        """A bounded engine keeps references to as many values as it may hold entries."""
        self.needs_objects()
        self.needs("max_entries")
        engine = open_engine(maxsize=4)
        values = [Token("key", number) for number in range(40)]
        remembered = [weakref.ref(value) for value in values]
        while values:
            engine.set(self.key(len(values)), values.pop())
        gc.collect()
        assert sum(reference() is not None for reference in remembered) <= 4

    @pytest.mark.parametrize("ending", ["overwrite", "delete", "clear", "evict"])
    def test_a_finaliser_may_use_the_engine(self, open_engine: EngineOpener, ending: str) -> None:
        """Values whose finalisers read and write the engine neither hang it nor spoil it."""
        self.needs_objects()
        bounded = ending == "evict"
        if bounded:
            self.needs("max_entries")
        engine = open_engine(maxsize=4) if bounded else open_engine()
        spoken: list[int] = []

        def speak() -> None:
            engine.get(self.key(1))
            engine.set(self.key(2), "from a finaliser")
            spoken.append(1)

        def work() -> None:
            for number in range(20):
                key = self.key(100 + number if bounded else 3)
                engine.set(key, Farewell(speak))
                if not bounded:
                    ENDINGS[ending](engine, key)

        self.in_time(open_engine, engine, work)
        assert spoken, "no finaliser ran: what was stored is still referenced"
        value = self.put(engine, self.key(4), 4)
        assert engine.get(self.key(4)) is value
        assert engine.get(self.key(2)) in (MISSING, "from a finaliser")
        engine.clear()  # the finalisers that are left run while the engine is open

    def test_a_key_that_cannot_be_compared_harms_no_other(self, engine: Engine) -> None:
        """An exception from a key's __eq__ is raised or a miss; every other entry stays whole."""
        self.needs_objects()
        first, second = Awkward(), Awkward()
        kept = self.put(engine, self.key(1), 1)
        value = self.put(engine, first, 2)
        for use in (
            lambda: engine.get(second),
            lambda: engine.set(second, "other"),
            lambda: engine.delete(second),
            lambda: engine.get_many([second]),
        ):
            try:
                use()
            except RuntimeError as error:
                assert "cannot be compared" in str(error)  # noqa: PT017 - raising is one of two right answers
        assert engine.get(self.key(1)) in (kept, MISSING)
        assert engine.get(first) in (value, MISSING)
        later = self.put(engine, self.key(2), 3)
        assert engine.get(self.key(2)) is later

    def test_values_of_one_key_are_never_mixed_up_with_its_own(self, engine: Engine) -> None:
        """A key can be stored as a value, under itself and under others, and the engine as one, too."""
        self.needs_objects()
        for key in (self.key(1), "text", 7, engine):
            assert engine.set(key, key) is True
            assert engine.get(key) is key
        assert engine.set("engine", engine) is True
        assert engine.get("engine") is engine
        engine.clear()

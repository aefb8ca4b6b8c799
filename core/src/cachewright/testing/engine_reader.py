"""A reader is a shortcut to get: it may find less, never anything else."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cachewright.engine import Engine, Reader
from cachewright.entry import MISSING
from cachewright.testing.engine_contract import EngineContract, EngineOpener


class ReaderContract(EngineContract):
    """The fastest read agrees with get through every change of the store."""

    stakes: ClassVar[str] = "the fastest path of a decorated function would return what is not stored"

    def reader_of(self, engine: Engine) -> Reader:
        """Return the engine's reader; skips the test where there is none."""
        self.needs_objects()
        reader = engine.reader()
        if reader is None:
            pytest.skip(f"engine {self.info.name!r} offers no reader")
        return reader

    def agrees(self, engine: Engine, reader: Reader, number: int) -> bool:
        """Tell whether the reader finds what get finds, or nothing, under sample key ``number``."""
        try:
            read = reader[self.key(number)]
        except KeyError:
            return True
        return read is engine.get(self.key(number)) and read is not MISSING

    def test_a_reader_finds_the_same_object(self, engine: Engine) -> None:
        """Subscripting returns what get returns or raises KeyError, also after overwriting and deleting."""
        reader = self.reader_of(engine)
        assert self.agrees(engine, reader, 0)
        for number in range(20):
            self.put(engine, self.key(number), number)
        assert all(self.agrees(engine, reader, number) for number in range(20))
        for number in range(10):
            self.put(engine, self.key(number), number + 100)
        engine.delete(self.key(15))
        assert all(self.agrees(engine, reader, number) for number in range(20))

    def test_a_reader_finds_something(self, engine: Engine) -> None:
        """An entry that was stored and read by get once is found by the reader."""
        reader = self.reader_of(engine)
        value = self.put(engine, self.key(1), 1)
        assert engine.get(self.key(1)) is value
        assert reader[self.key(1)] is value

    def test_a_reader_stays_attached_over_clear(self, engine: Engine) -> None:
        """A reader taken before clear finds nothing of before, and what is stored afterwards."""
        reader = self.reader_of(engine)
        self.put(engine, self.key(1), 1)
        engine.clear()
        with pytest.raises(KeyError):
            reader[self.key(1)]
        value = self.put(engine, self.key(2), 2)
        assert engine.get(self.key(2)) is value
        assert reader[self.key(2)] is value

    def test_a_reader_follows_eviction(self, open_engine: EngineOpener) -> None:
        """A reader of a bounded engine finds no entry that was evicted."""
        self.needs("max_entries")
        engine = open_engine(maxsize=4)
        reader = self.reader_of(engine)
        for number in range(40):
            self.put(engine, self.key(number), number)
            assert all(self.agrees(engine, reader, earlier) for earlier in range(number + 1))

    def test_an_engine_of_bytes_has_no_reader(self, engine: Engine) -> None:
        """Only engines of objects offer a reader, for blobs have to be authenticated first."""
        self.needs_bytes()
        assert engine.reader() is None

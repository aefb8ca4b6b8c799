"""A store is shared between handles, outlives those that persist, and can be closed at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

import pytest

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.errors import ClosedError
from cachewright.testing.bridge import Blocking
from cachewright.testing.engine_contract import EngineContract, EngineOpener


class StoreContract(EngineContract):
    """Handles come and go; what is stored stays where the record says so."""

    stakes: ClassVar[str] = "entries would be lost by a restart, or an application fail when it shuts down"

    def needs_sharing(self) -> None:
        """Skip the test unless entries are visible beyond the engine object."""
        if self.info.capabilities.scope == "process":
            pytest.skip(f"engine {self.info.name!r} does not declare a scope beyond the process")

    def test_two_handles_see_each_others_writes(self, open_engine: EngineOpener) -> None:
        """What one handle stores, overwrites, deletes or clears, the next look-up of another sees."""
        self.needs_sharing()
        one, other = open_engine(), open_engine()
        key = self.key(1)
        assert other.get(key) is MISSING
        for number, (writer, reader) in enumerate([(one, other), (other, one)] * 3):
            value = self.put(writer, key, number)
            assert self.matches(reader.get(key), value)
            assert self.matches(writer.get(key), value)
        assert one.delete(key) is True
        assert other.get(key) is MISSING
        self.put(one, key, 9)
        other.clear()
        assert one.get(key) is MISSING

    def test_two_handles_compare_and_set_against_each_other(self, open_engine: EngineOpener) -> None:
        """A value that another handle replaced meanwhile is no longer what is expected."""
        self.needs_sharing()
        self.needs("compare_and_set")
        one, other = open_engine(), open_engine()
        key = self.key(1)
        self.put(one, key, 1)
        expected = one.get(key)
        newer = self.put(other, key, 2)
        assert one.compare_and_set(key, expected, self.value(3)) is False
        assert self.matches(one.get(key), newer)

    def test_closing_one_handle_leaves_the_other(self, open_engine: EngineOpener) -> None:
        """A handle goes on working after another one on the same store was closed."""
        self.needs_sharing()
        one, other = open_engine(), open_engine()
        value = self.put(one, self.key(1), 1)
        one.close()
        assert self.matches(other.get(self.key(1)), value)
        self.put(other, self.key(2), 2)

    def test_entries_survive_closing_and_reopening(self, open_engine: EngineOpener) -> None:
        """A persistent engine finds every entry again, overwritten ones with the last value."""
        self.needs("persistent")
        keys = [self.key(number) for number in range(30)]
        engine = open_engine()
        for number, key in enumerate(keys):
            self.put(engine, key, number)
        values = [self.put(engine, key, number + 100) for number, key in enumerate(keys)]
        engine.delete(keys[0])
        engine.close()
        for _ in range(3):
            reopened = open_engine()
            assert reopened.get(keys[0]) is MISSING
            for key, value in zip(keys[1:], values[1:], strict=True):
                assert self.matches(reopened.get(key), value)
            if self.info.capabilities.scan:
                assert set(reopened.keys()) == set(keys[1:])
            reopened.close()

    def test_namespaces_survive_reopening_apart(self, open_engine: EngineOpener) -> None:
        """After reopening, each namespace of a persistent store holds its own values still."""
        self.needs("persistent")
        names = ("a", "ab", "A", "a/b", "../a")
        key = self.key(1)
        values = {}
        for number, name in enumerate(names):
            engine = open_engine(namespace=name)
            values[name] = self.put(engine, key, number)
            engine.close()
        for name in names:
            assert self.matches(open_engine(namespace=name).get(key), values[name]), name

    def test_closing_twice_is_allowed(self, open_engine: EngineOpener) -> None:
        """Close may be called again, also on an engine that was never used."""
        unused, used = open_engine(namespace="unused"), open_engine()
        self.put(used, self.key(1), 1)
        for engine in (unused, used):
            engine.close()
            engine.close()

    def test_use_after_close_fails_only_in_one_way(self, open_engine: EngineOpener) -> None:
        """After close every operation raises ClosedError or works, and never raises anything else."""
        engine = open_engine()
        key, value = self.key(1), self.put(engine, self.key(1), 1)
        engine.close()
        operations: list[Callable[[], object]] = [
            lambda: engine.get(key),
            lambda: engine.set(key, value),
            lambda: engine.get_many([key]),
            lambda: engine.set_many([(key, value, None, 1)]),
            lambda: engine.delete_many([key]),
            lambda: engine.delete(key),
            engine.clear,
            engine.close,
        ]
        if self.info.capabilities.scan:
            operations += [lambda: list(engine.keys()), engine.count]
        for operation in operations:
            try:
                operation()
            except ClosedError:
                continue

    def test_closing_beside_other_threads_fails_only_in_one_way(self, open_engine: EngineOpener) -> None:
        """Threads at work while the engine is closed get their answer or ClosedError, nothing else."""
        engine = open_engine()
        for number in range(8):
            self.put(engine, self.key(number), number)
        failures: list[BaseException] = []
        started = threading.Barrier(5, timeout=60)

        def work() -> None:
            started.wait()
            try:
                for turn in range(100):
                    self._touch(engine, turn % 8)
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - foreign code; handed to the asserting thread
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        engine.close()
        for thread in threads:
            thread.join(60)
        assert failures == []

    def test_both_colours_share_one_store(self, open_engine: EngineOpener) -> None:
        """What the synchronous engine stores the asynchronous one finds, and the other way round."""
        self.needs_sharing()
        self.needs("sync")
        self.needs("async_")
        open_engine()
        one = open_engine.keep(self.info.load()(open_engine.config))
        other = open_engine.keep(Blocking(open_engine.config, self.info.load_async()))
        for number, (writer, reader) in enumerate([(one, other), (other, one)]):
            key = self.key(number)
            value = self.put(writer, key, number)
            assert self.matches(reader.get(key), value)
            if self.info.capabilities.scan:
                assert set(one.keys()) == set(other.keys())
            assert reader.delete(key) is True
            assert writer.get(key) is MISSING

    def _touch(self, engine: Engine, number: int) -> None:
        engine.get(self.key(number))
        engine.set(self.key(number), self.value(number))

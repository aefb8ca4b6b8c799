"""Entries of different namespaces never meet, whatever the namespaces are called."""

from __future__ import annotations

from typing import ClassVar

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.testing.engine_contract import EngineContract, EngineOpener
from cachewright.testing.values import NAMESPACES


class NamespaceContract(EngineContract):
    """Two engines on one store with different namespaces do not see each other."""

    stakes: ClassVar[str] = "clearing the results of one function would delete or mix up another's"

    def test_hostile_namespaces_never_meet(self, open_engine: EngineOpener) -> None:
        """One key holds one value per namespace, for names that are prefixes, patterns or paths."""
        engines = {name: open_engine(namespace=name) for name in NAMESPACES}
        key = self.key(1)
        for engine in engines.values():
            assert engine.get(key) is MISSING
        values = {
            name: self.put(engine, key, number) for number, (name, engine) in enumerate(engines.items())
        }
        for name, engine in engines.items():
            assert self.matches(engine.get(key), values[name]), name[:40]

    def test_clear_empties_only_its_own_namespace(self, open_engine: EngineOpener) -> None:
        """Clearing a namespace leaves every other one complete, one after the other."""
        engines = {name: open_engine(namespace=name) for name in NAMESPACES}
        keys = [self.key(number) for number in range(3)]
        values = {
            (name, key): self.put(engine, key, number)
            for name, engine in engines.items()
            for number, key in enumerate(keys)
        }
        left = dict(engines)
        for name, engine in engines.items():
            engine.clear()
            del left[name]
            assert [engine.get(key) for key in keys] == [MISSING] * 3, name[:40]
            _assert_complete(self, left, values)

    def test_delete_and_keys_see_only_their_own_namespace(self, open_engine: EngineOpener) -> None:
        """Deleting, listing and counting in one namespace do not reach into another."""
        self.needs("scan")
        one, other = open_engine(namespace="a"), open_engine(namespace="ab")
        shared = self.key(1)
        self.put(one, shared, 1)
        kept = self.put(other, shared, 2)
        self.put(other, self.key(2), 3)
        assert (one.count(), other.count()) == (1, 2)
        assert list(one.keys()) == [shared]
        assert one.delete(self.key(2)) is False
        assert one.delete(shared) is True
        assert self.matches(other.get(shared), kept)
        assert (one.count(), other.count()) == (0, 2)


def _assert_complete(
    contract: EngineContract, engines: dict[str, Engine], values: dict[tuple[str, object], object]
) -> None:
    for (name, key), value in values.items():
        if name in engines:
            assert contract.matches(engines[name].get(key), value), name[:40]

"""The record an engine is announced by says the truth, and costs no import."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from typing import ClassVar

import pytest

from cachewright.engine import SCOPES, AsyncEngine, Engine
from cachewright.testing.engine_contract import EngineContract
from cachewright.testing.light_import import backends_imported_by

NAME = re.compile(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*")


class RecordContract(EngineContract):
    """EngineInfo, checked against the class it names."""

    stakes: ClassVar[str] = "the selector would pick the engine for what it cannot do, or not at all"

    def test_the_targets_load(self) -> None:
        """Each declared target loads a concrete class whose name attribute is that of the record."""
        capabilities = self.info.capabilities
        assert bool(self.info.target) is capabilities.sync
        assert bool(self.info.async_target) is capabilities.async_
        loaded: list[type[Engine | AsyncEngine]] = []
        if self.info.target:
            loaded.append(self.info.load())
        if self.info.async_target:
            loaded.append(self.info.load_async())
        assert loaded
        assert [engine.name for engine in loaded] == [self.info.name] * len(loaded)

    def test_the_record_makes_sense(self) -> None:
        """Name, scope, resolution, policies and limits are possible, and fit each other."""
        capabilities = self.info.capabilities
        assert NAME.fullmatch(self.info.name), self.info.name
        assert self.info.summary, "a summary for the table of engines"
        assert "\n" not in self.info.summary
        assert capabilities.scope in SCOPES
        assert capabilities.holds in {"objects", "bytes"}
        if capabilities.holds == "objects":
            assert capabilities.scope == "process", "objects cannot leave their process"
            assert not capabilities.persistent, "objects cannot outlive their process"
        assert capabilities.ttl_resolution >= 0
        assert len(set(capabilities.policies)) == len(capabilities.policies)
        assert not capabilities.policies or capabilities.max_entries or capabilities.max_bytes
        assert capabilities.max_value_size is None or capabilities.max_value_size > 0

    def test_the_costs_are_curves(self) -> None:
        """Costs are positive seconds at ascending sizes, with one knot at least."""
        costs = self.info.costs
        for knots in (costs.get, costs.set):
            sizes = [size for size, _ in knots]
            assert knots
            assert sizes == sorted(set(sizes))
            assert sizes[0] > 0
            assert all(0 < seconds < 60 for _, seconds in knots)
        assert 0 <= costs.miss < 60
        assert 0 <= costs.open < 60

    def test_compare_and_set_is_written_where_declared(self) -> None:
        """The method is overridden exactly where the record declares it."""
        if self.info.target:
            overridden = self.info.load().compare_and_set is not Engine.compare_and_set
            assert overridden is self.info.capabilities.compare_and_set
        if self.info.async_target:
            overridden = self.info.load_async().compare_and_set is not AsyncEngine.compare_and_set
            assert overridden is self.info.capabilities.compare_and_set

    def test_private_is_a_yes_or_a_no(self, engine: Engine) -> None:
        """An engine knows whether only the current user can have written its store."""
        assert isinstance(engine.private, bool)
        if self.info.capabilities.scope == "network":
            assert engine.private is False, "others may write to a server"

    def test_announcing_imports_no_backend(self) -> None:
        """Asking the installed plugin for its records imports nothing that the record requires."""
        if not self.info.requires:
            pytest.skip(f"engine {self.info.name!r} requires no backend library")
        points = [point for point in entry_points(group="cachewright") if self._announced_by(point.module)]
        if not points:
            pytest.skip(f"engine {self.info.name!r} is announced by no installed plugin")
        for point in points:
            assert backends_imported_by(point.module, self.info.requires) == []

    def test_what_it_requires_is_installed(self) -> None:
        """``requires`` names distributions as they are published, or the engine would never be available."""
        for name in self.info.requires:
            try:
                distribution(name)
            except PackageNotFoundError:
                pytest.fail(f"no distribution {name!r} is installed; requires names those, not modules")

    def _announced_by(self, module: str) -> bool:
        package = (self.info.target or self.info.async_target).partition(".")[0]
        return module.partition(".")[0] == package

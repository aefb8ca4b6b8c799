"""The sqlite engine keeps every promise of the conformance kit."""

from __future__ import annotations

from cachewright.builtin.plugin import cachewright_engines
from cachewright.testing.engine_kit import EngineKit


class TestSqlite(EngineKit):
    """The kit, for the built-in record."""

    info = next(info for info in cachewright_engines() if info.name == "sqlite")

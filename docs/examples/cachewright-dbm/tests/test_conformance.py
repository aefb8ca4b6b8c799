"""The dbm engine keeps the promises of every engine, and of every plugin."""

from __future__ import annotations

from cachewright.testing import EngineKit, PluginKit

from cachewright_dbm.plugin import DBM


class TestDbm(EngineKit):
    info = DBM


class TestPackaging(PluginKit):
    distribution = "cachewright-dbm"

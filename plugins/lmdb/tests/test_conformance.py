"""The lmdb engine keeps the promises of every engine, and its distribution those of every plugin."""

from __future__ import annotations

from cachewright_lmdb.plugin import cachewright_engines

from cachewright.testing import EngineKit, PluginKit

(INFO,) = cachewright_engines()


class TestLmdb(EngineKit):
    info = INFO


class TestPackaging(PluginKit):
    distribution = "cachewright-lmdb"

"""The diskcache engines keep the promises of every engine, and their distribution those of every plugin."""

from __future__ import annotations

from pathlib import Path

from cachewright_diskcache.plugin import DISKCACHE, DISKCACHE_FANOUT

from cachewright.engine import EngineConfig
from cachewright.testing import EngineKit, PluginKit


class TestDiskcache(EngineKit):
    info = DISKCACHE

    def make_config(self, tmp_path: Path) -> EngineConfig:
        return EngineConfig(path=tmp_path / "store", options={"accept_cve": True})


class TestFanout(EngineKit):
    info = DISKCACHE_FANOUT

    def make_config(self, tmp_path: Path) -> EngineConfig:
        return EngineConfig(path=tmp_path / "store", options={"accept_cve": True, "shards": 2})


class TestPackaging(PluginKit):
    distribution = "cachewright-diskcache"

"""The redis engines keep the promises of every engine, and their distribution those of every plugin."""

from __future__ import annotations

from pathlib import Path

import pytest
from cachewright_redis.plugin import cachewright_engines

from cachewright.engine import EngineConfig
from cachewright.testing import AsyncEngineKit, EngineKit, PluginKit
from cachewright.testing.engine_contract import EngineContract

(INFO,) = cachewright_engines()


class OnServer(EngineContract):
    """Reaches the server of the fixture ``redis_url``; its clock decides about every ttl."""

    info = INFO
    clocked_by_server = True

    @pytest.fixture(autouse=True)
    def address(self, redis_url: str) -> None:
        """Keep the address of the server for make_config."""
        self.url = redis_url

    def make_config(self, tmp_path: Path) -> EngineConfig:
        """Open engines on the server of the test."""
        return EngineConfig(url=self.url, namespace="conformance", timeout=10.0)

    def unreachable_config(self, tmp_path: Path) -> EngineConfig:
        """Point to a port that nobody listens on."""
        return EngineConfig(url="redis://127.0.0.1:1/0", timeout=0.2)


class TestRedis(OnServer, EngineKit):
    pass


@pytest.mark.slow
class TestAsyncRedis(OnServer, AsyncEngineKit):
    pass


class TestPackaging(PluginKit):
    distribution = "cachewright-redis"

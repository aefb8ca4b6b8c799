"""The aiocache engines keep the promises of every engine, and their distribution those of every plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cachewright_aiocache.plugin import MEMCACHED, MEMORY, REDIS

from cachewright.engine import EngineConfig
from cachewright.testing import AsyncEngineKit, PluginKit


class TestMemory(AsyncEngineKit):
    info = MEMORY


class TestRedis(AsyncEngineKit):
    info = REDIS
    clocked_by_server = True

    @pytest.fixture(autouse=True)
    def address(self, redis_server: Any) -> None:
        """Keep the address of the server for make_config."""
        self.url = redis_server.url

    def make_config(self, tmp_path: Path) -> EngineConfig:
        """Open engines on the server of the test."""
        return EngineConfig(url=self.url, namespace="conformance", timeout=10.0)

    def unreachable_config(self, tmp_path: Path) -> EngineConfig:
        """Point to a port that nobody listens on."""
        return EngineConfig(url="redis://127.0.0.1:1", timeout=0.2)


class TestMemcached(AsyncEngineKit):
    info = MEMCACHED
    clocked_by_server = True

    @pytest.fixture(autouse=True)
    def address(self, memcached_server: Any) -> None:
        """Keep the address of the server for make_config."""
        self.url = memcached_server.url

    def make_config(self, tmp_path: Path) -> EngineConfig:
        """Open engines on the server of the test."""
        return EngineConfig(url=self.url, namespace="conformance", timeout=10.0)

    def unreachable_config(self, tmp_path: Path) -> EngineConfig:
        """Point to a port that nobody listens on."""
        return EngineConfig(url="memcached://127.0.0.1:1", timeout=0.2)


class TestPackaging(PluginKit):
    distribution = "cachewright-aiocache"

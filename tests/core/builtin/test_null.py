"""The null engine accepts everything and keeps nothing."""

from __future__ import annotations

import asyncio

import pytest

from cachewright.builtin.null import AsyncNullEngine, NullEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError


def test_null_keeps_nothing():
    """Whatever is stored, every look-up is a miss, and set says so."""
    engine = NullEngine(EngineConfig(maxsize=5, max_bytes=5))
    reader = engine.reader()
    assert reader is not None
    assert engine.set("key", "value", ttl=5.0, size=3) is False
    assert engine.get("key") is MISSING
    with pytest.raises(KeyError):
        reader["key"]
    assert engine.delete("key") is False
    assert list(engine.keys()) == []
    assert engine.count() == 0
    assert engine.get_many(["key"]) == {}
    assert engine.set_many([("key", 1, None, 1)]) == 0


def test_null_can_be_cleared_and_closed_twice():
    """Clear and close are harmless."""
    engine = NullEngine(EngineConfig())
    engine.clear()
    engine.close()
    engine.close()


def test_async_null_keeps_nothing():
    """The same, awaited."""

    async def use() -> None:
        engine = AsyncNullEngine(EngineConfig())
        assert await engine.set("key", "value") is False
        assert await engine.get("key") is MISSING
        assert await engine.delete("key") is False
        await engine.clear()
        assert [key async for key in engine.keys()] == []
        assert await engine.count() == 0
        await engine.close()

    asyncio.run(use())


@pytest.mark.parametrize("kind", [NullEngine, AsyncNullEngine])
@pytest.mark.parametrize("wrong", [{"options": {"colour": 1}}, {"policy": "lru"}])
def test_null_refuses_settings_it_would_ignore(kind, wrong):
    """An option or a policy is an error."""
    with pytest.raises(ConfigurationError):
        kind(EngineConfig(**wrong))

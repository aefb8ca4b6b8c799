"""The null engine stores nothing: every look-up is a miss. For switching a cache off by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cachewright.engine import AsyncEngine, Engine
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cachewright.engine import EngineConfig, Reader


class NullEngine(Engine):
    """Accepts everything, keeps nothing."""

    name = "null"

    def __init__(self, config: EngineConfig) -> None:
        _check(config)

    def get(self, key: Any, /) -> Any:
        return MISSING

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return False

    def delete(self, key: Any, /) -> bool:
        return False

    def clear(self) -> None:
        """There is nothing to remove."""

    def keys(self) -> Iterator[Any]:
        return iter(())

    def reader(self) -> Reader:
        return {}


class AsyncNullEngine(AsyncEngine):
    """The same, awaited."""

    name = "null"

    def __init__(self, config: EngineConfig) -> None:
        _check(config)

    async def get(self, key: Any, /) -> Any:
        return MISSING

    async def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return False

    async def delete(self, key: Any, /) -> bool:
        return False

    async def clear(self) -> None:
        """There is nothing to remove."""

    async def keys(self) -> AsyncIterator[Any]:
        nothing: tuple[Any, ...] = ()
        for key in nothing:
            yield key


def _check(config: EngineConfig) -> None:
    if config.options:
        raise ConfigurationError("options", dict(config.options), "none: engine 'null' has no options")
    if config.policy is not None:
        raise ConfigurationError("policy", config.policy, "None: engine 'null' evicts nothing")

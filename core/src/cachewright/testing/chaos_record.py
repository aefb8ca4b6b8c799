"""The record by which an engine with faults is found by its name, like any other."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from cachewright.engine import AsyncEngine, Engine, EngineConfig, EngineInfo
from cachewright.hookspecs import hookimpl
from cachewright.registry import default_registry
from cachewright.testing.chaos import Chaos
from cachewright.testing.chaos_engine import AsyncChaosEngine, ChaosEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosInfo(EngineInfo):
    """The record of an engine with faults: what the wrapped one declares, and its classes, wrapped.

    Attributes:
        inner: the record of the wrapped engine.
        chaos: what goes wrong.
    """

    inner: EngineInfo
    chaos: Chaos

    @classmethod
    def around(cls, inner: EngineInfo, chaos: Chaos, *, name: str) -> ChaosInfo:
        """Return the record under which ``inner`` with faults is announced."""
        return cls(
            name=name,
            target=inner.target,
            async_target=inner.async_target,
            capabilities=inner.capabilities,
            costs=inner.costs,
            requires=inner.requires,
            summary=f"{inner.name} with faults",
            automatic=False,
            inner=inner,
            chaos=chaos,
        )

    def load(self) -> type[Engine]:
        """Return a class that opens the wrapped engine and puts the faults around it."""
        inner, chaos, own_name = self.inner.load(), self.chaos, self.name

        class OpenedChaosEngine(ChaosEngine):
            name = own_name

            def __init__(self, config: EngineConfig) -> None:
                super().__init__(inner(config), chaos)

        return OpenedChaosEngine

    def load_async(self) -> type[AsyncEngine]:
        """Return the asynchronous counterpart; see :meth:`load`."""
        inner, chaos, own_name = self.inner.load_async(), self.chaos, self.name

        class OpenedAsyncChaosEngine(AsyncChaosEngine):
            name = own_name

            def __init__(self, config: EngineConfig) -> None:
                super().__init__(inner(config), chaos)

        return OpenedAsyncChaosEngine


@contextmanager
def install_chaos(engine: str, chaos: Chaos, *, name: str = "chaos") -> Generator[Chaos, None, None]:
    """Offer an installed engine with faults under another name, for as long as the context lasts.

    Functions and caches that are opened meanwhile with ``engine="chaos"``, or under that setting, use
    it; they keep it when the context ends.

    Args:
        engine: name of the engine to wrap.
        chaos: what goes wrong.
        name: the name to offer it under.

    Raises:
        UnknownEngineError: no engine of that name is installed.
        PluginConflictError: the name is taken by another registered plugin.
    """
    registry = default_registry()
    inner = registry.engine(engine)
    info = ChaosInfo.around(inner, chaos, name=name)

    class Plugin:
        @hookimpl
        def cachewright_engines(self) -> list[EngineInfo]:
            return [info]

    plugin = Plugin()
    registry.register(plugin, name)
    try:
        yield chaos
    finally:
        registry.unregister(plugin)

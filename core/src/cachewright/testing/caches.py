"""A cache over an engine that a test has opened itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cachewright._lifecycle import Lifecycle
from cachewright._packing import EntryPacker, SealedPacker, SerializerChain
from cachewright.cache import Cache
from cachewright.envelope import Envelope
from cachewright.registry import default_registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachewright._packing import Packer
    from cachewright.engine import Engine, EngineConfig, EngineInfo


def cache_over(
    open_engine: Callable[[EngineConfig], Engine], config: EngineConfig, info: EngineInfo
) -> Cache:
    """Return a cache over a newly opened engine, with everything that the core adds to one.

    It is what ``open_cache`` makes of an installed engine. Values are plain data, entries of bytes are
    not authenticated.

    Args:
        open_engine: opens the engine, and its companion.
        config: what the engine is opened with; the cache goes by its clock and namespace.
        info: the engine's record.
    """
    registry = default_registry()
    data = registry.serializer("data")
    packer: Packer
    if info.capabilities.holds == "objects":
        packer = EntryPacker(config.clock)
    else:
        envelope = Envelope(config.namespace, ring=None)
        packer = SealedPacker(config.clock, envelope, SerializerChain([data]), data.load()())
    lifecycle = Lifecycle(
        namespace=config.namespace,
        info=info,
        packer=packer,
        keymaker=registry.keymaker("canonical").load()(),
        clock=config.clock,
    )
    beside = replace(config, namespace=f"{config.namespace}\0aside", maxsize=None, max_bytes=None)
    return Cache(open_engine(config), lifecycle, companion=lambda: open_engine(beside))

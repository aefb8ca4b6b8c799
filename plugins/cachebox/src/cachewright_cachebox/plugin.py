"""The record by which the cachebox engine is announced; imports no backend library."""

from __future__ import annotations

from typing import Final

from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl

CACHEBOX: Final = EngineInfo(
    name="cachebox",
    target="cachewright_cachebox.engine:CacheboxEngine",
    capabilities=Capabilities(
        holds="objects",
        max_entries=True,
        max_bytes=True,
        policies=("lru", "lfu", "fifo", "rr"),
        compare_and_set=True,
    ),
    costs=Costs(get=((64, 6e-8),), set=((64, 9e-7),), miss=6e-8),
    requires=("cachebox",),
    install="cachewright-cachebox",
    summary="entries in this process, kept by a compiled cache",
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The cachebox engine."""
    return [CACHEBOX]

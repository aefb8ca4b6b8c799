"""The record by which the cachetools engine is announced; imports no backend library."""

from __future__ import annotations

from typing import Final

from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl

CACHETOOLS: Final = EngineInfo(
    name="cachetools",
    target="cachewright_cachetools.engine:CachetoolsEngine",
    capabilities=Capabilities(
        holds="objects",
        max_entries=True,
        max_bytes=True,
        policies=("lru", "lfu", "fifo", "rr"),
        compare_and_set=True,
    ),
    costs=Costs(get=((64, 1.2e-7),), set=((64, 1.7e-6),), miss=2e-7),
    requires=("cachetools",),
    install="cachewright-cachetools",
    summary="entries in this process; cachetools decides which one goes",
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The cachetools engine."""
    return [CACHETOOLS]

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
    costs=Costs(get=((64, 4e-7),), set=((64, 1.8e-6),), miss=1.6e-6),
    requires=("cachetools",),
    install="cachewright-cachetools",
    summary="entries in this process, kept by a cachetools cache behind a lock",
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The cachetools engine."""
    return [CACHETOOLS]

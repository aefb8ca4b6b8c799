"""The record by which the lmdb engine is announced; imports no backend library."""

from __future__ import annotations

from typing import Final

from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl

LMDB: Final = EngineInfo(
    name="lmdb",
    target="cachewright_lmdb.engine:LmdbEngine",
    capabilities=Capabilities(
        holds="bytes",
        scope="host",
        persistent=True,
        blocking=True,
        ttl_per_entry=True,
        ttl_resolution=1e-6,
        max_entries=True,
        max_bytes=True,
        policies=("lru", "fifo"),
        compare_and_set=True,
        many=True,
        max_value_size=(1 << 32) - 16,
    ),
    costs=Costs(
        get=((64, 1.1e-6), (16_384, 1.8e-6), (100_000, 4e-6), (1_000_000, 5e-5), (10_000_000, 9e-4)),
        set=((64, 1.9e-5), (16_384, 3.2e-5), (100_000, 4.2e-5), (1_000_000, 3.8e-4), (10_000_000, 3.3e-3)),
        miss=8e-7,
        open=2e-3,
    ),
    requires=("lmdb",),
    install="cachewright-lmdb",
    summary="a memory-mapped file shared by the processes of this host, the fastest to read",
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The lmdb engine."""
    return [LMDB]

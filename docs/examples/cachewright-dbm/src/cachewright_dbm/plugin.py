"""The record of the dbm engine; imports no backend library."""

from __future__ import annotations

from typing import Final

from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl

DBM: Final = EngineInfo(
    name="dbm",
    target="cachewright_dbm.engine:DbmEngine",
    capabilities=Capabilities(
        holds="bytes",
        scope="host",
        persistent=True,
        blocking=True,
        ttl_per_entry=True,
        ttl_resolution=1e-6,
        compare_and_set=True,
    ),
    costs=Costs(
        get=(
            (64, 0.00012),
            (1_000, 0.00015),
            (16_384, 0.00016),
            (100_000, 0.00033),
            (1_000_000, 0.002),
            (10_000_000, 0.02),
        ),
        set=(
            (64, 0.0015),
            (1_000, 0.0014),
            (16_384, 0.0014),
            (100_000, 0.0014),
            (1_000_000, 0.0059),
            (10_000_000, 0.053),
        ),
        miss=7.4e-05,
        open=0.00012,
    ),
    summary="databases of the standard library, shared by the processes of this host",
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The dbm engine."""
    return [DBM]

"""The records by which the diskcache engines are announced; imports no backend library.

Both are used only where they are asked for by name, because of CVE-2025-69872 in the library.
"""

from __future__ import annotations

from typing import Final

from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl

_CAPABILITIES: Final = Capabilities(
    holds="bytes",
    scope="host",
    persistent=True,
    blocking=True,
    ttl_per_entry=True,
    ttl_resolution=1e-5,
    compare_and_set=True,
    many=True,
)

DISKCACHE: Final = EngineInfo(
    name="diskcache",
    target="cachewright_diskcache.engine:DiskcacheEngine",
    capabilities=_CAPABILITIES,
    costs=Costs(
        get=((64, 6.5e-6), (16_384, 7.4e-6), (100_000, 2.4e-5), (1_000_000, 2e-5), (10_000_000, 2e-5)),
        set=((64, 1e-4), (16_384, 1e-4), (100_000, 6e-4), (1_000_000, 1.1e-3), (10_000_000, 3e-3)),
        miss=5e-6,
        open=1.4e-2,
    ),
    requires=("diskcache",),
    install="cachewright-diskcache",
    summary="a diskcache Cache shared by the processes of this host; the library has CVE-2025-69872 unfixed",
    automatic=False,
)

DISKCACHE_FANOUT: Final = EngineInfo(
    name="diskcache-fanout",
    target="cachewright_diskcache.engine:FanoutEngine",
    capabilities=_CAPABILITIES,
    costs=Costs(
        get=((64, 7e-6), (16_384, 7.6e-6), (100_000, 2.4e-5), (1_000_000, 2e-5), (10_000_000, 2e-5)),
        set=((64, 1e-4), (16_384, 1e-4), (100_000, 6e-4), (1_000_000, 1.1e-3), (10_000_000, 3e-3)),
        miss=5.5e-6,
        open=1.4e-1,
    ),
    requires=("diskcache",),
    install="cachewright-diskcache",
    summary="a diskcache FanoutCache, which many can write at once; the library has CVE-2025-69872 unfixed",
    automatic=False,
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The two diskcache engines."""
    return [DISKCACHE, DISKCACHE_FANOUT]

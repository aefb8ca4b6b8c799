"""The conformance kit: what authors of engines, serializers and key makers run against their plugin."""

from __future__ import annotations

from cachewright.testing import _rewrite as _rewrite
from cachewright.testing.async_engine_kit import AsyncEngineKit
from cachewright.testing.bridge import Blocking
from cachewright.testing.chaos import Chaos, Happening
from cachewright.testing.chaos_engine import AsyncChaosEngine, ChaosEngine
from cachewright.testing.chaos_record import install_chaos
from cachewright.testing.clock import ManualClock
from cachewright.testing.engine_kit import EngineKit
from cachewright.testing.engine_machine import EngineMachine
from cachewright.testing.fault import Corruption, Delay, Failure, Fault, Hang, LostWrite
from cachewright.testing.freshness_probe import (
    FreshnessPlan,
    FreshnessReport,
    StaleRead,
    async_probe_freshness,
    probe_freshness,
)
from cachewright.testing.freshness_processes import Subject, probe_processes
from cachewright.testing.history import (
    HistoryPlan,
    Trial,
    async_cache_operations,
    cache_operations,
    try_async_histories,
    try_histories,
)
from cachewright.testing.keymaker_kit import KeyMakerKit
from cachewright.testing.linearizability import PENDING, Operation, Verdict, check_history
from cachewright.testing.plugin_kit import PluginKit
from cachewright.testing.sameness import same
from cachewright.testing.serializer_kit import SerializerKit
from cachewright.testing.versioned_source import VersionedSource

__all__ = [
    "PENDING",
    "AsyncChaosEngine",
    "AsyncEngineKit",
    "Blocking",
    "Chaos",
    "ChaosEngine",
    "Corruption",
    "Delay",
    "EngineKit",
    "EngineMachine",
    "Failure",
    "Fault",
    "FreshnessPlan",
    "FreshnessReport",
    "Hang",
    "Happening",
    "HistoryPlan",
    "KeyMakerKit",
    "LostWrite",
    "ManualClock",
    "Operation",
    "PluginKit",
    "SerializerKit",
    "StaleRead",
    "Subject",
    "Trial",
    "Verdict",
    "VersionedSource",
    "async_cache_operations",
    "async_probe_freshness",
    "cache_operations",
    "check_history",
    "install_chaos",
    "probe_freshness",
    "probe_processes",
    "same",
    "try_async_histories",
    "try_histories",
]

"""The conformance kit: what authors of engines, serializers and key makers run against their plugin."""

from __future__ import annotations

from importlib import import_module

from cachewright.testing import _rewrite as _rewrite

TYPE_CHECKING = False  # as in cachewright itself
if TYPE_CHECKING:
    from cachewright.testing.async_engine_kit import AsyncEngineKit
    from cachewright.testing.bridge import Blocking
    from cachewright.testing.chaos import Chaos, Happening
    from cachewright.testing.chaos_engine import AsyncChaosEngine, ChaosEngine
    from cachewright.testing.chaos_record import install_chaos
    from cachewright.testing.cipher_kit import CipherKit
    from cachewright.testing.clock import ManualClock
    from cachewright.testing.codec_kit import CodecKit
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
    "CipherKit",
    "CodecKit",
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

_HOMES = {
    "PENDING": "linearizability",
    "AsyncChaosEngine": "chaos_engine",
    "AsyncEngineKit": "async_engine_kit",
    "Blocking": "bridge",
    "Chaos": "chaos",
    "ChaosEngine": "chaos_engine",
    "CipherKit": "cipher_kit",
    "CodecKit": "codec_kit",
    "Corruption": "fault",
    "Delay": "fault",
    "EngineKit": "engine_kit",
    "EngineMachine": "engine_machine",
    "Failure": "fault",
    "Fault": "fault",
    "FreshnessPlan": "freshness_probe",
    "FreshnessReport": "freshness_probe",
    "Hang": "fault",
    "Happening": "chaos",
    "HistoryPlan": "history",
    "KeyMakerKit": "keymaker_kit",
    "LostWrite": "fault",
    "ManualClock": "clock",
    "Operation": "linearizability",
    "PluginKit": "plugin_kit",
    "SerializerKit": "serializer_kit",
    "StaleRead": "freshness_probe",
    "Subject": "freshness_processes",
    "Trial": "history",
    "Verdict": "linearizability",
    "VersionedSource": "versioned_source",
    "async_cache_operations": "history",
    "async_probe_freshness": "freshness_probe",
    "cache_operations": "history",
    "check_history": "linearizability",
    "install_chaos": "chaos_record",
    "probe_freshness": "freshness_probe",
    "probe_processes": "freshness_processes",
    "same": "sameness",
    "try_async_histories": "history",
    "try_histories": "history",
}


def __getattr__(name: str) -> object:
    """Load a name on first use (PEP 562): one kit imports libraries of values that another has no use for."""
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

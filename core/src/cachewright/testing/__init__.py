"""The conformance kit: what authors of engines, serializers and key makers run against their plugin."""

from __future__ import annotations

from cachewright.testing import _rewrite as _rewrite
from cachewright.testing.async_engine_kit import AsyncEngineKit
from cachewright.testing.bridge import Blocking
from cachewright.testing.clock import ManualClock
from cachewright.testing.engine_kit import EngineKit
from cachewright.testing.engine_machine import EngineMachine
from cachewright.testing.keymaker_kit import KeyMakerKit
from cachewright.testing.plugin_kit import PluginKit
from cachewright.testing.sameness import same
from cachewright.testing.serializer_kit import SerializerKit

__all__ = [
    "AsyncEngineKit",
    "Blocking",
    "EngineKit",
    "EngineMachine",
    "KeyMakerKit",
    "ManualClock",
    "PluginKit",
    "SerializerKit",
    "same",
]

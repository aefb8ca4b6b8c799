"""The built-in engines, serializers, key maker and codec keep the promises that plugins have to keep."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import ClassVar

import numpy as np
import pytest

from cachewright.builtin import plugin
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError
from cachewright.testing import CodecKit, EngineKit, KeyMakerKit, PluginKit, SerializerKit
from cachewright.testing.engine_record import RecordContract

ENGINES = {info.name: info for info in plugin.cachewright_engines()}
SERIALIZERS = {info.name: info for info in plugin.cachewright_serializers()}
KEY_MAKERS = {info.name: info for info in plugin.cachewright_keymakers()}

DATA = (
    None,
    {"a": [1, 2.5, (True, None)], 1: {"nested": b"bytes"}},
    [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), Decimal("1.10"), uuid.UUID(int=1), {1, 2}],
)


class TestMemoryEngine(EngineKit):
    info = ENGINES["memory"]


class TestSqliteEngine(EngineKit):
    info = ENGINES["sqlite"]


class TestNullRecord(RecordContract):
    info = ENGINES["null"]


class TestNullEngine:
    """What is left of the contract for an engine that stores nothing on purpose."""

    def test_nothing_is_ever_stored(self) -> None:
        """Every value is refused and every look-up a miss, also for many at once."""
        engine = ENGINES["null"].load()(EngineConfig())
        assert engine.set("key", None, ttl=1.0, size=5) is False
        assert engine.set_many([("key", 1, None, 1)]) == 0
        assert engine.get("key") is MISSING
        assert engine.get_many(["key"]) == {}
        assert engine.delete("key") is False
        assert engine.delete_many(["key"]) == 0
        assert list(engine.keys()) == []
        assert engine.count() == 0
        engine.clear()
        engine.close()
        engine.close()

    def test_settings_are_checked_all_the_same(self) -> None:
        """Policies and options that it does not have are refused when it is opened."""
        for config in (EngineConfig(policy="lru"), EngineConfig(options={"no_such_option": 1})):
            with pytest.raises(ConfigurationError):
                ENGINES["null"].load()(config)


class TestRawSerializer(SerializerKit):
    info = SERIALIZERS["raw"]
    accepts = (b"", b"bytes", bytes(range(256)) * 100)


class TestTextSerializer(SerializerKit):
    info = SERIALIZERS["text"]
    accepts = ("", "text", "caf\u00e9 \0 \U0001f600", "x" * 10_000)


class TestArraySerializer(SerializerKit):
    info = SERIALIZERS["array"]
    accepts: ClassVar = (
        np.arange(12, dtype=np.int32).reshape(3, 4),
        np.array([1.5, -0.0, np.nan]),
        np.zeros((0, 2)),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    )


class TestDataSerializer(SerializerKit):
    info = SERIALIZERS["data"]
    accepts = DATA


class TestPickleSerializer(SerializerKit):
    info = SERIALIZERS["pickle"]
    accepts = (*DATA, np.arange(100_000), bytearray(b"large" * 100_000))
    expected_failures: ClassVar = {
        "test_a_specimen_comes_back_exactly_or_is_refused[liar]": "pickle rebuilds what the class asks for"
    }


class TestCanonicalKeyMaker(KeyMakerKit):
    info = KEY_MAKERS["canonical"]


class TestZlibCodec(CodecKit):
    (info,) = plugin.cachewright_codecs()


class TestPackaging(PluginKit):
    distribution = "cachewright"

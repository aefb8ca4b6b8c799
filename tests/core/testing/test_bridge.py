"""A bridge shows an asynchronous engine as a synchronous one, and leaves no thread behind."""

from __future__ import annotations

import threading

import pytest

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError
from cachewright.testing import Blocking
from cachewright.testing.reference import AsyncDictEngine


def test_operations_reach_the_engine() -> None:
    """Each operation returns what the awaited one returns."""
    engine = Blocking(EngineConfig(), AsyncDictEngine)
    assert engine.set("a", None) is True
    assert engine.set_many([("b", 2, None, 1)]) == 1
    assert engine.get("a") is None
    assert engine.get_many(["a", "b", "c"]) == {"a": None, "b": 2}
    assert set(engine.keys()) == {"a", "b"}
    assert engine.count() == 2
    assert engine.compare_and_set("b", 2, 3) is True
    assert engine.compare_and_set_many([("b", 2, 4, None, 1), ("b", 3, 4, None, 1)]) == [False, True]
    assert engine.delete("a") is True
    assert engine.delete_many(["b", "a"]) == 1
    engine.clear()
    assert engine.get("b") is MISSING
    assert engine.private is False
    engine.close()
    engine.dispose()


def test_disposing_ends_the_thread_and_may_be_repeated() -> None:
    """After dispose no thread of the bridge is left."""
    before = threading.active_count()
    engine = Blocking(EngineConfig(), AsyncDictEngine)
    assert threading.active_count() == before + 1
    engine.dispose()
    engine.dispose()
    assert threading.active_count() == before


def test_an_engine_that_cannot_be_opened_leaves_no_thread() -> None:
    """What opening raises reaches the caller, and the loop is gone."""
    before = threading.active_count()
    with pytest.raises(ConfigurationError):
        Blocking(EngineConfig(policy="none"), AsyncDictEngine)
    assert threading.active_count() == before

"""Clearing at once: entries of an older generation are none, for anybody, whatever was under way."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cachewright_redis.commands import DIGESTED, MAX_VALUE_SIZE
from cachewright_redis.plugin import REDIS

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError
from cachewright.testing import AsyncEngineKit, EngineKit
from cachewright.testing.engine_contract import EngineContract

Opener = Callable[..., Any]

KEYS = [f"{number:032x}" for number in range(500)]


class OnGenerations(EngineContract):
    """Clears by generation on the server of the fixture ``redis_url``."""

    info = REDIS
    clocked_by_server = True

    @pytest.fixture(autouse=True)
    def address(self, redis_url: str) -> None:
        """Keep the address of the server for make_config."""
        self.url = redis_url

    def make_config(self, tmp_path: Path) -> EngineConfig:
        """Open engines on the server of the test."""
        options = {"clear": "generation"}
        return EngineConfig(url=self.url, namespace="generations", timeout=10.0, options=options)


@pytest.mark.soak
class TestGenerations(OnGenerations, EngineKit):
    pass


@pytest.mark.soak
class TestAsyncGenerations(OnGenerations, AsyncEngineKit):
    pass


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Every other test of this module is one of both engines."""
    return str(request.param)


@pytest.fixture
def pair(server: Any, opened: Opener) -> tuple[Any, Any]:
    """Two engines on one namespace, which is empty."""
    with server.client() as client:
        client.flushall()
    settings: dict[str, Any] = {"url": server.url, "options": {"clear": "generation"}}
    return opened(**settings), opened(**settings)


def test_clearing_takes_one_command(pair: tuple[Any, Any], server: Any) -> None:
    """However many entries there are, the server is asked for one thing, and no name is looked at."""
    engine, other = pair
    engine.set_many((key, [b"a"], None, 1) for key in KEYS)
    with server.client() as client:
        size = client.dbsize()
        before = client.info("stats")["total_commands_processed"]
        engine.clear()
        assert client.info("stats")["total_commands_processed"] - before <= 2  # and this question
        assert client.dbsize() == size - 1
    for found in ([], KEYS[-1:]):  # without a number, and with the next one
        for one in (engine, other):
            assert one.get(KEYS[0]) is MISSING
            assert list(one.get_many(KEYS)) == list(one.keys()) == found
            assert one.count() == len(found)
            assert one.delete(KEYS[0]) is False
            assert one.delete_many(KEYS[1:3]) == 0
        engine.set(KEYS[-1], [b"b"])


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("size", [1, 2 * DIGESTED])
def test_an_older_entry_is_not_what_a_swap_expects(pair: tuple[Any, Any], many: bool, size: int) -> None:
    """What was expected before a clear is gone after it, and nothing is what is found."""
    engine, other = pair
    old = bytes(size)

    def swap(expected: Any, value: Any) -> bool:
        if many:
            return bool(other.compare_and_set_many([(KEYS[0], expected, value, None, 1)])[0])
        return bool(other.compare_and_set(KEYS[0], expected, value))

    other.set(KEYS[0], [old])
    engine.clear()
    assert engine.set(KEYS[1], [b"of the next generation"]) is True
    assert swap(old, [b"new"]) is False
    assert swap(old, MISSING) is False
    assert engine.get(KEYS[0]) is MISSING
    assert swap(MISSING, [old]) is True
    assert engine.get(KEYS[0]) == old
    assert swap(old, [b"new"]) is True
    assert engine.get(KEYS[0]) == b"new"


def test_a_number_that_the_server_has_dropped(pair: tuple[Any, Any], server: Any) -> None:
    """Without the number of the generation, which may be evicted, there is no entry, and none comes back."""
    engine, other = pair
    engine.set(KEYS[0], [b"old"])
    with server.client() as client:
        (name,) = client.keys("*~generation")
        number = client.get(name)
        client.delete(name)
        assert other.get(KEYS[0]) is MISSING
        assert other.set(KEYS[1], [b"new"]) is True
        assert client.get(name) != number
    assert engine.get_many(KEYS[:2]) == {KEYS[1]: b"new"}


def test_namespaces_and_ways_of_clearing_are_apart(
    server: Any, opened: Opener, pair: tuple[Any, Any]
) -> None:
    """Clearing one namespace leaves others alone; who clears by scan sees none of these entries."""
    engine, _ = pair
    other = opened(url=server.url, namespace="other", options={"clear": "generation"})
    plain = opened(url=server.url)
    for one in (engine, other, plain):
        assert one.set(KEYS[0], [b"a"]) is True
    engine.clear()
    assert other.get(KEYS[0]) == plain.get(KEYS[0]) == b"a"
    plain.clear()
    assert list(other.keys()) == [KEYS[0]]


def test_a_value_that_is_too_large(pair: tuple[Any, Any]) -> None:
    """It is not stored, and an older one is gone."""
    engine, _ = pair
    engine.set(KEYS[0], [b"old"])
    too_large = [memoryview(bytes(1 << 20))] * 512 + [b"!"]
    assert engine.set(KEYS[0], too_large, size=MAX_VALUE_SIZE + 1) is False
    assert engine.get(KEYS[0]) is MISSING


def test_a_cluster_cannot_do_it(opened: Opener) -> None:
    """Number and entries would be on different nodes, so it is refused when the engine is opened."""
    with pytest.raises(ConfigurationError, match="cluster"):
        opened(url="redis+cluster://localhost", options={"clear": "generation"})
    with pytest.raises(ConfigurationError, match="'scan' or 'generation'"):
        opened(url="redis://localhost", options={"clear": "flush"})


@pytest.mark.parametrize("clear", ["scan", "generation"])
def test_nothing_older_survives_a_clear(server: Any, opened: Opener, clear: str, colour: str) -> None:
    """While threads write and claim, no entry or claim from before a clear is there when it has returned."""
    if colour == "async":
        pytest.skip("an engine of one loop is not shared by threads")
    settings = {"url": server.url, "namespace": f"race-{clear}", "options": {"clear": clear}}
    engines = [opened(**settings) for _ in range(4)]
    engines[0].clear()
    round_number, over = [0], threading.Event()
    keys = KEYS[:40]

    def write(engine: Any) -> None:
        for turn in itertools.count():
            if over.is_set():
                return
            for key in keys:
                claim = b"claim %d %d" % (threading.get_ident(), turn)
                if engine.compare_and_set(key, engine.get(key), [claim]):
                    engine.compare_and_set(key, claim, [b"%d" % round_number[0]])

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, engine) for engine in engines[1:]]
        try:
            for turn in range(1, 60):
                began = round_number[0] = turn
                engines[0].clear()
                there = engines[0].get_many(keys).values()
                stale = [value for value in there if value.isdigit() and int(value) < began]
                assert stale == []
        finally:
            over.set()
        for writer in writers:
            writer.result(60)
    engines[0].clear()

"""A key maker, named or given, decides which calls share an entry, on every engine, however it is used."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachewright import MISSING, cached, open_async_cache, open_cache
from cachewright.builtin.canonical import CanonicalKeyMaker
from cachewright.errors import ConfigurationError, UnknownKeyMakerError
from cachewright.hookspecs import hookimpl
from cachewright.keymaker import Call, KeyMaker, KeyMakerInfo
from cachewright.registry import default_registry


class WholeNumbers(KeyMaker):
    """Takes floats for the whole numbers below them, and otherwise does as the canonical one."""

    def __init__(self) -> None:
        self._canonical = CanonicalKeyMaker()

    def call_key(self, call: Call, /) -> str:
        return self._canonical.call_key(
            Call(call.function, call.names, tuple(map(self._whole, call.values)), typed=call.typed)
        )

    def value_key(self, value: object, /) -> str:
        return self._canonical.value_key(self._whole(value))

    @staticmethod
    def _whole(value: Any) -> Any:
        return int(value) if isinstance(value, float) else value


class Plugin:
    @hookimpl
    def cachewright_keymakers(self):
        return [KeyMakerInfo(name="whole", target=f"{WholeNumbers.__module__}:WholeNumbers", summary="whole")]


@pytest.fixture
def whole(monkeypatch):
    """Registers the key maker by name; what it names is found without an import."""
    monkeypatch.setattr(KeyMakerInfo, "load", lambda _: WholeNumbers)
    plugin = Plugin()
    default_registry().register(plugin, "whole")
    yield "whole"
    default_registry().unregister(plugin)


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
@pytest.mark.parametrize("ttl", [None, 60])
def test_a_key_maker_decides_which_calls_share_an_entry(engine, ttl, tmp_path):
    """Also in process, where the arguments themselves could have been the key."""
    calls: list[float] = []
    where = {"path": tmp_path, "name": "doubled"} if engine == "sqlite" else {}

    @cached(engine=engine, key_maker=WholeNumbers(), ttl=ttl, **where)
    def doubled(number):
        calls.append(number)
        return 2 * number

    assert [doubled(1.2), doubled(1.7), doubled(1), doubled(2.5), doubled(2.1)] == [2.4, 2.4, 2.4, 5.0, 5.0]
    assert calls == [1.2, 2.5]
    assert (doubled.cache_info().hits, doubled.cache_info().misses) == (3, 2)
    assert doubled.cache_key(1.9) == doubled.cache_key(1.1) != doubled.cache_key(2)
    assert doubled.is_cached(1.99)
    assert doubled.invalidate(1.01)
    assert doubled.peek(1.2) is MISSING
    doubled.put(7, 3.3)
    assert doubled(3.9) == 7


def test_a_key_maker_is_found_by_name(whole):
    """``key_maker="whole"`` is the one that a plugin announced."""

    @cached(key_maker=whole)
    def same(number):
        return number

    assert [same(1.5), same(1.25)] == [1.5, 1.5]


def test_coroutine_functions_batches_and_direct_use_follow_it(tmp_path):
    """Every face of a cache makes its keys in one way."""

    @cached(key_maker=WholeNumbers())
    async def same(number):
        return number

    async def use():
        async with open_async_cache("direct", engine="memory", key_maker=WholeNumbers()) as opened:
            await opened.set(1.5, "x")
            return [await same(1.5), await same(1.25), await opened.get(1.1)]

    assert asyncio.run(use()) == [1.5, 1.5, "x"]
    for engine in ("memory", "sqlite"):
        with open_cache("direct", engine=engine, path=tmp_path if engine == "sqlite" else None,
                        key_maker=WholeNumbers()) as cache:  # fmt: skip
            cache.set(1.5, "x")
            assert cache.get(1.1) == cache.get(1) == "x"
            assert cache.get(2.0) is None

    asked: list[list[float]] = []

    @cached.many("numbers", key_maker=WholeNumbers())
    def many(numbers):
        asked.append(numbers)
        return {number: number for number in numbers}

    assert many([1.5, 2.5]) == {1.5: 1.5, 2.5: 2.5}
    assert many([1.25, 3.5]) == {1.25: 1.5, 3.5: 3.5}
    assert asked == [[1.5, 2.5], [3.5]]


def test_functions_of_one_cache_follow_the_key_maker_of_the_cache():
    """Beside ``cache=`` a key maker would be a second opinion, and is refused."""
    with open_cache("shared", engine="memory", key_maker=WholeNumbers()) as cache:

        @cached(cache=cache)
        def same(number):
            return number

        assert [same(1.5), same(1.25)] == [1.5, 1.5]
        with pytest.raises(ConfigurationError, match="key_maker"):
            cached(cache=cache, key_maker=WholeNumbers())(lambda number: number)


def test_what_is_no_key_maker_is_refused():
    """At decoration if it is no key maker at all; by name when it is looked for, with what is installed."""
    for wrong in ("", 3, WholeNumbers):
        with pytest.raises(ConfigurationError, match="key_maker"):
            cached(key_maker=wrong)(lambda number: number)

    @cached(key_maker="nobodys")
    def same(number):
        return number

    with pytest.raises(UnknownKeyMakerError, match="canonical"):
        same(1)

"""A cache over the engine keeps what a cache promises, whatever somebody planted in its store."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from cachewright.cache import Cache
from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError
from cachewright.testing.caches import cache_over
from cachewright.testing.clock import ManualClock
from cachewright.testing.engine_contract import EngineContract, EngineOpener, content
from cachewright.testing.payloads import HOSTILE_PICKLES
from cachewright.testing.values import TEXT_KEYS, falsy_values

YEARS_10 = 10 * 365 * 86_400.0

PLANTED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "half of it": lambda entry: entry[: len(entry) // 2],
    "its head alone": lambda entry: entry[:56],
    "one bit flipped": lambda entry: entry[:-1] + bytes((entry[-1] ^ 1,)),
    "another version": lambda entry: entry[:2] + b"\x7f" + entry[3:],
    "more at the end": lambda entry: entry + b"\0",
    "itself twice": lambda entry: entry + entry,
    "text": lambda _: b"not an entry",
    "zeros": lambda entry: bytes(len(entry)),
    "a pickle": lambda _: HOSTILE_PICKLES[0],
    "its head and a pickle": lambda entry: entry[:56] + HOSTILE_PICKLES[0],
    "a megabyte": lambda _: b"\xca\xce" + b"\xff" * 1_000_000,
}
"""What may lie where an entry was, given the entry's bytes."""


class CacheContract(EngineContract):
    """The engine under a whole cache: keys as people write them, every ttl, hostile bytes."""

    stakes: ClassVar[str] = "callers of a cache on this engine would get another value, or an exception"

    @pytest.fixture
    def under(self) -> list[Engine]:
        """The engines that the cache of this test has opened, its own first."""
        return []

    @pytest.fixture
    def cache(self, open_engine: EngineOpener, under: list[Engine]) -> Cache:
        """A cache over the engine, with everything that the core adds."""

        def open_(config: Any) -> Engine:
            under.append(open_engine.open(config))
            return under[-1]

        return cache_over(open_, open_engine.config, self.info)

    def test_hostile_keys_of_a_cache_are_distinct_and_exact(self, cache: Cache) -> None:
        """Fifty keys with control characters, patterns, paths, case pairs and 64 KB have an entry each."""
        for number, key in enumerate(TEXT_KEYS):
            assert cache.set(key, number) is True
        for number, key in enumerate(TEXT_KEYS):
            assert cache.get(key, MISSING) == number, f"{key!r:.60}"
        for position, key in enumerate(TEXT_KEYS):
            assert cache.delete(key) is True
            assert cache.get(key, MISSING) is MISSING
            left = cache.get_many(TEXT_KEYS[position + 1 :])
            assert left == {k: position + 1 + n for n, k in enumerate(TEXT_KEYS[position + 1 :])}

    def test_falsy_values_are_hits_of_a_cache(self, cache: Cache) -> None:
        """None, 0, False, empty containers and NaN are found, not computed again."""
        for number, value in enumerate(value for value in falsy_values() if value is not NotImplemented):
            if value is ...:
                continue
            assert cache.set(number, value) is True
            found: Any = cache.get_or_set(number, lambda: "computed, although it is stored")
            assert type(found) is type(value)
            assert found == value or found != found  # noqa: PLR0124 - NaN

    @pytest.mark.parametrize("ttl", [0, -0.0, -1, -math.inf])
    def test_a_ttl_up_to_zero_removes_the_entry(self, cache: Cache, ttl: float) -> None:
        """A value that has no time to live is not stored, and the older entry is gone."""
        assert cache.set("key", "old") is True
        assert cache.set("key", "new", ttl=ttl) is False
        assert cache.get("key", MISSING) is MISSING
        assert "key" not in cache
        assert len(cache) == 0 if self.info.capabilities.scan else True

    def test_a_ttl_that_is_no_number_is_refused(self, cache: Cache) -> None:
        """NaN is a ConfigurationError, and what is stored stays."""
        cache.set("key", "old")
        with pytest.raises(ConfigurationError):
            cache.set("key", "new", ttl=math.nan)
        assert cache.get("key") == "old"

    @pytest.mark.parametrize("ttl", [1e-9, 1e-4, 0.0015, 0.5, 1, 86_400.0])
    def test_every_ttl_of_a_cache_ends(self, cache: Cache, clock: ManualClock, ttl: float) -> None:
        """No engine, whatever its resolution, lets a cache serve a value once its ttl has passed."""
        cache.set("short", "value", ttl=ttl)
        cache.set("long", "value", ttl=1e6)
        assert cache.get("short") == "value" or ttl < 1
        clock.advance(ttl * 1.000001 + 1e-6)
        assert cache.get("short", MISSING) is MISSING
        assert "short" not in cache
        assert cache.get_many(["short", "long"]) == {"long": "value"}
        assert cache.delete("short") is False

    @pytest.mark.parametrize("ttl", [1e18, math.inf, None])
    def test_a_ttl_of_ages_ends_nothing(self, cache: Cache, clock: ManualClock, ttl: float | None) -> None:
        """A value that may live for ever, or nearly, is there after ten years."""
        assert cache.set("key", "value", ttl=ttl) is True
        assert cache.get("key") == "value"
        clock.advance(YEARS_10)
        assert cache.get("key") == "value"

    @pytest.mark.parametrize("planted", PLANTED)
    def test_what_was_planted_is_a_miss(self, cache: Cache, under: list[Engine], planted: str) -> None:
        """Bytes that are no entry, or no longer, are a miss and no exception; the next value is stored."""
        self.needs_bytes()
        cache.set("key", "value")
        key = cache.lifecycle.value_key("key")
        garbage = PLANTED[planted](content(under[0].get(key)))
        assert under[0].set(key, [garbage], size=len(garbage)) is True
        assert content(under[0].get(key)) == garbage, "the engine altered what it was given"
        assert cache.get("key", MISSING) is MISSING
        assert "key" not in cache
        assert cache.get_many(["key"]) == {}
        assert cache.get_or_set("key", lambda: "computed") == "computed"
        assert cache.get("key") == "computed"

    def test_an_entry_under_another_key_is_a_miss(self, cache: Cache, under: list[Engine]) -> None:
        """An entry that somebody moved to another key is nobody's."""
        self.needs_bytes()
        cache.set("mine", "my value")
        cache.set("yours", "your value")
        mine, yours = (cache.lifecycle.value_key(name) for name in ("mine", "yours"))
        moved = content(under[0].get(mine))
        under[0].set(yours, [moved], size=len(moved))
        assert cache.get("yours", MISSING) is MISSING
        assert cache.get("mine") == "my value"

    def test_clearing_a_cache_spares_its_neighbours(self, cache: Cache, open_engine: EngineOpener) -> None:
        """Entries of other namespaces, and tokens beside them, outlive the clearing of one."""
        neighbour = open_engine(namespace=f"{open_engine.config.namespace}-neighbour")
        value = self.put(neighbour, self.key(1), 1)
        cache.set("key", "value")
        cache.clear()
        assert cache.get("key", MISSING) is MISSING
        assert self.matches(neighbour.get(self.key(1)), value)

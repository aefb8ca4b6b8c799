"""What the core builds on an engine that several processes share: claims, invalidation, tags.

Two caches, each with an engine of its own on one store, stand for two processes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from cachewright.cache import Cache
from cachewright.entry import MISSING
from cachewright.testing.caches import cache_over
from cachewright.testing.clock import ManualClock
from cachewright.testing.engine_contract import EngineContract, EngineOpener

PATIENCE = 60.0

WAYS: dict[str, Callable[[Cache], object]] = {
    "delete": lambda cache: cache.delete("key"),
    "clear": lambda cache: cache.clear(),
    "invalidate_tags": lambda cache: cache.invalidate_tags("tag"),
    "set": lambda cache: cache.set("key", "explicit"),
}
"""Ways to make sure that what was read before is not served any more."""


class SharingContract(EngineContract):
    """After an invalidation has returned, no call that starts later is given what was read before."""

    stakes: ClassVar[str] = "a process would be given a stale result after another one had invalidated it"

    @pytest.fixture
    def caches(self, open_engine: EngineOpener) -> Iterator[tuple[Cache, Cache]]:
        """Two caches on one store."""
        if self.info.capabilities.scope == "process":
            pytest.skip(f"engine {self.info.name!r} does not declare a scope beyond the process")
        self.needs("compare_and_set")
        self.needs_bytes()
        first, second = (cache_over(open_engine.open, open_engine.config, self.info) for _ in range(2))
        yield first, second
        first.clear()

    def test_swapping_the_same_bytes_renews_the_ttl(
        self, open_engine: EngineOpener, clock: ManualClock
    ) -> None:
        """Who still computes keeps its claim by writing it again: the bytes stay, the ttl is new."""
        self.needs("compare_and_set")
        self.needs_bytes()
        self.needs_clock()
        engine = open_engine()
        key = self.key(1)
        assert engine.compare_and_set(key, MISSING, [b"claim"], ttl=10.0, size=5) is True
        clock.advance(8)
        assert engine.compare_and_set(key, b"claim", [b"claim"], ttl=10.0, size=5) is True
        clock.advance(8)
        assert engine.get(key) is not MISSING, "the second ttl did not replace the first"
        clock.advance(3)
        assert engine.get(key) is MISSING

    @pytest.mark.parametrize("way", WAYS)
    def test_a_load_that_began_before_is_not_stored(self, caches: tuple[Cache, Cache], way: str) -> None:
        """Its callers get what it read; the other cache, and later callers of this one, do not."""
        first, second = caches
        with _loading(first) as results:
            WAYS[way](second)
        assert results == ["read before"]
        expected = "explicit" if way == "set" else "read after"
        assert second.get_or_set("key", lambda: "read after", tags=("tag",)) == expected
        assert first.get_or_set("key", lambda: "read later still", tags=("tag",)) == expected

    @pytest.mark.parametrize("way", WAYS)
    def test_a_load_that_began_before_is_not_joined(self, caches: tuple[Cache, Cache], way: str) -> None:
        """A call that starts after neither waits for it nor is given its result, in either cache."""
        expected = "explicit" if way == "set" else "read after"
        for at in range(2):
            first, second = caches
            caller = caches[at]
            first.clear()
            with _loading(first):
                WAYS[way](second)
                answers: list[object] = []
                call = threading.Thread(target=_ask, args=(caller, answers))
                call.start()
                call.join(PATIENCE)
                assert answers == [expected]

    def test_callers_share_one_computation(self, caches: tuple[Cache, Cache]) -> None:
        """Whichever cache they ask, one of them computes and the others are given its result."""
        computed: list[int] = []
        together = threading.Barrier(8)

        def load() -> str:
            computed.append(1)
            return "value"

        def ask(number: int) -> None:
            together.wait(PATIENCE)
            answers.append(caches[number % 2].get_or_set("key", load))

        answers: list[object] = []
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert answers == ["value"] * 8
        assert computed == [1]

    def test_a_failed_computation_is_replaced(self, caches: tuple[Cache, Cache]) -> None:
        """Its exception goes to its callers; the next one computes, and nothing of it is left."""
        first, second = caches
        with pytest.raises(ZeroDivisionError):
            first.get_or_set("key", lambda: 1 // 0)
        assert second.get("key", MISSING) is MISSING
        if self.info.capabilities.scan:
            assert len(second) == 0
        assert second.get_or_set("key", lambda: "value") == "value"

    def test_what_is_being_computed_is_no_entry(self, caches: tuple[Cache, Cache]) -> None:
        """It is not listed, not found, not deleted, and gives way to whoever stores a value."""
        first, second = caches
        with _loading(first):
            assert second.get("key", MISSING) is MISSING
            assert "key" not in second
            if self.info.capabilities.scan:
                assert list(second) == []
            assert second.delete("other") is False
            assert second.add("key", "added") is True
        assert first.get("key") == second.get("key") == "added"

    def test_tags_of_one_cache_are_those_of_the_other(self, caches: tuple[Cache, Cache]) -> None:
        """Entries with the tag are gone in both, others stay; also those that were stored later stay."""
        first, second = caches
        first.set("a", 1, tags=("tag", "other"))
        second.set("b", 2, tags=("tag",))
        first.set("c", 3, tags=("third",))
        first.set("d", 4)
        second.invalidate_tags("tag")
        second.set("e", 5, tags=("tag",))
        for cache in caches:
            found = cache.get_many(["a", "b", "c", "d", "e"])
            assert found == {"c": 3, "d": 4, "e": 5}


def _ask(cache: Cache, answers: list[object]) -> None:
    answers.append(cache.get_or_set("key", lambda: "read after", tags=("tag",)))


@contextmanager
def _loading(cache: Cache) -> Generator[list[Any]]:
    """Run the block while a computation for ``key`` is under way; yields where its result will be."""
    begun, go = threading.Event(), threading.Event()

    def load() -> str:
        begun.set()
        assert go.wait(PATIENCE), "the test hangs"
        return "read before"

    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(cache.get_or_set("key", load, tags=("tag",))))
    thread.start()
    try:
        assert begun.wait(PATIENCE), "the computation did not begin"
        yield results
    finally:
        go.set()
        thread.join(PATIENCE)

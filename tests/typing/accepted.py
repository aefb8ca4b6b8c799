"""Right uses of the decorator, and the types that checkers must find for them; checked, never run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, assert_type

from cachewright import MISSING, AsyncCache, Cache, cached, open_async_cache, open_cache
from cachewright.explanation import Explanation
from cachewright.stats import CacheInfo


@cached
def area(radius: float, *, unit: str = "m") -> str:
    return f"{radius} {unit}"


@cached(ttl="10m", maxsize=100, typed=True)
def quote(symbol: str, day: int = 0, /) -> dict[str, float]:
    return {symbol: float(day)}


@cached
async def fetch(url: str, *, retries: int = 3) -> bytes:
    return url.encode() * retries


@cached(ttl=timedelta(seconds=5), cache_if=bool)
async def profile(user: int) -> dict[str, str]:
    return {"id": str(user)}


@cached(key="{values[0]}", version="auto")
def total(*values: int, **options: bool) -> int:
    return sum(values) if options else 0


def plain_functions() -> None:
    assert_type(area(2.0), str)
    assert_type(area(2.0, unit="cm"), str)
    assert_type(quote("x", 1), dict[str, float])
    assert_type(total(1, 2, fast=True), int)
    assert_type(area.__wrapped__(1.0), str)
    assert_type(area.__name__, str)


def management() -> None:
    assert_type(area.cache_info(), CacheInfo)
    assert_type(area.cache_info().hits, int)
    assert_type(area.cache_info().hit_ratio, float)
    assert_type(area.cache_parameters(), dict[str, Any])
    assert_type(area.cache_key(2.0, unit="cm"), str)
    assert_type(area.is_cached(2.0), bool)
    assert_type(area.invalidate(radius=2.0), bool)
    assert_type(area.refresh(2.0), str)
    assert_type(area.put("result", 2.0, unit="cm"), bool)
    assert_type(area.explain(2.0), Explanation)
    assert_type(area.cache, Cache)
    assert area.peek(2.0) is not MISSING
    area.cache_clear()
    hits, misses, maxsize, currsize = area.cache_info()
    assert_type((hits, misses, maxsize, currsize), tuple[int, int, int | None, int])


async def coroutine_functions() -> None:
    assert_type(await fetch("u"), bytes)
    assert_type(await fetch("u", retries=1), bytes)
    assert_type(await profile(7), dict[str, str])
    pending: Coroutine[Any, Any, bytes] = fetch("u")
    await pending
    assert_type(await fetch.is_cached("u"), bool)
    assert_type(await fetch.invalidate("u"), bool)
    assert_type(await fetch.refresh("u"), bytes)
    assert_type(await fetch.put(b"", "u", retries=2), bool)
    assert_type(await fetch.explain("u"), Explanation)
    assert_type(fetch.cache_info(), CacheInfo)
    assert_type(fetch.cache_key("u"), str)
    assert_type(fetch.cache, AsyncCache)
    assert_type(fetch.peek("u"), Awaitable[Any])
    await fetch.cache_clear()


class Report:
    """Methods of every kind."""

    @cached
    def total(self, year: int) -> float:
        return float(year)

    @cached(self_key=id, ttl=60)
    def named(self, year: int, *, exact: bool = False) -> str:
        return f"{year} {exact}"

    @cached
    async def rows(self, year: int) -> list[int]:
        return [year]

    @staticmethod
    @cached
    def parse(text: str) -> int:
        return len(text)


async def methods(report: Report) -> None:
    assert_type(report.total(2024), float)
    assert_type(report.total(year=2024), float)
    assert_type(report.named(2024, exact=True), str)
    assert_type(await report.rows(2024), list[int])
    assert_type(Report.total(report, 2024), float)
    assert_type(Report.total.invalidate(report, 2024), bool)
    assert_type(Report.total.refresh(report, year=2024), float)
    assert_type(await Report.rows.invalidate(report, 2024), bool)
    assert_type(Report.parse("x"), int)


def stands_where_a_callable_is_wanted() -> None:
    plain: Callable[[float], str] = area
    coroutine: Callable[[str], Awaitable[bytes]] = fetch
    assert_type(plain(1.0), str)
    assert callable(coroutine)
    assert_type(list(map(area, [1.0, 2.0])), list[str])


def other_callables() -> None:
    def power(base: float, exponent: int) -> float:
        return base**exponent

    square = cached(partial(power, exponent=2))
    assert_type(square(3.0), float)
    doubled = cached(maxsize=None)(lambda: 2)
    assert_type(doubled(), int)


def open_caches() -> None:
    with open_cache("models", max_bytes="2GB") as cache:
        assert_type(cache, Cache)
        assert_type(cache.get_or_set("k", lambda: 1.5), float)
        assert_type(cache.incr("n"), int)
        assert_type(cache.ttl("k"), float | None)

        @cached(cache=cache)
        def shared(x: int) -> int:
            return x

        assert_type(shared(1), int)


async def open_async_caches() -> None:
    async with open_async_cache("models") as cache:
        assert_type(cache, AsyncCache)
        assert_type(await cache.delete("k"), bool)

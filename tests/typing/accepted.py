"""Right uses of the decorator, and the types that checkers must find for them; checked, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, assert_type

from cachewright import (
    INJECTED,
    MISSING,
    AsyncCache,
    Cache,
    Freshness,
    LoadContext,
    cached,
    open_async_cache,
    open_cache,
)
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


@cached(
    freshness=Freshness(
        ttl="1m", stale_ttl=timedelta(hours=1), error_ttl=60, refresh_at=0.8, on_error=OSError
    ),
    tags=("user:{user}", lambda result: [f"city:{result}"]),
    cache_errors={KeyError: "30s", ValueError: None},
)
def city(user: int) -> str:
    return str(user)


@cached(
    ttl=60,
    freshness=Freshness(early="xfetch", beta=2.0, on_error=lambda error: not error.args),
    tags="user:{user}",
    cache_errors=(KeyError, OSError),
)
async def country(user: int) -> str:
    return str(user)


@cached(ttl="10m", tags=["all"], cache_errors=LookupError)
def price(symbol: str, *, ctx: LoadContext = INJECTED) -> float:
    ctx.ttl = timedelta(seconds=5)
    ctx.tags.append("market:x")
    if ctx.stale_value is not MISSING:
        ctx.no_store()
    return float(len(symbol))


async def freshness_and_tags() -> None:
    assert_type(city(7), str)
    assert_type(city.invalidate_where(user=7), int)
    assert_type(city.cache.invalidate_tags("user:7", "city:x"), int | None)
    assert_type(city.cache_info().stale, int)
    assert_type(city.cache_info().engine_open, bool)
    assert_type(await country(7), str)
    assert_type(await country.invalidate_where(user=7), int)
    assert_type(await country.cache.invalidate_tags("user:7"), int | None)
    assert_type(price("x"), float)
    assert_type(price("x", ctx=LoadContext()), float)


@cached(ttl=60)
def rows(table: str) -> Iterator[int]:
    yield len(table)


@cached
async def events(topic: str) -> AsyncIterator[str]:
    yield topic


async def generators() -> None:
    assert_type(rows("t"), Iterator[int])
    assert_type(list(rows("t")), list[int])
    assert_type(rows.refresh("t"), Iterator[int])
    assert_type(rows.is_cached("t"), bool)
    assert_type(events("t"), AsyncGenerator[str, None])
    assert_type(events.invalidate("t"), Awaitable[bool])
    assert_type(events.refresh("t"), AsyncGenerator[str, None])
    assert_type([event async for event in events("t")], list[str])


@cached.many("ids", ttl="10m", tags="user:{ids}")
def users(ids: list[int], *, full: bool = False) -> dict[int, str]:
    return {number: str(full) for number in ids}


@cached.many("ids")
def lengths(ids: list[str]) -> list[int]:
    return [len(text) for text in ids]


@cached.many("ids")
async def teams(ids: list[int]) -> Mapping[int, bytes]:
    return dict.fromkeys(ids, b"")


@cached.many("ids", persist=True, engine="sqlite")
async def scores(ids: list[int]) -> list[float]:
    return [float(number) for number in ids]


async def batches() -> None:
    assert_type(users([1, 2], full=True), dict[int, str])
    assert_type(users.refresh([1]), dict[int, str])
    assert_type(users.invalidate([1]), bool)
    assert_type(users.put({1: "x"}, [1]), bool)
    assert_type(lengths(["a"]), dict[Any, int])
    assert_type(await teams([1]), dict[int, bytes])
    assert_type(await teams.is_cached([1]), bool)
    assert_type(await scores([1]), dict[Any, float])
    assert_type(await scores.refresh([1]), dict[Any, float])

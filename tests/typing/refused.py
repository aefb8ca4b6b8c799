"""Wrong uses of the decorator: each line must be an error for both checkers, or they fail; never run.

A comment that ignores an error is an error itself once there is nothing to ignore.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from cachewright import Freshness, LoadContext, cached, open_cache


@cached
def area(radius: float, *, unit: str = "m") -> str:
    return f"{radius} {unit}"


@cached(ttl=60)
async def fetch(url: str) -> bytes:
    return url.encode()


class Report:
    """A method of each colour."""

    @cached
    def total(self, year: int) -> float:
        return float(year)

    @cached
    async def rows(self, year: int) -> list[int]:
        return [year]


def wrong_arguments() -> None:
    area()  # type: ignore[call-arg]
    area("2")  # type: ignore[arg-type]
    area(2.0, "cm")  # type: ignore[call-arg]
    area(2.0, colour="red")  # type: ignore[call-arg]
    area.peek("2")  # type: ignore[arg-type]
    area.is_cached()  # type: ignore[call-arg]
    area.invalidate(2.0, colour="red")  # type: ignore[call-arg]
    area.refresh(2.0, "cm")  # type: ignore[call-arg]
    area.cache_key(2.0, 3.0)  # type: ignore[arg-type, call-arg]
    area.put("result")  # type: ignore[call-arg]
    area.put("result", "2")  # type: ignore[arg-type]


def wrong_results() -> None:
    length: int = area(2.0)  # type: ignore[assignment]
    kept: int = area.refresh(2.0)  # type: ignore[assignment]
    area.cache_info().hits = 3  # type: ignore[misc]
    area.cache_information()  # type: ignore[attr-defined]
    print(length, kept)


async def wrong_colour() -> None:
    data: bytes = fetch("u")  # type: ignore[assignment]
    await area(2.0)  # type: ignore[misc]
    await fetch(1)  # type: ignore[arg-type]
    await fetch.invalidate(1)  # type: ignore[arg-type]
    there: bool = fetch.is_cached("u")  # type: ignore[assignment]
    print(data, there)


async def wrong_methods(report: Report) -> None:
    report.total()  # type: ignore[call-arg]
    report.total("2024")  # type: ignore[arg-type]
    report.total(report, 2024)  # type: ignore[arg-type, call-arg]
    Report.total(2024)  # type: ignore[arg-type, call-arg]
    Report.total.invalidate(2024)  # type: ignore[arg-type, call-arg]
    await report.rows("2024")  # type: ignore[arg-type]


def wrong_choices() -> None:
    cached(persist="yes")  # type: ignore[call-overload]
    cached(scope="planet")  # type: ignore[call-overload]
    cached(maxsize="100")  # type: ignore[call-overload]
    cached(ttl=60, eviction="lru")  # type: ignore[call-overload]
    cached(on_engine_error="ignore")  # type: ignore[call-overload]
    cached(5)  # type: ignore[call-overload]
    cached("name")  # type: ignore[call-overload]
    open_cache(scope="planet")  # type: ignore[arg-type]
    open_cache("name", "memory")  # type: ignore[call-arg]
    cached(freshness="1m")  # type: ignore[call-overload]
    cached(tags=7)  # type: ignore[call-overload]
    cached(tags=("a", 7))  # type: ignore[arg-type]
    cached(cache_errors="KeyError")  # type: ignore[arg-type]
    cached(cache_errors=(KeyError, 5))  # type: ignore[arg-type]
    cached(cache_errors=KeyboardInterrupt)  # type: ignore[arg-type]


def wrong_windows() -> None:
    Freshness(60)  # type: ignore[call-arg]
    Freshness(stale=60)  # type: ignore[call-arg]
    Freshness(stale_ttl=None)  # type: ignore[arg-type]
    Freshness(early="sometimes")  # type: ignore[arg-type]
    Freshness(refresh_at="80%")  # type: ignore[arg-type]
    Freshness().ttl = 60  # type: ignore[misc]


@cached
def price(symbol: str, *, ctx: LoadContext = None) -> float:  # type: ignore[assignment]
    ctx.tags = "market:x"  # type: ignore[assignment]
    ctx.tag("market:x")  # type: ignore[attr-defined]
    return float(len(symbol))


@cached.many("ids")
def users(ids: list[int]) -> dict[int, str]:
    return dict.fromkeys(ids, "")


@cached.many("ids")
async def teams(ids: list[int]) -> list[str]:
    return [str(number) for number in ids]


async def wrong_batches() -> None:
    users(1)  # type: ignore[arg-type]
    users(["a"])  # type: ignore[list-item]
    names: list[str] = users([1])  # type: ignore[assignment]
    found: dict[int, str] = teams([1])  # type: ignore[assignment]
    await teams("1")  # type: ignore[arg-type]
    cached.many()  # type: ignore[call-arg]
    cached.many(users)  # type: ignore[arg-type]
    cached.many("ids", eviction="lru")  # type: ignore[call-arg]
    cached.many("ids")(len)  # type: ignore[arg-type]
    print(names, found)

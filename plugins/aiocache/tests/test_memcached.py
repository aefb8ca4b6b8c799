"""What is special about the engine on a memcached server: generations, whole seconds, small values."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiocache import MemcachedCache
from cachewright_aiocache import memcached_commands as commands
from cachewright_aiocache.memcached_engine import AiocacheMemcachedEngine

from cachewright import cached
from cachewright.config import Settings
from cachewright.entry import MISSING
from cachewright.errors import EngineError, EngineUnavailableError, UnsupportedByEngineError

Run = Callable[..., None]

PATIENT = Settings(timeout=10.0)
"""Tests share a machine: what is no test of time must not fail for want of it."""

KEY = "0123456789abcdef" * 2
NOW = 1_800_000_000.0


@pytest.fixture
def kind() -> str:
    """The kind of server of these tests."""
    return "memcached"


def test_the_client_is_in_an_aiocache_cache(server: Any, run: Run) -> None:
    """What the engine stores can be read by aiocache's own cache, behind the generation."""

    async def body(engine: AiocacheMemcachedEngine) -> None:
        assert isinstance(engine._cache, MemcachedCache)
        await engine.set(KEY, [b"value"])
        generation = await engine._cache.get("cw-aiocache:own:generation")
        assert await engine._cache.get(f"cw-aiocache:own:{KEY}") == generation + b"value"

    run(body, url=server.url, namespace="own")


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        (None, 0),
        (float("inf"), 0),
        (1e-9, 2),
        (1.0, 2),
        (1.5, 3),
        (30 * 86_400.0 - 1, 30 * 86_400),
        (30 * 86_400.0, int(NOW) + 30 * 86_400 + 1),
        (1e10, 0),
    ],
)
def test_a_ttl_as_the_server_wants_it(ttl: float | None, expected: int) -> None:
    """Whole seconds, never too few; a date above thirty days; nothing where no server knows the date."""
    assert commands.exptime(ttl, lambda: NOW) == expected


def test_a_ttl_above_thirty_days_is_kept(server: Any, run: Run) -> None:
    """What would be a date in 1970 if it were handed on is stored, and found."""

    async def body(engine: AiocacheMemcachedEngine) -> None:
        for number, ttl in enumerate((30 * 86_400.0 - 1, 30 * 86_400.0, 31 * 86_400.0, 400 * 86_400.0, 1e12)):
            await engine.set(f"{number:032x}", [b"x"], ttl=ttl)
            assert await engine.get(f"{number:032x}") == b"x", ttl
            assert await engine.compare_and_set(f"{number:032x}", b"x", [b"y"], ttl=ttl) is True
            assert await engine.get(f"{number:032x}") == b"y", ttl

    run(body, url=server.url, namespace="month")


@pytest.mark.slow
def test_an_entry_is_not_gone_before_its_ttl(server: Any, run: Run) -> None:
    """A ttl of one second lasts for one, though the server's seconds begin whenever they do."""

    async def body(engine: AiocacheMemcachedEngine) -> None:
        stored = time.monotonic()
        await engine.set(KEY, [b"x"], ttl=1.0)
        while time.monotonic() < stored + 0.9:
            asked = time.monotonic()
            assert await engine.get(KEY) == b"x" or asked > stored + 0.9
            await asyncio.sleep(0.05)
        while await engine.get(KEY) is not MISSING:
            assert time.monotonic() < stored + 10
            await asyncio.sleep(0.05)

    run(body, url=server.url, namespace="second")


def test_clearing_reaches_every_engine_at_once(server: Any, run: Run) -> None:
    """After clear returned, no engine finds, counts as deleted, or swaps what was stored before."""

    async def body(one: AiocacheMemcachedEngine) -> None:
        other = AiocacheMemcachedEngine(one_config(server))
        await one.set(KEY, [b"old"])
        assert await other.get(KEY) == b"old"
        await other.clear()
        assert await one.get(KEY) is MISSING
        assert await one.delete(KEY) is False
        assert await one.delete_many([KEY]) == 0
        assert await one.get_many([KEY]) == {}
        assert await one.compare_and_set(KEY, b"old", [b"new"]) is False
        assert await one.compare_and_set(KEY, MISSING, [b"new"]) is True
        assert await other.get(KEY) == b"new"
        await other.close()

    run(body, url=server.url, namespace="clearing")


def one_config(server: Any) -> Any:
    from cachewright.engine import EngineConfig

    return EngineConfig(url=server.url, namespace="clearing", timeout=10.0)


def test_losing_the_generation_loses_the_entries_for_good(server: Any, run: Run) -> None:
    """If the server drops the generation, nothing stored under it comes back, whatever follows."""

    async def body(engine: AiocacheMemcachedEngine) -> None:
        await engine.set(KEY, [b"old"])
        assert server.say(b"delete cw-aiocache:lost:generation\r\n") == b"DELETED\r\n"
        assert await engine.get(KEY) is MISSING
        assert await engine.compare_and_set(KEY, b"old", [b"x"]) is False
        await engine.set("ff", [b"new"])
        assert await engine.get(KEY) is MISSING
        assert await engine.get("ff") == b"new"

    run(body, url=server.url, namespace="lost")


@pytest.mark.parametrize("planted", ["", "short", "x" * 15, "x" * 17])
def test_a_generation_that_is_none_is_replaced(server: Any, run: Run, planted: str) -> None:
    """Whatever another program put in its place, entries are misses until there is one of our own."""
    name = f"cw-aiocache:planted-{len(planted)}:"
    server.keep(f"{name}generation", planted)
    server.keep(f"{name}{KEY}", f"{planted}planted")

    async def body(engine: AiocacheMemcachedEngine) -> None:
        assert await engine.get(KEY) is MISSING
        assert await engine.compare_and_set(KEY, MISSING, [b"mine"]) is True
        assert await engine.get(KEY) == b"mine"

    run(body, url=server.url, namespace=f"planted-{len(planted)}")


def test_swapping_the_same_bytes_goes_on_when_others_do_it_too(server: Any, run: Run) -> None:
    """Twenty renewals of one claim at once all take place, for the bytes are what each expects."""

    async def body(engine: AiocacheMemcachedEngine) -> None:
        await engine.set(KEY, [b"claim"])
        swaps = [engine.compare_and_set(KEY, b"claim", [b"claim"], ttl=60) for _ in range(20)]
        assert await asyncio.gather(*swaps) == [True] * 20
        many = [engine.compare_and_set_many([(KEY, b"claim", [b"claim"], 60, 5)]) for _ in range(20)]
        assert await asyncio.gather(*many) == [[True]] * 20

    run(body, url=server.url, namespace="renewal")


def test_one_of_many_deletions_takes_place(server: Any, run: Run) -> None:
    """Of twenty tasks that swap a value for nothing at once, one does."""

    async def body(engine: AiocacheMemcachedEngine) -> None:
        for _ in range(10):
            await engine.set(KEY, [b"x"])
            done = await asyncio.gather(*[engine.compare_and_set(KEY, b"x", MISSING) for _ in range(20)])
            assert sum(done) == 1
            assert await engine.get(KEY) is MISSING

    run(body, url=server.url, namespace="deletion")


def test_a_value_above_the_limit_is_refused(server: Any, run: Run) -> None:
    """What is too large is not stored, by set, many or swap, and takes the older entry with it."""
    large = bytes(commands.MAX_VALUE_SIZE + 1)

    async def body(engine: AiocacheMemcachedEngine) -> None:
        for refused in (
            lambda: engine.set(KEY, [large]),
            lambda: engine.set_many([(KEY, [large], None, 1)]),
            lambda: engine.compare_and_set(KEY, b"old", [large]),
        ):
            await engine.set(KEY, [b"old"])
            assert not await refused()
            assert await engine.get(KEY) is MISSING
        await engine.set(KEY, [b"old"])
        assert await engine.compare_and_set(KEY, b"other", [large]) is False
        assert await engine.get(KEY) == b"old"

    run(body, url=server.url, namespace="above")


def test_a_server_that_takes_less_is_no_failure(start_server: Callable[..., Any], run: Run) -> None:
    """A server with a smaller limit refuses: the value is not stored, the older one is gone, all goes on."""
    server = start_server("-I", "64k", "-o", "slab_chunk_max=16384")
    large = bytes(500_000)

    async def body(engine: AiocacheMemcachedEngine) -> None:
        await engine.set(KEY, [b"old"])
        assert await engine.set(KEY, [large]) is False
        assert await engine.get(KEY) is MISSING
        await engine.set(KEY, [b"old"])
        assert await engine.compare_and_set(KEY, b"old", [large]) is False
        assert await engine.get(KEY) is MISSING
        entries: list[Any] = [("aa", [b"x"], None, 1), (KEY, [large], None, 1), ("bb", [b"y"], None, 1)]
        assert await engine.set_many(entries) == 2
        assert await engine.get_many(["aa", KEY, "bb"]) == {"aa": b"x", "bb": b"y"}

    run(body, url=server.url)


def test_a_full_server_is_an_error_with_a_hint(start_server: Callable[..., Any], run: Run) -> None:
    """A server that is out of memory and does not evict says so; it is no outage, and reading goes on."""
    server = start_server("-m", "2", "-M")

    async def body(engine: AiocacheMemcachedEngine) -> None:
        await engine.set(KEY, [b"x"])
        with pytest.raises(EngineError, match="give the server more memory") as failed:
            for number in range(1000):
                await engine.set(f"{number:032x}", [bytes(100_000)])
        assert not isinstance(failed.value, EngineUnavailableError)
        assert await engine.get(KEY) == b"x"

    run(body, url=server.url)


def test_names_fit_whatever_the_namespace_is(server: Any, run: Run) -> None:
    """The longest prefix, namespace and key make a name that the server takes, and each its own."""
    keys = ["a" * 64, "a" * 65, "f" * 300, "f" * 301, "caf\u00e9", "a b", "a\r\nb", "generation", ""]

    async def body(engine: AiocacheMemcachedEngine) -> None:
        assert max(len(engine._name(key)) for key in keys) <= 250
        for number, key in enumerate(keys):
            assert await engine.set(key, [b"%d" % number]) is True
        for number, key in enumerate(keys):
            assert await engine.get(key) == b"%d" % number

    for namespace in ("n" * 10_000, "\U0001f600" * 500, "a b\r\nc\0"):
        run(body, url=server.url, namespace=namespace, options={"prefix": "p" * 40})


def test_aiomcache_turns_in_circles_where_the_engine_does_not(
    start_server: Callable[..., Any], run: Run
) -> None:
    """A server that is killed while it owes an answer costs an error at once, and not the event loop."""
    server = start_server()

    async def body(engine: AiocacheMemcachedEngine) -> None:
        await engine.set(KEY, [b"x"])
        with server.frozen():
            pending = asyncio.ensure_future(engine.set(KEY, [b"y"]))
            await asyncio.sleep(0.05)
            server.kill()
            with pytest.raises(EngineUnavailableError, match="ConnectionResetError"):
                await pending

    run(body, url=server.url)


def test_tags_claims_and_clearing_through_the_core(server: Any) -> None:
    """What the core builds on compare-and-set works without listing; what needs a list is refused."""
    calls: list[int] = []

    def decorated() -> Any:
        @cached(
            engine="aiocache-memcached",
            name="mc-tags",
            url=server.url,
            tags=("user:{number}",),
            ttl=60,
            settings=PATIENT,
        )
        async def load(number: int) -> dict[str, Any]:
            calls.append(number)
            await asyncio.sleep(0.02)
            return {"number": number, "none": None}

        return load

    async def main() -> None:
        one, other = decorated(), decorated()
        answers = await asyncio.gather(*[one(1) for _ in range(20)], *[other(1) for _ in range(20)])
        assert answers == [{"number": 1, "none": None}] * 40
        assert calls == [1]
        await one.cache.invalidate_tags("user:1")
        await other(1)
        assert calls == [1, 1]
        await one(2)
        await other.cache_clear()
        await one(2)
        assert calls == [1, 1, 2, 2]
        with pytest.raises(UnsupportedByEngineError, match="invalidate_where"):
            await one.invalidate_where(number=1)

    asyncio.run(main())

"""A server that is refused, killed or frozen: callers are served at once, and what they did counts."""

from __future__ import annotations

import asyncio
import inspect
import signal
import time

import pytest

from cachewright import MISSING, cached, open_async_cache, open_cache
from cachewright.config import Settings

MARGIN = 10
"""How far a busy machine may be above the figures, which are printed as measured."""


@pytest.fixture
def settled(colour):
    """Return what a call returns, awaited on a loop of the test's own where that is the colour."""
    with asyncio.Runner() as runner:

        async def awaited(answer):
            return await answer

        yield lambda answer: runner.run(awaited(answer)) if inspect.isawaitable(answer) else answer


def decorated(colour, source, **options):
    calls = []
    if colour == "sync":

        @cached(**options)
        def load(key):
            calls.append(key)
            return source[key]

    else:

        @cached(**options)
        async def load(key):
            calls.append(key)
            return source[key]

    return load, calls


class Outage:
    """One of the ways in which a server is not there, and how it comes back."""

    def __init__(self, server, way):
        self._server = server
        self._way = way

    def begin(self):
        if self._way == "frozen":
            self._server.send(signal.SIGSTOP)
        else:
            self._server.kill()

    def end(self):
        if self._way == "frozen":
            self._server.send(signal.SIGCONT)
        else:
            self._server.start()


def timed(call):
    started = time.perf_counter()
    answer = call()
    return answer, time.perf_counter() - started


@pytest.mark.parametrize("way", ["killed", "frozen"])
def test_a_function_while_its_server_is_away(own_server, colour, settled, way, tmp_path, capsys):
    """Served soon, then at once; asked again as soon as it is back, after it was told what it has missed."""
    source = dict.fromkeys(range(1000), "old")
    options = {"engine": "redis", "url": own_server.url, "name": "f", "settings": Settings(data_dir=tmp_path)}
    load, calls = decorated(colour, source, tags=("all",), **options)
    plain, _ = decorated(colour, source, **{**options, "name": "g"})
    assert [settled(load(1)), settled(load(1)), settled(plain(1)), settled(plain(2))] == ["old"] * 4
    assert calls == [1]
    outage = Outage(own_server, way)
    outage.begin()
    first = [timed(lambda: settled(load(2)))[1] for _ in range(3)]
    first += [timed(lambda: settled(plain(2)))[1] for _ in range(3)]
    later = []
    for number in range(3, 1000):
        value, seconds = timed(lambda: settled(plain(number)))  # noqa: B023 - called at once
        assert value == "old"
        later.append(seconds)
    source[1] = source[2] = "new"
    settled(load.cache.invalidate_tags("all"))
    settled(plain.invalidate(1))
    settled(plain.invalidate(2))
    assert [settled(function(key)) for function in (load, plain) for key in (1, 2)] == ["new"] * 4
    info = plain.cache_info()
    assert (info.engine_open, info.pending) == (True, 2)
    outage.end()
    back = time.perf_counter()
    while plain.cache_info().engine_open or load.cache_info().engine_open:
        assert [settled(function(key)) for function in (load, plain) for key in (1, 2)] == ["new"] * 4
        assert time.perf_counter() - back < MARGIN
    recovered = time.perf_counter() - back
    for _ in range(3):
        assert [settled(function(key)) for function in (load, plain) for key in (1, 2)] == ["new"] * 4
    settled(plain(1))
    assert settled(plain.is_cached(1)) is True
    p99 = sorted(later)[int(len(later) * 0.99)]
    with capsys.disabled():
        print(
            f"\n{way} {colour}: first calls {max(first) * 1e3:.1f} ms, then p99 {p99 * 1e3:.3f} ms"
            f" (max {max(later) * 1e3:.1f}), recovered after {recovered:.3f} s"
        )
    assert max(first) < 0.1 * MARGIN
    assert p99 < 0.001 * MARGIN


@pytest.mark.parametrize("way", ["killed", "frozen"])
def test_a_cache_while_its_server_is_away(own_server, colour, settled, way, tmp_path):
    """Every operation that can do without an answer does; what was deleted meanwhile never comes back."""
    opened = open_cache if colour == "sync" else open_async_cache
    cache = opened("c", engine="redis", url=own_server.url, settings=Settings(data_dir=tmp_path))

    def call(name, *args, **options):
        return settled(getattr(cache, name)(*args, **options))

    def fresh():
        return "fresh"

    async def afresh():
        return "fresh"

    compute = fresh if colour == "sync" else afresh
    for key in ("a", "b", "c"):
        assert call("set", key, "old") is True
    outage = Outage(own_server, way)
    outage.begin()
    assert call("get", "a", MISSING) is MISSING
    assert call("get_many", ["a", "b"]) == {}
    assert call("set", "b", "new") is False
    assert call("set_many", {"d": 1, "e": 2}) == 0
    assert call("delete", "a") is False
    assert call("get_or_set", "c", compute) == "fresh"
    call("invalidate_tags", "t")
    assert call("stats").engine_open is True
    outage.end()
    deadline = time.monotonic() + MARGIN
    while call("stats").engine_open:
        assert call("get", "a", MISSING) is MISSING
        assert call("get", "b", MISSING) is MISSING
        assert time.monotonic() < deadline
    assert call("get", "a", MISSING) is MISSING
    assert call("get", "b", MISSING) is MISSING  # it was to be replaced, so it is not served any more
    assert call("get", "c", MISSING) in {"old", MISSING}
    assert call("set", "a", "again") is True
    assert call("get", "a") == "again"
    settled(cache.close())


def test_a_server_that_was_never_there(colour, settled, tmp_path):
    """Refused from the first call on."""
    settings = Settings(data_dir=tmp_path)
    load, calls = decorated(
        colour, {1: "one"}, engine="redis", url="redis://127.0.0.1:1/0", name="f", settings=settings
    )
    assert [settled(load(1)) for _ in range(3)] == ["one"] * 3
    settled(load.invalidate(1))
    settled(load.cache_clear())
    assert calls == [1, 1, 1]


def test_a_leader_whose_server_is_killed(company_of, own_server, colour):
    """Those who wait in other processes compute; nobody gets an exception, and all goes on afterwards."""
    company = company_of("redis", colour, own_server)
    leader, *others = company.peers(3, held=True, timeout=0.5)
    company.write("k", "old")
    first = leader.start("load", "k")
    leader.began("k")
    rest = [peer.start("load", "k") for peer in others]
    for peer in others:
        peer.do("release", "k")
    own_server.kill()
    assert [answer.result(60) for answer in rest] == ["old", "old"]
    own_server.start()
    company.write("k", "new")
    for peer in (leader, *others):
        peer.do("let_pass", "k")
        peer.do("load.invalidate", "k")
    assert [peer.do("load", "k") for peer in others] == ["new", "new"]
    leader.do("release", "k")
    assert first.result(60) == "old"
    assert [peer.do("load", "k") for peer in (leader, *others)] == ["new"] * 3

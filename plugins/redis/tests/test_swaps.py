"""Compare and set: many at once, renewing, large expected values; on one server and on a cluster."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from cachewright_redis.commands import BATCH, DIGESTED, HEAD, MAX_VALUE_SIZE

from cachewright.entry import MISSING
from cachewright.errors import EngineError

CLAIM = b"\xca\xce claim of one owner"


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Every test of this module is one of both engines."""
    return str(request.param)


@pytest.fixture(params=["server", "cluster"])
def place(request: pytest.FixtureRequest, server: Any, cluster: Any) -> Any:
    """One server, and a cluster of one node; empty."""
    chosen = cluster if request.param == "cluster" else server
    with chosen.client() as client:
        client.flushall()
    return chosen


@pytest.fixture
def swapper(place: Any, opened: Callable[..., Any]) -> Any:
    """An engine at that place."""
    clustered = "--cluster-enabled" in place.arguments
    return opened(url=f"redis+cluster://127.0.0.1:{place.port}" if clustered else place.url)


def key(number: int) -> str:
    """Return sample key ``number``."""
    return hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest()


def calls(server: Any, command: str) -> int:
    """Return how often a server was asked something."""
    with server.client() as client:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def test_many_swaps_at_once(swapper: Any) -> None:
    """Each swap of many takes place or not by itself: claiming, replacing, deleting, and the wrong ones."""
    swapper.set(key(1), [b"old"])
    swapper.set(key(2), [b"old"])
    swapper.set(key(3), [b"old"])
    swaps = [
        (key(0), MISSING, [b"new"], 100.0, 1),
        (key(1), b"old", [b"n", b"ew"], None, 1),
        (key(2), memoryview(b"old"), MISSING, None, 1),
        (key(3), b"other", [b"new"], None, 1),
        (key(3), MISSING, [b"new"], None, 1),
        (key(4), b"old", [b"new"], None, 1),
        (key(5), MISSING, MISSING, None, 1),
    ]
    assert swapper.compare_and_set_many(iter(swaps)) == [True, True, True, False, False, False, True]
    assert swapper.get_many([key(number) for number in range(6)]) == {
        key(0): b"new",
        key(1): b"new",
        key(3): b"old",
    }
    assert swapper.compare_and_set_many([]) == []


def test_more_swaps_than_a_batch(swapper: Any) -> None:
    """Answers come in the order of the swaps, however many batches they take."""
    numbers = range(2 * BATCH + 3)
    swapper.set_many((key(number), [b"taken"], None, 1) for number in numbers if number % 3 == 0)
    swaps = [(key(number), MISSING, [b"%d" % number], None, 1) for number in numbers]
    assert swapper.compare_and_set_many(swaps) == [number % 3 != 0 for number in numbers]
    assert swapper.get_many(key(number) for number in numbers) == {
        key(number): b"taken" if number % 3 == 0 else b"%d" % number for number in numbers
    }


def test_a_key_given_several_times(swapper: Any, place: Any) -> None:
    """Swaps of one key are done in order, also where the server does not know the script yet."""
    swaps: list[Any] = [(key(1), MISSING, [b"0"], None, 1)]
    swaps += [(key(1), b"%d" % turn, [b"%d" % (turn + 1)], None, 1) for turn in range(5)]
    swaps += [(key(1), b"0", [b"late"], None, 1), (key(2), MISSING, [b"other"], None, 1)]
    with place.client() as client:
        client.script_flush()
    assert swapper.compare_and_set_many(swaps) == [True] * 6 + [False, True]
    assert swapper.get_many([key(1), key(2)]) == {key(1): b"5", key(2): b"other"}


def test_the_script_is_sent_only_when_it_is_missing(swapper: Any, place: Any) -> None:
    """After the server forgot the script, only what did not run is said again, and the next time nothing."""
    first = [(key(number), MISSING, [b"a"], None, 1) for number in range(20)]
    second = [(key(number), b"a", [b"b"], None, 1) for number in range(20)]
    with place.client() as client:
        client.script_flush()
    whole, short = calls(place, "eval"), calls(place, "evalsha")
    assert swapper.compare_and_set_many(first) == [True] * 20
    assert calls(place, "eval") == whole + 20
    assert swapper.compare_and_set_many(second) == [True] * 20
    assert calls(place, "eval") == whole + 20
    assert calls(place, "evalsha") == short + 40


def test_a_value_over_the_limit_among_many(swapper: Any) -> None:
    """A swap of more than 512 MB is refused like a single one: False, and what was expected is gone."""
    too_large = [memoryview(bytes(1 << 20))] * 512 + [b"!"]
    swapper.set(key(1), [b"old"])
    swapper.set(key(2), [b"old"])
    swaps = [
        (key(1), b"old", too_large, None, MAX_VALUE_SIZE + 1),
        (key(2), b"other", too_large, None, MAX_VALUE_SIZE + 1),
        (key(3), MISSING, [b"new"], None, 1),
    ]
    assert swapper.compare_and_set_many(swaps) == [False, False, True]
    assert swapper.get_many([key(1), key(2), key(3)]) == {key(2): b"old", key(3): b"new"}


def test_another_type_under_one_of_the_names(swapper: Any, place: Any) -> None:
    """One swap that the server cannot do is an error of the engine that names the trouble."""
    swapper.set(key(1), [b"old"])
    with place.client() as client:
        (name,) = client.keys("*")
        client.delete(name)
        client.rpush(name, "item")
    with pytest.raises(EngineError, match="WRONGTYPE") as failed:
        swapper.compare_and_set_many([(key(2), MISSING, [b"a"], None, 1), (key(1), b"old", [b"a"], None, 1)])
    assert failed.value.operation == "compare and set"


@pytest.mark.parametrize("many", [False, True])
def test_a_claim_is_renewed_by_itself(swapper: Any, place: Any, many: bool) -> None:
    """Swapping bytes for the same bytes with another ttl replaces the ttl, and takes it away without one."""

    def renew(expected: bytes, ttl: float | None) -> bool:
        if many:
            return swapper.compare_and_set_many([(key(1), expected, [CLAIM], ttl, 1)]) == [True]
        return bool(swapper.compare_and_set(key(1), expected, [CLAIM], ttl=ttl))

    assert swapper.compare_and_set(key(1), MISSING, [CLAIM], ttl=50.0) is True
    with place.client() as client:
        (name,) = client.keys("*")
        assert 0 < client.pttl(name) <= 50_000
        assert renew(CLAIM, 1000.0) is True
        assert 900_000 < client.pttl(name) <= 1_000_000
        assert renew(b"another claim", 5000.0) is False
        assert 900_000 < client.pttl(name) <= 1_000_000
        assert renew(CLAIM, None) is True
        assert client.pttl(name) == -1
    assert swapper.get(key(1)) == CLAIM


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("size", [len(CLAIM), 2 * DIGESTED])
def test_an_expired_claim_is_no_claim(swapper: Any, many: bool, size: int) -> None:
    """What has expired is neither renewed nor replaced, and the key is free to be claimed."""
    claim = CLAIM.ljust(size, b".")

    def swap(expected: Any, value: Any) -> bool:
        if many:
            (swapped,) = swapper.compare_and_set_many([(key(1), expected, value, 100.0, 1)])
            return bool(swapped)
        return bool(swapper.compare_and_set(key(1), expected, value, ttl=100.0))

    swapper.set(key(1), [claim], ttl=0.001)
    while swapper.get(key(1)) is not MISSING:
        pass
    assert swap(claim, [claim]) is False
    assert swap(claim, MISSING) is False
    assert swapper.get(key(1)) is MISSING
    assert swap(MISSING, [b"the claim of another"]) is True
    assert swap(claim, [b"late"]) is False


@pytest.mark.parametrize("size", [DIGESTED - 1, DIGESTED, DIGESTED + 1, 1 << 20])
def test_large_values_are_compared_by_content(swapper: Any, size: int) -> None:
    """A value is told from every one that differs in a byte, wherever it is, or in its length."""
    value = os.urandom(size)
    swapper.set(key(1), [value])
    for place in (0, HEAD - 1, HEAD, size // 2, size - 1):
        other = bytearray(value)
        other[place] ^= 1
        assert swapper.compare_and_set(key(1), bytes(other), [b"no"]) is False
    for other in (value[:-1], value + b"\0", value[::-1], b"", MISSING):
        assert swapper.compare_and_set(key(1), other, [b"no"]) is False
    digest = hashlib.sha1(value, usedforsecurity=False).hexdigest().encode()
    assert swapper.compare_and_set(key(1), digest, [b"no"]) is False
    assert swapper.compare_and_set(key(1), memoryview(value), [value, b"!"]) is True
    assert swapper.compare_and_set(key(1), bytearray(value + b"!"), MISSING) is True
    assert swapper.compare_and_set(key(1), value, [b"no"]) is False
    assert swapper.get(key(1)) is MISSING


@pytest.mark.parametrize("many", [False, True])
def test_a_large_expected_value_stays_here(swapper: Any, place: Any, many: bool) -> None:
    """Refreshing a stale value of ten megabytes sends the new value, and not the old one again."""
    stale = os.urandom(1 << 20) * 10
    swapper.set(key(1), [stale])
    with place.client() as client:
        before = client.info("stats")["total_net_input_bytes"]
        if many:
            assert swapper.compare_and_set_many([(key(1), stale, [b"fresh"], None, 1)]) == [True]
        else:
            assert swapper.compare_and_set(key(1), stale, [b"fresh"]) is True
        assert client.info("stats")["total_net_input_bytes"] - before < len(stale) // 10
    assert swapper.get(key(1)) == b"fresh"

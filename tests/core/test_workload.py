"""A workload says what is to be cached and what its entries need."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from cachewright.errors import ConfigurationError
from cachewright.workload import KINDS, Workload


def test_defaults() -> None:
    """Without needs, any engine of this process will do."""
    workload = Workload()
    assert (workload.kind, workload.scope, workload.persist, workload.maxsize) == (
        "object",
        "process",
        False,
        None,
    )
    assert workload.needs_text() == "storage in this process"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "dictionary"),
        ("kind", None),
        ("kind", []),
        ("scope", "planet"),
        ("scope", 3),
        ("nbytes", -1),
        ("nbytes", 1.5),
        ("nbytes", True),
        ("count", -1),
        ("maxsize", -1),
        ("maxsize", "10"),
        ("max_bytes", "512MB"),
        ("max_bytes", True),
        ("policy", ""),
        ("policy", 3),
        ("persist", 1),
        ("asynchronous", None),
        ("executable", "no"),
        ("ttl", 60),
        ("hit_ratio", 1.1),
        ("hit_ratio", -0.1),
        ("hit_ratio", math.nan),
        ("hit_ratio", True),
        ("hit_ratio", None),
        ("reads_per_write", -1),
        ("reads_per_write", math.inf),
        ("load_seconds", math.nan),
        ("load_seconds", "1s"),
    ],
)
def test_nonsense_is_refused(name: str, value: object) -> None:
    """A value that makes no sense is an error that names it."""
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=f"^{name}=") as e:
        Workload(**arguments)
    assert e.value.setting == name


def test_unknown_needs_are_refused() -> None:
    """A misspelt need is an error, not ignored."""
    with pytest.raises(TypeError, match="persistent"):
        Workload(persistent=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_frozen_and_hashable() -> None:
    """A workload can be a key and cannot be changed."""
    assert {Workload(): 1}[Workload()] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        Workload().nbytes = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_of_probes_the_value() -> None:
    """The profile comes from the value, the needs from the caller."""
    workload = Workload.of([1000, 2000, 3000], persist=True, scope="host", maxsize=5)
    assert (workload.kind, workload.count, workload.persist, workload.maxsize) == ("container", 4, True, 5)
    assert workload.size == [1, 2, 3].__sizeof__() + 3 * (1000).__sizeof__()
    assert Workload.of(b"x" * 1000).kind == "bytes"


def test_of_type_assumes_a_typical_size() -> None:
    """Before there is a value, its type gives the kind, and the kind a size."""
    assert Workload.of_type(str).kind == "text"
    assert Workload.of_type("array", nbytes=5, persist=True) == Workload(kind="array", nbytes=5, persist=True)
    for kind in KINDS:
        assert Workload.of_type(kind).kind == kind
        assert Workload(kind=kind).size > 0


def test_objects_are_guessed_for_containers_only() -> None:
    """A buffer is one object, whatever its size; a container has more, the larger it is."""
    assert Workload(kind="array", nbytes=10**9).objects == 1
    assert Workload(kind="container", nbytes=6_400).objects == 100
    assert Workload(kind="container", nbytes=6_400, count=3).objects == 3
    assert Workload(kind="container", nbytes=0, count=0).objects == 1


@pytest.mark.parametrize(
    ("reads", "hits"), [(None, 0.8), (20, 0.95), (2, 0.5), (1, 0.0), (0.5, 0.0), (0, 0.0)]
)
def test_hit_ratio_follows_from_reads_per_write(reads: float | None, hits: float) -> None:
    """Of n reads per write, one misses."""
    assert Workload(reads_per_write=reads).expected_hits == pytest.approx(hits)


def test_needs_in_words() -> None:
    """Every hard need appears in the sentence for error messages."""
    workload = Workload(
        persist=True,
        scope="network",
        asynchronous=True,
        maxsize=1024,
        max_bytes=10**9,
        policy="lfu",
        executable=True,
    )
    assert workload.needs_text() == (
        "entries that survive the process, entries visible to every host on the network,"
        " use from an event loop, a bound of 1,024 entries, a bound of 1,000,000,000 bytes, the policy 'lfu',"
        " a private store, for values that need an executable serializer"
    )
    assert str(Workload(kind="text", nbytes=10, scope="host")) == (
        "text of about 10 bytes; needs entries visible to all processes of this host"
    )

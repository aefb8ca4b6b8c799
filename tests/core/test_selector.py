"""Ranking: hard requirements reject, expected cost decides."""

from __future__ import annotations

import math
import random
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.builtin import plugin
from cachewright.engine import SCOPES, Capabilities, Costs, EngineInfo
from cachewright.errors import NoEngineQualifiesError
from cachewright.selector import Ranking, choose, rank
from cachewright.workload import KINDS, Workload

BUILTIN = plugin.cachewright_engines()


def record(name: str, *, get: float = 1e-6, requires: tuple[str, ...] = (), **ability: Any) -> EngineInfo:
    automatic = ability.pop("automatic", True)
    return EngineInfo(
        name=name,
        target="m:E",
        async_target="m:A",
        capabilities=Capabilities(**{"holds": "objects", **ability}),
        costs=Costs(get=((64, get),), set=((64, get),)),
        requires=requires,
        automatic=automatic,
    )


REDIS = record("redis", get=5e-5, holds="bytes", scope="network", persistent=True, blocking=True, async_=True)


@pytest.mark.parametrize(
    ("workload", "best"),
    [
        (Workload(), "memory"),
        (Workload(policy="lfu", maxsize=10, max_bytes=10), "memory"),
        (Workload(asynchronous=True), "memory"),
        (Workload(persist=True), "sqlite"),
        (Workload(scope="host"), "sqlite"),
        (Workload(scope="network"), "redis"),
        (Workload(scope="network", persist=True, asynchronous=True), "redis"),
    ],
)
def test_best_engine(workload: Workload, best: str) -> None:
    """Memory where nothing must survive, a file where it must, a server for a network."""
    assert rank([*BUILTIN, REDIS], workload)[0].engine == best
    assert choose([*BUILTIN, REDIS], workload).name == best


@pytest.mark.parametrize(
    ("ability", "workload", "sentence"),
    [
        ({}, Workload(persist=True), "survives only the process"),
        ({}, Workload(scope="host"), "visible to one process"),
        ({"scope": "host"}, Workload(scope="network"), "visible to one host"),
        ({"sync": False, "async_": True}, Workload(), "usable only from an event loop"),
        ({"sync": False}, Workload(asynchronous=True), "has no interface at all"),
        ({"policies": ("lru",)}, Workload(policy="lfu"), "no lfu policy, only lru"),
        ({}, Workload(policy="lfu"), "no lfu policy"),
        ({}, Workload(maxsize=1024), "cannot bound the number of entries"),
        ({}, Workload(max_bytes=10**9), "cannot bound bytes"),
        ({"max_value_size": 1000}, Workload(nbytes=2_000_000), "a value of 2 MB is over its limit of 1 kB"),
        ({"automatic": False}, Workload(), "used only when asked for by name"),
        (
            {"scope": "network", "persistent": True},
            Workload(persist=True),
            'keeps entries on a server, which is used only for scope="network" or by name',
        ),
        (
            {"scope": "network", "holds": "bytes"},
            Workload(executable=True, scope="network"),
            "others can write to its store, so it holds plain data only until signing keys are set",
        ),
    ],
)
def test_rejections_are_sentences(ability: dict[str, Any], workload: Workload, sentence: str) -> None:
    """An engine that misses a hard requirement is listed with the reason, and not chosen."""
    [row] = rank([record("e", **ability)], workload)
    assert row.rejected == sentence
    assert row.score < math.inf
    with pytest.raises(NoEngineQualifiesError, match=sentence) as e:
        choose([record("e", **ability)], workload)
    assert e.value.rejected == {"e": sentence}
    assert e.value.needs == workload.needs_text()


def test_what_is_not_needed_does_not_reject() -> None:
    """More than was asked for is welcome, and a ttl needs nothing of the engine."""
    generous = record("e", scope="host", persistent=True, sync=True, async_=True, holds="bytes")
    assert rank([generous], Workload(ttl=True))[0].rejected is None
    assert rank([record("e")], Workload(asynchronous=True, executable=True))[0].rejected is None
    assert rank([record("e", sync=False, async_=True)], Workload(asynchronous=True))[0].rejected is None


def test_unavailable_engines_are_rejected_with_the_reason() -> None:
    """What cannot be used now is listed last, also where there is no record of it."""
    rows = rank(BUILTIN, Workload(), unavailable={"memory": "broken: boom", "redis": "not installed: redis"})
    assert [row.engine for row in rows] == ["sqlite", "memory", "null", "redis"]
    assert [row.rejected for row in rows] == [
        None,
        "broken: boom",
        "used only when asked for by name",
        "not installed: redis",
    ]
    assert rows[-1].score == math.inf


def test_hints_say_what_would_help() -> None:
    """Without an engine for the network the error names the plugin; one that is out of order, itself."""
    with pytest.raises(NoEngineQualifiesError, match=r"try: pip install cachewright-redis$"):
        choose(BUILTIN, Workload(scope="network"))
    with pytest.raises(
        NoEngineQualifiesError, match=r"redis: no server; .*\); would do, once usable: redis$"
    ):
        choose([*BUILTIN, REDIS], Workload(scope="network"), unavailable={"redis": "no server"})
    with pytest.raises(NoEngineQualifiesError, match=r"offers the policy 'zzz' .*; ask for fewer bounds"):
        choose(BUILTIN, Workload(policy="zzz"))
    with pytest.raises(NoEngineQualifiesError, match=r"\(none is installed\)$"):
        choose([], Workload())


def test_ties_go_to_the_simplest() -> None:
    """Within ten per cent, fewer requirements win, then the name; beyond it, cost does."""
    a, b = record("a", get=1.0e-6, requires=("x",)), record("b", get=1.09e-6)
    assert [row.engine for row in rank([a, b], Workload())] == ["b", "a"]
    assert [row.engine for row in rank([a, record("b", get=1.2e-6)], Workload())] == ["a", "b"]
    assert [row.engine for row in rank([record("d"), record("c")], Workload())] == ["c", "d"]


def test_reasons_are_words_and_figures() -> None:
    """Each row says what speaks for the engine, and against it."""
    memory, sqlite, *_ = rank(BUILTIN, Workload(nbytes=1000, load_seconds=1e-6))
    assert memory.reasons == ("get 50 ns: objects stay in the process", "needs nothing installed")
    assert memory.against == ()
    assert sqlite.reasons[0].endswith("us for 1 kB, decoding included")
    assert sqlite.against[0].endswith("x the cost of the best")
    assert sqlite.against[1].startswith("computing takes 1 us, fetching ")
    assert sqlite.against[1].endswith("this loses")
    [threaded] = rank([record("e", blocking=True)], Workload(asynchronous=True, persist=False))
    assert threaded.against == ("blocking: a worker thread adds 60 us per operation",)
    host = rank(BUILTIN, Workload(persist=True, scope="host"))[0]
    assert {"survives the process", "shared by the processes of this host"} <= {*host.reasons}


def test_ranking_is_a_documented_record() -> None:
    """Its fields are the public ones, and the figures come from the defaults."""
    names = [each.name for each in fields(Ranking)]
    assert names == [
        "engine",
        "score",
        "estimated_get",
        "estimated_set",
        "reasons",
        "against",
        "rejected",
        "source",
    ]
    assert rank(BUILTIN, Workload())[0].source == "default"


ABILITIES = st.fixed_dictionaries(
    {
        "holds": st.sampled_from(["objects", "bytes"]),
        "scope": st.sampled_from(SCOPES),
        "persistent": st.booleans(),
        "sync": st.booleans(),
        "async_": st.booleans(),
        "blocking": st.booleans(),
        "max_entries": st.booleans(),
        "max_bytes": st.booleans(),
        "policies": st.sampled_from([(), ("lru",), ("lru", "lfu")]),
        "max_value_size": st.sampled_from([None, 1000]),
        "automatic": st.booleans(),
        "get": st.floats(1e-9, 1),
    }
)
WORKLOADS = st.builds(
    Workload,
    kind=st.sampled_from(KINDS),
    nbytes=st.none() | st.integers(0, 10**9),
    persist=st.booleans(),
    scope=st.sampled_from(SCOPES),
    asynchronous=st.booleans(),
    maxsize=st.none() | st.integers(0, 10),
    max_bytes=st.none() | st.integers(0, 10),
    policy=st.sampled_from([None, "lru", "lfu"]),
    executable=st.booleans(),
    hit_ratio=st.floats(0, 1),
)


@given(st.lists(ABILITIES, max_size=8), WORKLOADS, st.sets(st.integers(0, 8)), st.randoms())
def test_no_hard_requirement_is_ever_violated(
    abilities: list[dict[str, Any]], workload: Workload, out: set[int], dice: random.Random
) -> None:
    """Whatever is installed, what is picked meets every need, and the order of the records is irrelevant."""
    records = [record(f"e{i}", **dict(ability)) for i, ability in enumerate(abilities)]
    unavailable = {f"e{i}": "out of order" for i in out}
    rows = rank(records, workload, unavailable=unavailable)
    shuffled = dice.sample(records, len(records))
    assert rank(shuffled, workload, unavailable=unavailable) == rows
    assert sorted(row.engine for row in rows) == sorted({*unavailable, *(info.name for info in records)})
    fit = [row for row in rows if row.rejected is None]
    assert rows[: len(fit)] == fit
    known = {info.name: info for info in records}
    for row in fit:
        info = known[row.engine]
        ability = info.capabilities
        assert info.automatic
        assert row.engine not in unavailable
        assert ability.persistent or not workload.persist
        assert SCOPES.index(ability.scope) >= SCOPES.index(workload.scope)
        assert ability.scope != "network" or workload.scope == "network"
        assert ability.sync or (workload.asynchronous and ability.async_)
        assert ability.max_entries or workload.maxsize is None
        assert ability.max_bytes or workload.max_bytes is None
        assert workload.policy in {None, *ability.policies}
        assert ability.max_value_size is None or workload.size <= ability.max_value_size
        assert row.score <= 1.11 * min(each.score for each in fit) or row is not fit[0]

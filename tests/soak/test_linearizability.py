"""What several callers do at once to one key of a built-in engine could have been done one by one."""

from __future__ import annotations

import pytest

from cachewright import open_async_cache, open_cache
from cachewright.testing import (
    HistoryPlan,
    async_cache_operations,
    cache_operations,
    try_async_histories,
    try_histories,
)

CI = pytest.param(1_000, id="1000")
SOAK = pytest.param(100_000, id="100000", marks=pytest.mark.soak)


def store(engine, tmp_path):
    """The arguments that open a cache on this engine."""
    return {"engine": "memory"} if engine == "memory" else {"path": tmp_path}


def check(trial, histories):
    """Fail unless all histories were judged, none was wrong, and some could have been."""
    print(trial)
    assert trial, trial
    assert trial.histories == histories
    assert trial.concurrent > 0


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
@pytest.mark.parametrize("histories", [CI, SOAK])
def test_operations_of_threads_are_linearizable(engine, histories, tmp_path):
    """get, set, add, incr, touch and delete of three threads return what some order explains."""
    with open_cache("n", **store(engine, tmp_path)) as cache:
        assert cache.engine == engine
        check(try_histories(cache_operations(cache), HistoryPlan(histories=histories)), histories)


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
@pytest.mark.parametrize("histories", [CI, SOAK])
def test_operations_of_tasks_are_linearizable(engine, histories, tmp_path):
    """The same of four tasks on two event loops."""
    cache = open_async_cache("n", **store(engine, tmp_path))
    plan = HistoryPlan(histories=histories, actors=4)
    check(try_async_histories(async_cache_operations(cache), plan), histories)


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
@pytest.mark.parametrize("histories", [CI, SOAK])
def test_operations_on_a_full_cache_are_linearizable(engine, histories, tmp_path):
    """Under a bound an entry may vanish at any time; nothing else changes."""
    with open_cache("n", maxsize=4, **store(engine, tmp_path)) as cache:
        plan = HistoryPlan(histories=histories, keys=3, evictions=True)
        check(try_histories(cache_operations(cache), plan), histories)


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
@pytest.mark.parametrize("histories", [CI, SOAK])
def test_clearing_beside_other_operations_is_linearizable(engine, histories, tmp_path):
    """For each key by itself, clear is a deletion like any other.

    On sqlite it takes several transactions, so that an entry written meanwhile may go with the last.
    """
    with open_cache("n", **store(engine, tmp_path)) as cache:
        operations = {**cache_operations(cache), "clear": lambda key: cache.clear()}
        plan = HistoryPlan(histories=histories, keys=2, evictions=engine == "sqlite")
        check(try_histories(operations, plan), histories)

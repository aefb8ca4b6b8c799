"""R2: a damaged store gives the right value or none, and works afterwards."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "stores", [pytest.param(300, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.soak)]
)
def test_damaged_stores(run, tmp_path, stores):
    """Damage of any kind leads to no wrong value, no exception and no hang, in any of three ways of use."""
    figures = run("damage_stores.py", tmp_path, stores, 1, seconds=60 + stores // 10)
    assert figures["problems"] == []
    assert (figures["stores"], figures["wrong"], figures["exceptions"]) == (stores, 0, 0)
    assert (figures["two_warnings"], figures["engine_errors"], figures["unusable_after"]) == (0, 0, 0)
    assert 0 < figures["hits"] < figures["reads"], "the damage left nothing, or did nothing"
    assert figures["quarantined"] > stores // 20

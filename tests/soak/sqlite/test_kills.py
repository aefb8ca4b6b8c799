"""R1: writers that are killed lose nothing that was acknowledged."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "kills", [pytest.param(500, marks=pytest.mark.slow), pytest.param(2000, marks=pytest.mark.soak)]
)
def test_killed_writers(run, tmp_path, kills):
    """However often four writers are killed, and whenever: nothing corrupt, lost or left over, and no error.

    The store is opened after each kill while the others write; each time all are dead it is inspected.
    """
    figures = run("kill_writers.py", tmp_path / "store", kills, 1, seconds=60 + kills)
    assert figures["problems"] == []
    assert figures["kills"] >= kills
    assert (figures["corrupt"], figures["lost"], figures["warnings"]) == (0, 0, 0)
    assert figures["most_strays"] <= 4
    assert figures["acknowledged"] > kills
    assert figures["in_flight_kept"] > 0, "no kill came between a write and its acknowledgement"
    assert figures["reads"] > 0

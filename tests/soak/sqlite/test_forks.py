"""R9: a process may fork while its threads write."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "forks", [pytest.param(80, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.soak)]
)
def test_forks_beside_writing_threads(run, tmp_path, forks):
    """Each child can use the engine with locks of its own, nothing hangs, and the parent is undisturbed."""
    figures = run("fork_writers.py", tmp_path / "store", forks, seconds=60 + forks)
    assert figures["problems"] == []
    assert (figures["forks"], figures["hung"], figures["failed"], figures["kept"]) == (forks, 0, 0, forks)

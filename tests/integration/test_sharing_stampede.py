"""A crowd of processes, each with a crowd of its own, asks for keys that nobody has: one call for each."""

from __future__ import annotations

import pytest


def stampede(company, processes, crowd, keys):
    """Have every member of every process ask for each key, all at once."""
    peers = company.peers(processes, seconds=0.02)
    for number in range(keys):
        key = f"key {number}"
        company.write(key, f"value {number}")
        answers = [peer.start("many", key, crowd, 2) for peer in peers]
        assert [answer.result(300) for answer in answers] == [[f"value {number}"] * crowd * 2] * processes
        assert len(company.calls(key)) == 1


@pytest.mark.slow
def test_six_processes_of_eight(company):
    """Forty-eight threads, or event loops, on every key."""
    stampede(company, 6, 8, 5)


@pytest.mark.soak
def test_sixteen_processes_of_sixteen(company):
    """256 threads, or event loops, on every key."""
    stampede(company, 16, 16, 20)

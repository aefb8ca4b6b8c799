"""Freshness under fire: processes that read, change and invalidate at once never see what is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WAYS = ("invalidate", "tag", "result tag", "clear", "where", "put", "refresh")
PROCESSES = 3


def fire(company, way, seconds, capsys):
    """Return the figures of all processes together, and show them."""
    (company.home / "numbers").write_bytes(bytes(16 * 8))
    plan = {
        "home": str(company.home), "way": way, "all": PROCESSES, "seconds": seconds, "name": company.name,
        "store": company.store, "awaits": company.awaits,
    }  # fmt: skip
    script = str(Path(__file__).with_name("sharing_fire.py"))
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", script, json.dumps({**plan, "me": me})],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for me in range(PROCESSES)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=seconds + 120) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert [process.returncode for process in running] == [0] * PROCESSES, outputs
    several = [json.loads(output.splitlines()[-1]) for output, _ in outputs]
    names = ("reads", "loads", "changes", "stale")
    total = {name: sum(figures[name] for figures in several) for name in names}
    slowest = max(figures["slowest"] for figures in several)
    with capsys.disabled():
        where = f"{company.store['engine']} {way} awaits={company.awaits}"
        print(f"\nfresh under fire: {where} {total}, slowest {slowest:.2f} s")
    assert [figures["errors"] for figures in several] == [[]] * PROCESSES
    return total


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_no_stale_read(company, way, capsys):
    """A second and a half for each way to invalidate, ten for all of them."""
    figures = fire(company, way, 1.5, capsys)
    assert figures["stale"] == 0
    assert min(figures["reads"], figures["changes"]) > 0


@pytest.mark.soak
@pytest.mark.parametrize("way", ["invalidate", "tag", "clear"])
def test_no_stale_read_for_ten_minutes(company, way, capsys):
    """The same for as long as the figure asks for."""
    figures = fire(company, way, 600, capsys)
    assert figures["stale"] == 0

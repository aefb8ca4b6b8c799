"""The end of the interpreter: nothing that runs behind the callers keeps it from coming, or complains."""

from __future__ import annotations

import subprocess
import sys

import pytest

STALE = """
import sys, threading, time
from cachewright import Freshness, cached

begun, calls = threading.Event(), []

@cached(ttl=0.01, freshness=Freshness(stale_ttl=600), **{options})
def slow(x):
    calls.append(x)
    if len(calls) > 1:
        begun.set()
        time.sleep(600)
    return x

assert slow(1) == 1
deadline = time.monotonic() + 60
while not begun.is_set() and time.monotonic() < deadline:
    assert slow(1) == 1
    begun.wait(0.02)
assert begun.is_set()
print("done")
"""

HARD = """
import time
from cachewright import Freshness, cached, errors

@cached(freshness=Freshness(hard_timeout=0.05), **{options})
def slow(x):
    time.sleep(600)

try:
    slow(1)
except errors.LoadTimeoutError:
    print("done")
"""

CLAIM = """
import threading, time
from cachewright import cached

begun = threading.Event()

@cached(**{options})
def slow(x):
    begun.set()
    time.sleep(600)

threading.Thread(target=slow, args=(1,), daemon=True).start()
assert begun.wait(60)
print("done")
"""

LOOP = """
import asyncio
from cachewright import Freshness, cached

calls = []

@cached(ttl=0.01, freshness=Freshness(stale_ttl=600), **{options})
async def slow(x):
    calls.append(x)
    if len(calls) > 1:
        await asyncio.sleep(600)
    return x

async def main():
    assert await slow(1) == 1
    while len(calls) < 2:
        await asyncio.sleep(0.02)
        assert await slow(1) == 1

asyncio.run(asyncio.wait_for(main(), 60))
print("done")
"""

AT_EXIT = """
import atexit
from cachewright import cached

@cached(**{options})
def late(x):
    return x

late(1)
atexit.register(lambda: print("done" if late(2) == 2 and late(1) == 1 else "wrong"))
"""


@pytest.mark.parametrize(
    "program", [STALE, HARD, CLAIM, LOOP, AT_EXIT], ids=["stale", "hard", "claim", "loop", "atexit"]
)
@pytest.mark.parametrize("stored", [False, True], ids=["memory", "sqlite"])
def test_a_program_ends_when_it_is_at_its_end(tmp_path, program, stored):
    """Whatever is still being computed; without a word about it, and with its own exit code."""
    options = f"dict(path={str(tmp_path / 'store')!r}, name='f')" if stored else "{}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace("{options}", options)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")

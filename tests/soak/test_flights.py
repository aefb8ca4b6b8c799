"""One call per key, whatever the crowd: 256 threads, 10,000 tasks, and both at once."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachewright import cached
from cachewright.config import Settings

pytestmark = pytest.mark.soak

KEYS = range(50)


@pytest.fixture(params=["memory", "sqlite"])
def options(request, tmp_path):
    settings = Settings(dir=tmp_path / "store", data_dir=tmp_path / "keys", timeout=60)
    return {"engine": request.param, "settings": settings, "name": f"crowd-{tmp_path.name}"}


def test_256_threads(options):
    """All ask for all keys, from the first on."""
    calls = []

    @cached(**options)
    def load(key):
        calls.append(key)
        time.sleep(0.002)
        return key * 2

    start = threading.Barrier(256)

    def ask(_):
        start.wait(60)
        return [load(key) for key in KEYS]

    with ThreadPoolExecutor(256) as pool:
        assert list(pool.map(ask, range(256))) == [[key * 2 for key in KEYS]] * 256
    assert sorted(calls) == list(KEYS)


def test_10000_tasks(options):
    """In one event loop, then in four at once."""
    calls = []

    @cached(**options)
    async def load(key):
        calls.append(key)
        await asyncio.sleep(0.002)
        return key * 2

    async def many(count, key):
        return await asyncio.gather(*(load(key) for _ in range(count)))

    assert asyncio.run(many(10_000, 1)) == [2] * 10_000
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: asyncio.run(many(2_500, 2)), range(4))) == [[4] * 2_500] * 4
    assert calls == [1, 2]


def test_cancelled_tasks(options):
    """Nine of ten callers are cancelled while they wait, the first among them; the rest are served."""
    calls = []

    @cached(**options)
    async def load(key):
        calls.append(key)
        await asyncio.sleep(0.05)
        return key * 2

    async def main(key):
        tasks = [asyncio.ensure_future(load(key)) for _ in range(1000)]
        while calls[-1:] != [key]:
            await asyncio.sleep(0)
        for number, task in enumerate(tasks):
            if number % 10 != 9:
                task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert answers[9::10] == [key * 2] * 100
        assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 900

    for key in KEYS:
        asyncio.run(main(key))
    assert calls == list(KEYS)

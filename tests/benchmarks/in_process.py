"""Hits in this process: against functools and against the decorators of the backend libraries."""

from __future__ import annotations

import asyncio
import functools
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from case import Case, awaited, loops


def memory_hit() -> dict[str, float]:
    from cachewright import cached

    ours = cached(engine="memory")(lambda x: x)
    peer = functools.lru_cache(1024)(lambda x: x)
    ours(1), ours(1), peer(1)
    return loops({"ours": ("f(1)", {"f": ours}), "peer": ("f(1)", {"f": peer})})


def memory_ttl_hit() -> dict[str, float]:
    from cachewright import cached

    ours = cached(engine="memory", ttl=3600)(lambda x: x)
    peer = functools.lru_cache(1024)(lambda x: x)
    ours(1), ours(1), peer(1)
    return loops({"ours": ("f(1)", {"f": ours}), "peer": ("f(1)", {"f": peer})})


def cachebox_hit() -> dict[str, float]:
    import cachebox

    from cachewright import cached

    ours = cached(engine="cachebox")(lambda x: x)
    peer = cachebox.cached(cachebox.LRUCache(1024))(lambda x: x)
    ours(1), ours(1), peer(1)
    return loops({"ours": ("f(1)", {"f": ours}), "peer": ("f(1)", {"f": peer})})


def cachetools_hit() -> dict[str, float]:
    import cachetools

    from cachewright import cached

    ours = cached(engine="cachetools")(lambda x: x)
    peer = cachetools.cached(cachetools.LRUCache(1024), lock=threading.RLock(), info=True)(lambda x: x)
    ours(1), ours(1), peer(1)
    return loops({"ours": ("f(1)", {"f": ours}), "peer": ("f(1)", {"f": peer})})


def async_hit() -> dict[str, float]:
    from cachewright import cached

    async def bare(x: int) -> int:
        return x

    ours = cached(engine="memory")(bare)
    asyncio.run(ours(1))
    asyncio.run(ours(1))
    drive = "try: f(1).send(None)\nexcept StopIteration: pass"
    return loops({"ours": (drive, {"f": ours}), "peer": (drive, {"f": bare})})


def aiocache_hit() -> dict[str, float]:
    """One hit as a task of a running loop sees it."""
    import aiocache

    from cachewright import cached

    async def same(x: int) -> int:
        return x

    ours = cached(engine="aiocache")(same)
    peer = aiocache.cached()(same)

    async def measure() -> dict[str, float]:
        return await awaited({"ours": lambda: ours(1), "peer": lambda: peer(1)}, 1000)

    return asyncio.run(measure())


def import_time() -> dict[str, float]:
    """Seconds that the import adds to a bare interpreter, and the limit in place of a peer."""
    samples: dict[str, list[float]] = {"bare": [], "imported": []}
    for _ in range(20):
        for name, source in (("bare", "pass"), ("imported", "import cachewright")):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", source], check=True)
            samples[name].append(time.perf_counter() - started)
    added = statistics.median(samples["imported"]) - statistics.median(samples["bare"])
    return {"ours": max(added, 0.0), "peer": 0.030}


def decorating_import_time() -> dict[str, float]:
    """The same for importing and using the bare decorator, without a call."""
    samples: dict[str, list[float]] = {"bare": [], "imported": []}
    source = "from cachewright import cached\n@cached\ndef f(x): return x"
    for _ in range(20):
        for name, text in (("bare", "pass"), ("imported", source)):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", text], check=True)
            samples[name].append(time.perf_counter() - started)
    added = statistics.median(samples["imported"]) - statistics.median(samples["bare"])
    return {"ours": max(added, 0.0), "peer": 0.030}


def one_call() -> dict[str, float]:
    """Calls of one cold key by 8 threads and 2,000 tasks; the peer is the one call that there may be."""
    from cachewright import cached

    calls = []

    @cached
    def slow(x: int) -> int:
        calls.append("thread")
        time.sleep(0.05)
        return x

    @cached
    async def aslow(x: int) -> int:
        calls.append("task")
        await asyncio.sleep(0.05)
        return x

    async def many() -> None:
        await asyncio.gather(*(aslow(1) for _ in range(250)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(slow, [1] * 8))
        list(pool.map(lambda _: asyncio.run(many()), range(8)))
    return {"ours": max(calls.count("thread"), calls.count("task")) * 1e-9, "peer": 1e-9}


CASES = [
    Case("import", "import cachewright", "30 ms over a bare interpreter", 1.0, import_time),
    Case(
        "import and decorate",
        "@cached, not called",
        "30 ms over a bare interpreter",
        1.0,
        decorating_import_time,
    ),
    Case("memory hit", "@cached, f(int), exact statistics", "functools.lru_cache(1024)", 1.5, memory_hit),
    Case("memory hit, ttl", "@cached(ttl=...), strict", "functools.lru_cache(1024)", 3.0, memory_ttl_hit),
    Case(
        "cachebox hit",
        '@cached(engine="cachebox"), statistics',
        "cachebox.cached(LRUCache)",
        0.25,
        cachebox_hit,
    ),
    Case(
        "cachetools hit",
        '@cached(engine="cachetools"), thread-safe',
        "cachetools.cached(lock=, info=)",
        0.3,
        cachetools_hit,
    ),
    Case("async hit", "@cached coroutine function, statistics", "a bare coroutine", 1.6, async_hit),
    Case("aiocache hit", '@cached(engine="aiocache")', "aiocache.cached, in memory", 0.1, aiocache_hit),
    Case("one cold key", "8 threads; 2,000 tasks of 8 loops: calls", "one call", 1.0, one_call),
]

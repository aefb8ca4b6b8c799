"""Measure cachewright, the engines' own decorators and functools in one run, and print ratios.

Every case is timed in several processes, its contestants taking turns in each, and the median of the
medians counts. Times depend on the machine and drift; ratios are what to quote, with the build.

    python tests/benchmarks/run.py [--processes 3] [--case NAME ...] [--write docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 15


@dataclass(frozen=True)
class Case:
    """One row of the report: ours against a peer, with the ratio to reach, if there is one."""

    name: str
    ours: str
    peer: str
    goal: float | None
    measure: Callable[[], dict[str, float]]


def seconds_per_call(calls: dict[str, Callable[[], Any]], number: int) -> dict[str, float]:
    """Return the median seconds per call of each contestant; they take turns."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            for _ in range(number):
                call()
            samples[name].append((time.perf_counter() - started) / number)
    return {name: statistics.median(values) for name, values in samples.items()}


def loops(statements: dict[str, tuple[str, dict[str, Any]]], number: int = 200_000) -> dict[str, float]:
    """Like :func:`seconds_per_call`, for statements so short that calling a function would hide them."""
    import timeit

    timers = {name: timeit.Timer(statement, globals=scope) for name, (statement, scope) in statements.items()}
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            samples[name].append(timer.timeit(number) / number)
    return {name: statistics.median(values) for name, values in samples.items()}


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


def sqlite_hit() -> dict[str, float]:
    import diskcache

    from cachewright import cached
    from cachewright.config import Settings

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(dir=f"{folder}/ours", data_dir=f"{folder}/keys")
        ours = cached(engine="sqlite", name="bench", settings=settings)(lambda x: x)
        with diskcache.Cache(f"{folder}/peer") as store:
            peer = store.memoize(name="bench")(lambda x: x)
            ours(1), ours(1), peer(1)
            return loops({"ours": ("f(1)", {"f": ours}), "peer": ("f(1)", {"f": peer})}, 2_000)


def array_hit() -> dict[str, float]:
    import joblib
    import numpy as np

    from cachewright import cached
    from cachewright.config import Settings

    def make(x: int) -> Any:
        return np.arange(1_250_000, dtype=np.float64) + x

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(dir=f"{folder}/ours", data_dir=f"{folder}/keys")
        ours = cached(engine="sqlite", name="bench", settings=settings)(make)
        peer = joblib.Memory(f"{folder}/peer", mmap_mode="r", verbose=0).cache(make)
        ours(1), ours(1), peer(1), peer(1)
        return seconds_per_call({"ours": lambda: ours(1), "peer": lambda: peer(1)}, 20)


def array_first_hit() -> dict[str, float]:
    """The first hit of a process, which verifies the whole file, against reading without verification."""
    import joblib
    import numpy as np

    from cachewright import open_cache
    from cachewright.config import Settings

    values = np.arange(1_250_000, dtype=np.float64)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(dir=f"{folder}/ours", data_dir=f"{folder}/keys")
        store = joblib.Memory(f"{folder}/peer", mmap_mode="r", verbose=0)
        peer = store.cache(functools.partial(np.add, values))
        samples: dict[str, list[float]] = {"ours": [], "peer": []}
        with open_cache("bench", engine="sqlite", settings=settings) as cache:
            for x in range(8):
                cache.set(x, values + x)
                peer(x)
            for x in range(8):
                for name, call in (("ours", lambda: cache.get(x)), ("peer", lambda: peer(x))):  # noqa: B023 - called at once
                    started = time.perf_counter()
                    call()
                    samples[name].append(time.perf_counter() - started)
        return {name: statistics.median(times) for name, times in samples.items()}


def array_put() -> dict[str, float]:
    import joblib
    import numpy as np

    from cachewright import open_cache
    from cachewright.config import Settings

    values = np.arange(1_250_000, dtype=np.float64)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(dir=f"{folder}/ours", data_dir=f"{folder}/keys")
        with open_cache("bench", engine="sqlite", settings=settings) as cache:
            target = f"{folder}/peer.joblib"
            return seconds_per_call(
                {"ours": lambda: cache.set("k", values), "peer": lambda: joblib.dump(values, target)}, 3
            )


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
        0.3,
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
    Case("sqlite hit", '@cached(engine="sqlite"), small value', "diskcache memoize", 0.6, sqlite_hit),
    Case("10 MB array, hit", "sqlite engine, authenticated", "joblib.Memory, mmap_mode='r'", 1.0, array_hit),
    Case(
        "10 MB array, first hit of a process",
        "sqlite engine, verifies all",
        "joblib.Memory, mmap_mode='r'",
        None,
        array_first_hit,
    ),
    Case("10 MB array, put", "sqlite engine, authenticated", "joblib.dump", None, array_put),
    Case("one cold key", "8 threads; 2,000 tasks of 8 loops: calls", "one call", 1.0, one_call),
]


def build() -> str:
    """Name the interpreter's build."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    kind = "with PGO" if optimised else "without PGO"
    return f"CPython {platform.python_version()} {kind}, {platform.system()} {platform.machine()}"


def in_process(case: str) -> dict[str, float]:
    """Measure one case in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", case], check=True, capture_output=True, text=True
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def text_of(seconds: float, case: Case) -> str:
    if case.name == "one cold key":
        return f"{seconds * 1e9:.0f}"
    for unit, factor in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--case", action="append", default=None)
    parser.add_argument(
        "--write", type=Path, default=None, help="write the table to this file, between its markers"
    )
    parser.add_argument("--one", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        case = next(case for case in CASES if case.name == options.one)
        print(json.dumps(case.measure()))
        return 0
    rows = []
    for case in CASES:
        if options.case and case.name not in options.case:
            continue
        results = [in_process(case.name) for _ in range(options.processes)]
        ratio = statistics.median(result["ours"] / result["peer"] for result in results)
        ours = statistics.median(result["ours"] for result in results)
        peer = statistics.median(result["peer"] for result in results)
        goal = "-" if case.goal is None else f"{case.goal:g}"
        verdict = "" if case.goal is None else "reached" if ratio <= case.goal * 1.005 else "missed"
        rows.append(
            (
                case.name,
                case.ours,
                case.peer,
                text_of(ours, case),
                text_of(peer, case),
                f"{ratio:.2f}",
                goal,
                verdict,
            )
        )
        print("  ".join(rows[-1]), flush=True)
    headers = ("case", "ours", "against", "ours", "against", "ratio", "goal", "")
    lines = [f"Build: {build()}; median of {options.processes} processes.", ""]
    lines += [f"| {' | '.join(headers)} |", "|" + " --- |" * len(headers)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    print("\n" + "\n".join(lines))
    if options.write:
        begin, end = "<!-- measured: begin -->", "<!-- measured: end -->"
        page = options.write.read_text()
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        options.write.write_text(f"{head}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{tail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

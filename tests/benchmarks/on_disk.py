"""Engines that keep files: hits against the libraries' own decorators, and round trips of large values."""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from case import Case, loops, seconds_per_call

OPTIONS = {"diskcache": {"accept_cve": True}}
ENGINES = ("sqlite", "lmdb", "diskcache", "joblib", "klepto")


@contextmanager
def folders() -> Iterator[tuple[Path, Any]]:
    """Yield a folder, and settings whose stores and keys are in it."""
    from cachewright.config import Settings

    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), Settings(dir=f"{folder}/ours", data_dir=f"{folder}/keys")


def hit_against(engine: str, decorated: Callable[[Path, Any], Any]) -> dict[str, float]:
    """A hit of a small value, against what ``decorated`` makes of the same function."""
    from cachewright import cached

    def same(x: int) -> int:
        return x

    with folders() as (folder, settings):
        ours = cached(engine=engine, name="bench", settings=settings, options=OPTIONS.get(engine))(same)
        peer = decorated(folder / "peer", same)
        for f in (ours, peer):
            f(1), f(1)
        return loops({"ours": ("f(1)", {"f": ours}), "peer": ("f(1)", {"f": peer})}, 1_000)


def by_diskcache(folder: Path, function: Any) -> Any:
    import diskcache

    return diskcache.Cache(str(folder)).memoize(name="bench")(function)


def by_joblib(folder: Path, function: Any) -> Any:
    import joblib

    return joblib.Memory(folder, verbose=0).cache(function)


def by_klepto(folder: Path, function: Any) -> Any:
    """The in-memory cache in front would answer instead of the archive: the archive itself is used."""
    import klepto
    from klepto.archives import dir_archive
    from klepto.keymaps import picklemap

    archive = dir_archive(str(folder), cached=False, serialized=True)
    return klepto.inf_cache(cache=archive, keymap=picklemap(serializer="pickle"))(function)


def array() -> Any:
    """10 MB of random numbers."""
    import numpy as np

    return np.random.default_rng(0).random(1_250_000)


def frame() -> Any:
    """8 MB in columns of numbers, dates and text."""
    import numpy as np
    import pandas as pd

    rows = 200_000
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "price": random.random(rows),
            "amount": random.integers(0, 1000, rows),
            "day": pd.date_range("2020-01-01", periods=rows, freq="s"),
            "name": pd.Categorical.from_codes(random.integers(0, 50, rows), [f"name {n}" for n in range(50)]),
            "text": pd.array([f"text {n % 1000}" for n in range(rows)], dtype="str"),
        }
    )


def round_trip(engine: str, make: Callable[[], Any]) -> dict[str, float]:
    """Put and get, against joblib.dump and load, and against diskcache."""
    import diskcache
    import joblib

    from cachewright import open_cache

    value = make()
    with folders() as (folder, settings):
        file, theirs = folder / "peer.joblib", diskcache.Cache(str(folder / "peer"), size_limit=2**33)
        with (
            open_cache("bench", engine=engine, settings=settings, options=OPTIONS.get(engine)) as cache,
            theirs,
        ):

            def by_joblib() -> Any:
                joblib.dump(value, file)
                return joblib.load(file)

            def by_diskcache() -> Any:
                theirs.set("k", value)
                return theirs.get("k")

            def by_us() -> Any:
                cache.set("k", value)
                return cache.get("k")

            times = seconds_per_call({"ours": by_us, "joblib": by_joblib, "diskcache": by_diskcache}, 2)
    return {"ours": times["ours"], "peer": min(times["joblib"], times["diskcache"])}


def array_hit(engine: str) -> dict[str, float]:
    import joblib

    from cachewright import cached

    value = array()

    def make(x: int) -> Any:
        return value + x

    with folders() as (folder, settings):
        ours = cached(engine=engine, name="bench", settings=settings, options=OPTIONS.get(engine))(make)
        peer = joblib.Memory(folder / "peer", mmap_mode="r", verbose=0).cache(make)
        ours(1), ours(1), peer(1), peer(1)
        return seconds_per_call({"ours": lambda: ours(1), "peer": lambda: peer(1)}, 20)


def array_first_hit() -> dict[str, float]:
    """The first hit of a process, which verifies the whole file, against reading without verification."""
    import joblib
    import numpy as np

    from cachewright import open_cache

    values = array()
    with folders() as (folder, settings):
        store = joblib.Memory(folder / "peer", mmap_mode="r", verbose=0)
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


def array_put(engine: str) -> dict[str, float]:
    import joblib

    from cachewright import open_cache

    values = array()
    with (
        folders() as (folder, settings),
        open_cache("bench", engine=engine, settings=settings, options=OPTIONS.get(engine)) as cache,
    ):
        target = folder / "peer.joblib"
        return seconds_per_call(
            {"ours": lambda: cache.set("k", values), "peer": lambda: joblib.dump(values, target)}, 3
        )


MMAP = "joblib.Memory, mmap_mode='r'"
MEMOIZE = "diskcache memoize"
FASTER = "the faster of joblib, diskcache"

CASES = [
    Case("sqlite hit", "small value", MEMOIZE, 0.6, partial(hit_against, "sqlite", by_diskcache)),
    Case("lmdb hit", "small value", MEMOIZE, 0.5, partial(hit_against, "lmdb", by_diskcache)),
    Case("diskcache hit", "small value", MEMOIZE, 0.5, partial(hit_against, "diskcache", by_diskcache)),
    Case("joblib hit", "small value", "joblib.Memory", 0.3, partial(hit_against, "joblib", by_joblib)),
    Case("klepto hit", "small value", "klepto.inf_cache", 0.5, partial(hit_against, "klepto", by_klepto)),
    Case("10 MB array, hit", "sqlite", MMAP, 1.0, partial(array_hit, "sqlite")),
    Case("10 MB array, joblib hit", "joblib", MMAP, 1.0, partial(array_hit, "joblib")),
    Case("10 MB array, first hit of a process", "sqlite, verifies all", MMAP, None, array_first_hit),
    Case("10 MB array, put", "sqlite", "joblib.dump", None, partial(array_put, "sqlite")),
    *(
        Case(f"{what}, put and get, {engine}", engine, FASTER, None, partial(round_trip, engine, make))
        for what, make in (("10 MB array", array), ("8 MB frame", frame))
        for engine in ENGINES
    ),
]

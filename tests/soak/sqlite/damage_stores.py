"""Stores are damaged in every way there is, and used as if nothing had happened.

Run as ``python damage_stores.py DIRECTORY COUNT SEED``; prints one line of JSON, see :class:`Figures`.
Each store is used in one of three ways: through the engine, through ``open_cache``, or through a
decorated function. What is stored is authenticated, so that a value that is not the one stored is found.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import random
import shutil
import sqlite3
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cachewright import cached, open_cache
from cachewright.builtin.sqlite.engine import SqliteEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import StoreQuarantinedWarning

SMALL, LARGE = 24, 4
HANG = 30.0
"""Seconds after which a store counts as hanging; one takes some hundredths of a second."""


@dataclass
class Figures:
    """What happened; ``wrong``, ``exceptions`` and ``unusable_after`` must be 0."""

    stores: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    reads: int = 0
    hits: int = 0
    wrong: int = 0
    exceptions: int = 0
    quarantined: int = 0
    two_warnings: int = 0
    engine_errors: int = 0
    unusable_after: int = 0
    ways: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def value(number: int) -> object:
    """The value under a key, of a kind of its own for every few of them."""
    if number >= SMALL:
        return bytes([number]) * (50_000 + 1000 * number)
    return [b"b" * number * 9, f"text {number}", {"n": [number, None, 1.5]}, number][number % 4]


# Making ------------------------------------------------------------------------------------------------


def make_templates(folder: Path) -> list[Path]:
    """Make stores that were closed, that still have their WAL, and one of another namespace."""
    closed, pending, empty, other = (folder / name for name in ("closed", "pending", "empty", "other"))
    for path, name in ((closed, "demo"), (other, "other")):
        with open_cache(name, path=path) as cache:
            fill(cache, range(SMALL + LARGE))
        remember(path, name)
    with open_cache("demo", path=folder / "live") as cache:
        fill(cache, range(0, SMALL + LARGE, 2))
        remember(folder / "live", "demo")
        fill(cache, range(1, SMALL + LARGE, 2))
        shutil.copytree(folder / "live", pending)
    with open_cache("demo", path=empty):
        pass
    return [closed, closed, pending, pending, empty, other]


def fill(cache: object, numbers: range) -> None:
    for number in numbers:
        cache.set(number, value(number), ttl=None if number % 2 else 10_000)  # type: ignore[attr-defined]


def remember(path: Path, name: str) -> None:
    function = decorated(path, name)
    for number in range(SMALL + LARGE):
        function(number)
    function.cache.close()  # type: ignore[attr-defined]


def decorated(path: Path, name: str = "demo") -> Callable[[int], object]:
    @cached(path=path, name=f"{name}.function", ttl="1h")
    def function(number: int) -> object:
        return value(number)

    return function


# Damage ------------------------------------------------------------------------------------------------


def flip(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 8, 64])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def truncate(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


def zero_page(content: bytearray, rng: random.Random) -> None:
    size = rng.choice([512, 1024, 4096])
    at = rng.randrange(len(content)) // size * size
    content[at : at + size] = bytes(len(content[at : at + size]))


def garbage(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    part = len(content[at : at + rng.choice([16, 512, 1 << 20])])
    content[at : at + part] = rng.randbytes(part)


def shift(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    content[at:at] = rng.randbytes(rng.choice([1, 17, 1024]))


def header(content: bytearray, rng: random.Random) -> None:
    content[: rng.choice([4, 16, 100])] = rng.randbytes(rng.choice([4, 16, 100]))


def empty(content: bytearray, rng: random.Random) -> None:
    content.clear()


IN_FILE = (flip, flip, flip, truncate, zero_page, garbage, shift, header, empty)


def swap_files(path: Path, rng: random.Random) -> str:
    """Let two files of the store change places, or one with a file of another store."""
    files = stored(path)
    strangers = stored(path.parent / "templates" / "other")
    one, two = rng.choice(files), rng.choice(files + strangers)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    if two in files:
        two.write_bytes(first)
    return "swapped files"


def swap_rows(path: Path, rng: random.Random) -> str:
    """Let the contents of two rows change places, as a confused index would."""
    with closing(sqlite3.connect(next(path.glob("index-*.sqlite3")))) as connection:
        rows = connection.execute("SELECT id, file, body, expires FROM entries").fetchall()
        if len(rows) > 1:
            (one, *mine), (two, *yours) = rng.sample(rows, 2)
            for row, content in ((one, yours), (two, mine)):
                connection.execute(
                    "UPDATE entries SET file = ?, body = ?, expires = ? WHERE id = ?", (*content, row)
                )
        connection.commit()
    return "swapped rows"


def in_files(path: Path, rng: random.Random) -> str:
    files = stored(path)
    index = [file for file in files if "values" not in str(file)]
    victims = (
        [rng.choice(index)] if rng.random() < 0.6 else rng.sample(files, rng.choice([1, 3]) % len(files))
    )
    way = rng.choice(IN_FILE)
    for victim in victims:
        content = bytearray(victim.read_bytes())
        if content:
            way(content, rng)
        victim.write_bytes(content)
    return way.__name__


def stored(path: Path) -> list[Path]:
    found = [file for file in path.rglob("*") if file.is_file()]
    return sorted(file for file in found if file.name.startswith("index-") or len(file.name) > 40)


# Use ---------------------------------------------------------------------------------------------------


def use_engine(path: Path, figures: Figures) -> None:
    engine = SqliteEngine(EngineConfig(path=path, namespace="demo", maxsize=100, max_bytes=10_000_000))
    keys = list(engine.keys())
    for key in [*keys, "ab"]:
        blob = engine.get(key)
        figures.reads += 1
        figures.hits += blob is not MISSING
        bytes(getattr(blob, "view", blob if blob is not MISSING else b""))
    entries = [(key, (key.encode() * 2000,), 9.0, 1) for key in [*keys[:4], "ab", "cd"]]
    assert engine.set_many(entries) == len(entries)
    for key, (content,), _, _ in entries:
        blob = engine.get(key)
        figures.wrong += blob is not MISSING and bytes(getattr(blob, "view", blob)) != content
        engine.compare_and_set(key, blob, (b"swapped",))
    assert engine.count() >= 0
    engine.delete_many(keys[2:6])
    engine.clear()
    assert list(engine.keys()) == []
    engine.close()


def use_cache(path: Path, figures: Figures) -> None:
    with open_cache("demo", path=path) as cache:
        for number in range(SMALL + LARGE):
            found = cache.get(number, MISSING)
            figures.reads += 1
            figures.hits += found is not MISSING
            figures.wrong += found is not MISSING and found != value(number)
        for number in (0, 5, SMALL):
            cache.set(number, value(number))
            found = cache.get(number, MISSING)
            figures.wrong += found is not MISSING and found != value(number)
        assert len(cache) >= 0
        assert len(set(cache.engine_keys())) <= 2 * (SMALL + LARGE)
        cache.delete(3)
        assert 3 not in cache
        cache.verify(repair=True)
        figures.engine_errors += cache.stats().errors


def use_function(path: Path, figures: Figures) -> None:
    function = decorated(path)
    for number in [*range(SMALL + LARGE), 0, SMALL]:
        figures.wrong += function(number) != value(number)
        figures.reads += 1
    info = function.cache_info()  # type: ignore[attr-defined]
    figures.hits += info.hits
    figures.engine_errors += info.errors
    function.invalidate(1)  # type: ignore[attr-defined]
    function.cache_clear()  # type: ignore[attr-defined]
    function.cache.close()  # type: ignore[attr-defined]


def use_afterwards(path: Path) -> bool:
    """Whether the store, opened once more, keeps what is stored in it."""
    for _ in range(2):
        with open_cache("demo", path=path) as cache:
            for number in (1, SMALL + 1):
                cache.set(number, value(number))
    with open_cache("demo", path=path) as cache:
        return all(cache.get(number) == value(number) for number in (1, SMALL + 1))


WAYS = (use_engine, use_cache, use_function)


def main() -> None:
    folder, count, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    logging.disable()
    templates = make_templates(folder / "templates")
    figures = Figures()
    started = time.monotonic()
    for number in range(count):
        path = folder / f"store{number}"
        shutil.copytree(rng.choice(templates), path)
        seed = rng.randrange(1 << 32)
        faulthandler.dump_traceback_later(HANG, exit=True)
        one(path, WAYS[number % len(WAYS)], random.Random(seed), figures, f"store {number}, seed {seed}")
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(path)
    figures.seconds = round(time.monotonic() - started, 1)
    print(json.dumps(asdict(figures)))


def one(
    path: Path, use: Callable[[Path, Figures], None], rng: random.Random, figures: Figures, label: str
) -> None:
    """Damage one store and use it."""
    damage = rng.choice([in_files, in_files, in_files, swap_files, swap_rows])(path, rng)
    figures.ways[damage] = figures.ways.get(damage, 0) + 1
    began, wrong = time.monotonic(), figures.wrong
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            use(path, figures)
        except Exception:
            figures.exceptions += 1
            figures.problems.append(f"{label}, {damage}, {use.__name__}: {traceback.format_exc()[-1500:]}")
        if not use_afterwards(path):
            figures.unusable_after += 1
            figures.problems.append(f"{label}, {damage}, {use.__name__}: unusable afterwards")
    if figures.wrong > wrong:
        figures.problems.append(f"{label}, {damage}, {use.__name__}: a wrong value")
    quarantines = [warning for warning in caught if warning.category is StoreQuarantinedWarning]
    figures.quarantined += bool(quarantines)
    figures.two_warnings += len(quarantines) > 1
    figures.problems += [f"{label}: {w.message}" for w in caught if w.category is not StoreQuarantinedWarning]
    figures.stores += 1
    figures.slowest = max(figures.slowest, round(time.monotonic() - began, 3))


if __name__ == "__main__":
    main()

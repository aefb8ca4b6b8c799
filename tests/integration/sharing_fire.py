"""Changes a source, invalidates and reads, with others that do the same, and counts what was stale.

Run as ``python sharing_fire.py PLAN``; prints one line of JSON. The source is a file of two numbers per
key, mapped by all: the version, which one process raises, and the floor, the version whose invalidation
has returned. A read that begins after that and gives less is stale.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import random
import sys
import threading
import time
from pathlib import Path

from cachewright import cached
from cachewright.config import Settings

PLAN = json.loads(sys.argv[1])
HOME, WAY, ME, ALL = Path(PLAN["home"]), PLAN["way"], PLAN["me"], PLAN["all"]
KEYS = range(8)
settings = Settings(dir=HOME / "store", data_dir=HOME / "keys", timeout=60, signing_keys="ab" * 32)
options = {
    "tags": ("key:{key}",) if WAY == "tag" else (lambda _: ("of the result",)) if WAY == "result tag" else (),
    "name": PLAN["name"], "settings": settings, **PLAN["store"],
}  # fmt: skip

with (HOME / "numbers").open("r+b") as file:
    mapped = mmap.mmap(file.fileno(), 16 * len(KEYS))
numbers = memoryview(mapped).cast("q")
figures = {"reads": 0, "loads": 0, "changes": 0, "stale": 0, "slowest": 0.0, "errors": []}


def pause():
    return random.random() ** 4 * 0.01


def judge(floor, value, started):
    figures["slowest"] = max(figures["slowest"], time.monotonic() - started)
    figures["reads"] += 1
    figures["stale"] += value < floor


def work():
    @cached(**options)
    def load(key):
        figures["loads"] += 1
        version = numbers[2 * key]
        time.sleep(pause())
        return version

    invalidate = {
        "invalidate": load.invalidate,
        "clear": lambda key: load.cache_clear(),
        "where": lambda key: load.invalidate_where(key=key),
        "put": lambda key: load.put(numbers[2 * key], key),
        "refresh": load.refresh,
        "tag": lambda key: load.cache.invalidate_tags(f"key:{key}"),
        "result tag": lambda key: load.cache.invalidate_tags("of the result"),
    }[WAY]

    load(KEYS[0])  # opens the cache, before the clock starts
    until = time.monotonic() + PLAN["seconds"]

    def read():
        while time.monotonic() < until:
            key = random.choice(KEYS)
            floor = numbers[2 * key + 1]
            started = time.monotonic()
            judge(floor, load(key), started)

    def change():
        mine = [key for key in KEYS if key % ALL == ME]
        while time.monotonic() < until:
            key = random.choice(mine)
            version = numbers[2 * key] = numbers[2 * key] + 1
            invalidate(key)
            numbers[2 * key + 1] = version
            figures["changes"] += 1
            time.sleep(pause())

    def guarded(role):
        try:
            role()
        except BaseException as error:
            figures["errors"].append(repr(error))

    threads = [threading.Thread(target=guarded, args=(role,)) for role in (change, read, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def awork():
    @cached(**options)
    async def load(key):
        figures["loads"] += 1
        version = numbers[2 * key]
        await asyncio.sleep(pause())
        return version

    invalidate = {
        "invalidate": load.invalidate,
        "clear": lambda key: load.cache_clear(),
        "where": lambda key: load.invalidate_where(key=key),
        "put": lambda key: load.put(numbers[2 * key], key),
        "refresh": load.refresh,
        "tag": lambda key: load.cache.invalidate_tags(f"key:{key}"),
        "result tag": lambda key: load.cache.invalidate_tags("of the result"),
    }[WAY]

    await load(KEYS[0])  # opens the cache, before the clock starts
    until = time.monotonic() + PLAN["seconds"]

    async def read():
        while time.monotonic() < until:
            key = random.choice(KEYS)
            floor = numbers[2 * key + 1]
            started = time.monotonic()
            judge(floor, await load(key), started)
            await asyncio.sleep(0)

    async def change():
        mine = [key for key in KEYS if key % ALL == ME]
        while time.monotonic() < until:
            key = random.choice(mine)
            version = numbers[2 * key] = numbers[2 * key] + 1
            await invalidate(key)
            numbers[2 * key + 1] = version
            figures["changes"] += 1
            await asyncio.sleep(pause())

    try:
        await asyncio.gather(change(), read(), read(), read())
    except BaseException as error:
        figures["errors"].append(repr(error))


if PLAN["awaits"]:
    asyncio.run(awork())
else:
    work()
print(json.dumps(figures))

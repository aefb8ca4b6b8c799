"""A process that shares a store with others, and does what a test tells it by lines of JSON.

Run as ``python sharing_peer.py PLAN``. There are two ways to load a key: the decorated function ``load``
and ``fetch``, which is ``cache.get_or_set``. Both read the source, note the call, say that they have begun,
wait for as long as their key is held, and return what they read.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path

from cachewright import _owner, cached, open_async_cache, open_cache
from cachewright.config import Settings
from cachewright.freshness import Freshness

PLAN = json.loads(sys.argv[1])
NAME, STORE, AWAITS = PLAN["name"], PLAN["store"], PLAN["awaits"]
OPTIONS = {"freshness": Freshness(**PLAN["freshness"])} if PLAN["freshness"] else {}
HOME = Path(PLAN["home"])
PATIENCE = 60.0

if "realm" in PLAN:
    _owner.realm = lambda: PLAN["realm"]  # the mark of another host

settings = Settings(
    dir=HOME / "store",
    data_dir=HOME / "keys",
    lease=PLAN["lease"],
    timeout=PLAN["timeout"],
    signing_keys=PLAN["keys"],
)
loop = asyncio.new_event_loop()
held: dict[str, threading.Event] = {}
passing: set[str] = set()
saying = threading.Lock()


def say(**what):
    with saying:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def begin(key):
    value = (HOME / f"source-{key}").read_text()
    with (HOME / "calls").open("a") as calls:
        calls.write(f"{key} {os.getpid()}\n")
    waits = PLAN["held"] and key not in passing
    say(began=key)
    return value, waits


def finish(value):
    if value.startswith("!"):
        raise LookupError(value)
    return value


def gate(key):
    return held.setdefault(key, threading.Event())


def work(key):
    value, waits = begin(key)
    if waits:
        assert gate(key).wait(PATIENCE)
    time.sleep(PLAN["seconds"])
    return finish(value)


async def awork(key):
    value, waits = begin(key)
    deadline = time.monotonic() + PATIENCE
    while waits and not gate(key).is_set():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    await asyncio.sleep(PLAN["seconds"])
    return finish(value)


if AWAITS:
    cache = open_async_cache(f"{NAME}-cache", settings=settings, **STORE)

    @cached(name=NAME, settings=settings, **STORE, **OPTIONS)
    async def load(key):
        return await awork(key)

    @cached(name=f"{NAME}-ping", ignore=("depth",), settings=settings, **STORE)
    async def ping(key, depth=0):
        value = await awork(key)
        return [value] if depth > 1 else [value, await pong(key, depth + 1)]

    @cached(name=f"{NAME}-pong", ignore=("depth",), settings=settings, **STORE)
    async def pong(key, depth=0):
        value = await awork(key)
        return [value] if depth > 1 else [value, await ping(key, depth + 1)]

    @cached(name=f"{NAME}-tagged", tags=("key:{key}", "all"), settings=settings, **STORE)
    async def tagged(key):
        return await awork(key)

    @cached(name=f"{NAME}-labelled", tags=(lambda value: f"result:{value}",), settings=settings, **STORE)
    async def labelled(key):
        return await awork(key)

    async def fetch(key, tags=()):
        return await cache.get_or_set(key, lambda: awork(key), tags=tags)

    async def listed(what):
        return [str(info.key) async for info in what.entries()]

else:
    cache = open_cache(f"{NAME}-cache", settings=settings, **STORE)

    @cached(name=NAME, settings=settings, **STORE, **OPTIONS)
    def load(key):
        return work(key)

    @cached(name=f"{NAME}-ping", ignore=("depth",), settings=settings, **STORE)
    def ping(key, depth=0):
        value = work(key)
        return [value] if depth > 1 else [value, pong(key, depth + 1)]

    @cached(name=f"{NAME}-pong", ignore=("depth",), settings=settings, **STORE)
    def pong(key, depth=0):
        value = work(key)
        return [value] if depth > 1 else [value, ping(key, depth + 1)]

    @cached(name=f"{NAME}-tagged", tags=("key:{key}", "all"), settings=settings, **STORE)
    def tagged(key):
        return work(key)

    @cached(name=f"{NAME}-labelled", tags=(lambda value: f"result:{value}",), settings=settings, **STORE)
    def labelled(key):
        return work(key)

    def fetch(key, tags=()):
        return cache.get_or_set(key, lambda: work(key), tags=tags)

    def listed(what):
        return [str(info.key) for info in what.entries()]


def release(key):
    gate(key).set()


def let_pass(key):
    """Hold nobody any more but those who wait already."""
    passing.add(key)


def hold_again(key):
    held.pop(key, None)


def many(key, threads, each):
    """Call ``load`` from several threads, each of which calls it several times at once where it awaits."""
    start = threading.Barrier(threads)
    answers = []

    async def gathered():
        return await asyncio.gather(*(load(key) for _ in range(each)), return_exceptions=True)

    def ask():
        start.wait(PATIENCE)
        if AWAITS:
            answers.extend(map(str, asyncio.run(gathered())))
            return
        for _ in range(each):
            try:
                answers.append(str(load(key)))
            except LookupError as error:
                answers.append(str(error))

    asking = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(PATIENCE)
    return answers


def warnings_logged():
    return [record.getMessage() for record in records]


def in_cache(key):
    return key in cache


ROOTS = {
    "load": load, "ping": ping, "pong": pong, "fetch": fetch, "cache": cache, "listed": lambda: listed(cache),
    "loads": lambda: listed(load.cache), "release": release, "hold_again": hold_again, "many": many,
    "tagged": tagged, "labelled": labelled, "let_pass": let_pass,
    "put": lambda key, value: load.put(value, key), "in_cache": in_cache, "warnings": warnings_logged,
    "info": lambda: {"errors": load.cache_info().errors},
}  # fmt: skip
records = []
tasks = {}


class Collect(logging.Handler):
    def emit(self, record):
        records.append(record)


async def asked(number, awaitable):
    tasks[number] = asyncio.current_task()
    return await awaitable


def act(order):
    number = order["id"]
    try:
        root, *path = order["do"].split(".")
        target = ROOTS[root]
        for name in path:
            target = getattr(target, name)
        answer = target(*order["args"], **order["options"])
        if inspect.isawaitable(answer):
            answer = asyncio.run_coroutine_threadsafe(asked(number, answer), loop).result(PATIENCE)
        say(id=number, answer=answer)
    except BaseException as error:
        say(id=number, error=f"{type(error).__name__}: {error}")


def main():
    logging.getLogger("cachewright").addHandler(Collect())
    logging.getLogger("cachewright").propagate = False
    threading.Thread(target=loop.run_forever, daemon=True).start()
    say(ready=os.getpid())
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "cancel":
            loop.call_soon_threadsafe(tasks[order["args"][0]].cancel)
        else:
            threading.Thread(target=act, args=(order,), daemon=True).start()
    os._exit(0)


main()

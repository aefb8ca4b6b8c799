"""A world to try a cache in: of either colour, on any engine, with a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachewright import INJECTED, cached, open_async_cache, open_cache
from cachewright.config import Settings
from cachewright.testing import ManualClock

PATIENCE = 20.0
"""Seconds after which a test that waits for another thread gives up."""


class Blocking:
    """Anything of either colour, used from a thread: what it returns to be awaited is waited for."""

    def __init__(self, world, target):
        self._world = world
        self._target = target

    def __call__(self, /, *args, **kwargs):
        return self._world.finish(self._target(*args, **kwargs))

    def __getattr__(self, name):
        value = getattr(self._target, name)
        return Blocking(self._world, value) if callable(value) else value

    def start(self, /, *args, **kwargs):
        """Call it in another thread or task; return the future."""
        return self._world.start(self._target, *args, **kwargs)


class World:
    """Opens caches and decorates functions of one colour on one engine."""

    def __init__(self, colour, engine, path):
        self.colour = colour
        self.engine = engine
        self.clock = ManualClock()
        self.path = path if engine == "sqlite" else None
        self.caches = []
        self.pool = ThreadPoolExecutor(300)
        self.loop = None
        if colour == "async":
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
            self.thread.start()

    @property
    def objects(self):
        """Whether the engine keeps the objects themselves."""
        return self.engine != "sqlite"

    def open(self, name="world", **options):
        """Open a cache."""
        where = {"engine": self.engine, **({"path": self.path} if self.path else {})}
        # a disk that others keep busy is no failing engine, which would have every caller compute
        patient = Settings(timeout=PATIENCE)
        options = {"clock": self.clock, "settings": patient, **where, **options}
        raw = open_cache(name, **options) if self.loop is None else open_async_cache(name, **options)
        self.caches.append(raw)
        return Blocking(self, raw)

    def cached(self, body, cache=None, *, injects=False, own=False, **options):
        """Decorate ``body(x)``, or ``body(x, ctx)``, as a function ``load(x, y=0)`` of this colour."""
        if not own:
            options["cache"] = (self.open() if cache is None else cache)._target
            options.setdefault("name", "load")
        return Blocking(self, cached(**options)(self.function(body, injects=injects)))

    def function(self, body, *, injects=False):
        """Return a function of this colour; a coroutine function runs its body in a thread."""
        if self.loop is None:
            if injects:
                return lambda x, y=0, *, ctx=INJECTED: body(x, ctx)
            return lambda x, y=0: body(x)

        async def load(x, y=0):
            return await asyncio.to_thread(body, x)

        async def load_with(x, y=0, *, ctx=INJECTED):
            return await asyncio.to_thread(body, x, ctx)

        return load_with if injects else load

    def finish(self, result):
        """Wait for what has to be awaited."""
        if inspect.isasyncgen(result):
            result = _all_of(result)
        if inspect.isawaitable(result):
            return asyncio.run_coroutine_threadsafe(_awaited(result), self.loop).result(PATIENCE)
        return result

    def start(self, function, *args, **kwargs):
        """Call a function in another thread or task; return the future."""
        if self.loop is None:
            return self.pool.submit(function, *args, **kwargs)
        return asyncio.run_coroutine_threadsafe(_awaited(function(*args, **kwargs)), self.loop)

    def close(self):
        """Close everything."""
        for cache in self.caches:
            self.finish(cache.close())
        self.pool.shutdown(wait=False)
        if self.loop is not None:
            asyncio.run_coroutine_threadsafe(self.loop.shutdown_asyncgens(), self.loop).result(PATIENCE)
            asyncio.run_coroutine_threadsafe(self.loop.shutdown_default_executor(), self.loop).result(
                PATIENCE
            )
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(PATIENCE)
            self.loop.close()


async def _awaited(awaitable):
    return await awaitable


async def _all_of(generator):
    return [item async for item in generator]


class Gate:
    """A body that says when it has started, and goes on when it is let."""

    def __init__(self, result=lambda x: x):
        self.result = result
        self.calls = 0
        self.started = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, x, *rest):
        self.calls += 1
        self.started.release()
        assert self.open.wait(PATIENCE)
        return self.result(x)

    def await_start(self):
        """Wait until one more call has begun."""
        assert self.started.acquire(timeout=PATIENCE)


class Source:
    """A body that counts its calls and returns their number, or raises ``error`` while that is set."""

    def __init__(self):
        self.calls = 0
        self.error = None

    def __call__(self, x, *rest):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.calls


def eventually(condition):
    """Poll until ``condition()`` holds, for states that no event announces."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.002)


@pytest.fixture(params=["sync", "async"])
def colour(request):
    """Functions or coroutine functions."""
    return request.param


@pytest.fixture(params=["memory", "cachebox", "sqlite"])
def world(request, colour, tmp_path):
    """Return a world per colour and engine."""
    if request.param == "cachebox":
        pytest.importorskip("cachewright_cachebox", reason="the plugin is not installed")
    made = World(colour, request.param, tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def make_world(tmp_path):
    """Return what makes a world; who asks closes it."""
    return lambda colour, engine: World(colour, engine, tmp_path / "store")


@pytest.fixture
def gate():
    """Return the class of bodies that wait."""
    return Gate


@pytest.fixture
def source():
    """Return a body that counts."""
    return Source()


@pytest.fixture(name="eventually")
def eventually_():
    """Return the poll with a deadline."""
    return eventually

"""A synchronous engine behind an asynchronous face."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from cachewright._bridge import WORKERS, Bridge, _pool
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import EngineError
from cachewright.testing.reference import DictEngine

PATIENCE = 30.0


class Noted(DictEngine):
    """The reference engine, noting the threads that it is called in, and stopping where told."""

    def __init__(self, config):
        super().__init__(config)
        self.threads = set()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def get(self, key, /):
        self.threads.add(threading.current_thread().name)
        return super().get(key)

    def set(self, key, value, /, *, ttl=None, size=1):
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        return super().set(key, value, ttl=ttl, size=size)

    def delete(self, key, /):
        raise EngineError("noted", "delete", "it is out of order")


@pytest.fixture
def engine():
    return Noted(EngineConfig())


async def everything(bridge):
    """Use every operation once; return what was seen."""
    seen = [await bridge.set("a", b"1"), await bridge.get("a"), await bridge.get("b")]
    seen.append(await bridge.set_many([("b", b"2", None, 1), ("c", b"3", 5.0, 1)]))
    seen.append(await bridge.get_many(["a", "b", "x"]))
    seen.append(sorted([key async for key in bridge.keys()]))
    seen.append(await bridge.count())
    with pytest.raises(EngineError, match="out of order"):
        await bridge.delete("a")
    await bridge.clear()
    seen.append(await bridge.count())
    await bridge.close()
    return seen


@pytest.mark.parametrize("threaded", [False, True])
def test_every_operation_gives_what_the_engine_gives(engine, threaded):
    """Whether it is called directly or in a thread; also its errors."""
    seen = asyncio.run(everything(Bridge(engine, threaded=threaded)))
    assert seen == [True, b"1", MISSING, 2, {"a": b"1", "b": b"2"}, ["a", "b", "c"], 3, 0]


def test_a_blocking_engine_is_called_in_threads_of_ours_and_another_in_the_loop(engine):
    """The loop never waits for a disk, and pays for no thread where there is none."""
    asyncio.run(everything(Bridge(engine, threaded=True)))
    assert all(name.startswith("cachewright") for name in engine.threads)
    direct = Noted(EngineConfig())
    asyncio.run(everything(Bridge(direct, threaded=False)))
    assert direct.threads == {threading.current_thread().name}


def test_the_loop_runs_on_while_the_engine_waits(engine):
    """Other tasks make progress."""

    async def main():
        engine.gate.clear()
        bridge = Bridge(engine, threaded=True)
        slow = asyncio.create_task(bridge.set("a", b"1"))
        while not engine.entered.is_set():
            await asyncio.sleep(0)
        assert not slow.done()
        assert await bridge.get("a") is MISSING
        engine.gate.set()
        return await slow

    assert asyncio.run(main()) is True


def test_what_a_cancelled_caller_began_is_finished(engine):
    """A thread cannot be interrupted, and what it stores is stored."""

    async def main():
        engine.gate.clear()
        bridge = Bridge(engine, threaded=True)
        slow = asyncio.create_task(bridge.set("a", b"1"))
        while not engine.entered.is_set():
            await asyncio.sleep(0)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        engine.gate.set()
        while await bridge.get("a") is MISSING:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_what_only_the_direct_bridge_can_tell_at_once(engine):
    """A reader and a size that need no waiting."""
    engine.set("a", b"1")
    assert Bridge(engine, threaded=False).size_now() == 1
    assert Bridge(engine, threaded=True).size_now() == -1
    assert Bridge(engine, threaded=True).reader() is None
    assert Bridge(engine, threaded=False).reader()["a"] == b"1"


def test_name_and_privacy_are_those_of_the_engine(engine):
    """Messages and trust do not change with the bridge."""
    bridge = Bridge(engine, threaded=True)
    assert (bridge.name, bridge.private) == (engine.name, engine.private)


def test_threads_are_bounded_and_shared():
    """All loops of the process wait in one pool."""
    assert _pool() is _pool()
    assert _pool()._max_workers == WORKERS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(engine):
    """Those of the parent do not exist there."""
    asyncio.run(Bridge(engine, threaded=True).get("a"))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child = asyncio.wait_for(Bridge(engine, threaded=True).get("a"), PATIENCE)
            code = 0 if asyncio.run(_awaited(child)) is MISSING else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


async def _awaited(work):
    return await work

"""The kit for authors of asynchronous engines: the synchronous contract over a bridge, and event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

import pytest

from cachewright.engine import AsyncEngine, Engine, EngineConfig
from cachewright.entry import MISSING
from cachewright.testing.bridge import Blocking
from cachewright.testing.engine_bounds import BoundContract
from cachewright.testing.engine_caches import CacheContract
from cachewright.testing.engine_contract import EngineContract, EngineOpener
from cachewright.testing.engine_expiry import ExpiryContract
from cachewright.testing.engine_keys import KeyContract
from cachewright.testing.engine_kit import MachineContract
from cachewright.testing.engine_namespaces import NamespaceContract
from cachewright.testing.engine_payloads import PayloadContract
from cachewright.testing.engine_races import RaceContract
from cachewright.testing.engine_record import RecordContract
from cachewright.testing.engine_servers import ServerContract
from cachewright.testing.engine_sharing import SharingContract
from cachewright.testing.engine_stores import StoreContract
from cachewright.testing.engine_threads import ThreadContract
from cachewright.testing.engine_values import ValueContract

T = TypeVar("T")

PATIENCE = 60.0


class BridgedContract(EngineContract):
    """Opens the asynchronous engine behind a bridge, so that the synchronous tests apply."""

    def open(self, config: EngineConfig) -> Engine:
        """Open the engine under test on an event loop of its own."""
        return Blocking(config, self.info.load_async())


class LoopContract(BridgedContract):
    """What only an event loop can ask: cancellation, many tasks, several loops."""

    stakes: ClassVar[str] = "a cancelled request would spoil those that follow it"

    def run(self, config: EngineConfig, body: Callable[[AsyncEngine], Awaitable[T]]) -> T:
        """Run ``body`` with an engine in a new event loop; a hang fails."""

        async def main() -> T:
            async with asyncio.timeout(PATIENCE), self.opened(config) as engine:
                return await body(engine)

        return asyncio.run(main())

    @asynccontextmanager
    async def opened(self, config: EngineConfig) -> AsyncGenerator[AsyncEngine, None]:
        """Open the engine in the running loop and close it there."""
        engine = self.info.load_async()(config)
        try:
            yield engine
        finally:
            await engine.close()

    def test_a_hundred_tasks_never_see_another_keys_value(self, open_engine: EngineOpener) -> None:
        """A hundred tasks at once on ten keys: each look-up is a miss or a value of its key."""
        self._prepare(open_engine)

        async def body(engine: AsyncEngine) -> list[str]:
            async def work(task: int) -> list[str]:
                wrong: list[str] = []
                for turn in range(10):
                    key = self.key((task + turn) % 10)
                    await engine.set(key, self.value(task, key=key))
                    stored = await engine.get(key)
                    if stored is not MISSING and not self.belongs(stored, key):
                        wrong.append(f"{key} held {stored!r:.80}")
                    if turn == task % 10:
                        await engine.delete(key)
                return wrong

            return [line for lines in await asyncio.gather(*map(work, range(100))) for line in lines]

        assert self.run(open_engine.config, body) == []

    @pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5, 8])
    def test_after_a_cancelled_get_answers_are_right(self, open_engine: EngineOpener, ticks: int) -> None:
        """A look-up that is cancelled at any point leaves its reply to nobody else."""
        self._prepare(open_engine)

        async def body(engine: AsyncEngine) -> None:
            values: dict[int, Any] = {}
            for number in range(5):
                values[number] = self.value(number, key=self.key(number), length=100_000)
                assert await engine.set(self.key(number), values[number])
            for turn in range(40):
                await self._cancel(engine.get(self.key(turn % 5)), ticks)
                for number in ((turn + 1) % 5, turn % 5):
                    assert self.matches(await engine.get(self.key(number)), values[number])
                assert await engine.get(self.key(99)) is MISSING

        self.run(open_engine.config, body)

    @pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5, 8])
    def test_a_cancelled_write_leaves_old_or_new(self, open_engine: EngineOpener, ticks: int) -> None:
        """After a cancelled set the entry is the old or the new one, and the engine goes on working."""
        self._prepare(open_engine)

        async def body(engine: AsyncEngine) -> None:
            key, other = self.key(1), self.key(2)
            for turn in range(20):
                old, new = (self.value(2 * turn + n, key=key, length=50_000) for n in range(2))
                assert await engine.set(key, old)
                await self._cancel(engine.set(key, new), ticks)
                stored = await engine.get(key)
                assert self.matches(stored, old) or self.matches(stored, new)
                await self._cancel(engine.delete(other), ticks)
                assert await engine.set(other, new)
                assert self.matches(await engine.get(other), new)
                assert await engine.delete(other) is True

        self.run(open_engine.config, body)

    @pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5, 8])
    def test_a_cancelled_swap_leaves_old_or_new(self, open_engine: EngineOpener, ticks: int) -> None:
        """After a cancelled compare_and_set the entry is the old or the new one, and swaps go on."""
        self.needs("compare_and_set")
        self._prepare(open_engine)

        async def body(engine: AsyncEngine) -> None:
            key = self.key(1)
            for turn in range(20):
                old, new, last = (self.value(3 * turn + n, key=key) for n in range(3))
                assert await engine.set(key, old)
                await self._cancel(engine.compare_and_set(key, await engine.get(key), new), ticks)
                stored = await engine.get(key)
                assert self.matches(stored, old) or self.matches(stored, new)
                assert await engine.compare_and_set(key, stored, last) is True
                assert self.matches(await engine.get(key), last)

        self.run(open_engine.config, body)

    def test_two_runs_one_after_the_other(self, open_engine: EngineOpener) -> None:
        """A second asyncio.run works as well as the first, and finds its entries where they are shared."""
        self._prepare(open_engine)
        key = self.key(1)
        value = self.value(1, key=key)

        async def write(engine: AsyncEngine) -> None:
            await engine.set(key, value)
            assert self.matches(await engine.get(key), value)

        async def read(engine: AsyncEngine) -> None:
            stored = await engine.get(key)
            shared = self.info.capabilities.persistent or self.info.capabilities.scope != "process"
            assert self.matches(stored, value) if shared else stored is MISSING or self.matches(stored, value)
            await write(engine)

        self.run(open_engine.config, write)
        self.run(open_engine.config, read)

    def test_two_loops_in_two_threads(self, open_engine: EngineOpener) -> None:
        """Loops in different threads, an engine each, work side by side on one store."""
        self._prepare(open_engine)

        def in_thread(thread: int) -> None:
            async def body(engine: AsyncEngine) -> None:
                async def work(task: int) -> None:
                    key = self.key(10 * thread + task)
                    for turn in range(20):
                        value = self.value(turn, key=key)
                        await engine.set(key, value)
                        assert self.matches(await engine.get(key), value)

                await asyncio.gather(*map(work, range(10)))

            self.run(open_engine.config, body)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(in_thread, range(2)))

    def test_writing_while_keys_are_iterated(self, open_engine: EngineOpener) -> None:
        """keys() goes on while entries come and go, and yields every key that stayed."""
        self.needs("scan")
        self._prepare(open_engine)

        async def body(engine: AsyncEngine) -> None:
            for number in range(200):
                await engine.set(self.key(number), self.value(number))
            seen: list[Any] = []
            async for key in engine.keys():
                seen.append(key)
                await engine.set(self.key(1000 + len(seen) % 50), self.value(1))
                await engine.delete(self.key(100 + len(seen) % 100))
            assert {self.key(number) for number in range(100)} <= set(seen)
            assert len(seen) == len(set(seen))

        self.run(open_engine.config, body)

    def test_closing_beside_other_tasks_hangs_nobody(self, open_engine: EngineOpener) -> None:
        """Tasks at work while the engine is closed end; closing again is allowed."""
        self._prepare(open_engine)

        async def body(engine: AsyncEngine) -> None:
            tasks = [asyncio.ensure_future(engine.get(self.key(number))) for number in range(10)]
            await asyncio.sleep(0)
            await engine.close()
            await asyncio.gather(*tasks, return_exceptions=True)
            await engine.close()

        self.run(open_engine.config, body)

    def _prepare(self, open_engine: EngineOpener) -> None:
        if self.shared_between_tests:
            open_engine()  # clears the namespace, now and after the test

    async def _cancel(self, operation: Any, ticks: int) -> None:
        task = asyncio.ensure_future(operation)
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class AsyncEngineKit(
    LoopContract,
    ValueContract,
    PayloadContract,
    MachineContract,
    KeyContract,
    NamespaceContract,
    ExpiryContract,
    BoundContract,
    RaceContract,
    ThreadContract,
    StoreContract,
    ServerContract,
    CacheContract,
    SharingContract,
    RecordContract,
):
    """Every promise of :class:`~cachewright.engine.AsyncEngine` as a test.

    Needs no plugin for asynchronous tests: each test runs the event loops that it needs. Used and
    configured like :class:`~cachewright.testing.engine_kit.EngineKit`.
    """

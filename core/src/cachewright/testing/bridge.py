"""A bridge drives an asynchronous engine from synchronous tests, on an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import TimeoutError as WaitTimeoutError
from typing import Any, TypeVar

from cachewright.engine import AsyncEngine, Engine, EngineConfig, Swap

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which an awaited operation counts as hung."""


class Blocking(Engine):
    """An :class:`Engine` whose operations run an :class:`AsyncEngine` on a loop in another thread.

    Calls from several threads become concurrent tasks of that one loop, so the thread tests of the kit
    put an asynchronous engine under load too.

    Args:
        config: what the asynchronous engine is opened with, inside its loop.
        engine: its class.
    """

    name = "blocking"

    def __init__(self, config: EngineConfig, engine: type[AsyncEngine] | None = None) -> None:
        if engine is None:
            message = "Blocking needs the class of the engine to drive"
            raise TypeError(message)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kit-loop", daemon=True)
        self._thread.start()
        self._disposed = False
        try:
            self._engine = self._run(_opened(engine, config))
        except BaseException:
            self.dispose()
            raise

    def get(self, key: Any, /) -> Any:
        return self._run(self._engine.get(key))

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return self._run(self._engine.set(key, value, ttl=ttl, size=size))

    def delete(self, key: Any, /) -> bool:
        return self._run(self._engine.delete(key))

    def clear(self) -> None:
        self._run(self._engine.clear())

    def keys(self) -> Iterator[Any]:
        return iter(self._run(_listed(self._engine)))

    def count(self) -> int:
        return self._run(self._engine.count())

    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        return self._run(self._engine.compare_and_set(key, expected, value, ttl=ttl, size=size))

    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        return self._run(self._engine.compare_and_set_many(swaps))

    def get_many(self, keys: Iterable[Any], /) -> dict[Any, Any]:
        return self._run(self._engine.get_many(keys))

    def set_many(self, entries: Iterable[tuple[Any, Any, float | None, int]], /) -> int:
        return self._run(self._engine.set_many(entries))

    def delete_many(self, keys: Iterable[Any], /) -> int:
        return self._run(self._engine.delete_many(keys))

    @property
    def private(self) -> bool:
        return self._engine.private

    def close(self) -> None:
        """Close the engine and keep the loop, so that use after closing can be tested."""
        self._run(self._engine.close())

    def dispose(self) -> None:
        """Stop the loop; nothing can be called afterwards."""
        if self._disposed:
            return
        self._disposed = True
        self._run(_drained(self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _run(self, operation: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(operation, self._loop)
        try:
            return future.result(PATIENCE)
        except WaitTimeoutError:
            future.cancel()
            raise


async def _opened(engine: type[AsyncEngine], config: EngineConfig) -> AsyncEngine:
    return engine(config)


async def _listed(engine: AsyncEngine) -> list[Any]:
    return [key async for key in engine.keys()]


async def _drained(loop: asyncio.AbstractEventLoop) -> None:
    # an async generator that was left half-way has its finaliser run before the loop goes
    await loop.shutdown_asyncgens()

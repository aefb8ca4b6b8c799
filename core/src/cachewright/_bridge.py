"""A bridge lets an asynchronous cache drive a synchronous engine.

An engine that only touches memory is called directly; one that may wait for a disk or a network is
called in a bounded pool of threads, so that the event loop never waits for it.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cachewright.engine import AsyncEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from cachewright.engine import Engine, Reader, Swap

P = ParamSpec("P")
T = TypeVar("T")

WORKERS = 8
"""Threads that wait for disks and servers on behalf of all event loops of the process."""


class Bridge(AsyncEngine):
    """An asynchronous view of a synchronous engine."""

    def __init__(self, engine: Engine, *, threaded: bool) -> None:
        self._engine = engine
        self._threaded = threaded
        self.name = engine.name  # type: ignore[misc] # a bridge has the name of what it leads to

    @property
    def private(self) -> bool:
        return self._engine.private

    def reader(self) -> Reader | None:
        """Return the engine's fastest read where an event loop may use it directly."""
        return None if self._threaded else self._engine.reader()

    def size_now(self) -> int:
        """Return the number of entries, -1 where an event loop may not wait for it."""
        return -1 if self._threaded else self._engine.count()

    async def _run(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not self._threaded:
            return method(*args, **kwargs)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(_pool(), lambda: method(*args, **kwargs))
        # The thread cannot be interrupted: a caller that is cancelled must not lose what it does.
        return await asyncio.shield(work)

    async def get(self, key: Any, /) -> Any:
        return await self._run(self._engine.get, key)

    async def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return await self._run(self._engine.set, key, value, ttl=ttl, size=size)

    async def delete(self, key: Any, /) -> bool:
        return await self._run(self._engine.delete, key)

    async def clear(self) -> None:
        await self._run(self._engine.clear)

    async def keys(self) -> AsyncIterator[Any]:
        for key in await self._run(lambda: list(self._engine.keys())):
            yield key

    async def close(self) -> None:
        await self._run(self._engine.close)

    async def count(self) -> int:
        return await self._run(self._engine.count)

    async def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        return await self._run(self._engine.compare_and_set, key, expected, value, ttl=ttl, size=size)

    async def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        return await self._run(self._engine.compare_and_set_many, swaps)

    async def get_many(self, keys: Iterable[Any], /) -> dict[Any, Any]:
        return await self._run(self._engine.get_many, keys)

    async def set_many(self, entries: Iterable[tuple[Any, Any, float | None, int]], /) -> int:
        return await self._run(self._engine.set_many, entries)

    async def delete_many(self, keys: Iterable[Any], /) -> int:
        return await self._run(self._engine.delete_many, keys)


_current: tuple[int, ThreadPoolExecutor] | None = None


def _pool() -> ThreadPoolExecutor:
    global _current  # noqa: PLW0603 - one pool per process, made on first use
    if _current is None or _current[0] != os.getpid():  # a forked child has none of the threads
        _current = (os.getpid(), ThreadPoolExecutor(WORKERS, thread_name_prefix="cachewright"))
    return _current[1]

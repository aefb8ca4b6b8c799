"""Deliberately wrong engines of bytes, and asynchronous ones, one mistake each; the class name says which."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from cachewright.engine import EngineConfig, Swap
from cachewright.entry import MISSING
from cachewright.testing.reference import AsyncDictEngine, FolderEngine


class KeepsChunks(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.chunks: dict[Any, Any] = {}

    def get(self, key: Any, /) -> Any:
        return b"".join(self.chunks[key]) if key in self.chunks else MISSING

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        self.chunks[key] = value
        return True


class FirstChunkOnly(FolderEngine):
    def write(self, target: Path, head: bytes, chunks: Any) -> None:
        super().write(target, head, list(chunks)[:1])


class ClearsEverything(FolderEngine):
    def clear(self) -> None:
        with self.locked():
            for file in self.store.glob("*/*"):
                file.unlink(missing_ok=True)


class FoldsNamespaces(FolderEngine):
    def folder_name(self, namespace: str) -> str:
        return super().folder_name(namespace.casefold())


class CachesReads(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.read: dict[Any, Any] = {}

    def get(self, key: Any, /) -> Any:
        if key not in self.read:
            self.read[key] = super().get(key)
        return self.read[key]

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        self.read.pop(key, None)
        return super().set(key, value, ttl=ttl, size=size)


class EmptiesOnOpening(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.clear()


class WritesInPlace(FolderEngine):
    def write(self, target: Path, head: bytes, chunks: Any) -> None:
        whole = b"".join(chunks)
        with target.open("wb", buffering=0) as file:
            file.write(head)
            for start in range(0, len(whole), 100):
                file.write(whole[start : start + 100])


class LocksAcrossForks(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.mutex = threading.Lock()

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        with self.mutex:
            return super().set(key, value, ttl=ttl, size=size)


class RenewsNothing(FolderEngine):
    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        if expected is not MISSING and value is not MISSING and b"".join(value) == expected:
            return bool(self.get(key) == expected)
        return super().compare_and_set(key, expected, value, ttl=ttl, size=size)


class SwapsWithoutLooking(FolderEngine):
    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        if expected is MISSING:
            return super().compare_and_set(key, expected, value, ttl=ttl, size=size)
        return self.delete(key) if value is MISSING else self.set(key, value, ttl=ttl, size=size)


class LeavesRepliesBehind(AsyncDictEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.replies: deque[Any] = deque()

    async def get(self, key: Any, /) -> Any:
        self.replies.append(self.inner.get(key))
        await asyncio.sleep(0)
        return self.replies.popleft()


class BelongsToOneLoop(AsyncDictEngine):
    loop: ClassVar[asyncio.AbstractEventLoop | None] = None

    async def get(self, key: Any, /) -> Any:
        BelongsToOneLoop.loop = BelongsToOneLoop.loop or asyncio.get_running_loop()
        if BelongsToOneLoop.loop is not asyncio.get_running_loop():
            message = "attached to a different loop"
            raise RuntimeError(message)
        return await super().get(key)


class GathersSwaps(AsyncDictEngine):
    async def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        ordered = list(swaps)
        turns = [
            asyncio.ensure_future(self.compare_and_set(*swap[:3], ttl=swap[3], size=swap[4]))
            for swap in reversed(ordered)
        ]
        return (await asyncio.gather(*turns))[::-1]


class ComparesManyThenAwaits(AsyncDictEngine):
    async def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        swaps = list(swaps)
        equal = [await self.get(key) is expected for key, expected, *_ in swaps]
        for same, (key, _, value, ttl, size) in zip(equal, swaps, strict=True):
            if same:
                await self.set(key, value, ttl=ttl, size=size)
        return equal

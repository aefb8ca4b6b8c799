"""Deliberately wrong engines of objects: lifetimes, threads and keys; the class name says the mistake."""

from __future__ import annotations

import socket
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import EngineUnavailableError
from cachewright.testing.reference import AsyncDictEngine, DictEngine

TICK = 1e-4


class LeavesTtlBehind(DictEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.left: dict[Any, float] = {}

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        if key in self.left:
            ttl = self.left.pop(key)
        return super().set(key, value, ttl=ttl, size=size)

    def delete(self, key: Any, /) -> bool:
        if self.alive(key):
            self.left[key] = self.entries[key][1] - self.config.clock.monotonic()
        return super().delete(key)


class ReadsProlong(DictEngine):
    def get(self, key: Any, /) -> Any:
        with self.lock:
            if self.alive(key):
                value, deadline, size = self.entries[key]
                self.entries[key] = (value, deadline + 1, size)
            return super().get(key)


class KeepsDeleted(DictEngine):
    def drop(self, key: Any) -> None:
        self.entries[("graveyard", len(self.entries))] = (self.values.get(key), 0.0, 0)
        super().drop(key)


class KeepsEvicted(DictEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.ghosts: list[Any] = []

    def full(self, size: int) -> bool:
        full = super().full(size)
        if full:
            self.ghosts.append(next(iter(self.values.values())))
        return full


class ClearsOneByOne(DictEngine):
    def clear(self) -> None:
        self.entries.clear()
        for key in self.values:
            self.values[key] = None
        self.values.clear()


class StaysBusy(DictEngine):
    busy = False

    def get(self, key: Any, /) -> Any:
        if self.busy:
            message = "the engine is busy"
            raise RuntimeError(message)
        self.busy = True
        value = super().get(key)
        self.busy = False
        return value


class ComposesKeys(DictEngine):
    def composed(self, key: Any) -> Any:
        return unicodedata.normalize("NFC", key) if isinstance(key, str) else key

    def get(self, key: Any, /) -> Any:
        return super().get(self.composed(key))

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return super().set(self.composed(key), value, ttl=ttl, size=size)


class SetsWithoutLock(DictEngine):
    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        self.drop(key)
        while self.full(size):
            self.drop(next(iter(list(self.entries)), None))
        time.sleep(TICK)
        self.entries[key] = (value, float("inf"), size)
        self.values[key] = value
        return True


class PutsBackWhatItReads(DictEngine):
    def get(self, key: Any, /) -> Any:
        entry = self.entries.pop(key, None)
        if entry is None:
            return MISSING
        time.sleep(TICK)
        self.entries[key] = entry
        return entry[0]


class ClearsInTheBackground(DictEngine):
    def clear(self) -> None:
        threading.Thread(target=super().clear).start()


class ListsWithoutLock(DictEngine):
    def keys(self) -> Iterator[Any]:
        listed: list[Any] = []
        for key in self.entries:
            time.sleep(0)
            listed.append(key)
        return iter(listed)


class ClosesForOne(DictEngine):
    def close(self) -> None:
        if hasattr(self, "lock"):
            time.sleep(TICK)
            del self.lock


class TakesTenThousand(DictEngine):
    def get_many(self, keys: Iterable[Any], /) -> dict[Any, Any]:
        return super().get_many(list(keys)[:10_000])


class CountsRefused(DictEngine):
    def set_many(self, entries: Iterable[tuple[Any, Any, float | None, int]], /) -> int:
        entries = list(entries)
        super().set_many(entries)
        return len(entries)


class BoundsOnlyBytes(DictEngine):
    def full(self, size: int) -> bool:
        if self.config.max_bytes is None:
            return super().full(size)
        return sum(entry[2] for entry in self.entries.values()) + size > self.config.max_bytes


class AsksServer(DictEngine):
    """No mistake: asks a server before every look-up, and is the base of those that do it wrong."""

    def get(self, key: Any, /) -> Any:
        try:
            self.ask()
        except OSError as error:
            raise self.failure(error) from error
        return super().get(key)

    def ask(self) -> None:
        """Have the server of the url say something, in time."""
        url = urlsplit(self.config.url or "")
        address = (str(url.hostname), url.port or 0)
        with socket.create_connection(address, self.config.timeout) as connection:
            connection.recv(1)

    def failure(self, error: OSError) -> Exception:
        """Return what to raise."""
        return EngineUnavailableError(self.name, "get", str(error))


class TellsThePassword(AsksServer):
    def failure(self, error: OSError) -> Exception:
        return EngineUnavailableError(self.name, "get", f"{self.config.url}: {error}")


class RaisesAsItComes(AsksServer):
    def failure(self, error: OSError) -> Exception:
        return error


class WaitsAtTheStart(AsksServer):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.get("greeting")


class SwapsInTwoSteps(AsyncDictEngine):
    async def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        if not self.inner.compare_and_set(key, expected, MISSING):
            return False
        return await self.set(key, value, ttl=ttl, size=size)

"""Deliberately wrong engines of objects, one mistake each; the class name says which."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from cachewright.engine import EngineConfig, Swap
from cachewright.entry import MISSING
from cachewright.testing.reference import DictEngine


class NoneIsAMiss(DictEngine):
    def get(self, key: Any, /) -> Any:
        value = super().get(key)
        return MISSING if value is None else value


class ZeroIsAMiss(DictEngine):
    def get(self, key: Any, /) -> Any:
        value = super().get(key)
        return MISSING if type(value) in {int, str, dict} and not value else value


class CopiesValues(DictEngine):
    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return super().set(key, copy.copy(value), ttl=ttl, size=size)


class IgnoresTtl(DictEngine):
    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        del ttl
        return super().set(key, value, size=size)


class KeepsOldTtl(DictEngine):
    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        old = self.entries.get(key) if self.alive(key) else None
        stored = super().set(key, value, ttl=ttl, size=size)
        if old is not None and stored:
            self.entries[key] = (value, old[1], size)
        return stored


class WallClockDeadlines(DictEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.monotonic = config.clock.monotonic
        self.config = replace(config, clock=copy.copy(config.clock))
        self.config.clock.monotonic = config.clock.wall


class CountsExpired(DictEngine):
    def count(self) -> int:
        return len(self.entries)


class ListsExpired(DictEngine):
    def keys(self) -> Iterator[Any]:
        with self.lock:
            return iter(list(self.entries))


class DeletesExpired(DictEngine):
    def delete(self, key: Any, /) -> bool:
        with self.lock:
            existed = key in self.entries
            self.drop(key)
            return existed


class TextKeys(DictEngine):
    def get(self, key: Any, /) -> Any:
        return super().get(str(key))

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return super().set(str(key), value, ttl=ttl, size=size)

    def delete(self, key: Any, /) -> bool:
        return super().delete(str(key))


class HashedKeys(DictEngine):
    def get(self, key: Any, /) -> Any:
        return super().get(hash(key))

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return super().set(hash(key), value, ttl=ttl, size=size)


class TypedKeys(DictEngine):
    def get(self, key: Any, /) -> Any:
        return super().get((type(key), key))

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return super().set((type(key), key), value, ttl=ttl, size=size)


class LiveKeys(DictEngine):
    def keys(self) -> Iterator[Any]:
        return iter(self.entries)


class AlwaysDeletes(DictEngine):
    def delete(self, key: Any, /) -> bool:
        super().delete(key)
        return True


class OffByOne(DictEngine):
    def full(self, size: int) -> bool:
        return self.config.maxsize is not None and len(self.entries) > self.config.maxsize


class ZeroIsUnbounded(DictEngine):
    def fits(self, size: int) -> bool:
        return self.config.max_bytes is None or size <= self.config.max_bytes

    def full(self, size: int) -> bool:
        return bool(self.config.maxsize) and super().full(size)


class OversizeEvictsAll(DictEngine):
    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        if not self.fits(size):
            self.clear()
        return super().set(key, value, ttl=ttl, size=size)


class OversizeKeepsOld(DictEngine):
    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        return self.fits(size) and super().set(key, value, ttl=ttl, size=size)


class CountsWeightOnce(DictEngine):
    def full(self, size: int) -> bool:
        return super().full(min(size, 100))


class LruIsFifo(DictEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.config = replace(config, policy=None)


class TakesAnyPolicy(DictEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(replace(config, policy=None))


class TakesAnyOption(DictEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(replace(config, options={}))


class ForgetsSome(DictEngine):
    def full(self, size: int) -> bool:
        return super().full(size) or len(self.entries) >= 500


class DetachedReader(DictEngine):
    def clear(self) -> None:
        super().clear()
        self.values = {}


class StaleReader(DictEngine):
    def delete(self, key: Any, /) -> bool:
        value = self.values.get(key)
        deleted = super().delete(key)
        if deleted:
            self.values[key] = value
        return deleted


class ComparesByEquality(DictEngine):
    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        with self.lock:
            stored = self.get(key)
            return super().compare_and_set(
                key, stored if stored == expected else expected, value, ttl=ttl, size=size
            )


class ComparesThenSets(DictEngine):
    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        if self.get(key) is not expected:
            return False
        time.sleep(1e-4)
        if value is MISSING:
            self.delete(key)
            return True
        return self.set(key, value, ttl=ttl, size=size)


class SwapsAllOrNone(DictEngine):
    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        swaps = list(swaps)
        with self.lock:
            if any(self.get(key) is not expected for key, expected, *_ in swaps):
                return [False] * len(swaps)
            return super().compare_and_set_many(swaps)


class AnswersSwapsByKey(DictEngine):
    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        swaps = list(swaps)
        answers = {swap[0]: self.compare_and_set(*swap[:3], ttl=swap[3], size=swap[4]) for swap in swaps}
        return [answers[swap[0]] for swap in swaps]


class SwapsManyForEver(DictEngine):
    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        return [self.compare_and_set(*swap[:3], size=swap[4]) for swap in swaps]


class ComparesManyThenSets(DictEngine):
    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        swaps = list(swaps)
        equal = [self.get(key) is expected for key, expected, *_ in swaps]
        time.sleep(1e-4)
        for same, (key, _, value, ttl, size) in zip(equal, swaps, strict=True):
            if same:
                self.set(key, value, ttl=ttl, size=size)
        return equal


class MixesThreads(DictEngine):
    asked: Any = None

    def get(self, key: Any, /) -> Any:
        self.asked = key
        time.sleep(1e-4)
        return super().get(self.asked)


class ForgetsDeletedTwice(DictEngine):
    def delete(self, key: Any, /) -> bool:
        existed = self.alive(key)
        time.sleep(1e-4)
        self.drop(key)
        return existed


class ClosesOnce(DictEngine):
    def close(self) -> None:
        del self.lock


class DiesAfterClose(DictEngine):
    def close(self) -> None:
        self.entries = None  # type: ignore[assignment]  # the mistake

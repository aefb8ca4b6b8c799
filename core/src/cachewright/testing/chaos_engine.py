"""A chaos engine is an engine with faults: it keeps the contract, but for what the plan says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

from cachewright.engine import AsyncEngine, Engine, MappedBlob, Swap
from cachewright.entry import MISSING
from cachewright.errors import UnsupportedByEngineError
from cachewright.testing.chaos import Chaos, Turn
from cachewright.testing.fault import Corruption

T = TypeVar("T")

KEYLESS: tuple[Hashable, ...] = (MISSING,)


class ChaosEngine(Engine):
    """An engine with faults around another one.

    Args:
        engine: the one that stores.
        chaos: what goes wrong.
    """

    name = "chaos"

    def __init__(self, engine: Engine, chaos: Chaos) -> None:
        self._engine = engine
        self.chaos = chaos
        self.name = engine.name  # type: ignore[misc] # in messages it is the one that it wraps

    @property
    def private(self) -> bool:
        return self._engine.private

    def get(self, key: Any, /) -> Any:
        turn, stored = self._do("get", (key,), lambda: self._engine.get(key))
        return self._spoil(turn, key, stored)

    def get_many(self, keys: Iterable[Any], /) -> dict[Any, Any]:
        wanted = list(keys)
        turn, found = self._do("get_many", wanted, lambda: self._engine.get_many(wanted))
        return {key: self._spoil(turn, key, stored) for key, stored in found.items()}

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        def lose() -> bool:
            self._engine.delete(key)
            return False

        return self._do("set", (key,), lambda: self._engine.set(key, value, ttl=ttl, size=size), lose)[1]

    def set_many(self, entries: Iterable[tuple[Any, Any, float | None, int]], /) -> int:
        given = list(entries)
        keys = [entry[0] for entry in given]

        def lose() -> int:
            self._engine.delete_many(keys)
            return 0

        return self._do("set_many", keys, lambda: self._engine.set_many(given), lose)[1]

    def delete(self, key: Any, /) -> bool:
        return self._do("delete", (key,), lambda: self._engine.delete(key))[1]

    def delete_many(self, keys: Iterable[Any], /) -> int:
        given = list(keys)
        return self._do("delete_many", given, lambda: self._engine.delete_many(given))[1]

    def clear(self) -> None:
        self._do("clear", KEYLESS, self._engine.clear)

    def keys(self) -> Iterator[Any]:
        return self._do("keys", KEYLESS, self._engine.keys)[1]

    def count(self) -> int:
        return self._do("count", KEYLESS, self._engine.count)[1]

    def close(self) -> None:
        self._do("close", KEYLESS, self._engine.close)

    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        def swap() -> bool:
            return self._engine.compare_and_set(key, expected, value, ttl=ttl, size=size)

        return self._do("compare_and_set", (key,), swap, lambda: False)[1]

    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        given = list(swaps)
        keys = [swap[0] for swap in given]

        def swap_many() -> list[bool]:
            return self._engine.compare_and_set_many(given)

        return self._do("compare_and_set_many", keys, swap_many, lambda: [False] * len(given))[1]

    def _do(
        self,
        operation: str,
        keys: Sequence[Hashable],
        work: Callable[[], T],
        lose: Callable[[], T] | None = None,
    ) -> tuple[Turn, T]:
        turn = self.chaos.draw(self.name, operation, keys)
        if turn.delay:
            self.chaos.sleep(turn.delay)
        self.chaos.hold(turn)
        turn.fail(done=False)
        result = lose() if lose is not None and turn.lost else work()
        turn.fail(done=True)
        return turn, result

    def _spoil(self, turn: Turn, key: Hashable, stored: Any) -> Any:
        for fault in _corruptions(turn, key, stored):
            other: Any = MISSING
            if fault.way == "swap":
                others = [each for each in self._engine.keys() if each != key]
                other = self._engine.get(self.chaos.random.choice(others)) if others else MISSING
            stored = _damaged(self.name, self.chaos, fault, stored) if other is MISSING else other
        return stored


class AsyncChaosEngine(AsyncEngine):
    """An asynchronous engine with faults around another one; see :class:`ChaosEngine`."""

    name = "chaos"

    def __init__(self, engine: AsyncEngine, chaos: Chaos) -> None:
        self._engine = engine
        self.chaos = chaos
        self.name = engine.name  # type: ignore[misc] # in messages it is the one that it wraps

    @property
    def private(self) -> bool:
        return self._engine.private

    async def get(self, key: Any, /) -> Any:
        turn = await self._begin("get", (key,))
        return await self._spoil(turn, key, _late(turn, await self._engine.get(key)))

    async def get_many(self, keys: Iterable[Any], /) -> dict[Any, Any]:
        wanted = list(keys)
        turn = await self._begin("get_many", wanted)
        found = _late(turn, await self._engine.get_many(wanted))
        return {key: await self._spoil(turn, key, stored) for key, stored in found.items()}

    async def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        turn = await self._begin("set", (key,))
        if turn.lost:
            await self._engine.delete(key)
            return _late(turn, False)  # noqa: FBT003 - it is a result
        return _late(turn, await self._engine.set(key, value, ttl=ttl, size=size))

    async def set_many(self, entries: Iterable[tuple[Any, Any, float | None, int]], /) -> int:
        given = list(entries)
        keys = [entry[0] for entry in given]
        turn = await self._begin("set_many", keys)
        if turn.lost:
            await self._engine.delete_many(keys)
            return _late(turn, 0)
        return _late(turn, await self._engine.set_many(given))

    async def delete(self, key: Any, /) -> bool:
        return _late(await self._begin("delete", (key,)), await self._engine.delete(key))

    async def delete_many(self, keys: Iterable[Any], /) -> int:
        given = list(keys)
        return _late(await self._begin("delete_many", given), await self._engine.delete_many(given))

    async def clear(self) -> None:
        turn = await self._begin("clear")
        await self._engine.clear()
        turn.fail(done=True)

    async def keys(self) -> AsyncIterator[Any]:
        turn = await self._begin("keys")
        async for key in self._engine.keys():
            yield key
        turn.fail(done=True)

    async def count(self) -> int:
        return _late(await self._begin("count"), await self._engine.count())

    async def close(self) -> None:
        turn = await self._begin("close")
        await self._engine.close()
        turn.fail(done=True)

    async def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        turn = await self._begin("compare_and_set", (key,))
        if turn.lost:
            return _late(turn, False)  # noqa: FBT003 - it is a result
        return _late(turn, await self._engine.compare_and_set(key, expected, value, ttl=ttl, size=size))

    async def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        given = list(swaps)
        turn = await self._begin("compare_and_set_many", [swap[0] for swap in given])
        if turn.lost:
            return _late(turn, [False] * len(given))
        return _late(turn, await self._engine.compare_and_set_many(given))

    async def _begin(self, operation: str, keys: Sequence[Hashable] = KEYLESS) -> Turn:
        turn = self.chaos.draw(self.name, operation, keys)
        if turn.delay:
            await self.chaos.async_sleep(turn.delay)
        await self.chaos.async_hold(turn)
        turn.fail(done=False)
        return turn

    async def _spoil(self, turn: Turn, key: Hashable, stored: Any) -> Any:
        for fault in _corruptions(turn, key, stored):
            other: Any = MISSING
            if fault.way == "swap":
                others = [each async for each in self._engine.keys() if each != key]
                other = await self._engine.get(self.chaos.random.choice(others)) if others else MISSING
            stored = _damaged(self.name, self.chaos, fault, stored) if other is MISSING else other
        return stored


def _late(turn: Turn, result: T) -> T:
    """Return the result of an operation, unless it is to fail after all."""
    turn.fail(done=True)
    return result


def _corruptions(turn: Turn, key: Hashable, stored: object) -> list[Corruption]:
    if stored is MISSING:
        return []
    return [fault for fault in turn.corruptions if fault.where is None or fault.where(turn.operation, key)]


def _damaged(engine: str, chaos: Chaos, fault: Corruption, stored: Any) -> Any:
    blob: Any = stored.view if isinstance(stored, MappedBlob) else stored
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise UnsupportedByEngineError(engine, "corruption: it holds objects")
    return fault.damage(bytes(cast("bytes", blob)), chaos.random)

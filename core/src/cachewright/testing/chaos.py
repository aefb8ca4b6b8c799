"""Chaos is a plan of faults for an engine, and the log of those that happened."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from cachewright.errors import EngineUnavailableError
from cachewright.testing.fault import Corruption, Delay, Failure, Fault, Hang, LostWrite

POLL_SECONDS = 0.002


class Happening(NamedTuple):
    """One fault that happened.

    Attributes:
        number: of the operation among all that the engines of this chaos were asked for, from 1.
        operation: its name.
        fault: what happened to it.
    """

    number: int
    operation: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class Turn:
    """What happens to one operation, in this order: delays, hangs, a failure, damage, a late failure."""

    engine: str
    operation: str
    faults: Sequence[Fault] = ()

    @property
    def delay(self) -> float:
        """Seconds by which it begins late."""
        return sum(fault.seconds for fault in self.faults if isinstance(fault, Delay))

    @property
    def hangs(self) -> list[Hang]:
        """What it waits for."""
        return [fault for fault in self.faults if isinstance(fault, Hang)]

    @property
    def lost(self) -> bool:
        """Whether it stores nothing."""
        return any(isinstance(fault, LostWrite) for fault in self.faults)

    @property
    def corruptions(self) -> list[Corruption]:
        """What happens to the bytes that it returns."""
        return [fault for fault in self.faults if isinstance(fault, Corruption)]

    def fail(self, *, done: bool) -> None:
        """Raise what is planned for before, or for after, the operation has taken place."""
        for fault in self.faults:
            if isinstance(fault, Failure) and fault.done is done:
                raise fault.exception(self.engine, self.operation)

    def gave_up(self, hang: Hang) -> EngineUnavailableError:
        """Return what a hang ends with that nobody released."""
        return EngineUnavailableError(self.engine, self.operation, f"it hung for {hang.limit:g} s")


class Chaos:
    """Faults for any number of engines, of both colours; safe to be used by several threads.

    The faults of one operation happen in the order delay, hang, failure, damage. Where a failure
    comes first in the plan, what follows it in the plan does not happen to that operation.

    Args:
        faults: the plan.
        seed: of everything that is random in it.
        sleep: how a synchronous engine waits for a :class:`Delay`.
        async_sleep: how an asynchronous one does.

    Attributes:
        happened: the faults that happened, in order.
        operations: how many operations the engines were asked for.
        random: the generator behind everything that is random.
        sleep: see above.
        async_sleep: see above.
    """

    def __init__(
        self,
        *faults: Fault,
        seed: int = 0,
        sleep: Callable[[float], object] = time.sleep,
        async_sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.happened: list[Happening] = []
        self.operations = 0
        self.random = Random(seed)
        self.sleep = sleep
        self.async_sleep = async_sleep
        self._faults = faults
        self._selected = [0] * len(faults)
        self._changed = threading.Condition()
        self._hanging = 0
        self._releases = 0

    def __repr__(self) -> str:
        return f"<Chaos of {len(self._faults)} faults, {len(self.happened)} happened>"

    @property
    def hanging(self) -> int:
        """How many operations hang right now."""
        return self._hanging

    def wait_for_hang(self, count: int = 1, *, limit: float = 60.0) -> None:
        """Block until that many operations hang.

        Raises:
            TimeoutError: they do not within ``limit`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._hanging >= count, limit):
                raise TimeoutError(f"{self._hanging} operations hang, not {count}")

    def release(self) -> None:
        """Let everything that hangs go on; what hangs later is not affected."""
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Let no fault happen any more, and everything that hangs go on."""
        with self._changed:
            self._faults = ()
        self.release()

    # For the engines ------------------------------------------------------------------------------------

    def draw(self, engine: str, operation: str, keys: Sequence[Hashable]) -> Turn:
        """Say what happens to an operation, and log it."""
        with self._changed:
            self.operations += 1
            number = self.operations
            faults: list[Fault] = []
            ended = False
            for index, fault in enumerate(self._faults):
                happens = self._strikes(index, fault, operation, keys)
                if happens and not ended:
                    faults.append(fault)
                    ended = isinstance(fault, Failure) and not fault.done
            self.happened += [Happening(number, operation, fault) for fault in faults]
        return Turn(engine, operation, faults)

    def hold(self, turn: Turn) -> None:
        """Block while the operation hangs."""
        for hang in turn.hangs:
            with self._changed:
                before = self._enter()
                released = self._changed.wait_for(lambda: self._releases != before, hang.limit)  # noqa: B023 - called at once
                self._hanging -= 1
            if not released:
                raise turn.gave_up(hang)

    async def async_hold(self, turn: Turn) -> None:
        """Wait while the operation hangs; looks every few milliseconds, since any thread may release it."""
        for hang in turn.hangs:
            with self._changed:
                before = self._enter()
            deadline = time.monotonic() + hang.limit
            try:
                while self._releases == before:
                    if time.monotonic() > deadline:
                        raise turn.gave_up(hang)
                    await asyncio.sleep(POLL_SECONDS)
            finally:
                with self._changed:
                    self._hanging -= 1

    def _enter(self) -> int:
        self._hanging += 1
        self._changed.notify_all()
        return self._releases

    def _strikes(self, index: int, fault: Fault, operation: str, keys: Sequence[Hashable]) -> bool:
        if not fault.selects(operation, keys):
            return False
        self._selected[index] += 1
        numbers = fault.numbers
        if numbers and self._selected[index] not in numbers:
            return False
        return fault.probability >= 1.0 or self.random.random() < fault.probability

"""An asynchronous stream is one running asynchronous generator that several consumers share.

The source runs in a task of its own from its first item to its last, on demand: it is advanced when a
consumer needs an item, and rests otherwise. So whoever consumes may be cancelled without harm to the
others, and what belongs to one task inside the source (``asyncio.timeout``, task groups) works there: a
cancellation that reaches the task while it rests is thrown into the source at its ``yield``.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cachewright._flight import (
    ABANDONED,
    ALOFT,
    LANDED,
    LIMIT_SECONDS,
    Flight,
    lead,
    led,
    log,
)
from cachewright._streams import AbandonedStreamError, BlockedStreamError, State, Tape

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

T = TypeVar("T")


class AsyncStream(Tape[T]):
    """One running asynchronous generator, shared by tasks of any number of event loops.

    It runs in the loop that was running when it was made, whoever asks. Where that loop stopped, or
    belongs to the process that this one was forked from, consumers in other loops find the stream
    abandoned. An exception of the source, ``CancelledError`` included unless its task was cancelled from
    outside, reaches every consumer after the items before it.

    Args:
        source: the generator; nobody else may advance it.
        ended: awaited at most once, before any consumer sees the end, as for ``Stream``; in the task of
            the source or, if its loop is gone, in that of a consumer. It is not cancelled because
            consumers are.
    """

    def __init__(
        self,
        source: AsyncGenerator[T, Any],
        ended: Callable[[list[T] | None, BaseException | None], Awaitable[None]],
    ) -> None:
        super().__init__()
        self._ended = iter((ended,))  # next() takes it, once
        self._source: AsyncGenerator[T, Any] | None = source
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._task: asyncio.Task[None] | None = None
        self._begun = False
        self._resting: asyncio.Future[None] | None = None
        self._wanted = -1  # the highest number of an item that was asked for
        self._arrivals: list[asyncio.Future[bool]] = []
        self._closing = False
        self._ending = False
        self._next = self._awaited()  # ends when the next item is there, or the stream ends

    def consume(self, start: int = 0) -> AsyncGenerator[T, None]:
        """Return an asynchronous generator of all items from number ``start`` on.

        To be called in a running event loop. It counts as a consumer until it ends, is closed or is
        collected, whether it is ever started or not. The last one to leave a running stream closes the
        source, and waits for that if it is in the loop of the source.

        Raises:
            AbandonedStreamError: the stream was abandoned; the generator raises it, too.
            BlockedStreamError: raised by the generator where waiting for an item would never end.
        """
        if self.state == "abandoned":
            raise AbandonedStreamError(start)
        consumer = self._served(start)
        with suppress(StopIteration):
            # Into its try block: from there on it leaves whatever becomes of it.
            consumer.asend(None).send(None)
        return consumer

    async def _served(self, index: int) -> AsyncGenerator[T, None]:
        me = object()
        items = self._items
        try:
            self._alive.add(me)
            yield cast("T", None)  # taken by consume()
            while True:
                while index < len(items):
                    yield items[index]
                    index += 1
                if self.state == "running":
                    await self._advance(index)
                elif index >= len(items):
                    break
        finally:
            await self._leave(me)
        self._conclude(index)

    async def _advance(self, index: int) -> None:
        """Ask for item ``index`` and wait until it may be there."""
        awaited = self._next
        if len(self._items) > index or self.state != "running":
            return
        if awaited.state == ABANDONED:
            await self._forsake()
        elif not led() and asyncio.get_running_loop() is self._loop and self._pid == os.getpid():
            self._ask(index)
            if awaited.state == ALOFT:
                await self._arrival(index)
            if awaited.state == ABANDONED:
                await self._forsake()
        elif not self._at_home(self._ask, index):
            await self._forsake()
        elif not await self._flights.wait_async(awaited):
            raise BlockedStreamError(index)
        elif awaited.state == ABANDONED:  # its loop or its task is gone
            await self._forsake()

    async def _leave(self, me: object) -> None:
        self._alive.discard(me)
        if self._alive or self.state != "running":
            return
        if not self._at_home(self._close):
            await self._forsake()
        elif self._closing and asyncio.get_running_loop() is self._loop:
            if await self._flights.wait_async(self._node) and self._node.state == ABANDONED:
                await self._forsake()
            if self._error is not None:
                raise self._error.with_traceback(self._traceback)

    async def _arrival(self, index: int) -> None:
        """Wait in the loop of the source, for a task that no computation waits for: half the cost."""
        arrival: asyncio.Future[bool] = self._loop.create_future()
        self._arrivals.append(arrival)
        limit = self._loop.call_later(LIMIT_SECONDS, _settle, arrival, False)  # noqa: FBT003 - a result
        try:
            arrived = await arrival
        finally:
            limit.cancel()
        if not arrived:
            log.warning("waited %.0f s for item %d of a stream; computing it once more", LIMIT_SECONDS, index)
            raise BlockedStreamError(index)

    def _at_home(self, call: Callable[..., None], *args: Any) -> bool:
        """Run ``call`` in the thread of the source; return whether there still is one."""
        if self._pid != os.getpid():
            return False
        if asyncio.get_running_loop() is self._loop:
            call(*args)
            return True
        if self._next.leader_is_gone():
            return False
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # it was closed just now
            return False
        return True

    # In the loop of the source --------------------------------------------------------------------------

    def _ask(self, index: int) -> None:
        self._wanted = max(self._wanted, index)
        self._stir()

    def _close(self) -> None:
        """Make the source end, unless somebody came, or it has ended and that is being told."""
        if self._alive or self._ending or self.state != "running":
            return
        self._closing = True
        task = self._task
        if task is not None and self._resting is None and not task.cancelling():
            task.cancel()  # it is waiting for something for a consumer that was cancelled itself
        else:
            self._stir()

    def _stir(self) -> None:
        if not self._begun and self.state == "running":
            self._begun = True  # before the task runs: an eager one does so at once
            self._task = self._loop.create_task(self._run())
            self._task.add_done_callback(self._stopped)
        elif self._resting is not None and not self._resting.done():
            self._resting.set_result(None)

    def _announce(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        for arrival in arrivals:
            _settle(arrival, True)  # noqa: FBT003 - a result

    def _stopped(self, _: object) -> None:
        """Wake those who wait for a task that was cancelled before it began."""
        if self.state == "running":
            self._flights.end(self._next, ABANDONED)
            self._flights.end(self._node, ABANDONED)
            self._announce()

    def _unwanted(self) -> bool:
        """Whether the source has to end: nobody is left, or this, its task, was cancelled from outside."""
        task = asyncio.current_task()
        return self._closing or (task is not None and task.cancelling() > 0)

    async def _run(self) -> None:
        lead(self._node)  # in this task's own context, which ends with it
        try:
            await self._play(cast("AsyncGenerator[T, Any]", self._source))
        except Exception as error:  # noqa: BLE001 - the user's, raised by every consumer
            await self._end("abandoned" if self._unwanted() else "failed", error=error)
        except asyncio.CancelledError as error:
            if not self._unwanted():  # the source raised it, so it is the answer
                await self._end("failed", error=error)
                return
            await self._end("abandoned")
            if not self._closing:
                raise
        except BaseException:
            await self._end("abandoned")
            raise
        else:
            if self._unwanted():
                await self._end("abandoned")
            else:
                await self._end("complete", self._items)

    async def _play(self, source: AsyncGenerator[T, Any]) -> None:
        thrown: asyncio.CancelledError | None = None
        while not self._closing:
            try:
                item = await (anext(source) if thrown is None else source.athrow(thrown))
            except StopAsyncIteration:
                return
            self._items.append(item)
            awaited, self._next = self._next, self._awaited()
            self._flights.end(awaited, LANDED)
            self._announce()
            if self._unwanted():  # it swallowed the cancellation
                self._closing = True
            else:
                thrown = await self._rest()
        await source.aclose()

    async def _rest(self) -> asyncio.CancelledError | None:
        """Wait until another item is wanted; return what has to be thrown into the source instead."""
        self._resting = self._loop.create_future()
        try:
            if self._wanted < len(self._items) and not self._closing:
                await self._resting
        except asyncio.CancelledError as cancelled:
            return cancelled
        finally:
            self._resting = None
        return None

    # The end --------------------------------------------------------------------------------------------

    def _awaited(self) -> Flight:
        latch = self._latch()
        latch.leader = self._loop
        return latch

    async def _forsake(self) -> None:
        """Abandon the stream in a task other than that of the source, which will not."""
        if self.state != "running":
            return
        await self._end("abandoned")
        if self._pid == os.getpid():
            self._closing = True
            with suppress(RuntimeError):  # unless its loop is closed, it may go on some day
                self._loop.call_soon_threadsafe(self._announce)
                self._loop.call_soon_threadsafe(self._stir)

    async def _end(
        self, state: State, items: list[T] | None = None, *, error: BaseException | None = None
    ) -> None:
        self._ending = True
        ended = next(self._ended, None)
        try:
            if ended is not None:
                await ended(items, None if state == "abandoned" else error)
        except Exception as failure:  # noqa: BLE001 - of a store, raised by every consumer
            state, error = "failed", failure
        finally:
            self._source = None
            self._close_tape(state, error)
            self._flights.end(self._next, LANDED)
            self._flights.end(self._node, LANDED)
            if self._pid == os.getpid() and asyncio.get_running_loop() is self._loop:
                self._announce()


def _settle(arrival: asyncio.Future[bool], result: bool) -> None:  # noqa: FBT001 - called by the loop
    if not arrival.done():
        arrival.set_result(result)

"""The memos of generator functions: items are teed while they are produced, and stored when complete."""

from __future__ import annotations

from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, Any

from cachewright._memo import AsyncMemo, Located, Memo
from cachewright._streams import AbandonedStreamError, BlockedStreamError
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from cachewright._loader import Loader
    from cachewright._packing import Draft


class _Items:
    """What the memos of both kinds of generators share."""

    _loader: Loader
    _tokens: Any
    _answer: Callable[..., Any]
    _located: Any

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        loader = self._loader
        if loader.freshness is not None or loader.cache_errors:
            expected = f"no freshness= or cache_errors=: {loader.name} is a generator function"
            raise ConfigurationError("func", loader.fn, expected)

    def _resolver(self) -> Callable[..., Any]:
        return self._answer

    def _keyed(self, raw: Any, args: tuple[Any, ...]) -> Any:
        """Return the raw key with the token of the instance, for methods."""
        return (self._tokens.of(args[0], self._loader.name), *raw) if self._loader.bound else raw

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Return a generator of the items of a new run, whatever is stored; they replace it when complete."""
        located = self._located(args, kwargs)
        raw = located.raw[1:] if self._loader.bound else located.raw
        return self._answer(self._loader, raw, located.args, located.kwargs, fresh=True)


class StreamMemo(_Items, Memo):
    """The state behind a decorated generator function.

    Nothing happens before the first item is asked for. Whoever asks for an item that is not there yet
    advances the run, and the others get the same items; those who come later get all that was yielded
    before. The items are stored, as they are then, when the last one has been produced. If that fails, for
    instance because one of them cannot be serialized, the error is raised behind the last item.
    """

    def _answer(
        self,
        loader: Loader,
        raw: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        fresh: bool = False,
    ) -> Generator[Any, None, None]:
        cache, raw, served = self.open(), self._keyed(raw, args), 0
        if loader.bound and self._tokens.dead and len(self._tokens.dead) * 32 >= len(cache):
            self._sweep()
        while True:
            found = cache.open_stream(loader, raw, args, kwargs, fresh=fresh)
            if isinstance(found, tuple):
                yield from found[served:]
                return
            if found is None:
                break
            try:
                yield from found.consume(served)
            except AbandonedStreamError as gone:
                served = gone.served
            except BlockedStreamError as circle:
                served = circle.served
                break
            else:
                return
        # It asks for its own items: they come from a run of its own.
        loader.counters.loads.add()
        yield from islice(loader.fn(*args, **kwargs), served, None)

    def _first(self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._off():
            yield from self._bypass(loader, raw, args, kwargs)
            return
        self.open()
        yield from self._names["_miss"](loader, raw, args, kwargs)

    def _draft(self, located: Located, value: Any) -> Draft:
        return super()._draft(located, tuple(value))


class AsyncStreamMemo(_Items, AsyncMemo):
    """The state behind a decorated asynchronous generator function; see :class:`StreamMemo`."""

    async def _answer(
        self,
        loader: Loader,
        raw: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        fresh: bool = False,
    ) -> AsyncGenerator[Any, None]:
        cache, raw, served = self.open(), self._keyed(raw, args), 0
        if loader.bound and self._tokens.dead and len(self._tokens.dead) * 32 >= await cache.count():
            await self._sweep()
        while True:
            found = await cache.open_stream(loader, raw, args, kwargs, fresh=fresh)
            if found is None:
                break
            try:
                items = _replayed(found, served) if isinstance(found, tuple) else found.consume(served)
                async with aclosing(items):
                    async for item in items:
                        yield item
            except AbandonedStreamError as gone:
                served = gone.served
            except BlockedStreamError as circle:
                served = circle.served
                break
            else:
                return
        async with aclosing(self._own_run(loader, args, kwargs, served)) as run:
            async for item in run:
                yield item

    @staticmethod
    async def _own_run(
        loader: Loader, args: tuple[Any, ...], kwargs: dict[str, Any], served: int = 0
    ) -> AsyncGenerator[Any, None]:
        """Yield what the function yields, past the cache, from item number ``served`` on."""
        loader.counters.loads.add()
        at = 0
        async with aclosing(loader.fn(*args, **kwargs)) as run:
            async for item in run:
                at += 1
                if at > served:
                    yield item

    async def _first(  # type: ignore[override] # an asynchronous generator, as the wrapper of one expects
        self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        off = self._off()
        if not off:
            self.open()
        answer = self._bypass if off else self._names["_miss"]
        async with aclosing(answer(loader, raw, args, kwargs)) as inner:
            async for item in inner:
                yield item

    def _bypass(  # type: ignore[override] # as above
        self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        self._check_key(loader, raw, args)
        loader.counters.misses.add()
        return self._own_run(loader, args, kwargs)

    def _draft(self, located: Located, value: Any) -> Draft:
        return super()._draft(located, tuple(value))


async def _replayed(items: tuple[Any, ...], start: int) -> AsyncGenerator[Any, None]:
    for item in items[start:]:
        yield item

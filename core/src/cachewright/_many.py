"""The memos of functions that answer for many keys per call."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from cachewright._batch import Batch, Item, by_element
from cachewright._loader import plain
from cachewright._memo import AsyncMemo, Memo
from cachewright._wrappers import key_function, parameters
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachewright._lifecycle import Lifecycle
    from cachewright._loader import Loader
    from cachewright._packing import Draft


class _Keys:
    """Which parameter of a function holds the keys; mixed into the memos of batches."""

    _signature: Any
    _shape: Any
    _names: dict[str, Any]
    _spec: Any
    _loader: Loader
    _tokens: Any
    _key: Any
    _answer: Callable[..., Any]
    _check_instance: Any
    _keymaker: Any

    def over(self, parameter: str) -> None:
        """Take the elements of ``parameter`` for keys.

        Raises:
            ConfigurationError: it is no parameter that is part of the key, or something is asked for that
                has no meaning for a batch.
        """
        loader, shape, code = self._loader, self._shape, self._signature.__code__
        known = parameters(code)
        own: list[str] = [known[at] for at in shape.keyed if at < code.co_argcount + code.co_kwonlyargcount]
        if parameter not in own or shape.custom:
            names = "none" if shape.custom else ", ".join(own) or "none"
            expected = f"a parameter of {loader.name} that is part of the key: {names}"
            raise ConfigurationError("keys", parameter, expected)
        if loader.freshness is not None or loader.cache_errors or loader.injects or loader.result_tags:
            expected = "no freshness=, cache_errors=, tags of results or load context beside it"
            raise ConfigurationError("many", parameter, expected)
        self._parameter = parameter
        self._place = known.index(parameter)
        self._by_name = self._place >= code.co_argcount
        self._names["_calls"] = repeat(None)  # look-ups are counted per key

    def batch(
        self, life: Lifecycle | None, args: tuple[Any, ...], kwargs: dict[str, Any], *, managed: bool = False
    ) -> Batch:
        """Return the batch that a call asks for.

        Args:
            life: the rules of the cache; ``None`` while caching is disabled.
            args: of the call.
            kwargs: of the call.
            managed: whether a method of the function was called, rather than the function.

        Raises:
            TypeError: an element cannot be hashed.
        """
        if self._key is None:
            self._key = key_function(self._signature, self._shape, self._names)
        _, args, kwargs = self._key(*args, **kwargs)
        if managed and self._shape.bound:
            self._check_instance(args[0])
        elements: dict[Any, None] = {}
        for element in kwargs[self._parameter] if self._by_name else args[self._place]:
            elements[self._hashable(element)] = None
        items: dict[Any, Item] = {}
        for element in elements:
            item = self._item(life, element, args, kwargs)
            items.setdefault(item.key, item)

        def arguments(some: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return self._with(some, args, kwargs)

        return Batch(self._loader, list(items.values()), arguments)

    def _hashable(self, element: Any) -> Any:
        try:
            hash(element)
        except TypeError:
            message = (
                f"{self._loader.name} returns a dict, so the elements of {self._parameter} must be hashable,"
                f" not of type {type(element).__name__}"
            )
            raise TypeError(message) from None
        return element

    def _item(
        self, life: Lifecycle | None, element: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Item:
        loader = self._loader
        call_args, call_kwargs = self._with(element, args, kwargs)
        raw, _, _ = self._key(*call_args, **call_kwargs)
        if loader.bound:
            raw = (self._tokens.of(call_args[0], loader.name), *raw)
        if life is None:
            simple = self._spec.private_to_process and not self._spec.own_keys and plain(raw)
            return Item(element, raw if simple else loader.digest_key(raw, self._keymaker()), MISSING, ())
        tags = () if loader.tags is None else loader.tags(*call_args, **call_kwargs)
        return Item(element, life.call_key(loader, raw), life.label(loader, raw), tags)

    def _with(
        self, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._by_name:
            return args, {**kwargs, self._parameter: value}
        return (*args[: self._place], value, *args[self._place + 1 :]), kwargs

    def _resolver(self) -> Callable[..., Any]:
        return self._answer

    def _bypassed(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], tuple[Any, ...], dict[str, Any]]:
        """Return the elements of a call past the cache, and what to call the function with."""
        batch = self.batch(None, args, kwargs)
        for _ in batch.items:
            self._loader.counters.calls.add()
            self._loader.counters.misses.add()
        elements = [item.element for item in batch.items]
        if elements:
            self._loader.counters.loads.add()
        return elements, *batch.arguments(elements)

    def _by_element(self, elements: list[Any], result: object) -> dict[Any, Any]:
        values = by_element(self._loader, elements, result)
        return {elements[at]: value for at, value in values.items()}

    def _drafts(self, life: Lifecycle, batch: Batch, value: object) -> list[tuple[Any, Draft]]:
        """Return the drafts of values that are to be stored as the result of a call."""
        items = batch.items
        values = by_element(self._loader, [item.element for item in items], value)
        return [(items[at].key, life.item_draft(self._loader, items[at], one)) for at, one in values.items()]


class ManyMemo(_Keys, Memo):
    """The state behind a decorated function of many keys."""

    def _answer(self, loader: Loader, _raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        cache = self.open()
        if loader.bound and self._tokens.dead and len(self._tokens.dead) * 32 >= len(cache):
            self._sweep()
        return cache.resolve_many(self.batch(cache.lifecycle, args, kwargs))

    def _bypass(
        self,
        loader: Loader,
        raw: Any,  # noqa: ARG002 - every element has a key of its own
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        elements, args, kwargs = self._bypassed(args, kwargs)
        return self._by_element(elements, loader.fn(*args, **kwargs)) if elements else {}

    def peek(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """Return the stored values of the keys that have one; computes and counts nothing."""
        batch = self._managed(args, kwargs)
        found = self.open().peek_keys([item.key for item in batch.items])
        return {item.element: found[item.key].value for item in batch.items if item.key in found}

    def is_cached(self, *args: Any, **kwargs: Any) -> bool:
        """Return whether every key has a stored value."""
        batch = self._managed(args, kwargs)
        return len(self.open().peek_keys([item.key for item in batch.items])) == len(batch.items)

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Remove the values of all the keys; return whether there was one."""
        cache, dropped = self.open(), False
        for item in self._managed(args, kwargs).items:
            dropped |= cache.drop_key(item.key)
        return dropped

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Compute all the keys now, with one call, whatever is stored."""
        return self.open().resolve_many(self._managed(args, kwargs), fresh=True)

    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store ``value``, a mapping or a list as the function returns it; return whether all was stored."""
        cache = self.open()
        drafts = self._drafts(cache.lifecycle, self._managed(args, kwargs), value)
        return cache.put_keys(drafts) == len(drafts)

    def _managed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Batch:
        return self.batch(self.open().lifecycle, args, kwargs, managed=True)


class AsyncManyMemo(_Keys, AsyncMemo):
    """The state behind a decorated coroutine function of many keys."""

    async def _answer(self, loader: Loader, _raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        cache = self.open()
        if loader.bound and self._tokens.dead and len(self._tokens.dead) * 32 >= await cache.count():
            await self._sweep()
        return await cache.resolve_many(self.batch(cache.lifecycle, args, kwargs))

    async def _bypass(
        self,
        loader: Loader,
        raw: Any,  # noqa: ARG002 - every element has a key of its own
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        elements, args, kwargs = self._bypassed(args, kwargs)
        return self._by_element(elements, await loader.fn(*args, **kwargs)) if elements else {}

    async def peek(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """Return the stored values of the keys that have one; computes and counts nothing."""
        batch = self._managed(args, kwargs)
        found = await self.open().peek_keys([item.key for item in batch.items])
        return {item.element: found[item.key].value for item in batch.items if item.key in found}

    async def is_cached(self, *args: Any, **kwargs: Any) -> bool:
        """Return whether every key has a stored value."""
        batch = self._managed(args, kwargs)
        return len(await self.open().peek_keys([item.key for item in batch.items])) == len(batch.items)

    async def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Remove the values of all the keys; return whether there was one."""
        cache, dropped = self.open(), False
        for item in self._managed(args, kwargs).items:
            dropped |= await cache.drop_key(item.key)
        return dropped

    async def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Compute all the keys now, with one call, whatever is stored."""
        return await self.open().resolve_many(self._managed(args, kwargs), fresh=True)

    async def put(self, value: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store ``value``, a mapping or a list as the function returns it; return whether all was stored."""
        cache = self.open()
        drafts = self._drafts(cache.lifecycle, self._managed(args, kwargs), value)
        return await cache.put_keys(drafts) == len(drafts)

    def _managed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Batch:
        return self.batch(self.open().lifecycle, args, kwargs, managed=True)

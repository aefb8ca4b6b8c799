"""A memo is the state behind one decorated function: its wrapper, its cache, and its methods."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from weakref import WeakSet

from cachewright._loader import CANONICAL, Loader, plain
from cachewright._packing import CallLabel
from cachewright._tags import checked_tags
from cachewright._tokens import Tokens
from cachewright._wrappers import Mode, Shape, key_function, renamed, wrapper
from cachewright.entry import MISSING
from cachewright.errors import ClosedError, ConfigurationError, EngineError, UnsupportedByEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FunctionType

    from cachewright._packing import Draft
    from cachewright._spec import Spec
    from cachewright.aio import AsyncCache
    from cachewright.cache import Cache
    from cachewright.explanation import Explanation
    from cachewright.keymaker import KeyMaker
    from cachewright.stats import CacheInfo


class Located(NamedTuple):
    """A call: the engine's key, the raw key, and what to call the function with."""

    key: Any
    raw: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


CacheT = TypeVar("CacheT", bound="Cache | AsyncCache")

_memos: WeakSet[_Memo[Any]] = WeakSet()
"""Every opened memo, for :class:`disabled`."""

_disabled = 0
"""How many ``with disabled()`` blocks are entered."""

_switch = threading.RLock()
"""Guards the two above."""


class disabled:  # noqa: N801 - used like a function
    """Switch all decorated functions of the process to computing, for a ``with`` block.

    Keys are still made, so that an argument without one is noticed; nothing is read or stored.
    """

    def __enter__(self) -> None:
        self._shift(1)

    def __exit__(self, *details: object) -> None:
        self._shift(-1)

    @staticmethod
    def _shift(by: int) -> None:
        global _disabled  # noqa: PLW0603 - a state of the whole process
        with _switch:
            _disabled += by
            for memo in list(_memos):
                memo.connect()


class Unopened:
    """Stands for the cache of a function that has not been called yet; the first use opens it."""

    __slots__ = ("_memo",)

    def __init__(self, memo: _Memo[Any]) -> None:
        self._memo = memo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memo.open(), name)

    def __len__(self) -> int:
        return len(self._memo.open())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._memo.open())

    def __contains__(self, key: object) -> bool:
        return key in self._memo.open()

    def __getitem__(self, key: Any) -> Any:
        return self._memo.open()[key]

    def __bool__(self) -> bool:
        return True


class _Memo(ABC, Generic[CacheT]):
    """What the synchronous and the asynchronous memo share."""

    def __init__(
        self,
        signature: FunctionType,
        shape: Shape,
        loader: Loader,
        spec: Spec,
        names: dict[str, Any],
        cache: CacheT | None,
        values: object,
    ) -> None:
        self._signature = signature
        self._shape = shape
        self._loader = loader
        self._spec = spec
        self._values = values
        self._cache = cache
        self._lock = threading.RLock()
        self._tokens = Tokens()
        self._reader: Any = {}
        self._opened = False
        names |= {
            "_read": {},
            "_calls": loader.counters.calls.source,
            "_miss": self._first,
            "_loader": loader,
            "_tokens": self._tokens,
            "_keywords": signature.__code__.co_varnames[shape.args : shape.args + shape.kwonly],
        }
        self._names = names
        self.function: FunctionType = wrapper(signature, shape, names)
        self._key: FunctionType | None = None

    # Opening ----------------------------------------------------------------------------------------

    def open(self) -> CacheT:
        """Return the cache, opened on first use."""
        cache = self._cache
        if cache is not None and self._opened:
            return cache
        with self._lock:
            cache = self._cache = self._build() if self._cache is None else self._cache
            if not self._opened:
                self._specialise(cache)
                self.function.cache = cache  # type: ignore[attr-defined] # part of the public face
                with _switch:
                    _memos.add(self)
                    self.connect()
                    self._opened = True  # last: another thread goes on with what is in place by now
        return cache

    @abstractmethod
    def _build(self) -> CacheT:
        """Open the cache that the specification asks for."""

    def _specialise(self, cache: CacheT) -> None:
        """Pick the hit path that the engine allows."""
        life = cache.lifecycle
        if not life.holds_objects:
            if self._shape.bound:
                raise ConfigurationError(
                    "self_key",
                    None,
                    f"a function of the instance: {self._loader.name} is a method, and engine"
                    f" {life.info.name!r} outlives its instances (or pass key=)",
                )
            require_stable_name(self._spec.namespace, f"engine {life.info.name!r}")
            if (self._loader.tags or self._loader.open_tags) and not life.can_tag:
                raise UnsupportedByEngineError(life.info.name, "tags", life.alternatives("compare_and_set"))
        mode: Mode = "call"
        reader = None
        direct = not (life.listeners or self._loader.scope or self._spec.copy or self._indirect())
        if life.holds_objects and direct:
            reader = cache.reader()
            if reader is not None:
                mode = "value" if self._plain() else "entry"
        self._reader = {} if reader is None else reader
        self._names["_now"] = life.clock.monotonic
        if mode != self._shape.mode:
            self._shape = self._shape._replace(mode=mode)
            self.function.__code__ = renamed(self._signature, self._shape)

    def _indirect(self) -> bool:
        """Whether a hit is more than a look-up of one key."""
        return self._shape.streams or self._names["_calls"] is not self._loader.counters.calls.source

    def _plain(self) -> bool:
        return self._spec.ttl is None and self._spec.copy is None and not self._spec.aged

    def connect(self) -> None:
        """Put the cache, or its bypass while caching is disabled, behind the wrapper."""
        if _disabled:
            self._names["_read"] = {}
            self._names["_miss"] = self._bypass
        else:
            self._names["_miss"] = self._resolver()
            self._names["_read"] = self._reader

    def _resolver(self) -> Callable[..., Any]:
        """Return what answers the calls that the wrapper cannot."""
        cache: Any = self._cache  # open by now, but perhaps not marked so
        return self._resolve_bound if self._shape.bound else cache.resolve

    def _off(self) -> bool:
        if _disabled:
            return True
        from cachewright.config import Settings  # noqa: PLC0415 - only until the cache is open

        settings = self._spec.settings if self._spec.settings is not None else Settings.resolve()
        return bool(settings.disable)

    def _check_key(self, loader: Loader, raw: Any, args: tuple[Any, ...]) -> None:
        if loader.bound:
            raw = (self._tokens.of(args[0], loader.name), *raw)
        if self._spec.own_keys or not plain(raw) or not self._spec.private_to_process:
            loader.digest_key(raw, self._keymaker())

    def _keymaker(self) -> KeyMaker:
        from cachewright.registry import default_registry  # noqa: PLC0415 - heavy, for the first miss only

        return self._spec.keymaker(default_registry().keymaker)

    @abstractmethod
    def _first(self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Open the cache, put it behind the wrapper, and answer the call that came first."""

    @abstractmethod
    def _bypass(self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Check the key and compute, while caching is disabled."""

    @abstractmethod
    def _resolve_bound(self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer the call of a method, whose key starts with the token of its instance."""

    # The function object is the API -------------------------------------------------------------------

    def _located(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Located:
        """Return the engine's key of a call, and the call bound to the signature."""
        if self._key is None:
            self._key = key_function(self._signature, self._shape, self._names)
        raw, args, kwargs = self._key(*args, **kwargs)
        if self._loader.bound:
            self._check_instance(args[0])
            raw = (self._tokens.of(args[0], self._loader.name), *raw)
        return Located(self.open().lifecycle.call_key(self._loader, raw), raw, args, kwargs)

    def _draft(self, located: Located, value: object) -> Draft:
        """Return the draft of a value that is to be stored as the result of a call."""
        loader = self._loader
        tags = () if loader.tags is None else loader.tags(*located.args, **located.kwargs)
        for result_tags in loader.result_tags:
            tags = (*tags, *checked_tags(result_tags(value)))
        return self.open().lifecycle.call_draft(loader, located.raw, value, tags)

    def _matcher(self, arguments: dict[str, Any]) -> Callable[[Any, Any], bool]:
        """Return what tells whether an entry is the result of a call with these arguments.

        What does not say with which arguments it was called counts as one: better to compute a result
        again than to serve one that was meant to go.
        """
        loader, life = self._loader, self.open().lifecycle
        names = [name.lstrip("*") for name in loader.names]
        unknown = [name for name in arguments if name not in names]
        if unknown or not arguments:
            message = (
                f"invalidate_where() of {loader.name} takes parameters that are part of the key"
                f" ({', '.join(names) or 'there are none'}), not {', '.join(unknown) or 'nothing'}"
            )
            raise TypeError(message)
        keywords = next((name[2:] for name in loader.names if name.startswith("**")), None)
        if keywords in arguments:  # as they are in a key
            arguments[keywords] = tuple(sorted(arguments[keywords].items()))
        wanted = {names.index(name): life.part(value) for name, value in arguments.items()}

        def of_objects(key: Any, _stored: Any) -> bool:
            raw = loader.raw_of(key)
            if raw is MISSING or raw is CANONICAL:
                return raw is CANONICAL
            values = loader.values(raw)
            return all(life.part(values[at]) == part for at, part in wanted.items())

        def of_bytes(key: Any, stored: Any) -> bool:
            label = life.label_in_store(key, stored)
            if not isinstance(label, CallLabel):
                return not loader.scope
            if label.scope != loader.scope:
                return False
            return len(label.parts) != len(names) or all(
                label.parts[at] == part for at, part in wanted.items()
            )

        return of_objects if life.holds_objects else of_bytes

    def _check_instance(self, instance: Any) -> None:
        # Attributes of a method are those of the function: they do not know the instance they were
        # reached through, so it has to be passed, and to forget it must not pass in silence.
        name = self._signature.__name__
        if not any(name in vars(base) for base in type(instance).__mro__):
            message = (
                f"{self._loader.name} is a method: pass the instance first, as in"
                f" {self._signature.__qualname__}.invalidate(instance, ...)"
            )
            raise TypeError(message)

    def cache_key(self, *args: Any, **kwargs: Any) -> str:
        """Return the canonical key of a call: the same in every process."""
        if self._key is None:
            self._key = key_function(self._signature, self._shape, self._names)
        raw, _, _ = self._key(*args, **kwargs)
        if self._loader.bound:
            raw = (None, *raw)
        return self._loader.digest_key(raw, self._keymaker())

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the function was decorated with; ``maxsize`` and ``typed`` as in functools."""
        spec = self._spec
        maxsize = None if spec.maxsize is None else int(spec.maxsize)
        return {
            "maxsize": maxsize,
            "typed": self._shape.typed,
            "ttl": spec.ttl,
            "max_bytes": spec.max_bytes,
            "policy": spec.policy,
            "persist": spec.persist,
            "scope": spec.scope,
            "engine": spec.engine,
        }

    def _sized(self, currsize: int) -> CacheInfo:
        maxsize = self._spec.maxsize
        if self._cache is not None:
            maxsize = self._cache.lifecycle.maxsize
        info = self._loader.counters.snapshot(
            maxsize=None if maxsize is None else int(maxsize), currsize=currsize
        )
        if self._cache is not None and not self._loader.scope:
            inner = self._cache.lifecycle.counters  # its store is ours alone
            info.stored, info.refused = inner.stored.count, inner.refused.count
            info.unreadable, info.errors = inner.unreadable.count, inner.errors.count
            info.stale += inner.stale.count
        return info if self._cache is None else self._cache.lifecycle.described(info)

    def _dead_keys(self, keys: list[Any]) -> list[Any]:
        dead: set[Any] = set()
        while self._tokens.dead:
            dead.add(self._tokens.dead.popleft())
        return [key for key in keys if isinstance(key, tuple) and key and key[0] in dead]


class Memo(_Memo["Cache"]):
    """The state behind a decorated function that is no coroutine function."""

    def _build(self) -> Cache:
        from cachewright.factory import build  # noqa: PLC0415 - opens the plugin system, on the first miss

        return build(self._spec, values=self._values, plain=True)

    def _first(self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._off():
            return self._bypass(loader, raw, args, kwargs)
        self.open()
        return self._names["_miss"](loader, raw, args, kwargs)

    def _bypass(self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._check_key(loader, raw, args)
        loader.counters.misses.add()
        loader.counters.loads.add()
        return loader.fn(*args, **kwargs)

    def _resolve_bound(self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        cache = self.open()
        if self._tokens.dead and len(self._tokens.dead) * 32 >= len(cache):
            self._sweep()
        return cache.resolve(loader, (self._tokens.of(args[0], loader.name), *raw), args, kwargs)

    def _sweep(self) -> None:
        """Remove the entries of instances that are gone."""
        cache = self.open()
        for key in self._dead_keys(cache.engine_keys()):
            cache.drop_key(key)

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, maxsize and currsize as functools does, and more as attributes."""
        if self._cache is None:
            return self._sized(0)
        if self._tokens.dead:
            self._sweep()
        try:
            scope = self._loader.scope
            size = len(self._cache.scope_keys(scope)) if scope else len(self._cache)
        except (ClosedError, EngineError):
            size = 0
        return self._sized(size)

    def cache_clear(self) -> None:
        """Remove all entries of this function, and start its statistics at zero."""
        cache = self.open()
        if self._loader.scope:
            scope = self._loader.scope
            cache.drop_where(lambda key, stored: cache.lifecycle.in_scope(scope, key, stored))
        else:
            cache.clear()
            cache.lifecycle.counters.reset()
        self._loader.counters.reset()

    def peek(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of a call, ``MISSING`` if there is none; computes and counts nothing."""
        entry = self.open().peek_key(self._located(args, kwargs).key)
        return MISSING if entry is MISSING else entry.value

    def is_cached(self, *args: Any, **kwargs: Any) -> bool:
        """Return whether the result of a call is stored."""
        return self.peek(*args, **kwargs) is not MISSING

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Remove the result of a call; return whether there was one.

        After it returns, no call that starts later returns a result computed from what was read before.
        """
        return self.open().drop_key(self._located(args, kwargs).key)

    def invalidate_where(self, /, **arguments: Any) -> int:
        """Remove the results of all calls with these arguments, whatever the others; return how many.

        After it returns, no call that starts later returns a result computed from what was read before.

        Raises:
            TypeError: an argument takes no part in the key, or there is none.
            UnsupportedByEngineError: the engine cannot list its entries.
        """
        return self.open().drop_where(self._matcher(arguments))

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Compute a call now, store and return the result, whatever is stored."""
        key, raw, args, kwargs = self._located(args, kwargs)
        return self.open().resolve(self._loader, raw, args, kwargs, key=key, fresh=True)

    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store ``value`` as the result of a call; return whether it was stored."""
        located = self._located(args, kwargs)
        return self.open().put_key(located.key, self._draft(located, value))

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Say why this engine is in use and, given the arguments of a call, what is stored for it."""
        if not args and not kwargs and self._loader.names:
            return self.open().explain_key(MISSING)
        return self.open().explain_key(self._located(args, kwargs).key)


class AsyncMemo(_Memo["AsyncCache"]):
    """The state behind a decorated coroutine function; what touches the store is awaited."""

    def _build(self) -> AsyncCache:
        from cachewright.factory import build_async  # noqa: PLC0415 - as in Memo

        return build_async(self._spec, values=self._values, plain=True)

    async def _first(self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._off():
            return await self._bypass(loader, raw, args, kwargs)
        self.open()
        return await self._names["_miss"](loader, raw, args, kwargs)

    async def _bypass(self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._check_key(loader, raw, args)
        loader.counters.misses.add()
        loader.counters.loads.add()
        return await loader.fn(*args, **kwargs)

    async def _resolve_bound(
        self, loader: Loader, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        cache = self.open()
        if self._tokens.dead and len(self._tokens.dead) * 32 >= await cache.count():
            await self._sweep()
        return await cache.resolve(loader, (self._tokens.of(args[0], loader.name), *raw), args, kwargs)

    async def _sweep(self) -> None:
        cache = self.open()
        for key in self._dead_keys(await cache.engine_keys()):
            await cache.drop_key(key)

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, maxsize and currsize as functools does, and more as attributes.

        Not awaited, for parity; ``currsize`` is -1 where the engine can be asked only by awaiting
        (then ``await f.cache.stats()`` tells).
        """
        return self._sized(0 if self._cache is None else self._cache.size_now(self._loader.scope))

    async def cache_clear(self) -> None:
        """Remove all entries of this function, and start its statistics at zero."""
        cache = self.open()
        if self._loader.scope:
            scope = self._loader.scope
            await cache.drop_where(lambda key, stored: cache.lifecycle.in_scope(scope, key, stored))
        else:
            await cache.clear()
            cache.lifecycle.counters.reset()
        self._loader.counters.reset()

    async def peek(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of a call, ``MISSING`` if there is none; computes and counts nothing."""
        entry = await self.open().peek_key(self._located(args, kwargs).key)
        return MISSING if entry is MISSING else entry.value

    async def is_cached(self, *args: Any, **kwargs: Any) -> bool:
        """Return whether the result of a call is stored."""
        return await self.peek(*args, **kwargs) is not MISSING

    async def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Remove the result of a call; see :meth:`Memo.invalidate`."""
        return await self.open().drop_key(self._located(args, kwargs).key)

    async def invalidate_where(self, /, **arguments: Any) -> int:
        """Remove the results of all calls with these arguments, whatever the others; return how many.

        After it returns, no call that starts later returns a result computed from what was read before.

        Raises:
            TypeError: an argument takes no part in the key, or there is none.
            UnsupportedByEngineError: the engine cannot list its entries.
        """
        return await self.open().drop_where(self._matcher(arguments))

    async def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Compute a call now, store and return the result, whatever is stored."""
        key, raw, args, kwargs = self._located(args, kwargs)
        return await self.open().resolve(self._loader, raw, args, kwargs, key=key, fresh=True)

    async def put(self, value: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store ``value`` as the result of a call; return whether it was stored."""
        located = self._located(args, kwargs)
        return await self.open().put_key(located.key, self._draft(located, value))

    async def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Say why this engine is in use and, given the arguments of a call, what is stored for it."""
        if not args and not kwargs and self._loader.names:
            return await self.open().explain_key(MISSING)
        return await self.open().explain_key(self._located(args, kwargs).key)


def require_stable_name(namespace: str, what: str) -> None:
    """Refuse a name that other functions can have too, for a store that outlives them.

    Raises:
        ConfigurationError: says how to name the function.
    """
    if "<" in namespace:
        raise ConfigurationError(
            "name",
            None,
            f"a name for {namespace}: others can have this one too, and {what} keeps entries by name",
        )

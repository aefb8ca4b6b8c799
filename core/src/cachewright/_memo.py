"""A memo is the state behind one decorated function: its wrapper, its cache, and its methods."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from cachewright._loader import Loader, plain
from cachewright._tokens import Tokens
from cachewright._wrappers import Mode, Shape, key_function, renamed, wrapper
from cachewright.entry import MISSING
from cachewright.errors import ClosedError, ConfigurationError, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FunctionType

    from cachewright._spec import Spec
    from cachewright.aio import AsyncCache
    from cachewright.cache import Cache
    from cachewright.explanation import Explanation
    from cachewright.keymaker import KeyMaker
    from cachewright.stats import CacheInfo

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
        self._reader: Any = None
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
        if cache is not None and self._reader is not None:
            return cache
        with self._lock:
            cache = self._cache = self._build() if self._cache is None else self._cache
            if self._reader is None:
                self._specialise(cache)
                self.function.cache = cache  # type: ignore[attr-defined] # part of the public face
                with _switch:
                    _memos.add(self)
                    self.connect()
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
        mode: Mode = "call"
        reader = None
        if life.holds_objects and not life.listeners and not self._loader.scope and self._spec.copy is None:
            reader = cache.reader()
            if reader is not None:
                mode = "value" if self._plain() else "entry"
        self._reader = {} if reader is None else reader
        self._names["_now"] = life.clock.monotonic
        if mode != self._shape.mode:
            self._shape = self._shape._replace(mode=mode)
            self.function.__code__ = renamed(self._signature, self._shape)

    def _plain(self) -> bool:
        return self._spec.ttl is None and self._spec.copy is None

    def connect(self) -> None:
        """Put the cache, or its bypass while caching is disabled, behind the wrapper."""
        if _disabled:
            self._names["_read"] = {}
            self._names["_miss"] = self._bypass
        else:
            self._names["_miss"] = self._resolve_bound if self._shape.bound else self.open().resolve
            self._names["_read"] = self._reader

    def _off(self) -> bool:
        if _disabled:
            return True
        from cachewright.config import Settings  # noqa: PLC0415 - only until the cache is open

        settings = self._spec.settings if self._spec.settings is not None else Settings.resolve()
        return bool(settings.disable)

    def _check_key(self, loader: Loader, raw: Any, args: tuple[Any, ...]) -> None:
        if loader.bound:
            raw = (self._tokens.of(args[0], loader.name), *raw)
        if not plain(raw) or not self._spec.private_to_process:
            loader.digest_key(raw, self._keymaker())

    def _keymaker(self) -> KeyMaker:
        from cachewright.registry import default_registry  # noqa: PLC0415 - heavy, for the first miss only

        return default_registry().keymaker(self._spec.key_maker).load()()

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

    def _located(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """Return the engine's key of a call, and the call bound to the signature."""
        if self._key is None:
            self._key = key_function(self._signature, self._shape, self._names)
        raw, args, kwargs = self._key(*args, **kwargs)
        if self._loader.bound:
            self._check_instance(args[0])
            raw = (self._tokens.of(args[0], self._loader.name), *raw)
        return self.open().lifecycle.call_key(self._loader, raw), args, kwargs

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
        return info

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
            cache.clear_scope(self._loader.scope)
        else:
            cache.clear()
            cache.lifecycle.counters.reset()
        self._loader.counters.reset()

    def peek(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of a call, ``MISSING`` if there is none; computes and counts nothing."""
        key, _, _ = self._located(args, kwargs)
        entry = self.open().peek_key(key)
        return MISSING if entry is MISSING else entry.value

    def is_cached(self, *args: Any, **kwargs: Any) -> bool:
        """Return whether the result of a call is stored."""
        return self.peek(*args, **kwargs) is not MISSING

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Remove the result of a call; return whether there was one.

        After it returns, no call that starts later returns a result computed from what was read before.
        """
        key, _, _ = self._located(args, kwargs)
        return self.open().drop_key(key)

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Compute a call now, store and return the result, whatever is stored."""
        key, args, kwargs = self._located(args, kwargs)
        return self.open().resolve(self._loader, (), args, kwargs, key=key, fresh=True)

    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store ``value`` as the result of a call; return whether it was stored."""
        key, _, _ = self._located(args, kwargs)
        return self.open().put_call(self._loader, key, value)

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Say why this engine is in use and, given the arguments of a call, what is stored for it."""
        if not args and not kwargs and self._loader.names:
            return self.open().explain_key(MISSING)
        key, _, _ = self._located(args, kwargs)
        return self.open().explain_key(key)


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
            await cache.clear_scope(self._loader.scope)
        else:
            await cache.clear()
            cache.lifecycle.counters.reset()
        self._loader.counters.reset()

    async def peek(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of a call, ``MISSING`` if there is none; computes and counts nothing."""
        key, _, _ = self._located(args, kwargs)
        entry = await self.open().peek_key(key)
        return MISSING if entry is MISSING else entry.value

    async def is_cached(self, *args: Any, **kwargs: Any) -> bool:
        """Return whether the result of a call is stored."""
        return await self.peek(*args, **kwargs) is not MISSING

    async def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Remove the result of a call; see :meth:`Memo.invalidate`."""
        key, _, _ = self._located(args, kwargs)
        return await self.open().drop_key(key)

    async def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Compute a call now, store and return the result, whatever is stored."""
        key, args, kwargs = self._located(args, kwargs)
        return await self.open().resolve(self._loader, (), args, kwargs, key=key, fresh=True)

    async def put(self, value: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store ``value`` as the result of a call; return whether it was stored."""
        key, _, _ = self._located(args, kwargs)
        return await self.open().put_call(self._loader, key, value)

    async def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Say why this engine is in use and, given the arguments of a call, what is stored for it."""
        if not args and not kwargs and self._loader.names:
            return await self.open().explain_key(MISSING)
        key, _, _ = self._located(args, kwargs)
        return await self.open().explain_key(key)


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

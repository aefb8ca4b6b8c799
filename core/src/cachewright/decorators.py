"""The decorator ``cached``, for functions, coroutine functions and methods, bare and called."""

from __future__ import annotations

from functools import WRAPPER_ASSIGNMENTS, partial, update_wrapper
from types import FunctionType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

from cachewright._loader import Loader
from cachewright._memo import AsyncMemo, Memo, Unopened, require_stable_name
from cachewright._negative import SAME_TTL
from cachewright._spec import DEFAULT_KEY_MAKER, DEFAULT_MAXSIZE, Spec
from cachewright._wrappers import CO_VARARGS, parameters, shape_of
from cachewright.context import INJECTED
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    import os
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Iterable,
        Mapping,
        Sequence,
    )
    from typing import TypedDict, Unpack

    from cachewright._negative import CacheErrors
    from cachewright.aio import AsyncCache
    from cachewright.cache import Cache
    from cachewright.config import Settings
    from cachewright.engine import Scope
    from cachewright.explanation import Explanation
    from cachewright.freshness import Freshness
    from cachewright.keymaker import KeyMaker
    from cachewright.stats import CacheInfo

    Tags: TypeAlias = str | Callable[[Any], Any] | Iterable[str | Callable[[Any], Any]]
    Errors: TypeAlias = type[Exception] | Iterable[type[Exception]] | Mapping[type[Exception], Any]

    class Options(TypedDict, total=False):
        """What ``cached`` takes; known to checkers only."""

        engine: str | None
        persist: bool
        scope: Scope
        ttl: Any
        maxsize: int | None
        max_bytes: int | str | None
        policy: str | None
        typed: bool
        key: Callable[..., Any] | str | None
        self_key: Callable[[Any], Any] | None
        ignore: tuple[str, ...] | list[str] | str
        version: str | None
        tags: Tags
        name: str | None
        serializer: str | None
        key_maker: str | KeyMaker
        compress: bool | str | None
        encrypt: bool | str | None
        copy: Literal["value"] | None
        single_flight: bool
        cache_if: Callable[[Any], object] | None
        cache_errors: Errors
        jitter: float
        freshness: Freshness | None
        on_engine_error: Literal["compute", "raise", "stale"]
        url: str | None
        path: str | os.PathLike[str] | None
        settings: Settings | None
        cache: Cache | AsyncCache | None
        options: Mapping[str, object] | None


P = ParamSpec("P")
Q = ParamSpec("Q")
K = TypeVar("K")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


# Flags of code objects, as in inspect, whose import costs 8 ms.
CO_GENERATOR = 0x20
CO_COROUTINE = 0x80
CO_ITERABLE_COROUTINE = 0x100
CO_ASYNC_GENERATOR = 0x200


class CachedFunction(Protocol[P, R_co]):
    """A decorated function: call it as before, and manage its entries.

    On a method the management functions take the instance first: ``Report.total.invalidate(report)``.
    """

    __name__: str
    __qualname__: str
    cache: Cache

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The function that was decorated."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the stored result of this call, else compute and store it."""
        ...

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> CachedFunction[P, R_co]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[Any, Q], R], instance: object, owner: type | None = None, /
    ) -> Callable[Q, R]: ...

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, maxsize and currsize as functools does, and more as attributes."""
        ...

    def cache_clear(self) -> None:
        """Remove all entries of this function, and start its statistics at zero."""
        ...

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the function was decorated with; ``maxsize`` and ``typed`` as in functools."""
        ...

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the canonical key of a call: the same in every process."""
        ...

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the stored result of a call, ``MISSING`` if there is none; computes and counts nothing."""
        ...

    def is_cached(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Return whether the result of a call is stored."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the result of a call; return whether there was one.

        After it returns, no call that starts later returns a result computed from what was read before.
        """
        ...

    def invalidate_where(self, /, **arguments: Any) -> int:
        """Remove the results of all calls with these arguments, whatever the others; return how many.

        After it returns, no call that starts later returns a result computed from what was read before.
        """
        ...

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute a call now, store and return the result, whatever is stored."""
        ...

    def put(self, value: Any, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Store ``value`` as the result of a call; return whether it was stored."""
        ...

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Say why this engine is in use and, given the arguments of a call, what is stored for it."""
        ...


class AsyncManaged(Protocol[P]):
    """What manages the entries of a decorated function that is used from event loops."""

    __name__: str
    __qualname__: str
    cache: AsyncCache

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, maxsize and currsize as functools does, and more as attributes.

        Not awaited, for parity; ``currsize`` is -1 where the engine can be asked only by awaiting.
        """
        ...

    def cache_clear(self) -> Awaitable[None]:
        """Remove all entries of this function, and start its statistics at zero."""
        ...

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the function was decorated with; ``maxsize`` and ``typed`` as in functools."""
        ...

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the canonical key of a call: the same in every process."""
        ...

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[Any]:
        """Return the stored result of a call, ``MISSING`` if there is none; computes and counts nothing."""
        ...

    def is_cached(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[bool]:
        """Return whether the result of a call is stored."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[bool]:
        """Remove the result of a call, as :meth:`CachedFunction.invalidate` does."""
        ...

    def invalidate_where(self, /, **arguments: Any) -> Awaitable[int]:
        """Remove the results of all calls with these arguments, whatever the others; return how many."""
        ...

    def put(self, value: Any, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[bool]:
        """Store ``value`` as the result of a call; return whether it was stored."""
        ...

    def explain(self, *args: Any, **kwargs: Any) -> Awaitable[Explanation]:
        """Say why this engine is in use and, given the arguments of a call, what is stored for it."""
        ...


class AsyncCachedFunction(AsyncManaged[P], Protocol[P, R_co]):
    """A decorated coroutine function; what touches the store is awaited."""

    @property
    def __wrapped__(self) -> Callable[P, Coroutine[Any, Any, R_co]]:
        """The coroutine function that was decorated."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Return the stored result of this call, else compute and store it."""
        ...

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> AsyncCachedFunction[P, R_co]: ...
    @overload
    def __get__(
        self: AsyncCachedFunction[Concatenate[Any, Q], R], instance: object, owner: type | None = None, /
    ) -> Callable[Q, Coroutine[Any, Any, R]]: ...

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Compute a call now, store and return the result, whatever is stored."""
        ...


class AsyncCachedStream(AsyncManaged[P], Protocol[P, R_co]):
    """A decorated asynchronous generator function; what touches the store is awaited."""

    @property
    def __wrapped__(self) -> Callable[P, AsyncIterator[R_co]]:
        """The asynchronous generator function that was decorated."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R_co, None]:
        """Return the items of this call: stored, shared with who is producing them, or produced."""
        ...

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> AsyncCachedStream[P, R_co]: ...
    @overload
    def __get__(
        self: AsyncCachedStream[Concatenate[Any, Q], R], instance: object, owner: type | None = None, /
    ) -> Callable[Q, AsyncGenerator[R, None]]: ...

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R_co, None]:
        """Return the items of a new run, whatever is stored."""
        ...


class Decorator(Protocol):
    """What ``cached(...)`` returns."""

    @overload
    def __call__(  # type: ignore[overload-overlap] # a coroutine function is a callable as well: the first wins
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncCachedFunction[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap] # as above
        self, func: Callable[P, AsyncIterator[R]], /
    ) -> AsyncCachedStream[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, R], /) -> CachedFunction[P, R]: ...


class ManyDecorator(Protocol):
    """What ``cached.many(...)`` returns."""

    @overload
    def __call__(
        self, func: Callable[P, Coroutine[Any, Any, Mapping[K, R]]], /
    ) -> AsyncCachedFunction[P, dict[K, R]]: ...
    @overload
    def __call__(
        self, func: Callable[P, Coroutine[Any, Any, Sequence[R]]], /
    ) -> AsyncCachedFunction[P, dict[Any, R]]: ...
    @overload
    def __call__(self, func: Callable[P, Mapping[K, R]], /) -> CachedFunction[P, dict[K, R]]: ...
    @overload
    def __call__(self, func: Callable[P, Sequence[R]], /) -> CachedFunction[P, dict[Any, R]]: ...


class Cached:
    """Remember the results of a function.

    Calls that bind to equal arguments share an entry, however they are written. Concurrent calls for
    one entry share one computation. Exceptions are not remembered and pass through untouched.

    Args:
        func: the function, when used bare.
        engine: name of the engine; default: the selector picks the cheapest that meets the needs.
        persist: entries survive the process.
        scope: who sees them: "process", "host" (all processes) or "network".
        ttl: how long a result lives: seconds, ``timedelta``, "10m", or a callable of the result that
            returns one of these; ``None``: for ever; 0 or less: not stored.
        maxsize: largest number of entries; ``None``: no bound; 0: store nothing.
        max_bytes: bound on their bytes, as a number or "512MB".
        policy: eviction policy, for instance "lru"; default: the engine's.
        typed: whether arguments of different types are different even if equal.
        key: a callable of the arguments, or a template such as "{user.id}", that makes the key.
        self_key: for methods on engines that outlive the instance: a callable that identifies it.
        ignore: names of parameters that are not part of the key.
        version: a text that changes every key when it changes; "auto": a fingerprint of the code of
            the function and of its helpers in the same package.
        tags: names under which results can be invalidated together: templates of the arguments such as
            "user:{user_id}", and callables of the result that return tags.
        name: namespace of the entries; default: module and qualified name.
        serializer: name of the only serializer to use.
        key_maker: what decides which calls share an entry: the name of an installed key maker, or a
            :class:`~cachewright.keymaker.KeyMaker` with settings of its own.
        compress: True to compress results by the codec that pays most, where one does; a name for that
            codec. For engines of bytes.
        encrypt: whether entries are encrypted; default: the setting ``encrypt``. For engines of bytes.
        copy: "value" to hand out a copy of stored objects on every hit.
        single_flight: whether concurrent calls share one computation.
        cache_if: a result is stored only if this callable says so.
        cache_errors: exceptions that are remembered and raised again: classes, with the ttl of results, or
            a mapping of classes to their own ttl.
        jitter: share of the ttl by which it is shortened at random, so that entries made together do
            not expire together.
        freshness: what happens around the end of the ttl; see :class:`Freshness`.
        on_engine_error: "compute": a failing engine is a miss; "raise": its error is raised; "stale": what
            was last seen of it is served.
        url: address of the server; implies ``scope="network"``.
        path: directory of the store; implies ``persist``.
        settings: settings to use instead of those in force.
        cache: an open cache to share; then the engine and its bounds are that cache's.
        options: settings that only the engine understands.

    Raises:
        ConfigurationError: an argument makes no sense; raised here, not at the first call.
    """

    def __init__(self, keys: str | None = None) -> None:
        self._keys = keys

    def __repr__(self) -> str:
        return "cached" if self._keys is None else f"cached.many({self._keys!r})"

    def many(self, keys: str, /, **options: Unpack[Options]) -> ManyDecorator:
        """Remember the results of a function that answers for many keys at once.

        ::

            @cached.many("user_ids", ttl="10m")
            def users(user_ids: list[int]) -> dict[int, User]: ...

        Every key has an entry of its own, as if the function had been called with that key alone. One
        look-up finds those that are stored, one call computes the others, one write stores them; batches
        that overlap share work. The function gets a list, and returns a mapping, in which keys that have no
        value are left out, or a list of as many values.

        Args:
            keys: name of the parameter that holds the keys.
            **options: as for ``cached``.

        Returns:
            A decorator; the decorated function returns a dict in the order of the keys asked for.
        """
        return cast("ManyDecorator", Cached(keys)(**options))

    @overload
    def __call__(  # type: ignore[overload-overlap] # as above
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncCachedFunction[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap] # as above
        self, func: Callable[P, AsyncIterator[R]], /
    ) -> AsyncCachedStream[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @overload
    def __call__(self, /, **options: Unpack[Options]) -> Decorator: ...
    def __call__(
        self,
        func: Any = None,
        /,
        *,
        engine: str | None = None,
        persist: bool = False,
        scope: Scope = "process",
        ttl: Any = None,
        maxsize: int | None = DEFAULT_MAXSIZE,
        max_bytes: int | str | None = None,
        policy: str | None = None,
        typed: bool = False,
        key: Callable[..., Any] | str | None = None,
        self_key: Callable[[Any], Any] | None = None,
        ignore: tuple[str, ...] | list[str] | str = (),
        version: str | None = None,
        tags: Tags = (),
        name: str | None = None,
        serializer: str | None = None,
        key_maker: str | KeyMaker = DEFAULT_KEY_MAKER,
        compress: bool | str | None = None,
        encrypt: bool | str | None = None,
        copy: Literal["value"] | None = None,
        single_flight: bool = True,
        cache_if: Callable[[Any], object] | None = None,
        cache_errors: Errors = (),
        jitter: float = 0.0,
        freshness: Freshness | None = None,
        on_engine_error: Literal["compute", "raise", "stale"] = "compute",
        url: str | None = None,
        path: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        cache: Cache | AsyncCache | None = None,
        options: Mapping[str, object] | None = None,
    ) -> Any:
        """Decorate ``func``, or return a decorator; see :class:`Cached`."""
        if isinstance(ignore, str):
            ignore = (ignore,)
        engine_arguments: dict[str, Any] = {
            "engine": engine,
            "persist": persist,
            "scope": scope,
            "maxsize": maxsize,
            "max_bytes": max_bytes,
            "policy": policy,
            "serializer": serializer,
            "key_maker": key_maker,
            "compress": compress,
            "encrypt": encrypt,
            "copy": copy,
            "on_engine_error": on_engine_error,
            "url": url,
            "path": path,
            "settings": settings,
            "options": options,
        }

        def decorate(fn: Any) -> Any:
            if isinstance(fn, (staticmethod, classmethod)):
                method = cast("staticmethod[..., Any] | classmethod[Any, ..., Any]", fn)
                return type(method)(decorate(method.__func__))
            target = _Target(fn, ignore=tuple(ignore), key=key, self_key=self_key)
            if typed and key is not None:
                raise ConfigurationError("typed", typed, "False beside key=, which makes the whole key")
            if cache is not None:
                _refuse_beside_cache(engine_arguments, cache, awaits=target.awaits)
            errors = _cache_errors(cache_errors, ttl)
            spec = Spec(
                namespace=target.name if name is None else name,
                ttl=_ttl(ttl, freshness),
                jitter=jitter,
                definition=target.definition if name is None else None,
                aged=bool(errors) or freshness is not None or bool(target.injected),
                **engine_arguments,
            )
            call_tags, result_tags = _split_tags(tags, target)
            target.check_instance_key(spec, shared=cache is not None)
            if not spec.private_to_process and engine is None and cache is None:
                require_stable_name(spec.namespace, "a persistent or shared store")
            shape = shape_of(
                target.signature.__code__,
                target.keyed,
                typed=typed,
                bound=target.bound,
                self_keyed=self_key is not None,
                custom=target.key is not None,
                awaits=target.awaits,
                streams=target.streams,
                mode=_likely_mode(spec, shared=cache is not None),
            )
            loader = Loader(
                fn,
                target.name,
                target.names,
                single=shape.single,
                typed=typed,
                bound=target.bound,
                ttl=spec.ttl,
                jitter=spec.jitter,
                cache_if=cache_if,
                single_flight=single_flight,
                scope=spec.namespace if cache is not None else "",
                version=_version(version, target),
                freshness=freshness,
                tags=call_tags,
                result_tags=result_tags,
                cache_errors=errors,
                injects=bool(target.injected),
            )
            names = {"_key": target.key, "_self_key": self_key}
            kind: Any = AsyncMemo if target.awaits else Memo
            if target.streams or self._keys is not None:
                kind = _kind(target, self._keys)
            values = getattr(fn, "__annotations__", {}).get("return", object)
            memo = kind(target.signature, shape, loader, spec, names, cache, values)
            if self._keys is not None:
                memo.over(self._keys)
            return _published(memo, fn)

        return decorate if func is None else decorate(func)


cached: Final = Cached()


_METHODS = (
    "cache_info",
    "cache_clear",
    "cache_parameters",
    "cache_key",
    "peek",
    "is_cached",
    "invalidate",
    "invalidate_where",
    "refresh",
    "put",
    "explain",
)


def _kind(target: _Target, many: str | None) -> Any:
    """Return the memo for a kind of function that returns other than one result per call."""
    if many is None:
        from cachewright import _generators  # noqa: PLC0415 - for generators only

        return _generators.AsyncStreamMemo if target.awaits else _generators.StreamMemo
    if target.streams:
        expected = "no generator function: it is to return all values at once"
        raise ConfigurationError("func", target.fn, expected)
    from cachewright import _many  # noqa: PLC0415 - for batches only

    return _many.AsyncManyMemo if target.awaits else _many.ManyMemo


def _ttl(ttl: Any, freshness: Freshness | None) -> Any:
    """Return the ttl, given directly or in a freshness, which means nothing without one."""
    if freshness is None:
        return ttl
    from cachewright.freshness import Freshness  # noqa: PLC0415 - the caller has imported it already

    if not isinstance(cast("object", freshness), Freshness):
        raise ConfigurationError("freshness", freshness, "a Freshness(...), or None")
    if ttl is not None and freshness.ttl is not None:
        raise ConfigurationError("ttl", ttl, "one ttl: this one, or that of freshness=")
    if ttl is None:
        ttl = freshness.ttl
    if ttl is None and (freshness.kept or freshness.refresh_at is not None or freshness.early is not None):
        raise ConfigurationError(
            "freshness", freshness, "a ttl= beside it: its windows lie around the end of one"
        )
    return ttl


def _cache_errors(given: Any, ttl: Any) -> CacheErrors:
    if given == ():
        return ()
    from cachewright._negative import cache_errors  # noqa: PLC0415 - for who remembers exceptions

    errors = cache_errors(given)
    if callable(ttl) and any(own is SAME_TTL for _, own in errors):
        expected = "a mapping of exception classes to ttl beside ttl=callable, which is asked about results"
        raise ConfigurationError("cache_errors", given, expected)
    return errors


def _split_tags(
    tags: Any, target: _Target
) -> tuple[Callable[..., tuple[str, ...]] | None, tuple[Callable[[Any], Any], ...]]:
    """Return what makes the tags of a call, and what makes those of a result."""
    if not tags:
        return None, ()
    several: tuple[Any, ...] = (tags,) if isinstance(tags, str) or callable(tags) else tuple(tags)
    templates = tuple(tag for tag in several if isinstance(tag, str))
    of_result = tuple(tag for tag in several if callable(tag))
    if len(templates) + len(of_result) != len(several):
        raise ConfigurationError(
            "tags", tags, "templates such as 'user:{user_id}', and callables of the result"
        )
    if not templates:
        return None, of_result
    from cachewright._template import compile_tags  # noqa: PLC0415 - for templates only

    return compile_tags(templates, target.signature), of_result


def _published(memo: Any, fn: Any) -> Any:
    """Return the wrapper, dressed as ``fn`` and with the public methods on it."""
    function = memo.function
    assigned = WRAPPER_ASSIGNMENTS if isinstance(fn, FunctionType) else ("__doc__",)
    update_wrapper(function, fn, assigned=assigned, updated=("__dict__",) if hasattr(fn, "__dict__") else ())
    for method in _METHODS:
        setattr(function, method, getattr(memo, method))
    function.cache = Unopened(memo)
    return function


class _Target:
    """The function to decorate: its name, what binds its arguments, and what goes into the key."""

    def __init__(
        self,
        fn: Any,
        *,
        ignore: tuple[str, ...],
        key: Callable[..., Any] | str | None,
        self_key: Callable[[Any], Any] | None,
    ) -> None:
        if not callable(fn):
            raise ConfigurationError("func", fn, "a function; other arguments of cached() go by name")
        if isinstance(fn, type):
            raise ConfigurationError(
                "func", fn, "a function; decorate a function that makes the object instead"
            )
        self.fn = fn
        self.definition = fn if isinstance(fn, FunctionType) else None
        self.signature = self.definition if self.definition is not None else _stand_in(fn)
        self.name = f"{self.signature.__module__}.{self.signature.__qualname__}"
        flags = self.signature.__code__.co_flags
        if flags & CO_ITERABLE_COROUTINE:
            raise ConfigurationError("func", fn, "a coroutine function made with async def")
        self.awaits = bool(flags & (CO_COROUTINE | CO_ASYNC_GENERATOR))
        self.streams = bool(flags & (CO_GENERATOR | CO_ASYNC_GENERATOR))
        self.parameters = parameters(self.signature.__code__)
        self.injected = self._injected()
        ignore = (*ignore, *self.injected)
        self.key = key if key is None else self._key_function(key)
        self.self_key = self_key
        self.is_method = self._is_method()
        self.bound = self.is_method and key is None and self_key is None and self.parameters[0] not in ignore
        self.keyed = self._keyed(ignore)
        self.names = ("key",) if self.key is not None else self._named()

    def _injected(self) -> tuple[str, ...]:
        """Return the parameters that are given the load context of a call."""
        positional = self.signature.__defaults__ or ()
        by_name = self.signature.__kwdefaults__ or {}
        found = [name for name, value in by_name.items() if value is INJECTED] if by_name else []
        if any(value is INJECTED for value in positional):
            first = self.signature.__code__.co_argcount - len(positional)
            found += [self.parameters[first + at] for at, value in enumerate(positional) if value is INJECTED]
        return tuple(found)

    def _is_method(self) -> bool:
        owner = self.signature.__qualname__.rpartition(".")[0]
        positional = self.signature.__code__.co_argcount
        in_class_body = bool(owner) and not owner.endswith("<locals>")
        named_so = positional > 0 and self.parameters[0] == "self"
        return self.definition is not None and in_class_body and named_so

    def _named(self) -> tuple[str, ...]:
        """Return the names of the parts of a key."""
        instance = ("self",) if self.self_key is not None else ()
        return (*instance, *(self._starred(index) for index in self.keyed))

    def _keyed(self, ignore: tuple[str, ...]) -> tuple[int, ...]:
        for name in ignore:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise ConfigurationError("ignore", name, f"a parameter of {self.name}; it has: {known}")
        if self.key is not None:
            if set(ignore).difference(self.injected):
                raise ConfigurationError("ignore", ignore, "nothing beside key=, which makes the whole key")
            return (0,)
        if self.self_key is not None and not self.signature.__code__.co_argcount:
            raise ConfigurationError("self_key", self.self_key, f"None: {self.name} takes no instance")
        first = 1 if self.bound or self.self_key is not None else 0
        return tuple(
            index for index, name in enumerate(self.parameters) if index >= first and name not in ignore
        )

    def _starred(self, index: int) -> str:
        """Return the name of a parameter as a signature shows it."""
        code = self.signature.__code__
        beyond = index - code.co_argcount - code.co_kwonlyargcount
        if beyond < 0:
            return self.parameters[index]
        has_varargs = bool(code.co_flags & CO_VARARGS)
        return ("*" if has_varargs and beyond == 0 else "**") + self.parameters[index]

    def check_instance_key(self, spec: Spec, *, shared: bool) -> None:
        """Refuse a method whose entries would outlive its instance without saying which it is."""
        if self.bound and (shared or not spec.private_to_process):
            raise ConfigurationError(
                "self_key",
                None,
                f"a callable that identifies the instance, such as self_key=lambda self: self.id: {self.name}"
                " is a method, and its entries outlive the instance (or pass key=, or ignore=('self',))",
            )

    def _key_function(self, key: Callable[..., Any] | str) -> Callable[..., Any]:
        if isinstance(key, str):
            from cachewright._template import compile_template  # noqa: PLC0415 - for templates only

            return compile_template(key, self.signature)
        if not callable(key):
            raise ConfigurationError("key", key, "a callable of the arguments, or a template")
        return key


def _stand_in(fn: Any) -> FunctionType:
    """Return a function with the signature of a callable that is none, such as a partial."""
    from cachewright._template import stand_in  # noqa: PLC0415 - imports inspect's signatures

    return stand_in(fn)


def _version(version: object, target: _Target) -> str | Callable[[], str]:
    if version is None:
        return ""
    if not isinstance(version, str) or not version:
        raise ConfigurationError("version", version, 'a text that is not empty, "auto", or None')
    if version != "auto":
        return version
    from cachewright._fingerprint import fingerprint  # noqa: PLC0415 - for version="auto" only

    if target.definition is None:
        raise ConfigurationError(
            "version", version, f"an explicit text: {target.name} has no code to fingerprint"
        )
    # Asked for at the first call: helpers may be defined further down in the module.
    return partial(fingerprint, target.definition)


def _likely_mode(spec: Spec, *, shared: bool) -> Literal["value", "entry", "call"]:
    """Guess the hit path before the engine is known; opening the cache corrects it."""
    if shared or spec.copy is not None or not spec.private_to_process:
        return "call"
    return "value" if spec.ttl is None and not spec.aged else "entry"


_DEFAULTS: dict[str, Any] = {
    "scope": "process",
    "key_maker": DEFAULT_KEY_MAKER,
    "on_engine_error": "compute",
    "persist": False,
}


def _refuse_beside_cache(arguments: dict[str, Any], cache: object, *, awaits: bool) -> None:
    for name, value in arguments.items():
        if value is not DEFAULT_MAXSIZE and value != _DEFAULTS.get(name):
            raise ConfigurationError(name, value, "nothing beside cache=, whose engine and bounds are used")
    from cachewright.aio import AsyncCache  # noqa: PLC0415 - the caller has imported it already
    from cachewright.cache import Cache  # noqa: PLC0415 - as above

    if not isinstance(cache, AsyncCache if awaits else Cache):
        expected = "open_async_cache()" if awaits else "open_cache()"
        raise ConfigurationError("cache", cache, f"what {expected} returns")

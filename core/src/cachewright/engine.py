"""An engine is where entries live; this is the whole contract that its author has to meet.

An engine stores what it is given under a key and gives it back. It does not serialize, does not
decide about freshness, takes part in no single-flight and counts no hits: the core does all of that
once, for every engine. Engines come in two kinds, told apart by ``Capabilities.holds``:

``objects``
    The engine keeps references to Python objects inside the process. Keys are any hashable value.
``bytes``
    The engine keeps opaque bytes. Keys are lower-case hexadecimal ``str`` digests. It never
    interprets, and above all never unpickles, what it stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from cachewright.entry import MISSING, SYSTEM_CLOCK, Clock
from cachewright.errors import UnsupportedByEngineError
from cachewright.target import load_target

if TYPE_CHECKING:
    from pathlib import Path

Scope: TypeAlias = Literal["process", "host", "network"]
"""Who can see an entry: this process, every process of this host, every host on the network."""

Blob: TypeAlias = "bytes | bytearray | memoryview"
"""One contiguous run of bytes, as an engine that holds bytes returns it."""

Chunks: TypeAlias = "Sequence[Blob]"
"""What an engine that holds bytes is asked to store: the concatenation of these buffers.

Handed over unjoined so that an engine can write large buffers without copying them.
"""

Swap: TypeAlias = "tuple[Any, Any, Any, float | None, int]"
"""Key, expected, value, ttl and size of one :meth:`Engine.compare_and_set` among many."""

SCOPES: tuple[Scope, ...] = ("process", "host", "network")


class MappedBlob:
    """A blob that views a memory-mapped, never overwritten file.

    ``identity`` changes whenever the bytes could have (device, inode, size, modification and change
    time). The core verifies the large buffers of one identity once per process, not on every read.
    """

    __slots__ = ("identity", "view")

    def __init__(self, view: memoryview, identity: Hashable) -> None:
        self.view = view
        self.identity = identity


class Reader(Protocol):
    """The fastest read that an object engine has; generated hit paths subscript it directly."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return what was stored under ``key``; raise ``KeyError`` on a miss."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do, as data: the selector filters by it and the kit skips by it.

    Attributes:
        holds: ``"objects"`` or ``"bytes"``.
        scope: who can see an entry.
        persistent: entries survive the process.
        sync: there is an :class:`Engine`.
        async_: there is an :class:`AsyncEngine`.
        blocking: an operation may wait for a disk or a network, so an event loop must not run it.
        ttl_per_entry: ``set(ttl=...)`` is honoured by the engine itself; the core enforces every
            ttl in any case, so this is about space, not about correctness.
        ttl_resolution: smallest step of that ttl, in seconds.
        max_entries: ``EngineConfig.maxsize`` is honoured.
        max_bytes: ``EngineConfig.max_bytes`` is honoured.
        policies: eviction policies that can be asked for by name; the first is the default.
        compare_and_set: ``compare_and_set`` is implemented and atomic within ``scope``.
        many: the ``*_many`` methods beat a loop.
        scan: ``keys`` lists what is stored.
        fork_safe: usable in a child after ``fork`` without more ado.
        free_threaded: tested without the global interpreter lock.
        maps: large values come back as :class:`MappedBlob`, so that they are read and verified once.
        max_value_size: largest value in bytes; ``None`` for no limit.
    """

    holds: Literal["objects", "bytes"]
    scope: Scope = "process"
    persistent: bool = False
    sync: bool = True
    async_: bool = False
    blocking: bool = False
    ttl_per_entry: bool = False
    ttl_resolution: float = 0.0
    max_entries: bool = False
    max_bytes: bool = False
    policies: tuple[str, ...] = ()
    compare_and_set: bool = False
    many: bool = False
    scan: bool = True
    fork_safe: bool = True
    free_threaded: bool = False
    maps: bool = False
    max_value_size: int | None = None


@dataclass(frozen=True, slots=True)
class Costs:
    """Typical seconds per operation, as (bytes, seconds) knots in ascending order of bytes.

    Between knots the cost is interpolated on log-log axes, beyond the last it grows in proportion to
    the size. An engine that holds objects does not care about size: one knot is enough.
    """

    get: tuple[tuple[int, float], ...]
    set: tuple[tuple[int, float], ...]
    miss: float = 0.0
    open: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Everything an engine is opened with.

    Attributes:
        namespace: entries of different namespaces never meet, and ``clear`` empties only this one.
        maxsize: largest number of entries; ``None`` for no bound. Given only to engines that
            declare ``max_entries``.
        max_bytes: bound on the sum of the sizes passed to ``set``; only with ``max_bytes`` declared.
        policy: eviction policy, one of those declared; ``None`` for the engine's default.
        path: directory for engines that keep files; made by the engine where absent.
        url: address for engines that talk to a server.
        clock: the clocks to use; tests replace it.
        timeout: seconds after which an operation on a server is given up.
        options: settings that only this engine understands; unknown ones are an error.
    """

    namespace: str = "default"
    maxsize: int | None = None
    max_bytes: int | None = None
    policy: str | None = None
    path: Path | None = None
    url: str | None = None
    clock: Clock = SYSTEM_CLOCK
    timeout: float = 1.0
    options: Mapping[str, object] = field(default_factory=dict[str, object])


class _Engine:
    """What the two colours share: the record and how to tell whether a store is private."""

    name: ClassVar[str]
    """The engine's name, as in its :class:`EngineInfo`; used in messages."""

    @property
    def private(self) -> bool:
        """Whether only the current user can have written what is stored.

        True allows serializers whose payloads could execute code, under a key of the user's own.
        """
        return False

    def _unsupported(self, ability: str) -> UnsupportedByEngineError:
        return UnsupportedByEngineError(self.name, ability)


class Engine(_Engine, ABC):
    """A synchronous engine: six methods to write, others to override where they can be better.

    Safe to be called from several threads at once. Failures of the backend library or server are
    raised as :class:`~cachewright.errors.EngineError`, with the original as the cause.
    """

    @abstractmethod
    def __init__(self, config: EngineConfig) -> None:
        """Open the store. Must not wait for a server: the first operation does."""

    @abstractmethod
    def get(self, key: Any, /) -> Any:
        """Return what is stored under ``key``, or ``MISSING``.

        Engines of objects return the identical object; engines of bytes return a :data:`Blob` or a
        :class:`MappedBlob`.
        """

    @abstractmethod
    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store ``value`` (an object, or :data:`Chunks`), replacing entry and ttl; atomic.

        Args:
            key: as described in the module docstring.
            value: the object, or the chunks whose concatenation is to be stored.
            ttl: seconds after which the engine may drop the entry; ``None`` for never.
                Always greater than 0.
            size: bytes that the entry counts towards ``max_bytes``.

        Returns:
            False if the entry was not stored because it is larger than the engine's bounds allow;
            then nothing else was evicted, and an older entry under the key is gone.
        """

    @abstractmethod
    def delete(self, key: Any, /) -> bool:
        """Remove the entry; return whether there was one."""

    @abstractmethod
    def clear(self) -> None:
        """Remove every entry of this namespace and not one of any other."""

    @abstractmethod
    def keys(self) -> Iterator[Any]:
        """Iterate over a snapshot of the stored keys; writing meanwhile is allowed."""

    def close(self) -> None:
        """Release what the engine holds; calling it twice is allowed. Stored entries stay."""

    def reader(self) -> Reader | None:
        """Return the fastest read, or ``None``; only for engines of objects.

        Subscripting it may count as a use for the eviction policy, and may raise ``KeyError`` for an
        entry that :meth:`get` would find: a caller then asks ``get``.
        """
        return None

    def count(self) -> int:
        """Return the number of entries stored in this namespace."""
        return sum(1 for _ in self.keys())

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces that have entries in the store, this one and others."""
        raise self._unsupported("namespaces")

    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        """Store ``value`` only if ``expected`` is what is stored now; atomic within the scope.

        ``expected`` is what :meth:`get` returned (objects compare by identity, blobs by content),
        ``MISSING`` for no entry. ``value`` may be ``MISSING`` to delete. A swap for the same bytes takes
        place as well: it gives the entry the new ttl.
        """
        raise self._unsupported("compare_and_set")

    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        """Do :meth:`compare_and_set` for every swap, in this order, each atomic by itself.

        Returns:
            Which of them took place. Of two for one key with the same ``expected``, the first does.
        """
        return [
            self.compare_and_set(key, expected, value, ttl=ttl, size=size)
            for key, expected, value, ttl, size in swaps
        ]

    def get_many(self, keys: Iterable[Any], /) -> dict[Any, Any]:
        """Return the entries found, keyed as asked; absent keys are left out."""
        found: dict[Any, Any] = {}
        for key in keys:
            value = self.get(key)
            if value is not MISSING:
                found[key] = value
        return found

    def set_many(self, entries: Iterable[tuple[Any, Any, float | None, int]], /) -> int:
        """Store ``(key, value, ttl, size)`` tuples; return how many were stored."""
        return sum(self.set(key, value, ttl=ttl, size=size) for key, value, ttl, size in entries)

    def delete_many(self, keys: Iterable[Any], /) -> int:
        """Remove the entries; return how many there were."""
        return sum(self.delete(key) for key in keys)


class AsyncEngine(_Engine, ABC):
    """An asynchronous engine: the same contract as :class:`Engine`, awaited.

    One instance belongs to one running event loop; the core opens one per loop. An engine of objects whose
    record does not say ``blocking`` never waits for anything: it is opened once, for all loops and threads.
    """

    @abstractmethod
    def __init__(self, config: EngineConfig) -> None:
        """Open the store. Must not wait for a server: the first operation does."""

    @abstractmethod
    async def get(self, key: Any, /) -> Any:
        """Return what is stored under ``key``, or ``MISSING``; see :meth:`Engine.get`."""

    @abstractmethod
    async def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store ``value``; see :meth:`Engine.set`."""

    @abstractmethod
    async def delete(self, key: Any, /) -> bool:
        """Remove the entry; return whether there was one."""

    @abstractmethod
    async def clear(self) -> None:
        """Remove every entry of this namespace and not one of any other."""

    @abstractmethod
    def keys(self) -> AsyncIterator[Any]:
        """Iterate over the stored keys; writing meanwhile is allowed."""

    async def close(self) -> None:
        """Release what the engine holds; calling it twice is allowed. Stored entries stay."""

    def reader(self) -> Reader | None:
        """Return the fastest read, or ``None``, as :meth:`Engine.reader` does; only if nothing ever waits."""
        return None

    def size_now(self) -> int:
        """Return the number of entries without awaiting, -1 if that takes asking somebody."""
        return -1

    async def count(self) -> int:
        """Return the number of entries stored in this namespace."""
        return len([None async for _ in self.keys()])

    async def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        """Store ``value`` only if ``expected`` is stored now; see :meth:`Engine.compare_and_set`."""
        raise self._unsupported("compare_and_set")

    async def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        """Do :meth:`compare_and_set` for every swap; see :meth:`Engine.compare_and_set_many`."""
        return [
            await self.compare_and_set(key, expected, value, ttl=ttl, size=size)
            for key, expected, value, ttl, size in swaps
        ]

    async def get_many(self, keys: Iterable[Any], /) -> dict[Any, Any]:
        """Return the entries found, keyed as asked; absent keys are left out."""
        found: dict[Any, Any] = {}
        for key in keys:
            value = await self.get(key)
            if value is not MISSING:
                found[key] = value
        return found

    async def set_many(self, entries: Iterable[tuple[Any, Any, float | None, int]], /) -> int:
        """Store ``(key, value, ttl, size)`` tuples; return how many were stored."""
        stored = 0
        for key, value, ttl, size in entries:
            stored += await self.set(key, value, ttl=ttl, size=size)
        return stored

    async def delete_many(self, keys: Iterable[Any], /) -> int:
        """Remove the entries; return how many there were."""
        return sum([await self.delete(key) for key in keys])


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """The record by which a plugin announces an engine, without importing its backend library.

    Attributes:
        name: what users write in ``engine=``; also the name of the plugin.
        target: ``"package.module:Class"`` of the :class:`Engine`; empty if there is none.
        async_target: the same for the :class:`AsyncEngine`.
        capabilities: what it can do.
        costs: typical costs, used until this machine has been measured.
        requires: distributions that have to be installed, for instance ``("redis",)``.
        install: what to install when they are not; default: the plugin's own distribution.
        summary: one line for tables.
        url: where its documentation is.
        distribution: the distribution that brought the record; filled in by the registry.
        automatic: whether the selector may pick it without being asked by name.
    """

    name: str
    target: str = ""
    async_target: str = ""
    capabilities: Capabilities
    costs: Costs
    requires: tuple[str, ...] = ()
    install: str = ""
    summary: str = ""
    url: str = ""
    distribution: str = ""
    automatic: bool = True

    def load(self) -> type[Engine]:
        """Import and return the engine class.

        Raises:
            PluginLoadError: it cannot be imported or is not an :class:`Engine`; says what to install.
        """
        return load_target(self.target, Engine, plugin=self.name, install=self.install or self.distribution)

    def load_async(self) -> type[AsyncEngine]:
        """Import and return the asynchronous engine class; see :meth:`load`."""
        return load_target(
            self.async_target, AsyncEngine, plugin=self.name, install=self.install or self.distribution
        )

    def from_distribution(self, distribution: str) -> EngineInfo:
        """Return this record with the distribution filled in."""
        return replace(self, distribution=distribution)

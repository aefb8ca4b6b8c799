"""Reference engines: the smallest that keep every promise, for authors to read and for the kit to pass."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cachewright.directory import open_store_directory
from cachewright.engine import AsyncEngine, Capabilities, Costs, Engine, EngineConfig, EngineInfo
from cachewright.entry import MISSING, NEVER
from cachewright.errors import ConfigurationError

HEAD = struct.Struct("d")
"""What comes before the value in a file: the deadline."""

FLAT_COSTS = Costs(get=((64, 1e-6),), set=((64, 1e-6),))

DICT = EngineInfo(
    name="reference-dict",
    target="cachewright.testing.reference:DictEngine",
    async_target="cachewright.testing.reference:AsyncDictEngine",
    capabilities=Capabilities(
        holds="objects",
        async_=True,
        ttl_per_entry=True,
        max_entries=True,
        max_bytes=True,
        policies=("fifo", "lru"),
        compare_and_set=True,
        fork_safe=False,
    ),
    costs=FLAT_COSTS,
    summary="objects in a dict",
    automatic=False,
)

FOLDER = EngineInfo(
    name="reference-folder",
    target="cachewright.testing.reference:FolderEngine",
    capabilities=Capabilities(
        holds="bytes",
        scope="host",
        persistent=True,
        blocking=True,
        ttl_per_entry=True,
        ttl_resolution=1e-6,
        compare_and_set=True,
    ),
    costs=FLAT_COSTS,
    summary="a file per entry",
    automatic=False,
)


class DictEngine(Engine):
    """Objects in a dict behind a lock, with deadlines, bounds and two eviction policies."""

    name = "reference-dict"

    def __init__(self, config: EngineConfig) -> None:
        refuse_options(config)
        if config.policy not in {None, "fifo", "lru"}:
            raise ConfigurationError("policy", config.policy, "one of fifo, lru")
        self.config = config
        self.entries: dict[Any, tuple[Any, float, int]] = {}
        self.values: dict[Any, Any] = {}
        self.lock = threading.RLock()

    def get(self, key: Any, /) -> Any:
        with self.lock:
            if not self.alive(key):
                return MISSING
            if self.config.policy == "lru":
                self.entries[key] = self.entries.pop(key)
            return self.values[key]

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        with self.lock:
            self.drop(key)
            if not self.fits(size):
                return False
            deadline = NEVER if ttl is None else self.config.clock.monotonic() + ttl
            while self.entries and self.full(size):
                self.drop(next(iter(self.entries)))
            self.entries[key] = (value, deadline, size)
            self.values[key] = value
            return True

    def delete(self, key: Any, /) -> bool:
        with self.lock:
            existed = self.alive(key)
            self.drop(key)
            return existed

    def clear(self) -> None:
        with self.lock:
            self.entries.clear()
            self.values.clear()

    def keys(self) -> Iterator[Any]:
        with self.lock:
            return iter([key for key in list(self.entries) if self.alive(key)])

    def close(self) -> None:
        self.clear()

    def reader(self) -> dict[Any, Any]:
        return self.values

    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        with self.lock:
            if self.get(key) is not expected:
                return False
            if value is MISSING:
                self.drop(key)
                return True
            return self.set(key, value, ttl=ttl, size=size)

    def alive(self, key: Any) -> bool:
        """Tell whether there is an entry that has not expired; drops one that has."""
        entry = self.entries.get(key)
        if entry is not None and entry[1] <= self.config.clock.monotonic():
            self.drop(key)
            return False
        return entry is not None

    def drop(self, key: Any) -> None:
        """Forget an entry, if there is one."""
        self.entries.pop(key, None)
        self.values.pop(key, None)

    def fits(self, size: int) -> bool:
        """Tell whether an entry of this size could be stored at all."""
        return self.config.maxsize != 0 and (self.config.max_bytes is None or size <= self.config.max_bytes)

    def full(self, size: int) -> bool:
        """Tell whether something has to go before an entry of this size can come."""
        config = self.config
        if config.maxsize is not None and len(self.entries) >= config.maxsize:
            return True
        used = sum(entry[2] for entry in self.entries.values())
        return config.max_bytes is not None and used + size > config.max_bytes


class AsyncDictEngine(AsyncEngine):
    """The same, awaited; gives the loop a turn before every operation."""

    name = "reference-dict"

    def __init__(self, config: EngineConfig) -> None:
        self.inner = DictEngine(config)

    async def get(self, key: Any, /) -> Any:
        await asyncio.sleep(0)
        return self.inner.get(key)

    async def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        await asyncio.sleep(0)
        return self.inner.set(key, value, ttl=ttl, size=size)

    async def delete(self, key: Any, /) -> bool:
        await asyncio.sleep(0)
        return self.inner.delete(key)

    async def clear(self) -> None:
        await asyncio.sleep(0)
        self.inner.clear()

    async def keys(self) -> AsyncIterator[Any]:
        for key in self.inner.keys():
            yield key

    async def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        await asyncio.sleep(0)
        return self.inner.compare_and_set(key, expected, value, ttl=ttl, size=size)


class FolderEngine(Engine):
    """A file per entry under a folder per namespace, replaced atomically, locked for comparing."""

    name = "reference-folder"

    def __init__(self, config: EngineConfig) -> None:
        refuse_options(config)
        if config.policy is not None:
            raise ConfigurationError("policy", config.policy, "no policy, for this engine has no bounds")
        if config.path is None:
            raise ConfigurationError("path", None, "a directory")
        self.clock = config.clock
        self.directory = open_store_directory(config.path, engine=self.name)
        self.store = Path(self.directory.path)
        self.folder = self.store / self.folder_name(config.namespace)
        self.folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def private(self) -> bool:
        return self.directory.private

    def folder_name(self, namespace: str) -> str:
        """Return a folder name that no other namespace has."""
        return hashlib.sha256(namespace.encode("utf-8", "surrogatepass")).hexdigest()

    def get(self, key: Any, /) -> Any:
        try:
            stored = (self.folder / key).read_bytes()
        except FileNotFoundError:
            return MISSING
        if len(stored) < HEAD.size:  # cut off
            return MISSING
        (deadline,) = HEAD.unpack_from(stored)
        return MISSING if deadline <= self.clock.wall() else stored[HEAD.size :]

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        del size  # without bounds a size does not matter
        deadline = NEVER if ttl is None else self.clock.wall() + ttl
        with self.locked():
            self.write(self.folder / key, HEAD.pack(deadline), value)
        return True

    def write(self, target: Path, head: bytes, chunks: Any) -> None:
        """Replace a file at once; one left half-written by a crash has a name that is no key."""
        with NamedTemporaryFile(dir=self.folder, prefix="tmp-", delete=False) as file:
            file.write(head)
            file.writelines(chunks)
        Path(file.name).replace(target)

    def delete(self, key: Any, /) -> bool:
        with self.locked():
            existed = self.get(key) is not MISSING
            (self.folder / key).unlink(missing_ok=True)
            return existed

    def clear(self) -> None:
        with self.locked():
            for path in list(self.folder.iterdir()):
                path.unlink(missing_ok=True)

    def keys(self) -> Iterator[Any]:
        names = [path.name for path in self.folder.iterdir() if not path.name.startswith("tmp-")]
        return iter([name for name in names if self.get(name) is not MISSING])

    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        del size  # without bounds a size does not matter
        deadline = NEVER if ttl is None else self.clock.wall() + ttl
        with self.locked():
            if self.get(key) != expected:
                return False
            if value is MISSING:
                (self.folder / key).unlink(missing_ok=True)
            else:
                self.write(self.folder / key, HEAD.pack(deadline), value)
            return True

    @contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Keep every other thread and process from writing to the store."""
        with os.fdopen(os.open(self.store / "lock", os.O_RDWR | os.O_CREAT, 0o600), "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # closing would not do: a child forked meanwhile holds the same open file, and its lock
                fcntl.flock(file, fcntl.LOCK_UN)


def refuse_options(config: EngineConfig) -> None:
    """Raise ConfigurationError if there is any option, for the reference engines have none."""
    for option in config.options:
        raise ConfigurationError(f"options[{option!r}]", config.options[option], "no options")

"""The dbm engine keeps bytes in small databases of the standard library, which processes of a host share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from cachewright.directory import disk_failure, open_store_directory
from cachewright.engine import Chunks, Engine, EngineConfig
from cachewright.entry import MISSING, NEVER
from cachewright.errors import ClosedError, ConfigurationError

from cachewright_dbm.record import Record
from cachewright_dbm.shard import Shard


class DbmEngine(Engine):
    """Bytes in up to 256 dbm databases per namespace, each replaced as a whole by every write.

    A reader sees a database from before a write or from after it, and so does whoever opens the store
    after a crash. Every operation takes a lock of the operating system on the database.
    """

    name: ClassVar[str] = "dbm"

    def __init__(self, config: EngineConfig) -> None:
        for option, value in config.options.items():
            raise ConfigurationError(f"options[{option!r}]", value, "no options, for there are none")
        if config.policy is not None:
            raise ConfigurationError("policy", config.policy, "no policy, for there are no bounds")
        if config.path is None:
            raise ConfigurationError("path", None, "a directory")
        self._directory = open_store_directory(config.path, engine=self.name)
        namespace = config.namespace.encode("utf-8", "surrogatepass")
        self._folder = Path(self._directory.path) / hashlib.sha256(namespace).hexdigest()
        self._clock = config.clock
        self._closed = False

    @property
    def private(self) -> bool:
        """Whether only the current user can have written what is stored."""
        return self._directory.private

    def get(self, key: str, /) -> Any:
        """Return the stored bytes, or ``MISSING``."""
        with self._locked("get", self._shard(key)) as shard:
            return self._found(shard, key)

    def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the chunks one after another."""
        with self._locked("set", self._shard(key), alone=True) as shard:
            self._put(shard, key, value, ttl)
            return True

    def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one."""
        with self._locked("delete", self._shard(key), alone=True) as shard:
            existed = self._found(shard, key) is not MISSING
            shard.replace(key, None)
            return existed

    def clear(self) -> None:
        """Remove every entry of this namespace."""
        for each in self._shards():
            with self._locked("clear", each, alone=True) as shard:
                shard.clear()

    def keys(self) -> Iterator[str]:
        """Iterate over a snapshot of the stored keys."""
        now = self._clock.wall()
        found: list[str] = []
        for each in self._shards():
            with self._locked("list keys", each) as shard:
                stored = shard.entries()
            found += [key for key in stored if Record.of(stored[key]).is_alive(now)]
        return iter(found)

    def compare_and_set(
        self, key: str, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        """Store or delete only if ``expected`` is stored now; every other process waits meanwhile."""
        with self._locked("swap", self._shard(key), alone=True) as shard:
            if self._found(shard, key) != expected:
                return False
            if value is MISSING:
                shard.replace(key, None)
            else:
                self._put(shard, key, value, ttl)
            return True

    def close(self) -> None:
        """Let nobody use this engine any more; what is stored stays."""
        self._closed = True

    def _put(self, shard: Shard, key: str, value: Chunks, ttl: float | None) -> None:
        expires = NEVER if ttl is None else self._clock.wall() + ttl
        shard.replace(key, Record(expires, b"".join(value)).packed())

    def _found(self, shard: Shard, key: str) -> Any:
        record = Record.of(shard.get(key))
        return record.blob if record.is_alive(self._clock.wall()) else MISSING

    def _shard(self, key: str) -> Shard:
        return Shard(self._folder / hashlib.sha256(key.encode()).hexdigest()[:2])

    def _shards(self) -> list[Shard]:
        self._check_open()
        return [Shard(folder) for folder in self._folder.iterdir()] if self._folder.is_dir() else []

    @contextmanager
    def _locked(self, operation: str, shard: Shard, *, alone: bool = False) -> Iterator[Shard]:
        """Lock a shard, and raise what the operating system reports as an error of this engine."""
        self._check_open()
        try:
            with shard.locked(alone=alone):
                yield shard
        except OSError as error:
            raise disk_failure(self.name, operation, error) from error

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"engine {self.name!r}")

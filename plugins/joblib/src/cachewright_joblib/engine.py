"""The joblib engine keeps every entry in a file of its own, in the layout of a joblib store."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

from cachewright.directory import disk_failure, open_store_directory
from cachewright.engine import Engine
from cachewright.errors import CachewrightError, ClosedError, ConfigurationError
from cachewright_joblib.folder import KEY, Folder

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from cachewright.engine import Chunks, EngineConfig, MappedBlob
    from cachewright.entry import MissingType

_TRUST: Final = "trust_directory"


class JoblibEngine(Engine):
    """Entries as files that are written once and replaced as a whole.

    A process that is killed leaves the old entry or the new one. Reads of a large value return a view on
    its file, which stays valid after the entry is gone. With a bound, every store lists the namespace and
    removes what joblib takes for least recently used: by the access times of the file system, which
    most keep to the day. joblib never pickles or unpickles anything here.

    Option: ``trust_directory``, to accept a directory and files that belong to other users.
    """

    name: ClassVar[str] = "joblib"

    def __init__(self, config: EngineConfig) -> None:
        _check(config)
        path, trusted = config.path, bool(config.options.get(_TRUST, False))
        if path is None:
            raise ConfigurationError("path", None, "the directory in which the joblib engine keeps its files")

        def opened() -> None:
            open_store_directory(path, engine=self.name, trusted=trusted)

        self._directory = open_store_directory(path, engine=self.name, trusted=trusted)
        self._namespace = config.namespace
        self._maxsize = config.maxsize
        self._max_bytes = config.max_bytes
        self._folder: Folder | None = Folder(self._directory, config.namespace, opened)
        self._folder.sweep()
        self._process = os.getpid()
        self._bounding = threading.Lock()

    @property
    def private(self) -> bool:
        """Whether only the current user can have written what is stored."""
        return self._directory.private

    def get(self, key: str, /) -> MappedBlob | bytes | MissingType:
        """Return the stored bytes, mapped if they are many, or ``MISSING``."""
        folder = self._opened(key)
        try:
            return folder.maps.read(folder.path(key))
        except OSError as error:
            raise disk_failure(self.name, "get", error) from error

    def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; see :meth:`Engine.set`."""
        folder = self._opened(key)
        maxsize, max_bytes = self._maxsize, self._max_bytes
        with _failures(self.name, "set"):
            if maxsize is None and max_bytes is None:
                folder.write(key, value)
                return True
            if (maxsize is not None and maxsize < 1) or (max_bytes is not None and size > max_bytes):
                folder.remove(key)
                return False
            with self._one_at_a_time():
                folder.write(key, value)
                folder.limit(items=maxsize, size=max_bytes, fresh=key)
            return True

    def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one."""
        folder = self._opened(key)
        with _failures(self.name, "delete"):
            return folder.remove(key)

    def clear(self) -> None:
        """Remove every entry of this namespace; other files stay."""
        folder = self._opened()
        with _failures(self.name, "clear"):
            folder.clear()

    def keys(self) -> Iterator[str]:
        """Iterate over a snapshot of the keys."""
        folder = self._opened()
        with _failures(self.name, "list keys"):
            return iter(folder.keys())

    def close(self) -> None:
        """Let go of the maps; what was handed out stays valid."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.maps.close()

    def _opened(self, key: str | None = None) -> Folder:
        folder = self._folder
        if folder is None:
            raise ClosedError(f"joblib engine of namespace {self._namespace!r}")
        if key is not None and not KEY.fullmatch(key):
            raise ValueError(f"the joblib engine takes keys of 32 to 200 hexadecimal digits, not {key!r:.80}")
        return folder

    def _one_at_a_time(self) -> threading.Lock:
        """Return the lock of bounded writers; a forked child has none of the threads that may hold it."""
        if self._process != os.getpid():
            self._process, self._bounding = os.getpid(), threading.Lock()
        return self._bounding


@contextmanager
def _failures(engine: str, operation: str) -> Generator[None]:
    """Turn what the operating system reports into the error of the engine."""
    try:
        yield
    except CachewrightError:  # some of them are OSErrors too
        raise
    except OSError as error:
        raise disk_failure(engine, operation, error) from error


def _check(config: EngineConfig) -> None:
    if config.policy is not None:
        raise ConfigurationError("policy", config.policy, "None: joblib goes by the times of last access")
    for name, value in config.options.items():
        if name == "compress":
            expected = "the compress= of the cache: an engine stores the bytes that it is given"
            raise ConfigurationError(f"options[{name!r}]", value, expected)
        if name != _TRUST:
            raise ConfigurationError(f"options[{name!r}]", value, _TRUST)
        if not isinstance(value, bool):
            raise ConfigurationError(f"options[{name!r}]", value, "True or False")

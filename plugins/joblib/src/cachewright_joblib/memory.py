"""A memory backend lets ``joblib.Memory`` keep its results on any engine of cachewright.

::

    from cachewright_joblib.memory import register
    from joblib import Memory

    register()
    memory = Memory("cache", backend="cachewright", backend_options={"engine": "sqlite", "ttl": "7d"})

Results are sealed by the core like those of every cache: what was not written under the same key is a miss,
and is not unpickled.
"""

# ruff: noqa: PTH118, PTH119
# joblib names places in text.

from __future__ import annotations

import copy
import errno
import io
import os
import sys
import time
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

import joblib._store_backends
import joblib.logger
import joblib.memory

from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError, UnserializableError, UnsupportedByEngineError
from cachewright_joblib.opening import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cachewright import Cache

__all__ = ["MemoryBackend", "register"]

_library: Any = joblib._store_backends  # joblib has no types  # noqa: SLF001 - nor another place for these
_logger: Any = joblib.logger
_memory: Any = joblib.memory

_ATOMS: Final = (int, float, complex, bool, str, bytes, type(None))
_NO_FILES: Final = "results are entries of a cache, and no files"


def register(name: str = "cachewright") -> None:
    """Make ``joblib.Memory(..., backend=name)`` keep results in a cache; doing it twice changes nothing.

    ``backend_options`` are what ``cachewright.open_cache`` takes, and besides:

    ``namespace``
        for stores that several locations share; default: the location.
    ``input_args``
        False to keep the arguments' ``repr`` out of the metadata.

    Without ``path`` or ``url``, an engine that keeps files keeps them in the location.
    """
    _memory.register_store_backend(name, MemoryBackend)


class MemoryBackend(_library.StoreBackendBase, _library.StoreBackendMixin):  # type: ignore[misc]  # as above
    """A store backend of joblib over a cache; pickles as its options, and opens the cache where it arrives.

    A function's source, each result and its metadata are entries of their own. Backends with one location and
    the same options share one open cache.
    """

    def configure(
        self, location: str, verbose: int = 1, backend_options: Mapping[str, Any] | None = None
    ) -> None:
        """Open the cache.

        Raises:
            ConfigurationError: an option is unknown or cannot be kept.
        """
        options = dict(backend_options or {})
        self._arguments = (location, verbose, dict(options))
        self.location = location
        self.verbose = verbose
        self.compress = False
        self.mmap_mode = options.pop("mmap_mode", None)
        compress = options.pop("compress", False)
        if compress:  # the core knows methods by name, and chooses their levels
            options["compress"] = _method(compress)
        self._input_args = options.pop("input_args", True)
        if self.mmap_mode not in (None, "r", "c"):
            raise ConfigurationError(
                "mmap_mode", self.mmap_mode, "None, 'r' or 'c', for a stored result is never changed in place"
            )
        self._store = opened(location, options)

    def __reduce__(self) -> tuple[Any, ...]:
        return configured, self._arguments

    @property
    def cache(self) -> Cache:
        """The open cache."""
        return self._store.cache

    def contains_item(self, call_id: Sequence[str]) -> bool:
        """Whether there is a result that can be used."""
        return ("output", *call_id) in self.cache

    def load_item(
        self,
        call_id: Sequence[str],
        verbose: int = 1,
        timestamp: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the result; the caller's own, but with ``mmap_mode="r"``, where arrays are read-only views.

        Raises:
            KeyError: there is none.
        """
        if verbose > 1:
            self._announce(call_id, verbose, timestamp, metadata or {})
        value = self.cache.get(("output", *call_id), MISSING)
        if value is MISSING:
            where = os.path.join(self.location, *call_id)
            raise KeyError(f"there is no result at {where}; it may have been cleared")
        return value if self.mmap_mode == "r" else _owned(value)

    def dump_item(self, call_id: Sequence[str], item: Any, verbose: int = 1) -> None:
        """Store a result; as joblib does, warns with its ``CacheWarning`` if it cannot be stored."""
        if verbose > 10:
            print(f"Persisting in {os.path.join(self.location, *call_id)}")  # noqa: T201 - joblib's verbosity
        reason = f"engine {self.cache.engine!r} did not store it"
        try:
            if self.cache.set(("output", *call_id), item):
                return
        except UnserializableError as error:
            reason = str(error)
        self.clear_item(call_id)  # an older result must not be served in its place
        warnings.warn(
            f"Unable to cache a result of {call_id[0]}: {reason}", _library.CacheWarning, stacklevel=2
        )

    def clear_item(self, call_id: Sequence[str]) -> None:
        """Remove a result and its metadata."""
        self.cache.delete(("output", *call_id))
        self.cache.delete(("metadata", *call_id))

    def get_metadata(self, call_id: Sequence[str]) -> dict[str, Any]:
        """Return the metadata of a result, empty if there is none."""
        found: dict[str, Any] = self.cache.get(("metadata", *call_id), {})
        return found

    def store_metadata(self, call_id: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Store the metadata of a result, without the arguments if the options say so."""
        kept = dict(metadata)
        if not self._input_args:
            kept.pop("input_args", None)
        self.cache.set(("metadata", *call_id), kept)

    def store_cached_func_code(self, call_id: Sequence[str], func_code: str | None = None) -> None:
        """Store the source of a function, by which joblib sees that it has changed."""
        if func_code is not None:
            self.cache.set(("code", call_id[0]), func_code)

    def get_cached_func_code(self, call_id: Sequence[str]) -> str:
        """Return the source of a function as it was when its results were stored.

        Raises:
            FileNotFoundError: there is none; what joblib expects.
        """
        code: str | None = self.cache.get(("code", call_id[0]))
        if code is None:
            raise FileNotFoundError(errno.ENOENT, "no source is stored", call_id[0])
        return code

    def contains_path(self, call_id: Sequence[str]) -> bool:
        """Whether anything is stored for a function."""
        return any(key[1] == call_id[0] for key in self.cache)

    def clear_path(self, call_id: Sequence[str]) -> None:
        """Remove everything that is stored for a function; looks at every entry."""
        for key in list(self.cache):
            if key[1] == call_id[0]:
                self.cache.delete(key)

    def clear(self) -> None:
        """Remove everything that was stored for this location."""
        self.cache.clear()

    def get_items(self) -> list[Any]:
        """Return path, bytes and time of every result; the time is that of storing, not of last access."""
        return [
            _library.CacheItemInfo(
                os.path.join(self.location, *info.key[1:]), info.size, datetime.fromtimestamp(info.created)  # noqa: DTZ006 - as joblib's are
            )
            for info in self._entries()
            if info.key[0] == "output"
        ]  # fmt: skip

    def enforce_store_limits(
        self, bytes_limit: int | str | None, items_limit: int | None = None, age_limit: Any = None
    ) -> None:
        """Remove the oldest results until the limits hold.

        Raises:
            UnsupportedByEngineError: ``bytes_limit``, and the engine keeps objects, which have no size.
        """
        if bytes_limit is not None and any(not item.size for item in self.get_items()):
            ability = "bytes_limit=, for it does not know how large results are"
            raise UnsupportedByEngineError(self.cache.engine, ability)
        _library.StoreBackendMixin.enforce_store_limits(self, bytes_limit, items_limit, age_limit)

    def clear_location(self, location: str) -> None:
        """Remove the result at a path, or everything at the location itself."""
        if location == self.location:
            self.clear()
            return
        function, _, arguments = location[len(self.location) :].lstrip(os.sep).rpartition(os.sep)
        self.clear_item((function, arguments))

    def create_location(self, location: str) -> None:
        """Do nothing: entries need no folders."""

    def _open_item(self, f: str, mode: str) -> NoReturn:
        raise io.UnsupportedOperation(_NO_FILES)

    def _item_exists(self, location: str) -> NoReturn:
        raise io.UnsupportedOperation(_NO_FILES)

    def _move_item(self, src: str, dst: str) -> NoReturn:
        raise io.UnsupportedOperation(_NO_FILES)

    def _entries(self) -> Iterator[Any]:
        return (info for info in self.cache.entries() if info.key is not MISSING)

    def _announce(
        self, call_id: Sequence[str], verbose: int, timestamp: float | None, metadata: Mapping[str, Any]
    ) -> None:
        since = f"{_logger.format_time(time.time() - timestamp): <16}" if timestamp is not None else ""
        call = os.path.basename(call_id[0])
        if "input_args" in metadata:
            arguments = ", ".join(f"{name}={value}" for name, value in metadata["input_args"].items())
            call = f"{call}({arguments})"
        source = "..." if verbose < 10 else f" from {os.path.join(self.location, *call_id)}"
        print(f"[Memory]{since}: Loading {call}{source}")  # noqa: T201 - joblib's verbosity


def configured(location: str, verbose: int, options: Mapping[str, Any]) -> MemoryBackend:
    """Return a backend with these settings; what a pickled one is rebuilt with."""
    backend = MemoryBackend()
    backend.configure(location, verbose, options)
    return backend


def _method(compress: Any) -> str | bool:
    """Return the method out of what ``joblib.Memory`` takes: True, a level, a method, or both of them."""
    method: object = compress if isinstance(compress, (str, int)) else compress[0]
    return method if isinstance(method, str) else True


def _owned(value: Any) -> Any:
    """Return the value as one that the caller may change: stored arrays are read-only views."""
    numpy = sys.modules.get("numpy")
    if numpy is None or isinstance(value, _ATOMS):
        return value
    if type(value) is numpy.ndarray and not value.dtype.hasobject:
        return value if value.flags.writeable else value.copy(order="K")
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - copying runs foreign code; what cannot be copied is still the right value
        return value

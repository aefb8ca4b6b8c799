"""A store is the databases of one directory; this process has one for each directory and set of options."""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zlib import adler32

from cachewright.directory import StoreDirectory, open_store_directory
from cachewright_diskcache.shard import Shard

if TYPE_CHECKING:
    from cachewright_diskcache.options import Options

FORK_PATIENCE: Final = 2.0
"""Seconds that a fork waits for operations under way in other threads."""


class Store:
    """The databases of one directory, as diskcache lays them out: one, or numbered folders with one each.

    Attributes:
        shards: the databases.
        users: engines that use it.
    """

    __slots__ = ("__weakref__", "directory", "shards", "users")

    def __init__(self, engine: str, options: Options, directory: StoreDirectory) -> None:
        root = Path(directory.path)
        paths = [root / f"{number:03}" for number in range(options.shards)] or [root]
        self.directory = directory
        self.shards: tuple[Shard, ...] = tuple(Shard(engine, options, path) for path in paths)
        self.users = 0

    def pick(self, key: bytes) -> Shard:
        """Return the database that a key belongs to."""
        return self.shards[place_of(key, len(self.shards))]


def place_of(key: bytes, shards: int) -> int:
    """Return the number of the database that a key belongs to, by diskcache's own rule."""
    return adler32(key) % shards


class _Stores:
    """The open stores of this process: the one registry that sharing and forks need."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open: weakref.WeakValueDictionary[tuple[str, Options], Store] = weakref.WeakValueDictionary()
        self.held = ExitStack()
        self.locked = False

    def before_fork(self) -> None:
        """Wait, for a bounded time, until no thread uses a store; then close them all."""
        deadline = time.monotonic() + FORK_PATIENCE
        self.locked = self.lock.acquire(timeout=FORK_PATIENCE)
        for store in list(self.open.values()):
            for shard in store.shards:
                if shard.hold(deadline):
                    self.held.callback(shard.let_go)

    def after_fork(self) -> None:
        """Let the threads go on; their stores open again when they are used."""
        self.held.close()
        if self.locked:
            self.lock.release()

    def after_fork_in_child(self) -> None:
        """Start afresh: locks that other threads held would never be released here."""
        self.held = ExitStack()
        self.lock = threading.RLock()
        for store in list(self.open.values()):
            for shard in store.shards:
                connection = shard.start_afresh()
                if connection is not None:  # for ever: closing it could remove files the parent still uses
                    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def open_store(engine: str, options: Options) -> Store:
    """Return the store of a directory, for one more user.

    Raises:
        UntrustedStoreError, ConfigurationError, EngineUnavailableError: see ``open_store_directory``.
    """
    with stores.lock:
        directory = open_store_directory(options.path, engine=engine, trusted=options.trust_directory)
        options = replace(options, path=Path(directory.path), accept_cve=True)
        key = (engine, options)
        store = stores.open.get(key)
        if store is None:
            store = stores.open[key] = Store(engine, options, directory)
        store.users += 1
        return store


def leave_store(store: Store) -> None:
    """End the use that :func:`open_store` began; the last user closes it."""
    with stores.lock:
        store.users -= 1
        if store.users == 0:
            for shard in store.shards:
                shard.close()


stores: Final = _Stores()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=stores.before_fork,
        after_in_parent=stores.after_fork,
        after_in_child=stores.after_fork_in_child,
    )

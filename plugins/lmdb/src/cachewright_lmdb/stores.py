"""The stores that this process has open: one for each directory, whatever its path is called."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cachewright.directory import disk_failure
from cachewright.errors import CachewrightError, ConfigurationError
from cachewright_lmdb.failure import ENGINE
from cachewright_lmdb.place import Place
from cachewright_lmdb.store import Store

if TYPE_CHECKING:
    import lmdb

    from cachewright_lmdb.options import Options

FORK_PATIENCE: Final = 2.0
"""Seconds that a fork waits for operations under way in other threads."""

EXIT_PATIENCE: Final = 0.5
"""Seconds that the end of the interpreter waits for other processes, for each store."""


class _Stores:
    """The open stores of this process: the one registry that sharing and forks need."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open: weakref.WeakValueDictionary[str, Store] = weakref.WeakValueDictionary()
        self.held: list[Store] = []
        self.locked = False
        self.pinned: list[lmdb.Environment] = []

    def before_fork(self) -> None:
        """Wait, for a bounded time, until no thread uses a store; then close them all."""
        deadline = time.monotonic() + FORK_PATIENCE
        self.locked = self.lock.acquire(timeout=FORK_PATIENCE)
        for store in list(self.open.values()):
            if store.hold(deadline):
                self.held.append(store)
                store.suspend()

    def after_fork(self) -> None:
        """Let the threads go on; their stores open again when they are used."""
        held, self.held = self.held, []
        for store in held:
            store.let_go()
        if self.locked:
            self.lock.release()

    def after_fork_in_child(self) -> None:
        """Start afresh: locks that other threads held would never be released here."""
        self.held = []
        self.lock = threading.RLock()
        for store in list(self.open.values()):
            environment = store.start_afresh()
            if environment is not None:
                self.pinned.append(environment)


def open_store(options: Options) -> Store:
    """Return the store of a directory, for one more user.

    Raises:
        UntrustedStoreError, ConfigurationError, EngineUnavailableError: see ``open_store_directory``.
        ConfigurationError: it is open with other settings.
    """
    with stores.lock:
        try:
            place = Place(options)
        except CachewrightError:  # some of them are OSErrors too
            raise
        except OSError as error:
            raise disk_failure(ENGINE, f"open {options.path}", error, opening=True) from error
        real = place.directory.path
        store = stores.open.get(real)
        if store is None:
            store = stores.open[real] = Store(replace(options, path=Path(real)), place)
        for name in ("durable", "trust_directory"):
            if getattr(store.options, name) is not getattr(options, name):
                raise ConfigurationError(
                    f"options[{name!r}]", getattr(options, name),
                    f"{getattr(store.options, name)}, as this process has {options.path} open already",
                )  # fmt: skip
        store.users += 1
        return store


def leave_store(store: Store, timeout: float) -> None:
    """End the use that :func:`open_store` began; the last user closes it."""
    with stores.lock:
        store.users -= 1
        if store.users == 0:
            store.close(timeout)


stores: Final = _Stores()
"""Those of this process."""


def close_stores() -> None:
    """Close what nobody closed, so that the next process need not check the file."""
    for store in list(stores.open.values()):
        store.close(EXIT_PATIENCE)


atexit.register(close_stores)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=stores.before_fork,
        after_in_parent=stores.after_fork,
        after_in_child=stores.after_fork_in_child,
    )

"""The stores that this process has open: one for each directory and set of settings."""

from __future__ import annotations

import sqlite3
import weakref
from typing import TYPE_CHECKING

from cachewright.builtin.sqlite.connection import Link, gate
from cachewright.builtin.sqlite.failure import ENGINE
from cachewright.builtin.sqlite.store import OPENING_SECONDS, Store
from cachewright.builtin.sqlite.sweep import sweep
from cachewright.directory import open_store_directory

if TYPE_CHECKING:
    from pathlib import Path

SWEEP_SECONDS = 0.03

_stores: weakref.WeakValueDictionary[tuple[str, bool, bool], Store] = weakref.WeakValueDictionary()
"""The open stores of this process, by real path and settings."""


def open_store(path: Path, *, trusted: bool, durable: bool) -> Store:
    """Return the store of a directory, opened; the same one for every way to write its path.

    Raises:
        UntrustedStoreError, ConfigurationError, EngineUnavailableError: see
            :func:`~cachewright.directory.open_store_directory`.
    """
    with gate():
        directory = open_store_directory(path, engine=ENGINE, trusted=trusted)
        key = (directory.path, trusted, durable)
        store = _stores.get(key)
        if store is not None:
            return store
        store = Store(directory, durable=durable)
        link = store.link()
        with link.lock:
            store.read(link, "open the store", lambda _connection: None, OPENING_SECONDS)
            _tidy(store, link)
        _stores[key] = store
        return store


def _tidy(store: Store, link: Link) -> None:
    if link.connection is None or link.refusal:
        return
    try:
        sweep(link.connection, store.files, SWEEP_SECONDS)
    except (OSError, sqlite3.Error, UnicodeDecodeError):
        return  # a directory that cannot be tidied now can still be used

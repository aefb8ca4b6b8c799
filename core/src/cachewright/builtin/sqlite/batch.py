"""A batch is the rows of many entries that one transaction stores together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cachewright.builtin.sqlite.connection import Link
    from cachewright.builtin.sqlite.store import Store
    from cachewright.builtin.sqlite.table import Row

T = TypeVar("T")
R = TypeVar("R", bound="Row")

TOGETHER: Final = 128
"""Entries that the ``*_many`` methods and ``clear`` handle in one transaction."""


def in_batches(
    store: Store,
    items: Iterable[T],
    prepare: Callable[[Store, Link, T], R],
    commit: Callable[[Store, Link, list[R]], list[bool]],
) -> list[bool]:
    """Make rows of items and commit them, many per transaction; return what became of each.

    Whatever goes wrong, no file is left of a row that was not committed.

    Args:
        store: where to.
        items: may be made while they are asked for, by code that uses the store itself.
        prepare: returns the row for an item, its value file written.
        commit: stores rows in one transaction and returns what became of each.
    """
    link = store.link()
    done: list[bool] = []
    rows: list[R] = []
    try:
        for item in items:
            with link.lock:
                rows.append(prepare(store, link, item))
                if len(rows) >= TOGETHER:
                    done += commit(store, link, rows)
                    rows = []
        if rows:
            with link.lock:
                done += commit(store, link, rows)
    except BaseException:
        store.files.remove([row.file for row in rows])
        raise
    return done

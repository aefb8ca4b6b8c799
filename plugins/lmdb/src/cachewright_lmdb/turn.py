"""A turn is the right to change a store, which one thread of one process has at a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cachewright.errors import CachewrightError, EngineError, EngineUnavailableError
from cachewright_lmdb.failure import ENGINE, failure
from cachewright_lmdb.place import Place

if TYPE_CHECKING:
    from cachewright_lmdb.options import Options


class Turn:
    """The turns of this process at one store.

    Threads wait for each other here and processes at a file in the directory, both no longer than told.

    Attributes:
        place: the directory; made again at the next turn if the path leads elsewhere.
        inherited: this process was forked while its parent used the store, which is closed to it for that.
    """

    __slots__ = ("_lock", "_options", "_owner", "inherited", "place")

    def __init__(self, options: Options, place: Place) -> None:
        self.place: Place | None = place
        self.inherited = False
        self._options = options
        self._lock = threading.Lock()
        self._owner = 0

    def begin(self, operation: str, deadline: float) -> Place:
        """Wait for a turn, at most to ``deadline`` on the monotonic clock; return the directory.

        Raises:
            EngineError: it did not come, or never will.
        """
        if self._owner == threading.get_ident():
            raise EngineError(ENGINE, operation, "this thread is in the middle of another operation")
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise EngineError(ENGINE, operation, "other threads kept the store locked", hint="raise timeout=")
        self._owner = threading.get_ident()
        try:
            place = self.place = self._placed(operation)
            taken = place.acquire(deadline)
        except BaseException as error:
            self._leave()
            if isinstance(error, OSError) and not isinstance(error, CachewrightError):
                raise failure(operation, error, opening=True) from error
            raise
        if not taken:
            self._leave()
            raise EngineError(
                ENGINE, operation, "other processes kept the store locked", hint="raise timeout="
            )
        return place

    def end(self) -> None:
        """End the turn."""
        if self.place is not None:
            self.place.release()
        self._leave()

    def hold(self, deadline: float) -> bool:
        """Keep every other thread from getting a turn; False if one did not end its own in time."""
        if self._owner == threading.get_ident():
            return False
        return self._lock.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def let_go(self) -> None:
        """End :meth:`hold`."""
        self._lock.release()

    def start_afresh(self, *, inherited: bool) -> None:
        """Begin again in a child process, where locks that other threads held are never released."""
        self._lock = threading.Lock()
        self._owner = 0
        self.place = None  # its files are closed here; the locks on them stay with the parent
        self.inherited = inherited

    def _placed(self, operation: str) -> Place:
        if self.inherited:
            raise EngineUnavailableError(
                ENGINE,
                f"{operation} in a forked process",
                "its parent was in the middle of an operation",
                hint="start worker processes before the cache is used, or with the spawn method",
            )
        place = self.place
        return place if place is not None and place.directory.in_place() else Place(self._options)

    def _leave(self) -> None:
        self._owner = 0
        self._lock.release()

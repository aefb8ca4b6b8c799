"""A link is one thread's connection to an index; no connection is open while the process forks.

SQLite keeps the locks of a file in a table of the process, which a child inherits although it holds
none of them: a connection that the child opens later would then lock nothing. So every link is
closed before a fork and opens again on its next use, in the parent and in the child.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

from cachewright.builtin.sqlite.failure import ENGINE
from cachewright.errors import EngineError, EngineUnavailableError

T = TypeVar("T")

Work: TypeAlias = Callable[[sqlite3.Connection], T]
"""What is done with an open connection."""

Opened: TypeAlias = tuple[sqlite3.Connection, str, tuple[int, int], int]
"""Connection, path of the index, its device and inode, and the error number of writing, 0 if one can."""

FORK_PATIENCE = 2.0
"""Seconds that a fork waits for operations under way in other threads."""

RECHECK_SECONDS = 0.1
"""How long reads go on without looking whether the index was replaced."""


class Link:
    """One thread's connection. Whoever uses it holds ``lock``.

    Attributes:
        lock: held during every operation, and by a fork.
        connection: ``None`` while closed.
        path: of the index.
        identity: device and inode of the index when it was opened.
        refusal: the error number because of which nothing can be written through it, 0 if something can.
        writing: a transaction is under way, perhaps further up this thread's stack.
        recheck: when, on the monotonic clock, a read has to look for a replaced index.
        pid: the process that opened the connection.
    """

    __slots__ = (
        "__weakref__", "connection", "identity", "lock", "path", "pid", "recheck", "refusal", "writing",
    )  # fmt: skip

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connection: sqlite3.Connection | None = None
        self.path = ""
        self.identity = (0, 0)
        self.refusal = 0
        self.writing = False
        self.recheck = 0.0
        self.pid = 0

    def open(self, opener: Callable[[], Opened]) -> None:
        """Connect with what ``opener`` returns."""
        with links.gate:
            self.connection, self.path, self.identity, self.refusal = opener()
            self.pid = os.getpid()
            self.recheck = time.monotonic() + RECHECK_SECONDS
            links.open.add(self)

    def transact(self, operation: str, work: Work[T], writers: threading.Lock, deadline: float) -> T:
        """Return what ``work`` returns after committing what it did; otherwise nothing was done.

        Args:
            operation: for messages.
            work: gets the open connection.
            writers: threads of one process wait for each other here, not on the file's locks.
            deadline: how long they do, on the monotonic clock.

        Raises:
            EngineError: other threads were too slow.
            sqlite3.Error: whatever SQLite says.
        """
        connection = self.connection
        if connection is None:
            raise sqlite3.ProgrammingError("the connection is closed")
        if not writers.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise EngineError(ENGINE, operation, "other threads kept the store locked", hint="raise timeout=")
        self.writing = True
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()
            raise
        finally:
            self.writing = False
            writers.release()
        return result

    @property
    def is_index(self) -> bool:
        """Whether the connection leads to an index, not to what stands in for one."""
        return self.path.endswith(".sqlite3")

    def close(self) -> None:
        """Close the connection; of an inherited one just the reference is dropped."""
        with self.lock, links.gate:
            connection, self.connection = self.connection, None
            links.open.discard(self)
            if connection is None:
                return
            if self.pid == os.getpid():
                connection.close()
            else:
                _pin(connection)

    def end(self) -> None:
        """Close the connection, for the thread has ended.

        In a forked child it never ran. There the lock is left alone: the thread may have held it, if it
        was about to open the connection, and this is called before the locks are made anew.
        """
        if self.pid == os.getpid():
            self.close()
        elif self.connection is not None:
            _pin(self.connection)

    def in_place(self) -> bool:
        """Whether the path still leads to the file that is open; unsure counts as yes.

        What was just committed must not be done again because of a disk that cannot answer.
        """
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        self.recheck = time.monotonic() + RECHECK_SECONDS
        return (status.st_dev, status.st_ino) == self.identity

    def check_process(self) -> None:
        """Refuse to work with a connection that another process opened.

        Raises:
            EngineUnavailableError: this process was forked past the interpreter, or while an
                operation did not end; the store cannot be used safely here.
        """
        if self.pid != os.getpid():
            raise _inherited()


class _Links:
    """The open links of this process: the one registry that forks need."""

    def __init__(self) -> None:
        self.gate = threading.RLock()
        self.forking = threading.RLock()
        self.pending = False
        self.open: set[Link] = set()
        self.held: list[Link] = []
        self.taken: list[threading.RLock] = []

    def before_fork(self) -> None:
        """Wait, for a bounded time, until no thread uses a link; then close them all."""
        deadline = time.monotonic() + FORK_PATIENCE
        self._take(self.forking, deadline)
        self.pending = True
        while True:
            gated = self._take(self.gate, deadline)
            busy = [link for link in self.open.difference(self.held) if not self._hold(link, 0.0)]
            if not busy or time.monotonic() >= deadline:
                break
            if gated:  # a thread that ends its operation may need the gate for that
                self.taken.remove(self.gate)
                self.gate.release()
            self._hold(busy[0], deadline - time.monotonic())
        for link in self.held:
            if not link.writing:
                link.close()

    def after_fork(self) -> None:
        """Let the threads go on; their links open again when they are used."""
        self.pending = False
        held, self.held = self.held, []
        taken, self.taken = self.taken, []
        for link in held:
            link.lock.release()
        for lock in taken:
            lock.release()

    def after_fork_in_child(self) -> None:
        """Start afresh: locks that other threads held would never be released here."""
        self.after_fork()
        self.gate = threading.RLock()
        self.forking = threading.RLock()

    def _take(self, lock: threading.RLock, deadline: float) -> bool:
        taken = lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        if taken:
            self.taken.append(lock)
        return taken

    def _hold(self, link: Link, timeout: float) -> bool:
        held = link.lock.acquire(timeout=max(0.0, timeout))
        if held:
            self.held.append(link)
        return held


def let_fork_pass() -> None:
    """Wait for a fork that is ``pending``: threads that work without a pause would never let it in."""
    forking = links.forking
    if forking.acquire(timeout=FORK_PATIENCE):
        forking.release()


def check_inherited(path: str) -> None:
    """Refuse to open an index that the parent process still had open when it forked.

    Raises:
        EngineUnavailableError: it did.
    """
    here = os.getpid()
    if any(link.pid != here and link.path == path for link in links.open):
        raise _inherited()


def _inherited() -> EngineUnavailableError:
    return EngineUnavailableError(
        ENGINE,
        "use the store in a forked process",
        "its parent was in the middle of an operation",
        hint="start worker processes before the cache is used, or with the spawn method",
    )


def _pin(connection: sqlite3.Connection) -> None:
    """Keep an inherited connection for ever: closing it could remove files the parent still uses."""
    import ctypes  # noqa: PLC0415 - only a child of an unlucky fork needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def gate() -> threading.RLock:
    """Return the lock under which links are opened and closed; no fork happens while it is held."""
    return links.gate


links: Final = _Links()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=links.before_fork,
        after_in_parent=links.after_fork,
        after_in_child=links.after_fork_in_child,
    )

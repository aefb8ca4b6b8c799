"""A space is the folder of one namespace, in which one writer of the host is at work at a time."""

# ruff: noqa: PTH101, PTH102, PTH104, PTH105, PTH108, PTH116, PTH118, PTH208 - only os functions take flags and descriptors

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from cachewright.directory import DIRECTORY_FLAGS, StoreDirectory, open_store_directory
from cachewright.errors import EngineError, StoreQuarantinedWarning, UntrustedStoreError
from cachewright.guard import BUSY, FORKS, IN_ORDER, Guard

if TYPE_CHECKING:
    from collections.abc import Generator

    from cachewright.engine import EngineConfig

STAGE: Final = "stage"
"""Name of the folder in which klepto writes."""

READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is read that anybody may have put there: no link, and no waiting for a pipe's writer."""

_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FIRST_PAUSE: Final = 5e-5
_LONGEST_PAUSE: Final = 2e-3
_COURTESY: Final = 2 * _LONGEST_PAUSE
_HINT_BUSY: Final = "others are writing; try again, or raise timeout="


class Resident(Protocol):
    """What a space knows of the engine that lives in it."""

    name: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]

    def let_go(self) -> None:
        """Close what is open: the process is about to fork, or the folder has been replaced."""

    def abandon(self) -> None:
        """Drop what is open without closing it: this is a child, and a write was under way."""


class Space(Guard):
    """The folder of one namespace: a lock, a stage for what klepto writes, and the entries.

    klepto takes no locks and replaces files in two steps, so it writes on the stage, where only the
    holder of the lock is; what is complete there is moved over the old in one step. What a killed writer
    left on the stage is swept by the next one.

    Attributes:
        path: of the folder.
        stage: path of the folder in which klepto writes.
        directory: the directory of the store.
    """

    __slots__ = (
        "_descriptor", "_engine", "_folder", "_kind", "_name", "_resident", "_timeout", "directory", "path",
        "stage",
    )  # fmt: skip

    def __init__(
        self, path: Path, config: EngineConfig, kind: str, resident: Resident, *, trusted: bool
    ) -> None:
        self._engine = engine = resident.name
        self._kind = kind
        self._name = folder_of(config.namespace)
        self._timeout = config.timeout
        self._resident = resident
        self._descriptor = -1
        self.directory = open_store_directory(path, engine=engine, trusted=trusted)
        self.path = os.path.join(self.directory.path, kind, self._name)
        self.stage = os.path.join(self.path, STAGE)
        self._folder = self._open_folder()
        super().__init__()

    def remove(self, key: object, /) -> None:
        """Do nothing: an interrupted operation is an error here, so no removal is postponed."""

    def empty(self) -> None:
        """Have what is open closed, as before a fork."""
        self._resident.let_go()

    def settle(self) -> None:
        """Have nothing open while the process forks."""
        if self.state != BUSY:
            self.empty()

    def replace(self) -> None:
        """Forget what a thread of the parent, which is no more, was in the middle of."""
        self._resident.abandon()
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def inside(self, operation: str) -> Generator[None]:
        """Keep the other threads of this process out.

        Raises:
            EngineError: they were at work for too long, or this thread is, further up its stack.
        """
        if FORKS.pending:
            FORKS.let_pass()
        lock = self.lock
        if not lock.acquire(timeout=self._timeout):
            raise EngineError(self._engine, operation, "another thread kept the store busy", hint=_HINT_BUSY)
        try:
            if self.state == BUSY:
                raise EngineError(self._engine, operation, "it interrupted an operation of its own thread")
            self.state = BUSY
            try:
                yield
            finally:
                self.state = IN_ORDER
        finally:
            lock.release()

    @contextmanager
    def held(self, operation: str) -> Generator[None]:
        """Keep every other writer of this host out; the lock goes with the process.

        Raises:
            EngineError: others held it for too long.
            OSError: the lock cannot be made.
        """
        with self.inside(operation):
            self._descriptor = self._lock_file()
            try:
                self._take(operation)
                self._sweep()
                yield
            finally:
                descriptor, self._descriptor = self._descriptor, -1
                # said aloud: a process that was forked meanwhile holds the same lock with its copy
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)

    def present(self, source: str, target: str) -> None:
        """Move a file from the stage over ``target``, which is a name in this folder, in one step."""
        staged = os.path.join(self.stage, source)
        os.chmod(staged, 0o600)
        os.replace(staged, os.path.join(self.path, target))

    def quarantine(self, name: str, why: str) -> None:
        """Set aside a file that cannot be read, with a warning."""
        aside = f"{name}.corrupt-{time.time_ns()}"
        with suppress(FileNotFoundError):
            os.rename(os.path.join(self.path, name), os.path.join(self.path, aside))
            warnings.warn(
                f"the store of engine {self._engine!r} in {self.path} cannot be read ({why}); it was renamed"
                f" to {aside}, and a new one was begun",
                StoreQuarantinedWarning,
                stacklevel=2,
            )

    def _open_folder(self) -> StoreDirectory:
        root = self.directory
        kind = _subfolder(root, self._kind)
        folder = _subfolder(kind, self._name)
        for name in self._resident.folders:
            _subfolder(folder, name)
        return folder

    def _lock_file(self) -> int:
        """Open the lock file, in new folders if somebody has removed them."""
        if not self._folder.in_place():
            if not self.directory.in_place():
                self.directory = open_store_directory(
                    Path(self.directory.path), engine=self._engine, trusted=self.directory.trusted
                )
            self._folder = self._open_folder()
            self.empty()
        return os.open("lock", _LOCK_FLAGS, 0o600, dir_fd=self._folder.descriptor)

    def _take(self, operation: str) -> None:
        """Take the host's lock, after those that wait for it already.

        Such locks are not fair: who writes again and again would keep the others out for ever. So who
        waits says so by another lock, and who comes when somebody waits lets them go first.
        """
        queue = os.open("queue", _LOCK_FLAGS, 0o600, dir_fd=self._folder.descriptor)
        try:
            if not _locked(queue, fcntl.LOCK_EX):
                time.sleep(_COURTESY)
            fcntl.flock(queue, fcntl.LOCK_UN)
            if not _locked(self._descriptor, fcntl.LOCK_EX):
                self._wait(operation, queue)
        finally:
            os.close(queue)

    def _wait(self, operation: str, queue: int) -> None:
        deadline = time.monotonic() + self._timeout
        pause = _FIRST_PAUSE
        queued = False
        while not _locked(self._descriptor, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise EngineError(
                    self._engine, operation, "another process kept the store locked", hint=_HINT_BUSY
                )
            queued = queued or _locked(queue, fcntl.LOCK_SH)
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _sweep(self) -> None:
        """Empty the stage, on which a writer was killed, or failed."""
        try:
            names = os.listdir(self.stage)
        except FileNotFoundError:
            os.mkdir(self.stage, 0o700)
            return
        for name in names:
            erase(os.path.join(self.stage, name))


def folder_of(namespace: str) -> str:
    """Return the name of the folder of a namespace, which may hold any character."""
    return hashlib.blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def erase(path: str) -> bool:
    """Remove a file, a link or a whole folder; return whether there was one."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise
        shutil.rmtree(path)
    return True


def is_file(path: str) -> bool:
    """Whether there is a file, and not a link to one."""
    try:
        return stat.S_ISREG(os.stat(path, follow_symlinks=False).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_complete(path: str, size: int) -> bool:
    """Whether klepto, which keeps quiet about a full disk, has written all of a file."""
    try:
        return os.stat(path, follow_symlinks=False).st_size == size
    except FileNotFoundError:
        return False


def _locked(descriptor: int, kind: int) -> bool:
    """Take a lock if that needs no waiting; return whether it was taken."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _subfolder(parent: StoreDirectory, name: str) -> StoreDirectory:
    """Open a folder in the store, made if absent, that is no link and nobody else's."""
    made = True
    try:
        os.mkdir(name, 0o700, dir_fd=parent.descriptor)
    except FileExistsError:
        made = False
    path = os.path.join(parent.path, name)
    try:
        descriptor = os.open(name, DIRECTORY_FLAGS, dir_fd=parent.descriptor)
    except NotADirectoryError as error:
        raise UntrustedStoreError(path, "it is a link or a file, not a folder", hint="remove it") from error
    folder = StoreDirectory(path, descriptor, trusted=parent.trusted)
    if made:
        os.fchmod(descriptor, 0o700)  # a umask may have taken the owner's own bits
    elif not parent.trusted and os.fstat(descriptor).st_uid != os.geteuid():
        raise UntrustedStoreError(path, "it belongs to another user", hint="remove it")
    return folder

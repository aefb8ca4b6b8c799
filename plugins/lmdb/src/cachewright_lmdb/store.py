"""A store is one open file of entries, shared by the engines and threads of this process.

LMDB allows a file to be open once in a process, and not across a fork: hence one store for each file, and
every environment is closed before a fork and opens again on its next use, in the parent and in the child.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import warnings
from typing import TYPE_CHECKING, Final, TypeVar

import lmdb

from cachewright.directory import disk_failure
from cachewright.errors import CachewrightError, EngineError, StoreQuarantinedWarning
from cachewright_lmdb.environment import identity_of, open_environment, quarantine, within
from cachewright_lmdb.failure import ENGINE, failure, is_damage, system_error
from cachewright_lmdb.place import DATA, Place
from cachewright_lmdb.turn import Turn

if TYPE_CHECKING:
    from cachewright_lmdb.environment import Work
    from cachewright_lmdb.options import Options

T = TypeVar("T")

RECHECK_SECONDS: Final = 0.1
"""How long reads go on without looking whether the file was replaced."""

_ATTEMPTS = 40
"""Each repair makes the next attempt differ; as many as doublings of the smallest map."""

_CHECK_READERS_EVERY = 256


class Store:
    """The file of one directory, open or not.

    Attributes:
        options: of whoever opened it first.
        gate: held during every read, and while the environment is opened, resized or closed.
        environment: ``None`` while it is closed.
        recheck: when, on the monotonic clock, a read has to look for a replaced file.
        users: engines that use it.
        turn: held by whoever changes something.
    """

    __slots__ = (
        "__weakref__", "_identity", "_notices", "_suspect", "_writes", "environment", "gate", "options",
        "recheck", "turn", "users",
    )  # fmt: skip

    def __init__(self, options: Options, place: Place) -> None:
        self.options = options
        self.gate = threading.RLock()
        self.environment: lmdb.Environment | None = None
        self.recheck = 0.0
        self.users = 0
        self.turn = Turn(options, place)
        self._identity = (0, 0)
        self._suspect = False
        self._writes = 0
        self._notices: list[str] = []

    @property
    def private(self) -> bool:
        """Whether only this user can have written what is in the directory."""
        return (self.turn.place or Place(self.options)).directory.private

    def read(self, operation: str, work: Work[T], timeout: float) -> T:
        """Return what ``work`` returns, from one snapshot.

        Raises:
            EngineError: it cannot be read.
        """
        deadline = time.monotonic() + timeout
        problem = last = None
        for _ in range(_ATTEMPTS):
            with self.gate:
                environment = self.environment
                if environment is not None and self._in_place():
                    try:
                        return within(environment, work, write=False)
                    except lmdb.Error as error:
                        problem = error
            self.turn.begin(operation, deadline)
            try:
                self._repair(operation, problem)
            finally:
                self._end_turn()
            last, problem = problem, None
        raise _given_up(operation, last)

    def write(self, operation: str, work: Work[T], timeout: float) -> T:
        """Return what ``work`` returns after committing what it did; otherwise nothing was done.

        Raises:
            EngineError: it cannot be written, or others kept the store locked for ``timeout`` seconds.
        """
        problem: lmdb.Error | None = None
        place = self.turn.begin(operation, time.monotonic() + timeout)
        try:
            if place.read_only:
                raise disk_failure(ENGINE, operation, OSError(errno.EROFS, os.strerror(errno.EROFS)))
            for _ in range(_ATTEMPTS):
                self._repair(operation, problem)
                if self.environment is None:
                    continue
                self._writes += 1
                try:
                    if self._writes % _CHECK_READERS_EVERY == 0:
                        self.environment.reader_check()
                    return within(self.environment, work, write=True)
                except lmdb.Error as error:
                    problem = error
        finally:
            self._end_turn()
        raise _given_up(operation, problem)

    def close(self, timeout: float) -> None:
        """Close the environment; if nobody else uses the file, see to it that all of it is on the disk."""
        if self.environment is None:
            return
        try:
            place = self.turn.begin("close", time.monotonic() + timeout)
        except EngineError:  # somebody else is busy with it, and will leave it in order
            self.suspend()
            return
        try:
            self._settle_down(place)
        finally:
            self._end_turn()

    def suspend(self) -> None:
        """Close the environment until it is used again."""
        with self.gate:
            environment, self.environment = self.environment, None
            if environment is not None:
                environment.close()

    def hold(self, deadline: float) -> bool:
        """Keep every other thread from the store; False if one did not end its operation in time."""
        if not self.turn.hold(deadline):
            return False
        if self.gate.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return True
        self.turn.let_go()
        return False

    def let_go(self) -> None:
        """End :meth:`hold`."""
        self.gate.release()
        self.turn.let_go()

    def start_afresh(self) -> lmdb.Environment | None:
        """Take over the store in a child process.

        Returns:
            What is still open, because the parent was using it: to be kept, for closing it would meddle with
            the parent's.
        """
        self.gate = threading.RLock()
        environment, self.environment = self.environment, None
        self.turn.start_afresh(inherited=environment is not None)
        return environment

    def _end_turn(self) -> None:
        self.turn.end()
        while self._notices:
            warnings.warn(self._notices.pop(), StoreQuarantinedWarning, stacklevel=4)

    def _settle_down(self, place: Place) -> None:
        environment = self.environment
        try:
            if environment is not None and place.enter():
                environment.sync(True)  # noqa: FBT003 - the library's own parameter has no name
                self.suspend()
                place.note_closed()
        except (lmdb.Error, OSError):  # then it is checked when it is opened next
            return
        finally:
            self.suspend()
            place.leave()

    def _in_place(self) -> bool:
        """Whether the path still leads to the file that is open; asks the system now and then."""
        now = time.monotonic()
        if now < self.recheck:
            return True
        place = self.turn.place
        if place is None or not place.directory.in_place() or not self._data_in_place(place):
            return False
        self.recheck = now + RECHECK_SECONDS
        if self.environment is not None:
            self.environment.reader_check()  # a process that finds no slot to read in cannot do it itself
        return True

    def _data_in_place(self, place: Place) -> bool:
        try:
            status = os.stat(DATA, dir_fd=place.directory.descriptor, follow_symlinks=False)
        except OSError:
            return False
        return identity_of(status) == self._identity

    def _repair(self, operation: str, problem: lmdb.Error | None) -> None:
        """Do what lets the next attempt succeed after ``problem``, in a turn.

        Raises:
            EngineError: nothing would help.
        """
        place = self.turn.place
        if place is None:
            return
        try:
            with self.gate:
                self._settle(place, problem)
                if self.environment is None or not self._data_in_place(place):
                    self._open(place)
        except CachewrightError:  # some of them are OSErrors too
            raise
        except lmdb.Error as error:
            raise failure(operation, error, opening=self.environment is None) from error
        except OSError as error:
            raise failure(operation, error, opening=True) from error

    def _settle(self, place: Place, problem: lmdb.Error | None) -> None:
        environment = self.environment
        if problem is None or environment is None:
            return
        if isinstance(problem, lmdb.MapFullError):
            self._grow(environment)
        elif isinstance(problem, lmdb.MapResizedError):
            self._follow(environment)
        elif isinstance(problem, lmdb.ReadersFullError):
            if not environment.reader_check():
                raise problem
        elif isinstance(problem, lmdb.PanicError):  # a disk failed in mid-write; the file is as before
            self.suspend()
        elif is_damage(problem):
            self.suspend()
            self._notices += quarantine(place, str(problem))
        elif system_error(problem) is not None or type(problem) is not lmdb.Error:
            raise problem
        # what is left: a snapshot was cut off because another thread resized or closed the environment

    def _grow(self, environment: lmdb.Environment) -> None:
        try:
            environment.set_mapsize(environment.info()["map_size"] * 2)
        except (lmdb.Error, OverflowError) as error:
            self.suspend()  # it cannot be used any more; the next one has the size of the options
            raise lmdb.MapFullError(f"the file cannot be mapped: {error}") from error

    def _follow(self, environment: lmdb.Environment) -> None:
        """Map as much as another process did; if that cannot be, the file is not what it was."""
        try:
            environment.set_mapsize(0)
        except (lmdb.Error, OverflowError):
            self.suspend()
            self._suspect = True

    def _open(self, place: Place) -> None:
        self.suspend()
        known = None if self._suspect else self._identity
        self.environment = open_environment(place, self.options, known=known, notices=self._notices)
        self._suspect = False
        self._identity = identity_of(place.directory.check_file(DATA))
        self.recheck = time.monotonic() + RECHECK_SECONDS


def _given_up(operation: str, problem: lmdb.Error | None) -> EngineError:
    if problem is None:
        return EngineError(ENGINE, operation, "the store was replaced over and over")
    error = failure(operation, problem)
    error.__cause__ = problem
    return error

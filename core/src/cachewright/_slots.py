"""Lock slots give compare-and-set to an engine of one host whose backend library has none.

A slot is a file that is locked while an entry is changed; a key belongs to one of a few dozen slots.
The operating system lets go of the locks of a process that ends, however it does. Everybody who
changes entries of such an engine comes through here, so what is compared is still there when it is
replaced.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from cachewright.engine import Engine, MappedBlob
from cachewright.entry import MISSING
from cachewright.errors import EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from cachewright.engine import Blob, Chunks

COUNT: Final = 64

FIRST_PAUSE: Final = 0.0005
LONGEST_PAUSE: Final = 0.01
"""Seconds between two attempts at a slot that another process holds."""


def available() -> bool:
    """Whether this system has the locks: a Unix does."""
    return find_spec("fcntl") is not None


class Slots:
    """The slots of one store, in a directory that all of its processes name alike.

    Args:
        directory: made (0700) where it is absent.
        timeout: seconds to wait for a slot.
        engine: name of the engine, for messages.
    """

    def __init__(self, directory: Path, timeout: float, engine: str) -> None:
        self._directory = directory
        self._timeout = timeout
        self._engine = engine
        self._process = 0
        self._threads: list[threading.Lock] = []

    @contextmanager
    def hold(self, number: int) -> Generator[None]:
        """Hold a slot against all threads and processes.

        Raises:
            EngineError: somebody else held it for too long, or the files cannot be made.
        """
        import fcntl  # noqa: PLC0415 - see available()

        deadline = time.monotonic() + self._timeout
        lock = self._lock(number)
        if not lock.acquire(timeout=self._timeout):
            raise self._busy()
        try:
            descriptor = self._open(number)
            try:
                pause = FIRST_PAUSE
                while True:
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        if time.monotonic() >= deadline:
                            raise self._busy() from None
                    time.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
                yield
            finally:
                os.close(descriptor)
        finally:
            lock.release()

    def _lock(self, number: int) -> threading.Lock:
        if self._process != os.getpid():  # a forked child has none of the threads that hold them
            self._threads = [threading.Lock() for _ in range(COUNT)]
            self._process = os.getpid()
        return self._threads[number]

    def _open(self, number: int) -> int:
        path = self._directory / f"{number:02x}.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                return os.open(path, flags, 0o600)
            except FileNotFoundError:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                return os.open(path, flags, 0o600)
        except OSError as error:
            raise EngineUnavailableError(self._engine, "lock an entry", str(error)) from error

    def _busy(self) -> EngineError:
        return EngineError(
            self._engine, "lock an entry", "others kept it locked for too long", hint="raise timeout="
        )


class SlottedEngine(Engine):
    """An engine with compare-and-set by slots; everything else is that of the engine inside."""

    def __init__(self, inner: Engine, slots: Slots) -> None:
        self._inner = inner
        self._slots = slots
        self.name = inner.name  # type: ignore[misc] # it is what users asked for, with locks around it

    @property
    def private(self) -> bool:
        return self._inner.private

    def get(self, key: str, /) -> Any:
        return self._inner.get(key)

    def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        with self._slots.hold(_number(key)):
            return self._inner.set(key, value, ttl=ttl, size=size)

    def delete(self, key: str, /) -> bool:
        with self._slots.hold(_number(key)):
            return self._inner.delete(key)

    def clear(self) -> None:
        with ExitStack() as all_slots:
            for number in range(COUNT):
                all_slots.enter_context(self._slots.hold(number))
            self._inner.clear()

    def keys(self) -> Iterator[str]:
        return self._inner.keys()

    def count(self) -> int:
        return self._inner.count()

    def get_many(self, keys: Iterable[str], /) -> dict[str, Any]:
        return self._inner.get_many(keys)

    def compare_and_set(
        self, key: str, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        with self._slots.hold(_number(key)):
            if not _matches(self._inner.get(key), expected):
                return False
            if value is MISSING:
                self._inner.delete(key)
                return True
            return self._inner.set(key, value, ttl=ttl, size=size)

    def close(self) -> None:
        self._inner.close()


def _number(key: str) -> int:
    return crc32(key.encode("utf-8", "surrogatepass")) % COUNT


def _matches(stored: Any, expected: Any) -> bool:
    if stored is MISSING or expected is MISSING:
        return stored is expected
    return _bytes(stored) == _bytes(expected)


def _bytes(blob: Blob | MappedBlob) -> bytes:
    return bytes(blob.view if isinstance(blob, MappedBlob) else blob)

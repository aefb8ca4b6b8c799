"""Threads that come between each other: nothing is half-written, resurrected or over its bound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.errors import ClosedError
from cachewright.testing.engine_contract import EngineContract, EngineOpener, content
from cachewright.testing.start_line import switching_eagerly

THREADS = 8
PATIENCE = 60.0


class ThreadContract(EngineContract):
    """What two threads do at once has happened one after the other."""

    stakes: ClassVar[str] = "under load callers would be given halves of values, or values that were deleted"

    def test_threads_never_see_half_a_value(self, engine: Engine) -> None:
        """While two threads overwrite a large value, others read one of them, whole, or nothing."""
        self.needs_bytes()
        key = self.key(1)
        size = min(200_000, self.info.capabilities.max_value_size or 200_000)
        half = size // 2
        values = [[bytes((number,)) * half, bytes((number,)) * (size - half)] for number in (1, 2)]
        engine.set(key, values[0], size=size)
        whole = {b"".join(value) for value in values}

        def read(_: int) -> bool:
            return all(self._is_one_of(engine.get(key), whole) for _ in range(40))

        writers = [partial(engine.set, key, value, size=size) for value in values]
        with self._busy(writers), ThreadPoolExecutor(3) as pool:
            assert all(pool.map(read, range(3)))

    def test_a_read_brings_nothing_back(self, engine: Engine) -> None:
        """An entry that is deleted while others read it stays deleted."""
        keys = [self.key(number) for number in range(4)]
        readers = [partial(engine.get, key) for key in keys]
        with switching_eagerly(), self._busy(readers):
            for turn in range(80):
                key = keys[turn % 4]
                assert engine.get(key) is MISSING, "a deleted entry is back"
                self.put(engine, key, turn)
                time.sleep(0)  # the readers' turn
                engine.delete(key)
                assert engine.get_many(keys) == {}
        assert engine.get_many(keys) == {}

    def test_clear_ends_what_was_stored_before(self, engine: Engine) -> None:
        """What was stored before clear is gone when it returns, also beside threads that go on writing."""
        known = self.key(99)
        writers = [partial(engine.set, self.key(n), self.value(n, key=self.key(n))) for n in range(3)]
        with self._busy(writers):
            for turn in range(25):
                self.put(engine, known, turn)
                engine.clear()
                for _ in range(5):
                    assert engine.get(known) is MISSING
                    time.sleep(0)  # the writers' turn
        engine.clear()
        assert engine.get_many([self.key(n) for n in range(3)]) == {}

    def test_threads_never_exceed_maxsize(self, open_engine: EngineOpener) -> None:
        """Whenever eight threads have stored at the same moment, there are no more entries than the bound."""
        self.needs("max_entries")
        engine = open_engine(maxsize=5)
        keys = [self.key(number) for number in range(10 * THREADS)]
        together = threading.Barrier(THREADS, timeout=PATIENCE)
        counted: list[int] = []

        def fill(thread: int) -> None:
            try:
                for turn in range(10):
                    key = keys[turn * THREADS + thread]
                    together.wait()
                    engine.set(key, self.value(turn, key=key))
                    if together.wait() == 0:
                        counted.append(len(engine.get_many(keys)))
                    together.wait()
            except BaseException:
                together.abort()  # the others need not wait for this one
                raise

        with switching_eagerly(), ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(fill, range(THREADS)))
        assert max(counted) <= 5
        value = self.put(engine, keys[0], 1)
        assert self.matches(engine.get(keys[0]), value)

    def test_the_last_of_many_writes_stays(self, engine: Engine) -> None:
        """After threads have written one key at once, it holds one of their last values, for everybody."""
        key = self.key(1)
        last: list[Any] = []

        def write(thread: int) -> None:
            values = [self.value(100 * thread + turn, key=key) for turn in range(20)]
            for value in values:
                engine.set(key, value, size=self.size(value))
            last.append(values[-1])

        with switching_eagerly(), ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(write, range(THREADS)))
        held = [value for value in last if self.matches(engine.get(key), value)]
        assert len(held) == 1

    def test_threads_open_one_store_at_once(self, open_engine: EngineOpener) -> None:
        """Eight threads that open a new store at once all get an engine that works."""
        self._clear_first(open_engine)
        together = threading.Barrier(THREADS, timeout=PATIENCE)

        def open_one(thread: int) -> tuple[Engine, Any]:
            together.wait()
            engine = open_engine.keep(self.open(open_engine.config))
            return engine, self.put(engine, self.key(thread), thread)

        with ThreadPoolExecutor(THREADS) as pool:
            opened = list(pool.map(open_one, range(THREADS)))
        for thread, (engine, value) in enumerate(opened):
            assert self.matches(engine.get(self.key(thread)), value)
        if self.info.capabilities.scope != "process":
            found = opened[0][0].get_many([self.key(thread) for thread in range(THREADS)])
            assert len(found) == THREADS

    def test_threads_close_one_engine_at_once(self, open_engine: EngineOpener) -> None:
        """Closing by eight threads at once raises nothing, and every operation afterwards ends."""
        engine = open_engine()
        self.put(engine, self.key(1), 1)
        together = threading.Barrier(THREADS, timeout=PATIENCE)

        def close(_: int) -> None:
            together.wait()
            engine.close()

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(close, range(THREADS)))
        try:
            engine.get(self.key(1))
        except ClosedError:
            return

    def test_iterating_beside_writers_lists_what_stays(self, engine: Engine) -> None:
        """keys() lists every entry that nobody touches, once, while threads add and delete others."""
        self.needs("scan")
        lasting = [self.key(number) for number in range(30)]
        for number, key in enumerate(lasting):
            self.put(engine, key, number)

        def churn(number: int) -> Callable[[], object]:
            def turn() -> None:
                self.put(engine, self.key(number), number)
                engine.delete(self.key(number))

            return turn

        with self._busy([churn(100 + number) for number in range(3)]):
            for _ in range(20):
                listed = list(engine.keys())
                assert len(listed) == len(set(listed))
                assert set(lasting) <= set(listed)
                assert 30 <= engine.count() <= 33

    def _is_one_of(self, stored: object, whole: set[bytes]) -> bool:
        return stored is MISSING or content(stored) in whole

    def _clear_first(self, open_engine: EngineOpener) -> None:
        if self.shared_between_tests:
            open_engine().close()

    @contextmanager
    def _busy(self, jobs: Sequence[Callable[[], object]]) -> Generator[None]:
        """Run the block while a thread for each job repeats it; what a job raises is raised after it."""
        stop = threading.Event()
        failures: list[BaseException] = []

        def repeat(job: Callable[[], object]) -> None:
            try:
                while not stop.is_set():
                    job()
            except BaseException as error:  # noqa: BLE001 - foreign code; handed to the asserting thread
                failures.append(error)

        threads = [threading.Thread(target=repeat, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
        assert failures == []

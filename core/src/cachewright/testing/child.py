"""The other process of a test: forks, writes beside others, or writes until it is killed.

Run as a script, so that it starts without pytest. Reads one pickled job from standard input.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from cachewright.engine import Engine, EngineConfig, EngineInfo

FORKS = 8
WRITERS = 4
CHILD_SECONDS = 10


def fork_beside_writers(engine: Engine, keys: list[Any], values: list[Any]) -> None:
    """Fork while threads write, use the inherited engine in each child, then check the parent's.

    Prints ``ok``, or what went wrong.
    """
    engine.set(keys[0], values[0])
    stop = threading.Event()
    threads = [
        threading.Thread(target=_write, args=(engine, keys[2 + n], values, stop)) for n in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    failures: list[str] = []
    for number in range(FORKS):
        if failure := _forked(engine, keys, values, number):
            failures.append(failure)
            break
    stop.set()
    for thread in threads:
        thread.join(CHILD_SECONDS)
    if not _reads(engine, keys[0], values[0]):
        failures.append("the parent lost an entry")
    engine.set(keys[0], values[1])
    if not _reads(engine, keys[0], values[1]):
        failures.append("the parent cannot store any more")
    sys.stdout.write("; ".join(failures) or "ok")


def write_until_killed(engine: Engine, keys: list[Any], values: list[Any]) -> None:
    """Overwrite one key with all values but the last in turn; dies after as many seconds as that says.

    The timer's signal has no handler, so it ends the process between any two instructions, as SIGKILL
    does; a parent that kills on a sign of progress would come between two writes every time.
    """
    *blobs, seconds = values
    engine.set(keys[0], blobs[0], size=sum(map(len, blobs[0])))
    _die_after(seconds)
    while True:
        for blob in blobs:
            engine.set(keys[0], blob, size=sum(map(len, blob)))


def acknowledge_until_killed(engine: Engine, keys: list[Any], values: list[Any]) -> None:
    """Store a number under each key, with a dot on standard output after each, until the timer's signal."""
    (seconds,) = values
    engine.get(keys[0])
    _die_after(seconds)
    for number, key in enumerate(keys):
        blob = b"%d" % number
        if engine.set(key, [blob], size=len(blob)):
            os.write(1, b".")
    signal.pause()


def empty_until_killed(engine: Engine, keys: list[Any], values: list[Any]) -> None:
    """Store many, delete some and clear, over and over, until the timer's signal."""
    *blobs, seconds = values
    entries = [(key, blob, None, sum(map(len, blob))) for key, blob in zip(keys, blobs, strict=True)]
    engine.set_many(entries)
    _die_after(seconds)
    while True:
        engine.clear()
        engine.set_many(entries)
        engine.delete_many(keys[::3])


def work_beside_others(engine: Engine, keys: list[Any], values: list[Any]) -> None:
    """Set, get and delete keys that others use, too; print ``ok`` if each held nothing but its value."""
    for turn in range(60):
        number = (turn * 5 + os.getpid()) % len(keys)
        blob = values[number]
        engine.set(keys[number], blob, size=sum(map(len, blob)))
        for key, stored in engine.get_many(keys).items():
            if bytes(getattr(stored, "view", stored)) != b"".join(values[keys.index(key)]):
                sys.stdout.write(f"{key} held something else")
                return
        if turn % 7 == 0:
            engine.delete(keys[turn % len(keys)])
    sys.stdout.write("ok")


def count_to_fifty(engine: Engine, keys: list[Any], values: list[Any]) -> None:
    """Add one to a stored number fifty times, by compare_and_set; print ``ok``."""
    from cachewright.entry import MISSING  # noqa: PLC0415 - sys.path was set by the job

    del values  # the numbers are made here
    for _ in range(50):
        while True:
            stored = engine.get(keys[0])
            number = 0 if stored is MISSING else int(bytes(getattr(stored, "view", stored)))
            blob = b"%d" % (number + 1)
            if engine.compare_and_set(keys[0], stored, [blob], size=len(blob)):
                break
    sys.stdout.write("ok")


def fork_and_close(engine: Engine, keys: list[Any], values: list[Any]) -> None:
    """Fork children that close the engine, or collect it and end; print ``ok`` if the parent's works on."""
    engine.set(keys[0], values[0])
    for ending in (engine.close, lambda: None):
        child = os.fork()
        if child == 0:
            signal.alarm(CHILD_SECONDS)
            ending()
            del engine, ending
            os._exit(int(gc.collect() < 0))
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status):
            sys.stdout.write("a child that closed the inherited engine failed or hung")
            return
        engine.set(keys[1], values[1])
        if not (_reads(engine, keys[0], values[0]) and _reads(engine, keys[1], values[1])):
            sys.stdout.write("the parent's engine is spoilt by a child that closed its own")
            return
    sys.stdout.write("ok")


def write_and_end(engine: Engine, keys: list[Any], values: list[Any]) -> None:
    """Store an entry and print ``ok``; the interpreter then ends with the engine open."""
    engine.set(keys[0], values[0])
    sys.stdout.write("ok" if _reads(engine, keys[0], values[0]) else "the entry is not there")
    LEFT_OPEN.append(engine)


def read_and_write(engine: Engine, keys: list[Any], values: list[Any]) -> None:
    """Print ``ok`` if the first key holds the first value, and store the second under the second."""
    if not _reads(engine, keys[0], values[0]):
        sys.stdout.write("the entry of the other process is not seen")
        return
    engine.set(keys[1], values[1])
    sys.stdout.write("ok")


JOBS: dict[str, Callable[[Engine, list[Any], list[Any]], None]] = {
    job.__name__: job
    for job in (
        fork_beside_writers,
        write_until_killed,
        acknowledge_until_killed,
        empty_until_killed,
        work_beside_others,
        count_to_fifty,
        fork_and_close,
        write_and_end,
        read_and_write,
    )
}

LEFT_OPEN: list[Engine] = []
"""Engines that are collected when the interpreter ends, not before."""


def _die_after(seconds: float) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _forked(engine: Engine, keys: list[Any], values: list[Any], number: int) -> str:
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_SECONDS)  # a lock that was held while forking would block for ever
        os._exit(_use(engine, keys, values))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return f"child {number} hung"
    return f"child {number} failed with {code}" if code else ""


def _use(engine: Engine, keys: list[Any], values: list[Any]) -> int:
    try:
        right = _reads(engine, keys[0], values[0])
        engine.set(keys[1], values[1])
        return 0 if right and _reads(engine, keys[1], values[1]) else 3
    except BaseException:  # noqa: BLE001 - foreign code in a forked child, which must not return
        traceback.print_exc()
        return 4


def _write(engine: Engine, key: Any, values: list[Any], stop: threading.Event) -> None:
    while not stop.is_set():
        for value in values:
            engine.set(key, value)
            engine.get(key)


def _reads(engine: Engine, key: Any, value: Any) -> bool:
    stored = engine.get(key)
    if isinstance(value, list):
        return bytes(getattr(stored, "view", stored)) == b"".join(cast("list[bytes]", value))
    return bool(stored == value)


def _opened(info: EngineInfo, config: EngineConfig) -> Engine:
    if info.capabilities.sync:
        return info.load()(config)
    from cachewright.testing.bridge import Blocking  # noqa: PLC0415 - imports pytest, which most jobs do without

    return Blocking(config, info.load_async())


def main() -> None:
    """Do the job on standard input: (sys.path, job, record, configuration, keys, values)."""
    path, rest = pickle.load(sys.stdin.buffer)  # written by the test that started this
    sys.path[:] = path
    job, info, config, keys, values = pickle.loads(rest)
    JOBS[job](_opened(info, config), keys, values)
    sys.stdout.flush()
    if not LEFT_OPEN:
        os._exit(0)


if __name__ == "__main__":
    main()

"""The dill serializer: functions and local classes come back, what lives only here is refused."""

from __future__ import annotations

import functools
import io
import json
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachewright_dill import plugin
from cachewright_dill.serializer import DillSerializer

from cachewright.errors import UnserializableError

UNUSED = b"u" * 100_000
USED = 40


def back(value: object) -> Any:
    return DillSerializer().loads([memoryview(frame) for frame in DillSerializer().dumps(value)])


def adder(number: int) -> Callable[[int], int]:
    return lambda value: value + number


def counter() -> Any:
    class Counter:
        def __init__(self) -> None:
            self.count = 1

        def next(self) -> int:
            return self.count + 1

    return Counter


def answer() -> int:
    return USED + 2


def test_the_record_tells_what_the_serializer_is() -> None:
    """Listing it imports no dill; it is executable, asked last, and loads as a serializer."""
    info, snapshot = plugin.cachewright_serializers()
    assert (snapshot.name, snapshot.code, snapshot.executable) == ("dill-snapshot", 0x83, True)
    assert (info.name, info.code, info.rank, info.executable) == ("dill", 0x81, 90, True)
    assert (info.requires, info.install) == (("dill",), "cachewright-dill")
    assert info.load() is DillSerializer


def test_what_pickle_refuses_comes_back() -> None:
    """Lambdas, closures, local classes, their instances, and partials work as before."""
    assert back(lambda value: value * 2)(4) == 8
    assert back(adder(3))(4) == 7
    assert back(functools.partial(adder(3), 5))() == 8
    assert back(counter())().next() == 2
    assert back(counter()()).next() == 2
    assert back({"f": [adder(1)]})["f"][0](1) == 2


@pytest.mark.parametrize(
    "value", [None, True, 1, 1.0, (1, [2]), {"a": {1}}, pathlib.Path("a"), 2**70, "\ud800"]
)
def test_plain_values_come_back_exactly(value: object) -> None:
    """Asked for by name, it stores plain values like any other serializer."""
    assert back(value) == value
    assert type(back(value)) is type(value)


def test_a_function_carries_only_the_globals_it_uses() -> None:
    """100 KB of unused globals are left behind, the one that is used comes along."""
    program = f"USED = 40\nUNUSED = {UNUSED!r}\ndef f():\n    return USED + 2\n"
    namespace: dict[str, Any] = {"__name__": "somewhere"}
    exec(program, namespace)
    (frame,) = DillSerializer().dumps(namespace["f"])
    assert len(frame) < 2000
    assert back(namespace["f"])() == 42
    assert back(answer)() == 42


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None: ...


async def async_generator() -> Any:
    yield 1


@pytest.fixture
def held(tmp_path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Yield one of everything that must not be stored."""
    (tmp_path / "file").write_text("content")
    waiting = coroutine()
    with (
        open(tmp_path / "file") as text,
        open(tmp_path / "file", "rb") as binary,
        open(tmp_path / "file", "rb", buffering=0) as unbuffered,
        open(tmp_path / "file", "r+b") as random_access,
        socket.socket() as connection,
    ):
        yield {
            "text file": text, "binary file": binary, "unbuffered file": unbuffered,
            "random file": random_access,
            "lock": threading.Lock(), "rlock": threading.RLock(), "condition": threading.Condition(),
            "event": threading.Event(), "semaphore": threading.Semaphore(), "socket": connection,
            "generator": generator(), "coroutine": waiting, "async generator": async_generator(),
            "thread": threading.Thread(target=print),
        }  # fmt: skip
    waiting.close()


def test_what_lives_only_in_this_process_is_refused(held: dict[str, Any]) -> None:
    """Alone, deep in containers, in an attribute or in a closure: a clear error, never a substitute."""
    for name, value in held.items():
        holder = counter()()
        holder.attribute = value
        for wrapped in (
            value,
            {"a": [(value,)]},
            holder,
            functools.partial(print, value),
            lambda value=value: value,
        ):
            with pytest.raises(UnserializableError) as caught:
                DillSerializer().dumps(wrapped)
            assert len(caught.value.reason) > 15, name


@pytest.mark.parametrize("dtype", [">i4", "<U3", "M8[us]", [("a", ">f8"), ("b", "i4", (2,))]], ids=str)
def test_arrays_keep_their_dtype(dtype: Any) -> None:
    """Byte order, units and fields of an array are stored, not just its kind."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    whole = numpy.zeros(6, dtype=dtype)
    for array in (whole, whole[::2], whole[0:1].reshape(())):
        for result in (back(array), back([lambda: 1, array])[1]):
            assert result.dtype == array.dtype
            assert result.shape == array.shape
            assert result.tobytes() == array.tobytes()
    assert back(whole.dtype) == whole.dtype
    assert back(numpy.array([{1}], dtype=object))[0] == {1}


def test_files_in_memory_are_values() -> None:
    """BytesIO and StringIO hold their content themselves, so they are stored."""
    assert back(io.BytesIO(b"content")).getvalue() == b"content"
    assert back([io.StringIO("text")])[0].getvalue() == "text"


def test_what_dill_cannot_store_is_one_kind_of_error() -> None:
    """Whatever goes wrong while storing is an UnserializableError that names the type."""

    class Unwilling:
        def __reduce__(self) -> Any:
            raise RuntimeError("not me")

    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value, reason in ((Unwilling(), "RuntimeError: not me"), (deep, "nested too deeply")):
        with pytest.raises(UnserializableError, match=reason):
            DillSerializer().dumps(value)


def test_damaged_frames_raise() -> None:
    """Other bytes than those stored make an exception, which callers see as a miss."""
    with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a miss
        DillSerializer().loads([memoryview(b"not a pickle")])
    with pytest.raises(ValueError, match="unpack"):
        DillSerializer().loads([])


@pytest.mark.parametrize(
    ("first", "unchanged"),
    [("", True), ("import dill", False)],
    ids=["the plugin alone", "the program uses dill"],
)
def test_the_standard_pickler_stays_as_it_was(first: str, unchanged: bool) -> None:
    """Loading the plugin adds nothing to pickle or copyreg, and takes away nothing the program added."""
    program = (
        "import copyreg, pickle, typing\n"
        "pristine = dict(pickle._Pickler.dispatch)\n"
        f"{first}\n"
        "before, registered = dict(pickle._Pickler.dispatch), dict(copyreg.dispatch_table)\n"
        "import cachewright_dill.plugin, sys\n"
        "plugin_is_light = 'dill' not in sys.modules or bool(sys.argv[1:])\n"
        "from cachewright_dill.serializer import DillSerializer\n"
        "frames = DillSerializer().dumps(lambda: 1)\n"
        "assert before == pickle._Pickler.dispatch and registered == copyreg.dispatch_table\n"
        "print(pristine == pickle._Pickler.dispatch, plugin_is_light)"
    )
    arguments = ["used"] if first else []
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == [str(unchanged), "True"]


def test_golden_payloads_are_read_for_ever():
    """What this format stored on the day it was fixed still comes back."""
    golden = json.loads((Path(__file__).parent / "golden" / "payloads.json").read_text())
    values = {
        name: DillSerializer().loads([memoryview(bytes.fromhex(frame)) for frame in frames])
        for name, frames in golden.items()
    }
    assert values["container"] == {"a": [1, 2.5, None, ("x", b"y")]}
    assert values["partial"]("101") == 5

"""What every description has to stand: bytes that lie, name what they should not, or point nowhere."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from cachewright_arrow.serializer import ArrowSerializer

from cachewright.errors import UnserializableError
from cachewright.testing.payloads import damaged

pa: Any  # it ships no types


class Loud(pa.ExtensionType):
    """An extension type whose reading runs code, as those of CVE-2023-47248 did."""

    ran: list[bytes] = []

    def __init__(self) -> None:
        super().__init__(pa.int64(), "cachewright.test.loud")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"state"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Any:
        cls.ran.append(serialized)
        return cls()


@pytest.fixture
def registered() -> Iterator[None]:
    pa.register_extension_type(Loud())
    yield
    pa.unregister_extension_type("cachewright.test.loud")
    Loud.ran.clear()


@pytest.mark.usefixtures("registered")
def test_extension_types_run_nothing() -> None:
    """Neither storing nor reading calls a registered extension type, whatever a description says."""
    array = pa.ExtensionArray.from_storage(Loud(), pa.array([1]))
    pickled = [["ARROW:extension:name", "cachewright.test.loud"], ["ARROW:extension:metadata", "state"]]
    for value in (
        array,
        pa.table({"a": array}),
        pa.array([[1]], pa.list_(pa.int64())).cast(pa.list_(Loud())),
    ):
        with pytest.raises(UnserializableError, match="only Arrow's own"):
            ArrowSerializer().dumps(value)
    Loud.ran.clear()
    stored = [bytes(frame) for frame in ArrowSerializer().dumps(pa.table({"a": [1]}))]
    header = json.loads(stored[0])
    header[3][0][0][3] = pickled
    for kind in ("cachewright.test.loud", ["extension", "cachewright.test.loud"], "int64"):
        header[3][0][0][1] = kind
        with pytest.raises((KeyError, ValueError)):
            ArrowSerializer().loads([memoryview(json.dumps(header).encode()), memoryview(stored[1])])
    header[3][0][0][3] = None
    header[3][1] = pickled
    with pytest.raises(ValueError, match="extension"):
        ArrowSerializer().loads([memoryview(json.dumps(header).encode()), memoryview(stored[1])])
    assert Loud.ran == []


def hostile() -> dict[str, tuple[bytes, bytes]]:
    """Return descriptions that point out of their memory, or would have a type mean another."""

    def array(kind: Any, contents: Any) -> bytes:
        return json.dumps([1, "pyarrow", "array", [kind, contents]]).encode()

    def frame(*rest: Any) -> bytes:
        empty = [{}, True]
        return json.dumps([1, "pandas", *rest, ["dict"], True][: 3 + len(rest)] + empty[:0]).encode()

    ints = np.array([0, 100, -5, 2**31 - 1], "<i4").tobytes()
    numpy_column = ["numpy", "<i8", [1], "C", [0, 8]]
    return {
        "offsets out of the buffer": (array("string", [3, 0, [None, [0, 16], [0, 4]], []]), ints),
        "negative offsets": (array("string", [1, 1, [None, [0, 16], [0, 16]], []]), ints),
        "too few bytes": (array("int64", [3, 0, [None, [0, 16]], []]), ints),
        "no data": (array("int64", [3, 0, [None, None], []]), ints),
        "negative length": (array("int64", [-1, 0, [None, [0, 16]], []]), ints),
        "huge length": (array("int64", [2**62, 0, [None, [0, 16]], []]), ints),
        "huge offset": (array("int64", [1, 2**60, [None, [0, 16]], []]), ints),
        "no text": (array("string", [1, 0, [None, [0, 8], [8, 1]], []]), b"\0\0\0\0\1\0\0\0\xff"),
        "index out of the dictionary": (
            array(
                ["dictionary", "int8", "int8", False],
                [[1, 0, [None, [1, 1]], []], [1, 0, [None, [0, 1]], []]],
            ),
            b"\5\5",
        ),
        "children of another length": (
            array(["struct", ["a", "int8", True, None]], [100, 0, [None], [[1, 0, [None, [0, 1]], []]]]),
            ints,
        ),
        "missing children": (array(["struct", ["a", "int8", True, None]], [1, 0, [None], []]), ints),
        "list out of its values": (
            array(["list_", ["a", "int8", True, None]], [1, 0, [None, [0, 8]], [[4, 0, [None, [0, 4]], []]]]),
            ints,
        ),
        "unknown type": (array("os.system", [1, 0, [None, [0, 8]], []]), ints),
        "unknown library": (b'[1,"os","system","true"]', b""),
        "blocks do not cover": (
            frame(
                "frame", ["range", 0, 1, 1, None], ["range", 0, 2, 1, None], [[[0], "column", numpy_column]]
            ),
            bytes(8),
        ),
        "blocks overlap": (
            frame(
                "frame",
                ["range", 0, 1, 1, None],
                ["range", 0, 2, 1, None],
                [[[0], "column", numpy_column]] * 2,
            ),
            bytes(8),
        ),
        "block elsewhere": (
            frame(
                "frame", ["range", 0, 1, 1, None], ["range", 0, 1, 1, None], [[[7], "column", numpy_column]]
            ),
            bytes(8),
        ),
        "column of another length": (
            frame(
                "frame", ["range", 0, 9, 1, None], ["range", 0, 1, 1, None], [[[0], "column", numpy_column]]
            ),
            bytes(8),
        ),
        "objects by number": (
            frame("index", ["Index", ["numpy", "|O", [1], "C", [0, 8]], None, None]),
            bytes(8),
        ),
        "codes out of the categories": (
            frame(
                "index",
                [
                    "CategoricalIndex",
                    ["categories", ["|i1", [1], "C", [0, 1]], ["range", 0, 2, 1, None], False],
                    None,
                    None,
                ],
            ),
            b"\7",
        ),
        "codes out of the levels": (
            frame("index", ["multi", [["range", 0, 2, 1, None]], [["|i1", [1], "C", [0, 1]]], [None], None]),
            b"\7",
        ),
        "zone out of the database": (
            frame(
                "index",
                [
                    "DatetimeIndex",
                    ["zoned", "us", ["zone", "../../etc/passwd"], ["<i8", [1], "C", [0, 8]]],
                    None,
                    None,
                ],
            ),
            bytes(8),
        ),
    }


@pytest.mark.parametrize("name", sorted(hostile()))
def test_hostile_descriptions_are_errors(name: str) -> None:
    """What would be read from nowhere, by any of the libraries, is refused before."""
    header, pool = hostile()[name]
    with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a miss
        ArrowSerializer().loads([memoryview(header), memoryview(pool)])


def test_no_memory_for_no_elements_is_replaced() -> None:
    """Not everything that prints an empty array looks whether there is memory."""
    header = [1, "pyarrow", "array", ["int8", [0, 0, [[0, 0], None], []]]]
    result: Any = ArrowSerializer().loads([memoryview(json.dumps(header).encode()), memoryview(b"")])
    assert result.buffers()[1] is not None
    header[3] = [["dictionary", "int8", "string", False], [header[3][1], [0, 0, [None, [0, 0], [0, 0]], []]]]  # type: ignore[index]
    assert repr(ArrowSerializer().loads([memoryview(json.dumps(header).encode()), memoryview(b"")]))


CRASHER = """
import pickle, sys, warnings
warnings.simplefilter("ignore")
import pandas, polars, pyarrow
from cachewright_arrow.serializer import ArrowSerializer
for frames in pickle.load(sys.stdin.buffer):
    try:
        value = ArrowSerializer().loads([memoryview(frame) for frame in frames])
    except Exception:
        continue
    try:
        if len(value) < 100_000:
            repr(value)
            value.equals(value)
            value.to_pylist() if hasattr(value, "to_pylist") else value.to_numpy()
    except (Exception, polars.exceptions.PanicException):
        continue
print("alive")
"""


def test_damage_never_crashes_who_reads_it() -> None:
    """Of 1500 damaged payloads none ends the process, neither when it is read nor when it is looked at."""
    generator = random.Random(11)
    examples = [
        [bytes(frame) for frame in ArrowSerializer().dumps(value)]
        for value in [
            pa.table({"a": [1, None], "b": ["x", "y"]}),
            pa.array([{"a": 1, "b": ["x"]}, {"a": 2, "b": ["y", "z"]}, None]),
            pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
            pa.array(["a", "b", "a", None]).dictionary_encode(),
            pa.array(["a" * 50, None, "b"], pa.large_string()),
            pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])}),
            pd.DataFrame(
                {"a": pd.Series([1, "x", None], dtype=object)},
                index=pd.MultiIndex.from_product([[1], list("abc")]),
            ),
            pl.DataFrame({"a": ["x", None], "d": pl.Series(["a", "b"], dtype=pl.Categorical)}),
        ]
    ]
    payloads = []
    for _ in range(1500):
        frames = list(generator.choice(examples))
        if generator.random() < 0.5:
            frames[1] = damaged(frames[1], generator)
        else:
            numbers = [at for at, byte in enumerate(frames[0]) if byte in b"0123456789"]
            header = bytearray(frames[0])
            for at in generator.sample(numbers, min(2, len(numbers))):
                header[at] = generator.choice(b"0123456789")
            frames[0] = bytes(header)
        payloads.append(frames)
    done = subprocess.run(
        [sys.executable, "-c", CRASHER], input=pickle.dumps(payloads), capture_output=True, check=False
    )
    assert done.stdout.strip() == b"alive", done.stderr[-2000:]

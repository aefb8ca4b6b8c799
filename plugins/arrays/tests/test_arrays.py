"""The array serializer: every dtype and layout exactly, containers of arrays, nothing copied."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cachewright_arrays.memory import OWN_FRAME
from cachewright_arrays.serializer import ArraysSerializer

from cachewright import open_cache
from cachewright.errors import UnserializableError
from cachewright.testing.sameness import same

GOLDEN = Path(__file__).parent / "golden" / "payloads.json"
LITTLE = sys.byteorder == "little"


def frames_of(value: object) -> list[memoryview]:
    return [memoryview(bytes(frame)).toreadonly() for frame in ArraysSerializer().dumps(value)]


def back(value: object) -> Any:
    return ArraysSerializer().loads(frames_of(value))


SCALARS = [
    np.float64(math.nan), np.float16(-0.0), np.longdouble("0.1"), np.longlong(3), np.int8(-1),
    np.uint64(2**64 - 1),
    np.bool_(True), np.complex64(1j), np.str_("é"), np.str_(""), np.bytes_(b"b"), np.datetime64(5, "25s"),
    np.datetime64("NaT", "s"), np.timedelta64(1, "D"),
]  # fmt: skip


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
def test_scalars_beside_arrays(scalar: Any) -> None:
    """Scalars of NumPy come back as the same type, unit and bytes."""
    result = back({"a": np.arange(2), "s": scalar})["s"]
    assert type(result) is type(scalar)
    assert result == scalar or (result != result and scalar != scalar)
    assert np.signbit(result) == np.signbit(scalar) if isinstance(scalar, np.floating) else True
    assert result.dtype == scalar.dtype


def test_gaps_between_fields_hold_nothing() -> None:
    """What is stored between the fields of a copy is never left over from other things."""
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    whole = np.frombuffer(b"\xff" * 160, dtype)
    memory = bytes(ArraysSerializer().dumps([whole[::2]])[1])
    assert memory[:1] + memory[8:16] == b"\xff" * 9
    assert memory[1:8] in {bytes(7), b"\xff" * 7}  # NumPy may copy the bytes of the array itself


@pytest.mark.parametrize(
    "scalar", [np.str_("a\0"), np.bytes_(b"a\0"), np.zeros(1, "i4,i4")[0], np.void(b"x")], ids=repr
)
def test_scalars_that_change_are_refused(scalar: Any) -> None:
    """NumPy cuts off zeros at the end, and a record is a view of an array."""
    with pytest.raises(UnserializableError):
        ArraysSerializer().dumps([np.arange(2), scalar])


def test_containers() -> None:
    """Dicts, lists and tuples of arrays and plain values come back with their types, keys and order."""
    large = np.arange(10_000.0)
    value = {
        "b": large,
        "a": [np.arange(3), (), (1, [2.5, {"k": None}]), {}, [], b"x" * 20_000, b"", 2**200, -0.0, math.nan],
        1: True, None: 1j, (1, ("x", b"y")): np.float32(1), b"key": {1.5: np.zeros((2, 0))}, np.int8(4): "é",
    }  # fmt: skip
    assert same(back(value), value)
    assert list(back(value)) == list(value)


def test_one_array_in_two_places_is_one() -> None:
    """It is stored once, and comes back as one object; so do masked arrays."""
    large, masked = np.arange(10_000), np.ma.masked_array([1])
    frames = ArraysSerializer().dumps({"a": large, "b": [large, masked, masked]})
    assert len(frames) == 3
    result: Any = ArraysSerializer().loads([memoryview(frame) for frame in frames])
    assert result["a"] is result["b"][0]
    assert result["b"][1] is result["b"][2]


def test_a_container_in_two_places_is_refused() -> None:
    """It would come back as two; neither does a cycle end in a crash."""
    inner, array = [1], np.arange(2)
    cyclic: list[Any] = [array]
    cyclic.append(cyclic)
    for value in ([array, inner, inner], {"a": array, "b": inner, "c": {"d": inner}}, cyclic):
        with pytest.raises(UnserializableError, match="twice"):
            ArraysSerializer().dumps(value)
    constant = (1, "x")
    assert same(back([array, (), (), constant, constant]), [array, (), (), constant, constant])


@pytest.mark.parametrize(
    "value",
    [
        {1, 2}, object(), type("Number", (int,), {})(1), bytearray(b"x"), range(3), "\ud800",
        "\ud83d\ude00", 10**5000, type("Mapping", (dict,), {})(), slice(1),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_neither_an_array_nor_plain_is_refused(value: Any) -> None:
    """Sets, subclasses, lone surrogates and numbers that Python does not write are refused."""
    with pytest.raises(UnserializableError):
        ArraysSerializer().dumps([np.arange(2), value])


def test_depth_is_refused() -> None:
    """A hundred thousand levels are an error, not a crash."""
    deep: Any = np.arange(2)
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnserializableError):
        ArraysSerializer().dumps([np.arange(2), deep])


def test_a_container_without_arrays_is_refused_at_once() -> None:
    """Others are faster with it; the search costs the same however large the value is."""
    huge = [[number] for number in range(1000)] * 1000
    for value in ({}, [], {"a": 1}, [np.float64(1)], huge, None, 1.5):
        with pytest.raises(UnserializableError, match="no array"):
            ArraysSerializer().dumps(value)
    assert same(back([[[[{"x": [np.arange(2)]}]]]]), [[[[{"x": [np.arange(2)]}]]]])


def test_without_numpy_nothing_is_imported() -> None:
    """A process that has no arrays does not pay for NumPy when it stores a dict."""
    program = (
        "import sys\n"
        "from cachewright_arrays.serializer import ArraysSerializer\n"
        "try:\n    ArraysSerializer().dumps({'a': [1]})\n"
        "except TypeError as error:\n    print('no array' in str(error), 'numpy' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "False"]


def test_large_memory_is_never_copied() -> None:
    """A large array is stored as a view of its memory, and comes back as a view of the frame."""
    large = np.arange(OWN_FRAME, dtype=np.uint8)
    turned = np.asfortranarray(np.arange(10_000.0).reshape(100, 100))
    small = np.arange(5)
    value = {
        "large": large,
        "small": small,
        "turned": turned,
        "axes": turned.reshape(10, 10, 100).transpose(2, 1, 0),
    }
    frames = ArraysSerializer().dumps({"large": large, "small": small, "turned": turned})
    assert len(frames) == 4
    assert np.shares_memory(np.frombuffer(frames[2], np.uint8), large)
    assert np.shares_memory(np.frombuffer(frames[3], np.uint8), turned)
    stored = frames_of(value)
    result: Any = ArraysSerializer().loads(stored)
    for name, position in (("small", 1), ("large", 2), ("turned", 3), ("axes", 4)):
        assert np.shares_memory(result[name], np.frombuffer(stored[position], np.uint8)), name
        with pytest.raises(ValueError, match="read-only"):
            result[name][...] = 0


def test_texts_hold_code_points_only() -> None:
    """Memory that no text has is an error, because Python cannot handle such strings."""
    frames = [
        bytes(frame) for frame in ArraysSerializer().dumps([np.array(["ab"]), np.zeros(1, [("a", "U1")])])
    ]
    for at in (0, 64):
        pool = bytearray(frames[1])
        pool[at : at + 4] = b"\xff\xff\xff\xff"
        with pytest.raises(ValueError, match="not text"):
            ArraysSerializer().loads([memoryview(frames[0]), memoryview(pool)])


HOSTILE = [
    '[1,[3,["|O",[1],null],[0,8]]]', '[1,[3,["<i8",[-1],null],[0,8]]]', '[1,[3,["<i8",[2],null],[0,8]]]',
    '[1,[3,["<i8",[1],null],[8,8]]]', '[1,[3,["<i8",[1],null],[-8,8]]]', '[1,[3,["<i8",[1],[1]],[0,8]]]',
    '[1,[3,["<i8",[1],null],[0]]]', '[1,[3,["<i8",[1],null],[9]]]',
    r"""[1,[3,["__import__('os')",[1],null],[0,8]]]""",
    '[1,[3,[["struct",8,false,[["a",null,4,"<i8"]]],[1],null],[0,8]]]',
    '[1,[3,[["struct",8,false,[["a",null,-8,"<i8"]]],[1],null],[0,8]]]',
    '[1,[3,[["array","|O",[1]],[1],null],[0,8]]]', '[1,[3,["|V0",[1],null],[0,8]]]',
    '[1,[7,[3,["<i8",[1],null],[0,8]],[3,["<i8",[1],null],[0,8]],null,false]]', "[1,[10,0]]", "[1,[99]]",
    "[1,[2,[0],1]]", "[1,[5,1,2]]", '[1,[6,"<i8","00"]]', "[2,1]", "[1]", "1", '[1,{"a":1}]',
    '[1,[11,"int8"]]', '[1,[9,["none",true,[1]],[0,8],[0,0]]]',
    '[1,[3,["<i8",[0,4611686018427387904,8],null],[0,0]]]',
]  # fmt: skip


@pytest.mark.parametrize("header", HOSTILE)
def test_hostile_descriptions_are_errors(header: str) -> None:
    """Whatever a description says, it is checked before memory is looked at."""
    with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a miss
        ArraysSerializer().loads([memoryview(header.encode()), memoryview(b"\x05" + b"\0" * 7)])


def test_a_cache_uses_it_for_what_it_is_for(tmp_path: Path) -> None:
    """Containers of arrays and masked arrays, but not what is as well off without it."""
    values = {
        "arrays": {"a": np.arange(10_000), "b": [1, np.ma.masked_array([1])]},
        "array": np.arange(10_000),
        "dict": {"a": [1, 2.5]},
    }
    with open_cache(engine="sqlite", path=tmp_path / "store") as cache:
        for name, value in values.items():
            cache.set(name, value)
            assert same(cache.get(name), value)
        used = {name: cache.explain(name).entry for name in values}
    assert used["arrays"] is not None
    assert used["arrays"].serializer == "arrays"
    assert used["array"] is not None
    assert used["array"].serializer == "array"
    assert used["dict"] is not None
    assert used["dict"].serializer != "arrays"


def golden_values() -> dict[str, Any]:
    return {
        "tree": {
            "a": np.arange(3, dtype="<i4"),
            1: [np.zeros((2, 2), ">f8"), (None, "é", b"b", 1j)],
            "s": np.float32(1),
        },
        "structured": np.array([(1, b"x")], dtype=[(("t", "a"), "<i2"), ("b", "S2")]),
        "masked": np.ma.masked_array(np.arange(3, dtype="<i8"), mask=[0, 1, 0], fill_value=7, hard_mask=True),
        "texts": np.array(["a", None], dtype=np.dtypes.StringDType(na_object=None)),
        "twice": [array := np.arange(2, dtype="<u2"), array, np.ma.masked],
        "turned": np.arange(24, dtype="<u1").reshape(2, 3, 4).transpose(2, 0, 1),
    }


@pytest.mark.skipif(not LITTLE, reason="the golden payloads are those of a little-endian machine")
def test_golden_payloads_are_read_for_ever() -> None:
    """What this format stored on the day it was fixed still comes back."""
    golden = json.loads(GOLDEN.read_text())["arrays"]
    values = golden_values()
    assert golden.keys() == values.keys()
    for name, frames in golden.items():
        result = ArraysSerializer().loads([memoryview(bytes.fromhex(frame)) for frame in frames])
        assert same(result, values[name]), name

"""Every dtype in every layout, masked arrays and texts: exactly, or a refusal that says why."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cachewright_arrays import plugin
from cachewright_arrays.dtype import described_dtype, rebuilt_dtype
from cachewright_arrays.serializer import ArraysSerializer

from cachewright.errors import UnserializableError
from cachewright.testing.sameness import same


def back(value: object) -> Any:
    frames = [memoryview(bytes(frame)).toreadonly() for frame in ArraysSerializer().dumps(value)]
    return ArraysSerializer().loads(frames)


def structured() -> Any:
    return np.dtype(
        {
            "names": ["b", "a", "in"],
            "formats": [">f4", "i1", [("x", "<u2", (2, 2)), ("y", "S3")]],
            "offsets": [8, 1, 16],
            "titles": ["title of b", None, None],
            "itemsize": 40,
        }
    )


DTYPES: dict[str, Any] = {
    **{name: name for name in ("?", "i1", "u8", "f2", "f4", "f8", "c8", "c16", ">i4", ">f8", ">c16")},
    **{name: name for name in ("U3", ">U3", "S3", "V3", "M8[ns]", ">M8[25s]", "m8[D]", "m8[10us]")},
    "longlong": np.longlong,
    "ulonglong": np.ulonglong,
    "longdouble": np.longdouble,
    "swapped longdouble": np.dtype(np.longdouble).newbyteorder(),
    "clongdouble": np.clongdouble,
    "structured": structured(),
    "aligned": np.dtype([("a", "i1"), ("b", "f8"), ("c", [("d", "i2")])], align=True),
    "of no fields": np.dtype([]),
    "overlapping": np.dtype({"names": ["a", "b"], "formats": ["u4", "u2"], "offsets": [0, 2]}),
}
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda array: array,
    "Fortran": np.asfortranarray,
    "axes turned": lambda array: array.transpose(2, 0, 1),
    "strided": lambda array: array[:, ::2],
    "reversed": lambda array: array[::-1],
    "broadcast": lambda array: np.broadcast_to(array[:1], array.shape),
    "empty": lambda array: array[:0],
    "0-d": lambda array: array[0, 0, 0:1].reshape(()),
    "read-only": lambda array: (
        np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape) if array.dtype.itemsize else array
    ),
}


def filled(dtype: Any) -> Any:
    """Return an array of 24 elements, which differ where their dtype is simple."""
    kind = np.dtype(dtype)
    if kind.names is not None or kind.kind == "V":
        return np.zeros((2, 3, 4), kind)
    if kind.kind in "mM":
        return np.arange(24).astype(f"{kind.byteorder}i8").view(kind).reshape(2, 3, 4)
    return np.arange(24).astype(kind).reshape(2, 3, 4)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_dtype_in_every_layout(name: str, layout: str) -> None:
    """Dtype, its type character, shape and memory are the same; the order of axes is kept, gaps are not."""
    array = LAYOUTS[layout](filled(DTYPES[name]))
    result = back([array])[0]
    assert type(result) is np.ndarray
    assert (result.dtype, result.dtype.char, result.dtype.str) == (
        array.dtype,
        array.dtype.char,
        array.dtype.str,
    )
    assert result.dtype.isalignedstruct == array.dtype.isalignedstruct
    assert result.dtype.fields == array.dtype.fields
    assert result.shape == array.shape
    if array.dtype.names is None:
        assert result.tobytes() == array.tobytes()
    else:
        assert (result == array).all()
    assert not result.flags.writeable
    if layout in {"C", "Fortran", "axes turned", "0-d"}:
        assert result.strides == array.strides


@pytest.mark.parametrize(
    "dtype",
    [
        object, [("a", object)], np.dtype("i4", metadata={"unit": "m"}), np.dtype((np.record, [("a", "i4")])),
        np.dtype([("a", np.dtype("i4", metadata={"unit": "m"}))]),
    ],
    ids=["objects", "field of objects", "metadata", "record", "metadata inside"],
)  # fmt: skip
def test_dtypes_that_text_cannot_describe_are_refused(dtype: Any) -> None:
    """The refusal says what is wrong with the dtype."""
    with pytest.raises(UnserializableError, match="its dtype"):
        ArraysSerializer().dumps({"a": np.zeros(2, dtype)})


def test_long_floats_of_another_platform_are_a_miss() -> None:
    """Their format differs between machines under one name, so it is part of the description."""
    described = described_dtype(np.dtype(np.longdouble))
    assert described.endswith(f"/{np.finfo(np.longdouble).nmant}")
    assert rebuilt_dtype(described) == np.dtype(np.longdouble)
    for other in (described.rpartition("/")[0], described.rpartition("/")[0] + "/7"):
        with pytest.raises(ValueError, match="platform"):
            rebuilt_dtype(other)


@pytest.mark.parametrize(
    "array",
    [
        np.rec.array([(1,)]), np.zeros((1, 1)).view(np.matrix),
        np.zeros(2).view(type("Own", (np.ndarray,), {})),
        np.ma.masked_array([1], mask=[True]).view(type("Masked", (np.ma.MaskedArray,), {})),
    ],
    ids=lambda array: type(array).__name__,
)  # fmt: skip
def test_subclasses_are_refused(array: Any) -> None:
    """Only arrays and masked arrays themselves; the refusal says how to convert."""
    with pytest.raises(UnserializableError, match=r"numpy\.asarray"):
        ArraysSerializer().dumps([array])


def masked_arrays() -> dict[str, Any]:
    records = np.ma.masked_array(np.zeros(2, [("a", "i4"), ("b", "f4", 2)]), mask=[(1, (0, 1)), (0, (0, 0))])
    return {
        "no mask": np.ma.masked_array(np.arange(4.0)),
        "mask": np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
        "all false": np.ma.masked_array([1, 2], mask=[False, False]),
        "hard": np.ma.masked_array([1, 2], mask=[True, False], hard_mask=True),
        "filled": np.ma.masked_array([1.5, 2], mask=[True, False], fill_value=-1),
        "times": np.ma.masked_array(
            np.zeros(2, "M8[ns]"), mask=[1, 0], fill_value=np.datetime64("NaT", "ns")
        ),
        "texts": np.ma.masked_array(["a", "bcd"], mask=[1, 0], fill_value="zz"),
        "structured": records,
        "fortran": np.ma.masked_array(np.asfortranarray(np.ones((2, 3))), mask=np.eye(2, 3)),
        "0-d": np.ma.masked_array(5, mask=True),
        "empty": np.ma.masked_array(np.zeros((0, 2)), mask=np.zeros((0, 2))),
    }


@pytest.mark.parametrize("name", sorted(masked_arrays()))
def test_masked_arrays(name: str) -> None:
    """Memory under the mask, the mask or its absence, fill value and hardness are the same."""
    array = masked_arrays()[name]
    result = back(array)
    assert type(result) is np.ma.MaskedArray
    assert same(result.data, array.data)
    assert (result.mask is np.ma.nomask) == (array.mask is np.ma.nomask)
    assert same(np.asarray(result.mask), np.asarray(array.mask))
    assert result.hardmask == array.hardmask
    assert (vars(result)["_fill_value"] is None) == (vars(array)["_fill_value"] is None)
    assert same(result.fill_value, array.fill_value)
    assert not result.data.flags.writeable
    if array.size:
        with pytest.raises(ValueError, match="read-only"):
            result[...] = result


def test_the_masked_constant_is_one() -> None:
    """What a reduction of masked elements gives is the same object afterwards."""
    assert back({"mean": np.ma.masked, "a": np.arange(2)})["mean"] is np.ma.masked
    assert plugin.cachewright_serializers()[0].types[3] == "numpy.ma.core.MaskedConstant"


def test_attributes_of_a_masked_array_are_refused() -> None:
    """What does not come back is not dropped."""
    array = np.ma.masked_array([1, 2])
    array.unit = "m"
    with pytest.raises(UnserializableError, match="attributes"):
        ArraysSerializer().dumps(array)
    array = np.ma.masked_array([1, 2])
    array._optinfo["unit"] = "m"
    with pytest.raises(UnserializableError, match="attributes"):
        ArraysSerializer().dumps(array)


@pytest.mark.parametrize(
    "options", [{}, {"na_object": None}, {"na_object": math.nan}, {"coerce": False}], ids=str
)
def test_arrays_of_texts_of_any_length(options: dict[str, Any]) -> None:
    """StringDType comes back with what stands for missing texts, and zeros at the end."""
    dtype = np.dtypes.StringDType(**options)
    texts = [["a", "b\0"], ["", "\U0001f600" * 50]]
    if "na_object" in options:
        texts[1][0] = options["na_object"]
    array = np.array(texts, dtype=dtype)
    for one in (array, array.T, array[:0], array[0, 0:1].reshape(())):
        result = back([one])[0]
        assert result.dtype == one.dtype
        assert result.dtype.coerce == one.dtype.coerce
        assert same(result.tolist(), one.tolist())
        assert not result.flags.writeable


def test_texts_with_another_missing_object_are_refused() -> None:
    """An object of any class cannot be described by data."""
    array = np.array(["a"], dtype=np.dtypes.StringDType(na_object=object()))
    with pytest.raises(UnserializableError, match="None and NaN"):
        ArraysSerializer().dumps(array)


def some_tree(generator: random.Random, depth: int) -> Any:
    kind = generator.randrange(6) if depth else 5
    count = generator.randrange(4)
    if kind == 0:
        return [some_tree(generator, depth - 1) for _ in range(count)]
    if kind == 1:
        return tuple([some_tree(generator, depth - 1) for _ in range(count)])
    if kind == 2:
        return {
            generator.choice(["a", 1, None, (1, "x"), b"k"]): some_tree(generator, depth - 1)
            for _ in range(count)
        }
    if kind == 3:
        return generator.choice([None, True, 5, 2.5, "é", b"x", 1j, np.float16(-0.0), np.str_("é")])
    # the bytes between fields and in long doubles, which the comparison looks at, are no part of the value
    kinds = [
        name for name in sorted(DTYPES) if name not in {"aligned", "structured"} and "double" not in name
    ]
    layout = generator.choice(sorted(set(LAYOUTS) - {"read-only"}))
    return LAYOUTS[layout](filled(DTYPES[generator.choice(kinds)]))


def test_random_trees_come_back() -> None:
    """300 random trees come back exactly."""
    for seed in range(300):
        value = [np.arange(2), some_tree(random.Random(seed), 4)]
        assert same(back(value), value), seed

"""The joblib key maker: as strict as joblib.hash, without its collisions, and the same in every process."""

from __future__ import annotations

import functools
import json
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import joblib
import numpy as np
import pytest
from cachewright_joblib import plugin
from cachewright_joblib.keymaker import JoblibKeyMaker

from cachewright import cached
from cachewright.errors import UnkeyableArgumentError
from cachewright.keymaker import Call

GOLDEN = Path(__file__).parent / "golden" / "keys.json"
NUMBERS = np.arange(6.0)


class Model:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def method(self) -> None: ...

    def other(self) -> None: ...


class Measured(np.ndarray[Any, Any]):
    unit: str


class Pairs(dict[Any, Any]):
    """A dict that pickles with one key twice, as multi-dicts do."""

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        super().__init__(pairs)
        self._all = pairs

    def __reduce__(self) -> Any:
        return (dict, (), None, None, iter(self._all))


def key(value: object) -> str:
    return JoblibKeyMaker().value_key(value)


def measured(unit: str) -> Measured:
    array = NUMBERS.view(Measured)
    array.unit = unit
    return array


PAIRS = {
    "int and float": (1, 1.0),
    "int and bool": (1, True),
    "list and tuple": ([1], (1,)),
    "one list": ([1, "a"], [1, "a"]),
    "text and bytes": ("a", b"a"),
    "dict order": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "set order": ({"a", "b", 1}, {1, "b", "a"}),
    "strings in two objects": (["ab", "ab"], ["ab", "abc"[:2]]),
    "object": (Model(a=1, b=2), Model(b=2, a=1)),
    "another object": (Model(a=1), Model(a=2)),
    "method": (Model(a=1).method, Model(a=1).method),
    "another method": (Model(a=1).method, Model(a=1).other),
    "method of another": (Model(a=1).method, Model(a=2).method),
    "function": (len, len),
    "another function": (len, print),
    "class": (Model, Measured),
    "partial": (functools.partial(int, base=2), functools.partial(int, base=2)),
    "array": (np.arange(3), np.arange(3)),
    "array and list": (np.arange(3), [0, 1, 2]),
    "dtype": (np.arange(3, dtype="i4"), np.arange(3, dtype="i8")),
    "shape": (NUMBERS.reshape(2, 3), NUMBERS.reshape(3, 2)),
    "order": (NUMBERS.reshape(2, 3), np.asfortranarray(NUMBERS.reshape(2, 3))),
    "scalar": (np.float64(1), 1.0),
    "object array": (np.array([1, "a"], dtype=object), np.array([1, "a"], dtype=object)),
    "datetimes": (np.array(["2024"], "M8[Y]"), np.array(["2025"], "M8[Y]")),
    "nan": (float("nan"), float("nan")),
    "zeros": (0.0, -0.0),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_it_tells_apart_what_joblib_tells_apart(pair: str) -> None:
    """Two values share a key exactly if they share a joblib.hash."""
    one, other = PAIRS[pair]
    assert (key(one) == key(other)) is (joblib.hash(one) == joblib.hash(other))


COLLISIONS = {
    "order of an OrderedDict": (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    "place of a dtype": ([np.dtype("i4"), 1], [1, np.dtype("i4")]),
    "attribute of an array": (measured("m"), measured("km")),
}


@pytest.mark.parametrize("pair", COLLISIONS)
def test_what_joblib_mixes_up_has_keys_of_its_own(pair: str) -> None:
    """Values that one joblib.hash stands for have two keys."""
    one, other = COLLISIONS[pair]
    assert joblib.hash(one) == joblib.hash(other)
    assert key(one) != key(other)


def test_a_key_that_is_pickled_twice_counts_twice() -> None:
    """Of the items of a mapping that has a key more than once none is forgotten."""
    keys = {key(Pairs([("a", 1), ("a", 2)])), key(Pairs([("a", 2)])), key(Pairs([("a", 2), ("a", 1)]))}
    assert len(keys) == 3


def test_a_mask_counts_and_asking_changes_nothing() -> None:
    """Masked arrays differ by mask and fill value; one whose fill value was looked at is the same."""
    plain, masked, filled = (
        np.ma.masked_array([1, 2], mask=m, fill_value=f) for m, f in ((0, 5), ([0, 1], 5), (0, 6))
    )
    assert len({key(plain), key(masked), key(filled)}) == 3
    one, other = np.ma.masked_array([1, 2]), np.ma.masked_array([1, 2])
    assert other.fill_value == 999_999
    assert key(one) == key(other)
    assert one.__dict__["_fill_value"] is None


def test_one_list_twice_is_two_equal_ones() -> None:
    """Arguments are hashed each by itself."""
    shared = [1]
    calls = [Call("m.f", ("a", "b"), values) for values in ((shared, shared), ([1], [1]))]
    assert JoblibKeyMaker().call_key(calls[0]) == JoblibKeyMaker().call_key(calls[1])


def test_an_object_array_is_its_elements() -> None:
    """Two arrays of equal objects share a key; another element, shape or type does not."""
    values = [
        np.array([1, "a"], dtype=object),
        np.array([1, "b"], dtype=object),
        np.array([[1, "a"]], dtype=object),
    ]
    assert len({key(value) for value in values}) == 3


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: lambda: None, "lambda"),
        (object, "equals only itself"),
        (lambda: iter([1]), "consumed"),
        (lambda: Model(a=[sys.stdin]), "consumed|pickle"),
        (lambda: [type("Local", (), {})()], "Local"),
    ],
    ids=["lambda", "object", "iterator", "file", "local class"],
)
def test_the_parameter_that_has_no_key_is_named(make: Any, reason: str) -> None:
    """The message names function, parameter and reason."""

    def call() -> str:
        return JoblibKeyMaker().call_key(Call("m.f", ("a", "*rest"), (1, (2, make()))))

    with pytest.raises(UnkeyableArgumentError, match=reason) as refused:
        call()
    assert (refused.value.function, refused.value.parameter) == ("m.f", "rest")


def test_what_an_argument_raises_passes_through() -> None:
    """An error of the argument's own is not dressed up."""

    class Broken:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        key(Broken())


def test_a_decorated_function_takes_it_by_name() -> None:
    """With ``key_maker="joblib"`` calls are as far apart as with ``joblib.Memory``."""
    calls: list[object] = []

    @cached(engine="memory", key_maker="joblib")
    def f(x: object, y: int = 2) -> int:
        calls.append(x)
        return len(calls)

    def generator() -> Iterator[int]:
        yield 1

    assert [f(1), f(1.0), f(True), f(1, 2), f(y=2, x=1)] == [1, 2, 3, 1, 1]
    assert [f([NUMBERS]), f([NUMBERS.copy()]), f({"a": Model(b=1)}), f({"a": Model(b=1)})] == [4, 4, 5, 5]
    with pytest.raises(UnkeyableArgumentError, match="'x'"):
        f(generator())


def golden_values() -> dict[str, object]:
    return {
        "none": None,
        "numbers": [0, 1, -1, 2**70, 1.5, True, 1j],
        "texts": ("", "caf\u00e9", b"\0"),
        "mapping": {"b": 1, "a": {2, 3}, None: frozenset("xy")},
        "ordered": OrderedDict(b=1, a=2),
        "array": np.arange(6, dtype="<i4").reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype="<f8").reshape(2, 3)),
        "empty array": np.zeros((0, 2), "<f4"),
        "dtype": np.dtype("<f8"),
        "function": len,
        "path": PurePosixPath("a//b"),
    }


def test_golden_keys_are_made_for_ever() -> None:
    """A change of these keys would lose every entry that is stored under one."""
    (info,) = plugin.cachewright_keymakers()
    maker = info.load()()
    made = {name: maker.value_key(value) for name, value in golden_values().items()}
    made["call"] = maker.call_key(Call("m.f", ("a", "*b", "**c"), (1, (2, "x"), (("k", 2.5),))))
    assert made == json.loads(GOLDEN.read_text())

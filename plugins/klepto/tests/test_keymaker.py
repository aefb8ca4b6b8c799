"""The klepto key maker: klepto's rounding, and in every other respect the canonical keys."""

from __future__ import annotations

import collections
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import klepto
import pytest
from cachewright_klepto import KleptoKeyMaker
from klepto.rounding import deep_round, simple_round

from cachewright import cached, open_cache
from cachewright.errors import ConfigurationError, UnkeyableArgumentError
from cachewright.keymaker import Call, canonical

GOLDEN = Path(__file__).parent / "golden" / "keys.json"


class Point(NamedTuple):
    x: Any
    y: Any


def key(maker: KleptoKeyMaker, *values: Any, typed: bool = False) -> str:
    names = tuple(f"p{number}" for number in range(len(values)))
    return maker.call_key(Call("m.f", names, values, typed=typed))


def test_without_tol_keys_are_the_canonical_ones() -> None:
    """By its name, and by KleptoKeyMaker(), nothing is rounded."""
    call = Call("m.f", ("a", "*args"), (1.23456, (0.1, [2.5])))
    assert KleptoKeyMaker().call_key(call) == canonical().call_key(call)
    assert KleptoKeyMaker(deep=True).value_key([1.5]) == canonical().value_key([1.5])


def test_floats_are_rounded_as_klepto_rounds_them() -> None:
    """Two arguments share a key if, and only if, klepto rounds them to the same number."""
    numbers = [1.234, 1.2349, 1.235, 1.2351, 1.245, -1.234, -0.001, 0.0, 2.675, 2.665, 1e300, 5e-324, 12.5]
    for tol in (0, 1, 2, 3, -1, 400):
        maker = KleptoKeyMaker(tol=tol)
        rounded = simple_round(tol)(lambda *values: values)(*numbers)
        keys = [key(maker, number) for number in numbers]
        for one in range(len(numbers)):
            for other in range(len(numbers)):
                assert (keys[one] == keys[other]) is (rounded[one] == rounded[other])


def test_only_deep_rounds_inside_containers() -> None:
    """Without deep the floats in a list count as they are; with it they are rounded at every depth."""
    near, far = ([1.231, {"a": (1.229,)}], "x"), ([1.2299, {"a": (1.2301,)}], "x")
    assert key(KleptoKeyMaker(tol=2), *near) != key(KleptoKeyMaker(tol=2), *far)
    assert key(KleptoKeyMaker(tol=2, deep=True), *near) == key(KleptoKeyMaker(tol=2, deep=True), *far)
    assert key(KleptoKeyMaker(tol=3, deep=True), *near) != key(KleptoKeyMaker(tol=3, deep=True), *far)
    rounded = deep_round(2)(lambda *values: values)
    assert rounded(*near) == rounded(*far), "as klepto itself has it"


@pytest.mark.parametrize(
    ("near", "same"),
    [
        ([1.001], [1.0]),
        ((1.001,), (1.0,)),
        ({1.001}, {1.0}),
        (frozenset({1.001, "a"}), frozenset({"a", 0.999})),
        ({"a": 1.001}, {"a": 1.0}),
        ({1: 1.001, (2,): [0.999]}, {1: 1.0, (2,): [1.0]}),
        (collections.OrderedDict(a=1.001), collections.OrderedDict(a=1.0)),
        (Point(1.001, [2.0]), Point(0.999, [2.001])),
        ([[1.001], [1.001]], [[1.0], [0.999]]),
    ],
)
def test_deep_reaches_into_every_container(near: Any, same: Any) -> None:
    """Lists, tuples, sets, dicts with any keys, and namedtuples, without a change of the argument."""
    maker = KleptoKeyMaker(tol=1, deep=True)
    before = repr(near)
    assert maker.value_key(near) == maker.value_key(same)
    assert key(maker, near) == key(maker, same)
    assert repr(near) == before


def test_containers_stay_what_they_are() -> None:
    """Rounding makes no list of a tuple, rounds no key of a dict, and leaves text and ints alone."""
    maker = KleptoKeyMaker(tol=0, deep=True)
    values = [
        [1.2],
        (1.2,),
        {1.2},
        frozenset({1.3, 2}),
        {"a": 1.2},
        {1.2: "a"},
        {1.1: "a"},
        "1.2",
        b"1.2",
        12,
        13,
    ]
    assert len({maker.value_key(value) for value in values}) == len(values)


def test_arrays_are_rounded_when_deep() -> None:
    """Floats in arrays are rounded; arrays of anything else, and their types, stay as they are."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    maker = KleptoKeyMaker(tol=1, deep=True)
    near, same = numpy.array([1.01, 2.04]), numpy.array([0.99, 2.0])
    assert maker.value_key(near) == maker.value_key(same)
    assert key(maker, {"a": [near]}) == key(maker, {"a": [same]})
    assert maker.value_key(near.astype("f4")) != maker.value_key(same)
    assert KleptoKeyMaker(tol=1).value_key(near) != KleptoKeyMaker(tol=1).value_key(same)
    assert near.tolist() == [1.01, 2.04]
    ints = numpy.array([1, 2])
    assert maker.value_key(ints) != maker.value_key(ints + 1)


def test_the_canonical_rules_hold_beside_rounding() -> None:
    """1 and 1.0 are one argument, 1 and "1" are not, -1 and -2 are not, and all NaN are one."""
    for maker in (KleptoKeyMaker(), KleptoKeyMaker(tol=2), KleptoKeyMaker(tol=2, deep=True)):
        assert key(maker, 1) == key(maker, 1.0) == key(maker, True)
        assert key(maker, 1) != key(maker, "1")
        assert key(maker, -1) != key(maker, -2)
        assert key(maker, [-1.0]) != key(maker, [-2.0])
        assert key(maker, math.nan) == key(maker, -math.nan)
        assert key(maker, -0.0) == key(maker, 0.0)
        assert key(maker, math.inf) != key(maker, -math.inf)
        assert key(maker, 1, typed=True) != key(maker, 1.0, typed=True)
        assert key(maker, 1.001, typed=True) != key(maker, 1, typed=True)
        assert key(maker, {"a": 1, "b": 2.0}) == key(maker, {"b": 2.0, "a": 1})
        assert key(maker, 1, 2) != key(maker, 2, 1)


def test_collected_arguments_are_rounded_one_by_one() -> None:
    """What *args and **kwargs collect are arguments of their own, as in klepto: no depth is needed."""
    maker = KleptoKeyMaker(tol=1)
    near = Call("m.f", ("*args", "**kwargs"), ((1.01, "a"), (("x", 2.01), ("y", "b"))))
    same = Call("m.f", ("*args", "**kwargs"), ((1.0, "a"), (("x", 2.0), ("y", "b"))))
    inside = Call("m.f", ("*args", "**kwargs"), (([1.0], "a"), (("x", 2.0), ("y", "b"))))
    deeper = Call("m.f", ("*args", "**kwargs"), (([1.01], "a"), (("x", 2.0), ("y", "b"))))
    assert maker.call_key(near) == maker.call_key(same)
    assert maker.call_key(inside) != maker.call_key(deeper)


def test_settings_never_share_keys() -> None:
    """An entry computed for a near-by argument is not found when the function rounds otherwise, or not."""
    makers = [
        KleptoKeyMaker(),
        *(KleptoKeyMaker(tol=tol, deep=deep) for tol in (-1, 0, 1) for deep in (True, False)),
    ]
    assert len({key(maker, 1.0) for maker in makers}) == len(makers)
    assert len({maker.value_key(1.0) for maker in makers}) == len(makers)


@pytest.mark.parametrize("tol", [None, 2])
@pytest.mark.parametrize("deep", [False, True])
def test_what_has_no_key_is_refused_by_name(tol: int | None, deep: bool) -> None:
    """Objects, iterators, cycles and bottomless lists raise with their parameter; iterators are not read."""
    maker = KleptoKeyMaker(tol=tol, deep=deep)
    iterator = iter([1.5])
    cyclic: list[Any] = [1.5]
    cyclic.append(cyclic)
    bottomless: list[Any] = [1.5]
    for _ in range(100_000):
        bottomless = [bottomless]
    for culprit in (object(), iterator, cyclic, bottomless, [1.5, iterator], {"a": object()}):
        with pytest.raises(UnkeyableArgumentError) as refused:
            maker.call_key(Call("m.f", ("fine", "culprit"), (1.5, culprit)))
        assert (refused.value.function, refused.value.parameter) == ("m.f", "culprit")
    assert next(iterator) == 1.5
    while bottomless and isinstance(bottomless[0], list):
        bottomless = bottomless[0]


def test_shared_containers_are_rounded_once() -> None:
    """A structure that doubles at each of a hundred levels takes no time to round."""
    value: Any = [1.01]
    same: Any = [0.99]
    for _ in range(100):
        value, same = [value, value], [same, same]
    maker = KleptoKeyMaker(tol=1, deep=True)
    assert maker.value_key(value) == maker.value_key(same)


def test_a_float_without_a_rounded_neighbour_is_refused() -> None:
    """Rounding the largest floats to fewer digits than they have overflows, and says of which argument."""
    with pytest.raises(UnkeyableArgumentError, match=r"'x'.*cannot be rounded"):
        KleptoKeyMaker(tol=-308).call_key(Call("m.f", ("x",), (1.7e308,)))


@pytest.mark.parametrize("settings", [{"tol": 1.5}, {"tol": "2"}, {"tol": True}, {"deep": 1}, {"deep": None}])
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    """What is no number of digits and no bool is an error when the key maker is made."""
    with pytest.raises(ConfigurationError):
        KleptoKeyMaker(**settings)


def test_a_decorated_function_shares_near_by_calls() -> None:
    """One call serves all that round to the same, by position, by name and by default, as in klepto."""
    for decorate in (
        cached(key_maker=KleptoKeyMaker(tol=1, deep=True)),
        klepto.inf_cache(tol=1, deep=True, keymap=klepto.keymaps.picklemap(serializer="pickle")),
    ):
        calls: list[Any] = []

        @decorate
        def work(x: Any, y: Any = 2.0) -> Any:
            calls.append(x)  # noqa: B023 - called at once
            return x

        assert work(1.01) == work(x=0.99) == work(1.0, 2.001) == work(1.02, y=1.99) == 1.01
        assert work([1.01]) == work([0.99]) == [1.01]
        assert work(1.2) == 1.2
        assert calls == [1.01, [1.01], 1.2]


def test_by_name_nothing_is_rounded() -> None:
    """key_maker="klepto" is the key maker with its defaults."""
    calls: list[float] = []

    @cached(key_maker="klepto")
    def work(x: float) -> float:
        calls.append(x)
        return x

    assert (work(1.01), work(1.02), work(1.01)) == (1.01, 1.02, 1.01)
    assert calls == [1.01, 1.02]


def test_direct_keys_are_rounded() -> None:
    """A cache that is used directly finds a value under every key that rounds to the same."""
    with open_cache("rounded", engine="klepto-dict", maxsize=None, key_maker=KleptoKeyMaker(tol=1)) as cache:
        cache.set(1.01, "near")
        assert cache.get(0.99) == "near"
        assert cache.get(1.2) is None


def golden_calls() -> dict[str, tuple[KleptoKeyMaker, Call]]:
    calls = {
        "none": Call("m.f", (), ()),
        "float": Call("m.f", ("x",), (1.23456,)),
        "mixed": Call("m.f", ("a", "b"), ("text", [1, 2.5, {"c": (0.05, None)}])),
        "collected": Call("m.f", ("a", "*args", "**kwargs"), (1.5, (2.25, "x"), (("k", 3.125),))),
        "typed": Call("m.f", ("x",), (2.5,), typed=True),
    }
    makers = {
        "plain": KleptoKeyMaker(),
        "tol=2": KleptoKeyMaker(tol=2),
        "tol=1 deep": KleptoKeyMaker(tol=1, deep=True),
    }
    return {f"{how}, {what}": (maker, call) for how, maker in makers.items() for what, call in calls.items()}


def test_golden_keys_stay() -> None:
    """The keys of version 1 are made for ever, or stored entries would be lost."""
    made = {name: maker.call_key(call) for name, (maker, call) in golden_calls().items()}
    assert made == json.loads(GOLDEN.read_text())

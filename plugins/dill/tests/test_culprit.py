"""What cannot be stored is named by the way to it, in the error for the first and by a diagnosis for all."""

from __future__ import annotations

import functools
import socket
import threading
from collections import deque
from typing import Any, NamedTuple

import pytest
from cachewright_dill import Culprit, diagnose
from cachewright_dill.serializer import DillSerializer

from cachewright.errors import UnserializableError

LOCK = threading.Lock()


class Pair(NamedTuple):
    left: object
    right: object


REASON = "a copy of a lock locks nothing"


class Model:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def act(self) -> None: ...


class Slotted:
    __slots__ = ("__hidden", "open")

    def __init__(self, hidden: Any) -> None:
        self.__hidden = hidden
        self.open = 1


class Items(list):
    pass


class Unwilling:
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


def uses_global() -> object:
    return LOCK


def has_default(first: int, second: object = LOCK, *, third: object = 1) -> None: ...


def closure(variable: object) -> Any:
    return lambda: variable


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"model": Model(callbacks=[1, 2, LOCK])}, "result['model'].callbacks[2]"),
        ([[1, (2, LOCK)]], "result[0][1][1]"),
        (Pair(1, LOCK), "result.right"),
        (deque([1, LOCK]), "result[1]"),
        (Slotted(LOCK), "result.__hidden"),
        (Items([1, LOCK]), "result[1]"),
        (functools.partial(print, 1, LOCK), "result.args[1]"),
        (functools.partial(print, end=LOCK), "result.keywords['end']"),
        (closure(LOCK), "result (its variable 'variable')"),
        (has_default, "result (its default 'second')"),
        ([uses_global], "result[0] (its global 'LOCK')"),
        (Model(run=LOCK).act, "result.__self__.run"),
        ({"a" * 100: LOCK}, f"result[{'a' * 17!r}"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_way_to_a_culprit_is_named_as_one_would_write_it(value: object, path: str) -> None:
    """By the error of the serializer and by the diagnosis alike."""
    if value is has_default or (isinstance(value, list) and value[0] is uses_global):
        value = _of_nobody(value)
    (culprit,) = diagnose(value)
    if "aaaa" in path:
        assert len(culprit.path) < 60
        return
    assert culprit == Culprit(path, "_thread.lock", REASON)
    with pytest.raises(UnserializableError) as caught:
        DillSerializer().dumps(value)
    assert caught.value.reason == str(culprit) == f"{path}: <_thread.lock>: {REASON}"


def _of_nobody(value: Any) -> Any:
    """Return a function that dill stores by value, because it belongs to no module that can be imported."""
    if isinstance(value, list):
        return [_of_nobody(value[0])]
    return type(value)(value.__code__, globals() | {"__name__": "nowhere"}, "copy", value.__defaults__)


def test_a_diagnosis_names_all_of_them_and_each_once() -> None:
    """Also among many healthy parts, and in values that contain themselves."""
    connection = socket.socket()
    with connection:
        shared = [LOCK]
        value: dict[str, Any] = {str(number): number for number in range(5000)}
        value |= {"a": shared, "b": {"again": shared, "socket": connection}, "c": Unwilling()}
        value["d"] = value
        found = {culprit.path: culprit.type_name for culprit in diagnose(value, name="value")}
    assert found == {
        "value['a'][0]": "_thread.lock",
        "value['b']['socket']": "socket.socket",
        "value['c']": f"{__name__}.Unwilling",
    }


def test_what_can_be_stored_has_no_culprits() -> None:
    """An empty list, whatever the value."""
    for value in (None, 1, {"a": [closure(1)]}, Model(x=1), Slotted(2)):
        assert diagnose(value) == []


def test_the_reason_is_that_of_whoever_refused() -> None:
    """A class that raises while it is pickled is quoted, with its own place."""
    (culprit,) = diagnose({"x": [Unwilling()]})
    assert str(culprit) == f"result['x'][0]: <{__name__}.Unwilling>: RuntimeError: not me"
    with pytest.raises(UnserializableError, match=r"result\['x'\]\[0\]: <.*Unwilling>: RuntimeError: not me"):
        DillSerializer().dumps({"x": [Unwilling()]})


def test_cells_of_arrays_and_frames_are_named() -> None:
    """An object in an array or a frame is found by its index."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    array = numpy.empty((2, 2), dtype=object)
    array[1, 0] = LOCK
    assert [culprit.path for culprit in diagnose({"a": array})] == ["result['a'][1, 0]"]
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"n": [1, 2], "o": [None, LOCK]})
    assert [culprit.path for culprit in diagnose(frame)] == ["result['o'].iloc[1]"]


def test_a_value_nested_without_end_is_blamed_as_a_whole() -> None:
    """The diagnosis itself ends, and says that the depth is the reason."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    (culprit,) = diagnose(deep)
    assert culprit.reason == "it is nested too deeply for dill"

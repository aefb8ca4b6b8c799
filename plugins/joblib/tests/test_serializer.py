"""The joblib serializer: joblib's own format, with large arrays in frames that nobody copies."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from cachewright_joblib import plugin
from cachewright_joblib.serializer import OUT_OF_BAND, JoblibSerializer

from cachewright import open_cache
from cachewright.errors import ConfigurationError, UnserializableError
from cachewright.testing.sameness import same

GOLDEN = Path(__file__).parent / "golden" / "payloads.json"


class Model:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def dumped(value: object) -> list[bytes]:
    return [bytes(frame) for frame in JoblibSerializer().dumps(value)]


def back(value: object) -> Any:
    return JoblibSerializer().loads([memoryview(frame) for frame in dumped(value)])


def test_the_record_tells_what_the_serializer_is() -> None:
    """It may execute code, and is asked after pickle and after dill."""
    (info,) = plugin.cachewright_serializers()
    assert (info.name, info.code, info.rank, info.executable) == ("joblib", 0x82, 95, True)
    assert info.load() is JoblibSerializer


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_are_frames_uncopied(order: Any) -> None:
    """An array in an object is stored as a view on its memory, and comes back as a view on the frame."""
    large = np.asarray(np.arange(60_000.0).reshape(300, 200), order=order)
    model = Model(weights=large, bias=np.arange(3), name="m", more=[large[:1].copy()])
    frames = JoblibSerializer().dumps(model)
    assert len(frames) == 3
    assert np.shares_memory(np.frombuffer(frames[1], np.uint8), large)
    stored = [memoryview(bytes(frame)) for frame in frames]
    again: Any = JoblibSerializer().loads(stored)
    assert np.shares_memory(again.weights, np.frombuffer(stored[1], np.uint8))
    assert (again.weights == large).all()
    assert again.weights.flags.f_contiguous == large.flags.f_contiguous
    assert not again.weights.flags.writeable
    assert (again.bias == [0, 1, 2]).all()
    assert (again.more[0] == large[:1]).all()


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, (2.5, b"3")]},
        [np.arange(10_000), "between", np.arange(10_000) * 2],
        pd.DataFrame({"a": np.arange(9_000.0), "b": ["x"] * 9_000}),
        np.arange(9_000.0)[::3],
    ],
    ids=["plain", "arrays", "frame", "strided"],
)
def test_joblib_reads_what_it_writes(value: Any) -> None:
    """The frames, joined, are a file that ``joblib.load`` reads."""
    assert same(joblib.load(io.BytesIO(b"".join(dumped(value)))), value)


def test_what_joblib_would_change_stays() -> None:
    """Byte order, matrices, arrays of objects and of no bytes come back as they were."""
    swapped = back(np.arange(5_000, dtype=">i4"))
    assert swapped.dtype == np.dtype(">i4")
    assert swapped[-1] == 4_999
    assert type(back(np.eye(60).view(np.matrix))) is np.matrix
    assert back(np.array([None, {1}], dtype=object))[1] == {1}
    nothing = back(np.zeros(3, np.dtype([])))
    assert (nothing.dtype, nothing.shape) == (np.dtype([]), (3,))
    records = np.zeros(5_000, [("a", ">f8"), ("b", "i4", (2,))])
    assert back(records).dtype == records.dtype
    assert back(np.ma.masked_array([1, 2], mask=[0, 1])).mask.tolist() == [False, True]


def test_a_mapped_array_is_refused(tmp_path: Path) -> None:
    """It is a view on a file, wherever in the value it is."""
    mapped = np.memmap(tmp_path / "m", dtype="f8", shape=(3,), mode="w+")
    for value in (mapped, Model(a=[mapped])):
        with pytest.raises(UnserializableError, match="view on a file"):
            dumped(value)


@pytest.mark.parametrize(
    "value", [lambda: 1, (n for n in ()), Model(a=open)], ids=["lambda", "generator", "fine"]
)
def test_it_refuses_what_pickle_refuses(value: Any) -> None:
    """One kind of error, naming the type."""
    if isinstance(value, Model):
        assert back(value).a is open
    else:
        with pytest.raises(UnserializableError, match="cannot be stored"):
            dumped(value)


@pytest.mark.parametrize("spoil", [lambda f: f[:-1], lambda f: [*f, b"more"], lambda f: [b""], lambda f: []])
def test_damaged_frames_raise(spoil: Callable[[Any], Any]) -> None:
    """Missing and additional frames are errors, which callers see as a miss."""
    frames = dumped([np.arange(OUT_OF_BAND), np.arange(OUT_OF_BAND)])
    with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a miss
        JoblibSerializer().loads([memoryview(frame) for frame in spoil(frames)])


def test_it_is_used_when_asked_for_and_only_where_entries_are_authenticated(tmp_path: Path) -> None:
    """By name it serializes; a store that others can read refuses it; unasked, pickle and arrays go first."""
    model = Model(a=np.arange(50_000.0))
    with open_cache("s", engine="joblib", path=tmp_path / "a", serializer="joblib") as cache:
        cache.set("k", model)
        assert [info.serializer for info in cache.entries()] == ["joblib"]
        assert (cache.get("k").a == model.a).all()
    with open_cache("s", engine="joblib", path=tmp_path / "b") as cache:
        cache.set("k", model)
        cache.set("l", model.a)
        assert sorted(info.serializer for info in cache.entries()) == ["array", "pickle"]
    (tmp_path / "c").mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match="not authenticated"):
        open_cache("s", engine="joblib", path=tmp_path / "c", serializer="joblib")


def test_loading_the_plugin_leaves_the_standard_pickler_alone(run_script: Callable[..., str]) -> None:
    """Neither copyreg nor pickle is taught anything."""
    script = (
        "import copyreg, pickle, numpy\n"
        "before = dict(copyreg.dispatch_table), dict(pickle._Pickler.dispatch)\n"
        "import cachewright_joblib.serializer, cachewright_joblib.keymaker, cachewright_joblib.memory\n"
        "print(before == (copyreg.dispatch_table, pickle._Pickler.dispatch))\n"
    )
    assert run_script(script) == "True"


def test_golden_payloads_are_read_for_ever() -> None:
    """What this format stored on the day it was fixed still comes back."""
    golden = json.loads(GOLDEN.read_text())
    values = {
        name: JoblibSerializer().loads([memoryview(bytes.fromhex(frame)) for frame in frames])
        for name, frames in golden.items()
    }
    assert values["container"] == {"a": [1, 2.5, None, ("x", b"y")]}
    assert values["array"].tolist() == [0, 1, 2]
    assert values["array"].dtype == np.dtype("<i4")
    large: Any = values["large"]
    assert large["name"] == "large"
    assert (large["values"] == np.full((128, 128), 7, dtype="u1")).all()

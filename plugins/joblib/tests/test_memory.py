"""joblib.Memory on engines of cachewright: existing code runs, and its results are sealed like any entry."""

from __future__ import annotations

import asyncio
import copy
import pickle
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from cachewright_joblib.memory import MemoryBackend, register
from joblib import Memory, expires_after
from joblib.memory import _FUNCTION_HASHES, _STORE_BACKENDS, MemorizedFunc

from cachewright.errors import ConfigurationError, NoEngineQualifiesError, UnsupportedByEngineError
from cachewright.testing.clock import ManualClock

ENGINES = ["sqlite", "memory", "joblib"]

calls: list[Any] = []


def double(x: Any, y: int = 2) -> Any:
    """Multiply."""
    calls.append(x)
    return x * y


def numbers(count: int) -> Any:
    calls.append(count)
    return np.arange(float(count))


def nested(count: int) -> Any:
    calls.append(count)
    return {"frame": pd.DataFrame({"a": np.arange(float(count))}), "list": [np.arange(count)]}


@pytest.fixture(autouse=True)
def backend() -> Any:
    register()
    calls.clear()
    yield
    _FUNCTION_HASHES.clear()
    del _STORE_BACKENDS["cachewright"]


@pytest.fixture
def memory(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Memory]:
    def make(engine: str | None = "sqlite", *, location: str = "cache", **settings: Any) -> Memory:
        options = settings.pop("options", {})
        if engine is not None:
            options = {"engine": engine, **options}
        return Memory(
            str(tmp_path / location),
            backend="cachewright",
            backend_options=options,
            **{"verbose": 0, **settings},
        )

    return make


Maker = Callable[..., Memory]


@pytest.mark.parametrize("engine", [*ENGINES, None])
def test_a_call_is_computed_once(memory: Maker, engine: str | None) -> None:
    """By whatever way it is asked: called, shelved, checked; another Memory of the location knows it, too."""
    f = memory(engine).cache(double)
    assert not f.check_call_in_cache(3)
    assert [f(3), f(3, 2), f(y=2, x=3), f(3, y=3)] == [6, 6, 6, 9]
    assert calls == [3, 3]
    assert f.check_call_in_cache(3)
    again = memory(engine).cache(double)
    assert again(3) == 6
    shelved = again.call_and_shelve(3)
    assert (shelved.get(), shelved.func_id) == (6, f.func_id)
    assert calls == [3, 3]
    assert again.call(3)[0] == 6
    assert calls == [3, 3, 3]
    assert "Multiply" in f.__doc__


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shelved_result_can_be_sent_and_cleared(memory: Maker, engine: str) -> None:
    """It pickles, knows its metadata, and once it is cleared it says so."""
    f = memory(engine).cache(double)
    shelved = f.call_and_shelve([1])
    other = pickle.loads(pickle.dumps(shelved))
    assert other.get() == [1, 1]
    assert other.metadata["input_args"] == {"x": "[1]", "y": "2"}
    assert other.duration >= 0
    other.clear()
    with pytest.raises(KeyError, match="cleared"):
        shelved.get()
    assert f([1]) == [1, 1]
    assert len(calls) == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_clearing_a_function_spares_the_others(memory: Maker, engine: str) -> None:
    """And clearing the Memory spares other locations."""
    store, elsewhere = memory(engine), memory(engine, location="elsewhere")
    f, g, h = store.cache(double), store.cache(numbers), elsewhere.cache(double)
    f(1), g(1), h(1)
    f.clear(warn=False)
    assert [f.check_call_in_cache(1), g.check_call_in_cache(1), h.check_call_in_cache(1)] == [
        False,
        True,
        True,
    ]
    store.clear(warn=False)
    h.check_call_in_cache(1)
    assert [g.check_call_in_cache(1), h.check_call_in_cache(1)] == [False, True]
    assert store.store_backend.get_items() == []
    f(1)
    assert f.check_call_in_cache(1)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_caller_may_change_what_it_is_given(memory: Maker, engine: str) -> None:
    """Without mmap_mode every hit is the caller's own, writable, at any depth."""
    f, g = memory(engine).cache(numbers), memory(engine).cache(nested)
    f(10_000)
    for _ in range(2):
        array = f(10_000)
        assert array[5] == 5
        array[5] = -1
    g(10_000)
    for _ in range(2):
        result = g(10_000)
        assert (result["frame"]["a"][3], result["list"][0][3], len(result["list"])) == (3, 3, 1)
        result["frame"].loc[3, "a"] = result["list"][0][3] = -1
        result["list"].append(1)
    assert calls == [10_000, 10_000]


def test_mmap_mode_is_kept_or_refused(memory: Maker) -> None:
    """'r' gives read-only views, of the first result too; 'c' a copy; modes that write are refused."""
    f = memory(mmap_mode="r").cache(numbers)
    for array in (f(100_000), f(100_000)):
        assert not array.flags.writeable
        assert not array.flags.owndata
    copied = memory(mmap_mode="c").cache(numbers)(100_000)
    copied[0] = 5
    assert f(100_000)[0] == 0
    assert calls == [100_000]
    for mode in ("r+", "w+"):
        with pytest.raises(ConfigurationError, match="mmap_mode"):
            memory(mmap_mode=mode)


def test_an_array_that_came_from_the_cache_is_the_same_argument(memory: Maker) -> None:
    """A view that a hit returned has the hash of the array that was stored."""
    store = memory(mmap_mode="r")
    f, g = store.cache(numbers), store.cache(double)
    g(f(20_000)), g(f(20_000)), g(np.arange(20_000.0))
    assert len(calls) == 2


def test_a_changed_function_is_computed_anew(memory: Maker, tmp_path: Path) -> None:
    """Its results go, those of others stay, and the new source is remembered."""

    def load(source: str) -> MemorizedFunc:
        file = tmp_path / "module.py"
        file.write_text(source)
        scope: dict[str, Any] = {"__name__": "module", "__file__": str(file), "calls": calls}
        exec(compile(source, str(file), "exec"), scope)
        _FUNCTION_HASHES.clear()
        return memory().cache(scope["f"])

    first = "def f(x):\n    calls.append('first')\n    return x + 1\n"
    second = "def f(x):\n    calls.append('second')\n    return x + 2\n"
    other = memory().cache(double)
    other(1)
    assert [load(first)(1), load(first)(1)] == [2, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [load(second)(1), load(second)(1)] == [3, 3]
    assert calls == [1, "first", "second"]
    assert other.check_call_in_cache(1)
    code = memory().store_backend.get_cached_func_code([load(second).func_id])
    assert code.endswith(second)


def test_a_validation_callback_sees_the_metadata(memory: Maker) -> None:
    """What it refuses is computed anew; expires_after goes by the time of computing."""
    seen: list[dict[str, Any]] = []
    f = memory().cache(
        double, cache_validation_callback=lambda metadata: bool(seen.append(metadata)) or len(seen) < 2
    )
    f(1), f(1), f(1)
    assert calls == [1, 1]
    assert set(seen[0]) == {"duration", "input_args", "time"}
    assert seen[0]["input_args"] == {"x": "1", "y": "2"}
    fresh = memory().cache(double, cache_validation_callback=expires_after(hours=1))
    stale = memory().cache(double, cache_validation_callback=expires_after(seconds=-1))
    fresh(1), stale(1), fresh(1)
    assert calls == [1, 1, 1]


def test_arguments_can_be_kept_out_of_the_metadata(memory: Maker, tmp_path: Path) -> None:
    """With input_args=False their repr is nowhere in the store; without it joblib's callers find it."""
    f = memory(options={"input_args": False}).cache(len)
    f("secret" * 3)
    assert set(f.call_and_shelve("secret" * 3).metadata) == {"duration", "time"}
    f.store_backend.cache.close()
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_nothing_but_sealed_entries_is_written(memory: Maker, tmp_path: Path) -> None:
    """No pickle, no metadata.json and no source lie about; what is not sealed by us is a miss."""
    f = memory("joblib").cache(double)
    f("a")
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()} - {".gitignore", "CACHEDIR.TAG"}
    assert {name for name in names if not name.endswith(".lock")} == {"output.pkl"}

    class Hostile:
        def __reduce__(self) -> Any:
            return (calls.append, ("executed",))

    for path in tmp_path.rglob("output.pkl"):
        joblib.dump(Hostile(), path)
    calls.clear()
    assert f("a") == "aa"
    assert calls == ["a"]


@pytest.mark.parametrize("engine", ENGINES)
def test_reduce_size_keeps_the_newest(memory: Maker, engine: str) -> None:
    """By number and by age on every engine, by bytes where the engine keeps bytes."""
    clock = ManualClock()
    store = memory(engine, options={"clock": clock})
    f = store.cache(numbers)
    for count in range(5):
        f(1000 + count)
        clock.advance(60)
    store.reduce_size(items_limit=3)
    assert [f.check_call_in_cache(1000 + count) for count in range(5)] == [False, False, True, True, True]
    assert len(store.store_backend.get_items()) == 3
    if engine == "memory":
        with pytest.raises(UnsupportedByEngineError, match="bytes_limit"):
            store.reduce_size(bytes_limit="1K")
    else:
        store.reduce_size(bytes_limit="20K")
        assert [f.check_call_in_cache(1000 + count) for count in range(2, 5)] == [False, True, True]
    store.reduce_size(age_limit=timedelta(days=100_000))
    assert f.check_call_in_cache(1004)
    store.reduce_size(items_limit=0)
    assert store.store_backend.get_items() == []
    assert len(store.store_backend.cache) == 1, "the source of the function, and no metadata"


def test_options_of_the_cache_are_passed_on(memory: Maker) -> None:
    """A ttl ends results, a bound holds, compression is the core's."""
    clock = ManualClock()
    f = memory(options={"ttl": "1h", "clock": clock}).cache(double)
    f(1), f(1)
    clock.advance(3601)
    f(1)
    assert calls == [1, 1]
    small = memory("memory", location="small", options={"maxsize": 5}).cache(double)
    for number in range(20):
        small(number)
    assert len(small.store_backend.cache) <= 5
    for compress in (True, 3, "zlib", ("zlib", 3)):
        store = memory(location=f"compressed {compress}", compress=compress)
        g = store.cache(double)
        assert [g("long" * 10_000), g("long" * 10_000)] == ["long" * 20_000] * 2
        assert store.store_backend.get_items()[0].size < 10_000


def test_a_wrong_option_is_refused_at_once(memory: Maker) -> None:
    """When the Memory is made, by its name and with what there is."""
    with pytest.raises(ConfigurationError, match=r"backend_options\['engin'\].*engine"):
        memory(None, options={"engin": "sqlite"})
    with pytest.raises(ConfigurationError, match="copy"):
        memory(options={"copy": None})
    with pytest.raises((NoEngineQualifiesError, ConfigurationError)):
        memory("memory", options={"scope": "host"})


@pytest.mark.parametrize("engine", ENGINES)
def test_what_cannot_be_stored_is_a_warning(memory: Maker, engine: str) -> None:
    """The function's result is returned all the same, and no older one takes its place later."""
    results: list[Any] = [1, (n for n in "a"), 3]

    def counted() -> Any:
        calls.append(1)
        return results[len(calls) - 1]

    f = memory(engine).cache(counted)
    assert f.call()[0] == 1
    with pytest.warns(Warning, match="Unable to cache"):
        assert f.call()[0] is results[1]
    assert f() == 3


def test_where_others_can_write_only_data_is_stored(memory: Maker, tmp_path: Path) -> None:
    """In a directory that is not private nothing is unpickled: data is stored, objects are a warning."""
    (tmp_path / "cache" / "joblib").mkdir(parents=True)
    (tmp_path / "cache" / "joblib").chmod(0o755)
    f = memory().cache(double)
    assert [f(3), f(3)] == [6, 6]
    assert calls == [3]
    g = memory().cache(nested)
    with pytest.warns(Warning, match="SIGNING_KEYS"):
        assert g(3)["list"][0][2] == 2


def test_verbosity_is_joblibs(memory: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    """What is computed and loaded is told as loudly as asked for."""
    for verbose in (0, 1, 2, 20):
        memory(verbose=verbose, location=f"v{verbose}").cache(double)(1)
        memory(verbose=verbose, location=f"v{verbose}").cache(double)(1)
        text = capsys.readouterr().out
        assert ("Calling" in text) is (verbose > 0)
        assert ("Loading" in text) is (verbose > 1)
        assert ("Persisting in" in text) is (verbose > 10)
        assert ("... " in text or " from " in text) is (verbose > 10)


def test_a_backend_pickles_as_its_options(memory: Maker) -> None:
    """Copies and pickles share one open cache; a Memory as an argument has a stable hash."""
    store = memory()
    twin, copied = pickle.loads(pickle.dumps(store.store_backend)), copy.copy(store.store_backend)
    assert twin.cache is copied.cache is store.store_backend.cache
    assert isinstance(twin, MemoryBackend)
    assert repr(twin) == repr(store.store_backend)
    assert joblib.hash(store) == joblib.hash(memory())


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("memory", marks=pytest.mark.slow)])
def test_workers_of_loky_use_the_store(
    memory: Maker, run_script: Callable[..., str], tmp_path: Path, engine: str
) -> None:
    """Parallel calls of a memorized function in two processes: stored for all who can see it."""
    script = (
        "import sys\nfrom joblib import Memory, Parallel, delayed\n"
        "from cachewright_joblib.memory import register\n"
        "def slow(x):\n"
        "    with open(sys.argv[1] + '/calls', 'a') as file:\n        file.write('x')\n"
        "    return [x]\n"
        "if __name__ == '__main__':\n"
        "    register()\n"
        "    store = Memory(sys.argv[1] + '/store', backend='cachewright', verbose=0,\n"
        "                   backend_options={'engine': sys.argv[2]})\n"
        "    f = store.cache(slow)\n"
        "    for _ in range(2):\n"
        "        results = Parallel(n_jobs=2)(delayed(f)(number, ) for number in range(6))\n"
        "    shelved = Parallel(n_jobs=2)(delayed(f.call_and_shelve)(number) for number in range(2))\n"
        "    print(results == [[n] for n in range(6)], f.check_call_in_cache(5), len(shelved))\n"
    )
    script = script.replace("sys.argv[1]", repr(str(tmp_path)))
    seen = run_script(script, "-", engine)
    assert seen == f"True {engine == 'sqlite'} 2"
    if engine == "sqlite":
        assert len((tmp_path / "calls").read_text()) == 6


def test_coroutine_functions_are_memorized(memory: Maker) -> None:
    """As joblib does it, on the same backend."""

    async def f(x: int) -> int:
        calls.append(x)
        return x + 1

    async def main() -> list[int]:
        g = memory().cache(f)
        return [await g(1), await g(1)]

    assert asyncio.run(main()) == [2, 2]
    assert calls == [1]


def test_a_moved_store_is_still_known(memory: Maker, tmp_path: Path) -> None:
    """Results belong to their directory, wherever it is; several locations in one path do not mix."""
    memory().cache(double)(1)
    memory().store_backend.cache.close()
    (tmp_path / "cache").rename(tmp_path / "moved")
    assert memory(location="moved").cache(double).check_call_in_cache(1)
    options = {"path": str(tmp_path / "one")}
    one, two = (memory(location=name, options=dict(options)) for name in ("a", "b"))
    one.cache(double)(5)
    assert not two.cache(double).check_call_in_cache(5)
    same = memory(location="c", options={**options, "namespace": "mine"})
    same.cache(double)(5)
    assert memory(location="d", options={**options, "namespace": "mine"}).cache(double).check_call_in_cache(5)


def test_many_stores_do_not_stay_open(memory: Maker) -> None:
    """What nobody uses any more is closed, but for the latest."""
    first = memory("memory", location="first").store_backend.cache
    for number in range(10):
        memory("memory", location=f"n{number}")
    with pytest.raises(Exception, match="closed"):
        first.set(1, 2)


def test_files_are_no_part_of_it(memory: Maker) -> None:
    """Whoever asks the backend for files is told that there are none."""
    store = memory().store_backend
    for ask in (
        lambda: store._open_item("a", "rb"),
        lambda: store._item_exists("a"),
        lambda: store._move_item("a", "b"),
    ):
        with pytest.raises(OSError, match="no files"):
            ask()
    assert store.contains_path(["f"]) is False
    store.store_cached_func_code(["f"], "code")
    assert store.contains_path(["f"]) is True
    with pytest.raises(FileNotFoundError):
        store.get_cached_func_code(["g"])

"""An engine with faults keeps the contract, but for what its plan says, and logs what happened."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachewright import MISSING, cached, configure, open_async_cache, open_cache
from cachewright.cache import Cache
from cachewright.engine import EngineConfig, MappedBlob
from cachewright.errors import (
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    UnknownEngineError,
    UnsupportedByEngineError,
)
from cachewright.registry import default_registry
from cachewright.testing import (
    AsyncChaosEngine,
    AsyncEngineKit,
    Blocking,
    Chaos,
    ChaosEngine,
    Corruption,
    Delay,
    EngineKit,
    Failure,
    Fault,
    Hang,
    LostWrite,
    install_chaos,
)
from cachewright.testing.chaos_record import ChaosInfo
from cachewright.testing.reference import DICT, FOLDER, AsyncDictEngine, DictEngine, FolderEngine

KEY, OTHER = "aa", "bb"


class TestChaosOverDict(EngineKit):
    info = DICT

    def open(self, config):
        return ChaosEngine(super().open(config), Chaos())


class TestChaosOverFolder(EngineKit):
    info = FOLDER

    def open(self, config):
        return ChaosEngine(super().open(config), Chaos())


class TestAsyncChaosOverDict(AsyncEngineKit):
    info = ChaosInfo.around(DICT, Chaos(), name="reference-dict")


def dict_engine(*faults, **options):
    """An engine of objects with faults, and its chaos."""
    chaos = Chaos(*faults, **options)
    return ChaosEngine(DictEngine(EngineConfig()), chaos), chaos


def folder_engine(path, *faults, **options):
    """An engine of bytes with faults, holding two entries."""
    engine = ChaosEngine(FolderEngine(EngineConfig(path=path)), Chaos(*faults, **options))
    engine.set(KEY, [b"first ", b"entry"])
    engine.set(OTHER, [b"other entry"])
    return engine


def outcomes(engine, times):
    """Call get; return which times it failed."""
    failed = []
    for turn in range(1, times + 1):
        try:
            engine.get(KEY)
        except EngineError:
            failed.append(turn)
    return failed


@pytest.mark.parametrize(
    ("conditions", "failed"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"at": 2}, [2]),
        ({"at": (1, 4)}, [1, 4]),
        ({"operations": "set"}, []),
        ({"operations": ("set", "get"), "at": 3}, [3]),
        ({"where": lambda operation, key: key == OTHER}, []),
        ({"where": lambda operation, key: (operation, key) == ("get", KEY), "at": 5}, [5]),
        ({"probability": 0.0}, []),
    ],
)
def test_a_fault_happens_where_its_conditions_hold(conditions, failed):
    """Operations, number, probability and predicate are joined by and."""
    engine, _ = dict_engine(Failure(**conditions))
    assert failed == outcomes(engine, 5)


def test_probability_goes_by_the_seed():
    """The same seed gives the same faults, in about the share that was asked for."""
    runs = [outcomes(dict_engine(Failure(probability=0.3), seed=seed)[0], 200) for seed in (7, 7, 8)]
    assert runs[0] == runs[1] != runs[2]
    assert 30 < len(runs[0]) < 90


def test_what_happened_is_recorded():
    """Every fault that happened is logged, with the number of the operation among all."""
    late, broken = Delay(3.0, operations="get", at=2), Failure(operations="delete")
    slept = []
    engine, chaos = dict_engine(late, broken, sleep=slept.append)
    engine.set(KEY, 1)
    assert [engine.get(KEY), engine.get(KEY)] == [1, 1]
    with pytest.raises(EngineError):
        engine.delete(KEY)
    assert chaos.happened == [(3, "get", late), (4, "delete", broken)]
    assert chaos.operations == 4
    assert slept == [3.0]
    assert engine.get(KEY) == 1


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (EngineError, EngineError, "engine 'reference-dict' failed to get: it was told to fail"),
        (EngineUnavailableError, EngineUnavailableError, "failed to get"),
        (MemoryError, MemoryError, "^$"),
        (lambda: OSError(28, "No space left on device"), OSError, "No space left"),
    ],
)
def test_a_failure_raises_what_it_is_told(error, kind, text):
    """An engine's error, unreachability, or any exception."""
    engine, _ = dict_engine(Failure(error))
    with pytest.raises(kind, match=text):
        engine.get(KEY)


def test_a_failure_loses_the_write_unless_it_is_done():
    """Before the operation nothing is stored; with done=True the operation took place."""
    engine, _ = dict_engine(Failure(operations="set", at=2), Failure(operations="set", at=3, done=True))
    engine.set(KEY, 1)
    with pytest.raises(EngineError):
        engine.set(KEY, 2)
    assert engine.get(KEY) == 1
    with pytest.raises(EngineError):
        engine.set(KEY, 3)
    assert engine.get(KEY) == 3


def test_a_failure_ends_an_operation():
    """What stands behind a failure in the plan did not happen to that operation."""
    late = Delay(1.0)
    broken = Failure()
    slept = []
    engine, chaos = dict_engine(broken, late, sleep=slept.append)
    with pytest.raises(EngineError):
        engine.clear()
    assert [happening.fault for happening in chaos.happened] == [broken]
    assert slept == []


def test_lost_writes_are_reported():
    """Nothing is stored, the answers say so, and the older entry of a set is gone."""
    engine, chaos = dict_engine(LostWrite())
    inner = engine._engine
    for key in (KEY, OTHER):
        inner.set(key, 1)
    assert engine.set(KEY, 2) is False
    assert engine.get(KEY) is MISSING
    assert engine.set_many([(OTHER, 2, None, 1)]) == 0
    assert engine.get(OTHER) is MISSING
    inner.set(KEY, 1)
    assert engine.compare_and_set(KEY, 1, 2) is False
    assert engine.compare_and_set_many([(KEY, 1, 2, None, 1), (OTHER, MISSING, 2, None, 1)]) == [False, False]
    assert engine.get(KEY) == 1
    assert engine.delete(KEY) is True
    chaos.stop()
    assert engine.set(KEY, 2) is True


@pytest.mark.parametrize("way", ["flip", "truncate", "garbage", "swap"])
def test_corrupted_bytes_differ(tmp_path, way):
    """Bytes come back other than they were stored, by get and by get_many; what is stored stays whole."""
    engine = folder_engine(tmp_path, Corruption(way, where=lambda _, key: key == KEY))
    (got,) = {bytes(engine.get(KEY))}
    many = {key: bytes(blob) for key, blob in engine.get_many([KEY, OTHER, "cc"]).items()}
    assert set(many) == {KEY, OTHER}
    assert many[OTHER] == b"other entry"
    for damaged in (got, many[KEY]):
        assert damaged != b"first entry"
        if way == "flip":
            changed = [
                one ^ other for one, other in zip(damaged, b"first entry", strict=True) if one != other
            ]
            assert [value.bit_count() for value in changed] == [1]
        elif way == "truncate":
            assert b"first entry".startswith(damaged)
        elif way == "garbage":
            assert len(damaged) == len(b"first entry")
        else:
            assert damaged == b"other entry"
    engine.chaos.stop()
    assert engine.get(KEY) == b"first entry"


def test_corruption_by_a_function(tmp_path):
    """A function of the bytes and the generator returns other bytes; a miss stays a miss."""
    engine = folder_engine(tmp_path, Corruption(lambda data, random: data.upper()))
    assert engine.get(KEY) == b"FIRST ENTRY"
    assert engine.get("cc") is MISSING


def test_a_swap_without_another_entry_is_noise(tmp_path):
    """Where there is nothing to swap with, the bytes still differ."""
    engine = folder_engine(tmp_path, Corruption("swap"))
    engine.delete(OTHER)
    assert len(engine.get(KEY)) == 11
    assert engine.get(KEY) != b"first entry"


def test_a_mapped_blob_is_corrupted_like_any_other():
    """A blob that views a file comes back as damaged bytes."""
    engine, _ = dict_engine(Corruption("flip"))
    engine.set(KEY, MappedBlob(memoryview(b"whole"), 1))
    assert len(engine.get(KEY)) == 5
    assert engine.get(KEY) != b"whole"


def test_objects_cannot_be_corrupted():
    """An engine of objects has no bytes to damage, and says so instead of doing nothing."""
    engine, _ = dict_engine(Corruption())
    engine.set(KEY, 1)
    with pytest.raises(UnsupportedByEngineError, match="holds objects"):
        engine.get(KEY)


def test_an_operation_hangs_until_it_is_released():
    """Others go on meanwhile; release lets all that hang go on, and later ones hang again."""
    engine, chaos = dict_engine(Hang(operations="get", where=lambda _, key: key == KEY))
    engine.set(KEY, 1)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            waiting = [pool.submit(engine.get, KEY) for _ in range(2)]
            chaos.wait_for_hang(2)
            assert engine.get(OTHER) is MISSING
            assert [future.done() for future in waiting] == [False, False]
            chaos.release()
            assert [future.result(30) for future in waiting] == [1, 1]
    assert chaos.hanging == 0


def test_a_hang_that_nobody_releases_ends():
    """After its limit it raises, so that a forgotten release ends a test."""
    engine, chaos = dict_engine(Hang(0.01))
    with pytest.raises(EngineUnavailableError, match=r"hung for 0\.01 s"):
        engine.get(KEY)
    with pytest.raises(TimeoutError, match="0 operations hang"):
        chaos.wait_for_hang(limit=0.01)


@pytest.mark.parametrize(
    ("kind", "arguments", "setting"),
    [
        (Failure, {"operations": "gte"}, "operations"),
        (Corruption, {"operations": "set"}, "operations"),
        (LostWrite, {"operations": ("set", "delete")}, "operations"),
        (Failure, {"at": 0}, "at"),
        (Failure, {"probability": 1.5}, "probability"),
    ],
)
def test_a_fault_that_can_never_happen_is_refused(kind, arguments, setting):
    """Misspelt operations and impossible conditions are errors when the fault is made."""
    with pytest.raises(ConfigurationError, match=setting):
        kind(**arguments)


def test_closing_fails_only_where_asked():
    """A fault for all operations leaves close alone."""
    engine, _ = dict_engine(Failure())
    engine.close()
    engine, _ = dict_engine(Failure(operations="close"))
    with pytest.raises(EngineError):
        engine.close()


def test_threads_share_a_plan():
    """With at=..., a fault happens to exactly one of many operations, whoever asks."""
    engine, chaos = dict_engine(Failure(operations="get", at=500))
    barrier = threading.Barrier(4, timeout=60)

    def ask(_):
        barrier.wait()
        return len(outcomes(engine, 250))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ask, range(4))) == 1
    assert chaos.operations == 1000


async def use_everything(engine):
    """Use every operation of an asynchronous engine; return what was seen."""
    seen = [await engine.set("a", 1), await engine.get("a"), await engine.set_many([("b", 2, None, 1)])]
    seen += [await engine.get_many(["a", "b", "c"]), await engine.compare_and_set("a", 1, 3)]
    seen += [await engine.compare_and_set_many([("a", 3, 4, None, 1), ("a", 3, 5, None, 1)])]
    seen += [sorted([key async for key in engine.keys()]), await engine.count(), engine.private]
    seen += [await engine.delete("a"), await engine.delete_many(["b", "c"])]
    await engine.clear()
    await engine.close()
    return seen


def test_an_asynchronous_engine_with_faults_keeps_the_contract():
    """Without faults every answer is that of the wrapped engine."""
    plain = asyncio.run(use_everything(AsyncDictEngine(EngineConfig())))
    wrapped = asyncio.run(use_everything(AsyncChaosEngine(AsyncDictEngine(EngineConfig()), Chaos())))
    assert plain == wrapped
    assert plain[3] == {"a": 1, "b": 2}


def test_faults_of_an_asynchronous_engine():
    """Failures, delays, lost writes and hangs happen to awaited operations as well."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    chaos = Chaos(
        Delay(2.0, operations="get"),
        Failure(operations="delete"),
        Failure(operations=("clear", "keys", "count"), done=True),
        LostWrite(where=lambda _, key: key == "lost"),
        Hang(operations="get", where=lambda _, key: key == "slow"),
        async_sleep=sleep,
    )

    async def body():
        engine = AsyncChaosEngine(AsyncDictEngine(EngineConfig()), chaos)
        assert await engine.set("a", 1)
        assert await engine.get("a") == 1
        assert await engine.set("lost", 1) is False
        assert await engine.set_many([("lost", 1, None, 1)]) == 0
        assert await engine.compare_and_set("lost", MISSING, 1) is False
        assert await engine.compare_and_set_many([("lost", MISSING, 1, None, 1)]) == [False]
        for operation in (engine.delete("a"), engine.count(), engine.clear()):
            with pytest.raises(EngineError):
                await operation
        with pytest.raises(EngineError):
            assert [key async for key in engine.keys()] == []
        waiting = asyncio.ensure_future(engine.get("slow"))
        await asyncio.to_thread(chaos.wait_for_hang)
        assert not waiting.done()
        chaos.release()
        assert await asyncio.wait_for(waiting, 30) is MISSING
        waiting = asyncio.ensure_future(engine.get("slow"))
        await asyncio.to_thread(chaos.wait_for_hang)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert chaos.hanging == 0

    asyncio.run(body())
    assert slept == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("way", ["flip", "swap"])
def test_corruption_of_an_asynchronous_engine(way):
    """Bytes come back damaged, or are those of another key."""

    async def body():
        engine = AsyncChaosEngine(AsyncDictEngine(EngineConfig()), Chaos(Corruption(way)))
        await engine.set("a", b"first")
        alone = await engine.get("a")
        await engine.set("b", b"other")
        return alone, await engine.get("a"), await engine.get_many(["a", "c"])

    alone, damaged, many = asyncio.run(body())
    assert alone != b"first" != damaged
    assert list(many) == ["a"]
    assert (damaged == b"other") is (way == "swap")


def test_a_hang_of_an_asynchronous_engine_ends():
    """After its limit it raises."""
    engine = Blocking(EngineConfig(), ChaosInfo.around(DICT, Chaos(Hang(0.01)), name="chaos").load_async())
    with pytest.raises(EngineUnavailableError, match="hung"):
        engine.get("a")
    engine.dispose()


def test_a_cache_on_an_engine_with_faults():
    """A cache is built around such an engine as around any other."""
    engine, chaos = dict_engine(LostWrite(operations="set", at=2))
    life = open_cache("n", engine="memory").lifecycle
    with Cache(engine, life) as cache:
        assert [cache.set("k", 1), cache.get("k"), cache.set("k", 2), cache.get("k")] == [
            True,
            1,
            False,
            None,
        ]
    assert [happening.operation for happening in chaos.happened] == ["set"]


def test_a_decorated_function_on_an_installed_chaos(tmp_path):
    """engine="chaos" is the wrapped engine with faults; the function is computed where the store fails."""
    calls = []
    with install_chaos("sqlite", Chaos(Failure(operations="get", at=2))) as chaos:

        @cached(engine="chaos", path=tmp_path, key="{x}", name="doubled")
        def double(x):
            calls.append(x)
            return 2 * x

        assert [double(number % 2) for number in range(6)] == [0, 2, 0, 2, 0, 2]
    assert 2 <= len(calls) <= 3
    assert [happening.operation for happening in chaos.happened] == ["get"]
    assert double(1) == 2
    with pytest.raises(UnknownEngineError):
        default_registry().engine("chaos")


def test_a_decorated_function_in_memory_on_an_installed_chaos():
    """An engine of objects is wrapped as well, and its reader with it: every look-up is an operation."""
    slept = []
    with install_chaos("memory", Chaos(Delay(1.0, operations="get"), sleep=slept.append)):

        @cached(engine="chaos")
        def double(x):
            return 2 * x

        assert [double(1), double(1), double(1)] == [2, 2, 2]
    assert len(slept) >= 3
    assert double.cache_info().hits == 2


def test_damaged_entries_are_misses(tmp_path):
    """Whatever way bytes are damaged, a cache answers with the value or with a miss."""
    for way in ("flip", "truncate", "garbage", "swap"):
        with (
            install_chaos("sqlite", Chaos(Corruption(way, probability=0.5), seed=3)) as chaos,
            open_cache("n", engine="chaos", path=tmp_path / way) as cache,
        ):
            for number in range(10):
                cache.set(number, f"value {number}")
            answers = [(number, cache.get(number)) for number in range(10) for _ in range(10)]
            assert {answer for _, answer in answers} >= {None}
            assert {(number, answer) for number, answer in answers if answer is not None} == {
                (number, f"value {number}") for number in range(10)
            }
            assert cache.stats().misses == len(chaos.happened)


def test_asynchronous_caches_use_an_installed_chaos(tmp_path):
    """An engine without an asynchronous class is wrapped below the bridge."""

    async def body():
        async with open_async_cache("n", engine="chaos", path=tmp_path) as cache:
            await cache.set("k", 1)
            return [await cache.get("k"), await cache.get("k")]

    with install_chaos("sqlite", Chaos(Failure(operations="get", at=1))):
        assert asyncio.run(body()) == [None, 1]


def test_code_that_names_no_engine_uses_chaos_by_the_setting():
    """Under the setting engine="chaos" an application needs no change."""
    with install_chaos("memory", Chaos()) as chaos, configure(engine="chaos"), open_cache("n") as cache:
        cache["k"] = 1
        assert cache.engine == "chaos"
    assert chaos.operations > 0


def test_two_kinds_of_chaos_have_two_names():
    """Under names of their own, several can be installed at once."""
    with install_chaos("memory", Chaos()), install_chaos("memory", Chaos(Failure()), name="worse"):
        assert set(default_registry().engines()) >= {"chaos", "worse"}
    assert set(default_registry().engines()).isdisjoint({"chaos", "worse"})


def test_a_fault_is_a_record():
    """Faults compare by value and cannot be changed."""
    assert Fault(operations="get") == Fault(operations="get") != Fault(operations="set")
    with pytest.raises(AttributeError):
        Delay(1.0).seconds = 2.0

"""Batches: one look-up for all keys, one call for the missing ones, one write, and shared work."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import textwrap
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachewright import INJECTED, Freshness, cached, disabled, open_cache
from cachewright.config import Settings
from cachewright.errors import ConfigurationError, EngineError, UnserializableError
from cachewright.testing import Chaos, Delay, Failure, install_chaos
from cachewright.testing.start_line import switching_eagerly

PATIENCE = 20.0


class Loads:
    """A body of batches: notes what it is asked for, and answers with ``answer(ids)``."""

    def __init__(self, answer=lambda ids: {one: f"<{one}>" for one in ids}):
        self.answer = answer
        self.batches = []

    def __call__(self, ids):
        self.batches.append(ids)
        return self.answer(ids)


class HeldLoads(Loads):
    """A body that says when it has begun, and goes on when it is let."""

    def __init__(self, *answer):
        super().__init__(*answer)
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, ids):
        self.batches.append(ids)
        self.begun.release()
        assert self.open.wait(PATIENCE)
        return self.answer(ids)

    def await_begin(self):
        """Wait until one more call has begun."""
        assert self.begun.acquire(timeout=PATIENCE)


def calling(body):
    """Return a function of ``ids`` that calls ``body``, which is none."""

    def load(ids):
        return body(ids)

    return load


def many(world, body, cache=None, **options):
    """Decorate ``body(ids)`` as a function ``load(ids, y=0)`` of the colour of the world."""
    cache = world.open() if cache is None else cache
    if world.colour == "sync":

        def load(ids, y=0):
            return body(ids)

    else:

        async def load(ids, y=0):
            return await asyncio.to_thread(body, ids)

    return type(cache)(world, cached.many("ids", cache=cache._target, name="load", **options)(load))


class TestAnswers:
    """What comes back, in which order, computed how."""

    def test_one_call_computes_what_is_missing(self, world):
        """The function is given a list of the missing keys, each once, in the order asked for."""
        loads = Loads()
        load = many(world, loads)
        assert load([1, 2, 1]) == {1: "<1>", 2: "<2>"}
        assert load([3, 2, 4, 3]) == {3: "<3>", 2: "<2>", 4: "<4>"}
        assert loads.batches == [[1, 2], [3, 4]]
        assert load([4, 3, 2, 1]) == {4: "<4>", 3: "<3>", 2: "<2>", 1: "<1>"}
        assert len(loads.batches) == 2

    def test_the_order_is_that_of_the_keys_asked_for(self, world):
        """Whatever was stored, and in whatever order the function answers."""
        load = many(world, Loads(lambda ids: {one: one for one in reversed(ids)}))
        load([5, 3])
        assert list(load([4, 3, 2, 5, 1])) == [4, 3, 2, 5, 1]

    @pytest.mark.parametrize("empty", [[], (), set(), {}, iter(())])
    def test_no_keys_need_nobody(self, world, empty):
        """Neither the engine nor the function is asked, and nothing is counted."""
        loads = Loads()
        load = many(world, loads)
        assert load(empty) == {}
        assert loads.batches == []
        assert load.cache_info()[:2] == (0, 0)

    @pytest.mark.parametrize(
        "given",
        [(1, 2), {1, 2}, frozenset({1, 2}), {1: "a", 2: "b"}, range(1, 3)],
        ids=lambda one: type(one).__name__,
    )
    def test_any_iterable_holds_keys(self, world, given):
        """The function gets a list all the same."""
        loads = Loads()
        load = many(world, loads)
        assert load(given) == {1: "<1>", 2: "<2>"}
        assert loads.batches == [[1, 2]]

    def test_a_generator_is_consumed_once(self, world):
        """Keys may come from a generator."""
        load = many(world, Loads())
        assert load(one for one in (2, 1)) == {2: "<2>", 1: "<1>"}
        assert load(one for one in (2, 1)) == {2: "<2>", 1: "<1>"}
        assert load.cache_info()[:2] == (2, 2)

    def test_a_list_answers_in_the_order_of_the_keys(self, world):
        """A list, or a tuple, of as many values is as good as a mapping."""
        load = many(world, Loads(lambda ids: [one * 10 for one in ids]))
        assert load([2, 1, 2]) == {2: 20, 1: 10}
        assert load([1, 3]) == {1: 10, 3: 30}

    @pytest.mark.parametrize(
        ("result", "words"),
        [
            ([1], "not a list of 1"),
            ([1, 2, 3], "not a list of 3"),
            ("ab", "not a str"),
            (7, "not a int"),
            (None, "NoneType"),
        ],
    )
    def test_an_answer_that_fits_nothing_is_a_clear_error(self, world, result, words):
        """It says what the function has to return and what it did; nothing is stored."""
        load = many(world, Loads(lambda ids: result))
        with pytest.raises(TypeError, match=words):
            load([1, 2])
        assert load.peek([1, 2]) == {}

    def test_keys_without_a_value_are_left_out_and_asked_for_again(self, world):
        """A mapping need not have all keys; what it has beyond them is nobody's."""
        loads = Loads(lambda ids: {one: one for one in ids if one % 2} | {99: "extra"})
        load = many(world, loads)
        assert load([1, 2, 3]) == {1: 1, 3: 3}
        assert load([1, 2, 3]) == {1: 1, 3: 3}
        assert loads.batches == [[1, 2, 3], [2]]
        assert not load.is_cached([99])

    def test_a_default_of_the_mapping_is_not_a_value(self, world):
        """A defaultdict is asked for the keys that it has."""
        load = many(world, Loads(lambda ids: defaultdict(list, {ids[0]: [1]})))
        assert load([1, 2]) == {1: [1]}

    def test_falsy_values_are_values(self, world):
        """None, 0 and empty containers are remembered."""
        values = {"a": None, "b": 0, "c": "", "d": [], "e": False}
        loads = Loads(lambda ids: {one: values[one] for one in ids})
        load = many(world, loads)
        assert load(list(values)) == load(list(values)) == values
        assert len(loads.batches) == 1

    def test_elements_that_cannot_be_hashed_are_refused_before_anything_is_computed(self, world):
        """The answer is a dict: the error names the parameter."""
        loads = Loads()
        load = many(world, loads)
        with pytest.raises(TypeError, match="elements of ids must be hashable, not of type list"):
            load([1, [2]])
        assert loads.batches == []

    def test_what_cannot_be_iterated_is_a_type_error(self, world):
        """A single key is no batch."""
        load = many(world, Loads())
        with pytest.raises(TypeError, match="not iterable"):
            load(7)

    def test_equal_elements_are_one_key_and_typed_tells_calls_apart(self, world):
        """In one batch the first of equal elements counts, as it does in the dict that is returned."""
        loads = Loads(lambda ids: {one: type(one).__name__ for one in ids})
        load = many(world, loads)
        assert load([1, 1.0, True]) == {1: "int"}
        assert load([1.0]) == {1.0: "int"}
        loads = Loads(lambda ids: {one: type(one).__name__ for one in ids})
        load = many(world, loads, world.open("typed"), typed=True)
        assert load([1, 1.0]) == {1: "int"}
        assert load([1.0]) == {1.0: "float"}
        assert load([1]) == {1: "int"}
        assert loads.batches == [[1], [1.0]]


class TestParameters:
    """Where the keys stand among the parameters."""

    def test_other_parameters_are_part_of_every_key(self):
        """However they are passed; keys may be given by name."""
        batches = []

        @cached.many("ids")
        def load(prefix, ids, /, suffix="!", *rest, sep="-", **more):
            batches.append(ids)
            return {one: sep.join([prefix, str(one), suffix, *rest, *more]) for one in ids}

        assert load("a", [1, 2]) == {1: "a-1-!", 2: "a-2-!"}
        assert load("a", [2, 3], "!", sep="-") == {2: "a-2-!", 3: "a-3-!"}
        assert load("a", [1], sep="+") == {1: "a+1+!"}
        assert load("b", [1]) == {1: "b-1-!"}
        assert load("a", [1], "!", "x", y=1) == {1: "a-1-!-x-y"}
        assert batches == [[1, 2], [3], [1], [1], [1]]

    def test_keys_may_be_keyword_only_or_have_a_default(self):
        """Both are bound as by the interpreter."""
        batches = []

        @cached.many("ids")
        def load(scale=1, *, ids=(1, 2)):
            batches.append(ids)
            return [one * scale for one in ids]

        assert load() == {1: 1, 2: 2}
        assert load(ids=[2, 3]) == {2: 2, 3: 3}
        assert load(scale=10, ids=[2]) == {2: 20}
        assert batches == [[1, 2], [3], [2]]

    def test_ignored_parameters_are_not_in_the_key(self):
        """As for any function."""
        calls = []

        @cached.many("ids", ignore="session")
        def load(session, ids):
            calls.append(session)
            return ids

        assert load("s", [1]) == load("t", [1]) == {1: 1}
        assert calls == ["s"]

    def test_methods_have_entries_per_instance(self):
        """Instances share nothing; management takes the instance first, and says so."""

        class Shop:
            def __init__(self, name):
                self.name = name

            @cached.many("ids")
            def prices(self, ids):
                return {one: (self.name, one) for one in ids}

        a, b = Shop("a"), Shop("b")
        assert a.prices([1, 2]) == {1: ("a", 1), 2: ("a", 2)}
        assert b.prices([2]) == {2: ("b", 2)}
        assert Shop.prices.peek(a, [1, 2, 3]) == {1: ("a", 1), 2: ("a", 2)}
        assert Shop.prices.invalidate(a, [1, 2])
        assert Shop.prices.peek(a, [1, 2]) == {}
        assert Shop.prices.peek(b, [2]) == {2: ("b", 2)}
        with pytest.raises(TypeError, match="pass the instance first"):
            Shop.prices.invalidate([1, 2], [1])

    def test_entries_of_instances_that_are_gone_are_removed(self):
        """They do not stay until they are evicted."""

        class Shop:
            @cached.many("ids")
            def prices(self, ids):
                return ids

        for _ in range(50):
            assert Shop().prices([1, 2, 3]) == {1: 1, 2: 2, 3: 3}
        assert len(Shop.prices.cache) <= 12
        assert Shop.prices.cache_info().currsize == 0

    def test_class_methods_and_static_methods_work(self):
        """The class is part of the key."""

        class Base:
            @cached.many("ids")
            @classmethod
            def named(cls, ids):
                return [f"{cls.__name__}{one}" for one in ids]

            @cached.many("ids")
            @staticmethod
            def plain(ids):
                return ids

        class Derived(Base):
            pass

        assert Base.named([1]) == {1: "Base1"}
        assert Derived.named([1]) == {1: "Derived1"}
        assert Base.plain([1]) == Derived().plain([1]) == {1: 1}

    def test_self_key_identifies_the_instance_on_a_store_that_outlives_it(self, tmp_path):
        """Equal instances of another life share."""
        calls = []

        class Shop:
            def __init__(self, name):
                self.name = name

            @cached.many("ids", path=tmp_path, self_key=lambda self: self.name, name="shop")
            def prices(self, ids):
                calls.append(ids)
                return ids

        assert Shop("a").prices([1, 2]) == Shop("a").prices([1, 2]) == {1: 1, 2: 2}
        assert Shop("b").prices([1]) == {1: 1}
        assert calls == [[1, 2], [1]]


class TestRefusals:
    """What has no meaning for a batch is refused at decoration."""

    @pytest.mark.parametrize("keys", ["nothing", "rest", "more", "*rest", "y"])
    def test_the_keys_must_be_a_parameter_of_the_key(self, keys):
        """The error lists those that are."""
        with pytest.raises(ConfigurationError, match="part of the key: x, ids"):

            @cached.many(keys, ignore="y")
            def load(x, y, *rest, ids, **more):
                return {}

    def test_a_key_function_leaves_no_parameter(self):
        """``key=`` makes the whole key: there is nothing an element could stand for."""
        with pytest.raises(ConfigurationError, match="none"):
            cached.many("ids", key=lambda ids: 1)(lambda ids: ids)

    @pytest.mark.parametrize(
        "options",
        [
            {"freshness": Freshness(ttl=10, stale_ttl=10)},
            {"cache_errors": LookupError},
            {"tags": lambda result: ["a"]},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_options_without_a_meaning_are_named(self, options):
        """Rather than ignored."""
        with pytest.raises(ConfigurationError, match="beside it"):
            cached.many("ids", **options)(lambda ids: ids)

    def test_a_load_context_is_refused(self):
        """It belongs to one result."""
        with pytest.raises(ConfigurationError, match="load context"):

            @cached.many("ids")
            def load(ids, *, ctx=INJECTED):
                return {}

    def test_generator_functions_are_refused(self):
        """A batch returns all values at once."""
        with pytest.raises(ConfigurationError, match="generator"):

            @cached.many("ids")
            def load(ids):
                yield 1

    def test_the_decorator_says_what_it_is(self):
        """Its repr is what one writes."""
        assert repr(cached) == "cached"
        assert "many" in repr(type(cached)("ids"))


class TestEngineCalls:
    """The engine is asked as rarely as can be."""

    def recorded(self, tmp_path, engine):
        chaos = Chaos(Delay(0.0), sleep=lambda _: None)
        with install_chaos(engine, chaos):
            where = {"path": tmp_path} if engine == "sqlite" else {}
            cache = open_cache("recorded", engine="chaos", **where)
        return chaos, cache

    def test_an_engine_of_objects_is_asked_once_and_told_once(self, tmp_path):
        """One look-up, one call, one write, whatever the number of keys; a full hit is one look-up."""
        chaos, cache = self.recorded(tmp_path, "memory")
        loads = Loads()
        load = cached.many("ids", cache=cache)(calling(loads))
        load(range(50))
        assert [one.operation for one in chaos.happened] == ["get_many", "set_many"]
        chaos.happened.clear()
        load(range(25, 75))
        assert [one.operation for one in chaos.happened] == ["get_many", "set_many"]
        chaos.happened.clear()
        load(range(75))
        assert [one.operation for one in chaos.happened] == ["get_many"]
        assert [len(batch) for batch in loads.batches] == [50, 25]

    def test_a_shared_store_is_told_once_more_that_the_keys_are_claimed(self, tmp_path):
        """Claims and values take one operation each, and claims that are not needed one to give them back."""
        chaos, cache = self.recorded(tmp_path, "sqlite")
        loads = Loads(lambda ids: {one: one for one in ids if one < 90})
        load = cached.many("ids", cache=cache, name="load")(calling(loads))
        swap = "compare_and_set_many"
        load(range(50))
        assert [one.operation for one in chaos.happened] == ["get_many", swap, swap]
        chaos.happened.clear()
        load(range(80, 100))
        assert [one.operation for one in chaos.happened] == ["get_many", swap, swap, swap]
        chaos.happened.clear()
        assert load.refresh(range(40)) == {one: one for one in range(40)}
        assert [one.operation for one in chaos.happened] == ["get_many", swap]
        chaos.happened.clear()
        load.peek(range(40))
        load.put({1: 1, 2: 2}, [1, 2])
        assert [one.operation for one in chaos.happened] == ["get_many", "set_many"]
        assert [len(batch) for batch in loads.batches] == [50, 20, 40]

    def test_no_keys_are_no_operation(self, tmp_path):
        """An empty batch does not open a transaction."""
        chaos, cache = self.recorded(tmp_path, "sqlite")
        load = cached.many("ids", cache=cache, name="load")(lambda ids: ids)
        assert load([]) == load.refresh([]) == load.peek([]) == {}
        assert [one.operation for one in chaos.happened if one.operation != "get_many"] == []

    def test_an_engine_that_is_down_is_a_miss(self, tmp_path):
        """The function answers, and nobody notices; asked for it, the error of the engine is raised."""
        with install_chaos("sqlite", Chaos(Failure())):
            load = cached.many("ids", engine="chaos", path=tmp_path, name="down")(lambda ids: ids)
            loud = cached.many("ids", engine="chaos", path=tmp_path, name="loud", on_engine_error="raise")(
                lambda ids: ids
            )
            for _ in range(3):
                assert load([1, 2]) == {1: 1, 2: 2}
            with pytest.raises(EngineError):
                loud([1, 2])
        info = load.cache_info()
        assert (info.loads, info.stored, info.misses) == (3, 0, 6)

    def test_an_engine_that_fails_while_it_is_told_does_not_keep_the_values(self, tmp_path):
        """What was computed is returned; no flight is left, so the next call is served."""
        for at in range(1, 4):
            with install_chaos("sqlite", Chaos(Failure(operations="compare_and_set_many", at=at))):
                cache = open_cache("failing", engine="chaos", path=tmp_path / str(at))
            load = cached.many("ids", cache=cache, name="load")(calling(list))
            for turn in range(3):
                assert load([1, 2, turn]) == dict.fromkeys([1, 2, turn]) | {1: 1, 2: 2, turn: turn}
            assert len(cache._flights) == 0


class TestRules:
    """Ttl, conditions and tags belong to each value."""

    def test_every_value_has_a_ttl_of_its_own(self, world):
        """A callable is given the value."""
        loads = Loads(lambda ids: {one: one for one in ids})
        load = many(world, loads, ttl=lambda value: value)
        load([10, 20, 0])
        world.clock.advance(15)
        assert load([10, 20, 0]) == {10: 10, 20: 20, 0: 0}
        assert loads.batches == [[10, 20, 0], [10, 0]]

    def test_a_refresh_that_is_not_to_be_stored_removes_what_was(self, world):
        """``ttl <= 0`` means that there is nothing stored afterwards."""
        seconds = [10]
        load = many(world, Loads(), ttl=lambda value: seconds[0])
        load([1, 2])
        seconds[0] = 0
        load.refresh([1])
        assert load.peek([1, 2]) == {2: "<2>"}

    def test_a_condition_decides_about_every_value(self, world):
        """What it refuses is returned and computed again."""
        loads = Loads(lambda ids: {one: one for one in ids})
        cache = world.open()
        load = many(world, loads, cache, cache_if=lambda value: value > 1)
        assert load([1, 2]) == load([1, 2]) == {1: 1, 2: 2}
        assert loads.batches == [[1, 2], [1]]
        assert cache.stats().refused == 2

    def test_tags_belong_to_the_element(self, world):
        """A template sees one element, and one tag goes without the others."""
        loads = Loads()
        cache = world.open()
        load = many(world, loads, cache, tags=("user:{ids}", "all"))
        load([1, 2, 3])
        cache.invalidate_tags("user:2")
        assert load.peek([1, 2, 3]) == {1: "<1>", 3: "<3>"}
        load([1, 2, 3])
        assert loads.batches == [[1, 2, 3], [2]]
        cache.invalidate_tags("all")
        assert load.peek([1, 2, 3]) == {}

    def test_copy_hands_out_values_of_the_callers_own(self):
        """As for any function."""
        load = cached.many("ids", copy="value")(lambda ids: {one: [one] for one in ids})
        load([1])
        load([1])[1].append("mine")
        assert load([1]) == {1: [1]}

    def test_a_value_that_is_too_large_is_returned_and_not_stored(self):
        """The others are."""
        load = cached.many("ids", max_bytes=4_000)(lambda ids: {one: "x" * one for one in ids})
        assert {one: len(value) for one, value in load([10, 100_000]).items()} == {10: 10, 100_000: 100_000}
        assert [*load.peek([10, 100_000])] == [10]
        assert (load.cache_info().stored, load.cache_info().refused) == (1, 1)

    def test_a_value_that_cannot_be_stored_is_an_error_and_leaves_nothing(self, tmp_path):
        """As for any function; neither a claim nor a flight stays."""
        loads = Loads(lambda ids: {one: one or threading.Lock() for one in ids})
        load = cached.many("ids", path=tmp_path, name="locks")(calling(loads))
        with pytest.raises(UnserializableError):
            load([1, 0])
        assert load.peek([1, 0]) == {}
        assert load([1]) == {1: 1}


class TestManagement:
    """The methods of the function take the same arguments."""

    def test_they_work_key_by_key(self, world):
        """peek, is_cached, put, invalidate, refresh, and what is left of each."""
        loads = Loads()
        load = many(world, loads)
        assert load.peek([1, 2]) == {}
        assert not load.invalidate([1, 2])
        assert load.put({1: "one", 9: "nobody's"}, [1, 2]) is True
        assert load.put(["two", "three"], [2, 3]) is True
        assert load.peek([1, 2, 3, 4]) == {1: "one", 2: "two", 3: "three"}
        assert load.is_cached([1, 2])
        assert not load.is_cached([1, 4])
        assert load([1, 2, 3]) == {1: "one", 2: "two", 3: "three"}
        assert load.invalidate([2, 4]) is True
        assert load.peek([1, 2, 3]) == {1: "one", 3: "three"}
        assert load.refresh([1, 2]) == {1: "<1>", 2: "<2>"}
        assert loads.batches == [[1, 2]]
        assert load.peek([1, 2, 3]) == {1: "<1>", 2: "<2>", 3: "three"}
        load.cache_clear()
        assert load.peek([1, 2, 3]) == {}

    def test_a_list_that_does_not_fit_is_not_put(self, world):
        """Neither is part of it."""
        load = many(world, Loads())
        with pytest.raises(TypeError, match="2 keys"):
            load.put([1], [1, 2])
        assert load.peek([1, 2]) == {}

    def test_entries_are_found_by_one_element(self, world):
        """``invalidate_where(ids=7)``, and by the other parameters."""
        load = many(world, Loads())
        load([7, 8])
        load([7, 9], 5)
        assert load.invalidate_where(ids=7) == 2
        assert load.peek([7, 8]) == {8: "<8>"}
        assert load.invalidate_where(y=5) == 1
        assert load.peek([9], 5) == {}

    def test_counts_are_per_key(self, world):
        """Hits and misses of keys, loads of calls."""
        cache = world.open()
        load = many(world, Loads(), cache)
        load([1, 2, 3])
        load([2, 3, 4, 4])
        load.refresh([1, 2])
        load.peek([1, 9])
        info = load.cache_info()
        assert info[:2] == (2, 4)
        assert (info.loads, info.coalesced) == (3, 0)
        assert (cache.stats().stored, cache.stats().refused) == (6, 0)

    def test_disabled_computes_everything_and_still_checks_keys(self, world):
        """Nothing is read or stored; every key is a miss."""
        loads = Loads()
        load = many(world, loads)
        load([1])
        with disabled():
            assert load([1, 2, 1]) == {1: "<1>", 2: "<2>"}
            assert load([]) == {}
            with pytest.raises(TypeError, match="hashable"):
                load([[1]])
        assert loads.batches == [[1], [1, 2]]
        assert load.peek([2]) == {}
        assert load.cache_info()[:2] == (0, 3)

    def test_a_disabled_function_opens_nothing(self, tmp_path):
        """Its engine may not even be there."""
        settings = Settings(disable=True)
        load = cached.many("ids", path=tmp_path / "store", name="off", settings=settings)(lambda ids: ids)
        assert load([1, 2]) == load([1, 2]) == {1: 1, 2: 2}
        assert not (tmp_path / "store").exists()
        assert load.cache_info()[:2] == (0, 4)

    def test_the_function_looks_like_the_original(self):
        """Name, signature and colour."""

        async def load(ids):
            return ids

        assert asyncio.iscoroutinefunction(cached.many("ids")(load))
        assert cached.many("ids")(load).__wrapped__ is load


class TestSharedWork:
    """Batches that overlap share work key by key."""

    def test_a_batch_computes_only_what_no_other_computes(self, world):
        """It waits for the rest, and every key is computed once."""
        loads = HeldLoads()
        load = many(world, loads)
        first = load.start([1, 2])
        loads.await_begin()
        second = load.start([2, 3])
        loads.await_begin()
        loads.open.set()
        assert first.result(PATIENCE) == {1: "<1>", 2: "<2>"}
        assert second.result(PATIENCE) == {2: "<2>", 3: "<3>"}
        assert loads.batches == [[1, 2], [3]]
        info = load.cache_info()
        assert (info.misses, info.loads, info.coalesced) == (4, 2, 1)

    def test_an_exception_reaches_every_batch_that_waits(self, world):
        """Nothing is stored, and a later call computes again."""

        def fail(ids):
            raise LookupError(ids)

        loads = HeldLoads(fail)
        load = many(world, loads)
        first = load.start([1, 2])
        loads.await_begin()
        second = load.start([2, 1])
        third = load.start([2])
        loads_of_all = [first, second, third]
        wait_for_misses(load, 5)
        loads.open.set()
        for one in loads_of_all:
            assert isinstance(one.exception(PATIENCE), LookupError)
        assert loads.batches[0] == [1, 2]
        assert load.peek([1, 2]) == {}
        loads.answer = lambda ids: ids
        assert load([1, 2]) == {1: 1, 2: 2}

    def test_a_key_without_a_value_is_none_for_those_who_wait_either(self, world):
        """They do not call the function again."""
        loads = HeldLoads(lambda ids: {})
        load = many(world, loads)
        futures = [load.start([1, 2])]
        loads.await_begin()
        futures.append(load.start([2, 1]))
        wait_for_misses(load, 4)
        loads.open.set()
        assert [one.result(PATIENCE) for one in futures] == [{}, {}]

    def test_what_is_invalidated_meanwhile_is_not_stored(self, world):
        """Nor what a tag, a condition on arguments, an explicit value or a clear has superseded."""
        cache = world.open()
        loads = HeldLoads()
        load = many(world, loads, cache, tags="t:{ids}")
        first = load.start([1, 2, 3, 4])
        loads.await_begin()
        load.invalidate([1])
        cache.invalidate_tags("t:2")
        load.put({3: "mine"}, [3])
        loads.open.set()
        assert first.result(PATIENCE) == {1: "<1>", 2: "<2>", 3: "<3>", 4: "<4>"}
        assert load.peek([1, 2, 3, 4]) == {3: "mine", 4: "<4>"}

    @pytest.mark.parametrize("by", ["cache_clear", "invalidate_where"])
    def test_nothing_is_stored_after_all_was_invalidated(self, world, by):
        """And who calls later does not join."""
        loads = HeldLoads()
        load = many(world, loads)
        first = load.start([1, 2])
        loads.await_begin()
        load.cache_clear() if by == "cache_clear" else load.invalidate_where(y=0)
        second = load.start([1])
        loads.await_begin()
        loads.answer = lambda ids: dict.fromkeys(ids, "new")
        loads.open.set()
        assert first.result(PATIENCE).keys() == {1, 2}
        assert second.result(PATIENCE) == {1: "new"}
        assert loads.batches == [[1, 2], [1]]
        assert load.peek([1, 2]) == {1: "new"}

    @pytest.mark.parametrize("engine", ["memory", "sqlite"])
    def test_recursion_computes_other_keys_and_its_own(self, engine, tmp_path):
        """A batch may ask for other batches; for a key that it computes itself it computes directly."""
        seen = []

        @cached.many("ids", engine=engine, name="load", path=tmp_path if engine == "sqlite" else None)
        def load(ids):
            seen.append(tuple(ids))
            result = {one: one for one in ids}
            if ids == [2, 1]:
                result[1] += load([1])[1] + load([0])[0]
            return result

        assert load([2, 1]) == {2: 2, 1: 2}
        assert seen == [(2, 1), (1,), (0,)]

    def test_recursion_of_a_coroutine_function(self):
        """The same for tasks."""
        seen = []

        @cached.many("ids")
        async def load(ids):
            seen.append(tuple(ids))
            result = {one: one for one in ids}
            if ids == [2, 1]:
                result[1] += (await load([1]))[1] + (await load([0]))[0]
            return result

        assert asyncio.run(load([2, 1])) == {2: 2, 1: 2}
        assert seen == [(2, 1), (1,), (0,)]

    def test_circles_of_batches_end(self):
        """Two batches that need each other's keys: nobody waits for ever."""
        barrier = threading.Barrier(2, timeout=PATIENCE)
        entered = threading.local()

        @cached.many("ids")
        def load(ids):
            if getattr(entered, "once", False):
                return {one: one for one in ids}
            entered.once = True
            barrier.wait()
            other = 1 if 2 in ids else 2
            return {one: load([other])[other] for one in ids}

        with ThreadPoolExecutor(2) as pool:
            results = [one.result(PATIENCE) for one in [pool.submit(load, [1]), pool.submit(load, [2])]]
        assert results in ([{1: 2}, {2: 2}], [{1: 1}, {2: 1}])  # whoever closes the circle computes alone

    def test_a_waiter_that_is_cancelled_harms_nobody(self):
        """Nor does a leader that is: the work goes on."""

        async def main():
            gate, calls = asyncio.Event(), []

            @cached.many("ids")
            async def load(ids):
                calls.append(ids)
                await gate.wait()
                return ids

            leader = asyncio.create_task(load([1, 2]))
            await until(lambda: calls)
            waiter = asyncio.create_task(load([2]))
            other = asyncio.create_task(load([1, 2]))
            await asyncio.sleep(0)
            leader.cancel()
            waiter.cancel()
            await asyncio.sleep(0)
            gate.set()
            assert await other == {1: 1, 2: 2}
            assert calls == [[1, 2]]
            assert leader.cancelled()
            assert waiter.cancelled()

        asyncio.run(asyncio.wait_for(main(), PATIENCE))

    def test_an_interrupt_leaves_no_flight(self):
        """KeyboardInterrupt passes through, and the next call computes."""
        fail = [KeyboardInterrupt]

        @cached.many("ids")
        def load(ids):
            if fail:
                raise fail.pop()
            return ids

        with pytest.raises(KeyboardInterrupt):
            load([1, 2])
        assert load([1, 2]) == {1: 1, 2: 2}

    def test_single_flight_can_be_switched_off(self, world):
        """Then everybody computes."""
        loads = HeldLoads()
        load = many(world, loads, single_flight=False)
        futures = [load.start([1]), load.start([1])]
        loads.await_begin()
        loads.await_begin()
        loads.open.set()
        assert [one.result(PATIENCE) for one in futures] == [{1: "<1>"}] * 2

    def test_the_cache_does_not_outlive_a_second_event_loop(self):
        """asyncio.run() twice, and entries stay."""
        calls = []

        @cached.many("ids")
        async def load(ids):
            calls.append(ids)
            return ids

        assert asyncio.run(load([1, 2])) == {1: 1, 2: 2}
        assert asyncio.run(load([2, 3])) == {2: 2, 3: 3}
        assert calls == [[1, 2], [3]]


async def until(condition):
    """Let other tasks run until ``condition()`` holds; the caller bounds it."""
    while not condition():
        await asyncio.sleep(0)


def wait_for_misses(load, count):
    """Wait until so many keys have been missed, and their batches have gone on to wait."""
    pause, turns = threading.Event(), 0
    while load.cache_info().misses < count:
        turns += 1
        assert turns < PATIENCE * 500
        pause.wait(0.002)


class TestUnderFire:
    """Random overlapping batches, from everywhere at once."""

    def test_every_key_is_computed_once(self, world):
        """And every batch gets what it asked for: no deadlock, no loss."""
        counts, guard = Counter(), threading.Lock()

        def body(ids):
            with guard:
                counts.update(ids)
            return {one: one * 2 for one in ids}

        load = many(world, body)
        dice = random.Random(7)
        batches = [dice.sample(range(60), dice.randint(1, 20)) for _ in range(150)]
        futures = [load.start(batch) for batch in batches]
        for batch, future in zip(batches, futures, strict=True):
            assert list(future.result(60).items()) == [(one, one * 2) for one in batch]
        assert {*counts.values()} == {1}

    @pytest.mark.parametrize("by", ["key", "tag"])
    def test_no_batch_is_given_what_was_invalidated_before_it_began(self, world, by):
        """Values are never older than the last invalidation that returned before the call."""
        source, settled = Counter(), Counter()
        cache = world.open()
        load = many(world, lambda ids: {one: source[one] for one in ids}, cache, tags="t:{ids}")

        def reader(seed):
            dice = random.Random(seed)
            for _ in range(25):
                ids = dice.sample(range(8), 3)
                floor = {one: settled[one] for one in ids}
                got = load.start(ids).result(60)
                assert all(got[one] >= floor[one] for one in ids)

        dice = random.Random(11)
        with ThreadPoolExecutor(6) as pool:
            futures = [pool.submit(reader, seed) for seed in range(6)]
            for _ in range(60):
                one = dice.randrange(8)
                source[one] += 1
                load.invalidate([one]) if by == "key" else cache.invalidate_tags(f"t:{one}")
                settled[one] = source[one]
            for future in futures:
                future.result(60)
        assert load(range(8)) == {one: source[one] for one in range(8)}

    @pytest.mark.parametrize("by", ["key", "tag"])
    def test_nor_when_threads_switch_all_the_time(self, by):
        """The same without a world around it, switching threads as often as can be."""
        source, settled = Counter(), Counter()

        @cached.many("ids", tags="t:{ids}")
        def load(ids):
            return {one: source[one] for one in ids}

        def reader(seed):
            dice = random.Random(seed)
            for _ in range(400):
                ids = dice.sample(range(10), 4)
                floor = {one: settled[one] for one in ids}
                got = load(ids)
                assert all(got[one] >= floor[one] for one in ids)

        dice = random.Random(1)
        with switching_eagerly(), ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(reader, seed) for seed in range(8)]
            while not all(one.done() for one in futures):
                one = dice.randrange(10)
                source[one] += 1
                load.invalidate([one]) if by == "key" else load.cache.invalidate_tags(f"t:{one}")
                settled[one] = source[one]
            for future in futures:
                future.result(60)
        assert load(range(10)) == {one: source[one] for one in range(10)}


PEER = """
import json, sys, random
from pathlib import Path
from cachewright import cached
home, seed = Path(sys.argv[1]), int(sys.argv[2])

@cached.many("ids", path=home / "store", name="shared")
def load(ids):
    with (home / "calls").open("a") as calls:
        calls.write(json.dumps(ids) + "\\n")
    return {one: one * 2 for one in ids}

dice = random.Random(seed)
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
for _ in range(30):
    batch = dice.sample(range(80), dice.randint(1, 20))
    assert list(load(batch).items()) == [(one, one * 2) for one in batch]
sys.stdout.write("done\\n")
"""


def test_processes_that_share_a_store_compute_every_key_once(tmp_path):
    """Overlapping batches in two processes wait for each other's keys, and never for ever."""
    script = tmp_path / "peer.py"
    script.write_text(textwrap.dedent(PEER))
    peers = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    try:
        for peer in peers:
            assert peer.stdout.readline() == "ready\n"
        for peer in peers:
            peer.stdin.write("go\n")
            peer.stdin.flush()
        assert [peer.communicate(timeout=60)[0] for peer in peers] == ["done\n"] * 2
    finally:
        for peer in peers:
            peer.kill()
            peer.wait()
    lines = (tmp_path / "calls").read_text().splitlines()
    counts = Counter(one for line in lines for one in json.loads(line))
    assert {*counts.values()} == {1}

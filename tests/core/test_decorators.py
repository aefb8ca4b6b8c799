"""The decorator: functools parity, keys, options, and the function object as an API."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import pickle
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from cachewright import MISSING, cached, disabled, open_async_cache, open_cache
from cachewright.config import Settings
from cachewright.entry import Clock
from cachewright.errors import (
    ConfigurationError,
    NoEngineQualifiesError,
    UnkeyableArgumentError,
    UnknownEngineError,
    UnserializableError,
)


def counting(**options):
    """Return a decorated function of any arguments that returns a new object per computation."""
    calls = []

    @cached(**options)
    def compute(*args, **kwargs):
        calls.append((args, kwargs))
        return object()

    return compute, calls


@cached
def importable(x, y=2, *, z=3):
    """Docstring of the original."""
    return [x, y, z]


class TestFunctoolsParity:
    """Code written for functools.lru_cache keeps working."""

    def test_hits_misses_maxsize_and_currsize_are_those_of_lru_cache(self):
        """The same calls give the same cache_info(), as a tuple."""

        def double(x):
            return 2 * x

        ours, theirs = cached(maxsize=64)(double), functools.lru_cache(maxsize=64)(double)
        for x in [1, 2, 1, 3, 1.5, "a", "a" * 0 + "a", 2]:
            assert ours(x) == theirs(x)
        assert ours.cache_info() == theirs.cache_info()
        hits, misses, maxsize, currsize = ours.cache_info()
        assert (hits, misses, maxsize, currsize) == (3, 5, 64, 5)
        ours.cache_clear()
        theirs.cache_clear()
        assert ours.cache_info() == theirs.cache_info() == (0, 0, 64, 0)

    def test_the_wrapper_looks_like_the_original(self):
        """Name, docstring, module, signature and annotations are those of the original."""
        original = importable.__wrapped__
        assert importable.__name__ == "importable"
        assert importable.__qualname__ == original.__qualname__
        assert importable.__doc__ == "Docstring of the original."
        assert importable.__module__ == __name__
        assert inspect.signature(importable) == inspect.signature(original)
        assert inspect.isfunction(importable)

    def test_it_pickles_by_reference_copies_to_itself_and_can_be_referenced_weakly(self):
        """A decorated function is as good as the function it wraps."""
        assert pickle.loads(pickle.dumps(importable)) is importable
        assert copy.copy(importable) is importable
        assert copy.deepcopy(importable) is importable
        assert weakref.ref(importable)() is importable

    def test_parameters_are_reported(self):
        """cache_parameters() holds what functools reports, and more."""

        @cached(maxsize=7, typed=True, ttl=5)
        def compute(x):
            return x

        assert compute.cache_parameters()["maxsize"] == 7
        assert compute.cache_parameters()["typed"] is True
        assert compute.cache_parameters()["ttl"] == 5.0

    def test_a_coroutine_function_stays_one(self):
        """To inspect and asyncio it is a coroutine function."""

        @cached
        async def compute(x):
            return x

        assert inspect.iscoroutinefunction(compute)
        assert asyncio.run(compute(1)) == 1

    def test_a_decorated_function_can_be_collected(self):
        """Nothing keeps a decorated function, or its results, alive."""

        class Result:
            pass

        def make():
            @cached
            def compute(x):
                return Result()

            result = compute(1)
            with disabled():
                pass
            return weakref.ref(compute), weakref.ref(result)

        function, result = make()
        gc.collect()
        assert function() is None
        assert result() is None

    def test_deep_recursion_works_as_far_as_with_lru_cache_of_pure_python(self):
        """A memoized Fibonacci reaches 250 within the standard recursion limit."""

        @cached
        def fibonacci(n):
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        assert fibonacci(250) == 7896325826131730509282738943634332893686268675876375


class TestCallsThatShareAnEntry:
    """A call is bound to its signature."""

    def test_positional_keyword_and_default_forms_share(self):
        """f(1), f(x=1), f(1, y=2) and any order of keywords are one entry."""
        first = importable(1)
        for again in (importable(x=1), importable(1, 2), importable(y=2, x=1), importable(1, z=3, y=2)):
            assert again is first

    def test_equal_arguments_share_unless_typed(self):
        """1, 1.0, True and Decimal(1) are one entry, or four with typed=True."""
        compute, calls = counting()
        assert len({id(compute(one)) for one in (1, 1.0, True, Decimal(1))}) == 1
        typed, typed_calls = counting(typed=True)
        results = [typed(one) for one in (1, 1.0, True, Decimal(1))]
        assert len({id(result) for result in results}) == 4
        assert len(calls), len(typed_calls) == (1, 4)
        assert typed(1.0) is results[1]

    def test_text_and_number_differ(self):
        """1 and "1" are two entries, and so are arguments that run together as text."""
        compute, _ = counting()
        different = [
            (1, 2),
            ("1", "2"),
            ("a b", "c"),
            ("a", "b c"),
            (-1,),
            (-2,),
            (b"a",),
            ("a",),
            (None,),
            (),
        ]
        assert len({id(compute(*args)) for args in different}) == len(different)
        assert compute(x=1) is not compute(("x", 1))

    @pytest.mark.parametrize("engine", ["memory", "sqlite"])
    def test_unhashable_and_nan_arguments_work_everywhere(self, engine, tmp_path):
        """Lists, dicts and sets in any nesting are keys; so is NaN, which equals NaN."""
        calls = []

        @cached(engine=engine, name="unhashable", settings=Settings(dir=tmp_path, data_dir=tmp_path / "keys"))
        def compute(value):
            calls.append(value)
            return len(calls)

        values = [[1, [2]], {"a": [1], "b": {2}}, {1, 2}, float("nan"), (1, [2]), [(1, 2)], bytearray(b"x")]
        first = [compute(value) for value in values]
        again = [compute(copy.deepcopy(value)) for value in values]
        assert again == first == list(range(1, len(values) + 1))
        assert compute({"b": {2}, "a": [1]}) == 2
        assert compute(-float("nan")) == 4
        assert compute.cache_info().hits == len(values) + 2

    def test_what_cannot_be_a_key_is_named(self):
        """An argument without canonical form: the error names the parameter and the ways out."""

        class Odd:
            __hash__ = None

        @cached
        def compute(x, odd):
            return x

        with pytest.raises(UnkeyableArgumentError, match=r"'odd'.*Odd.*ignore=.*key="):
            compute(1, Odd())
        assert compute.cache_info().currsize == 0

    def test_ignored_parameters_are_not_in_the_key(self):
        """ignore= leaves parameters out, by name, of any kind."""

        @cached(ignore=("session", "rest", "more"))
        def compute(x, session=None, *rest, **more):
            return object()

        first = compute(1, session=object())
        assert compute(1, object(), 2, 3, a=4) is first
        assert compute(2) is not first

    def test_a_key_function_makes_the_whole_key(self):
        """key= is called with the arguments as given."""

        @cached(key=lambda user, *, page=0: (user["id"], page))
        def compute(user, *, page=0):
            return object()

        assert compute({"id": 1, "x": 1}) is compute({"id": 1, "x": 2})
        assert compute({"id": 1}, page=1) is not compute({"id": 1})

    def test_a_template_makes_a_key_that_cannot_run_together(self):
        """Values of a template are kept apart, whatever they contain."""

        @cached(key="{a}:{b}")
        def compute(a, b, other=None):
            return object()

        assert compute("1:2", "3") is not compute("1", "2:3")
        assert compute("1", "2", other=[]) is compute("1", "2", other={})
        assert compute(1, 2) is not compute("1", "2")

    def test_a_template_reaches_into_arguments(self):
        """Attributes and items of arguments may be named."""

        @cached(key="{user.name}{config[size]}")
        def compute(user, config):
            return object()

        user = type("User", (), {"name": "ada"})()
        assert compute(user, {"size": 1, "x": 0}) is compute(user, {"size": 1})
        assert compute(user, {"size": 2}) is not compute(user, {"size": 1})

    @pytest.mark.parametrize("template", ["{nobody}", "{x", "{0}"])
    def test_a_wrong_template_is_refused_at_decoration(self, template):
        """A field that is no parameter, or a malformed template: one error, at once."""
        with pytest.raises(ConfigurationError, match="key="):

            @cached(key=template)
            def compute(x):
                return x

    def test_every_kind_of_parameter_is_passed_on(self):
        """Positional-only, keyword-only, *args and **kwargs arrive as they were given."""

        @cached
        def compute(a, /, b=2, *args, c, d=4, **kwargs):
            return (a, b, args, c, d, kwargs)

        assert compute(1, c=3) == (1, 2, (), 3, 4, {})
        assert compute(1, 9, 8, 7, c=3, e=5, f=6) == (1, 9, (8, 7), 3, 4, {"e": 5, "f": 6})
        assert compute(1, 9, 8, 7, f=6, e=5, c=3) is compute(1, 9, 8, 7, c=3, e=5, f=6)
        with pytest.raises(TypeError, match="c"):
            compute(1)
        with pytest.raises(TypeError):
            compute(a=1, c=2)

    def test_parameters_may_be_called_like_the_names_inside(self):
        """No parameter name collides with what a wrapper uses itself."""

        @cached(ttl=60)
        def compute(_read, _miss, _loader, _, _entry, p0, *, _now, _calls=1, id=2, type=3):  # noqa: A002
            return (_read, _miss, _loader, _, _entry, p0, _now, _calls, id, type)

        expected = (1, 2, 3, 4, 5, 6, 7, 1, 2, 3)
        assert compute(1, 2, 3, 4, 5, 6, _now=7) == expected
        assert compute(1, 2, 3, 4, 5, 6, _now=7) == expected
        assert compute.cache_info().hits == 1

    def test_partials_and_callable_objects_are_bound_like_functions(self):
        """A functools.partial shares entries between forms of a call, too."""
        calls = []

        def add(a, b=2, c=3):
            calls.append((a, b, c))
            return a + b + c

        ours = cached(functools.partial(add, c=10))
        assert ours(1) == ours(a=1) == ours(1, 2) == ours(b=2, a=1) == 13
        assert calls == [(1, 2, 10)]

        class Adder:
            def __call__(self, a, b=1):
                calls.append((a, b))
                return a + b

        adder = cached(Adder())
        assert adder(1) == adder(1, b=1) == 2
        assert calls[1:] == [(1, 1)]


class TestMethods:
    """Entries belong to the instance, and do not keep it alive."""

    def test_instances_do_not_share_even_if_they_are_equal(self):
        """Equal instances, unhashable ones included, have entries of their own."""

        @dataclass
        class Report:
            name: str

            @cached
            def total(self, factor=1):
                return [self.name, factor]

        a, b = Report("x"), Report("x")
        assert a == b
        assert a.total() is a.total(1) is a.total(factor=1)
        assert a.total() is not b.total()

    def test_an_instance_is_not_kept_alive_and_its_entries_go_with_it(self):
        """Dropping the instance frees it at once, and its entries at the next look."""

        class Report:
            @cached
            def total(self, x):
                return x

        report, other = Report(), Report()
        assert report.total(1) == other.total(1) == 1
        gone = weakref.ref(report)
        del report
        assert gone() is None
        assert Report.total.cache_info().currsize == 1
        assert other.total(1) == 1
        assert Report.total.cache_info().hits == 1

    def test_a_new_instance_at_an_old_address_starts_empty(self):
        """Entries of a dead instance are never found by one that took its address."""

        class Report:
            @cached
            def me(self):
                return self.number

        for number in range(200):
            report = Report()
            report.number = number
            assert report.me() == number
            del report

    def test_copies_have_entries_of_their_own(self):
        """copy.copy of an instance does not answer for the original."""

        class Report:
            @cached
            def me(self):
                return id(self)

        report = Report()
        assert report.me() == id(report)
        twin = copy.copy(report)
        assert twin.me() == id(twin)

    def test_slots_work_and_instances_that_cannot_be_referenced_weakly_are_refused(self):
        """__slots__ needs __weakref__; without it the error says so."""

        class Weak:
            __slots__ = ("__weakref__", "x")

            @cached
            def me(self):
                return object()

        class Bare:
            __slots__ = ("x",)

            @cached
            def me(self):
                return object()

        weak = Weak()
        assert weak.me() is weak.me()
        with pytest.raises(ConfigurationError, match="__weakref__"):
            Bare().me()

    def test_classmethods_have_the_class_in_the_key_and_staticmethods_work(self):
        """In either order of the decorators."""

        class Base:
            @classmethod
            @cached
            def outer(cls, x):
                return cls.__name__, x

            @cached
            @classmethod
            def inner(cls, x):
                return cls.__name__, x

            @staticmethod
            @cached
            def one(x):
                return object()

            @cached
            @staticmethod
            def two(x):
                return object()

        class Derived(Base):
            pass

        assert Base.outer(1) == ("Base", 1)
        assert Derived.outer(1) == ("Derived", 1)
        assert Derived().inner(1) == ("Derived", 1)
        assert Base().inner(1) == ("Base", 1)
        assert Base.one(1) is Base().one(1)
        assert Base.two(1) is Derived().two(x=1)

    def test_management_of_a_method_takes_the_instance_first(self):
        """Without the instance the error says how to write it."""

        class Report:
            @cached
            def total(self, x=0):
                return object()

        report = Report()
        first = report.total()
        assert Report.total.peek(report) is first
        assert Report.total.invalidate(report)
        assert report.total() is not first
        with pytest.raises(TypeError, match=r"total\.invalidate\(instance"):
            report.total.invalidate(3)

    def test_a_method_on_a_store_that_outlives_it_must_identify_the_instance(self, tmp_path):
        """persist=True on a method needs self_key= or key=."""
        with pytest.raises(ConfigurationError, match="self_key"):

            class Wrong:
                @cached(persist=True)
                def total(self, x):
                    return x

        class Late:
            @cached(engine="sqlite", name="late", path=tmp_path)
            def total(self, x):
                return x

        with pytest.raises(ConfigurationError, match="self_key"):
            Late().total(1)

        class Right:
            def __init__(self, number):
                self.number = number

            @cached(
                path=tmp_path,
                name="right",
                self_key=lambda self: self.number,
                settings=Settings(data_dir=tmp_path / "k"),
            )
            def total(self, x):
                return [self.number, x]

        assert Right(1).total(5) == [1, 5]
        assert Right(1).total(x=5) == [1, 5]
        assert Right(2).total(5) == [2, 5]
        assert Right.total.cache_info().hits == 1

    def test_async_methods_work(self):
        """A coroutine method has entries per instance."""

        class Report:
            @cached
            async def total(self, x):
                return object()

        async def main():
            a, b = Report(), Report()
            assert await a.total(1) is await a.total(x=1)
            assert await a.total(1) is not await b.total(1)
            assert await Report.total.invalidate(a, 1)

        asyncio.run(main())


class TestValues:
    """Whatever a function returns is a value."""

    @pytest.mark.parametrize("value", [None, 0, False, "", b"", (), float("nan")], ids=repr)
    def test_falsy_results_are_remembered(self, value):
        """None, 0, False, NaN and empty containers are values, not misses."""
        calls = []

        @cached
        def compute():
            calls.append(1)
            return value

        assert compute() is value
        assert compute() is value
        assert calls == [1]

    def test_exceptions_pass_through_untouched_and_are_not_remembered(self):
        """The user's exception arrives as it was raised, without a cause or context of ours."""
        calls = []
        error = LookupError("mine")

        @cached
        def compute(x):
            calls.append(x)
            raise error

        for _ in range(2):
            with pytest.raises(LookupError) as caught:
                compute(1)
            assert caught.value is error
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None
        assert calls == [1, 1]

    @pytest.mark.parametrize("error", [KeyError("k"), TypeError("t"), StopIteration()], ids=repr)
    def test_exceptions_that_the_hit_path_knows_are_not_confused(self, error):
        """A KeyError or TypeError of the user's function runs it once and reaches the caller."""
        calls = []

        @cached
        def compute(x):
            calls.append(x)
            raise error

        with pytest.raises(type(error)):
            compute(1)
        assert calls == [1]

    def test_results_that_can_be_consumed_once_are_refused(self):
        """A generator as a result is a clear TypeError, not an empty answer for the second caller."""

        @cached
        def compute(n):
            return (x for x in range(n))

        with pytest.raises(UnserializableError, match="only once"):
            compute(3)

    def test_a_generator_function_yields_what_is_stored(self):
        """Unlike a function that returns a generator, one that is a generator function can be cached."""
        runs = []

        @cached
        def compute(n):
            runs.append(n)
            yield from range(n)

        assert list(compute(3)) == list(compute(3)) == [0, 1, 2]
        assert runs == [3]

    def test_the_decorator_is_one_object(self):
        """It can be picked up, passed on and printed; what it decorates with is given in the call."""
        assert repr(cached) == "cached"
        assert isinstance(cached, type(cached))
        assert callable(cached(ttl=5))
        assert next(map(cached, [abs]))(-1) == 1

    def test_cache_if_decides_what_is_stored(self):
        """A result that the condition refuses is returned, and computed again next time."""

        @cached(cache_if=lambda result: result is not None)
        def compute(x):
            calls.append(x)
            return x or None

        calls = []
        assert compute(0) is compute(0) is None
        assert compute(1) == compute(1) == 1
        assert calls == [0, 0, 1]
        assert compute.cache_info().refused == 2

    def test_copy_hands_out_values_of_the_callers_own(self):
        """With copy="value" nobody can change what is stored."""

        @cached(copy="value")
        def compute(x):
            return {"list": [x]}

        first = compute(1)
        first["list"].append("mine")
        second = compute(1)
        assert second == {"list": [1]}
        second["list"].append("mine, too")
        assert compute(1) == {"list": [1]}

    def test_the_stored_object_itself_is_returned_by_default(self):
        """As functools does."""
        compute, _ = counting()
        assert compute(1) is compute(1)


class TestTimeToLive:
    """A value is never served after its ttl."""

    def clocked(self, **options):
        now = [1000.0]
        clock = Clock(wall=lambda: now[0], monotonic=lambda: now[0])
        cache = open_cache("clocked", clock=clock)
        calls = []

        @cached(cache=cache, **options)
        def compute(x):
            calls.append(x)
            return x

        return compute, now, calls

    @pytest.mark.parametrize("ttl", [10, 10.0, timedelta(seconds=10), "10s", "10000ms", lambda result: "10s"])
    def test_an_entry_lives_exactly_as_long_as_said(self, ttl):
        """Just before the ttl it is a hit, at the ttl a miss."""
        compute, now, calls = self.clocked(ttl=ttl)
        compute(1)
        now[0] += 9.999
        compute(1)
        assert calls == [1]
        now[0] += 0.001
        compute(1)
        assert calls == [1, 1]

    def test_the_generated_hit_path_is_strict(self):
        """A function with a ttl of its own never serves an entry that the clock says is over."""
        calls = []

        @cached(ttl=1e-9)
        def compute(x):
            calls.append(x)
            return x

        for _ in range(5):
            compute(1)
        assert calls == [1] * 5

    @pytest.mark.parametrize("ttl", [0, -1, timedelta(0)])
    def test_a_ttl_of_nothing_stores_nothing(self, ttl):
        """Every call computes if ttl <= 0."""
        compute, _, calls = self.clocked(ttl=ttl)
        compute(1)
        compute(1)
        assert calls == [1, 1]

    @pytest.mark.parametrize("ttl", [float("nan"), "10 parsecs", "", True, [], "-", object()])
    def test_nonsense_is_refused_at_decoration(self, ttl):
        """One clear error that names the setting, before anything is called."""
        with pytest.raises(ConfigurationError, match="ttl="):
            cached(ttl=ttl)(len)

    def test_jitter_only_shortens(self):
        """With jitter=0.5 entries live between half and all of their ttl."""
        compute, now, calls = self.clocked(ttl=100, jitter=0.5)
        for x in range(50):
            compute(x)
        now[0] += 49.9
        for x in range(50):
            compute(x)
        assert len(calls) == 50
        now[0] += 50.2
        for x in range(50):
            compute(x)
        assert len(calls) == 100


class TestOptions:
    """Bad input gives one clear error that says what to do."""

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"scope": "galaxy"}, "scope"),
            ({"maxsize": -1}, "maxsize"),
            ({"maxsize": "many"}, "maxsize"),
            ({"maxsize": True}, "maxsize"),
            ({"max_bytes": "10 parsecs"}, "max_bytes"),
            ({"jitter": 1.5}, "jitter"),
            ({"ignore": ("nobody",)}, "ignore"),
            ({"copy": "deep"}, "copy"),
            ({"on_engine_error": "panic"}, "on_engine_error"),
            ({"engine": 3}, "engine"),
            ({"name": ""}, "name"),
            ({"version": 3}, "version"),
            ({"key": 3}, "key"),
            ({"cache": object()}, "cache"),
        ],
    )
    def test_a_bad_value_is_refused_at_decoration(self, options, named):
        """The error names the setting."""
        with pytest.raises(ConfigurationError, match=f"^{named}="):

            @cached(**options)
            def compute(x):
                return x

    def test_an_unknown_argument_is_a_type_error(self):
        """Misspelt options are not swallowed."""
        with pytest.raises(TypeError, match="ttll"):
            cached(ttll=3)

    @pytest.mark.parametrize("thing", ["10m", 3, object, None.__class__])
    def test_only_functions_can_be_decorated(self, thing):
        """A forgotten keyword, or a class, is noticed."""
        with pytest.raises(ConfigurationError, match="func="):
            cached(thing)

    def test_an_unknown_engine_says_what_is_installed_and_what_to_install(self):
        """The first call names the engines there are."""

        @cached(engine="memcache")
        def compute(x):
            return x

        with pytest.raises(UnknownEngineError, match=r"'memcache'.*memory"):
            compute(1)

    def test_a_policy_that_nobody_has_is_refused_with_reasons(self):
        """Each engine's reason is in the error."""

        @cached(policy="nonsense")
        def compute(x):
            return x

        with pytest.raises(NoEngineQualifiesError, match="no nonsense policy"):
            compute(1)

    def test_an_engine_that_cannot_do_what_is_asked_says_why(self):
        """engine="memory" cannot persist."""

        @cached(engine="memory", persist=True)
        def compute(x):
            return x

        with pytest.raises(NoEngineQualifiesError, match=r"survives only the process.*sqlite"):
            compute(1)

    @pytest.mark.parametrize("maxsize", [0, 1, 3])
    def test_maxsize_holds(self, maxsize):
        """Never more entries than asked for; 0 stores nothing."""
        compute, calls = counting(maxsize=maxsize)
        for x in range(20):
            compute(x)
        assert compute.cache_info().currsize == maxsize
        assert len(calls) == 20

    @pytest.mark.parametrize("policy", ["s3-fifo", "lru", "lfu", "fifo", "rr", "sieve"])
    def test_every_policy_serves_hits_and_holds_its_bound(self, policy):
        """All policies of the memory engine work behind the decorator."""

        @cached(engine="memory", policy=policy, maxsize=10)
        def compute(x):
            return x * 2

        for x in [*range(30), *range(25, 30), *range(25, 30)]:
            assert compute(x) == 2 * x
        info = compute.cache_info()
        assert info.currsize == 10
        assert info.hits + info.misses == 40

    def test_local_functions_and_lambdas_need_a_name_to_persist(self):
        """Other functions can have the same qualified name."""
        with pytest.raises(ConfigurationError, match="name="):

            @cached(persist=True)
            def compute(x):
                return x

    def test_disabled_computes_and_still_checks_keys(self):
        """Inside the block nothing is read or stored, but an argument without a key is noticed."""
        compute, _ = counting()
        kept = compute(1)
        with disabled():
            assert compute(1) is not kept
            assert compute(2) is not None
            with pytest.raises(UnkeyableArgumentError):
                compute([object()])
            with disabled():
                pass
            assert compute(1) is not kept
        assert compute(1) is kept
        assert compute.cache_info().currsize == 1

    def test_the_environment_can_disable(self):
        """CACHEWRIGHT_DISABLE=1 makes decorated functions compute."""
        source = (
            "from cachewright import cached\ncalls = []\n"
            "@cached\ndef f(x):\n    calls.append(x)\n\n"
            "f(1); f(1); print(len(calls))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", source],
            env={"CACHEWRIGHT_DISABLE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "2"

    def test_a_key_function_goes_with_any_signature_and_with_nothing_that_it_replaces(self):
        """No parameters are fine; typed= and a self_key= without an instance are refused at once."""
        assert cached(key=lambda: 1)(lambda: 5)() == 5
        with pytest.raises(ConfigurationError, match="typed="):
            cached(key=lambda x: x, typed=True)(lambda x: x)
        for function in (lambda *a: 1, lambda **k: 1, lambda: 1):
            with pytest.raises(ConfigurationError, match="self_key="):
                cached(self_key=id)(function)

    def test_a_method_of_a_builtin_type_is_a_function_of_its_first_argument(self):
        """str.upper has no instance whose life matters."""
        upper = cached(str.upper)
        assert upper("a") == upper("a") == "A"
        assert upper.cache_info().hits == 1


class TestTheFunctionAsAnApi:
    """peek, is_cached, invalidate, refresh, put, cache_key, explain, cache."""

    def test_peek_computes_and_counts_nothing(self):
        """It returns the stored value or MISSING."""
        compute, calls = counting()
        assert compute.peek(1) is MISSING
        value = compute(1)
        assert compute.peek(1) is value
        assert len(calls) == 1
        assert compute.cache_info()[:2] == (0, 1)

    def test_invalidate_forgets_one_call(self):
        """It says whether there was an entry."""
        compute, _ = counting()
        one, two = compute(1), compute(2)
        assert compute.invalidate(1) is True
        assert compute.invalidate(1) is False
        assert compute(2) is two
        assert compute(1) is not one

    def test_refresh_computes_and_replaces(self):
        """The new result is returned and stored."""
        compute, calls = counting()
        old = compute(1)
        new = compute.refresh(1)
        assert new is not old
        assert compute(1) is new
        assert len(calls) == 2

    def test_put_stores_a_result_without_calling(self):
        """It comes first, the arguments of the call follow."""
        compute, calls = counting()
        assert compute.put("given", 1, two=2) is True
        assert compute(1, two=2) == "given"
        assert calls == []

    def test_cache_key_is_the_same_for_equal_calls(self):
        """And different for different ones."""
        assert importable.cache_key(1) == importable.cache_key(y=2, x=1.0)
        assert importable.cache_key(1) != importable.cache_key("1")
        assert len(importable.cache_key(1)) >= 32

    def test_explain_says_why_in_words(self):
        """The engine, the reason, the ranking; with arguments the entry."""
        compute, _ = counting()
        compute(1)
        text = str(compute.explain())
        assert compute.explain().engine in text
        assert "rejected" in text
        assert compute.explain(1).entry is not None
        assert "not stored" in str(compute.explain(2))

    def test_the_cache_is_reachable_before_and_after_the_first_call(self):
        """f.cache opens it."""
        compute, _ = counting()
        assert len(compute.cache) == 0
        compute(1)
        assert compute.cache.engine == compute.explain().engine
        assert len(list(compute.cache.entries())) == 1

    def test_the_api_of_a_coroutine_function_is_awaited(self):
        """All but cache_info(), cache_key() and cache_parameters()."""

        @cached
        async def compute(x):
            return object()

        async def main():
            assert await compute.peek(1) is MISSING
            value = await compute(1)
            assert await compute.is_cached(1)
            assert await compute.refresh(1) is not value
            assert await compute.put("given", 2)
            assert await compute(2) == "given"
            assert await compute.invalidate(2)
            assert "memory" in str(await compute.explain(1)) or True
            assert compute.cache_info().currsize == 1
            await compute.cache_clear()
            assert compute.cache_info() == (0, 0, 1024, 0)

        asyncio.run(main())


class TestSharingAnOpenCache:
    """cache= attaches functions to one store."""

    @pytest.mark.parametrize("engine", ["memory", "sqlite"])
    def test_functions_of_one_cache_have_entries_of_their_own(self, engine, tmp_path):
        """Same arguments, same cache, other function: another entry; clearing one spares the other."""
        settings = Settings(dir=tmp_path, data_dir=tmp_path / "keys")
        with open_cache("shared", engine=engine, settings=settings) as cache:

            @cached(cache=cache, name="one")
            def one(x):
                return ["one", x]

            @cached(cache=cache, name="two")
            def two(x):
                return ["two", x]

            assert one(1) == ["one", 1]
            assert two(1) == ["two", 1]
            assert one(1) == ["one", 1]
            cache.set(1, "direct")
            assert one.cache_info() == (1, 1, None, 1)
            one.cache_clear()
            assert one.cache_info() == (0, 0, None, 0)
            assert two.is_cached(1)
            assert cache.get(1) == "direct"

    def test_a_coroutine_function_needs_an_async_cache(self):
        """And the other way round; engine arguments beside cache= are refused."""
        with open_cache("mixed") as cache:
            with pytest.raises(ConfigurationError, match="open_async_cache"):

                @cached(cache=cache)
                async def compute(x):
                    return x

            with pytest.raises(ConfigurationError, match="policy="):
                cached(cache=cache, policy="lru")(len)

        async def main():
            async with open_async_cache("mixed") as cache:

                @cached(cache=cache)
                async def compute(x):
                    return object()

                assert await compute(1) is await compute(1)

        asyncio.run(main())


class TestVersions:
    """version= separates results of different code."""

    def test_another_version_does_not_see_the_entries_of_the_first(self, tmp_path):
        """Both live side by side, so going back finds the old ones."""

        def versioned(version):
            @cached(
                path=tmp_path,
                name="versioned",
                version=version,
                settings=Settings(data_dir=tmp_path / "keys"),
            )
            def compute(x):
                return version

            return compute

        assert versioned("1")(5) == "1"
        assert versioned("2")(5) == "2"
        assert versioned("1").is_cached(5)
        assert not versioned("3").is_cached(5)


def test_an_automatic_version_sees_helpers_that_are_defined_later():
    """The fingerprint is taken at the first use, when the module is complete."""
    keys = []
    for change in ("x + 1", "x + 2", "x + 1  # a comment"):
        scope = {"__name__": "app", "cached": cached}
        source = (
            "@cached(version='auto')\ndef f(x):\n    return helper(x)\n\n"
            f"def helper(x):\n    return {change}\n"
        )
        exec(source, scope)
        keys.append(scope["f"].cache_key(1))
    assert keys[0] != keys[1]
    assert keys[0] == keys[2]


def test_many_threads_count_exactly():
    """Hits and misses add up to the calls, however many threads call."""

    @cached
    def compute(x):
        return x

    def work():
        for x in range(2000):
            compute(x % 50)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    info = compute.cache_info()
    assert info.hits + info.misses == 16_000
    assert info.loads == 50

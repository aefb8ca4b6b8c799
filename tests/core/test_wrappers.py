"""Generated hit paths behave as their function does, for every shape of signature."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright import cached
from cachewright._wrappers import Shape, _template, key_function, parameters, shape_of, wrapper
from cachewright.entry import Entry

NAMES = (
    "a", "b", "p0", "p1", "rest", "more", "type", "id", "zip", "dict", "sorted", "tuple", "map", "_", "_read",
    "_made", "_entry", "_inner", "_item", "_key", "_keywords", "_calls", "wrapper", "name", "ä",
)  # fmt: skip
"""Parameter names, most of which the source of a wrapper uses as well."""


class Wrapped:
    """A wrapper with everything that it reads, and a record of what reached its miss."""

    def __init__(self, fn, *, keyed=None, read=None, **traits):
        first = 1 if traits.get("bound") or traits.get("self_keyed") else 0
        if keyed is None:
            keyed = tuple(range(first, len(parameters(fn.__code__))))
        self.shape = shape_of(fn.__code__, keyed, **traits)
        self.calls = repeat(None, 1_000_000)
        self.missed = []
        self.names = {
            "_read": {} if read is None else read,
            "_calls": self.calls,
            "_miss": self.miss,
            "_loader": "the loader",
            "_now": lambda: 100.0,
            "_tokens": {},
            "_key": lambda *args, **kwargs: ("made", args, tuple(sorted(kwargs.items()))),
            "_self_key": lambda instance: instance.number,
            "_keywords": fn.__code__.co_varnames[self.shape.args : self.shape.args + self.shape.kwonly],
        }
        self.function = wrapper(fn, self.shape, self.names)
        self.key_of = key_function(fn, self.shape, self.names)

    def miss(self, loader, key, args, kwargs):
        assert loader == "the loader"
        self.missed.append((key, args, kwargs))
        return "computed"


@st.composite
def signatures(draw):
    """Source of a signature with any mix of kinds, defaults and names."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=7))
    cuts = sorted(draw(st.lists(st.integers(0, len(names)), min_size=2, max_size=2)))
    posonly, plain, kwonly = names[: cuts[0]], names[cuts[0] : cuts[1]], names[cuts[1] :]
    defaults = draw(st.integers(0, cuts[1]))
    positional = [
        f"{name}=('default', {name!r})" if place >= cuts[1] - defaults else name
        for place, name in enumerate(posonly + plain)
    ]
    parts = positional[: cuts[0]] + ["/"] * bool(posonly) + positional[cuts[0] :]
    varargs = draw(st.booleans())
    if varargs or kwonly:
        parts.append("*others" if varargs else "*")
    parts += [f"{name}={name!r}" if draw(st.booleans()) else name for name in kwonly]
    if draw(st.booleans()):
        parts.append("**extra")
    return ", ".join(parts)


def function_of(signature, *, asynchronous=False):
    """Return a function with this signature that returns what its parameters are bound to."""
    scope = {}
    exec(f"{'async ' * asynchronous}def fn({signature}): return locals()", scope)
    return scope["fn"]


VALUES = st.one_of(st.integers(-2, 2), st.sampled_from(["x", "y", 1.0, None, ()]))
CALLS = st.tuples(
    st.lists(VALUES, max_size=8), st.dictionaries(st.sampled_from([*NAMES, "unknown"]), VALUES, max_size=5)
)


def bound(fn, args, kwargs):
    """Return what the interpreter binds a call to, or ``None`` if it refuses."""
    try:
        return fn(*args, **kwargs)
    except TypeError:
        return None


def completed(call, signature, data):
    """Return a call with the arguments that it lacks drawn in most cases, so that many calls bind."""
    args, kwargs = list(call[0]), dict(call[1])
    taken = [
        p.name
        for p in signature.parameters.values()
        if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}
    ]
    if not any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        args = args[: len(taken)]
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            kwargs.pop(parameter.name, None)
    for name in taken[: len(args)]:
        kwargs.pop(name, None)
    for parameter in signature.parameters.values():
        needed = parameter.default is parameter.empty and parameter.name not in kwargs
        if (
            needed
            and parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
            and (parameter.name not in taken[: len(args)])
        ):
            kwargs[parameter.name] = data.draw(VALUES)
    return args, kwargs


@settings(max_examples=300, deadline=None)
@given(source=signatures(), call=CALLS, typed=st.booleans(), data=st.data())
def test_any_call_of_any_signature_is_bound_as_by_the_interpreter(source, call, typed, data):
    """The same calls are refused with TypeError; the function gets what binding gives, defaults filled in."""
    fn = function_of(source)
    if data.draw(st.booleans()):
        call = completed(call, inspect.signature(fn), data)
    args, kwargs = call
    expected = bound(fn, args, kwargs)
    wrapped = Wrapped(fn, typed=typed)
    if expected is None:
        with pytest.raises(TypeError):
            wrapped.function(*args, **kwargs)
        with pytest.raises(TypeError):
            wrapped.key_of(*args, **kwargs)
        assert not wrapped.missed
        return
    assert wrapped.function(*args, **kwargs) == "computed"
    [(key, given_args, given_kwargs)] = wrapped.missed
    assert bound(fn, given_args, given_kwargs) == expected
    assert wrapped.key_of(*args, **kwargs) == (key, given_args, given_kwargs)


@settings(max_examples=200, deadline=None)
@given(source=signatures(), first=CALLS, second=CALLS, typed=st.booleans(), data=st.data())
def test_two_calls_share_a_key_exactly_if_they_bind_to_equal_arguments(source, first, second, typed, data):
    """However they are written; with typed, the types have to be the same too."""
    fn = function_of(source)
    first = completed(first, inspect.signature(fn), data)
    second = first if data.draw(st.booleans()) else completed(second, inspect.signature(fn), data)
    one, two = bound(fn, *first), bound(fn, *second)
    if one is None or two is None:
        return
    wrapped = Wrapped(fn, typed=typed)
    wrapped.function(*first[0], **first[1])
    wrapped.function(*second[0], **second[1])
    keys = [key for key, _, _ in wrapped.missed]
    same = one == two and (not typed or types_in(one) == types_in(two))
    assert (keys[0] == keys[1]) is same


def types_in(arguments):
    """Return the types of arguments, and of what is in ``*args`` and ``**kwargs``."""
    return {
        name: [type(item) for item in value]
        if name == "others"
        else {key: type(item) for key, item in value.items()}
        if name == "extra"
        else type(value)
        for name, value in arguments.items()
    }


@settings(max_examples=100, deadline=None)
@given(source=signatures(), call=CALLS, data=st.data())
def test_a_call_refused_by_python_is_refused_in_the_same_words(source, call, data):
    """The message names the function and its parameters, not ours."""
    fn = function_of(source)
    args, kwargs = call
    try:
        fn(*args, **kwargs)
    except TypeError as refusal:
        with pytest.raises(TypeError) as caught:
            Wrapped(fn).function(*args, **kwargs)
        assert str(caught.value) == str(refusal)


def describe(a, /, b, *others, c, d=4, **extra):
    """A parameter of each kind."""


class TestKeys:
    """What is in a key, and in which form."""

    def test_one_argument_is_the_key_itself_and_several_are_a_tuple(self):
        """No tuple is built for the commonest shape."""
        wrapped = Wrapped(lambda x: x)
        wrapped.function(5)
        pair = Wrapped(lambda x, y: x)
        pair.function(5, y=6)
        assert [wrapped.missed[0][0], pair.missed[0][0]] == [5, (5, 6)]

    def test_a_function_without_parameters_has_one_key(self):
        """An empty tuple."""
        wrapped = Wrapped(lambda: 1)
        wrapped.function()
        assert wrapped.missed == [((), (), {})]

    def test_only_the_keyed_parameters_are_in_the_key_and_all_reach_the_function(self):
        """Ignored parameters are passed on."""
        wrapped = Wrapped(describe, keyed=(1, 4, 5))
        wrapped.function(1, 2, 9, c=3, z=0, e=5)
        assert wrapped.missed == [
            ((2, (9,), (("e", 5), ("z", 0))), (1, 2, 9), {"c": 3, "d": 4, "z": 0, "e": 5})
        ]

    def test_typed_keys_end_with_the_types_in_the_order_of_the_parameters(self):
        """Types of ``*args`` and ``**kwargs`` are those of their parts, sorted by name."""
        wrapped = Wrapped(describe, typed=True)
        wrapped.function(1, 2.0, "x", c=None, z=b"", e=1j)
        key = wrapped.missed[0][0]
        assert key[6:] == (int, float, type(None), int, (str,), (complex, bytes))

    def test_a_made_key_stands_alone_whatever_it_is(self):
        """The raw key is what the key function returned, not a tuple around it or a part of it."""
        wrapped = Wrapped(describe, keyed=(0,), custom=True)
        wrapped.function(1, 2, 3, c=4)
        assert wrapped.shape.single
        assert wrapped.missed[0][0] == ("made", (1, 2, 3), (("c", 4), ("d", 4)))

    def test_a_key_function_may_raise_what_the_hit_path_knows(self):
        """KeyError and TypeError of the key function are the caller's, once."""
        wrapped = Wrapped(lambda x: x, keyed=(0,), custom=True)
        asked = []

        def failing(*args):
            asked.append(args)
            raise KeyError("mine")

        wrapped.names["_key"] = failing
        with pytest.raises(KeyError, match="mine"):
            wrapped.function(1)
        assert asked == [(1,)]

    def test_an_identified_instance_is_the_first_part(self):
        """``self_key`` is asked for the instance, and the instance itself is not in the key."""

        class Thing:
            number = 7

        thing = Thing()
        wrapped = Wrapped(lambda self, x: x, self_keyed=True)
        wrapped.function(thing, 3)
        assert wrapped.missed == [((7, 3), (thing, 3), {})]

    def test_a_bound_key_is_read_with_the_token_and_missed_without(self):
        """The miss path makes the token; the hit path looks it up by identity."""
        instance, token = object(), object()
        wrapped = Wrapped(lambda self, x: x, bound=True, read={(token, 3): "hit"})
        assert wrapped.function(instance, 3) == "computed"
        wrapped.names["_tokens"][id(instance)] = token
        assert wrapped.function(instance, 3) == "hit"
        assert wrapped.missed == [((3,), (instance, 3), {})]

    def test_a_bound_method_without_arguments_has_a_key(self):
        """The token alone."""
        instance, token = object(), object()
        wrapped = Wrapped(lambda self: 1, bound=True, read={(token,): "hit"})
        wrapped.names["_tokens"][id(instance)] = token
        assert wrapped.function(instance) == "hit"

    def test_arguments_are_never_compared(self):
        """Keywords are sorted by name alone, so values without an order work."""
        wrapped = Wrapped(lambda **extra: 1)
        wrapped.function(b={}, a={})
        assert wrapped.missed[0][0] == (("a", {}), ("b", {}))


class TestModes:
    """How a hit is read."""

    def test_value_returns_what_the_reader_holds_and_counts(self):
        """Falsy values are hits as well."""
        wrapped = Wrapped(lambda x: x, read={1: None, 2: 0})
        assert [wrapped.function(1), wrapped.function(2), wrapped.function(3)] == [None, 0, "computed"]
        assert wrapped.calls.__length_hint__() == 1_000_000 - 3

    def test_entry_is_strict_about_the_deadline(self):
        """An entry whose deadline is now is expired."""
        entries = {1: Entry("live", expires=100.1), 2: Entry("dead", expires=100.0)}
        wrapped = Wrapped(lambda x: x, mode="entry", read=entries)
        assert [wrapped.function(1), wrapped.function(2), wrapped.function(3)] == [
            "live",
            "computed",
            "computed",
        ]

    def test_call_reads_nothing(self):
        """The cache decides."""
        wrapped = Wrapped(lambda x: x, mode="call", read={1: "not for you"})
        assert wrapped.function(1) == "computed"

    def test_what_cannot_be_hashed_goes_the_long_way(self):
        """Without an error."""
        wrapped = Wrapped(lambda x: x)
        assert wrapped.function([1]) == "computed"

    @pytest.mark.parametrize("mode", ["value", "entry", "call"])
    def test_a_coroutine_function_stays_one(self, mode):
        """Hits and misses are awaited alike."""

        async def fn(x, *, y=1):
            """Original."""

        read = {"value": {(1, 1): "hit"}, "entry": {(1, 1): Entry("hit", 101.0)}, "call": {}}[mode]
        wrapped = Wrapped(fn, awaits=True, mode=mode, read=read)

        async def miss(loader, key, args, kwargs):
            return "computed"

        wrapped.names["_miss"] = miss
        assert inspect.iscoroutinefunction(wrapped.function)
        found = asyncio.run(wrapped.function(1))
        assert found == ("computed" if mode == "call" else "hit")
        assert asyncio.run(wrapped.function(2)) == "computed"


class TestStreams:
    """Wrappers of generator functions are generator functions."""

    @staticmethod
    def collected(function, args, kwargs, *, asynchronous):
        async def collect():
            return [item async for item in function(*args, **kwargs)]

        return asyncio.run(collect()) if asynchronous else [*function(*args, **kwargs)]

    @staticmethod
    def streaming(wrapped, *, asynchronous):
        """Have the misses of ``wrapped`` yield "first" and "second"."""

        def generate(loader, key, args, kwargs):
            wrapped.miss(loader, key, args, kwargs)
            yield "first"
            yield "second"

        async def generate_async(*miss):
            for item in generate(*miss):
                yield item

        wrapped.names["_miss"] = generate_async if asynchronous else generate
        return wrapped

    @settings(max_examples=100, deadline=None)
    @given(source=signatures(), call=CALLS, asynchronous=st.booleans(), custom=st.booleans(), data=st.data())
    def test_any_call_of_any_signature_is_bound_as_by_the_interpreter(
        self, source, call, asynchronous, custom, data
    ):
        """Wrong calls are refused at once; the items are those of the miss; one call is counted."""
        fn = function_of(source)
        if data.draw(st.booleans()):
            call = completed(call, inspect.signature(fn), data)
        args, kwargs = call
        expected = bound(fn, args, kwargs)
        wrapped = Wrapped(fn, streams=True, awaits=asynchronous, custom=custom, mode="call")
        self.streaming(wrapped, asynchronous=asynchronous)
        if expected is None:
            with pytest.raises(TypeError):
                wrapped.function(*args, **kwargs)
            return
        found = self.collected(wrapped.function, args, kwargs, asynchronous=asynchronous)
        assert found == ["first", "second"]
        [(key, given_args, given_kwargs)] = wrapped.missed
        assert bound(fn, given_args, given_kwargs) == expected
        assert wrapped.key_of(*args, **kwargs) == (key, given_args, given_kwargs)
        assert wrapped.calls.__length_hint__() == 1_000_000 - 1

    @pytest.mark.parametrize("asynchronous", [False, True])
    @pytest.mark.parametrize("mode", ["value", "entry", "call"])
    def test_it_is_a_generator_function_and_runs_nothing_before_the_first_item(self, asynchronous, mode):
        """Neither is the call counted, nor the key made, nor a hit read, whatever the mode."""
        wrapped = Wrapped(lambda x: x, streams=True, awaits=asynchronous, mode=mode, read={1: "not for you"})
        self.streaming(wrapped, asynchronous=asynchronous)
        check = inspect.isasyncgenfunction if asynchronous else inspect.isgeneratorfunction
        assert check(wrapped.function)
        waiting = wrapped.function(1)
        assert wrapped.missed == []
        assert wrapped.calls.__length_hint__() == 1_000_000
        if asynchronous:
            asyncio.run(waiting.aclose())
        else:
            assert next(waiting) == "first"
            assert wrapped.calls.__length_hint__() == 1_000_000 - 1
        assert len(wrapped.missed) == (0 if asynchronous else 1)

    def test_what_is_sent_thrown_or_closed_reaches_the_inner_generator(self):
        """It is at once closed with the outer one."""
        seen = []

        def generate(*miss):
            try:
                seen.append((yield 1))
                yield 2
            except ValueError as error:
                seen.append(str(error))
                yield 3
            finally:
                seen.append("closed")

        wrapped = Wrapped(lambda x: x, streams=True, mode="call")
        wrapped.names["_miss"] = generate
        outer = wrapped.function(1)
        assert [next(outer), outer.send("sent"), outer.throw(ValueError("thrown"))] == [1, 2, 3]
        outer.close()
        assert seen == ["sent", "thrown", "closed"]

    @pytest.mark.parametrize("leave", ["aclose", "athrow"])
    def test_leaving_an_asynchronous_generator_closes_the_inner_one_before_it_returns(self, leave):
        """Not whenever the garbage collector finds it."""
        seen = []

        async def generate(*miss):
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(0)
                seen.append("closed")

        async def main():
            outer = wrapped.function(1)
            assert await anext(outer) == 1
            if leave == "aclose":
                await outer.aclose()
            else:
                with pytest.raises(ValueError, match="mine"):
                    await outer.athrow(ValueError("mine"))
            assert seen == ["closed"]

        wrapped = Wrapped(lambda x: x, streams=True, awaits=True, mode="call")
        wrapped.names["_miss"] = generate
        asyncio.run(main())


class TestTemplates:
    """Source is compiled once per shape."""

    def test_a_thousand_functions_of_known_shapes_compile_nothing(self):
        """Names, defaults and bodies are not part of a shape."""
        shapes = ("x", "x, y=1", "x, /, *, z", "*args, **kwargs")
        for source in shapes:
            cached(function_of(source))
        before = _template.cache_info()
        for number in range(1000):
            renamed = shapes[number % 4].replace("x", f"x{number}").replace("z", f"z{number}")
            cached(function_of(renamed))
        after = _template.cache_info()
        assert after.misses == before.misses
        assert after.hits >= before.hits + 1000

    def test_decorating_costs_few_calls(self):
        """A bare decorator of a known shape runs some dozens of functions, none of them the compiler."""
        cached(function_of("x, y=2"))
        fn = function_of("a, b=3")
        called = []
        sys.setprofile(lambda frame, event, arg: called.append((event, frame.f_code.co_name, arg)))
        try:
            cached(fn)
        finally:
            sys.setprofile(None)
        ours = [name for event, name, _ in called if event == "call"]
        builtins = [getattr(arg, "__name__", "") for event, _, arg in called if event == "c_call"]
        assert len(ours) <= 75, ours
        assert not {"compile", "exec"} & {*builtins}

    def test_a_shape_tells_what_the_source_depends_on(self):
        """Counts and flags, no names."""
        assert shape_of(describe.__code__, (0, 1)) == Shape(1, 2, 2, True, True, (0, 1))
        assert parameters(describe.__code__) == ("a", "b", "c", "d", "others", "extra")


@cached
def fails(x):
    """Raise."""
    raise LookupError(x)


@cached
def importable(x):
    """Docstring."""
    return x


class TestAsAFunction:
    """A wrapper is a function like any other."""

    def test_a_traceback_names_the_decorated_function_twice_and_shows_the_users_line(self):
        """The wrapper's frame carries the name of the function that it stands for."""
        with pytest.raises(LookupError) as caught:
            fails(1)
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert frames[-1].line == "raise LookupError(x)"
        assert frames[1].name == "fails"

    def test_it_has_the_module_and_names_of_the_function(self):
        """Also where the function is a callable object, which has none."""

        class Callable:
            def __call__(self, x):
                return x

        for fn in (importable, cached(Callable())):
            assert fn.__module__ == __name__
        assert importable.__wrapped__.__qualname__ == importable.__qualname__ == "importable"

    def test_it_keeps_defaults_and_annotations(self):
        """Defaults are the same objects."""
        marker = object()

        def fn(a=marker, *, b: int = 2) -> str:
            return ""

        made = cached(fn)
        assert made.__defaults__ == (marker,)
        assert made.__kwdefaults__ == {"b": 2}
        assert made.__annotations__ == fn.__annotations__

    def test_recursion_goes_as_deep_as_the_limit_allows_and_no_crash_follows(self):
        """RecursionError reaches the caller, and the function works afterwards."""

        @cached
        def down(x):
            return down(x - 1) if x else 0

        with pytest.raises(RecursionError):
            down(sys.getrecursionlimit())
        assert down(10) == 0

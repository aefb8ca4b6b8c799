"""Conditional and adaptive loads: what is stored, for how long, and what a function may say about it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import sys
import threading
import traceback
import weakref
from contextlib import suppress

import pytest

from cachewright import (
    INJECTED,
    MISSING,
    Freshness,
    LoadContext,
    cached,
    disabled,
    open_async_cache,
    open_cache,
)
from cachewright.errors import ConfigurationError

PATIENCE = 20.0


class NotFound(Exception):  # noqa: N818 - as users call it
    """An answer rather than a failure."""

    def __init__(self, key, *, hint="none"):
        super().__init__(f"no {key}")
        self.key = key
        self.hint = hint


class Deleted(NotFound):
    """A subclass."""


class MineError(ValueError):
    """One that can be referred to weakly."""


class StubbornError(Exception):
    """Made in a way of its own."""

    def __new__(cls, one, *, two):
        return super().__new__(cls, one, two)

    def __init__(self, one, *, two):
        self.both = one, two


def raising(error):
    """Return a body that counts its calls and raises what ``error()`` makes, while that makes any."""

    def body(x, *rest):
        body.calls += 1
        made = error()
        if made is not None:
            raise made
        return body.calls

    body.calls = 0
    return body


class TestCachedErrors:
    """Exceptions that are remembered."""

    @pytest.mark.parametrize(
        "given", [NotFound, (OSError, NotFound), [NotFound], {NotFound: 10}, {Exception: "10s"}]
    )
    def test_they_are_raised_again_without_a_call(self, world, given):
        """As a class, several, or a mapping; subclasses too, with arguments and attributes."""
        body = raising(lambda: Deleted("k", hint="deleted yesterday"))
        load = world.cached(body, ttl=10, cache_errors=given)
        seen = []
        for _ in range(3):
            with pytest.raises(Deleted) as caught:
                load(1)
            seen.append((type(caught.value), caught.value.args, caught.value.key, caught.value.hint))
        assert seen == [(Deleted, ("no k",), "k", "deleted yesterday")] * 3
        assert body.calls == 1

    def test_others_are_not(self, world):
        """They pass untouched, every time."""
        error = ValueError("mine")
        body = raising(lambda: error)
        load = world.cached(body, ttl=10, cache_errors=NotFound)
        for _ in range(2):
            with pytest.raises(ValueError, match="mine") as caught:
                load(1)
            assert caught.value is error
        assert body.calls == 2

    def test_each_has_its_own_ttl(self, world):
        """Of the first class of the mapping that fits."""
        body = raising(lambda: Deleted("k"))
        load = world.cached(body, ttl=1000, cache_errors={Deleted: 5, NotFound: 500})
        for advance, calls in ((0, 1), (4.9, 1), (0.2, 2)):
            world.clock.advance(advance)
            with pytest.raises(NotFound):
                load(1)
            assert body.calls == calls

    def test_with_the_ttl_of_results(self, world):
        """Where they have none of their own."""
        body = raising(lambda: NotFound("k"))
        load = world.cached(body, ttl=10, cache_errors=NotFound)
        for advance, calls in ((0, 1), (9.9, 1), (0.2, 2)):
            world.clock.advance(advance)
            with pytest.raises(NotFound):
                load(1)
            assert body.calls == calls

    def test_jitter_shortens_theirs_too(self, world):
        """Those made together do not expire together."""
        body = raising(lambda: NotFound("k"))
        load = world.cached(body, ttl=100, jitter=0.9, cache_errors=NotFound)
        for x in range(60):
            with pytest.raises(NotFound):
                load(x)
        world.clock.advance(55)
        for x in range(60):
            with pytest.raises(NotFound):
                load(x)
        assert 60 < body.calls < 120

    def test_they_are_no_results(self, world):
        """is_cached() and peek() say that there is none; invalidate() and a success replace it."""
        failing = [True]
        body = raising(lambda: NotFound("k") if failing else None)
        load = world.cached(body, ttl=10, cache_errors=NotFound)
        with pytest.raises(NotFound):
            load(1)
        assert load.is_cached(1) is False
        assert load.peek(1) is MISSING
        failing.clear()
        with pytest.raises(NotFound):
            load(1)
        assert load.invalidate(1) is False
        assert load(1) == 2
        assert load(1) == 2

    @pytest.mark.parametrize("how", ["put", "refresh", "tags", "where", "clear"])
    def test_everything_that_replaces_a_result_replaces_one(self, world, how):
        """No exception survives what a result would not."""
        failing = [True]
        cache = world.open()
        body = raising(lambda: NotFound("k") if failing else None)
        load = world.cached(body, cache, ttl=10, cache_errors=NotFound, tags="t")
        with pytest.raises(NotFound):
            load(1)
        failing.clear()
        {
            "put": lambda: load.put(2, 1),
            "refresh": lambda: load.refresh(1),
            "tags": lambda: cache.invalidate_tags("t"),
            "where": lambda: load.invalidate_where(x=1),
            "clear": load.cache_clear,
        }[how]()
        assert load(1) == 2

    def test_a_traceback_does_not_grow_and_keeps_no_frame(self, world):
        """Each is a new object whose traceback begins where it is raised now."""

        class Big:
            pass

        alive = []

        def body(x):
            big = Big()
            alive.append(weakref.ref(big))
            raise NotFound("k")

        load = world.cached(body, ttl=10, cache_errors=NotFound)
        lengths, ids = [], []
        for _ in range(4):
            try:
                load(1)
            except NotFound as error:
                error.add_note("seen")
                lengths.append(len(traceback.extract_tb(error.__traceback__)))
                ids.append((id(error), tuple(error.__notes__)))
        gc.collect()
        assert alive[0]() is None
        assert len(set(lengths[1:])) == 1
        assert [notes for _, notes in ids[1:]] == [("seen",)] * 3

    @pytest.mark.parametrize(
        "error",
        [
            FileNotFoundError(2, "gone", "a.txt"),
            KeyError("k"),
            UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        ],
    )
    def test_builtin_ones_look_the_same(self, world, error):
        """Also those that keep more than their arguments."""
        load = world.cached(raising(lambda: error), ttl=10, cache_errors=(OSError, LookupError, ValueError))
        for _ in range(3):
            with pytest.raises(type(error)) as caught:
                load(1)
            assert str(caught.value) == str(error)

    @pytest.mark.parametrize("make", [lambda: NotFound(threading.Lock()), lambda: StubbornError(1, two=2)])
    def test_what_cannot_be_remembered_is_raised_all_the_same(self, world, make):
        """The caller gets the function's own exception, whatever storing it has met."""
        kinds = (NotFound, StubbornError)
        load = world.cached(raising(make), ttl=10, cache_errors=kinds)
        for _ in range(2):
            with pytest.raises(kinds):
                load(1)

    def test_a_class_that_is_not_listed_any_more_is_a_miss(self, world):
        """A store says what class it was; only listed ones are made, and none is imported."""
        cache = world.open()
        failing = [True]
        body = raising(lambda: NotFound("k") if failing else None)
        before = world.cached(body, cache, ttl=10, cache_errors=NotFound)
        after = world.cached(body, cache, ttl=10, cache_errors=OSError)
        without = world.cached(body, cache, ttl=10)
        with pytest.raises(NotFound):
            before(1)
        failing.clear()
        assert after(1) == 2
        failing.append(True)
        before.invalidate(1)
        with pytest.raises(NotFound):
            before(1)
        failing.clear()
        assert without(1) == 4

    def test_a_value_that_may_still_be_served_is_kept(self, world, eventually):
        """What on_error forgives does not push out the old value; what it does not forgive does."""
        failing = []
        body = raising(lambda: failing[0] if failing else None)
        freshness = Freshness(stale_ttl=10, error_ttl=100, backoff=0, on_error=OSError)
        load = world.cached(body, ttl=10, cache_errors=(OSError, NotFound), freshness=freshness)
        assert load(1) == 1
        failing.append(OSError("down"))
        world.clock.advance(25)
        assert [load(1), load(1)] == [1, 1]
        failing[0] = NotFound("k")
        with pytest.raises(NotFound):
            load(1)
        calls = body.calls
        with pytest.raises(NotFound):
            load(1)
        assert body.calls == calls

    def test_waiters_share_it(self, world, gate):
        """One call, one exception for all, stored once."""

        def fail(x):
            raise NotFound(x)

        body = gate(fail)
        load = world.cached(body, ttl=10, cache_errors=NotFound)
        callers = [load.start(1) for _ in range(8)]
        body.await_start()
        body.open.set()
        for caller in callers:
            with pytest.raises(NotFound):
                caller.result(PATIENCE)
        assert body.calls == 1

    @pytest.mark.parametrize(
        "given", [1, "NotFound", (1,), BaseException, KeyboardInterrupt, {NotFound: "x"}, {1: 1}]
    )
    def test_nonsense_is_refused_at_decoration(self, given):
        """A ConfigurationError."""
        with pytest.raises(ConfigurationError):
            cached(cache_errors=given)(lambda x: x)

    def test_a_ttl_of_the_result_says_nothing_about_exceptions(self, world):
        """They need one of their own beside it: none at all would be for ever."""
        with pytest.raises(ConfigurationError, match="mapping"):
            cached(ttl=lambda _: 10, cache_errors=NotFound)(lambda x: x)
        body = raising(lambda: NotFound("k"))
        load = world.cached(body, ttl=lambda _: 10, cache_errors={NotFound: 5})
        for advance, calls in ((0, 1), (4, 1), (1.1, 2)):
            world.clock.advance(advance)
            with pytest.raises(NotFound):
                load(1)
            assert body.calls == calls


class TestConditions:
    """cache_if and ttl from the result."""

    def test_cache_if_decides(self, world):
        """What it refuses is returned and not stored; an old value stays."""
        body = raising(lambda: None)
        load = world.cached(body, ttl=10, cache_if=lambda value: value % 2)
        assert [load(1), load(1)] == [1, 1]
        assert load.refresh(1) == 2
        assert load(1) == 1
        assert load.cache_info().refused >= 0

    @pytest.mark.parametrize("rich", [False, True])
    def test_a_rule_that_raises_is_the_callers(self, world, rich):
        """Its exception reaches everybody who waits, and the flight is gone."""

        def rule(value):
            raise ZeroDivisionError(value)

        body = raising(lambda: None)
        load = world.cached(body, ttl=10, cache_if=rule, **({"tags": "t"} if rich else {}))
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                load(1)
        assert body.calls == 2

    def test_ttl_of_the_result(self, world):
        """A callable of the result, in any of the forms of ttl; 0 removes what was there."""
        results = iter([5, "10s", None, 0, 7])
        load = world.cached(lambda x: next(results), ttl=lambda value: value)
        assert load(1) == 5
        world.clock.advance(5.1)
        assert load(1) == "10s"
        world.clock.advance(10.1)
        assert load(1) is None
        world.clock.advance(1e9)
        assert load(1) is None
        assert load.refresh(1) == 0
        assert load.peek(1) is MISSING
        assert load(1) == 7

    @pytest.mark.parametrize("rich", [False, True])
    def test_not_storing_does_not_remove_what_was_put_meanwhile(self, world, gate, rich):
        """A computation with ttl 0 that was overtaken by put() leaves that value alone."""
        body = gate()
        load = world.cached(
            body, ttl=lambda value: 0 if value == 1 else 10, **({"tags": "t"} if rich else {})
        )
        first = load.start(1)
        body.await_start()
        assert load.put("explicit", 1)
        body.open.set()
        assert first.result(PATIENCE) in {1, "explicit"}
        assert load(1) == "explicit"


class TestContext:
    """What a function may say about its result."""

    def test_it_sets_the_ttl(self, world):
        """Over that of the decorator, in any form."""

        def body(x, ctx):
            body.calls += 1
            ctx.ttl = "5s"
            return body.calls

        body.calls = 0
        load = world.cached(body, ttl=1000, injects=True)
        assert [load(1), load(1)] == [1, 1]
        world.clock.advance(5.1)
        assert load(1) == 2

    def test_it_sets_a_ttl_where_there_was_none(self):
        """A function with a cache of its own needs no ttl of its own for that."""

        @cached
        def load(x, *, ctx: LoadContext = INJECTED):
            ctx.ttl = 1000
            return x

        assert [load(1), load(1)] == [1, 1]
        assert load.cache_info().hits == 1

    def test_it_keeps_a_result_from_being_stored(self, world):
        """no_store() serves those who wait."""

        def body(x, ctx):
            body.calls += 1
            ctx.no_store()
            return body.calls

        body.calls = 0
        load = world.cached(body, injects=True)
        assert [load(1), load(1)] == [1, 2]

    def test_it_renews_the_old_value(self, world, eventually):
        """not_modified() makes it fresh again, in the background, on request and in grace."""
        seen = []

        def body(x, ctx):
            seen.append(ctx.stale_value)
            if ctx.stale_value is MISSING:
                return ["value"]
            return ctx.not_modified()

        load = world.cached(body, ttl=10, injects=True, freshness=Freshness(stale_ttl=10, error_ttl=100))
        assert load(1) == ["value"]
        world.clock.advance(15)
        assert load(1) == ["value"]
        eventually(lambda: load.is_cached(1))
        world.clock.advance(50)
        assert load(1) == ["value"]
        assert load.is_cached(1)
        assert load.refresh(1) == ["value"]
        assert seen == [MISSING, ["value"], ["value"], ["value"]]

    def test_it_keeps_the_ttl_and_the_tags_of_the_old_value(self, world, eventually):
        """Those that the load context of an earlier load gave it, unless this one gives it others."""
        seen = []

        def body(x, ctx):
            seen.append(ctx.stale_value)
            if ctx.stale_value is not MISSING:
                return ctx.not_modified()
            ctx.ttl = 100
            ctx.tags.append("t")
            return "value"

        cache = world.open()
        load = world.cached(body, cache, ttl=10, injects=True, freshness=Freshness(stale_ttl=1000))
        assert load(1) == "value"
        world.clock.advance(150)
        assert load(1) == "value"
        eventually(lambda: load.is_cached(1))
        world.clock.advance(99)
        assert load.is_cached(1)
        cache.invalidate_tags("t")
        assert not load.is_cached(1)
        assert seen == [MISSING, "value"]

    def test_nothing_is_unmodified_that_is_not_there(self, world):
        """A LookupError, for the function to handle."""
        load = world.cached(lambda x, ctx: ctx.not_modified(), injects=True)
        with pytest.raises(LookupError):
            load(1)

    def test_a_nonsensical_ttl_is_the_functions_mistake(self, world):
        """ConfigurationError, and nothing is stored."""
        load = world.cached(lambda x, ctx: setattr(ctx, "ttl", "soon"), injects=True)
        with pytest.raises(ConfigurationError):
            load(1)
        assert not load.is_cached(1)

    def test_it_is_no_part_of_the_key(self):
        """The signature stays; a context that is passed along finds the same entry."""
        seen = []

        @cached
        def load(x, ctx: LoadContext = INJECTED):
            seen.append(ctx)
            return x

        mine = LoadContext()
        assert str(inspect.signature(load)) == "(x, ctx: 'LoadContext' = INJECTED)"
        assert [load(1, mine), load(1), load(1, ctx=LoadContext())] == [1, 1, 1]
        assert seen == [mine]
        load(2)
        assert seen[1] is not INJECTED
        with disabled():
            load(1)
        load.__wrapped__(1)
        assert seen[2] is INJECTED
        assert seen[3] is INJECTED

    def test_without_a_cache_it_leads_nowhere(self):
        """The detached context takes everything and keeps nothing."""
        INJECTED.ttl = 5
        INJECTED.tags.append("t")
        INJECTED.no_store()
        assert (INJECTED.ttl, INJECTED.tags, INJECTED.stored) == (MISSING, [], True)
        with pytest.raises(LookupError):
            INJECTED.not_modified()

    def test_defaults_that_compare_strangely_are_left_alone(self):
        """Only the default itself is replaced, whatever others think they are equal to."""

        class Array:
            def __eq__(self, other):
                raise ValueError("ambiguous")

            __hash__ = None

        @cached(key="{x}")
        def load(x, a=Array(), ctx=INJECTED):  # noqa: B008 - the point
            return type(ctx)

        assert load(1) is LoadContext


class TestWhatAFunctionRaises:
    """The function runs once per call, and what it raises is the caller's, whatever it is."""

    @pytest.mark.parametrize("rich", [False, True])
    @pytest.mark.parametrize(
        "kind",
        [
            ValueError,
            StopIteration,
            StopAsyncIteration,
            GeneratorExit,
            MemoryError,
            RecursionError,
            TimeoutError,
        ],
    )
    def test_it_passes_untouched(self, world, kind, rich):
        """And leaves no flight behind: the next call runs the function again."""
        if world.loop is not None and kind in {StopIteration, GeneratorExit}:
            pytest.skip("no future delivers it; see below for a coroutine that raises GeneratorExit itself")
        body = raising(lambda: kind("mine") if body.calls < 3 else None)
        load = world.cached(body, **({"tags": "t"} if rich else {}))
        for calls in (1, 2):
            with pytest.raises(kind, match="mine"):
                load(1)
            assert body.calls == calls
        assert load(1) == 3
        assert load(1) == 3

    @pytest.mark.parametrize("rich", [False, True])
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("path", [None, "sqlite"])
    def test_an_interrupted_leader_is_replaced(self, tmp_path, kind, rich, path):
        """Those who wait start over."""
        started, release, waiting = threading.Event(), threading.Event(), threading.Event()
        calls = []
        where = {"path": tmp_path} if path else {}
        cache = open_cache("interrupts", **where)

        @cached(cache=cache, name="load", **({"tags": "t"} if rich else {}))
        def load(x):
            calls.append(x)
            if len(calls) == 1:
                started.set()
                assert release.wait(PATIENCE)
                raise kind
            return len(calls)

        ends = []

        def lead():
            try:
                load(1)
            except kind as error:
                ends.append(type(error))

        leader = threading.Thread(target=lead)
        leader.start()
        assert started.wait(PATIENCE)
        answers = []

        def follow():
            waiting.set()
            answers.append(load(1))

        follower = threading.Thread(target=follow)
        follower.start()
        assert waiting.wait(PATIENCE)
        release.set()
        leader.join(PATIENCE)
        follower.join(PATIENCE)
        assert ends == [kind]
        assert answers == [2]
        assert load(1) == 2
        cache.close()

    @pytest.mark.parametrize("kind", [GeneratorExit, asyncio.CancelledError])
    @pytest.mark.parametrize("where", ["memory", "sqlite"])
    def test_a_coroutine_that_raises_what_closes_one(self, tmp_path, kind, where):
        """It does so for its callers, and leaves neither flight nor claim."""
        options = {"path": tmp_path} if where == "sqlite" else {"engine": "memory"}

        async def scenario():
            cache = open_async_cache("exits", **options)
            calls = []

            @cached(cache=cache, name="load", tags="t")
            async def load(x):
                calls.append(x)
                if len(calls) == 1:
                    raise kind
                return x

            with pytest.raises(kind):
                await load(1)
            async with asyncio.timeout(PATIENCE):
                assert await load(1) == 1
            await cache.close()
            return len(calls)

        assert asyncio.run(scenario()) == 2

    @pytest.mark.parametrize("rich", [False, True])
    @pytest.mark.parametrize("where", ["memory", "sqlite"])
    def test_a_failing_call_leaves_no_circle(self, tmp_path, rich, where):
        """Without the garbage collector everything it has touched goes away."""
        options = {"path": tmp_path} if where == "sqlite" else {"engine": "memory"}
        cache = open_cache("leaks", **options)

        class Argument:
            def __init__(self):
                self.id = 1

        seen = []

        def noted(error):
            seen.append(weakref.ref(error))
            return error

        def body(x):
            seen.append(weakref.ref(x))
            raise noted(MineError("mine"))

        load = cached(cache=cache, name="load", key=lambda x: x.id, **({"tags": "t"} if rich else {}))(body)
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                argument = Argument()
                with suppress(ValueError):
                    load(argument)
                del argument
            assert [one() for one in seen] == [None] * 6
        finally:
            gc.enable()
        cache.close()

    def test_a_failing_await_leaves_no_circle(self, tmp_path):
        """The same of a coroutine function, of which nothing is left when its task has ended."""
        seen = []

        def noted(error):
            seen.append(weakref.ref(error))
            return error

        async def scenario():
            cache = open_async_cache("leaks", path=tmp_path)

            @cached(cache=cache, name="load", tags="t")
            async def load(x):
                raise noted(MineError("mine"))

            gc.collect()
            gc.disable()
            try:
                for _ in range(3):
                    with suppress(MineError):
                        await load(1)
                    for _ in range(3):
                        await asyncio.sleep(0)
                assert [one() for one in seen] == [None] * 3
            finally:
                gc.enable()
            await cache.close()

        asyncio.run(scenario())


class TestRecursion:
    """Functions that call themselves and each other."""

    @pytest.mark.parametrize("rich", [False, True])
    @pytest.mark.parametrize("where", ["memory", "sqlite"])
    def test_two_hundred_levels(self, tmp_path, rich, where):
        """In a stack of the default size, with room to spare."""
        options = {"path": tmp_path} if where == "sqlite" else {"engine": "memory"}
        cache = open_cache("deep", **options)

        @cached(cache=cache, name="depth", **({"tags": "t"} if rich else {}))
        def depth(n):
            return 0 if n == 0 else depth(n - 1) + 1

        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(1000 + len(inspect.stack()))
        try:
            assert depth(200) == 200
        finally:
            sys.setrecursionlimit(limit)
        cache.close()

    def test_the_same_key(self, world):
        """A function that asks for its own result computes instead of waiting for itself."""
        if world.loop is not None:
            pytest.skip("the body runs in a thread of its own here")
        depth = []

        def body(x):
            depth.append(x)
            return x if len(depth) == 3 else load(x)

        load = world.cached(body, tags="t")
        assert load(1) == 1
        assert depth == [1, 1, 1]

    @pytest.mark.parametrize("rich", [False, True])
    def test_a_circle_across_threads(self, world, rich):
        """A asks for B while B asks for A: both end."""
        if world.loop is not None:
            pytest.skip("the body runs in a thread of its own here")
        cache = world.open()
        both = threading.Barrier(2)
        first = threading.local()

        def body(x):
            if not getattr(first, "done", False):
                first.done = True
                both.wait(PATIENCE)
                return load(1 - x) + 1
            return 0

        load = world.cached(body, cache, **({"tags": "t"} if rich else {}))
        one, two = load.start(0), load.start(1)
        assert {one.result(PATIENCE), two.result(PATIENCE)} <= {0, 1, 2, 3}

    def test_context_variables_of_a_leader_are_its_own(self, world, gate):
        """What a load sets in a context variable is not seen by those who wait for it."""
        variable = contextvars.ContextVar("variable", default="outside")

        def result(x):
            variable.set("inside")
            return x

        body = gate(result)
        load = world.cached(body, tags="t", freshness=Freshness(hard_timeout=PATIENCE))
        follower = load.start(1)
        body.await_start()
        body.open.set()
        assert follower.result(PATIENCE) == 1
        assert load(1) == 1
        assert variable.get() == "outside"

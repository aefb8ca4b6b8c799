"""Tags and partial invalidation as callers meet them, in both colours, on every engine."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref

import pytest

from cachewright import MISSING, cached, open_async_cache, open_cache
from cachewright.errors import ConfigurationError

PATIENCE = 20.0
NAN = float("nan")


class TestTags:
    """Where the tags of an entry come from, and what invalidating them does."""

    def test_templates_name_arguments(self, world, source):
        """Defaults count, several tags per entry too; only what has the tag goes."""
        cache = world.open()
        load = world.cached(source, cache, tags=("x:{x}", "y:{y}", "all"))
        assert [load(1), load(2), load(3, y=7)] == [1, 2, 3]
        cache.invalidate_tags("x:1")
        assert [load.is_cached(1), load.is_cached(2), load.is_cached(3, y=7)] == [False, True, True]
        cache.invalidate_tags("y:7")
        assert [load.is_cached(2), load.is_cached(3, y=7)] == [True, False]
        cache.invalidate_tags("all", "nobody has this one")
        assert not load.is_cached(2)

    def test_results_name_their_own(self, world):
        """A callable of the result returns tags; a result without any has none."""
        cache = world.open()
        load = world.cached(lambda x: {"groups": ["a", "b"][:x]}, cache, tags=lambda found: found["groups"])
        for x in range(3):
            load(x)
        cache.invalidate_tags("b")
        assert [load.is_cached(x) for x in range(3)] == [True, True, False]
        cache.invalidate_tags("a")
        assert [load.is_cached(x) for x in range(3)] == [True, False, False]

    def test_a_load_context_adds_some(self, world):
        """What a function appends to ctx.tags while it computes are tags of its result."""
        cache = world.open()
        load = world.cached(
            lambda x, ctx: ctx.tags.append(f"found:{x}") or x, cache, injects=True, tags="x:{x}"
        )
        assert [load(1), load(2)] == [1, 2]
        cache.invalidate_tags("found:1")
        assert [load.is_cached(1), load.is_cached(2)] == [False, True]
        cache.invalidate_tags("x:2")
        assert not load.is_cached(2)

    def test_a_put_value_has_the_tags_of_a_result(self, world):
        """f.put() stores with the tags that the call would have had."""
        cache = world.open()
        load = world.cached(lambda x: x, cache, tags=("x:{x}", lambda found: [f"result:{found}"]))
        load.put(10, 1)
        load.put(20, 2)
        cache.invalidate_tags("x:1", "result:20")
        assert [load.is_cached(1), load.is_cached(2)] == [False, False]

    def test_values_stored_by_hand(self, world):
        """set(), set_many(), add() and get_or_set() take tags."""
        cache = world.open()
        cache.set("set", 1, tags=["t", "of set"])
        cache.set_many({"many": 1, "more": 2}, tags=("t",))
        cache.add("add", 1, tags=("t",))
        if world.loop is None:
            cache.get_or_set("computed", lambda: 1, tags=("t",))
        else:
            cache.get_or_set("computed", world.function(lambda x: x).__get__(1), tags=("t",))
        cache.set("other", 1)
        cache.invalidate_tags("t")
        found = cache.get_many(["set", "many", "more", "add", "computed", "other"])
        assert found == {"other": 1}

    def test_overwriting_replaces_them(self, world):
        """The new value has the new tags and none of the old."""
        cache = world.open()
        cache.set("k", 1, tags=("old",))
        cache.set("k", 2, tags=("new",))
        cache.invalidate_tags("old")
        assert cache.get("k") == 2
        cache.invalidate_tags("new")
        assert cache.get("k") is None
        cache.set("k", 3, tags=("new",))
        cache.set("k", 4)
        cache.invalidate_tags("new")
        assert cache.get("k") == 4

    def test_touch_and_incr_keep_them(self, world):
        """An entry that is changed in place is found by its tags as before."""
        cache = world.open()
        cache.set("a", 1, tags=("t",))
        cache.set("b", 1, tags=("t",))
        assert cache.touch("a", 100)
        assert cache.incr("b") == 2
        cache.invalidate_tags("t")
        assert cache.get_many(["a", "b"]) == {}

    def test_a_key_added_again_has_its_own(self, world):
        """Tags of an entry that was removed do not come back with its key."""
        cache = world.open()
        cache.set("k", 1, tags=("t",))
        cache.delete("k")
        assert cache.add("k", 2)
        cache.invalidate_tags("t")
        assert cache.get("k") == 2

    def test_listing_shows_them(self, world, source):
        """entries() says which tags an entry has, however it was stored."""
        cache = world.open()
        cache.set("k", 1, tags=("one", "two"))
        load = world.cached(source, cache, tags="x:{x}")
        load(1)
        assert sorted(sorted(info.tags) for info in cache.entries()) == [["one", "two"], ["x:1"]]

    @pytest.mark.parametrize(
        "tag", ["a:b:c", ":", "\0", "\ud800", "ä" * 500, " ", "*", "'; DROP TABLE entries", "{x}"]
    )
    def test_any_text_is_a_tag(self, world, tag):
        """Whatever its characters, it is that tag and no other."""
        cache = world.open()
        cache.set("k", 1, tags=(tag,))
        cache.set("l", 1, tags=(f"{tag}{tag}",))
        cache.invalidate_tags(tag)
        assert cache.get_many(["k", "l"]) == {"l": 1}

    @pytest.mark.parametrize("tags", [("",), (1,), (b"t",), (None,), 7])
    def test_anything_else_is_refused(self, world, tags):
        """A TypeError, before anything is stored."""
        cache = world.open()
        with pytest.raises(TypeError, match="a tag is"):
            cache.set("k", 1, tags=tags)
        assert cache.get("k") is None
        if isinstance(tags, tuple):
            with pytest.raises(TypeError, match="a tag is"):
                cache.invalidate_tags(*tags)

    def test_no_tags_at_all(self, world):
        """invalidate_tags() without a tag, or of unknown ones, removes nothing."""
        cache = world.open()
        cache.set("k", 1, tags=("t",))
        cache.invalidate_tags()
        cache.invalidate_tags("unknown")
        assert cache.get("k") == 1

    def test_hundreds_of_tags_on_one_entry(self, world):
        """Each of them removes it."""
        cache = world.open()
        tags = [f"tag {at}" for at in range(300)]
        cache.set("k", 1, tags=tags)
        assert cache.get("k") == 1
        cache.invalidate_tags("tag 299")
        assert cache.get("k") is None

    def test_a_tag_is_the_cache_s(self, world, source):
        """Two functions that share a cache share its tags; another namespace does not."""
        cache, other = world.open(), world.open("other")
        one = world.cached(source, cache, tags="t", name="one")
        two = world.cached(source, cache, tags="t", name="two")
        three = world.cached(source, other, tags="t", name="three")
        for load in (one, two, three):
            load(1)
        cache.invalidate_tags("t")
        assert [load.is_cached(1) for load in (one, two, three)] == [False, False, True]

    @pytest.mark.parametrize("template", ["{nobody}", "{", "", "{0}", 7])
    def test_a_template_is_checked_at_decoration(self, template):
        """What is malformed, or names no parameter, is a ConfigurationError."""
        with pytest.raises(ConfigurationError, match="tags"):
            cached(tags=(template,))(lambda x: x)

    def test_a_function_of_its_own_cache_has_tags_too(self, source):
        """Without any cache= and without a ttl, where entries are the values themselves."""

        @cached(tags="x:{x}")
        def load(x):
            return source(x)

        assert [load(1), load(2), load(1)] == [1, 2, 1]
        load.cache.invalidate_tags("x:1")
        assert [load(1), load(2)] == [3, 2]


class TestDuringALoad:
    """What invalidating a tag does to computations under way."""

    @pytest.mark.parametrize("kind", ["template", "result", "context"])
    @pytest.mark.parametrize("single_flight", [True, False])
    def test_the_old_result_is_not_stored_nor_joined(self, world, gate, kind, single_flight):
        """Callers that waited get it; later ones compute anew, even if the tag was not known before."""
        body = gate(lambda _: body.calls)
        cache = world.open()
        options = {
            "template": {"tags": "t"},
            "result": {"tags": lambda _: "t"},
            "context": {"injects": True},
        }[kind]

        def with_context(x, ctx):
            ctx.tags.append("t")
            return body(x)

        load = world.cached(
            with_context if kind == "context" else body, cache, single_flight=single_flight, **options
        )
        first = load.start(1)
        body.await_start()
        cache.invalidate_tags("t")
        second = load.start(1)
        body.await_start()
        body.open.set()
        assert first.result(PATIENCE) == 2
        assert second.result(PATIENCE) == 2
        assert body.calls == 2
        assert load(1) == 2

    def test_a_load_without_the_tag_is_left_alone(self, world, gate):
        """Only what may have the tag is superseded."""
        body = gate()
        cache = world.open()
        load = world.cached(body, cache, tags="t{x}")
        first = load.start(1)
        body.await_start()
        cache.invalidate_tags("t2")
        second = load.start(1)
        body.open.set()
        assert [first.result(PATIENCE), second.result(PATIENCE)] == [1, 1]
        assert body.calls == 1

    @pytest.mark.parametrize("how", ["invalidate", "invalidate_where", "cache_clear", "put", "delete all"])
    @pytest.mark.parametrize("single_flight", [True, False])
    @pytest.mark.parametrize("rich", [True, False])
    def test_no_other_invalidation_is_lost_either(self, world, gate, how, single_flight, rich):
        """With and without single-flight, by the short cut and by the long way."""
        body = gate(lambda _: "old" if body.calls == 1 else "new")
        cache = world.open()
        load = world.cached(body, cache, single_flight=single_flight, **({"tags": "t"} if rich else {}))
        first = load.start(1)
        body.await_start()
        {
            "invalidate": lambda: load.invalidate(1),
            "invalidate_where": lambda: load.invalidate_where(x=1),
            "cache_clear": load.cache_clear,
            "put": lambda: load.put("new", 1),
            "delete all": cache.clear,
        }[how]()
        body.open.set()
        first.result(PATIENCE)
        assert load(1) == "new"


class TestBounds:
    """The index of an engine of objects."""

    @pytest.mark.parametrize("engine", ["memory", "cachebox"])
    def test_evicted_entries_leave_it(self, engine):
        """A hundred thousand keys through a cache of ten leave a small index."""
        if engine == "cachebox":
            pytest.importorskip("cachewright_cachebox")
        with open_cache("bounded", engine=engine, maxsize=10) as cache:

            @cached(cache=cache, tags=("x:{x}", "all"))
            def load(x):
                return x

            for x in range(100_000):
                load(x)
            assert len(cache._operations.tags) < 5_000
            kept = [x for x in range(100_000 - 50, 100_000) if load.is_cached(x)]
            assert len(kept) == 10
            assert cache.invalidate_tags("all") == 10
            assert not any(load.is_cached(x) for x in kept)

    def test_the_index_holds_no_result(self, world):
        """Invalidating lets go of everything."""

        class Result(list):
            pass

        if not world.objects:
            pytest.skip("bytes are copies")
        cache = world.open()
        made = []

        def body(x):
            result = Result()
            made.append(weakref.ref(result))
            return result

        load = world.cached(body, cache, tags="t")
        load(1)
        cache.invalidate_tags("t")
        gc.collect()
        assert made[0]() is None


class TestTwoCaches:
    """Two caches on one store."""

    @pytest.mark.parametrize("kind", ["template", "result"])
    def test_one_invalidates_and_the_other_misses(self, tmp_path, kind):
        """Whatever the other has in memory, and also while it computes."""
        with open_cache("two", path=tmp_path) as one, open_cache("two", path=tmp_path) as two:
            tags = "t" if kind == "template" else (lambda _: "t")
            calls = []
            loads = []
            for cache in (one, two):

                @cached(cache=cache, name="load", tags=tags)
                def load(x):
                    calls.append(x)
                    if len(calls) == 3:
                        one.invalidate_tags("t")
                    return len(calls)

                loads.append(load)
            assert [loads[0](1), loads[1](1)] == [1, 1]
            one.invalidate_tags("t")
            assert loads[1].peek(1) is MISSING
            assert [loads[1](1), loads[0](1)] == [2, 2]
            two.invalidate_tags("t")
            assert loads[1](1) == 3
            assert loads[0].peek(1) is MISSING
            assert loads[0](1) == 4
            assert loads[1](1) == 4


class TestWhere:
    """Invalidating all calls with certain arguments."""

    def decorated(self, world, function, cache=None, **options):
        cache = world.open() if cache is None else cache
        if world.loop is not None:
            function = _coloured(function)
        raw = cached(cache=cache._target, name=options.pop("name", "load"), **options)(function)
        return type(cache)(world, raw)

    def test_any_of_the_parameters(self, world):
        """Positional, default and keyword-only ones; several have all to fit."""
        load = self.decorated(world, lambda a, b=2, *, c=3: (a, b, c))
        for a in (1, 2):
            for b in (2, 3):
                for c in (3, 4):
                    load(a, b, c=c)
        assert load.invalidate_where(a=1, c=4) == 2
        assert load.is_cached(1)
        assert not load.is_cached(1, c=4)
        assert load.invalidate_where(b=2) == 3
        assert not load.is_cached(1)
        assert load.is_cached(2, 3, c=4)
        assert load.invalidate_where(c=99) == 0

    def test_variadic_parameters(self, world):
        """``*args`` by the tuple, ``**kwargs`` by the dict."""
        load = self.decorated(world, lambda *args, **kwargs: 0)
        load(1, 2)
        load(1, z=3, a=1)
        load()
        assert load.invalidate_where(args=(1, 2)) == 1
        assert load.invalidate_where(kwargs={"a": 1, "z": 3}) == 1
        assert load.is_cached()
        assert load.invalidate_where(args=(), kwargs={}) == 1

    def test_unhashable_arguments(self, world):
        """What cannot be told apart goes as well; what can be stays."""
        load = self.decorated(world, lambda a, b: 0)
        load([1], "x")
        load([2], "x")
        load(3, "y")
        load.invalidate_where(a=[1])
        assert not load.is_cached([1], "x")
        assert load.is_cached(3, "y")

    def test_equal_is_equal(self, world):
        """1, True and 1.0 are one argument, and NaN is itself."""
        load = self.decorated(world, lambda a, b=0: 0)
        load(1)
        assert load.invalidate_where(a=True) == 1
        load(True)
        assert load.invalidate_where(a=1.0) == 1
        load(NAN)
        load(2)
        load.invalidate_where(a=float("nan"))
        assert not load.is_cached(NAN)
        assert load.is_cached(2)

    def test_typed_functions(self, world):
        """All the types of a value go."""
        load = self.decorated(world, lambda a, b=0: 0, typed=True)
        for a in (1, True, 1.0, 2):
            load(a)
        assert load.invalidate_where(a=1) == 3
        assert load.is_cached(2)

    def test_a_parameter_named_self(self, world):
        """Names of parameters do not run into those of ours."""
        load = self.decorated(world, lambda self, arguments: 0)
        load(1, 2)
        assert load.invalidate_where(self=1) == 1
        load(1, 2)
        assert load.invalidate_where(arguments=2) == 1

    @pytest.mark.parametrize("arguments", [{"nobody": 1}, {"session": 1}, {}, {"a": 1, "nobody": 2}])
    def test_what_is_no_part_of_the_key_is_refused(self, world, arguments):
        """A TypeError that lists what there is."""
        load = self.decorated(world, lambda a, session=None: 0, ignore="session")
        load(1)
        with pytest.raises(TypeError, match=r"parameters that are part of the key \(a\)"):
            load.invalidate_where(**arguments)
        assert load.is_cached(1)

    def test_functions_that_share_a_cache(self, world):
        """The other's results stay, and so do values stored by hand."""
        cache = world.open()
        one = self.decorated(world, lambda a: 1, cache, name="one")
        two = self.decorated(world, lambda a: 2, cache, name="two")
        one(1)
        two(1)
        cache.set("k", "v")
        assert one.invalidate_where(a=1) == 1
        assert two.is_cached(1)
        assert cache.get("k") == "v"

    def test_methods(self):
        """Of all instances, since the instance takes no part; also if an argument cannot be hashed."""

        class Report:
            @cached
            def total(self, year, month=1):
                return [year, month]

        one, two = Report(), Report()
        for report in (one, two):
            report.total(2024)
            report.total(2025, [1])
        assert Report.total.invalidate_where(year=2024) >= 2
        assert not Report.total.is_cached(one, 2024)
        assert not Report.total.is_cached(two, 2024)

    def test_expired_and_stale_results_do_not_count_twice(self, world):
        """It may be called again and again."""
        load = self.decorated(world, lambda a, b=0: 0, ttl=10)
        load(1)
        world.clock.advance(11)
        assert load.invalidate_where(a=1) in {0, 1}
        assert load.invalidate_where(a=1) == 0


def _coloured(sync):
    """Return a coroutine function with the signature of a function."""
    signature = inspect.signature(sync)
    shown = str(signature)
    names = []
    for name, parameter in signature.parameters.items():
        prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        by_name = parameter.kind is parameter.KEYWORD_ONLY
        names.append(f"{name}={name}" if by_name else f"{prefix}{name}")
    scope = {"sync": sync}
    exec(f"async def load{shown}: return sync({', '.join(names)})", scope)
    return scope["load"]


def test_an_asynchronous_cache_and_a_synchronous_one_share_tags(tmp_path):
    """On one store, an invalidation by either is one for both."""
    with open_cache("both", path=tmp_path) as one:

        async def scenario():
            two = open_async_cache("both", path=tmp_path)
            await two.set("k", 1, tags=("t",))
            found = one.get("k")
            one.invalidate_tags("t")
            gone = await two.get("k")
            one.set("l", 2, tags=("t",))
            await two.invalidate_tags("t")
            await two.close()
            return found, gone, one.get("l")

        assert asyncio.run(scenario()) == (1, None, None)

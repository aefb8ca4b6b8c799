"""Key templates, and stand-ins for callables that are no functions."""

from __future__ import annotations

import asyncio
import functools
import inspect
from dataclasses import dataclass

import pytest

from cachewright import cached
from cachewright._template import compile_tags, compile_template, stand_in
from cachewright.errors import ConfigurationError


@dataclass
class User:
    id: int
    tags: tuple = ("a", "b")


def page(user, number=1, *others, lang="en", **extra):
    """A function for templates."""


class TestTemplates:
    """A template is checked when it is written, and makes keys of values."""

    @pytest.mark.parametrize(
        ("template", "values"),
        [
            ("{user}", (User(7),)),
            ("{user.id}:{number}", (7, 1)),
            ("{user.tags[1]}", ("b",)),
            ("{lang}{lang}", ("en", "en")),
            ("{{literal}} {number}", (1,)),
            ("{extra[theme]}", ("dark",)),
            ("{others[0]}", ("o",)),
            ("{{{number}}}", (1,)),
        ],
    )
    def test_fields_reach_into_arguments(self, template, values):
        """The key is the template and the values themselves."""
        key = compile_template(template, page)
        assert key(User(7), 1, "o", theme="dark") == (template, *values)

    def test_defaults_and_keywords_are_bound_as_in_the_call(self):
        """However the call is written."""
        key = compile_template("{user}:{number}:{lang}", page)
        assert key("u") == key(user="u", number=1, lang="en") == ("{user}:{number}:{lang}", "u", 1, "en")

    def test_values_cannot_run_together_and_keep_their_types(self):
        """Nothing is pasted into text."""
        key = compile_template("{user}:{number}", page)
        assert key("a:b", "c") != key("a", "b:c")
        assert key("1") != key(1)

    @pytest.mark.parametrize(
        "template",
        ["{user!r}", "{user!s}", "{number:>10}", "{number:02d}", "{user:{number}}", "{user!r:>3}"],
    )
    def test_conversions_and_formats_are_refused(self, template):
        """They would have no effect, since the value itself is the key."""
        with pytest.raises(ConfigurationError, match=r"key='.*without !conversion and :format"):
            compile_template(template, page)

    @pytest.mark.parametrize(
        "template",
        [
            "{",
            "}",
            "{user",
            "{user!}",
            "{user.}",
            "{user..id}",
            "{user[}",
            "{user[]}",
            "{user[0]x}",
            "{user!zz}",
        ],
    )
    def test_malformed_templates_are_refused(self, template):
        """At decoration, not at the first call."""
        with pytest.raises(ConfigurationError, match=r"^key="):
            compile_template(template, page)

    @pytest.mark.parametrize(
        "template", ["{}", "{0}", "{nobody}", "{nobody.id}", "{User}", "{ user}", "{user }"]
    )
    def test_fields_that_are_no_parameters_are_refused_and_the_parameters_listed(self, template):
        """The error says what there is."""
        with pytest.raises(ConfigurationError, match="user, number, others, lang, extra"):
            compile_template(template, page)

    @pytest.mark.parametrize("template", ["user.id", "", "{{user}}"])
    def test_a_template_without_a_field_is_refused(self, template):
        """Every call would have the same key; braces were forgotten."""
        with pytest.raises(ConfigurationError, match="a template with a field"):
            compile_template(template, page)

    def test_what_a_field_meets_in_an_argument_is_the_callers_error(self):
        """An argument without the attribute raises what reading it raises."""
        key = compile_template("{user.id}", page)
        with pytest.raises(AttributeError, match="id"):
            key("no user")
        with pytest.raises(TypeError, match="missing a required argument: 'user'"):
            key()

    def test_it_makes_the_key_of_a_decorated_function(self):
        """Two users with one id share an entry, two ids do not."""
        calls = []

        @cached(key="{user.id}")
        def load(user):
            calls.append(user.id)
            return user.id

        assert [load(User(1)), load(User(1, ())), load(User(12))] == [1, 1, 12]
        assert calls == [1, 12]


class AsyncCallable:
    """Awaitable when called."""

    async def __call__(self, x, y=2):
        return x + y


class Methods:
    def plain(self, x):
        return x

    async def awaited(self, x):
        return x

    def generated(self, x):
        yield x

    @classmethod
    def of_class(cls, x):
        return x


class Holder:
    """Has an attribute that a partial has too, and is none."""

    func = print

    def __call__(self, x):
        return x


async def awaited(x, y=2, *, z=3):
    return x + y + z


class TaggedPartial(functools.partial):
    """Is not merged when it is wrapped in another partial."""


class TestStandIns:
    """A function with the signature, the colour and the name of a callable."""

    @pytest.mark.parametrize(
        "fn",
        [
            functools.partial(awaited, 1),
            functools.partial(functools.partial(awaited, 1), z=0),
            functools.partial(TaggedPartial(awaited, 1), z=0),
            AsyncCallable(),
            functools.partial(AsyncCallable(), 1),
            functools.partial(functools.partial(AsyncCallable()), y=1),
            Methods().awaited,
            functools.partial(Methods().awaited),
        ],
        ids=lambda fn: type(fn).__name__,
    )
    def test_what_has_to_be_awaited_is_seen_through_any_layers(self, fn):
        """Partials, partials of partials, methods, and objects with an asynchronous call."""
        assert inspect.iscoroutinefunction(stand_in(fn))
        made = cached(fn)
        assert inspect.iscoroutinefunction(made)

    @pytest.mark.parametrize(
        "fn",
        [Methods().plain, Methods.of_class, functools.partial(page, 1), Holder(), len, "x".join, sorted],
        ids=lambda fn: type(fn).__name__,
    )
    def test_what_is_not_awaited_is_not(self, fn):
        """Builtins with a signature are functions as well."""
        assert not inspect.iscoroutinefunction(stand_in(fn))
        assert str(inspect.signature(stand_in(fn))) == str(bare(inspect.signature(fn)))

    def test_awaited_results_are_remembered(self):
        """A partial of an object with an asynchronous call works to the end."""
        calls = []

        class Adder:
            async def __call__(self, x, y):
                calls.append((x, y))
                return x + y

        add = cached(functools.partial(Adder(), 1))

        async def twice():
            return [await add(2), await add(y=2)]

        assert asyncio.run(twice()) == [3, 3]
        assert calls == [(1, 2)]

    @pytest.mark.parametrize("fn", [min, getattr, iter], ids=repr)
    def test_a_builtin_without_a_signature_is_refused_with_advice(self, fn):
        """The advice is to wrap it."""
        with pytest.raises(ConfigurationError, match="wrap this one in a function of your own"):
            cached(fn)

    @pytest.mark.parametrize(
        "fn", [Methods().generated, functools.partial(Methods().generated, 1)], ids=["method", "partial"]
    )
    def test_generators_are_recognised_through_layers(self, fn):
        """Their stand-ins are generator functions, by which they are known at decoration."""
        assert inspect.isgeneratorfunction(stand_in(fn))
        assert not inspect.iscoroutinefunction(stand_in(fn))

    def test_asynchronous_generators_are_recognised(self):
        """Likewise."""

        class Stream:
            async def __call__(self):
                yield 1

        assert inspect.isasyncgenfunction(stand_in(Stream()))
        assert not inspect.isgeneratorfunction(stand_in(Stream()))

    def test_defaults_are_the_very_objects(self):
        """However they show themselves."""

        class Sentinel:
            def __repr__(self):
                return ") or exit("

        marker = Sentinel()

        class Callable:
            def __call__(self, a, /, b=marker, *, c=marker):
                return a, b, c

        made = stand_in(Callable())
        assert made.__defaults__ == (marker,)
        assert made.__kwdefaults__ == {"c": marker}

    def test_parameters_may_have_the_names_used_inside(self):
        """Defaults are fetched outside of the function."""

        class Callable:
            def __call__(self, call=1, _defaults=2, *, pass_=3):
                return call, _defaults, pass_

        assert cached(Callable())(_defaults=5) == (1, 5, 3)

    def test_names_and_modules_are_those_of_what_is_called(self):
        """A partial of a function of this module belongs to this module."""
        partial = stand_in(functools.partial(awaited, 1))
        assert (partial.__module__, partial.__name__, partial.__qualname__) == (
            __name__,
            "awaited",
            "<partial> awaited",
        )
        instance = stand_in(functools.partial(AsyncCallable(), 1))
        assert (instance.__module__, instance.__name__) == (__name__, "AsyncCallable")

    def test_an_object_with_a_func_attribute_is_not_taken_for_a_partial(self):
        """Its own call counts."""
        assert stand_in(Holder()).__name__ == "Holder"
        assert cached(Holder())(3) == 3

    def test_bound_methods_of_two_instances_do_not_share(self):
        """Each decorated method has a cache of its own, and the instance is part of what is called."""

        class Counter:
            def __init__(self, start):
                self.start = start

            def add(self, x):
                return self.start + x

        one, two = cached(Counter(1).add), cached(Counter(2).add)
        assert [one(1), two(1), one(1)] == [2, 3, 2]
        assert one.cache_info().hits == 1


def bare(signature):
    """Return a signature without annotations."""
    return signature.replace(
        parameters=[p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )


class Levelled:
    """Spells itself as its format says."""

    def __format__(self, form):
        return f"<{form}>"

    def __str__(self):
        return "plain"

    def __repr__(self):
        return "shown"


class TestTags:
    """Templates of tags are checked when they are written, and make texts."""

    @pytest.mark.parametrize(
        ("template", "tag"),
        [
            ("user:{user.id}", "user:7"),
            ("{user.tags[1]}", "b"),
            ("{number:03d}/{lang!r}", "001/'en'"),
            ("{number:{extra[width]}d}", "    1"),
            ("{others[0]}", "o"),
            ("{{literal}}", "{literal}"),
            ("all", "all"),
            ("{extra[x]} {extra[x]!s} {extra[x]!a} {extra[x]:f}", "<> plain shown <f>"),
        ],
    )
    def test_fields_reach_into_arguments(self, template, tag):
        """As in ``str.format``: conversions and formats are part of the text."""
        tags = compile_tags((template,), page)
        assert tags(User(7), 1, "o", width="5", x=Levelled()) == (tag,)

    def test_defaults_and_keywords_are_bound_as_in_the_call(self):
        """However the call is written."""
        tags = compile_tags(("{user}:{number}", "{lang}"), page)
        assert tags("u") == tags(user="u", number=1) == tags("u", 1, lang="en") == ("u:1", "en")

    def test_each_tag_once(self):
        """Where two templates come out the same."""
        assert compile_tags(("{user}", "{lang}", "all", "all"), page)("en") == ("en", "all")

    @pytest.mark.parametrize(
        "template",
        [
            "", "{", "}",
            "{user", "{user!}", "{user!z}", "{user!rr}", "{user.}", "{user..id}", "{user[}",
            "{user[]}", "{user[0]x}", "{}", "{0}", "{7}", "{0.id}", "{nobody}", "{nobody.id}",
            "{user:{nobody}}", "{user:{number!z}}", "{user:{}}", "{user} {nobody}", "{self}", "{ user}",
            "{user }",
        ],
    )  # fmt: skip
    def test_what_could_not_be_filled_in_is_refused_where_it_is_written(self, template):
        """Not at the first call."""
        with pytest.raises(ConfigurationError, match="tags="):
            compile_tags(("fine", template), page)

    def test_a_function_without_parameters_says_so(self):
        """Its tags are plain texts."""
        assert compile_tags(("all",), lambda: None)() == ("all",)
        with pytest.raises(ConfigurationError, match="none"):
            compile_tags(("{x}",), lambda: None)

    @pytest.mark.parametrize("template", ["{user}", "{user.tags[0]}", "{user!s:.0}"])
    def test_a_tag_that_comes_out_empty_is_an_error(self, template):
        """The empty tag would stand for all of them."""
        user = "" if template == "{user}" else User(7, ("",))
        with pytest.raises(TypeError, match="a tag is a text that is not empty"):
            compile_tags((template,), page)(user)

    def test_what_an_argument_lacks_is_the_callers_error(self):
        """As in the function itself."""
        tags = compile_tags(("{user.id}", "{extra[theme]}"), page)
        with pytest.raises(AttributeError):
            tags("no user")
        with pytest.raises(KeyError):
            tags(User(7))
        with pytest.raises(TypeError):
            tags()

"""Fingerprints change with what a function computes, and with nothing else."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
import textwrap
import threading
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from cachewright._fingerprint import definition_digest, fingerprint


def compiled(source, name="f", module="pkg.mod", **scope):
    """Return the function ``name`` of a module with this source."""
    scope["__name__"] = module
    exec(compile(textwrap.dedent(source), f"<{module}>", "exec"), scope)
    return scope[name]


def print_of(source, **more):
    return fingerprint(compiled(source, **more))


BASE = """
def f(x, y=2):
    total = x + y
    return [total, "text", 1.5]
"""


class TestWhatDoesNotCount:
    """Whatever a formatter or an editor of comments does."""

    @pytest.mark.parametrize(
        "source",
        [
            "\n\n\n# a comment\ndef f(x, y=2):\n    # another\n"
            "    total = x + y\n\n    return [total, 'text', 1.5]\n",
            'def f(x, y=2):\n    """A docstring."""\n    total = x + y\n    return [total, "text", 1.5]\n',
            "def f(\n    x,\n    y=2,\n):\n    total = (\n        x\n        + y\n    )\n"
            "    return [\n        total,\n"
            "        'text',\n        1.50,\n    ]\n",
            "def f(x, y=2): total = x + y; return [total, 'te' 'xt', 15e-1]",
            "def f(x: int, y: 'int' = 2) -> list:\n"
            "    total = x + y\n    pass\n    return [total, 'text', 1.5]\n",
        ],
        ids=["comments", "docstring", "lines", "one line", "annotations"],
    )
    def test_comments_docstrings_lines_and_annotations(self, source):
        """The digest is the same."""
        assert print_of(source) == print_of(BASE)

    def test_docstrings_and_lines_of_what_is_inside(self):
        """Also of nested functions and classes."""
        one = """
        def f(x):
            class Inner:
                limit = 3
                def go(self):
                    self.seen = 1
                    self.other = 2
                    return x
            def inner():
                return Inner().go()
            return inner()
        """
        two = """
        # moved down


        def f(x):
            '''Outer.'''
            class Inner:
                '''Inner.'''
                limit = 3
                def go(self):
                    '''Method.'''
                    self.seen = 1
                    self.other = 2
                    return x

            def inner():
                '''Nested.'''

                return Inner().go()
            return inner()
        """
        assert print_of(one) == print_of(two)

    @pytest.mark.parametrize("module", ["heapq", "statistics", "textwrap", "fnmatch", "shlex", "colorsys"])
    def test_reformatting_whole_modules(self, module):
        """Functions of the standard library keep their fingerprints without comments and docstrings."""
        source = Path(ast.__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
        plain = ast.unparse(_Undocumented().visit(ast.parse(source)))
        before, after = (functions_of(text) for text in (source, plain))
        assert len(before) >= 2
        assert [name for name, fn in before.items() if fingerprint(fn) != fingerprint(after[name])] == []

    def test_where_the_file_is(self):
        """Nor what it is called."""
        scope = {"__name__": "pkg.mod"}
        exec(compile(BASE, "/elsewhere/mod.py", "exec"), scope)
        assert fingerprint(scope["f"]) == print_of(BASE)

    def test_having_been_run(self):
        """The interpreter rewrites byte code that runs often; the fingerprint is of what was compiled."""
        fn = compiled(BASE)
        before = fingerprint(fn)
        for number in range(5000):
            fn(number)
        assert fingerprint(fn) == before

    def test_being_traced(self):
        """Nor does a debugger or a coverage tool change it."""
        fn = compiled(BASE)
        before = fingerprint(fn)
        previous = sys.gettrace()
        sys.settrace(lambda *_: None)
        try:
            fn(1)
            during = fingerprint(fn)
        finally:
            sys.settrace(previous)
        assert before == during


class _Undocumented(ast.NodeTransformer):
    def generic_visit(self, node):
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = body[1:] or [ast.Pass()]
        return node


def functions_of(source):
    scope = {"__name__": "pkg.mod"}
    exec(compile(source, "<module>", "exec"), scope)
    return {
        name: value
        for name, value in scope.items()
        if type(value) is types.FunctionType and value.__module__ == "pkg.mod"
    }


class TestWhatCounts:
    """Every change of what is computed."""

    @pytest.mark.parametrize(
        "source",
        [
            BASE.replace("x + y", "x - y"),
            BASE.replace("1.5", "1.6"),
            BASE.replace("1.5", "1"),
            BASE.replace('"text"', 'b"text"'),
            BASE.replace("y=2", "y=3"),
            BASE.replace("y=2", "y=2.0"),
            BASE.replace("y=2", "*, y=2"),
            BASE.replace("y=2", "*y"),
            BASE.replace("total =", "total = len(").replace("x + y", "[x, y])"),
            BASE.replace("x + y", "max(x, y)"),
            BASE.replace("x + y", "min(x, y)"),
            BASE.replace("x + y", "x.real + y"),
            BASE.replace("x + y", "x.imag + y"),
            BASE.replace(
                "total = x + y", "try:\n        total = x + y\n    except ValueError:\n        total = 0"
            ),
            BASE.replace(
                "total = x + y", "try:\n        total = x + y\n    except KeyError:\n        total = 0"
            ),
            BASE.replace("total = x + y", "total = x + y if x else y"),
            BASE.replace("total = x + y", "total = y if x else x + y"),
            BASE.replace("def f", "async def f"),
            BASE.replace("return", "yield"),
            BASE.replace("total = x + y", "total = sum(i + y for i in x)"),
            BASE.replace("total = x + y", "total = sum(i - y for i in x)"),
            BASE.replace("total = x + y", "total = x + y + True"),
            BASE.replace("total = x + y", "total = x + y + 1"),
            BASE.replace("total = x + y", "total = x + y + 1.0"),
            BASE.replace("total = x + y", "total = x in {1, 2}"),
            BASE.replace("total = x + y", "total = x in {1, 3}"),
        ],
    )
    def test_a_change_of_code_is_seen(self, source):
        """Each of these differs from the original and from all others."""
        prints = [print_of(each) for each in self._all()]
        assert prints.count(print_of(source)) == 1
        assert print_of(source) != print_of(BASE)

    def _all(self):
        [mark] = [
            mark for mark in type(self).test_a_change_of_code_is_seen.pytestmark if mark.name == "parametrize"
        ]
        return mark.args[1]

    def test_where_a_loop_leaves_and_where_a_try_ends(self):
        """The same instructions with other jumps compute something else."""
        loop = "def f(x):\n    for i in x:\n        if i: {}\n        print(i)\n    return 1\n"
        assert print_of(loop.format("break")) != print_of(loop.format("continue"))
        short = "def f(x):\n    try:\n        a(x)\n    except OSError:\n        return 0\n    b(x)\n"
        longer = "def f(x):\n    try:\n        a(x)\n        b(x)\n    except OSError:\n        return 0\n"
        assert print_of(short) != print_of(longer)

    def test_the_name_of_the_function_and_of_its_module(self):
        """Another function is another function."""
        assert print_of(BASE) != print_of(BASE, module="pkg.other")

    def test_what_a_closure_holds(self):
        """Two functions of one factory differ by what it was called with."""

        def make(factor):
            def scale(x):
                return x * factor

            return scale

        assert fingerprint(make(2)) == fingerprint(make(2))
        assert len({fingerprint(make(factor)) for factor in (2, 3, 2.0, "2")}) == 4

    def test_what_a_closure_counts_does_not(self):
        """Lists and dictionaries in a closure change while the program runs."""
        calls = []

        def record(x):
            calls.append(x)

        before = fingerprint(record)
        record(1)
        assert fingerprint(record) == before

    def test_an_empty_cell_is_no_obstacle(self):
        """The name may be assigned later."""

        def outer():
            def inner():
                return later

            digest = fingerprint(inner)
            later = 1
            return digest, later

        assert len(outer()[0]) == 24


@dataclass
class Config:
    limit: int = 1


class Plain:
    pass


class Evil:
    def __repr__(self):
        raise RuntimeError("no")


class TestDefaults:
    """Default values count by what they are, not by where they are."""

    @pytest.mark.parametrize(
        "value",
        [
            object(),
            Plain(),
            lambda: 1,
            [Plain()],
            {"k": (Plain(),)},
            Evil(),
            threading.Lock(),
            functools.partial(print),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_addresses_do_not_count(self, value):
        """An object that shows its address has the fingerprint of another such object."""

        def twin():
            if type(value) is type(lambda: 1):
                return compiled("f = lambda: 1", module=value.__module__)
            if isinstance(value, list):
                return [Plain()]
            if isinstance(value, dict):
                return {"k": (Plain(),)}
            return (
                threading.Lock()
                if type(value).__module__ == "_thread"
                else (functools.partial(print) if isinstance(value, functools.partial) else type(value)())
            )

        prints = set()
        for default in (value, twin()):
            fn = compiled("def f(x=None): return x")
            fn.__defaults__ = (default,)
            if type(default) is types.FunctionType:
                default.__qualname__ = "<lambda>"
            prints.add(fingerprint(fn))
        assert len(prints) == 1

    def test_contents_count(self):
        """Numbers, text, containers, dataclasses, functions, classes."""
        defaults = [
            1,
            1.0,
            True,
            "1",
            b"1",
            None,
            [1],
            (1,),
            {1: 2},
            {1: 3},
            {1},
            frozenset({1}),
            Config(1),
            Config(2),
            int,
            str,
            Plain(),
            os,
            lambda: 1,
            lambda: 2,
        ]
        prints = set()
        for default in defaults:
            fn = compiled("def f(*, x=None): return x")
            fn.__kwdefaults__ = {"x": default}
            prints.add(fingerprint(fn))
        assert len(prints) == len(defaults)

    def test_a_container_of_itself_comes_to_an_end(self):
        """However deep it is."""
        knot = []
        knot.append(knot)
        fn = compiled("def f(x=None): return x")
        fn.__defaults__ = (knot,)
        assert len(fingerprint(fn)) == 24


HELPERS = """
def helper(x):
    return deeper(x) + 1

def deeper(x):
    return x * 2

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)
"""
USERS = """
from pkg import helpers
from pkg.helpers import helper, even
from other import foreign
import other

def by_name(x):
    return helper(x)

def by_module(x):
    return helpers.helper(x)

def by_package(x):
    import_ = pkg
    return pkg.helpers.helper(x)

def nested(x):
    return [(lambda y: helper(y))(i) for i in x]

def recursive(n):
    return even(n) or recursive(n - 1)

def elsewhere(x):
    return foreign(x) + other.foreign(x)

def wrapped(x):
    return decorated(x)

def twice_wrapped(x):
    return twice(x)

def remembered(x):
    return lru(x)

def early(x):
    return late(x)

import functools
import pkg

def deco(fn):
    @functools.wraps(fn)
    def inner(*args):
        return fn(*args)
    return inner

@deco
def decorated(x):
    return x + 1

@deco
@other.deco
def twice(x):
    return x + 1

@functools.lru_cache
def lru(x):
    return x + 1

def late(x):
    return x + 1
"""
OTHER = """
import functools

def foreign(x):
    return x + 1

def deco(fn):
    @functools.wraps(fn)
    def inner(*args):
        return fn(*args)
    return inner
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes the packages with changes and returns fingerprints of the users."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(**changes):
        for name in [name for name in sys.modules if name.partition(".")[0] in {"pkg", "other"}]:
            del sys.modules[name]
        (tmp_path / "pkg").mkdir(exist_ok=True)
        (tmp_path / "pkg" / "__init__.py").write_text("")
        for path, text in (("pkg/helpers.py", HELPERS), ("pkg/users.py", USERS), ("other.py", OTHER)):
            written = text
            for old, new in changes.get(Path(path).stem, ()):
                assert old in written
                written = written.replace(old, new)
            (tmp_path / path).write_text(written)
        import importlib

        importlib.invalidate_caches()
        users = importlib.import_module("pkg.users")
        return {
            name: fingerprint(value)
            for name, value in vars(users).items()
            if type(value) is types.FunctionType and value.__module__ == "pkg.users"
        }

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] in {"pkg", "other"}]:
        del sys.modules[name]


def changed(one, two):
    return {name for name in one if one[name] != two[name]}


class TestHelpers:
    """Functions of the same package are part of what calls them."""

    def test_a_changed_helper_changes_whoever_mentions_it(self, package):
        """By name, through a module of the package, from a nested function."""
        before = package()
        after = package(helpers=[("+ 1", "+ 2")])
        assert changed(before, after) == {"by_name", "by_module", "by_package", "nested"}

    def test_helpers_of_helpers_count(self, package):
        """To any depth."""
        assert changed(package(), package(helpers=[("x * 2", "x * 3")])) == {
            "by_name",
            "by_module",
            "by_package",
            "nested",
        }

    def test_functions_that_call_each_other_come_to_an_end(self, package):
        """And a change of any of them is seen."""
        assert changed(package(), package(helpers=[("n != 0", "n > 0")])) == {"recursive"}

    def test_other_packages_do_not_count(self, package):
        """Neither their functions nor their decorators."""
        assert (
            changed(package(), package(other=[("x + 1", "x + 2"), ("fn(*args)", "fn(*args) or 1")])) == set()
        )

    @pytest.mark.parametrize(
        ("changes", "names"),
        [
            (
                [("def decorated(x):\n    return x + 1", "def decorated(x):\n    return x + 2")],
                {"wrapped", "decorated"},
            ),
            (
                [("def twice(x):\n    return x + 1", "def twice(x):\n    return x + 2")],
                {"twice_wrapped", "twice"},
            ),
            ([("def lru(x):\n    return x + 1", "def lru(x):\n    return x + 2")], {"remembered"}),
            (
                [("return fn(*args)", "return -fn(*args)")],
                {"deco", "decorated", "twice", "twice_wrapped", "wrapped"},
            ),
        ],
        ids=["wrapped once", "wrapped twice", "wrapped in C", "the decorator"],
    )
    def test_decorated_helpers_count_with_decorators_of_the_package(self, package, changes, names):
        """Through any number of wrappers, also such as are no functions."""
        assert changed(package(), package(users=changes)) == names

    def test_a_helper_that_is_defined_further_down_counts(self, package):
        """Once the module has been imported."""
        after = package(users=[("def late(x):\n    return x + 1", "def late(x):\n    return x + 2")])
        assert changed(package(), after) == {"early", "late"}

    def test_a_cached_helper_has_the_same_fingerprint_before_and_after_its_first_call(self):
        """What its wrapper looks like is no part of what it computes."""
        source = """
        from cachewright import cached

        @cached(ttl=5)
        def helper(x):
            return x

        def f(x):
            return helper(x)
        """
        fn = compiled(source)
        before = fingerprint(fn)
        fn(1)
        assert fingerprint(fn) == before
        assert before != print_of(source.replace("return x\n", "return x + 1\n", 1))

    def test_objects_that_answer_to_everything_are_left_alone(self):
        """A proxy without a target, or an object with any attribute, is not asked."""

        class Proxy:
            def __getattr__(self, name):
                raise RuntimeError("outside of its context")

            @property
            def __class__(self):
                raise RuntimeError("outside of its context")

            def __repr__(self):
                raise RuntimeError("outside of its context")

        class Yes:
            def __getattr__(self, name):
                return self

        assert print_of("def f(): return proxy, yes", proxy=Proxy(), yes=Yes())
        fn = compiled("def f(x=None): return x")
        fn.__defaults__ = (Proxy(),)
        assert fingerprint(fn)


SCRIPT = """
import sys
from cachewright._fingerprint import fingerprint

class Thing: pass

def helper(x): return x in {"alpha", "beta", "gamma", ("a", "b")}

def f(x, *, y=Thing(), z={"one", "two", "three"}, w=lambda: Thing()):
    class Inner:
        def a(self): self.p = 1; self.q = 2; self.r = 3
    return helper(x) or x in {"delta", "epsilon", b"zeta", 1.5, None}

print(fingerprint(f))
"""


def test_it_is_the_same_in_every_process_and_under_every_hash_seed():
    """No address and no order of a set is in it."""
    prints = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(prints) == 1


class TestDefinitionDigest:
    """Where a function is defined."""

    def test_it_is_that_of_the_file(self, tmp_path):
        """The same for all functions of a file, and through a link to it."""
        path = tmp_path / "mod.py"
        path.write_text("def f(): return 1\ndef g(): return 2\n")
        link = tmp_path / "link.py"
        link.symlink_to(path)
        prints = set()
        for name in (path, link):
            scope = {"__name__": "mod"}
            exec(compile(path.read_text(), str(name), "exec"), scope)
            prints |= {definition_digest(scope["f"]), definition_digest(scope["g"])}
        assert len(prints) == 1

    def test_two_files_differ(self, tmp_path):
        """Even if they hold the same."""
        prints = set()
        for name in ("one.py", "two.py"):
            (tmp_path / name).write_text(BASE)
            scope = {"__name__": "mod"}
            exec(compile(BASE, str(tmp_path / name), "exec"), scope)
            prints.add(definition_digest(scope["f"]))
        assert len(prints) == 2

    def test_without_a_file_it_is_that_of_the_code(self):
        """For functions that were typed in or generated."""
        assert definition_digest(compiled(BASE)) == fingerprint(compiled(BASE))

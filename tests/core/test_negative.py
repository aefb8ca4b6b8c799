"""Negative entries: exceptions as plain data, and back."""

from __future__ import annotations

import gc
import pickle
import socket
import subprocess
import sys
import weakref

import pytest

from cachewright._negative import SAME_TTL, cache_errors, frozen, thawed, ttl_of
from cachewright.errors import ConfigurationError, EngineError

ANY = ((Exception, None),)


class CodedError(Exception):
    """Its constructor takes something else than its args."""

    constructed = 0

    def __init__(self, code, *, detail):
        type(self).constructed += 1
        super().__init__(f"code {code}")
        self.code, self.detail = code, detail


class MadeError(Exception):
    """Makes itself of something else than its args."""

    def __new__(cls, code, detail):
        made = super().__new__(cls, f"{code}: {detail}")
        made.code = code
        return made

    def __init__(self, code, detail):
        super().__init__()


class AbsentError(FileNotFoundError):
    def __init__(self, name):
        super().__init__(2, "none of that name", name)
        self.name = name


class FoundError(LookupError):
    pass


class NotFoundError(FoundError):
    __qualname__ = "Elsewhere.NotFoundError"


def raised(make):
    try:
        make()
    except Exception as error:
        return error
    raise AssertionError


def fails(error):
    def fail():
        raise error

    return fail


def with_notes():
    error = FoundError("k")
    error.add_note("first")
    error.add_note("second")
    error.code = {"deep": [1]}
    return error


SPECIMENS = [
    ValueError(),
    ValueError("text", 1, None),
    KeyError("k"),
    KeyError(("a", 1)),
    OSError("only a message"),
    OSError(28, "full"),
    FileNotFoundError(2, "none", "name"),
    PermissionError(13, "no", "from", None, "to"),
    ConnectionRefusedError(111, "refused"),
    TimeoutError(),
    socket.gaierror(-2, "unknown"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    UnicodeEncodeError("ascii", "é", 0, 1, "invalid"),
    UnicodeTranslateError("é", 0, 1, "invalid"),
    SyntaxError("bad", ("file", 1, 2, "text", 1, 3)),
    StopIteration(5),
    ZeroDivisionError("by zero"),
    CodedError(7, detail=[1]),
    AbsentError("name"),
    NotFoundError("k"),
    with_notes(),
    EngineError("engine", "get", "broken"),
    BlockingIOError(11, "again", 5),
]

NATIVE = (
    "errno", "strerror", "filename", "filename2", "characters_written", "encoding", "object", "start", "end",
    "reason", "lineno", "msg", "value",
)  # fmt: skip
"""Attributes that classes written in C keep for themselves."""


class TestRoundTrip:
    """What comes back is like what was raised."""

    @pytest.mark.parametrize("error", SPECIMENS, ids=lambda error: type(error).__qualname__)
    @pytest.mark.parametrize("stored", [lambda data: data, lambda data: pickle.loads(pickle.dumps(data))])
    def test_an_exception_comes_back_as_it_was(self, error, stored):
        """Class, arguments, attributes, text and notes, through a store of objects and of bytes."""
        caught = raised(fails(error))
        made = thawed(ANY, stored(frozen(caught)))
        assert made is not error
        assert type(made) is type(error)
        assert (made.args, str(made), repr(made)) == (error.args, str(error), repr(error))
        assert vars(made) == vars(error)
        for name in NATIVE:
            assert getattr(made, name, None) == getattr(error, name, None)
        with pytest.raises(type(error)):
            raise made

    @pytest.mark.parametrize("error", SPECIMENS, ids=lambda error: type(error).__qualname__)
    def test_what_is_frozen_is_plain(self, error):
        """A name, a tuple and a dict, without traceback, cause and context."""
        caught = raised(fails(error))
        caught.__cause__ = ValueError("cause")
        data = frozen(caught)
        assert [type(part) for part in data] == [str, tuple, dict]
        made = thawed(ANY, data)
        assert (made.__traceback__, made.__cause__, made.__context__) == (None, None, None)

    def test_no_constructor_written_in_python_runs_again(self):
        """It may take other arguments, and may do more than construct."""
        before = CodedError.constructed
        made = thawed(ANY, frozen(SPECIMENS[17]))
        assert (made.code, made.detail) == (7, [1])
        assert CodedError.constructed == before

    def test_nor_does_one_that_makes_the_object(self):
        """What it did is in the attributes."""
        made = thawed(ANY, frozen(MadeError(7, "gone")))
        assert (type(made), made.code) == (MadeError, 7)

    def test_every_hit_has_an_exception_of_its_own(self):
        """A traceback or a note on one is not seen on the next."""
        data = frozen(FoundError("k"))
        one, two = thawed(ANY, data), thawed(ANY, data)
        one.add_note("mine")
        one.more = 1
        assert one is not two
        assert vars(two) == {}
        assert data[2] == {}

    def test_the_frames_of_a_raise_are_let_go(self):
        """A remembered exception keeps nothing of the computation alive."""

        class Local:
            pass

        def fail():
            local = Local()
            references.append(weakref.ref(local))
            raise FoundError("k")

        references = []
        data = frozen(raised(fail))
        gc.collect()
        assert references[0]() is None
        assert data[1] == ("k",)


VALUE = "builtins.ValueError"


class TestTrust:
    """What a store says is data."""

    @pytest.mark.parametrize(
        "data",
        [
            None, 1, VALUE, (), (VALUE,), (VALUE, ()), (VALUE, (), {}, 1), [VALUE, (), {}], (VALUE, [], {}),
            (VALUE, (), []), (VALUE, (), None), (VALUE.encode(), (), {}), (ValueError, (), {}),
            (None, (), {}), ("", (), {}), ("builtins.", (), {}), ("ValueError", (), {}),
            ("builtins.int", (5,), {}), ("builtins.SystemExit", (), {}), ("os.system", ("true",), {}),
            ("builtins.KeyboardInterrupt", (), {}), ("builtins.eval", ("1",), {}),
            ("builtins.Exception.__init__", (), {}), ("no.such.module.Error", (), {}),
        ],
        ids=repr,
    )  # fmt: skip
    def test_everything_else_is_none(self, data):
        """Another shape, another class, nothing."""
        assert thawed(ANY, data) is None

    @pytest.mark.parametrize(
        ("name", "args"),
        [
            ("UnicodeDecodeError", ()), ("UnicodeDecodeError", (1, 2, 3, 4, 5)),
            ("UnicodeDecodeError", ("utf-8", b"", 0, 1 << 100, "r")), ("UnicodeEncodeError", ("a",)),
            ("SyntaxError", ("m", 5)), ("SyntaxError", ("m", (1,))), ("OSError", tuple(range(9))),
            ("OSError", (2, 3)), ("OSError", (None, None, None, None, None)), ("OSError", (1 << 100, "x")),
            ("ExceptionGroup", ()), ("ExceptionGroup", ("m", [])), ("ExceptionGroup", ("m", [1])),
            ("BlockingIOError", (1, 2, "x")), ("StopIteration", ()), ("KeyError", (1, 2, 3)),
        ],
    )  # fmt: skip
    def test_arguments_that_a_class_does_not_take_raise_nothing(self, name, args):
        """The exception is made without being asked, or it is a miss."""
        made = thawed(ANY, (f"builtins.{name}", args, {}))
        assert made is None or isinstance(made, Exception)

    @pytest.mark.parametrize(
        "state",
        [
            {"__class__": int}, {"__dict__": {}}, {"args": (9,)}, {"__traceback__": 1}, {1: 2}, {"": None},
            {"__reduce__": 1, "__init__": 2}, {"with_traceback": 5},
        ],
    )  # fmt: skip
    def test_attributes_do_not_change_what_it_is(self, state):
        """They are written into its dictionary and nowhere else."""
        made = thawed(ANY, ("builtins.ValueError", ("x",), state))
        assert type(made) is ValueError
        assert (made.args, str(made), made.__traceback__) == (("x",), "x", None)

    def test_only_the_listed_classes_and_their_subclasses(self):
        """Not a class beside them."""
        errors = ((FoundError, None),)
        assert type(thawed(errors, frozen(FoundError("k")))) is FoundError
        assert type(thawed(errors, frozen(NotFoundError("k")))) is NotFoundError
        assert thawed(errors, frozen(LookupError("k"))) is None
        assert thawed(errors, frozen(KeyError("k"))) is None
        assert thawed((), frozen(FoundError("k"))) is None

    def test_nothing_is_imported(self):
        """A class that this program has not loaded is none."""
        code = (
            "import sys\n"
            "from cachewright._negative import thawed\n"
            "before = set(sys.modules)\n"
            "for name in ('xml.dom.DOMException', 'ftplib.Error', 'this.Error'):\n"
            "    assert thawed(((Exception, None),), (name, (), {})) is None\n"
            "assert set(sys.modules) == before"
        )
        subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


class TestRules:
    """Which exceptions are remembered, and for how long."""

    @pytest.mark.parametrize(
        ("given", "checked"),
        [
            ((), ()),
            ({}, ()),
            (KeyError, ((KeyError, SAME_TTL),)),
            ((KeyError, OSError), ((KeyError, SAME_TTL), (OSError, SAME_TTL))),
            ([KeyError], ((KeyError, SAME_TTL),)),
            ({KeyError}, ((KeyError, SAME_TTL),)),
            (
                {KeyError: "1m", OSError: None, FoundError: 0},
                ((KeyError, 60.0), (OSError, None), (FoundError, 0.0)),
            ),
        ],
    )
    def test_a_class_several_or_a_mapping_to_ttl(self, given, checked):
        """Without one of its own an exception has the ttl of results."""
        assert cache_errors(given) == checked

    @pytest.mark.parametrize(
        "given",
        [None, 5, "KeyError", int, BaseException, KeyboardInterrupt, (KeyError, int), [KeyError()], {int: 5},
         {KeyError: "soon"}, {KeyError: float("nan")}, KeyError("k"), (kind for kind in (KeyError,)), [[]]],
    )  # fmt: skip
    def test_anything_else_is_a_configuration_error(self, given):
        """Interruptions are never remembered."""
        with pytest.raises(ConfigurationError, match="cache_errors="):
            cache_errors(given)

    def test_the_first_class_that_fits_decides(self):
        """In the order in which they were given; False is not None."""
        errors = cache_errors({NotFoundError: 5, FoundError: None, LookupError: 0})
        assert [ttl_of(errors, error) for error in (NotFoundError(), FoundError(), KeyError())] == [
            5.0,
            None,
            0.0,
        ]
        assert ttl_of(errors, ValueError()) is False
        assert ttl_of((), ValueError()) is False
        assert ttl_of(cache_errors(FoundError), NotFoundError()) is SAME_TTL

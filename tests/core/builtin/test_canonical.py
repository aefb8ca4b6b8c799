"""Canonical keys: equal arguments share a key in every process, all others have their own."""

from __future__ import annotations

import ast
import collections
import dataclasses
import datetime as dt
import enum
import gc
import importlib
import json
import math
import os
import subprocess
import sys
import threading
import types
import weakref
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.builtin import canonical_registry
from cachewright.builtin.canonical import CanonicalKeyMaker, register_encoder
from cachewright.errors import ConfigurationError, UnkeyableArgumentError
from cachewright.keymaker import Call

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
try:
    values = importlib.import_module("canonical_child")
finally:
    sys.path.remove(str(HERE))

MAKER = CanonicalKeyMaker()


def key(value):
    return MAKER.value_key(value)


def call_key(*arguments, names=None, typed=False):
    names = tuple("abcdefgh"[: len(arguments)]) if names is None else names
    return MAKER.call_key(Call("m.f", names, arguments, typed=typed))


def refusal(value):
    with pytest.raises(UnkeyableArgumentError) as refused:
        key(value)
    return refused.value


@pytest.fixture
def registry(monkeypatch):
    """An empty registry in the place of the process's own."""
    empty = canonical_registry.EncoderRegistry()
    monkeypatch.setattr(canonical_registry, "_REGISTRY", empty)
    monkeypatch.setattr("cachewright.builtin.canonical_walk.encoder_of", empty.encoder_of)
    return empty


class Account:
    """Has no encoding of its own."""

    def __init__(self, number, owner=""):
        self.number = number
        self.owner = owner

    def __eq__(self, other):
        return self.number == other.number

    __hash__ = None


class Savings(Account):
    pass


class Odd(Account):
    def __eq__(self, other):
        return False

    __hash__ = None


class ShoutingText(str):
    __slots__ = ()

    def __eq__(self, other):
        return str(self).upper() == str(other).upper()

    def __hash__(self):
        return hash(str(self).upper())


@dataclasses.dataclass
class OwnEquality:
    x: int

    def __eq__(self, other):
        return True

    __hash__ = None


@dataclasses.dataclass(eq=False)
class NoEquality:
    x: int


@dataclasses.dataclass
class Raising:
    x: int

    def __getattribute__(self, name):
        if name == "x":
            raise KeyError("the user's own")
        return object.__getattribute__(self, name)


class Quantity(np.ndarray):
    unit = "m"


class TestEquality:
    """The rule: Python's own equality for values that can be hashed."""

    @pytest.mark.parametrize("group", values.equal_groups(), ids=lambda group: type(group[0]).__name__)
    def test_equal_values_share_a_key(self, group):
        """Values that compare equal have one key, alone and inside of others."""
        for wrap in (lambda value: value, lambda value: [value], lambda value: {"k": (value,)}):
            assert len({key(wrap(value)) for value in group}) == 1

    def test_different_values_have_different_keys(self):
        """No two values of the table share a key."""
        cases = {f"different {place}": value for place, value in enumerate(values.different())}
        cases |= {f"equal {place}": group[0] for place, group in enumerate(values.equal_groups())}
        cases |= values.array_cases()
        owners = {}
        for label, value in cases.items():
            assert owners.setdefault(key(value), label) == label

    numbers = st.one_of(
        st.integers(-3, 3),
        st.integers(),
        st.booleans(),
        st.floats(allow_nan=False),
        st.sampled_from([0.5, 1.0, -1.0, 0.1, 2.0**60, 1e308]),
        st.complex_numbers(allow_nan=False),
        st.fractions(),
        st.decimals(allow_nan=False),
        st.integers(-5, 5).map(Decimal),
        st.integers(-5, 5).map(lambda n: Fraction(n, 2)),
        st.integers(-5, 5).map(lambda n: n / 2),
    )
    atoms = st.one_of(numbers, st.text(max_size=3), st.binary(max_size=3), st.none(), st.datetimes(),
                      st.dates(),
                      st.times(), st.timedeltas(), st.uuids(),
                      st.datetimes(timezones=st.timezones()))  # fmt: skip
    hashables = st.recursive(
        atoms,
        lambda inner: st.one_of(st.tuples(inner), st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
        max_leaves=6,
    )

    @given(numbers, numbers | st.floats(allow_nan=False).map(np.float64))
    def test_numbers_share_a_key_exactly_if_equal(self, one, other):
        """Whatever their types, two numbers have one key if and only if they are equal."""
        assert (key(one) == key(other)) == bool(one == other)

    @given(hashables, hashables)
    def test_values_share_a_key_exactly_if_equal(self, one, other):
        """Two values have one key if and only if they are equal and hash alike."""
        assert (key(one) == key(other)) == bool(one == other and hash(one) == hash(other))

    @given(st.floats(allow_nan=False))
    def test_every_float_is_its_decimal_and_its_fraction(self, number):
        """The exact decimal and fraction of a float have its key."""
        assert key(number) == key(Decimal(number))
        if math.isfinite(number):
            assert key(number) == key(Fraction(number))

    @given(st.dictionaries(atoms, atoms, max_size=5), st.randoms())
    def test_order_of_dicts_and_sets_does_not_matter(self, mapping, random):
        """A dict or set has the key of its copy in any order."""
        items = list(mapping.items())
        random.shuffle(items)
        assert key(dict(items)) == key(mapping)
        assert key({item[0] for item in items}) == key(set(mapping))

    def test_integers_beyond_the_limit_of_text_have_keys(self):
        """Integers and decimals of more than 4,300 digits are values as any other."""
        assert key(10**5000 + 1) != key(10**5000)
        assert key(10**5000 + 1) == key(Decimal(10**5000 + 1)) == key(Fraction(10**5000 + 1))
        assert key(7**9000) == key(Decimal(7**9000)) != key(7**9000 + 1)

    def test_huge_exponents_cost_nothing(self):
        """A decimal of a billion digits is never written out."""
        assert key(Decimal("1e999999999")) != key(Decimal("1e999999998"))
        assert key(Decimal("10e999999998")) == key(Decimal("1e999999999"))

    def test_base_methods_decide_not_overridden_ones(self):
        """A subclass that keeps equality is its base, whatever its other methods return."""

        class Lying(tuple):
            __slots__ = ()

            def __iter__(self):
                return iter("lies")

            def __len__(self):
                return 77

        assert key(Lying((1, 2))) == key((1, 2))

    def test_containers_of_nan_do_not_depend_on_order(self):
        """Dicts with several NaN keys have one key in whatever order those stand."""
        one, other = float("nan"), float("nan")
        assert key({one: 1, other: 2}) == key({other: 2, one: 1}) != key({one: 1, other: 1})


class TestStability:
    """Keys are the same in every process, for ever."""

    def test_golden_keys_never_change(self):
        """Every key of the golden file is made again, and none is missing from it."""
        assert values.golden() == json.loads(values.GOLDEN.read_text())

    @pytest.mark.parametrize("seed", ["0", "1", "4242"])
    def test_processes_of_other_hash_seeds_agree(self, seed):
        """A process with another hash seed makes the same keys."""
        done = subprocess.run(
            [sys.executable, str(HERE / "canonical_child.py")],
            capture_output=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout) == values.keys(values.labelled() | values.array_cases())

    def test_nothing_is_imported_for_types_that_are_not_used(self):
        """The key maker brings in neither array libraries nor modules of types that nobody passed."""
        script = (
            "import sys; from cachewright.builtin.canonical import CanonicalKeyMaker as M\n"
            "M().value_key([1, 'a', 2.5]); print([m for m in ('numpy', 'pandas', 'polars', 'decimal',"
            " 'datetime',"
            " 'uuid', 'pathlib', 'ipaddress', 'zoneinfo', 'dataclasses', 'fractions') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{script}"],
            capture_output=True,
            timeout=60,
            check=True,
        )
        imported = ast.literal_eval(done.stdout.decode())
        assert set(imported) <= {"dataclasses"}  # the contract modules declare records


class TestCalls:
    """Keys of calls."""

    def test_calls_and_values_are_apart(self):
        """No call has the key of a value."""
        assert call_key(1) != key(1)
        assert call_key() != key(())

    def test_arguments_do_not_run_together(self):
        """Text moves between arguments, parameters and containers only with a new key."""
        keys = [
            call_key("a b", "c"), call_key("a", "b c"), call_key("1:y:2", "3"), call_key("1", "2:y:3"),
            call_key(("a", "b")), call_key("a", "b"), call_key("ab"), call_key(-1), call_key(-2),
            call_key(1, 2),
            call_key("1", "2"), call_key(1, names=("x",)), call_key(1, names=("y",)),
            call_key(1, 2, names=("ab", "c")), call_key(1, 2, names=("a", "bc")),
        ]  # fmt: skip
        assert len(set(keys)) == len(keys)

    def test_typed_calls_know_the_types_of_their_arguments(self):
        """With typed=True 1, 1.0 and True have keys of their own, and equal types share one."""
        keys = {call_key(value, typed=True) for value in (1, 1.0, True, Decimal(1), np.int8(1))}
        assert len(keys) == 5
        assert call_key(1, typed=True) in keys
        assert call_key(1, typed=True) != call_key(1)

    def test_typed_calls_know_the_types_of_variable_arguments(self):
        """The items of *args and **kwargs are arguments; those of a tuple are not, as in functools."""
        for name, one, other in (("*a", (1,), (1.0,)), ("**a", (("x", 1),), (("x", 1.0),))):
            assert call_key(one, names=(name,), typed=True) != call_key(other, names=(name,), typed=True)
            assert call_key(one, names=(name,)) == call_key(other, names=(name,))
        assert call_key((1,), typed=True) == call_key((1.0,), typed=True)

    def test_typed_subclasses_are_apart(self):
        """With typed=True a namedtuple is no tuple and an IntEnum no int."""
        assert call_key(values.Point(1, 2), typed=True) != call_key((1, 2), typed=True)
        assert call_key(values.Level.LOW, typed=True) != call_key(1, typed=True)

    def test_a_refusal_names_function_parameter_and_type(self):
        """The error says which argument of which function, and what in it has no encoding."""
        with pytest.raises(UnkeyableArgumentError) as refused:
            call_key(1, [2, {"k": object()}], names=("fine", "*culprit"))
        error = refused.value
        assert (error.function, error.parameter, error.type_name) == ("m.f", "culprit", "list")
        assert "object" in error.reason
        assert error.__suppress_context__

    def test_a_typed_refusal_names_the_parameter(self):
        """An argument whose class has no name of its own is refused by parameter, with typed=True only."""

        class Local(str):
            __slots__ = ()

        assert call_key(Local("a")) == call_key("a")
        with pytest.raises(UnkeyableArgumentError, match="local class") as refused:
            call_key(1, Local("a"), typed=True)
        assert refused.value.parameter == "b"


class TestNesting:
    """Values within values within values."""

    @staticmethod
    def nested(depth, make=lambda inner: [inner]):
        value = 1
        for _ in range(depth):
            value = make(value)
        return value

    @pytest.mark.parametrize(
        "make", [lambda inner: [inner], lambda inner: (inner, 0), lambda inner: {"k": inner}]
    )
    def test_a_thousand_levels_and_more_have_keys(self, make):
        """Depth does not depend on the interpreter's stack, and counts."""
        assert key(self.nested(1_000, make)) == key(self.nested(1_000, make))
        assert key(self.nested(5_000, make)) != key(self.nested(5_001, make))

    def test_too_deep_a_value_is_refused(self):
        """100,000 levels are an error of the argument, not of the stack."""
        assert "nested deeper" in refusal(self.nested(100_000)).reason

    def test_containers_that_contain_themselves_are_refused(self):
        """A list, dict or dataclass that leads back to itself is refused."""
        listed, mapped = [1], {}
        listed.append((listed,))
        mapped["self"] = [mapped]
        place = values.Place([], 1)
        place.x.append(place)
        for cyclic in (listed, mapped, place):
            assert "contains itself" in refusal(cyclic).reason

    def test_one_value_in_many_places_is_encoded_once(self):
        """Two references per level, sixty levels deep, are sixty steps, and no cycle."""
        shared, equal = (
            self.nested(60, lambda inner: [inner, inner]),
            self.nested(60, lambda inner: [inner, inner]),
        )
        assert key(shared) == key(equal) != key(self.nested(61, lambda inner: [inner, inner]))


class TestRefusals:
    """What has no encoding is refused, never guessed."""

    @pytest.mark.parametrize(
        "make",
        [
            object, threading.Lock, lambda: (n for n in ()), lambda: iter([]), lambda: lambda: 0,
            lambda: [].append,
            lambda: ShoutingText("a"), lambda: OwnEquality(1), lambda: NoEquality(1), types.SimpleNamespace,
            lambda: Quantity(3), lambda: Account(1), {}.keys,
            collections.ChainMap, lambda: sys, pl.LazyFrame, lambda: pl.Series([object()]),
            lambda: values.Place(1, object()), lambda: np.array([object()]), lambda: np.random.default_rng(1),
            lambda: MAKER.value_key, lambda: NotImplemented
        ],
    )  # fmt: skip
    def test_values_equal_to_themselves_alone_have_no_key(self, make):
        """Identity, iteration, bound methods and equality of one's own are refused."""
        error = refusal(make())
        assert (error.function, error.parameter) == ("the cache", "key")

    def test_iterators_are_not_consumed(self):
        """A refused iterator still yields everything."""
        iterator = iter([1, 2])
        refusal([iterator])
        assert list(iterator) == [1, 2]

    def test_local_classes_and_functions_are_refused(self):
        """Two classes or functions of one qualified name would share a key."""

        def make():
            @dataclasses.dataclass(frozen=True)
            class Local:
                x: int

            return Local, enum.Enum("Choice", "A"), lambda: 1, make

        local, choice, anonymous, inner = make()
        for value in (local, local(1), choice.A, anonymous, inner):
            assert "cannot be imported" in refusal(value).reason

    def test_a_class_that_was_replaced_is_refused(self, monkeypatch):
        """A value of an older class of the same name has no key: the name leads to the newer one."""
        old = values.Place(1, 2)
        before = key(old)
        monkeypatch.setattr(values, "Place", type("Place", (), {}))
        refusal(old)
        monkeypatch.undo()
        assert key(old) == before

    def test_classes_of_one_name_in_two_modules_are_apart(self, monkeypatch):
        """The module is part of a class's name."""
        source = "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Thing:\n    x: int = 1\n"
        made = []
        for name in ("thing_one", "thing_two"):
            module = types.ModuleType(name)
            monkeypatch.setitem(sys.modules, name, module)
            exec(source, module.__dict__)
            made.append(module.Thing)
        one, other = made
        assert len({key(one), key(other), key(one()), key(other())}) == 4

    def test_exceptions_of_the_users_own_code_pass_through(self):
        """What a property raises reaches the caller as it is."""
        with pytest.raises(KeyError, match="the user's own"):
            key(Raising(1))


class TestRegistration:
    """Encoders of applications."""

    def test_a_registered_encoder_decides(self, registry):
        """Values are equal if what the encoder returns is; before it they are refused."""
        refusal(Account(1))
        register_encoder(Account, lambda account: account.number)
        assert key(Account(1, "a")) == key(Account(1, "b")) != key(Account(2))
        assert key(Account(1)) != key(1)

    def test_a_name_stands_for_a_type(self, registry):
        """An encoder can be registered for a type that need not be imported."""
        register_encoder(f"{__name__}.Account", lambda account: [account.number])
        assert key(Account(1)) != key(Account(2))

    def test_subclasses_are_covered_and_apart(self, registry):
        """A subclass has the encoder of its base and keys of its own; with another equality it is refused."""
        register_encoder(Account, lambda account: account.number)
        assert key(Savings(1)) == key(Savings(1)) != key(Account(1))
        assert "equality is not that of Account" in refusal(Odd(1)).reason

    def test_the_nearest_registration_wins(self, registry):
        """A registration for a subclass comes before that for its base, whichever was first."""
        register_encoder(Savings, lambda account: account.owner)
        register_encoder(Account, lambda account: account.number)
        assert key(Savings(1, "a")) == key(Savings(2, "a"))

    def test_a_later_registration_replaces_the_earlier(self, registry):
        """The encoder in use is the one that was registered last, also for types met before."""
        register_encoder(Account, lambda account: account.number)
        first = key(Account(1, "a"))
        register_encoder(Account, lambda account: account.owner)
        assert key(Account(1, "a")) != first

    def test_encoders_may_return_what_has_children(self, registry):
        """Replacements are encoded like any value: nested, registered, refused, or leading back."""
        register_encoder(Account, lambda account: {"n": account.number})
        assert key(Account(Account(1))) != key(Account(Account(2)))
        refusal(Account(object()))
        register_encoder(Account, lambda account: account)
        assert "contains itself" in refusal(Account(1)).reason
        register_encoder(Account, lambda account: Account(account.number))
        assert "nested deeper" in refusal(Account(1)).reason

    def test_what_an_encoder_raises_passes_through(self, registry):
        """An encoder's own exception reaches the caller as it is."""
        register_encoder(Account, lambda account: account.missing)
        with pytest.raises(AttributeError, match="missing"):
            key([Account(1)])

    @pytest.mark.parametrize("kind", [int, str, dict, object, "Account", "", 5])
    def test_nonsense_is_refused_at_registration(self, registry, kind):
        """Builtins, and names without a module, cannot be registered."""
        with pytest.raises(ConfigurationError):
            register_encoder(kind, lambda value: 1)

    def test_an_encoder_has_to_be_callable(self, registry):
        """Something that cannot be called is no encoder."""
        with pytest.raises(ConfigurationError):
            register_encoder(Account, 5)

    def test_local_classes_are_refused_all_the_same(self, registry):
        """A registered class that is local to a function has no name of its own."""

        class Local(Account):
            pass

        register_encoder(Local, lambda account: account.number)
        assert "local class" in refusal(Local(1)).reason

    def test_types_that_were_met_can_die(self):
        """Having made a key from its values does not keep a class alive."""

        def meet():
            passing = type("Passing", (tuple,), {"__slots__": ()})
            key(passing((1,)))
            return weakref.ref(passing)

        met = meet()
        gc.collect()
        assert met() is None


class TestArrays:
    """Arrays and frames: contents, not memory."""

    def test_memory_layout_does_not_matter(self):
        """Equal arrays in C order, Fortran order, as views or memory maps have one key."""
        plain = np.arange(24.0).reshape(4, 6)
        wide = np.zeros((8, 12))
        wide[::2, ::2] = plain
        assert (
            len({key(plain), key(np.asfortranarray(plain)), key(wide[::2, ::2]), key(plain[::-1][::-1])}) == 1
        )

    @pytest.mark.parametrize("size", [10, 100_000])
    def test_every_element_counts(self, size):
        """An array that differs in one place has another key, wherever the place is."""
        plain = np.zeros(size)
        keys = {key(plain)}
        for place in (0, size // 2, size - 1):
            changed = plain.copy()
            changed[place] = 1
            keys.add(key(changed))
        assert len(keys) == 4

    def test_padding_is_not_part_of_records(self):
        """The bytes between the fields of a structured array do not matter."""
        dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
        clean, dirty = np.zeros(3, dtype), np.frombuffer(bytearray(b"\xff" * 48), dtype)
        for name in dtype.names:
            dirty[name] = 0
        assert clean.tobytes() != dirty.tobytes()
        assert key(clean) == key(dirty)

    def test_masks_count(self):
        """No mask is a mask of nothing; where the mask lies matters."""
        numbers = [1, 2, 3]
        assert key(np.ma.masked_array(numbers)) == key(np.ma.masked_array(numbers, [False] * 3))
        assert key(np.ma.masked_array(numbers, [0, 1, 0])) != key(np.ma.masked_array(numbers, [0, 0, 1]))

    def test_scalars_are_what_they_equal(self):
        """Scalars of numpy and pandas have the keys of equal values of Python."""
        groups = [
            [1, np.int8(1), np.uint64(1), np.float16(1), np.longdouble(1), np.bool_(True), np.complex64(1)],
            [0.5, np.float16(0.5), np.longdouble(0.5), np.clongdouble(0.5)],
            [math.nan, np.float32("nan"), np.longdouble("nan")],
            [-math.inf, np.float32("-inf"), -np.longdouble("inf")],
            ["a", np.str_("a")],
            [b"a", np.bytes_(b"a")],
            [dt.datetime(2024, 1, 1), np.datetime64("2024"), np.datetime64("2024-01-01T00:00", "ns"),
             pd.Timestamp("2024-01-01")],
            [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), pd.Timestamp("2024-01-01", tz="UTC"),
             pd.Timestamp("2024-01-01 01:00", tz="Europe/Berlin")],
            [dt.timedelta(days=1), np.timedelta64(24, "h"), pd.Timedelta(days=1)],
            [pd.NaT, np.datetime64("NaT", "s"), np.timedelta64("NaT", "s")],
            [np.timedelta64(1, "Y"), np.timedelta64(12, "M")],
            [np.dtype("l"), np.dtype("q"), np.dtype("i8")],
        ]  # fmt: skip
        for group in groups:
            assert len({key(value) for value in group}) == 1, group
        assert len({key(group[0]) for group in groups}) == len(groups)

    def test_frames_differ_in_the_middle(self):
        """A frame that differs in one cell far from its ends has another key."""
        for make in (pd.DataFrame, pl.DataFrame):
            column = list(range(100_000))
            before = key(make({"a": column}))
            assert key(make({"a": list(column)})) == before
            column[50_000] = -1
            assert key(make({"a": column})) != before

    def test_a_range_is_an_index_like_any_other(self):
        """An index of consecutive numbers has one key, whether computed or stored."""
        assert key(pd.RangeIndex(3)) == key(pd.Index([0, 1, 2]))

    def test_chunks_of_polars_do_not_matter(self):
        """A series that was appended to has the key of one made at once."""
        chunked = pl.concat([pl.Series("a", ["x"]), pl.Series("a", ["y", None])], rechunk=False)
        assert key(chunked) == key(pl.Series("a", ["x", "y", None]))

    def test_attributes_of_frames_count(self):
        """What a pandas frame carries in attrs can be read, so it is part of the key."""
        frame, other = pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]})
        other.attrs["unit"] = "m"
        assert key(frame) != key(other)


class TestThreads:
    """One key maker for all threads."""

    def test_registrations_and_keys_at_once(self, registry):
        """Keys that eight threads make while encoders are registered are those of one thread."""
        register_encoder(Account, lambda account: account.number)
        expected, wrong = key([Account(1), 1.5, {"a": values.Place(1, 2)}]), []

        def work():
            for _ in range(200):
                register_encoder(Account, lambda account: account.number)
                if key([Account(1), 1.5, {"a": values.Place(1, 2)}]) != expected:
                    wrong.append(1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []

"""Raw keys of calls, and what engines are given instead."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from cachewright._loader import ATTACHED, CANONICAL, Loader, plain
from cachewright.entry import MISSING
from cachewright.freshness import Freshness
from cachewright.keymaker import Call, KeyMaker


class SpellingKeyMaker(KeyMaker):
    """Makes keys that can be read: the digest is the call in hexadecimal."""

    def call_key(self, call: Call) -> str:
        return repr((call.names, call.values, call.typed)).encode().hex()

    def value_key(self, value: object) -> str:
        return repr(value).encode().hex()


KEYS = SpellingKeyMaker()


def spelt(names, values, *, typed=False):
    return repr((names, values, typed)).encode().hex()


class Odd:
    """Hashable, and equal to nothing in words that raise."""

    def __hash__(self):
        return 1

    def __eq__(self, other):
        raise ValueError("not comparable")


class Sloppy:
    """Hashable, and unequal to itself."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return False


class TestPlain:
    """Which values a dictionary finds again exactly if the canonical encoding would."""

    @pytest.mark.parametrize(
        "key",
        [
            None,
            True,
            0,
            "x",
            b"x",
            1.5,
            -0.0,
            math.inf,
            1j,
            (),
            ((1,), "x"),
            frozenset({1, (2,)}),
            Decimal("1.10"),
            Fraction(1, 3),
            object(),
            int,
            np.float32(1),
            np.datetime64("2020-01-01"),
            range(3),
            Odd(),
        ],
    )
    def test_hashable_values_without_nan_serve_as_they_are(self, key):
        """At any depth, foreign equality included."""
        assert plain(key)
        assert plain((key, key))

    @pytest.mark.parametrize(
        "key",
        [
            math.nan,
            complex(0, math.nan),
            Decimal("nan"),
            Decimal("sNaN"),
            np.float64("nan"),
            np.float32("nan"),
            np.float16("nan"),
            np.complex64("nan"),
            np.datetime64("NaT", "s"),
            Sloppy(),
            [],
            {},
            set(),
            bytearray(),
            np.zeros(2),
            ([],),
            frozenset({math.nan}),
        ],
        ids=lambda key: type(key).__name__,
    )
    def test_what_has_no_hash_or_differs_from_itself_does_not(self, key):
        """NaN of any library, also inside tuples and frozensets."""
        assert not plain(key)
        assert not plain((1, (key,)))

    def test_subclasses_of_tuples_are_looked_into(self):
        """A named tuple with a list cannot be hashed, one with NaN cannot be found."""

        class Pair(tuple):
            pass

        assert plain(Pair((1, 2)))
        assert not plain(Pair((1, math.nan)))


class TestObjectKeys:
    """Keys for engines of objects."""

    def test_the_raw_key_itself_serves_wherever_it_can(self):
        """No digest is made for plain arguments."""
        raw = ("a", 1)
        assert Loader(print, "f", ("x", "y")).object_key(raw, KEYS) is raw
        assert Loader(print, "f", ("x",), single=True).object_key(5, KEYS) == 5

    def test_others_are_replaced_by_their_canonical_key(self):
        """Marked, so that no argument can be taken for one."""
        key = Loader(print, "f", ("x", "y")).object_key(([1], 2), KEYS)
        assert key == (CANONICAL, spelt(("x", "y"), ([1], 2)))
        single = Loader(print, "f", ("x",), single=True).object_key([1, 2], KEYS)
        assert single == (CANONICAL, spelt(("x",), ([1, 2],)))

    def test_a_made_key_is_one_value_even_if_it_is_a_list(self):
        """Two made keys that begin alike are two keys."""
        loader = Loader(print, "f", ("key",), single=True)
        assert loader.object_key([1, 2], KEYS) != loader.object_key([1, 3], KEYS)
        assert loader.digest_key("ab", KEYS) != loader.digest_key("ac", KEYS)
        assert loader.digest_key(5, KEYS) == spelt(("key",), (5,))

    def test_the_token_of_an_instance_stays_in_front(self):
        """Entries of a dead instance are found by it."""
        token = object()
        key = Loader(print, "f", ("x",), bound=True).object_key((token, [1]), KEYS)
        assert key == (token, CANONICAL, spelt(("x",), ([1],)))

    def test_functions_that_share_a_cache_have_keys_of_their_own(self):
        """By scope, for plain and for canonical keys."""
        one, two = (Loader(print, "f", ("x",), single=True, scope=scope) for scope in ("one", "two"))
        assert one.object_key(1, KEYS) == (ATTACHED, "one", 1)
        assert one.object_key([1], KEYS) != two.object_key([1], KEYS)

    def test_types_behind_the_arguments_are_no_arguments(self):
        """A typed raw key is cut to the parameters; the key maker is told to tell types apart."""
        loader = Loader(print, "f", ("x", "y"), typed=True)
        assert loader.digest_key((1, 2.0, int, float), KEYS) == spelt(("x", "y"), (1, 2.0), typed=True)


class TestDigestKeys:
    """Keys for engines of bytes."""

    def test_without_scope_and_version_it_is_the_canonical_key(self):
        """Nothing is hashed twice."""
        assert Loader(print, "f", ("x",), single=True).digest_key(1, KEYS) == spelt(("x",), (1,))

    def test_scope_and_version_change_it_and_cannot_run_together(self):
        """Moving a letter from the one to the other gives another key."""
        pairs = [
            ("", ""),
            ("a", ""),
            ("", "a"),
            ("ab", "c"),
            ("a", "bc"),
            ("1:a", ""),
            ("", "1:a"),
            ("\ud800", "é"),
        ]
        keys = {
            Loader(print, "f", ("x",), single=True, scope=scope, version=version).digest_key(1, KEYS)
            for scope, version in pairs
        }
        assert len(keys) == len(pairs)
        assert all(len(bytes.fromhex(key)) >= 16 for key in keys)

    def test_the_instance_is_not_in_a_digest(self):
        """Its token means nothing outside the process."""
        loader = Loader(print, "f", ("x",), bound=True)
        assert loader.digest_key((object(), 1), KEYS) == loader.digest_key((object(), 1), KEYS)

    def test_a_version_may_be_found_out_late_and_once(self):
        """A fingerprint has to see the helpers that are defined below the function."""
        asked = []

        def version():
            asked.append(1)
            return "v7"

        late = Loader(print, "f", ("x",), single=True, version=version)
        assert not asked
        early = Loader(print, "f", ("x",), single=True, version="v7")
        assert {late.digest_key(1, KEYS) for _ in range(3)} == {early.digest_key(1, KEYS)}
        assert asked == [1]


def test_what_is_kept_for_listing_is_what_was_given():
    """Also for a function that shares a cache: whose result it is is kept beside every entry."""
    assert Loader(print, "f").label is MISSING
    assert Loader(print, "f", label="k").label == "k"
    assert Loader(print, "f", scope="s", label="k").label == "k"
    assert Loader(print, "f", scope="s").label is MISSING


class TestWhatACallWas:
    """The arguments in a key, for invalidating by argument."""

    @pytest.mark.parametrize(
        ("options", "raw", "values"),
        [
            ({"names": ("x",), "single": True}, 7, (7,)),
            ({"names": ("x",), "single": True}, (7, 8), ((7, 8),)),
            ({"names": ("x", "y")}, (1, 2), (1, 2)),
            ({"names": ("x",), "typed": True}, (1, int), (1,)),
            ({"names": ("x",), "bound": True}, ("token", 1), (1,)),
            ({"names": ("x",), "bound": True, "typed": True}, ("token", 1, int), (1,)),
            ({}, (), ()),
        ],
    )
    def test_values_are_the_arguments_alone(self, options, raw, values):
        """Without the token of the instance and without types."""
        assert Loader(print, "f", **options).values(raw) == values

    @pytest.mark.parametrize("raw", [1, (1, 2), "text", (), frozenset({1})])
    def test_a_raw_key_is_read_back_from_the_key_of_an_engine_of_objects(self, raw):
        """With and without a scope."""
        for scope in ("", "s"):
            loader = Loader(print, "f", ("x",), single=True, scope=scope)
            assert loader.raw_of(loader.object_key(raw, KEYS)) == raw

    def test_arguments_without_a_hash_are_not_read_back(self):
        """Their key is a digest."""
        loader = Loader(print, "f", ("x",), single=True)
        assert loader.raw_of(loader.object_key([1], KEYS)) is CANONICAL

    @pytest.mark.parametrize("key", [1, (), (1, 2, 3), (ATTACHED, "other", 1), (ATTACHED, "s"), (1, "s", 2)])
    def test_keys_of_others_in_a_shared_cache_are_told_apart(self, key):
        """Another function's, and those that a caller chose."""
        assert Loader(print, "f", scope="s").raw_of(key) is MISSING


@pytest.mark.parametrize(
    ("options", "rich", "open_tags"),
    [
        ({}, False, False),
        ({"ttl": 5.0, "jitter": 0.5, "cache_if": bool}, False, False),
        ({"freshness": Freshness()}, True, False),
        ({"tags": lambda: ("t",)}, True, False),
        ({"result_tags": (str,)}, True, True),
        ({"cache_errors": ((LookupError, None),)}, True, False),
        ({"injects": True}, True, True),
    ],
)
def test_only_what_asks_for_more_than_a_look_up_takes_the_long_way(options, rich, open_tags):
    """And only results that choose tags themselves are bound to all of them."""
    loader = Loader(print, "f", **options)
    assert (loader.rich, loader.open_tags) == (rich, open_tags)

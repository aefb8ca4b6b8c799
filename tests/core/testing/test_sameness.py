"""Sameness is stricter than equality, and knows NaN."""

from __future__ import annotations

import collections
import datetime as dt
import math
from decimal import Decimal

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types
import pytest

from cachewright.testing import same
from cachewright.testing.specimens import Level, Number, Plain, Point, Record, Text, specimens

UNPICKLED = {
    "generator",
    "lock",
    "open file",
    "module",
    "lambda",
    "local class",
    "bare object",
    "raiser",
    "liar",
}


DIFFERENT: list[tuple[object, object]] = [
    (1, True),
    (1, 1.0),
    (0.0, -0.0),
    (complex(0.0, -0.0), complex(0.0, 0.0)),
    (Decimal("1.0"), Decimal("1.00")),
    ((1,), [1]),
    ([1, [2]], [1, [2.0]]),
    ({1: "a"}, {True: "a"}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1}, {True}),
    ({1}, frozenset({1})),
    (Point(1, 2.0), (1, 2.0)),
    (Level.LOW, 1),
    (Number(1), 1),
    (Text("a"), "a"),
    (Record(1), Record(True)),
    (Plain(1), Plain(2)),
    (collections.deque([1], 2), collections.deque([1], 3)),
    (collections.defaultdict(list), collections.defaultdict(dict)),
    (ValueError(1), ValueError(True)),
    (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1)),
    (dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, fold=1)),
    (np.arange(3), np.arange(3.0)),
    (np.arange(4), np.arange(4).reshape(2, 2)),
    (np.arange(3, dtype="<i4"), np.arange(3, dtype=">i4")),
    (np.array([1, 2], object), np.array([1, 2.0], object)),
    (np.ma.masked_array([1, 2], [False, True]), np.ma.masked_array([1, 2], [True, False])),
    (pd.Series([1], name="a"), pd.Series([1], name="b")),
    (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}, index=pd.Index([0], name="i"))),
    (pd.DataFrame({1: [1]}), pd.DataFrame({"1": [1]})),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_types_or_contents_are_not_the_same(one: object, other: object) -> None:
    """Whatever a cache could confuse is told apart, in both directions."""
    assert not same(one, other)
    assert not same(other, one)


@pytest.mark.parametrize("name", sorted(set(specimens()) - UNPICKLED))
def test_a_specimen_is_the_same_as_another_one_of_it(name: str) -> None:
    """Two specimens of one make are the same, be they cyclic, deep or not a number."""
    make = specimens()[name]
    assert same(make(), make())


def test_not_a_number_is_the_same_as_itself() -> None:
    """NaN, which equals nothing, is the same value as NaN, at any depth."""
    assert same([math.nan, {"a": complex(math.nan, 1)}], [float("nan"), {"a": complex(float("nan"), 1)}])

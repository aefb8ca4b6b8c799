"""Random values, with places where types meet, come back exactly or are refused."""

from __future__ import annotations

import datetime as dt
import math
import random
import uuid
from decimal import Decimal
from typing import Any

import pytest
from cachewright_msgspec.serializer import JsonSerializer, MsgpackSerializer

from cachewright.errors import UnserializableError
from cachewright.testing.sameness import same

BOTH = pytest.mark.parametrize("kind", [MsgpackSerializer, JsonSerializer])
NAIVE = dt.datetime(2024, 2, 29, 12, 30, 1, 5)


def some_value(generator: random.Random, depth: int, leaf: Any) -> Any:  # noqa: PLR0911 - one per kind
    """Return a random value: lists of alike items among others, where schemas matter."""
    kind = generator.randrange(8) if depth else 0
    count = generator.randrange(4)
    if kind < 2:
        return leaf(generator)
    if kind == 2:
        seed = generator.random()
        return [some_value(random.Random(seed), depth - 1, leaf) for _ in range(generator.randrange(20))]
    if kind == 3:
        return [some_value(generator, depth - 1, leaf) for _ in range(count)]
    if kind == 4:
        return tuple([some_value(generator, depth - 1, leaf) for _ in range(count)])
    if kind == 5:
        return {f"k{n}": some_value(generator, depth - 1, leaf) for n in range(count)}
    keys = [leaf(generator) for _ in range(count)]
    keys = [key for key in keys if type(key) is not bytearray]
    if kind == 6:
        return generator.choice([set, frozenset])(keys)
    return {key: some_value(generator, depth - 1, leaf) for key in keys}


def some_leaf(generator: random.Random) -> Any:
    return generator.choice(
        [
            None, True, False, generator.randint(-5, 5), 2**64 - 1, 2**70, 1.5, math.nan, -0.0, "a", "é", "",
            b"x", bytearray(b"q"), NAIVE, NAIVE.replace(fold=1), NAIVE.replace(tzinfo=dt.UTC), dt.date.max,
            dt.time(1, 2), dt.timedelta(generator.uniform(-9, 9)), Decimal("1.10"), Decimal("NaN"), 1j,
            uuid.UUID(int=generator.getrandbits(128)),
        ]
    )  # fmt: skip


@BOTH
def test_random_values_come_back_or_are_refused(kind: Any) -> None:
    """Of 1500 random values each comes back exactly, or is refused when it is stored."""
    stored = 0
    for seed in range(1500):
        generator = random.Random(seed)
        one = some_leaf(generator)
        leaves = [some_leaf, lambda _, one=one: one, lambda g, one=one: g.choice([one, None])]
        value = some_value(generator, 4, generator.choice(leaves))
        try:
            frames = kind().dumps(value)
        except UnserializableError:
            continue
        stored += 1
        result = kind().loads([memoryview(frame) for frame in frames])
        assert same(result, value), (seed, value, result)
    assert stored > 700

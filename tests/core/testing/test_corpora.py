"""The hostile corpora are what they say: equal, different, and enough of them."""

from __future__ import annotations

import itertools
import math
import pickle

from cachewright.testing.arguments import DIFFERENT, TYPED_PAIRS, equal_groups
from cachewright.testing.payloads import hostile_frames
from cachewright.testing.values import BYTE_KEYS, EQUAL_KEYS, NAMESPACES, OBJECT_KEYS, TEXT_KEYS


def test_hostile_keys_are_different() -> None:
    """No two hostile keys are equal, and there are at least 35 of them."""
    assert len(OBJECT_KEYS) >= 35
    assert len(set(OBJECT_KEYS)) == len(OBJECT_KEYS)
    assert len(set(BYTE_KEYS)) == len(BYTE_KEYS)
    assert len(set(NAMESPACES)) == len(NAMESPACES)
    assert len(TEXT_KEYS) >= 35
    assert len(set(TEXT_KEYS)) == len(TEXT_KEYS)
    assert not any("\0" in name or not name for name in NAMESPACES)


def test_equal_keys_are_equal() -> None:
    """All keys of a group are one key to a dict."""
    assert [len(set(group)) for group in EQUAL_KEYS] == [1] * len(EQUAL_KEYS)


def test_arguments_that_share_a_key_are_equal() -> None:
    """All arguments of a group compare equal, NaN being the exception."""
    for group in equal_groups():
        for one, other in itertools.pairwise(group):
            assert one == other or (math.isnan(one) and math.isnan(other))


def test_arguments_with_keys_of_their_own_are_different() -> None:
    """No two of them compare equal."""
    for one, other in itertools.combinations(DIFFERENT, 2):
        assert one != other


def test_typed_pairs_are_equal_with_different_types() -> None:
    """Only the type tells the members of a pair apart."""
    assert all(one == other and type(one) is not type(other) for one, other in TYPED_PAIRS)


def test_hostile_frames_are_the_same_every_time() -> None:
    """A failure found once is found again."""
    example = [pickle.dumps([1])]
    assert list(hostile_frames([example])) == list(hostile_frames([example]))

"""Entries: a value with its clocks, and the sign of none."""

from __future__ import annotations

import copy
import pickle

import pytest

from cachewright.entry import MISSING, NEVER, SYSTEM_CLOCK, AgedEntry, Clock, Entry, Missing


class TestMissing:
    """The typed, falsy sign of a miss."""

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_is_one_object(self, protocol):
        """Also after pickling and copying."""
        assert pickle.loads(pickle.dumps(MISSING, protocol)) is MISSING
        assert copy.deepcopy([MISSING])[0] is MISSING
        assert Missing("MISSING") is MISSING

    def test_it_is_false_and_equal_to_nothing(self):
        """Nor to anything else that is false."""
        assert not MISSING
        assert repr(MISSING) == "MISSING"
        assert all(other != MISSING for other in (None, 0, False, "", (), "MISSING"))


class TestEntry:
    """What an engine of objects holds."""

    def test_without_more_it_lives_for_ever(self):
        """And nothing is known about it."""
        entry = Entry(None)
        assert (entry.value, entry.expires, entry.created, entry.tags) == (None, NEVER, 0.0, ())
        assert (entry.seconds, entry.key) == (0.0, MISSING)

    @pytest.mark.parametrize("entry", [Entry("secret", 5.0), AgedEntry("secret", 5.0, soft=5.0)])
    def test_its_value_is_not_shown(self, entry):
        """Only of which type it is."""
        assert "secret" not in repr(entry)
        assert "type=str" in repr(entry)
        assert not hasattr(entry, "__dict__")


class TestAgedEntry:
    """One that is judged before it is served."""

    def test_without_more_it_is_an_entry(self):
        """With the same fields, a value, and no end."""
        entry = AgedEntry(1, 2.0, 3.0, ("t",), 4.0, "k")
        assert isinstance(entry, Entry)
        assert (entry.value, entry.expires, entry.created, entry.tags) == (1, 2.0, 3.0, ("t",))
        assert (entry.seconds, entry.key) == (4.0, "k")
        assert (entry.soft, entry.until, entry.negative, entry.tokens) == (NEVER, NEVER, False, {})

    def test_tokens_are_its_own(self):
        """Two entries share no dictionary."""
        one, two = AgedEntry(1), AgedEntry(2)
        one.tokens["t"] = "ab"
        assert two.tokens == {}

    def test_a_copy_has_all_of_it(self):
        """For engines that hand out copies."""
        entry = AgedEntry([1], 2.0, soft=3.0, until=4.0, negative=True, tokens={"t": "ab"})
        for made in (copy.copy(entry), copy.deepcopy(entry), pickle.loads(pickle.dumps(entry))):
            assert type(made) is AgedEntry
            assert (made.value, made.expires, made.soft, made.until) == ([1], 2.0, 3.0, 4.0)
            assert (made.negative, made.tokens) == (True, {"t": "ab"})


def test_clocks_can_be_replaced():
    """One for what outlives the process, one for what does not."""
    clock = Clock(wall=lambda: 1.0, monotonic=lambda: 2.0)
    assert (clock.wall(), clock.monotonic()) == (1.0, 2.0)
    assert SYSTEM_CLOCK.wall() > 1e9

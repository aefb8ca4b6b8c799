"""The load context: what a function may say about its own result."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest

from cachewright import cached
from cachewright.context import INJECTED, LoadContext
from cachewright.entry import MISSING


class TestContext:
    """What one computation is given."""

    def test_a_new_one_says_nothing(self):
        """The rules of the decorator hold."""
        ctx = LoadContext()
        assert (ctx.ttl, ctx.tags, ctx.stale_value) == (MISSING, [], MISSING)
        assert (ctx.stored, ctx.renewed) == (True, False)

    def test_none_is_a_ttl_and_a_stale_value(self):
        """For ever, and a value like any other."""
        ctx = LoadContext(None)
        ctx.ttl = None
        assert ctx.not_modified() is None
        assert (ctx.ttl, ctx.renewed) == (None, True)

    def test_tags_are_its_own(self):
        """Not those of another computation."""
        one, two = LoadContext(), LoadContext()
        one.tags.append("t")
        assert two.tags == []

    def test_not_to_store_is_kept(self):
        """For who stores."""
        ctx = LoadContext()
        ctx.no_store()
        assert not ctx.stored

    def test_nothing_cannot_be_unmodified(self):
        """A function that says so would return a miss as its value."""
        ctx = LoadContext()
        with pytest.raises(LookupError, match="stale_value"):
            ctx.not_modified()
        assert not ctx.renewed

    def test_a_name_that_it_has_not_is_refused(self):
        """A typing mistake in a function is not passed over."""
        with pytest.raises(AttributeError):
            LoadContext().tll = 5


def price(symbol, *, ctx: LoadContext = INJECTED):
    ctx.ttl = 5
    ctx.tags.append(f"market:{symbol}")
    ctx.tags += ["more"]
    ctx.no_store()
    return symbol, ctx.stale_value


class TestUndecorated:
    """A function that wants a context runs without a cache as well."""

    def test_it_says_what_it_wants_to_nobody(self):
        """Nothing of it stays in the default that all calls share."""
        for _ in range(2):
            assert price("x") == ("x", MISSING)
            assert (INJECTED.ttl, INJECTED.tags, INJECTED.stored) == (MISSING, [], True)
            assert (INJECTED.stale_value, INJECTED.renewed) == (MISSING, False)

    def test_there_is_no_stale_value(self):
        """As in a first computation."""
        with pytest.raises(LookupError):
            INJECTED.not_modified()
        assert INJECTED.renewed is False

    def test_threads_do_not_meet_in_it(self):
        """Every look at its tags gives a list of its own."""
        seen = []

        def use():
            for number in range(500):
                INJECTED.tags.append(number)
                seen.append(len(INJECTED.tags))

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert seen == [0] * 2000

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_is_one_object_after_pickling_and_copying(self, protocol):
        """It is recognised by identity."""
        assert pickle.loads(pickle.dumps(INJECTED, protocol)) is INJECTED
        assert copy.copy(INJECTED) is INJECTED
        assert copy.deepcopy({"ctx": [INJECTED]})["ctx"][0] is INJECTED

    def test_it_shows_itself_in_signatures(self):
        """By its name."""
        assert repr(INJECTED) == "INJECTED"
        assert isinstance(INJECTED, LoadContext)


def test_the_wrapped_function_is_undecorated():
    """Calling ``__wrapped__`` behaves like before decoration."""
    function = cached(price)
    assert function.__wrapped__("x") == ("x", MISSING)
    assert function("x") == ("x", MISSING)
    assert INJECTED.stored

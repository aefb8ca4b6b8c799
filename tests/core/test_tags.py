"""Tags: names that lead to the entries that have them."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cachewright._flight import reset_in_children
from cachewright._tags import EPOCH, SPARE, TOKEN_SIZE, TagIndex, checked_tags, new_token


class TestChecks:
    """What can be a tag."""

    @pytest.mark.parametrize(
        ("tags", "checked"),
        [
            ((), ()),
            ("t", ("t",)),
            (["b", "a", "b"], ("b", "a")),
            ((tag for tag in "xy"), ("x", "y")),
            ({"a": 1}, ("a",)),
            (("\ud800", " ", "\0", "user:7"), ("\ud800", " ", "\0", "user:7")),
        ],
    )
    def test_one_or_several_texts_each_once(self, tags, checked):
        """In the order of their first."""
        assert checked_tags(tags) == checked

    @pytest.mark.parametrize(
        "tags", ["", ["a", ""], None, 5, b"ab", [b"a"], [None], [["a"]], [5], object(), ("a", 1)]
    )
    def test_everything_else_is_a_type_error(self, tags):
        """The empty text too, which stands for all tags together."""
        with pytest.raises(TypeError, match="a tag is a text that is not empty"):
            checked_tags(tags)

    def test_a_long_mistake_makes_a_short_message(self):
        """Whatever was passed is not printed in full."""
        with pytest.raises(TypeError) as caught:
            checked_tags([b"x" * 10_000])
        assert len(str(caught.value)) < 200

    @given(st.lists(st.text(min_size=1)))
    def test_checking_twice_changes_nothing(self, tags):
        """Nor does the kind of the sequence."""
        once = checked_tags(tags)
        assert checked_tags(once) == once == checked_tags(iter(tags))
        assert set(once) == set(tags)


def test_a_token_is_no_other():
    """And no tag is the epoch."""
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert {len(token) for token in tokens} == {TOKEN_SIZE}
    assert EPOCH == ""


class Index(RuleBasedStateMachine):
    """Against a dict of sets."""

    keys = st.integers(0, 6) | st.sampled_from([("a", 1), "k", None])
    tags = st.lists(st.sampled_from("abcd"), unique=True, max_size=3).map(tuple)

    def __init__(self):
        super().__init__()
        self.index = TagIndex()
        self.model = {}

    @rule(key=keys, tags=tags)
    def put(self, key, tags):
        self.index.put(key, tags)
        self.model.pop(key, None)
        if tags:
            self.model[key] = set(tags)

    @rule(key=keys)
    def forget(self, key):
        self.index.forget(key, self.index.mark(key))
        self.model.pop(key, None)

    @rule()
    def clear(self):
        self.index.forget_all(self.index.noted())
        self.model.clear()

    @rule(stored=st.sets(keys))
    def retain(self, stored):
        self.index.retain(lambda: stored)
        self.model = {key: tags for key, tags in self.model.items() if key in stored}

    @rule(tags=tags)
    def ask(self, tags):
        found = self.index.keys(tags)
        assert len(found) == len(set(found))
        assert set(found) == {key for key, has in self.model.items() if has.intersection(tags)}

    @invariant()
    def it_knows_what_the_model_knows(self):
        assert len(self.index) == len(self.model)
        for key in [*range(7), ("a", 1), "k", None, "never"]:
            assert set(self.index.tags(key)) == self.model.get(key, set())
        # nothing is kept for tags without keys
        assert set(self.index._keys) == set().union(*self.model.values())
        assert all(self.index._keys.values())


TestIndex = Index.TestCase


def test_evicted_entries_make_an_index_crowded_and_can_be_forgotten():
    """An engine says nothing of what it evicts: many more keys than entries must be of those."""
    index = TagIndex()
    for number in range(SPARE + 20):
        index.put(number, ("even" if number % 2 == 0 else "odd", "all"))
    assert not index.crowded(10)
    assert index.crowded(9)
    index.retain(lambda: range(10))
    assert len(index) == 10
    assert set(index.keys(["even"])) == {0, 2, 4, 6, 8}
    assert not index.crowded(0)


def test_what_is_stored_is_asked_for_only_once_no_entry_can_be_added():
    """An entry that is noted while the index is pruned is not lost."""
    index = TagIndex()
    index.put("old", ("t",))
    added = threading.Thread(target=index.put, args=("new", ("t",)))

    def stored():
        added.start()
        added.join(0.05)  # it waits for the pruning
        return []

    index.retain(stored)
    added.join(20)
    assert index.keys(["t"]) == ["new"]


def test_keys_may_run_code_that_comes_back():
    """Their equality is the user's."""
    index = TagIndex()

    class Nosy:
        def __hash__(self):
            return 7

        def __eq__(self, other):
            index.tags("x")
            index.forget("x", index.mark("x"))
            return self is other

    one, two = Nosy(), Nosy()
    index.put(one, ("t",))
    index.put(two, ("t",))
    index.put(one, ("u",))
    assert index.keys(["t"]) == [two]
    assert index.keys(["u"]) == [one]


def test_threads_leave_it_consistent():
    """Whatever they do to the same keys and tags."""
    index = TagIndex()
    start = threading.Barrier(6)
    errors = []

    def work(number):
        start.wait(20)
        try:
            for step in range(1500):
                index.put(step % 7, (f"t{(step + number) % 3}",))
                index.keys(["t0", "t1"])
                if step % 5 == number % 5:
                    index.forget((step + number) % 7, index.mark((step + number) % 7))
                if step % 100 == 0:
                    index.retain(lambda: range(5))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    by_tag = {tag: set(index.keys([tag])) for tag in ("t0", "t1", "t2")}
    assert {key: set(index.tags(key)) for keys in by_tag.values() for key in keys} == {
        key: {tag for tag, keys in by_tag.items() if key in keys} for key in set().union(*by_tag.values())
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_is_not_locked_out():
    """Forked while another thread has the index."""
    index = TagIndex()
    reset_in_children(index)
    index.put("k", ("t",))
    held, free = threading.Event(), threading.Event()

    def hold():
        with index._lock:
            held.set()
            free.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    pid = os.fork()
    if pid == 0:
        index.put("child", ("t",))
        os._exit(0 if set(index.keys(["t"])) == {"k", "child"} else 1)
    free.set()
    thread.join(20)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0

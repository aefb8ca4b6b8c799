"""The bounds of a namespace hold after every set, and cost bounded work."""

from __future__ import annotations

import random

import pytest

from cachewright.builtin.sqlite.table import BATCH
from cachewright.entry import MISSING, Clock


def test_lru_is_exact_for_a_small_namespace(open_engine):
    """The entry used longest ago goes, where a use is a get or a set."""
    engine = open_engine(maxsize=3)
    for key in "abc":
        engine.set(key, (key.encode(),))
    for key in "cab":
        engine.get(key)
    engine.set("d", (b"d",))
    assert sorted(engine.keys()) == ["a", "b", "d"]
    engine.get("a")
    engine.set("e", (b"e",))
    assert sorted(engine.keys()) == ["a", "d", "e"]


def test_fifo_does_not_care_about_reads(open_engine):
    """The entry stored first goes."""
    engine = open_engine(maxsize=2, policy="fifo")
    engine.set("a", (b"",))
    engine.set("b", (b"",))
    engine.get("a")
    engine.set("c", (b"",))
    assert sorted(engine.keys()) == ["b", "c"]


def test_expired_entries_go_first(open_engine):
    """An expired entry makes room before a living one does."""
    now = [1e9]
    engine = open_engine(maxsize=2, clock=Clock(wall=lambda: now[0]))
    engine.set("old", (b"",))
    engine.set("short", (b"",), ttl=1)
    now[0] += 2
    engine.set("new", (b"",))
    assert sorted(engine.keys()) == ["new", "old"]


@pytest.mark.parametrize("policy", ["lru", "fifo"])
def test_bounds_hold_after_every_set(open_engine, policy):
    """Entries and bytes stay within the limits whatever the sizes; the totals are exact."""
    engine = open_engine(maxsize=20, max_bytes=1000, policy=policy, options={"file_size": 100})
    rng, sizes = random.Random(1), {}
    for step in range(400):
        key, size = f"k{rng.randrange(60)}", rng.randrange(0, 300)
        assert engine.set(key, (b"x" * size,), size=size)
        sizes[key] = size
        assert engine.get(key) is not MISSING
        if step % 7 == 0:
            engine.delete(f"k{rng.randrange(60)}")
        stored = list(engine.keys())
        assert len(stored) == engine.count() <= 20
        assert sum(sizes[name] for name in stored) <= 1000


def test_too_large(open_engine):
    """A value above max_bytes is refused, evicts nothing else, and its older entry is gone."""
    engine = open_engine(max_bytes=100)
    engine.set("k", (b"1",), size=10)
    engine.set("other", (b"2",), size=10)
    assert engine.set("k", (b"x" * 101,), size=101) is False
    assert (engine.get("k"), engine.get("other")) == (MISSING, b"2")
    assert not engine.compare_and_set("other", b"2", (b"x" * 101,), size=101)
    assert engine.get("other") is MISSING
    assert open_engine(namespace="none", maxsize=0).set("k", (b"",)) is False


def test_a_lowered_limit_is_reached_step_by_step(open_engine):
    """Each write removes at most a batch beyond its own need, until the new limit holds."""
    open_engine().set_many((f"k{i}", (b"",), None, 1) for i in range(300))
    engine, counts = open_engine(maxsize=10), [300]
    while counts[-1] > 10:
        engine.set(f"new{len(counts)}", (b"",))
        counts.append(engine.count())
        assert 0 < counts[-2] - counts[-1] <= BATCH
    assert counts[-1] == 10


def test_one_large_entry_displaces_many_small_ones(open_engine):
    """A steady limit holds even if making room takes more than a batch."""
    engine = open_engine(max_bytes=1000)
    engine.set_many((f"k{i}", (b"",), None, 1) for i in range(1000))
    engine.set("large", (b"",), size=900)
    assert engine.count() == 101


def test_expired_entries_go_even_without_bounds(open_engine, tmp_path):
    """Writes now and then remove what has expired."""
    now = [1e9]
    engine = open_engine(clock=Clock(wall=lambda: now[0]), options={"file_size": 10})
    for i in range(40):
        engine.set(f"k{i}", (b"x" * 20,), ttl=1)
    now[0] += 2
    for i in range(20):
        engine.set("again", (b"%d" % i,))
    assert list(tmp_path.glob("store/values-v1/*/*")) == []


def test_uses_of_a_reading_process_are_recorded(open_engine):
    """A namespace that is only read still learns what is used."""
    engine = open_engine(maxsize=100)
    for i in range(100):
        engine.set(f"k{i}", (b"",))
    for i in range(64):
        engine.get(f"k{i}")
    other = open_engine(maxsize=100)
    other.set_many((f"new{i}", (b"",), None, 1) for i in range(36))
    assert sorted(k for k in list(other.keys()) if k.startswith("k")) == sorted(f"k{i}" for i in range(64))

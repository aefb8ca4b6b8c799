"""compare_and_set_many: many swaps in one transaction, each successful or not by itself."""

from __future__ import annotations

import pytest

from cachewright.builtin.sqlite import engine as engine_module
from cachewright.entry import MISSING
from cachewright.errors import EngineError

SMALL, LARGE = b"s" * 100, b"L" * 60_000


@pytest.fixture
def files(tmp_path):
    return lambda: list((tmp_path / "store").glob("values-v1/*/*"))


def test_each_swap_succeeds_or_fails_by_itself(open_engine, content):
    """One that does not find what it expects changes nothing, and hinders no other."""
    engine = open_engine()
    engine.set("a", (b"1",))
    engine.set("b", (b"1",))
    swaps = [
        ("a", b"1", (b"2",), None, 1),
        ("b", b"wrong", (b"2",), None, 1),
        ("c", MISSING, (LARGE,), None, 1),
        ("d", b"1", (b"2",), None, 1),
        ("b", b"1", MISSING, None, 1),
        ("e", MISSING, MISSING, None, 1),
    ]
    assert engine.compare_and_set_many(swaps) == [True, False, True, False, True, True]
    assert [content(engine.get(key)) for key in "abcde"] == [b"2", MISSING, LARGE, MISSING, MISSING]
    assert engine.count() == 2


def test_swaps_of_one_key_apply_in_order(open_engine, content, files):
    """A later swap sees what an earlier one of the batch stored; only the last value keeps its file."""
    engine = open_engine()
    swaps = [
        ("k", MISSING, (LARGE,), None, 1),
        ("k", MISSING, (b"lost",), None, 1),
        ("k", LARGE, (LARGE, b"2"), None, 1),
        ("k", LARGE, (LARGE, b"3"), None, 1),
        ("k", LARGE + b"2", (LARGE, b"4"), None, 1),
    ]
    assert engine.compare_and_set_many(swaps) == [True, False, True, False, True]
    assert content(engine.get("k")) == LARGE + b"4"
    assert len(files()) == engine.count() == 1
    assert engine.compare_and_set_many(
        [("k", LARGE + b"4", MISSING, None, 1), ("k", MISSING, MISSING, None, 1)]
    )
    assert files() == []


def test_value_files_of_failed_swaps_go(open_engine, files):
    """Whatever did not take place leaves no file."""
    engine = open_engine()
    engine.set("k", (SMALL,))
    assert engine.compare_and_set_many([("k", b"?", (LARGE,), None, 1)] * 5) == [False] * 5
    assert files() == []


def test_a_batch_is_one_transaction(open_engine, monkeypatch):
    """As many swaps as go together take one transaction."""
    engine = open_engine()
    changes: list[str] = []
    change = engine_module.SqliteEngine._change

    def counted(self, store, link, operation, *arguments):
        changes.append(operation)
        return change(self, store, link, operation, *arguments)

    monkeypatch.setattr(engine_module.SqliteEngine, "_change", counted)
    swaps = [(f"k{n}", MISSING, (b"",), None, 1) for n in range(engine_module.TOGETHER + 1)]
    assert engine.compare_and_set_many(iter(swaps)) == [True] * len(swaps)
    assert changes == ["compare_and_set"] * 2
    assert engine.compare_and_set_many([]) == []


def test_ttl_and_size_belong_to_each_swap(open_engine):
    """Each has its own ttl and size; one beyond the bound is not stored, and what was there is gone."""
    engine = open_engine(max_bytes=100)
    engine.set("old", (b"1",), size=1)
    swaps = [
        ("k", MISSING, (b"1",), 1e9, 60),
        ("old", b"1", (b"2",), None, 101),
        ("k2", MISSING, (b"1",), None, 60),
    ]
    assert engine.compare_and_set_many(swaps) == [True, False, True]
    assert list(engine.keys()) == ["k2"]


@pytest.mark.parametrize("many", ["set_many", "compare_and_set_many"])
def test_an_error_among_many_leaves_no_file(open_engine, files, many):
    """If an entry of a batch cannot even be prepared, the files of those before it go."""
    engine = open_engine()
    middle = (MISSING,) if many == "compare_and_set_many" else ()
    items = [(f"k{n}", *middle, (LARGE,), None, 1) for n in range(5)]
    with pytest.raises(TypeError, match="not int"):
        getattr(engine, many)([*items, (1, *middle, (LARGE,), None, 1)])
    assert files() == []
    assert engine.count() == 0
    engine.close()


def test_a_read_only_store_swaps_nothing(open_engine, tmp_path):
    """Swaps on a store that cannot be written are an engine error."""
    open_engine().set("k", (SMALL,))
    next((tmp_path / "store").glob("index-v1-*.sqlite3")).chmod(0o400)
    engine = open_engine()
    engine._store.link().refusal = 30
    with pytest.raises(EngineError, match="read-only"):
        engine.compare_and_set_many([("k", SMALL, (LARGE,), None, 1)])

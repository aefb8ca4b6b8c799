"""The engine keeps the contract of engines of bytes."""

from __future__ import annotations

import os
import threading

import pytest

from cachewright.builtin.sqlite import table
from cachewright.engine import MappedBlob
from cachewright.entry import MISSING, Clock
from cachewright.errors import ClosedError, ConfigurationError, EngineError

SMALL, LARGE = b"s" * 100, b"L" * 200_000


class Hand:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.clock = Clock(wall=lambda: self.now, monotonic=lambda: self.now)


@pytest.mark.parametrize("value", [b"", b"\0", SMALL, LARGE], ids=["empty", "nul", "small", "large"])
def test_round_trip(open_engine, content, value):
    """What was set comes back, in chunks or in one piece, from another engine object too."""
    engine = open_engine()
    assert engine.set("k", (value[:7], memoryview(value)[7:], bytearray()), size=len(value))
    assert content(engine.get("k")) == value
    assert content(open_engine().get("k")) == value
    assert engine.count() == 1


def test_large_values_are_mapped_and_small_ones_are_not(open_engine):
    """A value from file_size on is a view on a file whose identity stays while the file does."""
    engine = open_engine(options={"file_size": 1000})
    engine.set("k", (b"x" * 999,))
    assert type(engine.get("k")) is bytes
    engine.set("k", (b"x" * 1000,))
    first, second = engine.get("k"), engine.get("k")
    assert isinstance(first, MappedBlob)
    assert first.identity == second.identity
    assert first.view.readonly
    engine.set("k", (b"y" * 1000,))
    assert engine.get("k").identity != first.identity
    assert bytes(first.view) == b"x" * 1000


def test_wide_buffers_and_many_chunks(open_engine, content):
    """Buffers of wider items and more chunks than one system call takes are written completely."""
    engine = open_engine(options={"file_size": 1000})
    wide = memoryview(bytes(range(240)) * 10).cast("d")
    chunks = [wide, *([b"ab"] * 3000), b"", b"end"]
    engine.set("k", chunks)
    assert content(engine.get("k")) == wide.tobytes() + b"ab" * 3000 + b"end"


def test_replaced_and_deleted_files_go(open_engine, tmp_path):
    """No value file outlives its entry."""
    engine = open_engine()
    for _ in range(3):
        engine.set("k", (LARGE,))
    assert len(value_files(tmp_path)) == 1
    assert engine.delete("k")
    assert not engine.delete("k")
    assert value_files(tmp_path) == []


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "a\0b", "é", "e\u0301", "\ud800", "CON", "k" * 70_000, "A", "a", ""]
)
def test_hostile_names(open_engine, content, tmp_path, key):
    """Any text is a key and a namespace, distinct and exact, and never a path."""
    engine, other = open_engine(namespace=key), open_engine(namespace=key + "!")
    engine.set(key, (LARGE,))
    other.set(key, (SMALL,))
    assert content(engine.get(key)) == LARGE
    assert list(engine.keys()) == [key]
    assert engine.get(key + " ") is MISSING
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_two_keys_with_one_digest(open_engine, monkeypatch):
    """When two keys share the 64-bit row id the later one wins, and the totals stay exact."""
    monkeypatch.setattr("cachewright.builtin.sqlite.engine.row_id", lambda space, key: 7)
    engine, other = open_engine(namespace="a"), open_engine(namespace="a")
    engine.set("one", (b"1",), size=5)
    other.set("two", (b"2",), size=6)
    assert engine.get("one") is MISSING
    assert not engine.delete("one")
    assert engine.get("two") == b"2"
    assert engine.count() == 1


def test_namespaces_do_not_meet(open_engine):
    """Clear empties one namespace, however large, and no other."""
    one, two = open_engine(namespace="one"), open_engine(namespace="two")
    one.set_many((f"k{i}", (b"1",), None, 1) for i in range(300))
    one.set("large", (LARGE,))
    two.set("k0", (b"2",))
    one.clear()
    assert (one.count(), list(one.keys()), one.get("k0")) == (0, [], MISSING)
    assert two.get("k0") == b"2"
    one.clear()


def test_expiry(open_engine):
    """An expired entry is not seen by get, keys, count, delete or compare_and_set."""
    hand = Hand()
    engine = open_engine(clock=hand.clock)
    engine.set("k", (b"1",), ttl=10)
    engine.set("for ever", (b"2",))
    engine.set("huge", (b"3",), ttl=1e300)
    hand.now += 9.999
    assert engine.get("k") == b"1"
    hand.now += 0.001
    assert engine.get("k") is MISSING
    assert (engine.count(), sorted(engine.keys())) == (2, ["for ever", "huge"])
    assert not engine.compare_and_set("k", b"1", (b"x",))
    assert not engine.delete("k")
    engine.set("k", (b"1",), ttl=10)
    engine.set("k", (b"1",))
    hand.now += 1e6
    assert engine.get("k") == b"1"


@pytest.mark.parametrize("value", [SMALL, LARGE], ids=["row", "file"])
def test_compare_and_set(open_engine, content, tmp_path, value):
    """It swaps only what is expected, compared by content, and can insert and delete."""
    engine = open_engine()
    assert not engine.compare_and_set("k", b"?", (value,))
    assert engine.compare_and_set("k", MISSING, (value,))
    assert not engine.compare_and_set("k", MISSING, (b"x",))
    assert not engine.compare_and_set("k", value[:-1] + b"!", (LARGE,))
    blob = engine.get("k")
    assert engine.compare_and_set("k", blob, (value, b"2"))
    assert content(engine.get("k")) == value + b"2"
    assert not engine.compare_and_set("k", blob, MISSING)
    assert engine.compare_and_set("k", bytearray(value + b"2"), MISSING)
    assert engine.get("k") is MISSING
    assert value_files(tmp_path) == []


def test_many(open_engine):
    """The many forms say how many entries they stored, found and removed."""
    engine = open_engine(max_bytes=10_000)
    entries = [(f"k{i}", (b"%d" % i,), None, 1) for i in range(300)]
    assert engine.set_many([*entries, ("too large", (LARGE,), None, 20_000)]) == 300
    assert engine.get_many(["k1", "none", "k299"]) == {"k1": b"1", "k299": b"299"}
    assert engine.delete_many(["k1", "none", *(f"k{i}" for i in range(100, 300))]) == 201
    assert engine.count() == 99


def test_keys_is_a_snapshot(open_engine):
    """Writing while the keys are walked through is allowed."""
    engine = open_engine()
    for name in "abc":
        engine.set(name, (b"",))
    seen = [key for key in engine.keys() if engine.delete(key) and engine.set(key + "2", (b"",))]
    assert seen == ["a", "b", "c"]


def test_threads_and_their_descriptors(open_engine):
    """Threads work at once, and their connections go with them.

    SQLite keeps a closed file's descriptor for the next connection while others hold locks on it, so
    there may be as many as threads ran at once, but not as many as ever ran.
    """
    engine = open_engine()
    engine.set("k", (LARGE,))
    engine.get("k")
    before = len(os.listdir("/proc/self/fd"))
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(20):
                engine.set(f"{number}-{i}", (SMALL,))
                assert engine.get(f"{number}-{i}") == SMALL
        except BaseException as error:
            failures.append(error)

    for _ in range(3):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert engine.count() == 8 * 20 + 1
    assert len(os.listdir("/proc/self/fd")) <= before + 8


def test_descriptors_of_maps_are_bounded(open_engine):
    """Holding more mapped values than the limit does not use up the descriptors."""
    engine = open_engine(options={"file_size": 10})
    held = []
    engine.set("k", (b"x" * 10,))
    before = len(os.listdir("/proc/self/fd"))
    for i in range(400):
        engine.set(f"k{i}", (b"%09d!" % i,))
        held.append(engine.get(f"k{i}"))
    assert len(os.listdir("/proc/self/fd")) - before <= 256
    assert [bytes(getattr(blob, "view", blob)) for blob in held] == [b"%09d!" % i for i in range(400)]


def test_closing(open_engine):
    """Close may be called twice, ends this engine only, and gives every descriptor back."""
    before = set(os.listdir("/proc/self/fd"))
    one, two = open_engine(), open_engine()
    one.set("k", (SMALL,))
    one.close()
    one.close()
    with pytest.raises(ClosedError):
        one.get("k")
    assert two.get("k") == SMALL
    two.close()
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_re_entering_is_refused(open_engine):
    """A write from within a write of the same thread fails at once instead of waiting for itself."""
    engine = open_engine()

    def entries():
        yield "a", (b"1",), None, 1

    class Chunk(bytes):
        pass

    store = engine._store
    link = store.link()
    with link.lock, pytest.raises(EngineError, match="from within"):
        store.write(link, "set", lambda connection: engine.set("k", (b"",)), 1.0)
    assert engine.set_many(entries()) == 1


@pytest.mark.parametrize(
    "settings",
    [{"path": None}, {"policy": "lfu"}, {"options": {"durabel": True}}, {"options": {"durable": 1}},
     {"options": {"file_size": 0}}],
)  # fmt: skip
def test_bad_settings(open_engine, settings):
    """Nonsense is refused when the store is opened."""
    with pytest.raises(ConfigurationError):
        open_engine(**settings)


def test_keys_are_text(open_engine):
    """A key of another type is an error that names the type."""
    with pytest.raises(TypeError, match="not int"):
        open_engine().get(1)


def test_durable(open_engine, content):
    """The durable option changes nothing but how long the disk is waited for."""
    engine = open_engine(options={"durable": True})
    engine.set("k", (LARGE,))
    assert content(engine.get("k")) == LARGE


def test_row_ids_never_change():
    """The row id of a key is part of the stored format."""
    assert table.digest(b"cachewright") == ROW_ID


ROW_ID = int.from_bytes(bytes.fromhex("840e20e56be485ef"), "little", signed=True)


def value_files(tmp_path):
    return list((tmp_path / "store").glob("values-v1/*/*"))

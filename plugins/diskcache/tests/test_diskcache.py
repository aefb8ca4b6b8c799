"""What is particular to the diskcache engines: the layout, eviction, locks, sharing, and their options."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import threading
import time
import warnings
from contextlib import closing
from pathlib import Path

import diskcache
import pytest
from cachewright_diskcache.disk import MAPPED, MOST_MAPS, BytesDisk
from cachewright_diskcache.engine import DiskcacheEngine, FanoutEngine

from cachewright.engine import EngineConfig, MappedBlob
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError, EngineError, EngineUnavailableError, UntrustedStoreError
from cachewright.testing.clock import ManualClock

both = pytest.mark.parametrize("kind", [DiskcacheEngine, FanoutEngine], ids=["cache", "fanout"])


def rows_of(store: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(store / "cache.db")) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (DiskcacheEngine, "durable", 1),
        (DiskcacheEngine, "trust_directory", "yes"),
        (DiskcacheEngine, "accept_cve", "yes"),
        (DiskcacheEngine, "size_limit", 1.5),
        (DiskcacheEngine, "size_limit", 1000),
        (DiskcacheEngine, "file_size", 0),
        (DiskcacheEngine, "eviction_policy", "lru"),
        (DiskcacheEngine, "shards", 8),
        (FanoutEngine, "shards", 0),
        (FanoutEngine, "shards", True),
    ],
)
def test_options_of_the_wrong_kind_are_refused(open_engine, kind, option, value):
    """An option that cannot be used is named, with its value and what would do."""
    with pytest.raises(ConfigurationError, match=option) as refused:
        open_engine(kind, options={option: value})
    assert refused.value.value == value


def test_a_path_is_needed():
    """Without a directory the engine says that it wants one."""
    with pytest.raises(ConfigurationError, match="path=None"):
        DiskcacheEngine(EngineConfig())


def test_a_policy_is_an_option_here(open_engine):
    """Diskcache's policies bound the disk, not entries, so they are refused where entries are meant."""
    with pytest.raises(ConfigurationError, match="eviction_policy"):
        open_engine(policy="lru")


@both
def test_a_key_that_is_no_text_is_refused(open_engine, kind):
    """Keys are text; anything else is a TypeError that says so, whatever the operation."""
    engine = open_engine(kind)
    operations = [
        lambda: engine.get(b"k"),
        lambda: engine.set(1, (b"v",)),
        lambda: engine.delete(None),
        lambda: engine.get_many([("k",)]),
        lambda: engine.compare_and_set(1, MISSING, (b"v",)),
    ]
    for operation in operations:
        with pytest.raises(TypeError, match="keys of type str"):
            operation()


def test_keys_of_every_length_are_told_apart_and_listed(open_engine):
    """Keys may be long, empty, or hold what no encoding has."""
    engine = open_engine()
    keys = ["", "a", "\ud800", "é" * 128, "f" * 65_536, "f" * 65_535 + "e", "\0", "a\0"]
    for number, key in enumerate(keys):
        assert engine.set(key, (b"%d" % number,))
    assert [engine.get(key) for key in keys] == [b"%d" % number for number in range(len(keys))]
    assert sorted(engine.keys()) == sorted(keys)
    assert engine.delete_many(keys) == len(keys)


def test_the_layout_is_that_of_a_cache(open_engine, tmp_path, content):
    """Diskcache itself reads what the engine stores, finds nothing wrong, and the other way round."""
    engine = open_engine()
    engine.set("k", (b"small",))
    engine.set("l", (b"large" * 20_000,))
    prefix = engine._prefix
    with diskcache.Cache(str(tmp_path / "store"), disk=BytesDisk) as plain:
        assert plain[prefix + b"k"] == b"small"
        assert content(plain[prefix + b"l"]) == b"large" * 20_000
        plain.set(prefix + b"m", b"theirs", tag=engine._tag)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            found = [Path(str(warning.message)).name for warning in plain.check()]
        assert set(found) <= {".gitignore", "CACHEDIR.TAG", "cachewright.lock"}
        assert len(plain) == 3
    assert engine.get("m") == b"theirs"
    assert sorted(engine.keys()) == ["k", "l", "m"]


def test_the_layout_is_that_of_a_fanout_cache(open_engine, tmp_path):
    """Every entry is where a FanoutCache of as many shards looks for it."""
    engine = open_engine(FanoutEngine, options={"shards": 3})
    keys = [f"{number:x}" for number in range(60)]
    engine.set_many((key, (key.encode(),), None, 1) for key in keys)
    assert sorted(path.name for path in (tmp_path / "store").glob("0*")) == ["000", "001", "002"]
    assert all(shard.run("test", len) > 5 for shard in engine._store.shards)
    with closing(diskcache.FanoutCache(str(tmp_path / "store"), shards=3, disk=BytesDisk)) as plain:
        assert [plain[engine._prefix + key.encode()] for key in keys] == [key.encode() for key in keys]
        plain.set(engine._prefix + b"theirs", b"t", tag=engine._tag)
    assert engine.get("theirs") == b"t"


@both
def test_files_are_private_whatever_the_umask(open_engine, tmp_path, kind):
    """Directories 0700, files 0600, even where the umask would let everybody in."""
    before = os.umask(0)
    try:
        engine = open_engine(kind)
        for number in range(20):
            engine.set(f"{number}", (b"v" * 50_000,))
    finally:
        os.umask(before)
    paths = list((tmp_path / "store").rglob("*"))
    assert {"cache.db", "cache.db-wal", "cache.db-shm"} <= {path.name for path in paths}
    assert sum(path.name.endswith(".val") for path in paths) == 20
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert engine.private


def test_files_that_others_could_read_are_closed_to_them(open_engine, tmp_path):
    """A directory that plain diskcache made, in which others can read, is put right as far as we own it."""
    (tmp_path / "store").mkdir(mode=0o755)
    with diskcache.Cache(str(tmp_path / "store")) as plain:
        plain["k"] = b"v"
    engine = open_engine()
    assert engine.set("k", (b"v",))
    assert stat.S_IMODE((tmp_path / "store" / "cache.db").stat().st_mode) == 0o600
    assert not engine.private


def test_a_database_that_others_can_write_is_refused(open_engine, tmp_path):
    """What others can write is not trusted, unless the user says so."""
    engine = open_engine()
    engine.set("k", (b"v",))
    engine.close()
    (tmp_path / "store" / "cache.db").chmod(0o666)
    with pytest.raises(UntrustedStoreError, match="other users can write it"):
        open_engine().get("k")
    assert open_engine(options={"trust_directory": True}).get("k") == b"v"


@both
def test_namespaces_are_cleared_by_their_index(open_engine, tmp_path, kind):
    """Clearing finds the entries of a namespace by tag, without looking at those of others."""
    engine, other = open_engine(kind), open_engine(kind, namespace="other")
    for number in range(600):
        engine.set(f"{number}", (b"v",))
    other.set("1", (b"o",))
    plan = "EXPLAIN QUERY PLAN SELECT rowid, filename FROM Cache WHERE tag = 'x' LIMIT 9"
    folder = tmp_path / "store" / ("000" if kind is FanoutEngine else "")
    assert "Cache_tag_rowid" in str(rows_of(folder, plan))
    engine.clear()
    assert engine.count() == 0
    assert list(other.keys()) == ["1"]


def test_expired_entries_make_room(open_engine, tmp_path):
    """What has expired is not counted, and removed in passing by the writes of anybody."""
    clock = ManualClock()
    engine, other = open_engine(clock=clock), open_engine(clock=clock, namespace="other")
    for number in range(30):
        engine.set(f"{number}", (b"v" * 40_000,), ttl=10)
    clock.advance(11)
    assert engine.count() == 0
    assert list(engine.keys()) == []
    for _ in range(3):
        other.set("k", (b"v",))
    assert rows_of(tmp_path / "store", "SELECT COUNT(*) FROM Cache") == [(1,)]
    assert list((tmp_path / "store").rglob("*.val")) == []


@pytest.mark.parametrize(
    ("policy", "survivors"),
    [
        ("least-recently-stored", {"8", "9"}),
        ("least-recently-used", {"0", "1"}),
        ("least-frequently-used", {"0", "1"}),
    ],
)
def test_the_size_limit_evicts_by_diskcaches_policies(open_engine, policy, survivors):
    """Once the disk holds too much, ten entries go per write, in the order that the policy's name says."""
    clock = ManualClock()
    engine = open_engine(clock=clock, options={"size_limit": 1 << 20, "eviction_policy": policy})
    for number in range(12):
        clock.advance(1)
        engine.set(f"{number}", (b"v" * 70_000,))
    for key in ("0", "1"):
        clock.advance(1)
        assert engine.get(key) is not MISSING
    assert engine.count() == 12
    while engine.count() >= 12:
        clock.advance(1)
        engine.set(f"{engine.count()}", (b"v" * 70_000,))
    found = set(engine.keys())
    assert len(found) < 8
    assert bool(found & survivors) or policy == "least-recently-stored"
    if policy == "least-recently-stored":
        assert not found & {"0", "1", "2"}


def test_without_a_policy_nothing_is_evicted(open_engine):
    """With eviction_policy='none' the limit is not looked at."""
    engine = open_engine(options={"size_limit": 1 << 16, "eviction_policy": "none"})
    for number in range(20):
        engine.set(f"{number}", (b"v" * 70_000,))
    assert engine.count() == 20


def test_large_values_are_mapped(open_engine, content):
    """A large value of a private directory is a view on its file, and outlives entry and engine."""
    engine = open_engine()
    engine.set("k", (b"a" * MAPPED, b"b"))
    blob = engine.get("k")
    assert isinstance(blob, MappedBlob)
    assert engine.get("k").identity == blob.identity
    engine.set("k", (b"c" * MAPPED,))
    assert engine.get("k").identity != blob.identity
    engine.clear()
    engine.close()
    assert content(blob) == b"a" * MAPPED + b"b"


def test_maps_are_limited(open_engine, content):
    """Beyond a number of maps that callers hold, values are read: descriptors would run out."""
    engine = open_engine()
    keys = [f"{number}" for number in range(MOST_MAPS + 3)]
    engine.set_many((key, (b"a" * MAPPED,), None, 1) for key in keys)
    blobs = [engine.get(key) for key in keys]
    assert [type(blob) for blob in blobs[-3:]] == [bytes] * 3
    blobs.clear()
    assert isinstance(engine.get(keys[-1]), MappedBlob)


def test_where_others_can_enter_nothing_is_mapped(open_engine, tmp_path):
    """A file that others could change after it was verified is copied instead."""
    (tmp_path / "store").mkdir(mode=0o755)
    engine = open_engine()
    engine.set("k", (b"a" * MAPPED,))
    assert engine.get("k") == b"a" * MAPPED


def test_a_value_that_is_gone_is_a_miss(open_engine, tmp_path):
    """A value file that somebody removed is a miss; the entry can be stored and deleted."""
    engine = open_engine()
    engine.set("k", (b"v" * 100_000,))
    for path in (tmp_path / "store").rglob("*.val"):
        path.unlink()
    assert engine.get("k") is MISSING
    assert engine.get_many(["k"]) == {}
    assert engine.compare_and_set("k", MISSING, (b"w" * 100_000,))
    assert engine.get("k") is not MISSING


@both
def test_no_value_file_is_left_behind(open_engine, tmp_path, kind):
    """Overwriting, failed swaps, deleting and clearing leave no file that no row refers to."""
    engine = open_engine(kind)
    large = b"v" * 50_000
    for number in range(10):
        engine.set("k", (large,))
        assert engine.compare_and_set("k", b"wrong", (large,)) is False
        assert engine.compare_and_set(f"{number}", MISSING, (large,)) is True
    assert len(list((tmp_path / "store").rglob("*.val"))) == 11
    assert engine.delete("k")
    engine.clear()
    assert list((tmp_path / "store").rglob("*.val")) == []


def test_a_batch_that_breaks_off_leaves_no_file(open_engine, tmp_path):
    """What was written for entries that never came to be stored is removed."""
    engine = open_engine()

    def entries():
        yield "a", (b"v" * 50_000,), None, 1
        yield "b", (b"v" * 50_000,), None, 1
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        engine.set_many(entries())
    assert list((tmp_path / "store").rglob("*.val")) == []
    assert engine.count() == 0


@both
def test_a_locked_store_is_an_error_not_a_dropped_write(open_engine, start, tmp_path, kind):
    """Where FanoutCache would drop a set after 10 ms, the engine waits as long as told, and then raises."""
    engine = open_engine(kind, timeout=0.3)
    engine.set("k", (b"v",))
    script = """
import sqlite3
connections = [sqlite3.connect(path, isolation_level=None) for path in Path(sys.argv[1]).rglob("cache.db")]
for connection in connections:
    connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
for connection in connections:
    connection.execute("ROLLBACK")
    connection.close()
print("let go", flush=True)
"""
    for number in range(30):
        engine.set(f"{number}", (b"v",))
    other = start(script, tmp_path / "store")
    assert other.stdout.readline() == "held\n"
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"kept the store locked; raise timeout="):
        engine.set("k", (b"w",))
    assert 0.25 < time.monotonic() - began < 5
    assert engine.get("k") == b"v"
    other.stdin.write("\n")
    other.stdin.flush()
    assert other.stdout.readline() == "let go\n"
    assert engine.set("k", (b"w",))


def test_a_thread_that_does_not_end_is_waited_for_as_long_as_told(open_engine):
    """A thread in the middle of an operation is waited for until the timeout, too."""
    engine = open_engine(timeout=0.05)
    engine.set("k", (b"v",))
    within, proceed = threading.Event(), threading.Event()

    def slow(_cache: object) -> None:
        within.set()
        proceed.wait(30)

    (shard,) = engine._store.shards
    thread = threading.Thread(target=lambda: shard.run("wait", slow))
    thread.start()
    within.wait(30)
    with pytest.raises(EngineError, match="other threads"):
        engine.set("k", (b"w",))
    proceed.set()
    thread.join(30)
    assert engine.set("k", (b"w",))


def test_using_the_engine_inside_its_own_operation(open_engine):
    """Code that interrupts an operation, such as a finalizer, is refused at once instead of deadlocking."""
    engine = open_engine()
    engine.set("k", (b"v",))

    def interrupted(_cache: object) -> None:
        for operation in (lambda: engine.get("k"), lambda: engine.set("k", (b"w",))):
            with pytest.raises(EngineError, match="in the middle of another operation"):
                operation()

    engine._store.shards[0].run("test", interrupted)
    assert engine.get("k") == b"v"


def test_an_interrupted_transaction_is_rolled_back(open_engine):
    """An exception between the statements of a write leaves the old entry, and the next write works."""
    engine = open_engine()
    engine.set("k", (b"v",))

    def interrupted(cache: object) -> None:
        with cache.transact():
            cache.drop(engine._prefix + b"k", 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine._store.shards[0].run("test", interrupted, writing=True)
    assert engine.get("k") == b"v"
    assert engine.set("k", (b"w",))


def test_a_replaced_directory_is_noticed(open_engine, tmp_path):
    """After the directory was removed, entries are gone and new ones are stored in a new directory."""
    engine = open_engine()
    for size in (10, 100_000):
        engine.set("k", (b"v" * size,))
        subprocess.run(["rm", "-r", str(tmp_path / "store")], check=True)
        engine._store.shards[0]._recheck = 0.0
        assert engine.get("k") is MISSING
        assert engine.set("k", (b"w" * size,))
        subprocess.run(["rm", "-r", str(tmp_path / "store")], check=True)
        assert engine.set("l", (b"x" * size,))
        assert list(engine.keys()) == ["l"]
        assert (tmp_path / "store" / "cache.db").exists()


def test_engines_of_one_directory_share_connections(open_engine, tmp_path):
    """Namespaces of one store use one connection, whatever its path is; closing one leaves the others."""
    (tmp_path / "link").symlink_to(tmp_path / "store")
    engines = [
        open_engine(path=path, namespace=str(number))
        for number, path in enumerate([tmp_path / "store", tmp_path / "link", tmp_path / "." / "store"])
    ]
    for engine in engines:
        engine.set("k", (engine._namespace.encode(),))
    assert len({id(engine._store) for engine in engines}) == 1
    engines[0].close()
    assert [engine.get("k") for engine in engines[1:]] == [b"1", b"2"]


def test_opening_an_unchanged_store_writes_nothing(open_engine, tmp_path):
    """Diskcache rewrites its settings at every opening, and so waits for writers; the engine does not."""
    engine = open_engine()
    engine.set("k", (b"v",))
    engine.close()
    with closing(sqlite3.connect(tmp_path / "store" / "cache.db", isolation_level=None)) as locker:
        locker.execute("BEGIN IMMEDIATE")
        assert open_engine(timeout=0.1).get("k") == b"v"


def test_a_changed_option_takes_effect(open_engine, content, tmp_path):
    """Opening with other options changes the settings of the store, and keeps the entries."""
    engine = open_engine()
    engine.set("k", (b"v" * 1000,))
    engine.close()
    again = open_engine(options={"file_size": 100, "durable": True})
    assert again.get("k") == b"v" * 1000
    assert again.set("k", (b"w" * 1000,))
    assert len(list((tmp_path / "store").rglob("*.val"))) == 1
    assert content(again.get("k")) == b"w" * 1000


def test_a_file_in_place_of_the_directory(open_engine, tmp_path):
    """Where the directory should be there is a file: it cannot be opened, and stays as it is."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EngineUnavailableError):
        open_engine(path=tmp_path / "file")

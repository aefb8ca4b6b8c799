"""CVE-2025-69872 cannot happen here: nothing is pickled or unpickled, whatever is in the directory."""

from __future__ import annotations

import pickle
import sqlite3
import time
import warnings
from contextlib import closing
from pathlib import Path

import diskcache
import pytest
from cachewright_diskcache.disk import BytesDisk, Chunks
from cachewright_diskcache.engine import DiskcacheEngine, FanoutEngine
from cachewright_diskcache.failure import RefusedRowError
from cachewright_diskcache.notice import UnfixedVulnerabilityWarning, notice
from cachewright_diskcache.plugin import cachewright_engines

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import StoreQuarantinedWarning

KEY = "ab" * 16


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def plant(store: Path, **fields: object) -> None:
    """Change the fields of every row, and of rows to come not at all."""
    with closing(sqlite3.connect(store / "cache.db", isolation_level=None)) as connection:
        for name, value in fields.items():
            connection.execute(f"UPDATE Cache SET {name} = ?", (value,))


def test_planted_pickles_are_never_loaded(open_engine, run, tmp_path):
    """In a process that forbids unpickling, hostile rows are misses and harm no operation."""
    engine = open_engine()
    engine.set(KEY, (b"v",))
    engine.set("cd" * 16, (b"v" * 100_000,))
    engine.close()
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    (file,) = (tmp_path / "store").glob("*/*/*.val")
    file.write_bytes(bomb)
    with closing(sqlite3.connect(tmp_path / "store" / "cache.db", isolation_level=None)) as connection:
        connection.execute("UPDATE Cache SET mode = 4, value = ? WHERE filename IS NULL", (bomb,))
        connection.execute("UPDATE Cache SET mode = 4 WHERE filename IS NOT NULL")
        tag = connection.execute("SELECT tag FROM Cache").fetchone()[0]
        columns = "INSERT INTO Cache (key, raw, tag, mode, value, store_time) VALUES (?, ?, ?, ?, ?, 0)"
        for number, mode in enumerate((0, 1, 2, 3, 4, 5, None, "4")):
            connection.execute(columns, (bomb + bytes([number]), 0, tag, mode, bomb))
    script = """
def watch(event, arguments):
    if event.startswith("pickle.") or event in ("exec", "os.system", "subprocess.Popen"):
        os.write(2, event.encode())
        os._exit(9)
warm = opened(path=Path(sys.argv[1] + "-warm"))  # what is imported late is imported before the watch begins
warm.set("k", (b"v" * 100_000,))
warm.clear()
warm.close()
engine = opened()
sys.addaudithook(watch)
keys = ["ab" * 16, "cd" * 16]
for key in keys:
    assert engine.get(key) is MISSING
assert engine.get_many(keys) == {}
assert sorted(engine.keys()) == keys
assert engine.compare_and_set(keys[0], b"v", (b"w",)) is False
assert engine.compare_and_set(keys[0], MISSING, (b"w",)) is True
assert content(engine.get(keys[0])) == b"w"
assert engine.set(keys[1], (b"x" * 100_000,)) and content(engine.get(keys[1])) == b"x" * 100_000
assert engine.delete(keys[1])
engine.clear()
assert engine.count() == 0
print("survived")
"""
    assert run(script, tmp_path / "store") == "survived"
    assert not (tmp_path / "exploded").exists()
    with diskcache.Cache(str(tmp_path / "store")) as plain:
        plain[KEY] = Bomb(tmp_path / "exploded")
        assert plain[KEY] is None  # the bomb works: it went off in plain diskcache
    assert (tmp_path / "exploded").exists()


def test_the_trap_catches_plain_diskcache(run, tmp_path):
    """The watching process of the test above would have noticed an unpickling."""
    with diskcache.Cache(str(tmp_path / "store")) as plain:
        plain["k"] = ("pickled",)
    script = """
import diskcache
def watch(event, arguments):
    if event.startswith("pickle."):
        print("caught", flush=True)
sys.addaudithook(watch)
import pickle
class Foreign: pass
plain = diskcache.Cache(sys.argv[1])
plain["k"] = Path("x")
plain["k"]
plain.close()
"""
    assert run(script, tmp_path / "store") == "caught"


@pytest.mark.parametrize("key", [1, 1.0, None, ("a",), bytearray(b"a"), Path("a")])
def test_keys_that_diskcache_would_pickle_are_refused(tmp_path, key):
    """The disk takes text and bytes as keys, and says so."""
    with pytest.raises(TypeError, match="str and bytes"):
        BytesDisk(str(tmp_path)).put(key)


@pytest.mark.parametrize("value", [1, None, "text", {"a": 1}, [b"a"], bytearray(b"a"), memoryview(b"a")])
def test_values_that_diskcache_would_pickle_are_refused(tmp_path, value):
    """The disk takes bytes and buffers to be joined as values, and says so."""
    with pytest.raises(TypeError, match="bytes"):
        BytesDisk(str(tmp_path)).store(value, False)
    with pytest.raises(TypeError, match="bytes"):
        BytesDisk(str(tmp_path)).store(b"a", True)


def test_bytes_come_back(tmp_path):
    """What the disk takes it gives back, from a row or from a file."""
    disk = BytesDisk(str(tmp_path), 10)
    for value in (b"", b"short", b"long" * 10, Chunks((b"a" * 9, b"b" * 9))):
        _, mode, name, field = disk.store(value, False)
        assert disk.fetch(mode, name, field, False) == b"".join(
            value if isinstance(value, Chunks) else [value]
        )
    assert disk.get(*disk.put("k")) == "k"
    assert disk.get(bytes(disk.put(b"k")[0]), 1) == b"k"


@pytest.mark.parametrize(
    "row",
    [
        (4, None, b"x"),
        (4, "aa/bb/" + "0" * 28 + ".val", None),
        (3, "aa/bb/" + "0" * 28 + ".val", None),
        (1, None, "text"),
        (1, None, 7),
        (1, None, None),
        (2, "../../etc/passwd", None),
        (2, "/etc/passwd", None),
        (2, "aa/bb/" + "0" * 28 + ".val\n", None),
        (2, b"aa/bb/", None),
        (2, None, None),
        (None, None, b"x"),
        ("1", None, b"x"),
    ],
)
def test_rows_that_hold_something_else_are_refused(tmp_path, row):
    """A row that diskcache would unpickle, decode or read from anywhere is not even looked at."""
    with pytest.raises(RefusedRowError):
        BytesDisk(str(tmp_path)).fetch(*row, False)


def test_a_row_that_names_a_foreign_file_reads_and_removes_nothing(open_engine, tmp_path):
    """A planted file name leads nowhere: not when it is read, overwritten, evicted or cleared."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    engine = open_engine()
    engine.set(KEY, (b"v",))
    for name in ("../victim", str(victim)):
        plant(tmp_path / "store", mode=2, value=None, filename=name)
        assert engine.get(KEY) is MISSING
        assert engine.set(KEY, (b"v",), ttl=1e-6)
        plant(tmp_path / "store", mode=2, value=None, filename=name)
        engine.set("other", (b"v",))
        plant(tmp_path / "store", mode=2, value=None, filename=name)
        engine.clear()
        engine.set(KEY, (b"v",))
    assert victim.read_bytes() == b"precious"


def test_a_symbolic_link_in_place_of_a_value_is_not_followed(open_engine, tmp_path):
    """A value file that leads elsewhere is an error or a miss, never the content of another file."""
    engine = open_engine()
    engine.set(KEY, (b"v" * 100_000,))
    (file,) = (tmp_path / "store").glob("*/*/*.val")
    (tmp_path / "secret").write_bytes(b"secret" * 1000)
    file.unlink()
    file.symlink_to(tmp_path / "secret")
    with pytest.raises(Exception, match="symbolic links"):
        engine.get(KEY)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("disk_evil", 1),
        ("sqlite_journal_mode", "wal; ATTACH 'x' AS y"),
        ("sqlite_temp_store_directory", "/tmp"),
        ("eviction_policy", "no-such-policy"),
        ("_disk", 7),
        ("size_limit", "1"),
        ("cull_limit", None),
    ],
)
def test_settings_that_are_not_diskcaches_are_damage(open_engine, tmp_path, name, value):
    """Settings in the database become names and statements in diskcache: foreign ones are not used."""
    engine = open_engine()
    engine.set(KEY, (b"v",))
    engine.close()
    with closing(sqlite3.connect(tmp_path / "store" / "cache.db", isolation_level=None)) as connection:
        connection.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (name, value))
    again = open_engine()
    with pytest.warns(StoreQuarantinedWarning, match="settings are not those of diskcache"):
        assert again.get(KEY) is MISSING
    assert again.set(KEY, (b"v",))


@pytest.fixture
def unnoticed(monkeypatch):
    """A process that has not been told yet."""
    monkeypatch.setattr(notice, "given", False)


@pytest.mark.usefixtures("unnoticed")
@pytest.mark.parametrize("engine", [DiskcacheEngine, FanoutEngine])
def test_the_hole_is_announced_once_per_process(tmp_path, engine):
    """Opening an engine warns of the unfixed hole and says how to go on; the second one is quiet."""
    with pytest.warns(UnfixedVulnerabilityWarning, match=r"CVE-2025-69872.*engine='sqlite'.*accept_cve"):
        first = engine(EngineConfig(path=tmp_path / "store"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = engine(EngineConfig(path=tmp_path / "other"))
    first.close()
    second.close()


@pytest.mark.usefixtures("unnoticed")
def test_who_accepts_the_hole_is_not_warned(open_engine):
    """With options={'accept_cve': True} there is no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_engine().set(KEY, (b"v",))
    assert not notice.given


def test_neither_engine_is_chosen_by_itself():
    """The selector never picks them: they have to be asked for by name."""
    assert [info.automatic for info in cachewright_engines()] == [False, False]
    assert all("CVE-2025-69872" in info.summary for info in cachewright_engines())


def test_deadlines_that_are_no_numbers_have_passed(open_engine, tmp_path):
    """A planted deadline of another type makes the entry a miss."""
    engine = open_engine()
    engine.set(KEY, (b"v",))
    plant(tmp_path / "store", expire_time=b"\xff" * 8)
    assert engine.get(KEY) is MISSING
    plant(tmp_path / "store", expire_time=time.time() + 100)
    assert engine.get(KEY) == b"v"

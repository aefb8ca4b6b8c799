"""What is particular to the lmdb engine: one file, many namespaces, bounds, sharing, and its options."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from pathlib import Path

import lmdb
import pytest
from cachewright_lmdb.engine import SWEEP_EVERY, LmdbEngine
from cachewright_lmdb.place import DATA, LOCK
from cachewright_lmdb.table import SPARE
from cachewright_lmdb.uses import MOST

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError, EngineError, EngineUnavailableError, UntrustedStoreError
from cachewright.testing.clock import ManualClock


def names_in(path: Path) -> list[str]:
    """Return the names of all records of a store that is closed, as hexadecimal text."""
    with lmdb.open(str(path / DATA), subdir=False, readonly=True) as environment, environment.begin() as txn:
        return [bytes(name).hex() for name in txn.cursor().iternext(values=False)]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("durable", 1),
        ("trust_directory", "yes"),
        ("map_size", 1.5),
        ("map_size", True),
        ("map_size", 1000),
        ("max_readers", 1),
        ("max_readers", None),
    ],
)
def test_options_of_the_wrong_kind_are_refused(open_engine, option, value):
    """An option that cannot be used is named, with its value and what would do."""
    with pytest.raises(ConfigurationError, match=option) as refused:
        open_engine(options={option: value})
    assert refused.value.value == value


def test_a_path_is_needed():
    """Without a directory the engine says that it wants one."""
    with pytest.raises(ConfigurationError, match="path=None"):
        LmdbEngine(EngineConfig())


def test_a_key_that_is_no_text_is_refused(open_engine):
    """Keys are text; anything else is a TypeError that says so, whatever the operation."""
    engine = open_engine()
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
    """LMDB bounds keys; a longer one is kept by its digest, and listed as it was given."""
    engine = open_engine()
    keys = [
        "",
        "a",
        "\ud800",
        "é" * 128,
        *("f" * length for length in (254, 255, 256, 511, 65_536)),
        "f" * 255 + "e",
    ]
    for number, key in enumerate(keys):
        assert engine.set(key, (b"%d" % number,))
    assert [bytes(engine.get(key)) for key in keys] == [b"%d" % number for number in range(len(keys))]
    assert sorted(engine.keys()) == sorted(keys)
    assert engine.delete_many(keys) == len(keys)


def test_more_entries_than_one_page_of_a_listing(open_engine):
    """Listing goes on where it stopped: every key once, however many there are."""
    engine, other = open_engine(), open_engine(namespace="other")
    keys = [f"{number:04x}" for number in range(1000)]
    assert engine.set_many((key, (b"v",), None, 1) for key in keys) == 1000
    other.set("0001", (b"o",))
    assert sorted(engine.keys()) == keys
    assert engine.count() == 1000
    engine.clear()
    assert engine.count() == 0
    assert list(other.keys()) == ["0001"]


def test_clear_leaves_no_record(open_engine, tmp_path):
    """After clearing, the file holds of that namespace nothing but its totals."""
    engine = open_engine(maxsize=100)
    for number in range(150):
        engine.set(f"{number:x}", (b"v" * number * 100,), ttl=9)
        engine.get("1")
    engine.clear()
    engine.close()
    assert [name[:2] for name in names_in(tmp_path / "store")] == [b"t".hex()]


def test_one_environment_serves_all_engines_of_a_directory(open_engine, tmp_path):
    """LMDB must not open a file twice in one process, so every way to write the path leads to one store."""
    (tmp_path / "link").symlink_to(tmp_path / "store")
    engines = [
        open_engine(path=path, namespace=str(number))
        for number, path in enumerate([tmp_path / "store", tmp_path / "link", tmp_path / "." / "store"])
    ]
    for engine in engines:
        engine.set("k", (engine._namespace.encode(),))
    assert len({id(engine._store) for engine in engines}) == 1
    engines[0].close()
    assert [bytes(engine.get("k")) for engine in engines[1:]] == [b"1", b"2"]


@pytest.mark.parametrize("option", ["durable", "trust_directory"])
def test_engines_of_one_directory_agree_on_its_settings(open_engine, option):
    """A setting of the file cannot be two things at once in one process; the second engine is refused."""
    open_engine()
    with pytest.raises(ConfigurationError, match=option):
        open_engine(options={option: True})


def test_files_are_private_whatever_the_umask(open_engine, tmp_path):
    """Directory 0700, files 0600, even where the umask would let everybody in."""
    before = os.umask(0)
    try:
        engine = open_engine()
        engine.set("k", (b"v",))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").iterdir()}
    assert DATA in modes
    assert LOCK in modes
    assert set(modes.values()) == {0o600}
    assert engine.private


def test_a_directory_that_others_can_enter_is_not_private(open_engine, tmp_path):
    """What others could have written must not be unpickled, so the engine tells."""
    (tmp_path / "store").mkdir(mode=0o755)
    engine = open_engine()
    engine.set("k", (b"v",))
    assert not engine.private


@pytest.mark.parametrize("name", [DATA, LOCK])
def test_a_symbolic_link_in_place_of_a_file_is_refused(open_engine, tmp_path, name):
    """A file that leads elsewhere is never opened, nor what it leads to written."""
    (tmp_path / "store").mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "store" / name).symlink_to(victim)
    engine = open_engine()
    with pytest.raises(UntrustedStoreError, match="symbolic link"):
        engine.set("k", (b"v",))
    assert victim.read_bytes() == b"precious"


def test_the_map_grows_in_every_process(open_engine, run, tmp_path):
    """A full map is doubled, by whoever fills it; processes with a smaller one follow."""
    engine = open_engine(options={"map_size": 1 << 18})
    engine.set("small", (b"s",))
    script = """
engine = opened(options={"map_size": 1 << 18})
assert content(engine.get("small")) == b"s"
for number in range(40):
    assert engine.set(f"{number:x}", (b"%d" % number * 100_000,))
assert engine._store.environment.info()["map_size"] > 4_000_000
print(engine.count())
"""
    assert run(script, tmp_path / "store") == "41"
    assert bytes(engine.get("27")) == b"39" * 100_000
    for number in range(40, 80):
        assert engine.set(f"{number:x}", (b"%d" % number * 100_000,))
    assert engine.count() == 81
    assert bytes(engine.get("small")) == b"s"


def test_the_map_grows_beside_readers(open_engine):
    """Threads go on reading while the map is moved under them, and only ever see whole values."""
    engine = open_engine(options={"map_size": 1 << 18})
    engine.set("k", (b"v" * 3000,))
    stop, wrong = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            if bytes(engine.get("k")) != b"v" * 3000:
                wrong.append("torn")

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        engine.set(f"{number:x}", (b"x" * 200_000,))
    stop.set()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert engine.count() == 61


def test_too_little_address_space_is_a_clear_error(run, tmp_path):
    """Where the map cannot grow, storing says so, and what is stored stays readable."""
    script = """
import resource
engine = opened(options={"map_size": 1 << 20})
engine.set("k", (b"v",))
held = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (held + (12 << 20), resource.RLIM_INFINITY))
try:
    for number in range(100):
        engine.set(f"{number:x}", (b"x" * 1_000_000,))
except EngineError as error:
    print("map_size" in str(error))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(content(engine.get("k")), engine.set("l", (b"w",)))
"""
    assert run(script, tmp_path / "store").split("\n") == ["True", "b'v' True"]


def test_reader_slots_that_are_used_up(open_engine, start, tmp_path):
    """Processes beyond the slots for readers get a clear error; slots of killed ones are used again."""
    engine = open_engine(options={"max_readers": 2})
    engine.set("k", (b"v",))
    assert bytes(engine.get("k")) == b"v"
    script = """
engine = opened(options={"max_readers": 2})
try:
    print(content(engine.get("k")), flush=True)
except EngineError as error:
    print(error, flush=True)
sys.stdin.readline()
"""
    other = start(script, tmp_path / "store")
    assert other.stdout.readline() == "b'v'\n"
    third = start(script, tmp_path / "store")
    assert "too many processes" in third.stdout.readline()
    other.kill()
    other.wait()
    engine._store.recheck = 0.0
    engine.get("k")
    fourth = start(script, tmp_path / "store")
    assert fourth.stdout.readline() == "b'v'\n"


def test_a_reader_killed_in_mid_read_does_not_keep_space_for_ever(open_engine, start, tmp_path):
    """The slot of a reader that was killed is freed, so that the pages it saw are used again."""
    engine = open_engine()
    engine.set("k", (bytes(100_000),))
    script = """
engine = opened()
engine.get("k")
txn = engine._store.environment.begin()
txn.get(b"x")
print("reading", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = start(script, tmp_path / "store")
    assert killed.stdout.readline() == "reading\n"
    killed.wait()
    for number in range(300):
        engine.set("k", (bytes([number % 256]) * 100_000,))
    half = (tmp_path / "store" / DATA).stat().st_size
    for number in range(300):
        engine.set("k", (bytes([number % 256]) * 100_000,))
    assert (tmp_path / "store" / DATA).stat().st_size < half + 1_000_000


def test_a_writer_that_does_not_end_is_waited_for_as_long_as_told(open_engine, start, tmp_path):
    """Another process in mid-write is waited for until the timeout; reading goes on meanwhile."""
    engine = open_engine(timeout=0.2)
    engine.set("k", (b"v",))
    script = """
engine = opened()
engine._store.turn.begin("hold", time.monotonic() + 10)
print("held", flush=True)
sys.stdin.readline()
engine._store.turn.end()
print("let go", flush=True)
sys.stdin.readline()
"""
    other = start(script, tmp_path / "store")
    assert other.stdout.readline() == "held\n"
    with pytest.raises(EngineError, match=r"other processes kept the store locked.*timeout="):
        engine.set("k", (b"w",))
    assert bytes(engine.get("k")) == b"v"
    other.stdin.write("\n")
    other.stdin.flush()
    assert other.stdout.readline() == "let go\n"
    assert engine.set("k", (b"w",))


def test_a_thread_that_does_not_end_is_waited_for_as_long_as_told(open_engine):
    """A thread in mid-write is waited for until the timeout, too."""
    engine = open_engine(timeout=0.05)
    engine.set("k", (b"v",))
    within, proceed = threading.Event(), threading.Event()

    def slow(_txn: object) -> None:
        within.set()
        proceed.wait(30)

    thread = threading.Thread(target=lambda: engine._store.write("wait", slow, 1.0))
    thread.start()
    within.wait(30)
    with pytest.raises(EngineError, match="other threads"):
        engine.set("k", (b"w",))
    assert bytes(engine.get("k")) == b"v"
    proceed.set()
    thread.join(30)
    assert engine.set("k", (b"w",))


def test_using_the_engine_inside_its_own_transaction(open_engine):
    """Code that interrupts a write, such as a finalizer, can read; its writes are refused at once."""
    engine = open_engine()
    engine.set("k", (b"old",))
    seen = []

    def interrupted(_txn: object) -> None:
        seen.append(bytes(engine.get("k")))
        with pytest.raises(EngineError, match="in the middle of another operation"):
            engine.set("k", (b"new",))

    engine._store.write("test", interrupted, 1.0)
    assert seen == [b"old"]
    assert engine.set("k", (b"new",))


def test_expired_entries_make_room(open_engine, tmp_path):
    """What has expired is removed in passing, without anybody asking for it."""
    clock = ManualClock()
    engine = open_engine(clock=clock)
    for number in range(40):
        engine.set(f"{number:x}", (b"v",), ttl=10)
    clock.advance(11)
    for _ in range(3 * SWEEP_EVERY):
        engine.set("ff", (b"v",))
    engine.close()
    assert sum(name.startswith(b"e".hex()) for name in names_in(tmp_path / "store")) == 1


def test_a_bound_holds_across_engines(open_engine):
    """The totals are in the file: two engines of one namespace keep one bound together."""
    one, other = open_engine(max_bytes=1000), open_engine(max_bytes=1000)
    for number in range(40):
        engine = (one, other)[number % 2]
        assert engine.set(f"{number:x}", (bytes(100),), size=100)
        assert one.count() == min(number + 1, 10)
    assert sorted(one.keys()) == [f"{number:x}" for number in range(30, 40)]


def test_a_lowered_bound_is_reached_in_steps(open_engine):
    """After a bound was lowered, a write evicts a limited number of entries more than it needs."""
    wide = open_engine(maxsize=2000)
    wide.set_many((f"{number:x}", (b"v",), None, 1) for number in range(1500))
    narrow = open_engine(maxsize=10)
    narrow.set("ffff", (b"v",))
    assert narrow.count() == 1500 - SPARE
    for _ in range(4):
        narrow.set("ffff", (b"v",))
    assert narrow.count() == 10


def test_uses_are_recorded_by_those_who_only_read(open_engine):
    """The order of use is kept in the file, by a reader that never writes as well."""
    writer, reader = open_engine(maxsize=100), open_engine(maxsize=100)
    keys = [f"{number:02x}" for number in range(100)]
    writer.set_many((key, (b"v",), None, 1) for key in keys)
    for key in keys[:MOST]:
        reader.get(key)
    writer.set_many((f"new{number}", (b"v",), None, 1) for number in range(100 - MOST))
    assert set(writer.get_many(keys)) == set(keys[:MOST])


def test_totals_that_were_damaged_are_counted_again(open_engine):
    """A wrong total evicts at most once what it should not have; after that the bound holds again."""
    engine = open_engine(maxsize=10)
    space = engine._space
    engine.set_many((f"{number:x}", (b"v",), None, 1) for number in range(10))

    def spoil(txn: lmdb.Transaction) -> None:
        totals = space.totals(txn)
        totals.entries = 10_000
        space.save(txn, totals)

    engine._store.write("spoil", spoil, 1.0)
    engine.set_many((f"b{number:x}", (b"v",), None, 1) for number in range(30))
    assert engine.count() == 10


def test_large_values_do_not_change_once_returned(open_engine):
    """A value is a copy: neither overwriting, clearing nor closing reaches what was returned."""
    engine = open_engine()
    engine.set("k", (b"a" * 5_000_000,))
    blob = engine.get("k")
    engine.set("k", (b"b" * 5_000_000,))
    engine.clear()
    engine.close()
    assert bytes(blob) == b"a" * 5_000_000


def test_a_replaced_directory_is_noticed(open_engine, tmp_path):
    """After the directory was removed, entries are gone and new ones are stored in a new directory."""
    engine = open_engine()
    engine.set("k", (b"v",))
    subprocess.run(["rm", "-r", str(tmp_path / "store")], check=True)
    engine._store.recheck = 0.0
    assert engine.get("k") is MISSING
    assert engine.set("k", (b"w",))
    subprocess.run(["rm", "-r", str(tmp_path / "store")], check=True)
    assert engine.set("l", (b"x",))
    assert list(engine.keys()) == ["l"]
    assert (tmp_path / "store" / DATA).exists()


def test_durable_stores_keep_every_promise_too(open_engine, tmp_path):
    """With durable=True every write waits for the disk; a later process finds everything."""
    engine = open_engine(options={"durable": True})
    for number in range(5):
        assert engine.compare_and_set(f"{number}", MISSING, (b"%d" % number,))
    engine.close()
    again = open_engine()
    assert sorted(again.keys()) == list("01234")


def test_a_file_descriptor_limit_is_an_engine_error(run, tmp_path):
    """Without a descriptor to spare the store cannot be opened, and says why; with one, it works."""
    script = """
import resource
engine = opened()
used = len(os.listdir("/proc/self/fd"))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (used - 1, hard))
try:
    engine.set("k", (b"v",))
except EngineUnavailableError as error:
    print("ulimit" in str(error))
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(engine.set("k", (b"v",)), content(engine.get("k")))
"""
    assert run(script, tmp_path / "store").split("\n") == ["True", "True b'v'"]


def test_a_file_in_place_of_the_directory(open_engine, tmp_path):
    """Where the directory should be there is a file: it cannot be opened, and stays as it is."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EngineUnavailableError):
        open_engine(path=tmp_path / "file")

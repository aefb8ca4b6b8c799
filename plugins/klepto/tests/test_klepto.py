"""What is special about the engines over klepto's archives: its formats, its silences, and their locks."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import random
import signal
import stat
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cachewright_klepto.plugin import KLEPTO, KLEPTO_DICT, KLEPTO_FILE, KLEPTO_HDF, KLEPTO_SQLTABLE
from klepto import archives

from cachewright import cached, open_cache
from cachewright.config import Settings
from cachewright.engine import EngineConfig, EngineInfo
from cachewright.entry import MISSING
from cachewright.errors import (
    ConfigurationError,
    EngineError,
    StoreQuarantinedWarning,
    UntrustedStoreError,
)
from cachewright.guard import PATIENCE

Open = Callable[..., Any]

KEY, OTHER = "ab" * 20, "cd" * 20
FILES = {KLEPTO_FILE: "entries.json", KLEPTO_SQLTABLE: "entries.db", KLEPTO_HDF: "entries.hdf5"}
WRITERS, WRITES = 4, 60


def space_of(path: Path, info: EngineInfo, number: int = 0) -> Path:
    """Return the folder of the only namespace."""
    kind = info.load().kind
    return sorted((path / "store" / kind).iterdir())[number]


# Formats ----------------------------------------------------------------------------------------------


def test_klepto_reads_what_was_stored(info: EngineInfo, opened: Open, tmp_path: Path) -> None:
    """Klepto's own archive, opened on the same files, finds the very bytes, as digits or as an array."""
    engine = opened(info)
    engine.set(KEY, [b"some ", b"bytes"])
    engine.set(OTHER, [b""])
    space = space_of(tmp_path, info)
    if info is KLEPTO_HDF:
        archive = archives.hdf_archive(
            str(space / "entries.hdf5"), cached=False, serialized=False, protocol="json"
        )
        assert archive[KEY].tobytes() == b"some bytes"
        assert archive[OTHER].size == 0
        return
    if info is KLEPTO_SQLTABLE:
        name = f"sqlite:///{space / 'entries.db'}?table=entries"
        archive = archives.sqltable_archive(name, cached=False, serialized=False)
    elif info is KLEPTO_FILE:
        archive = archives.file_archive(str(space / "entries.json"), cached=False, protocol="json")
    else:
        archive = archives.dir_archive(str(space / "entries"), cached=False, protocol="json")
    assert archive[KEY] == "736f6d65206279746573"
    assert archive[OTHER] == ""
    assert set(archive.keys()) == {KEY, OTHER}
    if info is KLEPTO_SQLTABLE:
        archive._conn.close()
        archive._engine.dispose()


def test_what_klepto_stores_is_read(opened: Open, tmp_path: Path) -> None:
    """An entry that klepto put into the directory archive itself is found."""
    engine = opened(KLEPTO)
    engine.set(OTHER, [b"x"])
    path = str(space_of(tmp_path, KLEPTO) / "entries")
    archives.dir_archive(path, cached=False, protocol="json")[KEY] = "736f6d65206279746573"
    assert engine.get(KEY) == b"some bytes"
    assert set(engine.keys()) == {KEY, OTHER}


def test_golden_stores_are_read(info: EngineInfo, opened: Open, tmp_path: Path) -> None:
    """A store that version 1 of the format wrote is read for ever."""
    opened(info).close()
    space = space_of(tmp_path, info)
    golden = Path(__file__).parent / "golden"
    if info is KLEPTO:
        folder = space / "entries" / f"K_{KEY}"
        folder.mkdir()
        (folder / "output.json").write_bytes((golden / "output.json").read_bytes())
    else:
        (space / FILES[info]).write_bytes((golden / FILES[info]).read_bytes())
    assert opened(info).get(KEY) == b"golden bytes \0\xff"


def test_namespaces_have_folders_of_their_own(info: EngineInfo, opened: Open, tmp_path: Path) -> None:
    """A namespace may hold any character, NUL and lone surrogates too, and none leads out of the store."""
    names = ("a", "a\0aside", "a\0", "../../x", "\ud800", "")
    for number, name in enumerate(names):
        opened(info, namespace=name).set(KEY, [b"%d" % number])
    for number, name in enumerate(names):
        assert opened(info, namespace=name).get(KEY) == b"%d" % number
    opened(info, namespace="a").clear()
    assert opened(info, namespace="a\0aside").get(KEY) == b"1"
    folders = list((tmp_path / "store" / info.load().kind).iterdir())
    assert len(folders) == len(names)
    assert all(set(folder.name) <= set("0123456789abcdef") for folder in folders)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


@pytest.mark.parametrize(
    "key", ["", "..", "../x", "a/b", "AB", "g", "0" * 201, "\0", "a\n", "K_ab", "\u0661"]
)
def test_only_digests_are_keys(info: EngineInfo, opened: Open, key: str) -> None:
    """Whatever is no short lower-case hexadecimal text is refused before it becomes part of a path."""
    engine = opened(info)
    for operation in (
        lambda: engine.get(key),
        lambda: engine.set(key, [b"x"]),
        lambda: engine.delete(key),
        lambda: engine.get_many([key]),
        lambda: engine.set_many([(key, [b"x"], None, 1)]),
        lambda: engine.compare_and_set(key, MISSING, [b"x"]),
    ):
        with pytest.raises(ConfigurationError, match="hexadecimal"):
            operation()
    with pytest.raises(TypeError, match="type str"):
        engine.get(17)
    assert list(engine.keys()) == []


def test_bad_settings_are_refused(info: EngineInfo, tmp_path: Path) -> None:
    """Bounds, unknown options, a trust that is no bool and a missing path are errors that name them."""
    for settings, word in (
        ({"maxsize": 3}, "maxsize"),
        ({"max_bytes": 3}, "max_bytes"),
        ({"options": {"compression": 9}}, "compression"),
        ({"options": {"trust_directory": 1}}, "trust_directory"),
        ({"path": None}, "path"),
    ):
        with pytest.raises(ConfigurationError, match=word):
            info.load()(EngineConfig(**{"path": tmp_path / "store", **settings}))
    for settings in ({"maxsize": 3}, {"max_bytes": 3}, {"policy": "lru"}, {"options": {"x": 1}}):
        with pytest.raises(ConfigurationError):
            KLEPTO_DICT.load()(EngineConfig(**settings))


# Files ------------------------------------------------------------------------------------------------


def test_only_the_owner_has_access(info: EngineInfo, opened: Open, tmp_path: Path) -> None:
    """Directories are 0700 and files 0600, whatever the umask, after every kind of write."""
    old = os.umask(0)
    try:
        engine = opened(info)
        assert engine.private is True
        for turn in range(3):
            engine.set(KEY, [b"%d" % turn])
        engine.delete(OTHER)
        engine.clear()
        engine.set(OTHER, [b"x"])
    finally:
        os.umask(old)
    for path in (tmp_path / "store").rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


def test_others_access_is_not_private(info: EngineInfo, tmp_path: Path) -> None:
    """A directory that others may enter is used without trust; HDF5 files there are not read at all."""
    (tmp_path / "store").mkdir(mode=0o755)
    (tmp_path / "store").chmod(0o755)
    config = EngineConfig(path=tmp_path / "store")
    if info is KLEPTO_HDF:
        with pytest.raises(UntrustedStoreError, match="0700"):
            info.load()(config)
    else:
        engine = info.load()(config)
        assert engine.private is False
        engine.close()


def test_links_in_the_store_are_refused(info: EngineInfo, opened: Open, tmp_path: Path) -> None:
    """A folder of the store that is a link to somewhere else is not used."""
    opened(info).close()
    space = space_of(tmp_path, info)
    elsewhere = tmp_path / "elsewhere"
    space.rename(elsewhere)
    space.symlink_to(elsewhere)
    with pytest.raises(UntrustedStoreError, match="link"):
        opened(info)


def test_a_link_in_place_of_an_entry_is_not_followed(opened: Open, tmp_path: Path) -> None:
    """Writing over a link that somebody has put among the entries leaves what it leads to alone."""
    engine = opened(KLEPTO)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "output.json").write_text('"aaaa"')
    entries = space_of(tmp_path, KLEPTO) / "entries"
    (entries / f"K_{KEY}").symlink_to(outside)
    engine.set(KEY, [b"x"])
    assert engine.get(KEY) == b"x"
    assert (outside / "output.json").read_text() == '"aaaa"'
    (entries / f"K_{OTHER}").symlink_to(outside)
    engine.delete(OTHER)
    engine.clear()
    assert (outside / "output.json").read_text() == '"aaaa"'


def test_foreign_files_are_left_alone(info: EngineInfo, opened: Open, tmp_path: Path) -> None:
    """What somebody else keeps beside the entries is neither listed nor read, and survives a clear."""
    engine = opened(info)
    engine.set(KEY, [b"x"])
    space = space_of(tmp_path, info)
    strange = [space / "notes.txt", space / "K_readme"]
    if info is KLEPTO:
        strange += [space / "entries" / "notes.txt", space / "entries" / "K_NOTES", space / "entries" / "K_"]
    for path in strange:
        path.write_text("mine")
    assert list(engine.keys()) == [KEY]
    engine.set(OTHER, [b"y"])
    engine.clear()
    assert list(engine.keys()) == []
    assert [path.read_text() for path in strange] == ["mine"] * len(strange)


def test_a_removed_store_is_made_anew(info: EngineInfo, opened: Open, tmp_path: Path) -> None:
    """After somebody has removed the whole store, reads miss and the next write begins a new one."""
    engine = opened(info)
    engine.set(KEY, [b"x"])
    (tmp_path / "store").rename(tmp_path / "gone")
    if info is not KLEPTO_SQLTABLE:  # which goes on with the open file until the next write
        assert engine.get(KEY) is MISSING
    engine.set(OTHER, [b"y"])
    assert engine.get(OTHER) == b"y"
    assert engine.get(KEY) is MISSING
    assert opened(info).get(OTHER) == b"y"


def test_a_file_in_use_by_another_program_is_no_damaged_file(opened: Open, tmp_path: Path) -> None:
    """While another program has the HDF5 file open for writing, reads and writes are errors, not losses."""
    engine = opened(KLEPTO_HDF)
    engine.set(KEY, [b"x"])
    with open(space_of(tmp_path, KLEPTO_HDF) / "entries.hdf5", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as the HDF5 library of a writer does
        for operation in (lambda: engine.get(KEY), lambda: list(engine.keys())):
            with pytest.raises(EngineError, match="lock"):
                operation()
    assert engine.get(KEY) == b"x"
    assert list(space_of(tmp_path, KLEPTO_HDF).glob("*.corrupt-*")) == []


@pytest.mark.parametrize("info", FILES, ids=lambda info: info.name)
def test_an_unreadable_file_is_set_aside(info: EngineInfo, opened: Open, tmp_path: Path) -> None:
    """A damaged file is a miss; the next write keeps it under another name, warns once, and goes on."""
    engine = opened(info)
    engine.set(KEY, [b"x"])
    engine.close()
    space = space_of(tmp_path, info)
    (space / FILES[info]).write_bytes(b"no such format" * 1000)
    engine = opened(info)
    try:
        assert engine.get(KEY) is MISSING
    except EngineError:
        assert info is KLEPTO_SQLTABLE  # SQLite tells a damaged file from an absent row
    with pytest.warns(StoreQuarantinedWarning, match="renamed") as warned:
        engine.set(OTHER, [b"y"])
    assert len(warned) == 1
    assert engine.get(OTHER) == b"y"
    (aside,) = space.glob("*.corrupt-*")
    assert aside.read_bytes().startswith(b"no such format")


def test_rewriting_does_not_let_the_file_grow(opened: Open, tmp_path: Path) -> None:
    """HDF5 keeps the room of what was overwritten; a new file is written before that is most of it."""
    engine = opened(KLEPTO_HDF)
    for turn in range(40):
        engine.set(KEY, [bytes([turn]) * 200_000])
    assert engine.get(KEY) == bytes([39]) * 200_000
    assert (space_of(tmp_path, KLEPTO_HDF) / "entries.hdf5").stat().st_size < 2_500_000


def test_a_file_changed_by_others_is_read_again(opened: Open, tmp_path: Path) -> None:
    """The contents in memory serve only as long as the file is the same, replaced or edited in place."""
    one, two = opened(KLEPTO_FILE), opened(KLEPTO_FILE)
    for turn in range(50):
        (one, two)[turn % 2].set(KEY, [b"%02d" % turn])
        assert one.get(KEY) == two.get(KEY) == b"%02d" % turn
    (space_of(tmp_path, KLEPTO_FILE) / "entries.json").write_text(json.dumps({KEY: "787878"}))
    assert one.get(KEY) == b"xxx"


# Failures ---------------------------------------------------------------------------------------------

FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import EngineError
from cachewright_klepto.plugin import cachewright_engines
(info,) = [info for info in cachewright_engines() if info.name == sys.argv[1]]
engine = info.load()(EngineConfig(path=Path(sys.argv[2])))
old = b"old" * 1000
engine.set("ab", [old])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
answers = []
for limit in (0, 100, 4_096, 20_000, 100_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    for key, blob in (("ab", bytes(300_000)), ("cd", bytes(300_000))):
        try:
            engine.set(key, [blob])
            answers.append("stored")
        except EngineError:
            answers.append("error")
        try:
            answers.append(engine.get("ab") == old and engine.get("cd") is MISSING)
        except EngineError:
            answers.append("unreadable")
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
engine.set("cd", [b"new"])
answers += [engine.get("cd") == b"new", engine.get("ab") == old]
print(json.dumps(answers))
"""


def test_a_full_disk_is_an_error_and_loses_nothing(
    info: EngineInfo, tmp_path: Path, run_script: Callable[..., str]
) -> None:
    """Klepto keeps quiet about a file it could not write; here it is an error, and the old value stays."""
    answers = json.loads(run_script(FULL_DISK, info.name, tmp_path / "store"))
    assert answers == ["error", True] * 10 + [True, True]


def test_a_damaged_store_gives_no_wrong_value(info: EngineInfo, tmp_path: Path) -> None:
    """With any one byte of the store changed, a decorated function still returns the right value."""
    settings = Settings(dir=tmp_path / "dir", data_dir=tmp_path / "keys")
    path = tmp_path / "store"
    with open_cache("n", engine=info.name, path=path, settings=settings) as cache:
        for number in range(5):
            cache.set(number, [number] * 50)
    files = [file for file in path.rglob("*") if file.is_file() and file.stat().st_size > 20]
    wanted = {"entries.json", "entries.db", "entries.hdf5", "output.json"}
    files = sorted(file for file in files if file.name in wanted)
    chance = random.Random(7)
    misses = 0
    for _ in range(40):
        file = chance.choice(files)
        good = file.read_bytes()
        damaged = bytearray(good)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        with open_cache("n", engine=info.name, path=path, settings=settings) as cache:
            for number in range(5):
                found = cache.get(number)
                assert found in (None, [number] * 50)
                misses += found is None
        file.write_bytes(good)
    assert misses > 0


def test_a_store_kept_locked_is_an_error(info: EngineInfo, opened: Open) -> None:
    """A write waits for another process no longer than the timeout, and then changes nothing."""
    engine, other = opened(info, timeout=0.05), opened(info)
    engine.set(KEY, [b"old"])
    with other._space.held("test"):
        for write in (lambda: engine.set(KEY, [b"new"]), lambda: engine.delete(KEY), engine.clear):
            with pytest.raises(EngineError, match="timeout="):
                write()
    assert engine.get(KEY) == b"old"


def test_an_operation_that_interrupts_another_is_an_error(info: EngineInfo, opened: Open) -> None:
    """A signal handler that writes in mid-write gets an error at once, and no deadlock."""
    engine = opened(info)
    engine.set(KEY, [b"old"])
    raised: list[EngineError] = []

    def handler(_number: int, _frame: object) -> None:
        try:
            engine.set(KEY, [b"interrupting"])
        except EngineError as error:
            raised.append(error)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with engine._space.held("test"):
            started = time.monotonic()
            signal.raise_signal(signal.SIGUSR1)
            waited = time.monotonic() - started
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "interrupted" in str(raised[0])
    assert waited < 0.5
    engine.set(KEY, [b"new"])
    assert engine.get(KEY) == b"new"


def write_many(name: str, path: Path, writer: int) -> None:
    from cachewright_klepto.plugin import cachewright_engines

    (info,) = [info for info in cachewright_engines() if info.name == name]
    engine = info.load()(EngineConfig(path=path, timeout=60.0))
    for number in range(WRITES):
        engine.set(f"{writer:02x}{number:04x}", [b"%d %d" % (writer, number)])
    engine.close()


@pytest.mark.slow
def test_processes_lose_no_write_of_each_other(info: EngineInfo, opened: Open, tmp_path: Path) -> None:
    """Four processes write sixty entries each at once, and all are there: klepto alone loses most."""
    context = multiprocessing.get_context("spawn")
    jobs = [(info.name, tmp_path / "store", writer) for writer in range(WRITERS)]
    processes = [context.Process(target=write_many, args=job) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * WRITERS
    engine = opened(info)
    assert engine.count() == WRITERS * WRITES
    for writer in range(WRITERS):
        for number in range(WRITES):
            assert engine.get(f"{writer:02x}{number:04x}") == b"%d %d" % (writer, number)


def test_a_fork_in_mid_write_waits_for_it(info: EngineInfo, opened: Open) -> None:
    """A process that forks while a thread writes finds the store free in the child, and whole."""
    engine = opened(info)
    engine.set(KEY, [b"old"])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            engine.set(OTHER, [b"x" * 1000])

    thread = threading.Thread(target=write)
    thread.start()
    waits: list[float] = []
    try:
        for _ in range(6):
            started = time.monotonic()
            child = os.fork()
            waits.append(time.monotonic() - started)
            if child == 0:
                code = 1
                try:
                    fine = engine.get(KEY) == b"old" and engine.set(KEY, [b"old"])
                    code = 0 if fine else 2
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join(60)
    assert engine.get(OTHER) == b"x" * 1000
    assert min(waits) < PATIENCE, "the fork gave up waiting for the writer"


# The rest of the program ------------------------------------------------------------------------------


def test_storing_leaves_the_programs_random_numbers_alone(info: EngineInfo, opened: Open) -> None:
    """Klepto names its temporary files at random, but not with the generator that the program seeded."""
    engine = opened(info)
    random.seed(3)
    expected = [random.random() for _ in range(3)]
    random.seed(3)
    numbers = []
    for turn in range(3):
        engine.set(KEY, [b"%d" % turn])
        numbers.append(random.random())
    assert numbers == expected


def test_the_standard_pickler_stays_as_it_was(run_script: Callable[..., str]) -> None:
    """Klepto imports dill, which extends the pickler of the whole process; that is undone."""
    script = """
import pickle
before = dict(pickle._Pickler.dispatch)
from cachewright_klepto import engine, file_engine, sqltable_engine, hdf_engine, dict_engine
print(pickle._Pickler.dispatch == before)
try:
    pickle.dumps(lambda: None)
except Exception:
    print("refused")
"""
    assert run_script(script).split() == ["True", "refused"]


def test_a_decorated_function_is_stored_and_found(info: EngineInfo, tmp_path: Path) -> None:
    """The engines serve decorated functions, across caches, with every kind of value."""
    settings = Settings(dir=tmp_path / "dir", data_dir=tmp_path / "keys")
    calls: list[Any] = []

    def work(value: Any) -> Any:
        calls.append(value)
        return {"value": value, "nan": float("nan"), "nested": (1, True, 1.0, None, b"\0" * 1000)}

    for _ in range(2):
        function = cached(engine=info.name, name="work", version="1", settings=settings)(work)
        for value in (None, "text", 3):
            found = function(value)
            assert found["value"] == value
            assert repr(found["nested"]) == repr((1, True, 1.0, None, b"\0" * 1000))
        function.cache.close()
    assert calls == [None, "text", 3]


def test_objects_are_kept_as_they_are() -> None:
    """The engine over klepto's dict archive gives back the very object, and reads like a dict."""
    engine = KLEPTO_DICT.load()(EngineConfig())
    value = object()
    engine.set((1, "a"), value)
    reader = engine.reader()
    assert reader is not None
    assert reader[(1, "a")] is value
    assert type(reader).__name__ == "dict_archive"
    engine.close()
    assert engine.get((1, "a")) is MISSING
    assert engine.set("b", 1) is False

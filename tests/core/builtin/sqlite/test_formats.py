"""Stores of every format ever released can be read for ever, or are left alone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from cachewright.builtin.sqlite import schema
from cachewright.builtin.sqlite.engine import SqliteEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING, Clock

GOLDEN = Path(__file__).with_name("golden")
WRITTEN = 1_700_000_000.0
CONTENTS = {
    "default": {
        "00" * 20: b"small",
        "01" * 20: b"",
        "02" * 20: bytes(range(256)) * 3,
        "fe" * 20: b"a file of its own;" * 100,
        "ff" * 20: b"one row, many pages" * 300,
    },
    "other": {"00" * 20: b"the same key elsewhere", "not hexadecimal \ud800": b"any text is a key"},
}
LIVES_A_DAY = "a1" * 20


def make(path: Path) -> None:
    """Write the store that the golden archives hold, as this version does.

    They were packed with ``tar czf`` from the directory; ``format-1-wal`` while the store was still open.
    """
    clock = Clock(wall=lambda: WRITTEN)
    for namespace, entries in CONTENTS.items():
        size = 6000 if namespace == "other" else 1500
        engine = SqliteEngine(
            EngineConfig(path=path, namespace=namespace, clock=clock, options={"file_size": size})
        )
        for key, value in entries.items():
            engine.set(key, (value,), size=len(value))
        engine.set(LIVES_A_DAY, (b"until tomorrow",), ttl=86_400)


@pytest.fixture(params=sorted(path.name.removesuffix(".tar.gz") for path in GOLDEN.glob("*.tar.gz")))
def golden(request, tmp_path):
    """A store as an earlier version left it."""
    with tarfile.open(GOLDEN / f"{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "store").chmod(0o700)
    return tmp_path / "store"


def opened(path, namespace="default", at=WRITTEN):
    return SqliteEngine(EngineConfig(path=path, namespace=namespace, clock=Clock(wall=lambda: at)))


def content(blob):
    return blob if blob is MISSING else bytes(getattr(blob, "view", blob))


def check(path):
    for namespace, entries in CONTENTS.items():
        engine = opened(path, namespace)
        assert {key: content(engine.get(key)) for key in entries} == entries
        assert sorted(engine.keys()) == sorted([*entries, LIVES_A_DAY])
        assert engine.count() == len(entries) + 1
        assert content(engine.get(LIVES_A_DAY)) == b"until tomorrow"
        engine.close()
        assert opened(path, namespace, at=WRITTEN + 86_400).get(LIVES_A_DAY) is MISSING


def test_there_is_a_golden_store_of_the_current_format():
    """A new format cannot be released without one."""
    assert (GOLDEN / f"format-{schema.FORMAT}.tar.gz").exists()


def test_golden_store(golden):
    """Every entry is found as it was stored, by reading and after writing, and nothing is set aside."""
    files = sorted(golden.glob("values-v1/*/*"))
    assert len(files) == 2
    check(golden)
    engine = opened(golden)
    assert engine.set("fe" * 20, (b"new",))
    assert engine.compare_and_set("00" * 20, b"small", (b"N" * 60_000,))
    assert engine.delete("01" * 20)
    assert engine.count() == len(CONTENTS["default"])
    assert content(engine.get("00" * 20)) == b"N" * 60_000
    engine.close()
    assert list(golden.glob("*.corrupt-*")) == []


def test_what_this_version_writes_is_what_the_archives_hold(tmp_path):
    """The maker of the archives still makes such stores."""
    make(tmp_path / "store")
    check(tmp_path / "store")


def test_two_formats_side_by_side(tmp_path):
    """A store of another format in the same directory is neither read, changed, swept nor set aside."""
    make(tmp_path / "store")
    later = tmp_path / "store" / "index-v2-0123abcd.sqlite3"
    with closing(sqlite3.connect(later)) as connection:
        connection.execute("PRAGMA user_version = 2")
        connection.execute("CREATE TABLE entries (theirs)")
        connection.execute("INSERT INTO entries VALUES (1)")
        connection.commit()
    strangers = {
        later: later.read_bytes(),
        tmp_path / "store" / "draft-v2-00000000-1-00000000.sqlite3": b"draft",
        tmp_path / "store" / "index-v2.lock": b"",
    }
    folder = tmp_path / "store" / "values-v2" / "ab"
    folder.mkdir(parents=True)
    strangers[folder / f"{'ab' * 8}-{'1' * 16}-00000000-1"] = b"value"
    for path, data in strangers.items():
        path.write_bytes(data)
        os.utime(path, (1, 1))
    check(tmp_path / "store")
    engine = opened(tmp_path / "store")
    engine.clear()
    engine.close()
    mine = next((tmp_path / "store").glob("index-v1-*"))
    mine.write_bytes(b"damaged" * 1000)
    with pytest.warns(UserWarning, match="made anew"):
        opened(tmp_path / "store").close()
    assert {path: path.read_bytes() for path in strangers} == strangers


def test_a_moved_directory_keeps_working_while_its_copy_is_used(tmp_path):
    """A store can be copied and renamed: each of the two goes its own way."""
    make(tmp_path / "store")
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    (tmp_path / "store").rename(tmp_path / "moved")
    moved, copy = opened(tmp_path / "moved"), opened(tmp_path / "copy")
    assert moved.set("fe" * 20, (b"moved" * 1000,))
    assert content(copy.get("fe" * 20)) == CONTENTS["default"]["fe" * 20]
    assert not (tmp_path / "store").exists()
    moved.close()
    copy.close()
    check(tmp_path / "copy")


READ_ONLY = """
import os, sys
sys.path[:] = eval(sys.argv[3])
from pathlib import Path
from cachewright.builtin.sqlite.engine import SqliteEngine
from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import EngineError
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
engine = SqliteEngine(EngineConfig(path=Path(sys.argv[1]), maxsize=10))
for _ in range(100):  # uses, which a store that can be written would record
    assert engine.get("00" * 20) == b"small"
assert bytes(getattr(engine.get("fe" * 20), "view", b"")) == b"a file of its own;" * 100
assert engine.get("ab") is MISSING
for value in (b"x", b"x" * 60_000):
    try:
        engine.set("ab", (value,))
    except EngineError as error:
        print(error.hint)
engine.close()
"""


@pytest.mark.parametrize("mode", [0o500, 0o700], ids=["directory", "index"])
def test_read_only_directory(tmp_path, mode):
    """A store that its reader may not change can be read; writing says why it cannot be done."""
    place = Path("/tmp") / f"cachewright-{os.getpid()}" if os.geteuid() == 0 else tmp_path / "place"
    place.mkdir(mode=0o755)
    try:
        make(place / "store")
        index = next((place / "store").glob("index-v1-*"))
        before = index.read_bytes()
        for path in [place / "store", *(place / "store").rglob("*")]:
            if os.geteuid() == 0:
                os.chown(path, 65534, 65534)
            if path.is_file() and (path == index or mode == 0o500):
                path.chmod(0o400)
        (place / "store").chmod(mode)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", READ_ONLY, str(place / "store"), "-", repr(sys.path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len([line for line in done.stdout.splitlines() if "writable" in line]) == 2
        assert index.read_bytes() == before
    finally:
        (place / "store").chmod(0o700)
        shutil.rmtree(place)

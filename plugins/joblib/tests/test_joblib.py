"""The joblib engine: opaque files in joblib's layout, whole or absent, private, mapped where large."""

from __future__ import annotations

import errno
import os
import pickle
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from cachewright_joblib import plugin
from cachewright_joblib.engine import JoblibEngine
from cachewright_joblib.folder import WRITING
from cachewright_joblib.mapping import MAPPED_FROM, MOST_MAPS

from cachewright import cached, open_cache
from cachewright.engine import MappedBlob
from cachewright.entry import MISSING
from cachewright.errors import ClosedError, ConfigurationError, EngineError

KEYS = [f"{number:040x}" for number in range(100)]
LARGE = bytes(range(256)) * 1000

Opener = Callable[..., JoblibEngine]


def files(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file()]


def entry(store: Path) -> Path:
    (found,) = store.glob("v1-*/*/output.pkl")
    return found


def content(stored: Any) -> bytes:
    return bytes(stored.view if isinstance(stored, MappedBlob) else stored)


@contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def test_the_record_tells_what_the_engine_is() -> None:
    """It shares bytes between the processes of a host, and loads as an engine."""
    (info,) = plugin.cachewright_engines()
    ability = info.capabilities
    assert (info.name, ability.holds, ability.scope, ability.persistent) == ("joblib", "bytes", "host", True)
    assert info.load() is JoblibEngine


def test_an_entry_is_one_private_file(opened: Opener, store: Path) -> None:
    """The file holds the chunks and nothing else, and nobody else may see it or its folders."""
    opened().set(KEYS[1], [b"first ", b"second"])
    path = entry(store)
    assert path.parent.name == KEYS[1]
    assert path.read_bytes() == b"first second"
    assert sorted(file.name for file in files(store)) == [".gitignore", "CACHEDIR.TAG", "output.pkl"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (store, *(path for path in store.rglob("*") if path.is_dir())):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_careless_umask_changes_nothing(opened: Opener, store: Path) -> None:
    """Neither one that shows everything nor one that hides it from its owner."""
    for number, mask in enumerate((0o000, 0o777)):
        before = os.umask(mask)
        try:
            opened(namespace=f"n{number}").set(KEYS[1], [b"value"])
        finally:
            os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in store.glob("v1-*/*/output.pkl")}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.glob("v1-*")} == {0o700}


def test_nothing_is_ever_unpickled(run_script: Callable[..., str], store: Path) -> None:
    """A pickle that would run code is stored, read, listed and evicted like any other bytes."""
    script = (
        "import pickle, sys\nfrom pathlib import Path\n"
        "from cachewright.engine import EngineConfig\nfrom cachewright_joblib.engine import JoblibEngine\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, _: seen.append(event) if event.startswith('pickle') else None)\n"
        "hostile = b'\\x80\\x04cposix\\nsystem\\n(S\"false\"\\ntR.'\n"
        "engine = JoblibEngine(EngineConfig(path=Path(sys.argv[1]), maxsize=2))\n"
        "for number in range(5):\n"
        "    engine.set(f'{number:032x}', [hostile])\n"
        "assert bytes(engine.get(f'{4:032x}')) == hostile and engine.count() == 2\n"
        "try:\n    engine._folder.load_item(('a', 'b'))\n"
        "except TypeError:\n    print(seen)\n"
        "pickle.loads(pickle.dumps(pickle.Pickler))\nassert seen\n"
    )
    assert run_script(script, store) == "[]"


def test_joblibs_own_tools_find_the_entries(opened: Opener, store: Path) -> None:
    """``Memory.reduce_size`` on the store counts and removes entries, of all namespaces together."""
    one, other = opened(), opened(namespace="other")
    for key in KEYS[:3]:
        one.set(key, [b"x" * 100])
        other.set(key, [b"x" * 100])
    memory = joblib.Memory(store, verbose=0)
    memory.reduce_size(items_limit=4)
    assert one.count() + other.count() == 4
    memory.reduce_size(bytes_limit=200)
    assert one.count() + other.count() == 2
    memory.reduce_size(age_limit=timedelta(days=1))
    assert one.count() + other.count() == 2
    memory.clear(warn=False)
    assert one.get(KEYS[0]) is MISSING
    assert one.set(KEYS[0], [b"again"])
    assert content(one.get(KEYS[0])) == b"again"


def test_clear_spares_what_is_not_ours(opened: Opener, store: Path) -> None:
    """Files and folders that somebody put beside the entries, or into their folder, stay."""
    engine = opened()
    engine.set(KEYS[1], [b"value"])
    ours = entry(store).parent
    strangers = [
        store / "notes.txt",
        ours.parent / "notes.txt",
        ours.parent / "mine" / "a",
        ours / "notes.txt",
    ]
    strangers[2].parent.mkdir()
    for path in strangers:
        path.write_text("kept")
    engine.clear()
    assert engine.count() == 0
    assert [path.read_text() for path in strangers] == ["kept"] * 4
    assert engine.set(KEYS[1], [b"value"])
    assert engine.count() == 1


def test_a_large_value_is_mapped_once(opened: Opener) -> None:
    """Two reads share one map, whose identity lasts until the entry is written again; old views stay."""
    engine = opened()
    engine.set(KEYS[1], [LARGE])
    one, two = engine.get(KEYS[1]), engine.get(KEYS[1])
    assert isinstance(one, MappedBlob)
    assert isinstance(two, MappedBlob)
    assert one.identity == two.identity
    assert one.view.obj is two.view.obj
    assert one.view.readonly
    opened().set(KEYS[1], [LARGE[::-1]])
    new = engine.get(KEYS[1])
    assert isinstance(new, MappedBlob)
    assert new.identity != one.identity
    assert (content(one), content(new)) == (LARGE, LARGE[::-1])
    engine.clear()
    assert engine.get(KEYS[1]) is MISSING
    assert content(one) == LARGE


def test_a_small_value_is_read(opened: Opener) -> None:
    """Below the limit a value comes as bytes, from it on as a map."""
    engine = opened()
    for size, kind in ((0, bytes), (MAPPED_FROM - 1, bytes), (MAPPED_FROM, MappedBlob)):
        engine.set(KEYS[1], [bytes(size)])
        assert type(engine.get(KEYS[1])) is kind


def test_maps_are_not_without_number(opened: Opener) -> None:
    """Beyond the number of maps that may be alive values are read, so that descriptors last."""
    engine = opened()
    for number in range(MOST_MAPS + 3):
        engine.set(f"{number:040x}", [bytes(MAPPED_FROM)])
    held = [engine.get(f"{number:040x}") for number in range(MOST_MAPS + 3)]
    kinds = [type(one) for one in held]
    assert kinds == [MappedBlob] * MOST_MAPS + [bytes] * 3
    del held
    assert isinstance(engine.get(KEYS[5]), MappedBlob)


def test_where_others_can_look_values_are_copied(opened: Opener, store: Path) -> None:
    """A directory with access for others is not private, and no map of it is handed out."""
    assert opened().private is True
    store.chmod(0o755)
    engine = opened()
    engine.set(KEYS[1], [LARGE])
    assert engine.private is False
    assert engine.get(KEYS[1]) == LARGE


def test_a_link_is_no_entry(opened: Opener, store: Path, tmp_path: Path) -> None:
    """A symbolic link, a folder or a pipe in an entry's place is a miss, and gives way to a new entry."""
    engine = opened()
    engine.set(KEYS[1], [b"value"])
    path = entry(store)
    (tmp_path / "secret").write_text("secret")
    for put in (lambda: path.symlink_to(tmp_path / "secret"), lambda: os.mkfifo(path)):
        path.unlink()
        put()
        assert engine.get(KEYS[1]) is MISSING
        assert engine.set(KEYS[1], [b"value"])
        assert content(engine.get(KEYS[1])) == b"value"
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_store_that_was_removed_is_made_again(opened: Opener, store: Path) -> None:
    """After ``rm -r`` entries are misses, and the next store makes a directory as private as the first."""
    engine = opened()
    engine.set(KEYS[1], [LARGE])
    engine.get(KEYS[1])
    shutil.rmtree(store)
    assert engine.get(KEYS[1]) is MISSING
    assert list(engine.keys()) == []
    assert engine.delete(KEYS[1]) is False
    engine.clear()
    assert engine.set(KEYS[1], [b"value"])
    assert content(engine.get(KEYS[1])) == b"value"
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert (store / "CACHEDIR.TAG").is_file()


def test_a_full_disk_costs_nothing_that_is_stored(opened: Opener, store: Path) -> None:
    """A write that finds no room is one clear error; the older value stays, no part of the new one does."""
    engine = opened()
    engine.set(KEYS[1], [LARGE])
    with (
        limited(resource.RLIMIT_FSIZE, 100_000),
        pytest.raises(EngineError, match="free some space") as failed,
    ):
        engine.set(KEYS[1], [LARGE * 2])
    assert isinstance(failed.value.__cause__, OSError)
    assert failed.value.__cause__.errno == errno.EFBIG
    assert content(engine.get(KEYS[1])) == LARGE
    assert list((store / WRITING).iterdir()) == []


def test_no_descriptors_left_is_one_error(opened: Opener) -> None:
    """It names the limit; as soon as there are some, everything works again."""
    engine = opened()
    engine.set(KEYS[1], [b"value"])
    with limited(resource.RLIMIT_NOFILE, 3):
        for operation in (lambda: engine.get(KEYS[1]), lambda: engine.set(KEYS[2], [b"x"]), engine.keys):
            with pytest.raises(EngineError, match="ulimit"):
                operation()
    assert content(engine.get(KEYS[1])) == b"value"


def test_leftovers_of_the_dead_are_swept(opened: Opener, store: Path) -> None:
    """Half-written files of processes that are gone go when the store is opened; others stay."""
    opened().set(KEYS[1], [b"value"])
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    names = {
        f"{KEYS[1]}.{'0' * 32}-{int(dead.stdout)}-1": False,
        f"{KEYS[1]}.{'0' * 32}-{os.getpid()}-1": True,
        "notes.txt": True,
    }
    for name in names:
        (store / WRITING / name).write_text("half")
    opened()
    assert {name: (store / WRITING / name).exists() for name in names} == names


@pytest.mark.slow
def test_killed_writers_leave_whole_entries(opened: Opener, store: Path) -> None:
    """Writers killed at any moment leave entries whole and few files, which the next opening removes."""
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from cachewright.engine import EngineConfig\nfrom cachewright_joblib.engine import JoblibEngine\n"
        "engine = JoblibEngine(EngineConfig(path=Path(sys.argv[1])))\nprint('ready', flush=True)\n"
        "number = 0\n"
        "while True:\n"
        "    number += 1\n"
        "    engine.set(f'{number % 8:040x}', [bytes([number % 256]) * 300_000])\n"
        "    if number % 5 == 0:\n        engine.delete(f'{number % 3:040x}')\n"
        "    if number % 50 == 0:\n        engine.clear()\n"
    )
    for _ in range(5):
        writers = [
            subprocess.Popen([sys.executable, "-c", script, str(store)], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline()
        threading.Event().wait(random.random() / 10)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        assert len(list((store / WRITING).iterdir())) <= 2
        engine = opened()
        assert list((store / WRITING).iterdir()) == []
        for key in engine.keys():
            value = content(engine.get(key))
            assert value == value[:1] * 300_000


def test_a_bound_holds_among_engines(opened: Opener) -> None:
    """Engines that write beside each other end within the bound, whoever evicts whose entries."""

    def fill(engine: JoblibEngine, first: int) -> None:
        for number in range(first, first + 20):
            engine.set(KEYS[number], [b"x" * 100], size=100)

    engines = [opened(maxsize=7, max_bytes=650) for _ in range(4)]
    threads = [threading.Thread(target=fill, args=(engine, 20 * n)) for n, engine in enumerate(engines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= engines[0].count() <= 6


def test_wrong_settings_are_refused(opened: Opener, store: Path) -> None:
    """A policy, an unknown option, and compression, which the core does; nothing is made then."""
    for settings, message in (
        ({"policy": "lru"}, "policy"),
        ({"options": {"mmap_mode": "r"}}, "mmap_mode"),
        ({"options": {"compress": 3}}, "compress= of the cache"),
        ({"options": {"trust_directory": 1}}, "True or False"),
        ({"path": None}, "directory"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            opened(**settings)
    assert not store.exists()


@pytest.mark.parametrize("key", ["", "a", "../" + "0" * 40, "A" * 32, "0" * 39 + "\n", "0" * 201, 7])
def test_a_key_that_is_none_is_refused(opened: Opener, key: Any) -> None:
    """What is no digest never becomes a path."""
    engine = opened()
    for operation in (lambda: engine.get(key), lambda: engine.set(key, [b"x"]), lambda: engine.delete(key)):
        with pytest.raises((ValueError, TypeError)):
            operation()


def test_after_close_it_says_so(opened: Opener) -> None:
    """Every operation raises ClosedError."""
    engine = opened()
    engine.close()
    for operation in (
        lambda: engine.get(KEYS[1]),
        lambda: engine.set(KEYS[1], []),
        engine.clear,
        engine.keys,
    ):
        with pytest.raises(ClosedError):
            operation()


def test_damage_is_a_miss(store: Path) -> None:
    """A flipped bit, a cut, an empty or a foreign file: never another value, never an error."""
    generator = random.Random(1)
    value = {"a": [1, 2.5, "text"], "b": np.arange(40_000.0)}
    with open_cache("damage", engine="joblib", path=store) as cache:
        for turn in range(60):
            cache.set("key", value)
            path = entry(store)
            whole = bytearray(path.read_bytes())
            if turn % 3 == 0:
                damaged = whole[: generator.randrange(len(whole))]
            elif turn % 3 == 1:
                damaged = bytearray(pickle.dumps("foreign"))
            else:
                at = generator.randrange(len(whole)) if turn % 2 else generator.randrange(300)
                whole[at] ^= 1 << generator.randrange(8)
                damaged = whole
            path.unlink()
            path.write_bytes(damaged)
            assert cache.get("key", MISSING) is MISSING


def test_a_swapped_entry_is_a_miss(store: Path) -> None:
    """An entry moved to another key, or into another namespace, is refused."""
    with (
        open_cache("one", engine="joblib", path=store) as one,
        open_cache("two", engine="joblib", path=store) as two,
    ):
        one.set("a", 1)
        source = entry(store)
        one.set("b", 2)
        two.set("a", 3)
        for path in store.glob("v1-*/*/output.pkl"):
            if path != source:
                shutil.copy(source, path)
        assert [one.get("a"), one.get("b", MISSING), two.get("a", MISSING)] == [1, MISSING, MISSING]


def test_an_array_comes_back_uncopied(store: Path) -> None:
    """A hit on a large array is a read-only view on its file."""
    calls: list[int] = []

    @cached(engine="joblib", path=store, name="numbers")
    def numbers(count: int) -> Any:
        calls.append(count)
        return np.arange(float(count))

    first, second = numbers(100_000), numbers(100_000)
    assert calls == [100_000]
    assert (first == second).all()
    third = numbers(100_000)
    assert not third.flags.owndata
    assert not third.flags.writeable
    assert np.shares_memory(second, third)


def test_processes_share_one_computation(run_script: Callable[..., str], store: Path, tmp_path: Path) -> None:
    """Of three processes that ask at the same time one computes; claims need no server."""
    script = (
        "import sys, time, multiprocessing as m\nfrom cachewright import cached\n"
        "@cached(engine='joblib', path=sys.argv[1])\n"
        "def f(x):\n"
        "    with open(sys.argv[2], 'a') as file:\n        file.write('x')\n"
        "    time.sleep(0.5)\n    return [x]\n"
        "def ask(barrier):\n    barrier.wait()\n    assert f(1) == [1]\n"
        "if __name__ == '__main__':\n"
        "    f(0)\n"
        "    context = m.get_context('fork')\n    barrier = context.Barrier(3)\n"
        "    workers = [context.Process(target=ask, args=(barrier,)) for _ in range(3)]\n"
        "    [w.start() for w in workers]\n    [w.join() for w in workers]\n"
        "    print([w.exitcode for w in workers])\n"
    )
    assert run_script(script, store, tmp_path / "calls") == "[0, 0, 0]"
    assert (tmp_path / "calls").read_text() == "xx"

"""Lock slots: what they give to an engine of one host that has no compare-and-set of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cachewright import cached, open_cache
from cachewright._slots import COUNT, Slots, SlottedEngine
from cachewright.directory import open_store_directory
from cachewright.engine import Capabilities, Costs, Engine, EngineConfig, EngineInfo
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError, EngineError, EngineUnavailableError
from cachewright.hookspecs import hookimpl
from cachewright.registry import default_registry
from cachewright.testing import EngineKit


class FolderEngine(Engine):
    """One file per entry, replaced as a whole; knows no ttl, no bounds and no compare-and-set."""

    name = "folder"

    def __init__(self, config: EngineConfig) -> None:
        assert config.path is not None
        for setting, value in (("policy", config.policy), ("options", dict(config.options) or None)):
            if value is not None:
                raise ConfigurationError(setting, value, "nothing: this engine has none")
        digest = hashlib.sha256(config.namespace.encode("utf-8", "surrogatepass")).hexdigest()
        self._directory = open_store_directory(config.path, engine=self.name)
        self._folder = Path(self._directory.path) / digest

    @property
    def private(self):
        return self._directory.private

    def get(self, key, /):
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            return MISSING

    def set(self, key, value, /, *, ttl=None, size=1):
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        draft = self._folder / f".{key}.{os.getpid()}.{threading.get_ident()}"
        draft.touch(0o600)
        draft.write_bytes(b"".join(value))
        draft.replace(self._folder / key)
        return True

    def delete(self, key, /):
        try:
            (self._folder / key).unlink()
        except FileNotFoundError:
            return False
        return True

    def clear(self):
        for key in self.keys():
            self.delete(key)

    def keys(self):
        names = os.listdir(self._folder) if self._folder.exists() else []
        return iter([name for name in names if not name.startswith(".")])


CAPABILITIES = Capabilities(holds="bytes", scope="host", persistent=True, blocking=True)
COSTS = Costs(get=((64, 1e-4),), set=((64, 1e-4),))
FOLDER = EngineInfo(
    name="folder",
    target=f"{__name__}:FolderEngine",
    capabilities=CAPABILITIES,
    costs=COSTS,
    summary="a file per entry",
    automatic=False,
)


class SlottedFolder(SlottedEngine):
    """The engine above as the core opens it."""

    name = "slotted-folder"

    def __init__(self, config: EngineConfig) -> None:
        assert config.path is not None
        slots = Slots(config.path.with_name(f".{config.path.name}.slots"), config.timeout, "slotted-folder")
        super().__init__(FolderEngine(config), slots)


class Plugin:
    @hookimpl
    def cachewright_engines(self):
        return [FOLDER]


@pytest.fixture(autouse=True)
def folder_engine():
    """Register the engine for one test."""
    sys.modules.setdefault(__name__, sys.modules[FolderEngine.__module__])
    plugin = Plugin()
    default_registry().register(plugin, "folder")
    yield
    default_registry().unregister(plugin)


@pytest.mark.slow
class TestSlottedFolder(EngineKit):
    """With slots around it, the engine keeps every promise of one that has compare-and-set."""

    info = EngineInfo(
        name="slotted-folder",
        target=f"{__name__}:SlottedFolder",
        capabilities=Capabilities(
            holds="bytes", scope="host", persistent=True, blocking=True, compare_and_set=True
        ),
        costs=COSTS,
        summary="a file per entry, in lock slots",
        automatic=False,
    )
    expected_failures: dict[str, str] = {}


def test_a_slot_is_held_by_one_thread_at_a_time(tmp_path):
    """Others wait for it, and get it."""
    slots = Slots(tmp_path / "slots", 10.0, "e")
    inside: list[int] = []
    most: list[int] = []

    def enter():
        for _ in range(50):
            with slots.hold(3):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(most) == 1
    assert len(most) == 400


def test_a_slot_that_stays_locked_is_an_error_that_says_so(tmp_path):
    """After the timeout, for threads and for processes."""
    slots, other = (Slots(tmp_path / "slots", 0.05, "e") for _ in range(2))
    with slots.hold(0):
        for waiting in (slots, other):
            with pytest.raises(EngineError, match="raise timeout="), waiting.hold(0):
                pytest.fail("two hold one slot")
        with slots.hold(1):
            pass


def test_slots_that_cannot_be_made_are_an_unavailable_engine(tmp_path):
    """Where a file is in the way, for instance."""
    (tmp_path / "slots").write_bytes(b"")
    slot = Slots(tmp_path / "slots", 1.0, "e").hold(0)
    with pytest.raises(EngineUnavailableError, match="lock an entry"), slot:
        pytest.fail("a slot without a file")


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    """The operating system lets go of it."""
    script = (
        "import sys, time; from pathlib import Path; from cachewright._slots import Slots\n"
        "slot = Slots(Path(sys.argv[1]), 10.0, 'e').hold(5); slot.__enter__(); print('held', flush=True)\n"
        "time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "slots")], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        slots = Slots(tmp_path / "slots", 0.05, "e")
        with pytest.raises(EngineError), slots.hold(5):
            pytest.fail("two processes hold one slot")
    finally:
        child.kill()
        child.communicate(timeout=30)
    with slots.hold(5):
        pass


def test_a_forked_child_can_use_the_slots_that_threads_of_its_parent_held(tmp_path):
    """Those threads do not exist there; the lock on the file still does, until the parent lets go."""
    slots = Slots(tmp_path / "slots", 20.0, "e")
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with slots.hold(7):
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(60)
    child = os.fork()
    if child == 0:
        try:
            with slots.hold(8):
                os._exit(0)
        finally:
            os._exit(1)
    leave.set()
    thread.join(60)
    assert os.waitpid(child, 0)[1] == 0


def test_clearing_excludes_every_swap(tmp_path):
    """A swap that compared before a clear does not store after it."""
    engine = SlottedFolder(EngineConfig(path=tmp_path / "store"))
    engine.set("aa", [b"claim"])
    slot = engine._slots.hold(0)
    with slot:
        clearing = threading.Thread(target=engine.clear)
        clearing.start()
        assert engine.get("aa") == b"claim"
    clearing.join(60)
    assert engine.get("aa") is MISSING
    assert engine.compare_and_set("aa", b"claim", [b"value"]) is False
    assert len(os.listdir(tmp_path / ".store.slots")) == COUNT


def test_a_load_that_began_before_an_invalidation_is_not_stored(tmp_path):
    """Even though two caches share nothing but the folder."""
    one = open_cache("n", engine="folder", path=tmp_path / "store")
    two = open_cache("n", engine="folder", path=tmp_path / "store")
    loading, go = threading.Event(), threading.Event()

    def load():
        loading.set()
        go.wait(60)
        return "old"

    results = []
    thread = threading.Thread(target=lambda: results.append(one.get_or_set("k", load)))
    thread.start()
    assert loading.wait(60)
    two.delete("k")
    go.set()
    thread.join(60)
    assert results == ["old"]
    assert two.get("k") is None
    assert one.get_or_set("k", lambda: "new") == "new"
    assert two.get("k") == "new"


CHILD = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("tests.core.test_slots", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["tests.core.test_slots"] = module
sys.modules[spec.name] = module
spec.loader.exec_module(module)
from cachewright import cached
from cachewright.registry import default_registry
default_registry().register(module.Plugin(), "folder")

@cached(engine="folder", path=sys.argv[2], name="shared")
def work(x):
    os.write(1, b"computed\\n")
    time.sleep(0.3)
    return x * 2

sys.stdin.readline()
assert work(21) == 42
"""


def test_processes_share_one_computation(tmp_path):
    """Six of them ask at once, one computes."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, __file__, str(tmp_path / "store")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    output = "".join(child.communicate(timeout=120)[0] for child in children)
    assert [child.returncode for child in children] == [0] * 6
    assert output == "computed\n"


def test_the_function_is_explained_with_slots(tmp_path):
    """The ability shows in what the cache says it can do."""
    with open_cache("n", engine="folder", path=tmp_path / "store") as cache:
        assert cache.add("k", 1) is True
        assert cache.add("k", 2) is False
        assert cache.incr("k") == 2
        assert cache.lifecycle.info.capabilities.compare_and_set


def test_a_decorated_function_runs_on_it(tmp_path):
    """With everything that shared engines have."""
    calls = []

    @cached(engine="folder", path=tmp_path / "store", name="decorated", tags=("n:{x}",))
    def double(x):
        calls.append(x)
        return x * 2

    assert double(2) == double(2) == 4
    double.cache.invalidate_tags("n:2")
    deadline = time.monotonic() + 60
    assert double(2) == 4
    assert calls == [2, 2]
    assert time.monotonic() < deadline

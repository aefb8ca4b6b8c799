"""Several processes share a store, and one that dies or forks does no harm."""

from __future__ import annotations

import os
import signal

from cachewright.entry import MISSING

HAMMER = """
engine = SqliteEngine(EngineConfig(path=Path(sys.argv[1]), timeout=30.0))
me = sys.argv[2]
for i in range(60):
    value = (me + str(i)).encode() * (1 if i % 5 else 20000)
    assert engine.set(f"{me}-{i}", (value,), size=len(value))
    assert engine.set(f"shared-{i % 7}", (value,), size=len(value))
    assert content(engine.get(f"{me}-{i}")) == value
    while True:
        old = engine.get("counter")
        count = 0 if old is MISSING else int(content(old))
        if engine.compare_and_set("counter", old, (str(count + 1).encode(),)):
            break
"""


def test_entries_survive_the_process(open_engine, run, content, tmp_path):
    """What one process stored another one finds, after the directory was moved too."""
    run(
        """
engine = SqliteEngine(EngineConfig(path=Path(sys.argv[1])))
engine.set("small", (b"s",))
engine.set("large", (b"L" * 100000,))
""",
        tmp_path / "store",
    )
    assert content(open_engine().get("large")) == b"L" * 100_000
    open_engine().close()
    (tmp_path / "store").rename(tmp_path / "moved")
    moved = open_engine(path=tmp_path / "moved")
    assert (moved.get("small"), content(moved.get("large"))) == (b"s", b"L" * 100_000)


def test_four_processes(open_engine, start, content, tmp_path):
    """No acknowledged write is lost, the totals are exact and no file is left over."""
    workers = [start(HAMMER, tmp_path / "store", name) for name in "abcd"]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    engine = open_engine()
    assert content(engine.get("counter")) == b"240"
    assert engine.count() == len(list(engine.keys())) == 4 * 60 + 7 + 1
    for name in "abcd":
        for i in range(60):
            value = f"{name}{i}".encode() * (1 if i % 5 else 20_000)
            assert content(engine.get(f"{name}-{i}")) == value
    files = list((tmp_path / "store").glob("values-v1/*/*"))
    assert len(files) == sum(1 for key in engine.keys() if not isinstance(engine.get(key), bytes))


WRITER = """
engine = SqliteEngine(EngineConfig(path=Path(sys.argv[1]), timeout=30.0))
me, i = sys.argv[2], 0
while True:
    value = f"{me}{i}".encode() * (1 if i % 3 else 10000)
    engine.set(f"{me}-{i % 20}", (value,), size=len(value))
    os.write(1, f"{i}\\n".encode())
    i += 1
"""


def test_killed_writers(open_engine, start, content, tmp_path):
    """SIGKILL of writers loses nothing that was acknowledged, and leaves no stray once reopened."""
    kills, step = 0, 0
    while kills < 24:
        names = [f"r{step}w{n}" for n in range(4)]
        writers = [start(WRITER, tmp_path / "store", name) for name in names]
        acknowledged = []
        for number, writer in enumerate(writers):
            lines = [writer.stdout.readline() for _ in range(5 + 7 * number + step)]
            assert lines[-1]
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read()
            acknowledged.append(int((rest.splitlines() or [lines[-1]])[-1]))
            writer.wait()
            kills += 1
        engine = open_engine()
        for name, last in zip(names, acknowledged, strict=True):
            for i in range(max(0, last - 18), last):
                value = f"{name}{i}".encode() * (1 if i % 3 else 10_000)
                assert content(engine.get(f"{name}-{i % 20}")) == value
        assert engine.count() == len(list(engine.keys()))
        large = sum(1 for key in engine.keys() if not isinstance(engine.get(key), bytes))
        assert len(list((tmp_path / "store").glob("values-v1/*/*"))) == large
        engine.close()
        step += 1


FORKS = """
import threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
engine = SqliteEngine(EngineConfig(path=Path(sys.argv[1]), timeout=30.0))
engine.set("k", (b"v" * 100000,))
blob = engine.get("k")
going, failures, done = True, [], []
def work(name):
    i = 0
    try:
        while going:
            engine.set(f"{name}-{i % 50}", (b"x" * 100,))
            assert content(engine.get(f"{name}-{i % 50}")) == b"x" * 100
            i += 1
    except BaseException as error:
        failures.append(repr(error))
    done.append(i)
threads = [threading.Thread(target=work, args=(n,)) for n in "abcd"]
for thread in threads: thread.start()
for number in range(20):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert content(engine.get("k")) == b"v" * 100000 == bytes(blob.view)
            assert engine.set(f"child{number}", (b"c",))
            assert any(f" {os.getpid()} " in line for line in open("/proc/locks")), "no lock of its own"
            code = 0
        except BaseException as error:
            print(repr(error), flush=True)
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0, number
going = False
for thread in threads: thread.join()
assert not failures, failures
assert engine.count() == len(list(engine.keys()))
print(sum(engine.get(f"child{n}") == b"c" for n in range(20)), min(done) > 0)
"""


def test_fork_while_threads_write(run, tmp_path):
    """A child can use the store with locks of its own, and the parent goes on undisturbed."""
    assert run(FORKS, tmp_path / "store") == "20 True"


def test_fork_from_within_a_write(run, tmp_path):
    """A child born in the middle of a transaction refuses to use the store instead of harming it."""
    output = run(
        """
from cachewright.errors import EngineUnavailableError
engine = SqliteEngine(EngineConfig(path=Path(sys.argv[1])))
engine.set("k", (b"1",))
class Fork(bytes): pass
store = engine._store
link = store.link()
def work(connection):
    connection.execute("UPDATE entries SET size = 99")
    child = os.fork()
    if child == 0:
        try:
            engine.get("k")
        except EngineUnavailableError as error:
            print(error.operation, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
with link.lock:
    store.write(link, "set", work, 1.0)
assert engine.get("k") == b"1"
""",
        tmp_path / "store",
    )
    assert output == "use the store in a forked process"


def test_fork_while_a_thread_is_about_to_connect(run, tmp_path):
    """A thread that holds its link, not yet open, does not keep the child from starting."""
    output = run(
        """
import signal, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
engine = SqliteEngine(EngineConfig(path=Path(sys.argv[1])))
engine.set("k", (b"1",))
holds, forked = threading.Event(), threading.Event()
def connect():
    engine.get("k")
    link = engine._store.link()
    with link.lock:
        link.close()
        holds.set()
        forked.wait(30)
thread = threading.Thread(target=connect)
thread.start()
holds.wait(30)
child = os.fork()
if child == 0:
    print(engine.get("k") == b"1", engine.set("k", (b"2",)), flush=True)
    os._exit(0)
forked.set()
thread.join()
signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
signal.alarm(20)
assert os.waitpid(child, 0)[1] == 0, "the child hung"
""",
        tmp_path / "store",
    )
    assert output == "True True"


def test_another_process_replaces_the_index(open_engine, content, run, tmp_path):
    """A process whose open index was set aside by another one notices, and loses no later write."""
    engine = open_engine()
    engine.set("before", (b"1",))
    index = next((tmp_path / "store").glob("index-v1-*.sqlite3"))
    index.rename(index.with_name(index.name + ".corrupt-test"))
    run("SqliteEngine(EngineConfig(path=Path(sys.argv[1]))).set('theirs', (b'2',))", tmp_path / "store")
    assert engine.set("after", (b"3" * 100_000,))
    assert engine.get("before") is MISSING
    assert engine.get("theirs") == b"2"
    other = run(
        "print(len(content(SqliteEngine(EngineConfig(path=Path(sys.argv[1]))).get('after'))))",
        tmp_path / "store",
    )
    assert other == "100000"


def test_removed_directory(open_engine, content, tmp_path):
    """A directory that somebody removed is made again by the next write."""
    import shutil

    engine = open_engine()
    for value in (b"1", b"L" * 100_000):
        engine.set("k", (value,))
        shutil.rmtree(tmp_path / "store")
        assert engine.set("k", (value,))
        assert content(engine.get("k")) == value
    shutil.rmtree(tmp_path / "store" / "values-v1")
    assert engine.get("k") is MISSING
    assert engine.set("k", (b"M" * 100_000,))
    assert content(open_engine().get("k")) == b"M" * 100_000
    assert os.stat(tmp_path / "store").st_mode & 0o777 == 0o700

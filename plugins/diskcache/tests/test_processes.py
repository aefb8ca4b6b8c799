"""Processes that share a directory: writers that are killed, children that are forked, many at once."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

KILLED = """
import random
slot, seed = sys.argv[2], int(sys.argv[3])
rng = random.Random(seed)
def value(number):
    return b"%d;" % number * rng.choice([1, 1, 50, 20_000])
engine, other = opened(), opened(namespace="other")
number = int(sys.argv[4])
while True:
    number += 1
    key = f"{slot}{number % 7}"
    os.write(1, b"I %s %d\\n" % (key.encode(), number))
    way = rng.randrange(3)
    if way == 0:
        assert engine.set(key, (value(number),))
    elif way == 1:
        assert engine.set_many([(key, (value(number),), None, 1), (f"{slot}x", (b"x" * 5000,), None, 1)]) == 2
    else:
        assert engine.compare_and_set(key, engine.get(key), (value(number),))
    os.write(1, b"A %s %d\\n" % (key.encode(), number))
    assert other.set(f"{number % 31:x}", (b"b" * rng.choice([9, 60_000]),))
"""


@pytest.mark.parametrize("kills", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_writers_that_are_killed_lose_nothing_acknowledged(open_engine, content, start, tmp_path, kills):
    """Two writers are killed over and over, at any moment: each key holds what it must."""
    state: dict[str, int] = {}
    number, acknowledged = 0, 0
    for turn in range(kills // 2):
        writers = [start(KILLED, tmp_path / "store", slot, turn, number) for slot in "ab"]
        begun = [writer.stdout.readline() for writer in writers]
        assert all(begun)
        time.sleep(0.01 + 0.003 * (turn % 10))  # any moment will do
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        intended: dict[str, int] = {}
        for writer, first in zip(writers, begun, strict=True):
            output = writer.stdout.read()  # communicate() would lose what was read ahead
            assert writer.stderr.read() == ""
            for line in (first + output).split("\n")[:-1]:
                what, key, count = line.split()
                number = max(number, int(count))
                if what == "I":
                    intended[key] = int(count)
                else:
                    state[key] = intended.pop(key, int(count))
                    acknowledged += 1
        number += 1
        engine, other = open_engine(), open_engine(namespace="other")
        for key, count in state.items():
            found = content(engine.get(key))
            stored = int(found[: found.index(b";")])
            assert stored in {count, intended.get(key)}
            assert found == b"%d;" % stored * (len(found) // len(b"%d;" % stored))
            state[key] = stored
        assert other.count() == len(list(other.keys())) == len(other.get_many(other.keys()))
        engine.close()
        other.close()
    assert acknowledged > kills
    assert sorted(path.name for path in (tmp_path / "store").iterdir() if "corrupt" in path.name) == []


def test_processes_count_together(open_engine, start, tmp_path):
    """Four processes that swap one entry lose no step, whoever else writes meanwhile."""
    script = """
engine = opened()
for _ in range(100):
    while True:
        old = engine.get("counter")
        new = b"%d" % (1 + (0 if old is MISSING else int(old)))
        if engine.compare_and_set("counter", old, (new,)):
            break
    engine.set(sys.argv[2], (new,))
"""
    processes = [start(script, tmp_path / "store", number) for number in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert errors == ""
    assert open_engine().get("counter") == b"400"


def test_processes_that_open_a_new_store_at_once(start, tmp_path):
    """However many processes come first, one makes the file, and all use it."""
    script = """
sys.stdin.readline()
engine = opened()
engine.set(sys.argv[2], (b"v",))
print(engine.get(sys.argv[2]) == b"v")
"""
    processes = [start(script, tmp_path / "store", number) for number in range(6)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.communicate(timeout=60) == ("True\n", "")


FORKING = """
import json, traceback, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that forking beside threads is dangerous
kind = {"cache": DiskcacheEngine, "fanout": FanoutEngine}[sys.argv[3]]
engine = opened(kind, options=dict(eval(sys.argv[4])))
engine.set("k", (b"v" * 100_000,))
stop, problems, kept = threading.Event(), [], 0
def work(number):
    turn = 0
    try:
        while not stop.is_set():
            turn += 1
            data = b"%d;" % turn * (1 if turn % 20 else 20_000)
            assert engine.set(f"{number}-{turn % 30}", (data,))
            assert content(engine.get(f"{number}-{turn % 30}")) == data
    except BaseException:
        problems.append(traceback.format_exc())
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()
codes = []
for number in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        code = 1
        try:
            assert content(engine.get("k")) == b"v" * 100_000
            assert engine.set(f"child{number}", (b"%d" % number,))
            assert engine.compare_and_set("k", b"v" * 100_000, (b"v" * 100_000,))
            done = []
            thread = threading.Thread(target=lambda: done.append(engine.set("thread", (b"t",))))
            thread.start()
            thread.join()
            assert done == [True] and engine.count() > 0
            engine.close()
            code = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    codes.append(os.waitpid(child, 0)[1])
    kept += content(engine.get(f"child{number}")) == b"%d" % number
stop.set()
for thread in threads:
    thread.join(30)
assert engine.count() == len(list(engine.keys()))
print(json.dumps([codes.count(0), kept, problems]))
"""


@pytest.mark.parametrize("forks", [5, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "options"), [("cache", {}), ("fanout", {"shards": 3})])
def test_forks_beside_writing_threads(run, tmp_path, forks, kind, options):
    """Each child uses the store by itself, nothing hangs, and the parent's threads notice nothing."""
    assert json.loads(run(FORKING, tmp_path / "store", forks, kind, options)) == [forks, forks, []]


def test_a_child_forked_in_mid_write_leaves_the_store_alone(run, tmp_path):
    """Forked by the very thread that is writing, a child cannot use the store, and says so."""
    script = """
engine = opened()
engine.set("k", (b"v",))
def work(cache):
    with cache.transact():
        child = os.fork()
        if child == 0:
            for operation in (lambda: engine.get("k"), lambda: engine.set("k", (b"w",))):
                try:
                    operation()
                    os._exit(1)
                except EngineUnavailableError as error:
                    if "middle of an operation" not in str(error):
                        os._exit(2)
            engine.close()
            os._exit(0)
        return os.waitpid(child, 0)[1]
(shard,) = engine._store.shards
print(shard.run("test", work, writing=True), engine.set("k", (b"x",)), content(engine.get("k")))
"""
    assert run(script, tmp_path / "store") == "0 True b'x'"


def test_a_child_that_outlives_its_parent_keeps_no_lock(open_engine, start, tmp_path):
    """A child that never uses the store does not keep others from writing after its parent was killed."""
    script = """
engine = opened()
engine.set("k", (b"v",))
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
sys.stdin.readline()
"""
    parent = start(script, tmp_path / "store")
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        engine = open_engine(timeout=2.0)
        assert engine.set("k", (b"w",))
    finally:
        os.kill(child, signal.SIGKILL)

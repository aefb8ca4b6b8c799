"""Cache and AsyncCache behave the same, on engines of objects and on engines of bytes."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from cachewright import MISSING, open_async_cache, open_cache
from cachewright._breaker import FAILURES
from cachewright.config import Settings
from cachewright.engine import Capabilities, Costs, Engine, EngineInfo
from cachewright.entry import Clock
from cachewright.errors import (
    ClosedError,
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    UnkeyableArgumentError,
    UnserializableError,
    UnsupportedByEngineError,
)
from cachewright.events import BreakerChanged, EngineFailed, Hit, Miss, NotStored, Stored, Unreadable
from cachewright.hookspecs import hookimpl
from cachewright.registry import default_registry


class Sync:
    """Drives an AsyncCache from synchronous tests, so that both colours run the same ones."""

    def __init__(self, cache, runner):
        self._cache = cache
        self._runner = runner

    def __getattr__(self, name):
        method = getattr(self._cache, name)

        def call(*args, **kwargs):
            async def run():
                answer = method(*args, **kwargs)
                if hasattr(answer, "__aiter__"):
                    return [item async for item in answer]
                return await answer

            return self._runner.run(run())

        return call

    def __contains__(self, key):
        return self.contains(key)

    def __len__(self):
        return self.count()

    def __iter__(self):
        return iter(self.keys())

    def get_or_set(self, key, fn, **options):
        async def compute():
            return fn()

        return self._runner.run(self._cache.get_or_set(key, compute, **options))


@pytest.fixture
def now():
    return [1_700_000_000.0]


@pytest.fixture(params=["memory", "sqlite", "async memory", "async sqlite"])
def opened(request, tmp_path, now):
    """Return a function that opens a cache on each engine, in each colour."""
    engine = request.param.removeprefix("async ")
    settings = Settings(dir=tmp_path / "store", data_dir=tmp_path / "keys")
    clock = Clock(wall=lambda: now[0], monotonic=lambda: now[0])
    caches = []
    runner = asyncio.Runner() if request.param.startswith("async") else None

    def build(name="test", **options):
        if runner is None:
            cache = open_cache(name, engine=engine, settings=settings, clock=clock, **options)
        else:
            cache = Sync(
                open_async_cache(name, engine=engine, settings=settings, clock=clock, **options), runner
            )
        caches.append(cache)
        return cache

    yield build
    for cache in caches:
        cache.close()
    if runner is not None:
        runner.close()


@dataclass(frozen=True)
class Point:
    """A value and a key of the tests."""

    x: int
    y: int


class TestEveryCache:
    """What holds on every engine, in both colours."""

    @pytest.mark.parametrize(
        "value", [None, 0, False, True, 1.5, "", b"", (), [], {}, {"a": [1, (2,)]}, "\ud800", 2**70]
    )
    def test_a_value_comes_back_with_its_exact_type(self, opened, value):
        """Also None and everything falsy, which are values and not misses."""
        cache = opened()
        assert cache.set("k", value)
        got = cache.get("k", MISSING)
        assert got == value
        assert type(got) is type(value)
        assert "k" in cache

    def test_a_miss_is_the_default(self, opened):
        """get() returns what was asked for in its place."""
        cache = opened()
        assert cache.get("k") is None
        assert cache.get("k", MISSING) is MISSING
        assert "k" not in cache
        assert cache.delete("k") is False

    def test_keys_are_any_encodable_values(self, opened):
        """Dict order is irrelevant, text and number differ, equal numbers are one key."""
        cache = opened()
        keys = [
            1,
            "1",
            ("a", "b"),
            "ab",
            {"a": 1, "b": [2]},
            [1, 2],
            (1, 2),
            None,
            b"1",
            Point(1, 2),
            math.nan,
            -1,
            -2,
        ]
        for position, key in enumerate(keys):
            cache.set(key, position)
        assert [cache.get(key) for key in keys] == list(range(len(keys)))
        assert cache.get({"b": [2], "a": 1}) == 4
        assert cache.get(1.0) == cache.get(True) == 0
        assert cache.get(-math.nan) == 10
        assert len(cache) == len(keys)

    def test_a_key_without_encoding_is_refused(self, opened):
        """The error says so; nothing is stored."""
        cache = opened()
        with pytest.raises(UnkeyableArgumentError):
            cache.set([object()], 1)

    def test_listing_returns_the_keys_as_they_were_written(self, opened):
        """Also keys that cannot be hashed."""
        cache = opened()
        written = ["a", 1, ("x", 2), {"k": [1]}, None]
        for key in written:
            cache.set(key, 0)
        listed = list(cache)
        assert len(listed) == len(written)
        assert all(key in listed for key in written)

    def test_entries_describe_what_is_stored(self, opened, now):
        """Key, engine, age, remaining life and computing time, without decoding the value."""
        cache = opened()
        cache.get_or_set("k", lambda: "value", ttl=60)
        (info,) = cache.entries()
        assert info.key == "k"
        assert info.engine in {"memory", "sqlite"}
        assert info.created == now[0]
        assert info.expires == pytest.approx(60, abs=0.01)
        assert info.compute_seconds > 0
        if info.engine == "sqlite":
            assert info.serializer == "text"
            assert info.size > 56

    def test_ttl_is_strict_and_per_entry(self, opened, now):
        """Over every way of asking: get, in, len, keys, ttl, add, delete."""
        cache = opened(ttl=10)
        cache.set("short", 1)
        cache.set("long", 2, ttl="1h")
        cache.set("ever", 3, ttl=None)
        assert cache.ttl("short") == pytest.approx(10, abs=1e-3)
        assert cache.ttl("ever") is None
        now[0] += 9.999
        assert cache.get("short") == 1
        now[0] += 0.0011
        assert cache.get("short") is None
        assert "short" not in cache
        assert len(cache) == 2
        assert sorted(cache) == ["ever", "long"]
        with pytest.raises(KeyError):
            cache.ttl("short")
        assert cache.delete("short") is False
        assert cache.add("short", 9)
        now[0] += 1e9
        assert cache.get("ever") == 3

    def test_overwriting_replaces_the_ttl(self, opened, now):
        """In both directions."""
        cache = opened()
        cache.set("k", 1, ttl=5)
        cache.set("k", 2)
        now[0] += 100
        assert cache.get("k") == 2
        cache.set("k", 3, ttl=5)
        now[0] += 5
        assert cache.get("k") is None

    @pytest.mark.parametrize("ttl", [0, -1, -1e9])
    def test_a_ttl_of_nothing_removes(self, opened, ttl):
        """Nothing is stored, and what was there is gone."""
        cache = opened()
        cache.set("k", 1)
        assert cache.set("k", 2, ttl=ttl) is False
        assert cache.get("k") is None

    @pytest.mark.parametrize("ttl", [1e18, math.inf, 1e-7])
    def test_extreme_ttls_are_kept(self, opened, ttl):
        """Neither overflow nor an entry that never was."""
        cache = opened()
        assert cache.set("k", 1, ttl=ttl)
        if ttl > 1:
            assert cache.get("k") == 1

    def test_touch_renews(self, opened, now):
        """And says whether there was an entry."""
        cache = opened()
        cache.set("k", "v", ttl=5)
        assert cache.touch("k", 100) is True
        now[0] += 50
        assert cache.get("k") == "v"
        assert cache.touch("absent", 5) is False
        assert cache.touch("k", 0) is True
        assert cache.get("k") is None

    def test_touch_on_a_none_value_works(self, opened):
        """None is a value."""
        cache = opened()
        cache.set("k", None)
        assert cache.touch("k", 5) is True

    def test_add_and_incr(self, opened, now):
        """add() stores only if absent; incr() counts from 0 and keeps the ttl."""
        cache = opened()
        assert cache.add("k", 1) is True
        assert cache.add("k", 2) is False
        assert cache.get("k") == 1
        assert cache.incr("k", 5) == 6
        assert cache.incr("n") == 1
        assert cache.incr("n", -3) == -2
        cache.set("t", 1, ttl=10)
        assert cache.incr("t") == 2
        assert cache.ttl("t") == pytest.approx(10, abs=0.01)
        cache.set("text", "1")
        with pytest.raises(TypeError, match="not an int"):
            cache.incr("text")
        cache.set("flag", True)
        with pytest.raises(TypeError, match="bool"):
            cache.incr("flag")

    def test_many_operations_equal_loops(self, opened):
        """get_many leaves absent keys out."""
        cache = opened()
        assert cache.set_many({"a": 1, "b": None, 3: "c"}) == 3
        assert cache.get_many(["a", "b", 3, "absent"]) == {"a": 1, "b": None, 3: "c"}
        assert cache.delete_many(["a", "absent", 3]) == 2
        assert len(cache) == 1

    def test_get_or_set_computes_once(self, opened):
        """The second call is a hit; exceptions are not stored."""
        cache = opened()
        calls = []

        def compute():
            calls.append(1)
            return len(calls)

        assert cache.get_or_set("k", compute) == 1
        assert cache.get_or_set("k", compute) == 1

        def fail():
            raise LookupError

        with pytest.raises(LookupError):
            cache.get_or_set("other", fail)
        assert "other" not in cache

    def test_clear_spares_other_namespaces(self, opened):
        """Even one whose name begins with the cleared one's."""
        one, two = opened("name"), opened("name:more")
        one.set("k", 1)
        two.set("k", 2)
        one.clear()
        assert one.get("k") is None
        assert two.get("k") == 2

    def test_statistics_add_up(self, opened):
        """Hits and misses of direct look-ups."""
        cache = opened()
        cache.set("k", 1)
        cache.get("k"), cache.get("absent"), cache.get_many(["k", "absent"])
        info = cache.stats()
        assert (info.hits, info.misses, info.currsize) == (2, 2, 1)
        assert info.hit_ratio == 0.5

    def test_a_closed_cache_says_so(self, opened):
        """Closing twice is allowed; using it afterwards is an error that names the cache."""
        cache = opened("gone")
        cache.set("k", 1)
        cache.close()
        cache.close()
        for use in (lambda: cache.get("k"), lambda: cache.set("k", 1), cache.clear, lambda: cache.incr("k")):
            with pytest.raises(ClosedError, match="gone"):
                use()

    def test_maxsize_bounds_entries(self, opened):
        """Exactly, whatever is inserted."""
        cache = opened(maxsize=3)
        for number in range(20):
            cache.set(number, number)
        assert len(cache) == 3

    def test_a_value_larger_than_the_bound_is_refused_and_evicts_nothing(self, opened):
        """set() says False, an older entry under the key is gone, the others stay."""
        cache = opened(max_bytes=20_000)
        cache.set("small", b"x" * 100)
        cache.set("big", b"y")
        assert cache.set("big", b"z" * 50_000) is False
        assert cache.get("big") is None
        assert cache.get("small") == b"x" * 100


class TestMapping:
    """The synchronous cache is a MutableMapping."""

    def test_it_behaves_like_a_dict(self):
        """Items, deletion, KeyError, pop, setdefault, update; true even when empty."""
        with open_cache("mapping") as cache:
            assert cache
            assert len(cache) == 0
            cache["a"] = 1
            cache.update(b=2)
            assert cache["a"] == 1
            assert cache.setdefault("a", 9) == 1
            assert dict(cache.items()) == {"a": 1, "b": 2}
            assert cache.pop("a") == 1
            with pytest.raises(KeyError):
                cache["a"]
            with pytest.raises(KeyError):
                del cache["a"]
            del cache["b"]
            assert list(cache) == []

    def test_copy_gives_values_of_the_callers_own(self):
        """Neither the stored value nor a handed-out one is shared."""
        with open_cache("copies", copy="value") as cache:
            value = {"a": []}
            cache.set("k", value)
            value["a"].append(1)
            cache.get("k")["a"].append(2)
            assert cache.get("k") == {"a": []}


class TestAtomicity:
    """add() and incr() among threads and processes."""

    @pytest.mark.parametrize("engine", ["memory", "sqlite"])
    def test_one_of_many_adders_wins_and_no_increment_is_lost(self, engine, tmp_path):
        """Eight threads."""
        settings = Settings(dir=tmp_path, data_dir=tmp_path / "keys", timeout=30)
        with open_cache("atomic", engine=engine, settings=settings) as cache, ThreadPoolExecutor(8) as pool:
            together = threading.Barrier(8)

            def work(number):
                together.wait(20)
                won = [cache.add(("slot", slot), number) for slot in range(20)]
                for _ in range(25):
                    cache.incr("n")
                return won

            results = list(pool.map(work, range(8)))
            assert [sum(column) for column in zip(*results, strict=True)] == [1] * 20
            assert cache.get("n") == 200


class TestTrust:
    """What may be stored where, and what is done with what was tampered with."""

    def store(self, tmp_path, **options):
        return open_cache(
            "trust", path=tmp_path / "store", settings=Settings(data_dir=tmp_path / "keys", **options)
        )

    def test_a_private_store_takes_what_pickles(self, tmp_path):
        """It is authenticated by the user's own key."""
        with self.store(tmp_path) as cache:
            cache.set("k", Point(1, 2))
            assert cache.get("k") == Point(1, 2)
            assert next(cache.entries()).serializer == "pickle"
            assert "authenticated" in str(cache.explain())

    def test_a_store_open_to_others_takes_plain_data_only(self, tmp_path):
        """Without signing keys an object is refused with a way out; with them it is stored."""
        folder = tmp_path / "store"
        folder.mkdir()
        folder.chmod(0o777)
        with self.store(tmp_path) as cache:
            assert cache.set("plain", {"a": [1, (2, 3)]})
            assert cache.get("plain") == {"a": [1, (2, 3)]}
            with pytest.raises(UnserializableError, match="CACHEWRIGHT_SIGNING_KEYS"):
                cache.set("object", Point(1, 2))
            with pytest.raises(ConfigurationError, match="data-only"):
                open_cache(
                    "trust", path=folder, serializer="pickle", settings=Settings(data_dir=tmp_path / "keys")
                )
        with self.store(tmp_path, signing_keys="ab" * 32) as cache:
            assert cache.get("plain") is None  # not authenticated, so not accepted any more
            cache.set("object", Point(1, 2))
            assert cache.get("object") == Point(1, 2)

    def test_another_key_reads_nothing_and_raises_nothing(self, tmp_path):
        """Entries of another key are misses, counted as unreadable; rotation keeps them readable."""
        with self.store(tmp_path, signing_keys="ab" * 32) as cache:
            cache.set("k", "secret")
        with self.store(tmp_path, signing_keys="cd" * 32) as cache:
            assert cache.get("k") is None
            assert cache.stats().unreadable == 1
            assert cache.verify().unreadable == 1
        with self.store(tmp_path, signing_keys="cd" * 32 + "," + "ab" * 32) as cache:
            assert cache.get("k") == "secret"

    def test_verify_repairs(self, tmp_path):
        """Unusable entries are counted and, when asked, removed."""
        with self.store(tmp_path, signing_keys="ab" * 32) as cache:
            cache.set("k", 1)
        with self.store(tmp_path, signing_keys="cd" * 32) as cache:
            cache.set("mine", 2)
            assert not cache.verify().ok
            assert cache.verify(repair=True).removed == 1
            assert cache.verify().ok
            assert cache.get("mine") == 2

    def test_what_cannot_be_stored_is_an_error_that_names_the_type(self, tmp_path):
        """A lock, a local class instance: one clear error."""
        with self.store(tmp_path) as cache:
            with pytest.raises(UnserializableError, match="lock"):
                cache.set("k", threading.Lock())
            assert cache.get("k") is None


def test_entries_survive_the_process_and_are_found_by_another(tmp_path):
    """A value stored by one process is a hit in the next, under another hash seed."""
    source = (
        "import sys\nfrom cachewright import open_cache\nfrom cachewright.config import Settings\n"
        f"settings = Settings(data_dir={str(tmp_path / 'keys')!r})\n"
        f"with open_cache('p', path={str(tmp_path / 'store')!r}, settings=settings) as cache:\n"
        "    print(cache.get_or_set({'a', 'b', 'c'}, lambda: sys.argv[1]))\n"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", source, name],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for name, seed in (("first", "1"), ("second", "2"))
    ]
    assert answers == ["first", "first"]


class Failing(Engine):
    """An engine whose operations raise what the test says."""

    name = "failing"
    error: Exception | None = None
    fails: set[str] = set()
    calls: list[str] = []

    def __init__(self, config):
        self._entries = {}

    def _do(self, operation):
        type(self).calls.append(operation)
        if type(self).error is not None and (not type(self).fails or operation in type(self).fails):
            raise type(self).error

    def get(self, key, /):
        self._do("get")
        return self._entries.get(key, MISSING)

    def set(self, key, value, /, *, ttl=None, size=1):
        self._do("set")
        self._entries[key] = b"".join(value)
        return True

    def delete(self, key, /):
        self._do("delete")
        return self._entries.pop(key, MISSING) is not MISSING

    def clear(self):
        self._do("clear")
        self._entries.clear()

    def keys(self):
        self._do("keys")
        return iter(list(self._entries))


@pytest.fixture
def failing():
    """Register the failing engine and a listener; return the events."""
    received = []

    class Plugin:
        @hookimpl
        def cachewright_engines(self):
            return [
                EngineInfo(
                    name="failing",
                    target=f"{Failing.__module__}:Failing",
                    capabilities=Capabilities(holds="bytes", scope="network", persistent=True),
                    costs=Costs(get=((64, 1.0),), set=((64, 1.0),)),
                    automatic=False,
                )
            ]

        @hookimpl
        def cachewright_listeners(self):
            return [received.append, broken_listener]

    def broken_listener(event):
        raise RuntimeError("a listener must not break a call")

    sys.modules.setdefault(Failing.__module__, sys.modules[__name__])
    plugin = Plugin()
    name = f"failing-{uuid.uuid4().hex}"
    default_registry().register(plugin, name)
    Failing.error = None
    Failing.fails = set()
    Failing.calls = []
    logging.getLogger("cachewright").disabled = True
    yield received
    logging.getLogger("cachewright").disabled = False
    default_registry().unregister(plugin)


PATIENCE = 20.0


def wait_until(condition):
    """Poll with a deadline, for what happens behind the caller."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def wait_until_back(cache, now):
    """Let the rest be over until a probe has found the engine."""

    def back():
        now[0] += 1.0
        return not cache.stats().engine_open

    wait_until(back)


def ticking(now):
    return Clock(wall=lambda: now[0], monotonic=lambda: now[0])


class TestWhenTheEngineFails:
    """The caller is served all the same, and can see that something is wrong."""

    @pytest.mark.parametrize(
        "error", [EngineError("failing", "work", "broken"), RuntimeError("foreign"), OSError(28, "full")]
    )
    def test_a_failing_engine_is_a_miss(self, failing, error):
        """get() returns the default, set() False, get_or_set() computes; errors are counted and sent."""
        with open_cache("f", engine="failing") as cache:
            Failing.error = error
            assert cache.get("k", "default") == "default"
            assert cache.set("k", 1) is False
            assert cache.get_or_set("k", lambda: 42) == 42
            assert len(cache) == 0
            assert cache.stats().errors >= 3
        assert any(isinstance(event, EngineFailed) for event in failing)
        assert any(isinstance(event, NotStored) and event.reason == "engine" for event in failing)

    def test_on_engine_error_raise_raises(self, failing):
        """With the engine's own error."""
        with open_cache("f", engine="failing", on_engine_error="raise") as cache:
            Failing.error = RuntimeError("foreign")
            with pytest.raises(EngineError, match="foreign"):
                cache.get("k")

    def test_some_errors_in_a_row_and_it_is_left_alone(self, failing):
        """An answer in between starts the count again."""
        with open_cache("f", engine="failing") as cache:
            for _ in range(3):
                Failing.error = RuntimeError("foreign")
                for _ in range(FAILURES - 1):
                    cache.get("k")
                Failing.error = None
                cache.get("k")
                assert not cache.stats().engine_open
            Failing.error = RuntimeError("foreign")
            Failing.calls.clear()
            for _ in range(FAILURES + 10):
                cache.get("k")
            assert Failing.calls == ["get"] * FAILURES

    def test_an_unreachable_engine_is_left_alone_for_a_while(self, failing):
        """It is not asked again until the rest is over; then a probe asks behind the caller."""
        now = [100.0]
        with open_cache("f", engine="failing", clock=ticking(now)) as cache:
            cache.set("k", 1)
            Failing.error = EngineUnavailableError("failing", "connect", "refused")
            Failing.calls.clear()
            for _ in range(100):
                assert cache.get("k") is None
            assert Failing.calls == ["get"]
            now[0] += 0.6
            assert cache.get("k") is None
            wait_until(lambda: Failing.calls == ["get", "get"])
            assert cache.stats().engine_open
            Failing.error = None
            wait_until_back(cache, now)
            assert cache.get("k") == 1
        changes = [(event.open, event.pending) for event in failing if isinstance(event, BreakerChanged)]
        assert changes == [(True, 0), (False, 0)]

    @pytest.mark.parametrize(
        "error", [EngineUnavailableError("failing", "connect", "refused"), OSError(28, "full")]
    )
    @pytest.mark.parametrize(
        ("forget", "debt"),
        [
            (lambda cache: cache.delete("k"), "delete"),
            (lambda cache: cache.clear(), "clear"),
            (lambda cache: cache.set("k", "new", ttl=0), "delete"),
            (lambda cache: cache.set("k", "new"), "delete"),
        ],
        ids=["delete", "clear", "ttl of nothing", "set"],
    )
    @pytest.mark.parametrize("on_engine_error", ["compute", "raise"])
    def test_an_invalidation_that_failed_is_made_before_anything_is_read(
        self, failing, error, forget, debt, on_engine_error
    ):
        """It is queued, and under "raise" raises as well; what it removes never comes back.

        A set that failed removes, too: it may have been made or not, and the old value may not stay.
        """
        now = [100.0]
        with open_cache("f", engine="failing", clock=ticking(now), on_engine_error=on_engine_error) as cache:
            cache.set("k", "old")
            cache.set("other", 1)
            Failing.error = error
            if on_engine_error == "raise":
                with pytest.raises(EngineError):
                    forget(cache)
            else:
                assert not forget(cache)
            info = cache.stats()
            assert (info.engine_open, info.pending) == (True, 1)
            # the engine answers again, and is not asked: the rest is not over
            Failing.error = None
            Failing.calls.clear()
            for _ in range(5):
                if on_engine_error == "raise":
                    with pytest.raises(EngineUnavailableError):
                        cache.get("k")
                else:
                    assert cache.get("k") is None
                    assert cache.get_or_set("k", lambda: "computed") == "computed"
            assert Failing.calls == []
            wait_until_back(cache, now)
            assert Failing.calls[0] == debt
            assert cache.get("k") is None
            assert cache.get("other") == (None if debt == "clear" else 1)
            assert cache.stats().pending == 0
            assert cache.set("k", "newer")
            assert cache.get("k") == "newer"
        changes = [(event.open, event.pending) for event in failing if isinstance(event, BreakerChanged)]
        assert changes[-1] == (False, 1)

    def test_invalidations_made_while_it_is_left_alone_are_queued_once_each(self, failing):
        """The engine is not asked for any of them before it is back."""
        now = [100.0]
        with open_cache("f", engine="failing", clock=ticking(now)) as cache:
            for key in range(5):
                cache.set(key, key)
            Failing.error = EngineUnavailableError("failing", "connect", "refused")
            cache.get("k")
            Failing.calls.clear()
            for _ in range(3):
                for key in range(3):
                    assert cache.delete(key) is False
            assert (Failing.calls, cache.stats().pending) == ([], 3)
            Failing.error = None
            wait_until_back(cache, now)
            assert Failing.calls.count("delete") == 3
            assert cache.get_many(range(5)) == {3: 3, 4: 4}

    def test_an_engine_that_fails_again_while_it_is_told_stays_alone(self, failing):
        """What it could not be told is still owed."""
        now = [100.0]
        with open_cache("f", engine="failing", clock=ticking(now)) as cache:
            cache.set("k", "old")
            Failing.error = EngineUnavailableError("failing", "connect", "refused")
            cache.delete("k")
            for _ in range(3):
                Failing.calls.clear()
                now[0] += 1.0
                assert cache.get("k") is None
                wait_until(lambda: Failing.calls == ["delete"])
                assert cache.stats().pending == 1
            Failing.error = None
            wait_until_back(cache, now)
            assert cache.get("k") is None

    def test_a_failed_set_is_followed_by_a_delete(self, failing):
        """The engine that refuses to write may still remove: then nothing is owed."""
        with open_cache("f", engine="failing") as cache:
            cache.set("k", "old")
            Failing.calls.clear()
            Failing.error, Failing.fails = RuntimeError("full"), {"set"}
            assert cache.set("k", "new") is False
            assert Failing.calls == ["set", "delete"]
            assert (cache.get("k"), cache.stats().pending) == (None, 0)

    def test_the_asynchronous_cache_keeps_the_same_promises(self, failing):
        """Queued, not read before, and told by a task behind the caller."""
        now = [100.0]

        async def main():
            async with open_async_cache("f", engine="failing", clock=ticking(now)) as cache:
                await cache.set("k", "old")
                await cache.set("other", 1)
                Failing.error = EngineUnavailableError("failing", "connect", "refused")
                assert await cache.delete("k") is False
                Failing.error = None
                Failing.calls.clear()
                assert await cache.get("k") is None
                assert Failing.calls == []
                async with asyncio.timeout(PATIENCE):
                    while (await cache.stats()).engine_open:
                        now[0] += 1.0
                        await cache.get("k")
                        await asyncio.sleep(0.001)
                assert Failing.calls[0] == "delete"
                assert (await cache.get("k"), await cache.get("other")) == (None, 1)

        asyncio.run(main())

    def test_what_is_queued_is_told_without_another_call(self, failing):
        """Soon after the engine is back, though nobody uses the cache."""
        with open_cache("f", engine="failing") as cache:
            cache.set("k", 1)
            Failing.error = EngineUnavailableError("failing", "connect", "refused")
            cache.delete("k")
            Failing.calls = []
            Failing.error = None
            deadline = time.monotonic() + 60
            while cache.lifecycle.breaker.open and time.monotonic() < deadline:
                time.sleep(0.01)
            assert "delete" in Failing.calls
            assert "get" not in Failing.calls
            assert cache.lifecycle.breaker.pending == 0

    def test_what_is_queued_is_told_on_closing(self, failing):
        """The last chance; an engine that is still down costs one attempt, and no error."""
        for error in (None, EngineUnavailableError("failing", "connect", "refused")):
            cache = open_cache("f", engine="failing")
            Failing.error = EngineUnavailableError("failing", "connect", "refused")
            cache.delete("k")
            Failing.calls = []
            Failing.error = error
            cache.close()
            assert Failing.calls == ["delete"]
            assert cache.lifecycle.breaker.open is (error is not None)

    def test_damaged_entries_are_misses(self, failing):
        """Cut short, altered, foreign, empty: a miss and an event, never an exception or another value."""
        with open_cache("f", engine="failing") as cache:
            cache.set("k", "value")
            engine = cache._engine
            (digest,) = engine._entries
            whole = engine._entries[digest]
            damaged = [b"", whole[:-1], whole[:40], whole + b"x", b"\x80\x05N.", os.urandom(200)]
            damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
            for blob in damaged:
                engine._entries[digest] = blob
                assert cache.get("k", MISSING) is MISSING
            cache.set("other", "value")
            other = next(key for key in engine._entries if key != digest)
            engine._entries[digest] = engine._entries[other]
            assert cache.get("k", MISSING) is MISSING
            assert cache.stats().unreadable == len(damaged) + 1
        assert any(isinstance(event, Unreadable) for event in failing)

    def test_what_the_engine_lacks_is_named_with_engines_that_have_it(self, failing):
        """incr() needs compare-and-set."""
        with (
            open_cache("f", engine="failing") as cache,
            pytest.raises(UnsupportedByEngineError, match=r"'failing'.*incr.*memory"),
        ):
            cache.incr("n")

    def test_listeners_hear_of_hits_misses_and_stores(self, failing):
        """Also on engines whose hits are otherwise generated code."""
        from cachewright import cached

        @cached
        def compute(x):
            return x

        compute(1), compute(1), compute(1)
        kinds = [type(event) for event in failing]
        assert kinds.count(Hit) == 2
        assert kinds.count(Miss) == 1
        assert kinds.count(Stored) == 1
        assert compute.cache_info()[:2] == (2, 1)

"""An engine that fails: nobody notices who need not, and nothing that was invalidated comes back."""

from __future__ import annotations

import logging
import sys
import threading
import uuid
from contextlib import suppress

import pytest

from cachewright import MISSING, Freshness
from cachewright.engine import Capabilities, Costs, Engine, EngineInfo
from cachewright.errors import EngineError, EngineUnavailableError
from cachewright.events import BreakerChanged, EngineFailed, RefreshFailed
from cachewright.hookspecs import hookimpl
from cachewright.registry import default_registry

PATIENCE = 20.0
DOWN = EngineUnavailableError("scripted", "connect", "refused")


class Script:
    """What the engines of a test do: where their entries are, what they were asked, what they raise."""

    def __init__(self):
        self.stores = {}
        self.lock = threading.RLock()
        self.asked = []
        self.raises = lambda method, namespace: None

    def fail(self, error, *methods, aside=None):
        """Raise ``error`` from these methods, or from all; of one of the two engines, or both."""

        def raises(method, namespace):
            if methods and method not in methods:
                return None
            if aside is not None and aside != ("\0aside" in namespace):
                return None
            return error

        self.raises = raises

    def mend(self):
        """Work again."""
        self.raises = lambda method, namespace: None


SCRIPT = Script()


class Scripted(Engine):
    """An engine of bytes that others share, which does as the script says."""

    name = "scripted"

    def __init__(self, config):
        self.namespace = config.namespace
        self._entries = SCRIPT.stores.setdefault(config.namespace, {})

    def _do(self, method):
        SCRIPT.asked.append(method)
        error = SCRIPT.raises(method, self.namespace)
        if error is not None:
            raise error

    def get(self, key, /):
        self._do("get")
        return self._entries.get(key, MISSING)

    def get_many(self, keys, /):
        self._do("get_many")
        return {key: self._entries[key] for key in keys if key in self._entries}

    def set(self, key, value, /, *, ttl=None, size=1):
        self._do("set")
        self._entries[key] = b"".join(value)
        return True

    def compare_and_set(self, key, expected, value, /, *, ttl=None, size=1):
        self._do("compare_and_set")
        with SCRIPT.lock:
            current = self._entries.get(key, MISSING)
            if expected is MISSING or current is MISSING:
                same = current is expected
            else:
                same = current == (expected if isinstance(expected, bytes) else b"".join(expected))
            if same and value is MISSING:
                self._entries.pop(key, None)
            elif same:
                self._entries[key] = b"".join(value)
            return same

    def delete(self, key, /):
        self._do("delete")
        return self._entries.pop(key, MISSING) is not MISSING

    def clear(self):
        self._do("clear")
        self._entries.clear()

    def keys(self):
        self._do("keys")
        return iter(list(self._entries))

    def count(self):
        self._do("count")
        return len(self._entries)


class Lonely(Scripted):
    """The same without compare-and-set."""

    name = "lonely"


@pytest.fixture
def script():
    """Register the engines and a listener; return the script, whose ``events`` are what happened."""
    global SCRIPT  # noqa: PLW0603 - engines are made by the registry, out of reach
    SCRIPT = Script()
    SCRIPT.events = []
    events = SCRIPT.events

    def info(kind, **more):
        return EngineInfo(
            name=kind.name,
            target=f"{kind.__module__}:{kind.__name__}",
            capabilities=Capabilities(holds="bytes", scope="network", persistent=True, **more),
            costs=Costs(get=((64, 1.0),), set=((64, 1.0),)),
            automatic=False,
        )

    class Plugin:
        @hookimpl
        def cachewright_engines(self):
            return [info(Scripted, compare_and_set=True), info(Lonely)]

        @hookimpl
        def cachewright_listeners(self):
            return [events.append]

    sys.modules.setdefault(Scripted.__module__, sys.modules[__name__])
    plugin = Plugin()
    default_registry().register(plugin, f"scripted-{uuid.uuid4().hex}")
    log = logging.getLogger("cachewright")
    log.disabled = True
    yield SCRIPT
    log.disabled = False
    default_registry().unregister(plugin)


@pytest.fixture(params=["scripted", "lonely"])
def world(request, colour, script, make_world):
    """Return a world on the failing engine, with and without compare-and-set."""
    made = make_world(colour, request.param)
    yield made
    script.mend()
    made.close()


class TestTheCallerNeverNotices:
    """Mode "compute"."""

    @pytest.mark.parametrize(
        "method", ["get", "get_many", "set", "compare_and_set", "delete", "clear", "keys", "count"]
    )
    @pytest.mark.parametrize(
        "error",
        [
            DOWN,
            EngineError("scripted", "work", "broken"),
            RuntimeError("foreign"),
            OSError(28, "full"),
            TimeoutError(),
        ],
    )
    def test_whatever_fails(self, world, script, source, method, error):
        """Every operation has an answer, and the function runs once per call."""
        cache = world.open()
        tags = {"tags": "t"} if world.engine == "scripted" else {}
        load = world.cached(source, cache, ttl=10, freshness=Freshness(stale_ttl=10, error_ttl=50), **tags)
        assert load(1) == 1
        script.fail(error, method)
        for at in range(12):
            before = source.calls
            load(at)
            assert source.calls <= before + 1
            load.peek(at)
            load.is_cached(at)
        load.invalidate(1)
        load.invalidate_where(x=1)
        load.put(1, 1)
        load.cache_info()
        cache.get("k")
        cache.set("k", 1)
        cache.get_many(["k", "l"])
        cache.delete("k")
        cache.set_many({"k": 1, "l": 2})
        list(cache.entries())
        cache.stats()
        cache.verify()
        if tags:
            cache.invalidate_tags("t")
        load.cache_clear()
        cache.clear()

    @pytest.mark.parametrize("method", [None, "get", "set", "compare_and_set", "get_many"])
    def test_a_refresh_neither(self, world, script, source, method, eventually):
        """A stale value is served as long as it can be read, and nothing hangs on to its key."""
        load = world.cached(source, ttl=10, freshness=Freshness(stale_ttl=100))
        assert load(1) == 1
        world.clock.advance(11)
        script.fail(RuntimeError("foreign"), *([method] if method else []))
        for _ in range(3):
            load(1)
        script.mend()
        world.clock.advance(1)

        def fresh():
            load(1)
            world.clock.advance(0.01)
            return load.is_cached(1)

        eventually(fresh)


class TestTheBreaker:
    """When an engine is left alone, and asked again."""

    def test_it_opens_at_once_for_an_engine_out_of_reach(self, world, script, source):
        """From then on there is no I/O; cache_info() and an event say so."""
        cache = world.open()
        load = world.cached(source, cache)
        load(1)
        script.fail(DOWN)
        load(1)
        asked = len(script.asked)
        assert [load(1) for _ in range(50)] == list(range(3, 53))
        assert len(script.asked) == asked
        assert load.cache_info().engine_open
        assert _changes(script) == [(True, 0)]

    def test_it_opens_after_several_errors_in_a_row(self, world, script, source):
        """An engine that answers now and then is asked on."""
        cache = world.open()
        script.fail(RuntimeError("foreign"))
        for _ in range(4):
            cache.get("k")
        assert not cache._target.lifecycle.breaker.open
        script.mend()
        cache.get("k")
        script.fail(RuntimeError("foreign"))
        for _ in range(4):
            cache.get("k")
        script.mend()
        cache.get("k")
        assert _changes(script) == []
        script.fail(RuntimeError("foreign"))
        for _ in range(5):
            cache.get("k")
        assert _changes(script) == [(True, 0)]

    def test_a_probe_in_the_background_closes_it(self, world, script, source, eventually):
        """Not before the rest is over; callers are never made to wait for it."""
        cache = world.open()
        load = world.cached(source, cache)
        load(1)
        script.fail(DOWN)
        load(1)
        script.mend()
        asked = len(script.asked)
        load(1)
        assert len(script.asked) == asked
        world.clock.advance(1)
        load(1)
        eventually(lambda: not load.cache_info().engine_open)
        assert load(1) == load(1)
        assert _changes(script) == [(True, 0), (False, 0)]

    def test_probes_that_fail_are_spaced(self, world, script, eventually):
        """One at a time, half a second apart at the most."""
        cache = world.open()
        script.fail(DOWN)
        cache.get("k")
        for _ in range(5):
            world.clock.advance(0.6)
            asked = len(script.asked)
            for _ in range(20):
                cache.get("k")
            eventually(lambda asked=asked: len(script.asked) == asked + 1)
            eventually(lambda: not cache._target.lifecycle.breaker._probing)
        script.mend()
        world.clock.advance(0.6)
        cache.get("k")
        eventually(lambda: not cache._target.lifecycle.breaker.open)


class TestQueuedInvalidations:
    """What an engine could not be told, it is told before it is read again."""

    @pytest.mark.parametrize(
        "how", ["invalidate", "where", "clear", "cache_clear", "tags", "set", "put", "refresh"]
    )
    @pytest.mark.parametrize("error", [DOWN, RuntimeError("foreign")])
    @pytest.mark.parametrize("when", ["before", "by it"])
    def test_nothing_old_is_ever_served(self, world, script, gate, how, error, when, eventually):
        """Whether the engine was known to be down, or is found to be by the invalidation itself."""
        if how == "tags" and world.engine == "lonely":
            pytest.skip("no compare_and_set, no tags")
        state = ["old"]
        calls = []

        def body(x):
            calls.append(x)
            return state[0]

        cache = world.open()
        tags = {"tags": "t"} if world.engine == "scripted" else {}
        load = world.cached(body, cache, **tags)
        assert load(1) == "old"
        assert load.is_cached(1)
        script.fail(error)
        if when == "before":
            for _ in range(5):
                cache.get("other")
        state[0] = "new"
        {
            "invalidate": lambda: load.invalidate(1),
            "where": lambda: load.invalidate_where(x=1),
            "clear": cache.clear,
            "cache_clear": load.cache_clear,
            "tags": lambda: cache.invalidate_tags("t"),
            "set": lambda: load.put("new", 1),
            "put": lambda: load.put("new", 1),
            "refresh": lambda: (load.refresh(1), load.invalidate(1)),
        }[how]()
        info = load.cache_info()
        assert info.engine_open
        assert info.pending
        assert load(1) == "new"
        script.mend()
        assert load(1) == "new"
        world.clock.advance(1)
        for _ in range(5):
            assert load(1) == "new"
        eventually(lambda: not load.cache_info().engine_open)
        assert load(1) == "new"
        assert load(1) == "new"
        assert load.cache_info().pending == 0
        changes = _changes(script)
        assert [opened for opened, _ in changes] == [True, False]
        assert changes[-1][1] > 0

    @pytest.mark.parametrize("method", ["delete", "get", "keys"])
    def test_an_invalidation_by_arguments_that_fails_half_way(
        self, world, script, method, source, eventually
    ):
        """An entry that could not be looked at is not served again either."""
        cache = world.open()
        load = world.cached(source, cache)
        load(1)
        load(2)
        script.fail(RuntimeError("foreign"), method)
        load.invalidate_where(x=1)
        script.mend()
        world.clock.advance(1)
        load(3)
        eventually(lambda: not load.cache_info().engine_open)
        assert not load.is_cached(1)

    def test_a_tag_whose_token_cannot_be_had(self, world, script, eventually):
        """A value stored with it is not one without it."""
        if world.engine == "lonely":
            pytest.skip("no compare_and_set, no tags")
        cache = world.open()
        script.fail(RuntimeError("foreign"), "get_many", "get", "compare_and_set", aside=True)
        cache.set("k", 1, tags=("t",))
        script.mend()
        cache.invalidate_tags("t")
        world.clock.advance(1)
        cache.get("other")
        eventually(lambda: not cache._target.lifecycle.breaker.open)
        assert cache.get("k") is None

    def test_the_latest_of_each_key_is_enough(self, world, script, source):
        """The queue is bounded by the keys; beyond ten thousand it is one of everything."""
        cache = world.open()
        script.fail(DOWN)
        cache.get("k")
        for _ in range(3):
            for at in range(10):
                cache.delete(at)
        assert cache.stats().pending == 10
        cache.delete_many(range(10_001))
        assert cache.stats().pending == 1

    def test_others_call_while_it_recovers(self, world, script, eventually):
        """No read passes the queue, and no call fails."""
        state = ["old"]
        load = world.cached(lambda x: state[0])
        for x in range(20):
            load(x)
        for _ in range(5):
            state[0] = "old"
            for x in range(20):
                load.refresh(x)
            script.fail(DOWN)
            state[0] = "new"
            for x in range(20):
                load.invalidate(x)
            stop = threading.Event()
            wrong = []

            def hammer(stop=stop, wrong=wrong):
                while not stop.is_set():
                    wrong.extend(x for x in range(20) if load(x) != "new")

            threads = [threading.Thread(target=hammer) for _ in range(4)]
            for thread in threads:
                thread.start()
            script.mend()
            world.clock.advance(1)
            eventually(lambda: not load.cache_info().engine_open)
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
            assert wrong == []


class TestRaising:
    """Mode "raise"."""

    def test_every_operation_says_so(self, world, script, source):
        """With the engine's own error; what is left alone raises too."""
        cache = world.open(on_engine_error="raise")
        load = world.cached(source, cache)
        load(1)
        script.fail(DOWN)
        for call in (
            lambda: load(1),
            lambda: load(1),
            lambda: load.invalidate(1),
            lambda: load.invalidate_where(x=1),
            lambda: load.refresh(1),
            lambda: load.put(1, 1),
            lambda: cache.get("k"),
            lambda: cache.set("k", 1),
            lambda: cache.delete("k"),
            cache.clear,
        ):
            with pytest.raises(EngineError):
                call()

    @pytest.mark.parametrize("how", ["invalidate", "where", "clear", "tags", "put"])
    def test_an_invalidation_that_raised_is_made_up_for(self, world, script, how, eventually):
        """Even so it is not lost."""
        if how == "tags" and world.engine == "lonely":
            pytest.skip("no compare_and_set, no tags")
        state = ["old"]
        cache = world.open(on_engine_error="raise")
        tags = {"tags": "t"} if world.engine == "scripted" else {}
        load = world.cached(lambda x: state[0], cache, **tags)
        load(1)
        script.fail(RuntimeError("foreign"))
        state[0] = "new"
        with pytest.raises(EngineError):
            {
                "invalidate": lambda: load.invalidate(1),
                "where": lambda: load.invalidate_where(x=1),
                "clear": cache.clear,
                "tags": lambda: cache.invalidate_tags("t"),
                "put": lambda: load.put("new", 1),
            }[how]()
        script.mend()
        world.clock.advance(1)

        def answered():
            try:
                return load(1)
            except EngineError:
                return None

        eventually(lambda: answered() is not None)
        assert answered() == "new"

    def test_a_stale_read_leaves_no_flight_behind(self, world, script, source, eventually):
        """A refresh that cannot even begin does not block its key."""
        if world.engine == "lonely":
            pytest.skip("no compare_and_set, no tags")
        cache = world.open(on_engine_error="raise")
        load = world.cached(
            source, cache, ttl=10, tags=lambda value: ["t"], freshness=Freshness(stale_ttl=50)
        )
        load(1)
        world.clock.advance(11)
        asked = []

        def raises(method, namespace):
            if "\0aside" in namespace:
                asked.append(method)
                return RuntimeError("foreign") if len(asked) == 2 else None
            return None

        script.raises = raises
        with suppress(EngineError):
            load(1)
        script.mend()
        eventually(lambda: not len(cache._target._flights))
        world.clock.advance(100)
        assert isinstance(load(1), int)


class TestServingWhatWasSeen:
    """Mode "stale"."""

    @pytest.mark.parametrize("error", [DOWN, RuntimeError("foreign")])
    def test_what_was_read_is_served_while_it_is_down(self, world, script, source, error):
        """Also by the very call that finds out; what was never seen is computed."""
        cache = world.open(on_engine_error="stale")
        load = world.cached(source, cache, ttl=10)
        assert [load(1), load(1)] == [1, 1]
        script.fail(error)
        assert [load(1) for _ in range(10)] == [1] * 10
        assert load(2) == 2

    @pytest.mark.parametrize("how", ["invalidate", "where", "clear", "cache_clear", "tags", "put", "ttl"])
    def test_nothing_that_was_invalidated_is(self, world, script, how):
        """What this process removes, replaces or lets expire is not served from what it has seen."""
        if how == "tags" and world.engine == "lonely":
            pytest.skip("no compare_and_set, no tags")
        state = ["old"]
        cache = world.open(on_engine_error="stale")
        tags = {"tags": "t"} if world.engine == "scripted" else {}
        load = world.cached(lambda x: state[0], cache, ttl=10, **tags)
        assert [load(1), load(1)] == ["old", "old"]
        script.fail(DOWN)
        assert load(1) == "old"
        state[0] = "new"
        {
            "invalidate": lambda: load.invalidate(1),
            "where": lambda: load.invalidate_where(x=1),
            "clear": cache.clear,
            "cache_clear": load.cache_clear,
            "tags": lambda: cache.invalidate_tags("t"),
            "put": lambda: load.put("new", 1),
            "ttl": lambda: world.clock.advance(11),
        }[how]()
        assert [load(1) for _ in range(3)] == ["new"] * 3
        assert load.peek(1) in {MISSING, "new"}


def test_a_refresh_that_fails_is_announced(world, script, source, eventually):
    """RefreshFailed carries what the function raised; EngineFailed is for engines."""
    load = world.cached(source, ttl=10, freshness=Freshness(stale_ttl=50))
    load(1)
    world.clock.advance(11)
    source.error = ValueError("mine")
    assert load(1) == 1
    eventually(lambda: any(isinstance(event, RefreshFailed) for event in script.events))
    assert not any(isinstance(event, EngineFailed) for event in script.events)


def _changes(script):
    return [(event.open, event.pending) for event in script.events if isinstance(event, BreakerChanged)]

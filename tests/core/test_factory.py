"""Where settings, registry and selector meet: which engine is opened, and how."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from cachewright import cached, open_async_cache, open_cache, rank
from cachewright._packing import EntryPacker, PlainPacker, SealedPacker
from cachewright._spec import DEFAULT_MAXSIZE, Spec
from cachewright.builtin.null import NullEngine
from cachewright.config import Settings
from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.entry import Clock
from cachewright.errors import (
    ConfigurationError,
    NoEngineQualifiesError,
    UnknownEngineError,
    UnknownSerializerError,
    UnserializableError,
)
from cachewright.factory import build, build_async, plugins
from cachewright.hookspecs import hookimpl
from cachewright.registry import default_registry
from cachewright.workload import Workload

KEY = "00112233445566778899aabbccddeeff" * 2


class Recording(NullEngine):
    """Keeps what it was opened with."""

    opened: list = []

    def __init__(self, config):
        type(self).opened.append(config)


@pytest.fixture
def recorded(monkeypatch):
    """Return a function that offers a recording engine with the abilities given; it returns its configs."""
    monkeypatch.setitem(sys.modules, "engine_of_test_factory", sys.modules[__name__])
    monkeypatch.setattr(Recording, "opened", [])
    installed = []

    def offer(**abilities):
        class Plugin:
            @hookimpl
            def cachewright_engines(self):
                return [
                    EngineInfo(
                        name="recording",
                        target="engine_of_test_factory:Recording",
                        automatic=False,
                        capabilities=Capabilities(**{"holds": "objects", **abilities}),
                        costs=Costs(get=((64, 1e-6),), set=((64, 1e-6),)),
                    )
                ]

        installed.append(Plugin())
        default_registry().register(installed[-1], "recording")
        return Recording.opened

    yield offer
    for plugin in installed:
        default_registry().unregister(plugin)


def survives(engine):
    """Whether what an engine stores outlives the process; which of those installed is best may change."""
    return default_registry().engine(engine).capabilities.persistent


class TestChoice:
    """Which engine is opened."""

    def test_the_needs_decide(self, tmp_path):
        """The best engine for one process, and the best one for what has to survive it."""
        with open_cache("choice") as near, open_cache("choice", path=tmp_path) as kept:
            assert near.explain().rankings[0].engine == near.engine
            assert kept.explain().rankings[0].engine == kept.engine
            assert survives(kept.engine)
            assert "the best installed engine for" in kept.explain().why

    def test_a_name_decides_and_so_does_a_setting(self, tmp_path):
        """The nearest choice wins; the explanation says where it was made."""
        settings = Settings(engine="sqlite", dir=tmp_path)
        with open_cache("choice", settings=settings) as cache:
            assert cache.engine == "sqlite"
            assert cache.explain().why == "asked for by name (argument)"
        with open_cache("choice", settings=settings, engine="null") as cache:
            assert (cache.engine, cache.explain().why) == ("null", "asked for by name")

    def test_a_setting_that_does_not_fit_is_passed_over_with_a_note(self, tmp_path):
        """A preference of the application cannot fit each of its functions."""
        with open_cache("choice", settings=Settings(engine="memory", dir=tmp_path), persist=True) as cache:
            assert survives(cache.engine)
            [note] = cache.explain().notes
        assert "engine 'memory' (argument) is not used here: survives only the process" in note

    def test_a_name_that_does_not_fit_is_an_error_that_says_which_would(self):
        """A wish for one cache is not passed over."""
        with pytest.raises(
            NoEngineQualifiesError, match=r"memory: survives only the process.*these would do:.*sqlite"
        ):
            open_cache("choice", engine="memory", persist=True)

    def test_an_unknown_engine_is_an_error_wherever_it_was_named(self):
        """Also in the settings."""
        for choices in ({"engine": "nobody"}, {"settings": Settings(engine="nobody")}):
            with pytest.raises(UnknownEngineError, match="no engine named 'nobody'"):
                open_cache("choice", **choices)

    def test_the_network_needs_an_engine_for_it(self, monkeypatch):
        """Without one, the error says what to install."""
        others = [row.name for row in plugins() if row.name != "builtin"]
        default_registry().refresh()
        monkeypatch.setenv("CACHEWRIGHT_DISABLED_PLUGINS", ",".join(others))
        try:
            with pytest.raises(NoEngineQualifiesError, match="pip install cachewright-redis"):
                open_cache("choice", scope="network")
        finally:
            monkeypatch.undo()
            default_registry().refresh()

    def test_ranking_puts_the_rejected_last(self):
        """With their reasons."""
        rows = rank(Workload.of_type(dict, persist=True))
        assert survives(rows[0].engine)
        rejected = [row.rejected is not None for row in rows]
        assert rejected == sorted(rejected)


class TestBounds:
    """What an engine is opened with."""

    def test_it_is_given_the_bounds_that_it_can_keep(self, recorded):
        """And the options as they are."""
        opened = recorded(max_entries=True, max_bytes=True, policies=("lru",))
        clock = Clock()
        open_cache(
            "bounds",
            engine="recording",
            maxsize=7,
            max_bytes="2kB",
            policy="lru",
            options={"a": 1},
            clock=clock,
        ).close()
        [config] = opened
        assert (config.namespace, config.maxsize, config.max_bytes, config.policy) == (
            "bounds",
            7,
            2000,
            "lru",
        )
        assert config.options == {"a": 1}
        assert config.clock is clock

    @pytest.mark.parametrize("bound", [{"maxsize": 7}, {"max_bytes": 7}, {"policy": "lru"}])
    def test_a_bound_that_it_cannot_keep_is_refused(self, recorded, bound):
        """Not dropped in silence."""
        recorded()
        with pytest.raises(NoEngineQualifiesError, match=r"recording: (cannot bound|no lru policy)"):
            open_cache("bounds", engine="recording", **bound)

    def test_the_default_bound_is_no_demand(self, recorded):
        """An engine that cannot count entries is not held to it."""
        opened = recorded()
        build(Spec(namespace="n", engine="recording", maxsize=DEFAULT_MAXSIZE)).close()
        assert opened[0].maxsize is None
        with pytest.raises(NoEngineQualifiesError, match="cannot bound the number of entries"):
            build(Spec(namespace="n", engine="recording", maxsize=1024))

    @pytest.mark.parametrize(
        ("abilities", "choices", "path"),
        [
            ({"persistent": True, "scope": "host"}, {}, "cache/recording"),
            ({"persistent": True, "scope": "host"}, {"path": "own"}, "own"),
            ({"persistent": True, "scope": "network"}, {}, None),
            ({}, {}, None),
        ],
    )
    def test_only_engines_that_keep_files_have_a_directory(
        self, recorded, tmp_path, abilities, choices, path
    ):
        """A folder of their own below the cache directory, or the one that was asked for."""
        opened = recorded(**abilities)
        if "path" in choices:
            choices = {"path": tmp_path / choices["path"]}
        open_cache("n", engine="recording", settings=Settings(dir=tmp_path / "cache"), **choices).close()
        assert opened[0].path == (None if path is None else tmp_path / path)

    def test_a_path_may_start_at_home(self, recorded, monkeypatch, tmp_path):
        """``~`` is expanded."""
        opened = recorded(persistent=True, scope="host")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        open_cache("n", engine="recording", path="~/kept").close()
        assert opened[0].path == Path(tmp_path, "kept")

    def test_the_address_is_the_nearest_one(self, recorded):
        """The argument, else the setting."""
        opened = recorded(scope="network", persistent=True)
        settings = Settings(url="redis://far", timeout=3)
        open_cache("n", engine="recording", settings=settings, url="redis://near").close()
        open_cache("n", engine="recording", settings=settings).close()
        assert [(config.url, config.timeout) for config in opened] == [
            ("redis://near", 3.0),
            ("redis://far", 3.0),
        ]


class TestNamespaces:
    """Functions in a store that others share."""

    def function(self, module="pkg.mod", filename="/one/mod.py"):
        scope = {"__name__": module}
        exec(compile("def load(): pass", filename, "exec"), scope)
        return scope["load"]

    def namespace(self, recorded_config, fn, **choices):
        spec = Spec(namespace=f"{fn.__module__}.load", engine="recording", definition=fn, **choices)
        build(spec).close()
        return recorded_config[-1].namespace

    def test_in_a_shared_directory_a_function_belongs_to_its_file(self, recorded, tmp_path):
        """Two applications of one user may both have a ``load`` in a module ``mod``."""
        opened = recorded(persistent=True, scope="host")
        one, two = self.function(), self.function()
        for name, fn in (("one", one), ("two", two)):
            path = tmp_path / f"{name}.py"
            path.write_text("")
            fn.__code__ = fn.__code__.replace(co_filename=str(path))
        names = [self.namespace(opened, fn) for fn in (one, two, one)]
        assert names[0] == names[2] != names[1]
        assert all(name.startswith("pkg.mod.load@") for name in names)

    def test_in_a_directory_of_the_applications_own_the_name_will_do(self, recorded, tmp_path):
        """But for scripts, each of which has a module ``__main__``."""
        opened = recorded(persistent=True, scope="host")
        assert self.namespace(opened, self.function(), path=tmp_path) == "pkg.mod.load"
        assert self.namespace(opened, self.function(), settings=Settings(dir=tmp_path)) == "pkg.mod.load"
        script = self.function(module="__main__")
        assert self.namespace(opened, script, path=tmp_path).startswith("__main__.load@")

    def test_in_the_process_nothing_is_added(self, recorded):
        """Every function has a store of its own there."""
        assert self.namespace(recorded(), self.function(module="__main__")) == "__main__.load"


class TestPacking:
    """How values are stored."""

    @pytest.mark.parametrize(
        ("choices", "plain", "packer"),
        [
            ({}, True, PlainPacker),
            ({"ttl": 5}, True, EntryPacker),
            ({"ttl": len}, True, EntryPacker),
            ({"copy": "value"}, True, EntryPacker),
            ({}, False, EntryPacker),
            ({"persist": True}, True, SealedPacker),
        ],
    )
    def test_the_simplest_way_that_keeps_the_promises(self, tmp_path, choices, plain, packer):
        """Clocks where there is a ttl, envelopes where there are bytes."""
        spec = Spec(namespace="n", settings=Settings(dir=tmp_path, data_dir=tmp_path / "keys"), **choices)
        with build(spec, plain=plain) as cache:
            assert type(cache.lifecycle.packer) is packer

    def test_objects_need_no_serializer(self):
        """To ask for one is a mistake."""
        with pytest.raises(ConfigurationError, match=r"serializer='data'.*keeps objects as they are"):
            open_cache("n", engine="memory", serializer="data")

    def test_an_unknown_serializer_is_an_error(self, tmp_path):
        """With those that are installed."""
        with pytest.raises(UnknownSerializerError, match=r"installed: .*pickle"):
            open_cache("n", path=tmp_path, serializer="nobody")

    def test_a_private_store_is_authenticated_by_the_users_own_key(self, tmp_path):
        """Any object that can be pickled may be stored; the key is apart from the entries."""
        settings = Settings(dir=tmp_path / "cache", data_dir=tmp_path / "keys")
        with open_cache("n", persist=True, settings=settings) as cache:
            assert cache.set("k", Workload())
            assert cache.get("k") == Workload()
            assert "authenticated" in cache.explain().storage
        assert any((tmp_path / "keys").rglob("*"))

    def test_a_store_of_others_holds_plain_data_until_keys_are_set(self, recorded):
        """Then it holds what can be pickled."""
        recorded(holds="bytes", scope="network", persistent=True)
        with open_cache("n", engine="recording") as cache:
            assert "not authenticated, so data only" in cache.explain().storage
            with pytest.raises(UnserializableError, match="CACHEWRIGHT_SIGNING_KEYS"):
                cache.set("k", Workload())
        with pytest.raises(ConfigurationError, match=r"serializer='pickle'.*not authenticated"):
            open_cache("n", engine="recording", serializer="pickle")
        with open_cache("n", engine="recording", settings=Settings(signing_keys=KEY)) as cache:
            assert cache.explain().storage.endswith("; authenticated")
            cache.set("k", Workload())
        with open_cache(
            "n", engine="recording", serializer="pickle", settings=Settings(signing_keys=KEY)
        ) as cache:
            assert cache.lifecycle.packer.chain.infos[0].name == "pickle"

    def test_keys_that_cannot_be_read_are_an_error_that_shows_none(self, recorded):
        """At opening."""
        recorded(holds="bytes", scope="network")
        with pytest.raises(ConfigurationError, match="signing_keys") as caught:
            open_cache("n", engine="recording", settings=Settings(signing_keys="no-key-of-mine!"))
        assert "no-key-of-mine" not in str(caught.value)

    def test_the_largest_value_is_a_setting(self, tmp_path):
        """Larger ones are refused."""
        settings = Settings(dir=tmp_path, data_dir=tmp_path / "keys", max_value_bytes=1000)
        with open_cache("n", persist=True, settings=settings) as cache:
            assert cache.set("k", b"x" * 100)
            with pytest.raises(UnserializableError, match="max_value_bytes"):
                cache.set("k", b"x" * 2000)


class TestColours:
    """Caches for event loops."""

    def test_memory_is_driven_directly_and_a_disk_by_threads(self, tmp_path):
        """Both give what was stored."""

        async def both():
            seen = []
            for choices in ({"engine": "memory"}, {"engine": "sqlite", "path": tmp_path}):
                async with open_async_cache("n", **choices) as cache:
                    await cache.set("k", [1])
                    seen.append((cache.engine, await cache.get("k")))
            return seen

        assert asyncio.run(both()) == [("memory", [1]), ("sqlite", [1])]

    def test_opening_does_not_need_a_loop(self):
        """A module may open its cache while it is imported."""
        cache = open_async_cache("n", engine="memory")
        assert asyncio.run(_stored(cache)) == 1

    def test_arguments_are_checked_alike(self):
        """By the same specification."""
        for opener in (open_cache, open_async_cache):
            with pytest.raises(ConfigurationError, match="scope='planet'"):
                opener("n", scope="planet")
            with pytest.raises(ConfigurationError, match="name=''"):
                opener("")
            with pytest.raises(TypeError):
                opener("n", "memory")

    def test_a_specification_is_opened_in_either_colour(self, recorded):
        """An engine with one synchronous class serves both."""
        opened = recorded()
        build(Spec(namespace="n", engine="recording")).close()
        cache = build_async(Spec(namespace="n", engine="recording"))
        assert asyncio.run(cache.get("k")) is None
        assert len(opened) == 2


async def _stored(cache):
    await cache.set("k", 1)
    return await cache.get("k")


def test_two_caches_of_one_name_on_one_store_see_the_same_entries(tmp_path):
    """And functions in it keep to themselves."""
    with open_cache("shared", path=tmp_path) as one, open_cache("shared", path=tmp_path) as two:
        one.set("k", "v")
        assert two.get("k") == "v"

        @cached(path=tmp_path, name="fn")
        def compute(x):
            return x

        assert compute(1) == 1
        assert len(two) == 1


def test_the_installed_plugins_are_listed():
    """The built-in one is a plugin like any other."""
    [builtin] = [row for row in plugins() if row.name == "builtin"]
    assert builtin.state == "ok"
    assert {"memory", "null", "sqlite"} <= {*builtin.engines}


def test_the_log_level_of_the_settings_holds_once_a_cache_is_opened():
    """CACHEWRIGHT_LOG_LEVEL is not taken in silence."""
    logger = logging.getLogger("cachewright")
    before = logger.level
    try:
        with open_cache("log level", engine="memory", settings=Settings(log_level="ERROR")):
            assert logger.level == logging.ERROR
    finally:
        logger.setLevel(before)

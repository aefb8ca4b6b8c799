"""compress=: values that gain from a codec are stored compressed by engines of bytes, and read by anybody."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from cachewright import Settings, cached, open_async_cache, open_cache
from cachewright.codec import CodecInfo
from cachewright.errors import ConfigurationError, PluginLoadError, UnknownCodecError, UnserializableError
from cachewright.events import Unreadable
from cachewright.hookspecs import hookimpl
from cachewright.registry import default_registry
from cachewright.testing.reference import FOLDER, FolderEngine

TEXT = "the same words again and again; " * 2000
ROWS = [{"id": number, "name": f"user {number}", "tags": ["a", "b"]} for number in range(500)]


class SharedFolder(FolderEngine):
    """A store that others could have written."""

    private = False


class Plugin:
    @hookimpl
    def cachewright_engines(self):
        return [replace(FOLDER, name="folder", target="engine_of_test_compression:SharedFolder")]

    @hookimpl
    def cachewright_codecs(self):
        target = "cachewright.builtin.zlib_codec:ZlibCodec"
        return [
            CodecInfo(name="soft", code=0x7D, target=target, hardened=False, automatic=False),
            CodecInfo(
                name="absent", code=0x7E, target=target, requires=("no-such-dist",), install="soft-dist"
            ),
            CodecInfo(name="broken", code=0x7F, target="no_such_module:C", automatic=False),
        ]


@pytest.fixture
def plugin(monkeypatch):
    """An engine whose entries others could have written, and three codecs."""
    monkeypatch.setitem(sys.modules, "engine_of_test_compression", sys.modules[__name__])
    made = Plugin()
    default_registry().register(made, "codecs")
    yield made
    default_registry().unregister(made)


@pytest.fixture
def open_store(tmp_path):
    """Return what opens a cache on the one sqlite store of a test."""

    def opened(**options):
        return open_cache("compression", **{"engine": "sqlite", "path": tmp_path / "store", **options})

    return opened


def codec_of(cache, key):
    return cache.explain(key).entry.codec


@pytest.mark.parametrize("wanted", [True, "zlib"])
@pytest.mark.parametrize(
    "value", [TEXT, TEXT.encode(), ROWS, np.arange(50_000)], ids=["text", "bytes", "rows", "array"]
)
def test_values_come_back_from_fewer_bytes(open_store, wanted, value):
    """What shrinks is stored in less, and comes back with its type; who reads need not ask for anything."""
    with open_store(compress=wanted) as cache:
        assert cache.set("key", value)
        entry = cache.explain("key").entry
        assert entry.codec
        assert entry.size < entry.raw_size * 0.7
    with open_store() as cache:
        found = cache.get("key")
        assert type(found) is type(value)
        assert np.array_equal(found, value)
        if isinstance(value, np.ndarray):
            assert found.flags.aligned
        assert codec_of(cache, "key") == entry.codec
        assert cache.set("key", value)
        assert codec_of(cache, "key") == ""


def test_what_does_not_shrink_is_stored_as_it_is(open_store):
    """Noise and small values are never compressed, whatever was asked for."""
    for wanted in (True, "zlib"):
        with open_store(compress=wanted) as cache:
            for number, value in enumerate(
                (os.urandom(100_000), "small", None, 5, np.random.default_rng(1).random(5000))
            ):
                cache.set(number, value)
                assert codec_of(cache, number) == ""
                assert np.array_equal(cache.get(number), value)


@pytest.mark.parametrize("off", [None, False])
def test_nothing_is_compressed_unasked(open_store, off):
    """The default is to store values as they are."""
    with open_store(compress=off) as cache:
        cache.set("key", TEXT)
        assert codec_of(cache, "key") == ""
        assert "compressed" not in cache.explain().storage


def test_it_is_told(open_store):
    """Explaining and listing name the codec and the bytes before."""
    with open_store(compress="zlib") as cache:
        cache.set("key", TEXT)
        assert "compressed by zlib where it pays" in cache.explain().storage
        assert f"compressed by 'zlib' from {len(TEXT) + 12} bytes" in str(cache.explain("key"))
        (entry,) = cache.entries()
        assert (entry.codec, entry.raw_size, entry.cipher) == ("zlib", len(TEXT) + 12, "")


def test_functions_of_both_colours(tmp_path):
    """``cached`` takes it as well, and so do asynchronous caches."""

    @cached(engine="sqlite", path=tmp_path / "a", name="load", compress=True)
    def load(number):
        return ROWS * number

    @cached(engine="sqlite", path=tmp_path / "b", name="load", compress="zlib")
    async def aload(number):
        return ROWS * number

    async def use():
        assert await aload(2) == await aload(2) == ROWS * 2
        assert (await aload.explain(2)).entry.codec == "zlib"
        async with open_async_cache("c", engine="sqlite", path=tmp_path / "c", compress="zlib") as cache:
            await cache.set("key", TEXT)
            assert await cache.get("key") == TEXT
            assert (await cache.explain("key")).entry.codec == "zlib"
        await aload.cache.close()

    assert load(2) == load(2) == ROWS * 2
    assert load.cache_info().hits == 1
    assert load.explain(2).entry.codec
    load.cache.close()
    asyncio.run(use())


def test_swaps_and_batches_are_compressed(open_store):
    """Whatever way a value is stored."""
    with open_store(compress="zlib") as cache:
        assert cache.add("added", TEXT)
        cache.set_many({"many": TEXT, "few": "x"})
        assert cache.get_or_set("loaded", lambda: TEXT, tags=("t",)) == TEXT
        assert cache.touch("added", 60)
        assert [codec_of(cache, key) for key in ("added", "many", "few", "loaded")] == [
            "zlib",
            "zlib",
            "",
            "zlib",
        ]
        assert cache.get_many(["added", "many", "few", "loaded"])["many"] == TEXT
        cache.invalidate_tags("t")
        assert cache.get("loaded") is None
        assert cache.verify().ok


def test_engines_of_objects_refuse_it(tmp_path):
    """There is nothing to compress where objects stay objects."""
    for wanted in (True, "zlib"):
        with pytest.raises(ConfigurationError, match="keeps objects as they are"):
            open_cache("objects", engine="memory", compress=wanted)
    with open_cache("objects", engine="memory", compress=False) as cache:
        assert cache.set(1, 2)


@pytest.mark.parametrize("wanted", [3, "", 1.5, ["zlib"]])
def test_it_is_a_flag_or_a_name(open_store, wanted):
    """Anything else is refused when the cache is opened, or the function decorated."""
    with pytest.raises(ConfigurationError, match="True, False or the name of a codec"):
        open_store(compress=wanted)
    with pytest.raises(ConfigurationError, match="compress"):
        cached(compress=wanted)(lambda: 1)


def test_a_codec_that_is_not_there_is_said_to_be(open_store, plugin):
    """Unknown, not installed and broken codecs are errors that say what to do, before anything is stored."""
    with pytest.raises(UnknownCodecError, match=r"no codec named 'zstb'; installed: .*zlib"):
        open_store(compress="zstb")
    with pytest.raises(PluginLoadError, match="not installed: no-such-dist; try: pip install soft-dist"):
        open_store(compress="absent")


def test_a_broken_codec_costs_compression_alone(open_store, plugin):
    """What cannot be loaded is found out with the first value, which is stored as it is."""
    with open_store(compress="broken") as cache:
        assert cache.set("key", TEXT)
        assert codec_of(cache, "key") == ""


def test_an_entry_of_a_codec_that_is_gone_is_a_miss(open_store, plugin):
    """It is counted and announced, and the value is computed again."""
    with open_store(compress="soft") as cache:
        cache.set("key", TEXT)
        assert codec_of(cache, "key") == "soft"
    default_registry().unregister(plugin)
    heard = []

    class Listening:
        @hookimpl
        def cachewright_listeners(self):
            return [heard.append]

    listening = Listening()
    default_registry().register(listening, "listening")
    try:
        with open_store() as cache:
            assert cache.get("key", "none") == "none"
            assert [event.reason for event in heard if isinstance(event, Unreadable)] == ["codec"]
            assert cache.stats().unreadable == 1
            assert cache.explain("key").entry is None
            assert cache.get_or_set("key", lambda: "new") == "new"
            assert cache.get("key") == "new"
    finally:
        default_registry().unregister(listening)


def test_codecs_that_are_not_hardened_need_authenticated_entries(plugin, tmp_path):
    """On a store that others could have written such a codec neither writes nor reads."""
    shared = {"engine": "folder", "path": tmp_path / "shared"}
    with pytest.raises(ConfigurationError, match=r"made for hostile bytes.*SIGNING_KEYS"):
        open_cache("soft", compress="soft", **shared)
    keyed = Settings(signing_keys="ab" * 32)
    with open_cache("soft", compress="soft", settings=keyed, **shared) as cache:
        cache.set("key", TEXT)
        assert codec_of(cache, "key") == "soft"
        assert cache.get("key") == TEXT
    with open_cache("open", compress=True, **shared) as cache:
        assert "soft" not in cache.explain().storage
        cache.set("key", TEXT)
        assert codec_of(cache, "key") not in ("", "soft")
        assert cache.get("key") == TEXT


def test_the_limit_of_a_value_is_that_of_its_own_bytes(open_store):
    """Compressing lets no value pass that could not be read again."""
    tight = Settings(max_value_bytes=20_000)
    with open_store(compress="zlib", settings=tight) as cache:
        with pytest.raises(UnserializableError, match="max_value_bytes"):
            cache.set("key", "a" * 30_000)
        assert cache.set("key", "a" * 15_000)
        assert codec_of(cache, "key") == "zlib"


def test_it_is_nothing_beside_an_open_cache(open_store):
    """A function that shares a cache compresses as that cache does."""
    with open_store(compress="zlib") as cache:
        with pytest.raises(ConfigurationError, match="nothing beside cache="):
            cached(cache=cache, compress=True)(lambda: 1)
        load = cached(cache=cache, name="load")(lambda: TEXT)
        assert load() == load() == TEXT
        assert load.explain().entry.codec == "zlib"

"""encrypt=: what leaves the process shows nothing but a header, and what was not encrypted is not read."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import pytest

from cachewright import Settings, cached, open_async_cache, open_cache
from cachewright.cipher import CipherInfo
from cachewright.errors import ConfigurationError, PluginLoadError, UnknownCipherError
from cachewright.events import Unreadable
from cachewright.hookspecs import hookimpl
from cachewright.registry import default_registry
from cachewright.testing.reference import FOLDER, FolderEngine
from cachewright.testing.reference_cipher import REFERENCE

FIRST, SECOND = "ab" * 32, "cd" * 32
CANARY = "canary in plain sight, many times: " * 100


class SharedFolder(FolderEngine):
    """A store that others could have written."""

    private = False


class Plugin:
    def __init__(self):
        self.heard = []

    @hookimpl
    def cachewright_engines(self):
        return [replace(FOLDER, name="folder", target="engine_of_test_encryption:SharedFolder")]

    @hookimpl
    def cachewright_ciphers(self):
        return [
            REFERENCE,
            replace(REFERENCE, name="second", code=0x7E),
            CipherInfo(
                name="absent", code=0x7D, target="m:C", requires=("no-such-dist",), install="soft-dist"
            ),
        ]

    @hookimpl
    def cachewright_listeners(self):
        return [self.heard.append]


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
    """Two ciphers, an engine whose entries others could have written, and an ear."""
    monkeypatch.setitem(sys.modules, "engine_of_test_encryption", sys.modules[__name__])
    made = Plugin()
    default_registry().register(made, "ciphers")
    yield made
    default_registry().unregister(made)


@pytest.fixture
def open_store(tmp_path):
    """Return what opens a cache on the one sqlite store of a test."""

    def opened(**options):
        where = {"engine": "sqlite", "path": tmp_path / "store", "encrypt": "reference"}
        return open_cache("encryption", **{**where, **options})

    return opened


def stored_bytes(folder):
    """Return everything in the files of a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_nothing_of_an_entry_shows_in_the_store(open_store, tmp_path):
    """Neither small nor large values, keys, tags or items of batches are in any file."""
    with open_store() as cache:
        cache.set("canary-key", CANARY, tags=["canary-tag"])
        cache.set("canary-large", CANARY.encode() * 200)
        cache.set_many({"canary-many": {"canary": [CANARY]}})
        cache.add("canary-added", CANARY)
        assert cache.get_or_set("canary-loaded", lambda: CANARY, tags=["canary-tag"]) == CANARY
        assert cache.get("canary-key") == CANARY
        assert {entry.key for entry in cache.entries()} >= {"canary-key", "canary-loaded"}
        written = stored_bytes(tmp_path)
    assert len(written) > 500_000
    assert b"canary" not in written
    with open_store(encrypt=False) as cache:
        cache.set("canary-key", CANARY)
        assert b"canary" in stored_bytes(tmp_path)


def test_claims_show_nothing(open_store, tmp_path):
    """While a value is computed, what stands for it in the store is encrypted as well."""
    seen = []

    def load():
        seen.append(stored_bytes(tmp_path))
        return CANARY

    with open_store() as cache:
        function = cached(cache=cache, name="canary-scope", tags=("canary-tag",))(load)
        assert function() == CANARY
        cache.get_or_set("canary-key", load)
    assert len(seen) == 2
    assert not any(b"canary" in each for each in seen)


def test_values_come_back(open_store):
    """Across openings, with tags, ttl, swaps, listing and verifying, as without."""
    with open_store() as cache:
        cache.set("key", {"a": [1, None]}, ttl=60, tags=["t"])
        cache.set("other", 5)
    with open_store() as cache:
        assert cache.get("key") == {"a": [1, None]}
        assert cache.incr("other") == 6
        entry = cache.explain("key").entry
        assert (entry.cipher, entry.tags, 0 < entry.expires <= 60) == ("reference", ("t",), True)
        assert "encrypted by 'reference'" in str(cache.explain("key"))
        assert "encrypted by reference" in cache.explain().storage
        assert cache.verify().ok
        cache.invalidate_tags("t")
        assert cache.get("key") is None
        assert cache.get("other") == 6


def test_compressed_then_encrypted(open_store):
    """Both together: what is stored is short, and tells nothing."""
    with open_store(compress="zlib") as cache:
        cache.set("key", CANARY)
        entry = cache.explain("key").entry
        assert (entry.codec, entry.cipher) == ("zlib", "reference")
        assert entry.size < len(CANARY) / 3
        assert cache.get("key") == CANARY


def test_entries_from_before_are_misses(open_store, plugin):
    """What was stored in plain is not read by who encrypts, nor the other way round: each is overwritten."""
    for before, after in ((False, "reference"), ("reference", False), ("reference", "second")):
        with open_store(encrypt=before) as cache:
            cache.set("key", "old")
        plugin.heard.clear()
        with open_store(encrypt=after) as cache:
            assert cache.get("key") is None
            assert [event.reason for event in plugin.heard if isinstance(event, Unreadable)] == ["suite"]
            assert cache.get_or_set("key", lambda: "new") == "new"
            assert cache.get("key") == "new"


def test_keys_rotate(open_store):
    """The first key encrypts, all of them decrypt; without the old one its entries are misses."""
    with open_store(settings=Settings(signing_keys=FIRST)) as cache:
        cache.set("key", "old")
    with open_store(settings=Settings(signing_keys=f"{SECOND},{FIRST}")) as cache:
        assert cache.get("key") == "old"
        cache.set("other", "new")
    with open_store(settings=Settings(signing_keys=SECOND)) as cache:
        assert (cache.get("key"), cache.get("other")) == (None, "new")
    with open_store(settings=Settings(signing_keys=FIRST)) as cache:
        assert (cache.get("key"), cache.get("other")) == ("old", None)


def test_a_shared_store_needs_a_key(tmp_path):
    """Without one it is an error that says what to set; with one, it is encrypted."""
    where = {"engine": "folder", "path": tmp_path / "shared", "encrypt": "reference"}
    with pytest.raises(ConfigurationError, match="CACHEWRIGHT_SIGNING_KEYS"):
        open_cache("shared", **where)
    with open_cache("shared", settings=Settings(signing_keys=FIRST), **where) as cache:
        cache.set("key", CANARY)
        assert cache.get("key") == CANARY
        assert b"canary" not in stored_bytes(tmp_path)


def test_the_setting_decides_where_no_argument_does(open_store, monkeypatch, tmp_path):
    """For a whole application, by the environment too; an argument wins."""
    monkeypatch.setenv("CACHEWRIGHT_ENCRYPT", "reference")
    for given, cipher in ((None, "reference"), (False, ""), ("second", "second")):
        with open_store(encrypt=given) as cache:
            cache.set("key", 1)
            assert cache.explain("key").entry.cipher == cipher
    with open_store(encrypt=None, settings=Settings(encrypt="second")) as cache:
        cache.set("key", 1)
        assert cache.explain("key").entry.cipher == "second"
    monkeypatch.setenv("CACHEWRIGHT_ENCRYPT", "no")
    with open_store(encrypt=None) as cache:
        cache.set("key", 1)
        assert cache.explain("key").entry.cipher == ""
    with pytest.raises(ConfigurationError, match=r"encrypt='reference' \(from .*CACHEWRIGHT_ENCRYPT\)"):
        monkeypatch.setenv("CACHEWRIGHT_ENCRYPT", "reference")
        open_cache("shared", engine="folder", path=tmp_path / "shared")


def test_objects_in_this_process_are_not_encrypted(monkeypatch):
    """As an argument it is refused where nothing leaves the process; as a setting it means nothing there."""
    with pytest.raises(ConfigurationError, match="keeps objects as they are"):
        open_cache("objects", engine="memory", encrypt=True)
    monkeypatch.setenv("CACHEWRIGHT_ENCRYPT", "1")
    with open_cache("objects", engine="memory") as cache:
        assert cache.set(1, 2)


def test_a_cipher_that_is_not_there_is_said_to_be(open_store):
    """Unknown and not installed ciphers are errors that say what to install; nothing is stored in plain."""
    with pytest.raises(UnknownCipherError, match=r"no cipher named 'rot13'; installed: .*reference"):
        open_store(encrypt="rot13")
    with pytest.raises(PluginLoadError, match="not installed: no-such-dist; try: pip install soft-dist"):
        open_store(encrypt="absent")


def test_true_means_the_cipher_of_this_project(open_store, monkeypatch):
    """Whatever else is installed; where the plugin is missing, the error says what to install."""
    monkeypatch.setenv("CACHEWRIGHT_DISABLED_PLUGINS", "crypto")
    default_registry().refresh()
    try:
        with pytest.raises(UnknownCipherError, match=r"aes-gcm.*pip install cachewright-crypto"):
            open_store(encrypt=True)
    finally:
        monkeypatch.undo()
        default_registry().refresh()


@pytest.mark.parametrize("wanted", [3, "", 1.5, ["aes-gcm"]])
def test_it_is_a_flag_or_a_name(open_store, wanted):
    """Anything else is refused when the cache is opened, or the function decorated."""
    with pytest.raises(ConfigurationError, match="True, False or the name of a cipher"):
        open_store(encrypt=wanted)
    with pytest.raises(ConfigurationError, match="encrypt"):
        cached(encrypt=wanted)(lambda: 1)


def test_functions_of_both_colours(tmp_path):
    """``cached`` takes it as well, and so do asynchronous caches."""
    where = {"engine": "sqlite", "path": tmp_path, "encrypt": "reference"}

    @cached(name="load", **where)
    def load(number):
        return CANARY * number

    @cached(name="aload", **where)
    async def aload(number):
        return CANARY * number

    async def use():
        assert await aload(2) == await aload(2) == CANARY * 2
        assert (await aload.explain(2)).entry.cipher == "reference"
        async with open_async_cache("c", **where) as cache:
            await cache.set("key", CANARY)
            assert await cache.get("key") == CANARY
        await aload.cache.close()

    assert load(2) == load(2) == CANARY * 2
    asyncio.run(use())
    load.cache.close()
    assert b"canary" not in stored_bytes(tmp_path)

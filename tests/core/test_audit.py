"""An audit counts the entries of a store by what they are, and says what to do about each kind."""

from __future__ import annotations

import asyncio
import functools
import json

import pytest

from cachewright import open_async_cache, open_cache
from cachewright.cli import main
from cachewright.config import Settings
from cachewright.doctor import examine, examine_caches

OLD, NEW = "aa" * 32, "bb" * 32


def by_name(report):
    return {(group.about, group.name): (group.entries, group.advice) for group in report.groups}


@pytest.fixture
def store(tmp_path):
    """Return the arguments that open one cache, with keys of one's own."""

    def arguments(keys=None):
        settings = Settings(data_dir=tmp_path / "keys", signing_keys=keys)
        return {"engine": "sqlite", "path": tmp_path / "store", "settings": settings}

    return arguments


def test_kinds_signatures_and_sizes_are_counted(store):
    """Data-only and pickled entries apart, all signed, large ones once more."""
    with open_cache("audited", **store()) as cache:
        cache.set("plain", b"bytes")
        cache.set("text", "x" * 5000)
        cache.set("pickled", functools.partial(int, base=2))
        cache.set("gone", 1, ttl=1e-9)
        report = cache.audit(oversized="4KB")
        assert (report.namespace, report.engine, report.entries) == ("audited", "sqlite", 3)
        assert report.size == sum(info.size for info in cache.entries())
    found = by_name(report)
    assert {key: entries for key, (entries, _) in found.items()} == {
        ("value", "data-only"): 2, ("value", "pickle"): 1,
        ("signature", "signed"): 3, ("size", "oversized"): 1,
    }  # fmt: skip
    assert found["value", "data-only"][1] == ""
    assert "needs no pickle" in found["value", "pickle"][1]
    assert "compress=True" in found["size", "oversized"][1]


def test_keys_that_have_changed_show(store):
    """Entries of an older key of the ring are readable, those of a key that is gone are not."""
    with open_cache("audited", **store(OLD)) as cache:
        cache.set("k", 1)
    with open_cache("audited", **store(f"{NEW},{OLD}")) as cache:
        cache.set("l", 2)
        found = by_name(cache.audit())
        assert found["signature", "signed"][0] == found["signature", "signed with an old key"][0] == 1
        assert "keep the old key" in found["signature", "signed with an old key"][1]
    with open_cache("audited", **store(NEW)) as cache:
        found = by_name(cache.audit())
        assert found["unreadable", "unknown-key"][0] == 1
        assert "CACHEWRIGHT_SIGNING_KEYS" in found["unreadable", "unknown-key"][1]
        assert cache.verify(repair=True).removed == 1
        assert [group.about for group in cache.audit().groups] == ["value", "signature"]


def test_unsigned_and_damaged_entries_show(store, tmp_path):
    """In a directory that others can write to nothing is signed; a flipped bit is damage."""
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(0o777)
    arguments = store() | {"options": {"trust_directory": True}}
    with open_cache("audited", **arguments) as cache:
        cache.set("k", 1)
        cache.set("l", 2)
        (key, _) = cache.engine_keys()
        engine = cache._engine_for(aside=False)
        blob = bytearray(engine.get(key))
        blob[-1] ^= 1
        engine.set(key, [bytes(blob)])
        found = by_name(cache.audit())
    assert found["signature", "unsigned"][0] == 1
    assert "CACHEWRIGHT_SIGNING_KEYS" in found["signature", "unsigned"][1]
    assert found["unreadable", "auth"][0] == 1
    assert "repair=True" in found["unreadable", "auth"][1]


def test_objects_have_no_signature():
    """What stays in the process is counted, and that is all there is to say."""
    with open_cache("audited", engine="memory") as cache:
        cache.set("k", 1)
        assert [(group.name, group.entries) for group in cache.audit().groups] == [("objects", 1)]


def test_an_asynchronous_cache_is_audited_alike(store):
    """The same report, awaited."""

    async def main():
        async with open_async_cache("audited", **store()) as cache:
            await cache.set("k", "text")
            return await cache.audit()

    assert [group.name for group in asyncio.run(main()).groups] == ["data-only", "signed"]


def test_the_doctor_audits_caches_by_name_and_the_store_of_the_user(tmp_path, monkeypatch):
    """Named caches as they are opened; without names, whatever this user keeps on disk."""
    monkeypatch.setenv("CACHEWRIGHT_DIR", str(tmp_path / "dir"))
    monkeypatch.setenv("CACHEWRIGHT_DATA_DIR", str(tmp_path / "data"))
    with open_cache("mine", engine="sqlite") as cache:
        cache.set("k", functools.partial(int, base=2), tags=["t"])
    (kind, _) = examine_caches(["mine"], engine="sqlite")
    assert (kind.level, kind.subject) == ("note", "cache mine")
    assert kind.finding.startswith("1 of 1 entries, ")
    assert kind.finding.endswith(" bytes: pickle")
    assert [finding.finding for finding in examine_caches(["nobodys"], engine="sqlite")] == [
        "no entries on sqlite"
    ]
    told = [finding for finding in examine() if finding.subject == "cache mine"]
    assert told[0] == kind
    (refused,) = examine_caches(["mine"], engine="nosuch")
    assert refused.level == "problem"


def test_the_command_prints_the_audit_of_a_named_cache(store, tmp_path, capsys, monkeypatch):
    """``cachewright doctor NAME`` looks at that cache alone; what cannot be read makes it fail."""
    monkeypatch.setenv("CACHEWRIGHT_DATA_DIR", str(tmp_path / "keys"))
    with open_cache("audited", **store()) as cache:
        cache.set("k", functools.partial(int, base=2))
    place = ["--engine", "sqlite", "--path", str(tmp_path / "store"), "--json"]
    assert main(["doctor", "audited", *place]) == 0
    assert [row["subject"] for row in json.loads(capsys.readouterr().out)] == ["cache audited"] * 2
    monkeypatch.setenv("CACHEWRIGHT_SIGNING_KEYS", NEW)
    assert main(["doctor", "audited", *place]) == 1
    assert "unknown-key" in capsys.readouterr().out

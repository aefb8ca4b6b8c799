"""Entries move between an open cache and a klepto archive of the user's own, by explicit call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import klepto
import pytest
from cachewright_klepto import dump, load
from klepto.archives import dict_archive, dir_archive

from cachewright import open_cache
from cachewright.config import Settings


@pytest.fixture(params=["klepto-dict", "klepto", "memory"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    settings = Settings(dir=tmp_path / "dir", data_dir=tmp_path / "keys")
    with open_cache("transfer", engine=request.param, settings=settings) as opened:
        yield opened


def test_load_takes_what_klepto_has_stored(cache: Any, tmp_path: Path) -> None:
    """Results that klepto's decorator has archived are found in the cache, under klepto's keys."""
    archive = dir_archive(str(tmp_path / "memo"), cached=True)
    keymap = klepto.keymaps.stringmap()
    function = klepto.inf_cache(cache=archive, keymap=keymap)(lambda x: {"squared": x * x})
    function(3)
    function(4)
    archive.dump()
    assert load(cache, archive) == 2
    assert cache.get(function.key(3)) == {"squared": 9}
    assert cache.get(function.key(4)) == {"squared": 16}


def test_load_takes_the_keys_asked_for(cache: Any) -> None:
    """Named keys are loaded, absent ones left out, and nothing else is."""
    archive = dict_archive(dict={"a": 1, "b": None, "c": 3}, cached=False)
    assert load(cache, archive, "b", "nowhere", "a") == 2
    assert cache.get("b", "absent") is None
    assert cache.get("a") == 1
    assert cache.get("c", "absent") == "absent"


def test_dump_stores_where_klepto_finds_it(cache: Any, tmp_path: Path) -> None:
    """All entries that the cache lists, or those named, are stored in the archive under their keys."""
    for number, name in enumerate(("a", "b", "c")):
        cache.set(name, [number, None])
    archive = dir_archive(str(tmp_path / "memo"), cached=False)
    assert dump(cache, archive, "a", "nowhere") == 1
    assert dict(archive.items()) == {"a": [0, None]}
    assert dump(cache, archive) == 3
    assert dict(dir_archive(str(tmp_path / "memo"), cached=False).items()) == {
        "a": [0, None],
        "b": [1, None],
        "c": [2, None],
    }


def test_what_expired_is_not_dumped(cache: Any) -> None:
    """An entry that is not served any more is not stored elsewhere either."""
    cache.set("kept", 1)
    cache.set("gone", 2, ttl=1e-9)
    archive = dict_archive(cached=False)
    dump(cache, archive)
    assert dict(archive.items()) == {"kept": 1}

"""After an invalidation no call that starts later gets what was read before, in whichever process."""

from __future__ import annotations

import pytest

WAYS = {
    "invalidate": ("load", (), "load.invalidate", ("{key}",), {}),
    "function cleared": ("load", (), "load.cache_clear", (), {}),
    "where": ("load", (), "load.invalidate_where", (), {"key": "{key}"}),
    "put": ("load", (), "put", ("{key}", "new"), {}),
    "refresh": ("load", (), "load.refresh", ("{key}",), {}),
    "tag": ("tagged", (), "tagged.cache.invalidate_tags", ("key:{key}",), {}),
    "one tag of several": ("tagged", (), "tagged.cache.invalidate_tags", ("other", "all"), {}),
    "tagged, by key": ("tagged", (), "tagged.invalidate", ("{key}",), {}),
    "tag of the result": ("labelled", (), "labelled.cache.invalidate_tags", ("result:old",), {}),
    "delete": ("fetch", (), "cache.delete", ("{key}",), {}),
    "delete many": ("fetch", (), "cache.delete_many", (["other", "{key}"],), {}),
    "clear": ("fetch", (), "cache.clear", (), {}),
    "set": ("fetch", (), "cache.set", ("{key}", "new"), {}),
    "set many": ("fetch", (), "cache.set_many", ({"{key}": "new", "other": "x"},), {}),
    "add": ("fetch", (), "cache.add", ("{key}", "new"), {}),
    "direct tag": ("fetch", (["a", "b"],), "cache.invalidate_tags", ("b",), {}),
}
"""How it is loaded, with which further arguments; what invalidates it."""

STORES = {"put", "set", "set many", "add"}
"""Ways that bring the new value with them."""


def filled(what, key):
    """Put the key into the arguments of a way."""
    if isinstance(what, str):
        return what.replace("{key}", key)
    if isinstance(what, dict):
        return {filled(name, key): filled(value, key) for name, value in what.items()}
    return [filled(one, key) for one in what]


@pytest.fixture(scope="module")
def trio(standing_company):
    """Return the company and three processes."""
    return standing_company, standing_company.peers(3, held=True)


@pytest.mark.parametrize("asking", ["the same process", "another process"])
@pytest.mark.parametrize("way", WAYS)
def test_a_load_that_was_overtaken(trio, way, asking):
    """One reads the old value, two changes and invalidates it, then everybody is asked; one ends last."""
    company, (one, two, three) = trio
    load, more, invalidate, args, options = WAYS[way]
    key = f"{way}, {asking}"
    company.write(key, "old")
    first = one.start(load, key, *more)
    one.began(key)
    waiting = three.start(load, key, *more)
    company.write(key, "new")
    for peer in (one, two, three):
        peer.do("let_pass", key)
    two.do(invalidate, *filled(args, key), **filled(options, key))
    order = (one, three, two) if asking == "the same process" else (three, one, two)
    assert [peer.do(load, key, *more) for peer in order] == ["new"] * 3
    one.do("release", key)
    assert first.result(60) == "old"
    assert waiting.result(60) == "new"
    assert [peer.do(load, key, *more) for peer in order] == ["new"] * 3
    assert len(company.calls(key)) == (1 if way in STORES else 2)


@pytest.mark.parametrize("way", WAYS)
def test_a_load_that_was_overtaken_in_its_own_process(trio, way):
    """The process that computes invalidates, too."""
    company, (one, _, three) = trio
    load, more, invalidate, args, options = WAYS[way]
    key = f"{way}, alone"
    company.write(key, "old")
    first = one.start(load, key, *more)
    one.began(key)
    company.write(key, "new")
    for peer in (one, three):
        peer.do("let_pass", key)
    one.do(invalidate, *filled(args, key), **filled(options, key))
    assert [peer.do(load, key, *more) for peer in (three, one)] == ["new"] * 2
    one.do("release", key)
    assert first.result(60) == "old"
    assert [peer.do(load, key, *more) for peer in (one, three)] == ["new"] * 2
    assert len(company.calls(key)) == (1 if way in STORES else 2)


@pytest.mark.parametrize("way", sorted(WAYS.keys() - STORES - {"refresh"}))
def test_what_is_stored_is_gone_everywhere(trio, way):
    """What two invalidates one and three do not serve any more."""
    company, (one, two, three) = trio
    load, more, invalidate, args, options = WAYS[way]
    key = f"{way}, stored"
    for peer in (one, two, three):
        peer.do("let_pass", key)
    company.write(key, "old")
    assert [peer.do(load, key, *more) for peer in (one, two, three)] == ["old"] * 3
    company.write(key, "new")
    two.do(invalidate, *filled(args, key), **filled(options, key))
    assert [peer.do(load, key, *more) for peer in (one, two, three)] == ["new"] * 3
    assert len(company.calls(key)) == 2


def test_an_invalidation_overtakes_a_refresh(company_of, engine, colour):
    """A background refresh that read the old value does not bring it back."""
    company = company_of(engine, colour)
    one, two = company.peers(2, held=True, freshness={"ttl": 0.05, "stale_ttl": 60})
    company.write("k", "old")
    one.do("release", "k")
    assert one.do("load", "k") == "old"
    one.do("hold_again", "k")
    while len(company.calls("k")) < 2:
        assert one.do("load", "k") == "old"
    one.began("k", 2)
    company.write("k", "new")
    for peer in (one, two):
        peer.do("let_pass", "k")
    two.do("load.invalidate", "k")
    assert [one.do("load", "k"), two.do("load", "k")] == ["new", "new"]
    one.do("release", "k")
    for _ in range(20):
        assert [one.do("load", "k"), two.do("load", "k")] == ["new", "new"]

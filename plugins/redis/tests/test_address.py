"""Addresses: every form of url, what is refused, and credentials that are never shown."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from cachewright_redis.address import Address
from cachewright_redis.keyspace import Keyspace
from cachewright_redis.settings import Settings
from redis import Redis

from cachewright.engine import EngineConfig
from cachewright.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, {"nodes": (("localhost", 6379),)}),
        ("redis://", {"nodes": (("localhost", 6379),)}),
        ("redis://example.org", {"nodes": (("example.org", 6379),)}),
        ("redis://example.org:7000/3", {"nodes": (("example.org", 7000),), "db": 3}),
        ("redis://[::1]:7000?db=4", {"nodes": (("::1", 7000),), "db": 4}),
        ("rediss://h?ssl_cert_reqs=none", {"tls": True, "tls_options": (("ssl_cert_reqs", "none"),)}),
        ("redis://u:p%40%2F%3A@h", {"username": "u", "password": "p@/:"}),
        ("redis://:p@h", {"username": None, "password": "p"}),
        ("redis://u:a@b@h", {"nodes": (("h", 6379),), "username": "u", "password": "a@b"}),
        ("unix:///run/r%20s.sock?db=2", {"layout": "unix", "path": "/run/r s.sock", "db": 2}),
        ("unix://u:p@/run/r.sock", {"layout": "unix", "path": "/run/r.sock", "username": "u"}),
        ("unix:///run/r.sock?password=p", {"password": "p"}),
        (
            "redis+sentinel://a,b:1,[::2]:3/main/5",
            {"nodes": (("a", 26379), ("b", 1), ("::2", 3)), "service": "main", "db": 5},
        ),
        ("rediss+sentinel://a/main", {"layout": "sentinel", "tls": True, "db": 0}),
        ("redis+sentinel://a/m?sentinel_password=s", {"sentinel_password": "s", "password": None}),
        ("redis+cluster://a:1,b:2", {"layout": "cluster", "nodes": (("a", 1), ("b", 2))}),
        ("redis+cluster://a:1/0", {"layout": "cluster"}),
        ("redis://h?protocol=2&client_name=me", {"protocol": 2, "client_name": "me"}),
        ("redis://h?decode_responses=True&socket_timeout=99", {"nodes": (("h", 6379),)}),
    ],
)
def test_urls_are_understood(url: str | None, expected: dict[str, Any]) -> None:
    """Each form of url names its servers, database, account and options."""
    address = Address.of(url)
    assert {name: getattr(address, name) for name in expected} == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://h",
        "redis:/h",
        "redis://h:port",
        "redis://h:99999",
        "redis://h/one",
        "redis://h/-1",
        "redis://h/1/2",
        "redis://h?db=x",
        "redis://h?protocol=4",
        "redis://h?no_such_parameter=1",
        "redis://h?ssl_ca_certs=x",
        "rediss://h?ssl_cert_reqs=maybe",
        "redis://a,b",
        "redis://h#fragment",
        "redis://[::1",
        "unix://",
        "unix://host/path",
        "redis+sentinel://a",
        "redis+sentinel://a/main/1/2",
        "redis+cluster://a/3",
        "redis://h/\u0663",
    ],
)
def test_senseless_urls_are_refused(url: str) -> None:
    """A url that is none of the forms is a ConfigurationError about url, at opening."""
    with pytest.raises(ConfigurationError, match=r"^url="):
        Settings.of(EngineConfig(url=url))


@pytest.mark.parametrize(
    "url",
    [
        "redis://canary:canary@h/one",
        "redis://canary:can#canary@h",
        "redis://canary:/canary@h",
        "redis://canary:1/canary@h/0",
        "redis://canary:canary@h:port",
        "redis://h?password=canary&no_such=1",
        "redis://h?canary",
        "http://canary:canary@h",
        "redis+sentinel://canary:canary@a/m/1/2?sentinel_password=canary",
        "unix://canary:canary@/s?db=x&password=canary",
        "canary:canary",
    ],
)
def test_a_refused_url_shows_no_credentials(url: str) -> None:
    """Neither the message nor what it was raised from quotes user or password, whatever is wrong."""
    with pytest.raises(ConfigurationError) as refused:
        Address.of(url)
    error: BaseException | None = refused.value
    while error is not None:
        assert "canary" not in f"{error} {error!r}".replace("parameter 'canary'", "")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_an_address_shows_no_credentials() -> None:
    """Neither repr nor str of an address, nor of settings, holds user or password."""
    url = "redis+sentinel://canary:canary@a:1/m?sentinel_username=canary&sentinel_password=canary"
    settings = Settings.of(EngineConfig(url=url))
    assert "canary" not in f"{settings!r} {settings.address!r} {settings.address}"
    assert str(settings.address) == "redis+sentinel://a:1/m/0"
    assert str(Address.of("unix://u:canary@/run/s?db=1")) == "unix:///run/s"
    assert str(Address.of("rediss+cluster://u:canary@a,[::1]:3")) == "rediss+cluster://a:6379,[::1]:3"


def test_what_the_url_cannot_change() -> None:
    """Replies stay bytes and the timeout stays the configured one, whatever the url says."""
    url = "redis://h?decode_responses=True&socket_timeout=99&socket_connect_timeout=99"
    arguments = Settings.of(EngineConfig(url=url, timeout=0.5)).arguments(None, Redis)
    assert arguments["decode_responses"] is False
    assert arguments["socket_timeout"] == arguments["socket_connect_timeout"] == 0.5


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"policy": "lru"}, "policy='lru'"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"options": {"prefx": "a"}}, r"options\['prefx'\]"),
        ({"options": {"prefix": 3}}, r"options\['prefix'\]=3"),
        ({"options": {"prefix": "a{b"}}, "without '{'"),
        ({"options": {"prefix": "caf\u00e9"}}, "ASCII"),
    ],
)
def test_a_senseless_setting_is_refused(settings: dict[str, Any], named: str) -> None:
    """A setting that makes no sense is one error that names it and what is expected."""
    with pytest.raises(ConfigurationError, match=named):
        Settings.of(EngineConfig(**settings))


NAMESPACES = (
    "", "a", "ab", "a:", ":a", "a:b", "a%3Ab", "*", "a*", "?", "[ab]", "a\\", "{a}", "~", "%7E", " ", "\n",
    "caf\u00e9", "cafe\u0301", "\ud800", "n" * 79, "n" * 80, "n" * 81, "n" * 10_000, "n" * 9_999 + "m",
    "n" * 40 + "~" + "0" * 32, "\U0001f600" * 5_000,
)  # fmt: skip


def test_names_of_namespaces_never_meet() -> None:
    """No name of one namespace begins like those of another, or is matched by its pattern."""
    spaces = {namespace: Keyspace("cw:", namespace) for namespace in NAMESPACES}
    for one, space in spaces.items():
        name = space.name("0f")
        assert len(name) < 150
        assert b"{" not in name
        assert space.key(name) == "0f"
        pattern = space.pattern.replace(b"\\", b"").decode()  # nothing that was escaped means anything
        matching = [other for other in spaces if fnmatchcase(spaces[other].name("0f").decode(), pattern)]
        assert matching == [one]


def test_a_prefix_is_no_pattern() -> None:
    """Letters of a prefix that mean something in a pattern are escaped."""
    assert Keyspace("a*[b]-?\\:", "n").pattern == rb"a\*\[b\]\-\?\\:n:*"


def test_names_are_golden() -> None:
    """Names stay what they are for ever: other versions of this engine look for them."""
    assert Keyspace("cw:", "shop.prices").name("00ff") == b"cw:shop.prices:00ff"
    assert Keyspace("cw:", "a b~\u00e9").name("00ff") == b"cw:a%20b%7E%C3%A9:00ff"
    long = b"cw:" + b"n" * 40 + b"~" + b"be8013370cc5411253df1812f6487d80" + b":00ff"
    assert Keyspace("cw:", "n" * 100).name("00ff") == long

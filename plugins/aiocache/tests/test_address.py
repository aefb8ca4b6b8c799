"""An address takes the urls that it documents, and refuses others without showing what is secret."""

from __future__ import annotations

import pytest
from cachewright_aiocache.address import Address
from cachewright_aiocache.failure import engine_error

from cachewright.errors import ConfigurationError, EngineUnavailableError

REDIS = ("redis", "rediss")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, "redis://127.0.0.1:6379/0"),
        ("redis://", "redis://127.0.0.1:6379/0"),
        ("redis://host", "redis://host:6379/0"),
        ("redis://host:7000/3", "redis://host:7000/3"),
        ("redis://[::1]:7000", "redis://[::1]:7000/0"),
        ("rediss://u:p@host/1?ssl_cert_reqs=none", "rediss://host:6379/1"),
    ],
)
def test_redis_urls(url: str | None, shown: str) -> None:
    """Host, port and database have defaults; what is shown holds no credentials."""
    assert str(Address.of(url, *REDIS)) == shown


def test_credentials_and_tls() -> None:
    """User and password are decoded, and files of TLS handed on; neither shows in the repr."""
    address = Address.of("rediss://me%40x:p%2Fw@host?ssl_ca_certs=/a/b.pem", *REDIS)
    assert (address.username, address.password) == ("me@x", "p/w")
    assert address.tls == (("ssl_ca_certs", "/a/b.pem"),)
    assert address.secrets == ("p/w", "me@x")
    assert "p/w" not in repr(address)
    assert "me@x" not in repr(address)


@pytest.mark.parametrize(
    ("url", "shown"), [(None, "memcached://127.0.0.1:11211"), ("memcached://[::1]:1/", "memcached://[::1]:1")]
)
def test_memcached_urls(url: str | None, shown: str) -> None:
    """Host and port have defaults, and there is no database."""
    assert str(Address.of(url, "memcached")) == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "starts with redis:// or rediss://"),
        ("host:6379", "starts with redis://"),
        ("memcached://host", "starts with redis://"),
        ("redis+cluster://u:hidden@host", "engine 'redis'"),
        ("unix:///path", "engine 'redis'"),
        ("redis://host:99999", "port from 0 to 65535"),
        ("redis://u:hidden@host:x", "port from 0 to 65535"),
        ("redis://u:hidden@[::1", "well-formed host"),
        ("redis://a,b", "one host"),
        ("redis://u:hid#hidden@host", "%23"),
        ("redis://host/x", "database number"),
        ("redis://u:hidden@host/1/2", "database number"),
        ("redis://host?timeout=5", "nothing after"),
        ("rediss://host?ssl_verify=no", "only ssl_ca_certs"),
    ],
)
def test_other_redis_urls_are_refused(url: str, said: str) -> None:
    """Each says what is expected instead, and shows no password."""
    with pytest.raises(ConfigurationError, match=said) as refused:
        Address.of(url, *REDIS)
    assert "hidden" not in f"{refused.value!r} {refused.value}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://host", "starts with memcached://"),
        ("redis+sentinel://host", "starts with memcached://"),
        ("memcached://u:hidden@host", "without user and password"),
        ("memcached://host/1", "without a path"),
        ("memcached://a:1,b:2", "one host"),
    ],
)
def test_other_memcached_urls_are_refused(url: str, said: str) -> None:
    """Each says what is expected instead, and shows no password."""
    with pytest.raises(ConfigurationError, match=said) as refused:
        Address.of(url, "memcached")
    assert "hidden" not in str(refused.value)


def test_secrets_are_struck_out_of_an_error_and_of_its_causes() -> None:
    """What a server quoted, in text or bytes, is gone from the whole chain, and long text is cut."""
    address = Address.of("redis://alice:swordfish@host", *REDIS)
    inner = ValueError(b"AUTH alice swordfish", 5)
    outer = OSError("unknown command AUTH alice swordfish " + "x" * 500)
    outer.__cause__ = inner
    failed = engine_error("e", "get", outer, address, unreachable=True, silence=None, hint="")
    assert isinstance(failed, EngineUnavailableError)
    assert len(failed.reason) <= 200
    for error in (failed, outer, inner):
        assert "swordfish" not in f"{error} {error.args}"
        assert "alice" not in f"{error} {error.args}"
    assert inner.args[1] == 5

"""An address is a parsed url: which server to talk to, and with which credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from cachewright.errors import ConfigurationError

PORTS: Final = {"redis": 6379, "rediss": 6379, "memcached": 11211}

ELSEWHERE: Final = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster", "unix")
"""Schemes of engine ``redis``, whose servers aiocache does not find."""

TLS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
"""Query parameters that name files and rules of TLS; handed on as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is.

    Attributes:
        scheme: kind of server, and whether connections are encrypted.
        host: its name or number.
        port: its port.
        db: number of the database.
        username: account on the server; ``None`` for the default one.
        password: its password.
        tls: files and rules of TLS.
    """

    scheme: str
    host: str
    port: int
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, url: str | None, *schemes: str) -> Address:
        """Return the address that ``url`` names, by default a server on this host.

        Args:
            url: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS, or
                ``memcached://host[:port]``.
            *schemes: those that are allowed; the first is the default.

        Raises:
            ConfigurationError: it is none of these. The message never shows credentials.
        """
        return _Parser(f"{schemes[0]}://127.0.0.1" if url is None else url, schemes).parsed()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in a message."""
        return tuple(word for word in (self.password, self.username) if word and word != "default")

    def __str__(self) -> str:
        """The url without credentials and parameters, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}" + (f"/{self.db}" if self.scheme != "memcached" else "")


class _Parser:
    """Takes one url apart; every complaint shows the url without its credentials."""

    def __init__(self, url: str, schemes: tuple[str, ...]) -> None:
        self.url = url
        self.schemes = schemes

    def parsed(self) -> Address:
        scheme, found, _ = self.url.partition("://")
        if found and scheme in ELSEWHERE and "redis" in self.schemes:
            self.refuse("a url of one server; engine 'redis' (cachewright-redis) takes this one")
        if not found or scheme not in self.schemes:
            self.refuse(f"a url that starts with {' or '.join(f'{name}://' for name in self.schemes)}")
        if "#" in self.url or "," in self.url.rpartition("@")[2]:
            self.refuse("one host, and a url without '#'; write one in a password as %23")
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            self.refuse("host:port with a port from 0 to 65535, and a well-formed host")
        account, _, _ = parts.netloc.rpartition("@")
        user, _, password = account.partition(":")
        if account and scheme == "memcached":
            self.refuse("a url without user and password, for aiomcache cannot log in")
        return Address(
            scheme=scheme,
            host=parts.hostname or "127.0.0.1",
            port=PORTS[scheme] if port is None else port,
            db=self.database(parts) if scheme != "memcached" else self.no_path(parts),
            username=unquote(user) or None,
            password=unquote(password) or None,
            tls=self.query(parts.query, tls=scheme == "rediss"),
        )

    def database(self, parts: SplitResult) -> int:
        """Return the number that the path gives, 0 for none."""
        text = parts.path.strip("/") or "0"
        if not (text.isascii() and text.isdigit() and int(text) < 2**31):
            self.refuse("at most one database number after the host; write a '/' in a password as %2F")
        return int(text)

    def no_path(self, parts: SplitResult) -> int:
        if parts.path.strip("/"):
            self.refuse("a url without a path, for memcached has one database")
        return 0

    def query(self, text: str, *, tls: bool) -> tuple[tuple[str, str], ...]:
        """Return the parameters; refuse those that nobody knows."""
        query = dict(parse_qsl(text, keep_blank_values=True))
        for name in query:
            if not tls or name not in TLS:
                known = f"only {', '.join(sorted(TLS))} after '?'" if tls else "nothing after '?'"
                self.refuse(f"{known}, not {name!r}")
        return tuple(sorted(query.items()))

    def refuse(self, expected: str) -> NoReturn:
        # from None: what urllib says can quote a part of the url that is a password
        raise ConfigurationError("url", self.redacted(), expected) from None

    def redacted(self) -> str:
        """The url as far as it surely holds no credentials."""
        scheme, found, rest = self.url.partition("://")
        if not found:
            return "..."
        _, account, rest = rest.rpartition("@")
        return f"{scheme}://{'***@' if account else ''}{rest.partition('?')[0]}"

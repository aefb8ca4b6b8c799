"""An address is a parsed url: which servers to talk to, how to find them, and with which credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn, TypeAlias, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from cachewright.errors import ConfigurationError

Layout: TypeAlias = Literal["single", "unix", "sentinel", "cluster"]

DEFAULT_URL: Final = "redis://localhost:6379/0"

SCHEMES: Final[dict[str, tuple[Layout, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}

PORTS: Final[dict[Layout, int]] = {"single": 6379, "unix": 0, "sentinel": 26379, "cluster": 6379}

TLS_FILES: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})

TLS: Final = TLS_FILES | {"ssl_ca_path", "ssl_cert_reqs", "ssl_check_hostname"}
"""Query parameters that name files and rules of TLS."""

OVERRULED: Final = frozenset({
    "decode_responses", "encoding", "encoding_errors", "health_check_interval", "max_connections",
    "retry_on_error", "retry_on_timeout", "socket_connect_timeout", "socket_keepalive", "socket_timeout",
    "timeout",
})  # fmt: skip
"""Query parameters of urls made for other programs; accepted, but this engine decides by itself."""

Requirement: TypeAlias = Literal["required", "optional", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the servers are.

    Attributes:
        layout: one server over TCP or a Unix socket, a primary named by sentinels, or a cluster.
        nodes: host and port of the server, of the sentinels, or of some nodes of the cluster.
        path: path of the Unix socket.
        service: name under which the sentinels know the primary.
        db: number of the database.
        tls: whether connections are encrypted.
        username: account on the server; ``None`` for the default one.
        password: its password.
        sentinel_username: account on the sentinels.
        sentinel_password: its password.
        client_name: name that the server lists for the connections.
        protocol: version of the protocol, 2 or 3; 2 needs no greeting where there is no password.
        tls_options: files and rules of TLS, by the names that the library uses.
    """

    layout: Layout = "single"
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    client_name: str | None = None
    protocol: int = 2
    tls_options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, url: str | None) -> Address:
        """Return the address that ``url`` names, by default a server on this host.

        Forms: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS,
        ``unix://[user:password@]/path?db=0``, ``redis+sentinel://host:port,host:port/service[/db]``,
        ``redis+cluster://host:port,host:port``; the last two with ``rediss+`` too.

        Raises:
            ConfigurationError: it is none of these. The message never shows credentials.
        """
        return _Parser(DEFAULT_URL if url is None else url).parsed()

    @property
    def encryption(self) -> dict[str, str | bool]:
        """Files and rules of TLS, by the names that the library uses.

        Names of hosts are checked unless the url says otherwise; old versions of the library would not.
        """
        if not self.tls:
            return {}
        rules: dict[str, str | bool] = dict(self.tls_options)
        checked = str(rules.get("ssl_check_hostname", "true")).lower() == "true"
        rules["ssl_check_hostname"] = checked and rules.get("ssl_cert_reqs") != "none"
        return {"ssl": True, **rules}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in a message."""
        given = (self.password, self.sentinel_password, self.username, self.sentinel_username)
        return tuple(word for word in given if word and word != "default")

    def __str__(self) -> str:
        """The url without credentials and parameters, for messages."""
        scheme = "redis" if self.layout in {"single", "unix"} else f"redis+{self.layout}"
        if self.layout == "unix":
            return f"unix://{self.path}"
        scheme = scheme.replace("redis", "rediss", 1) if self.tls else scheme
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        tail = f"/{self.service}/{self.db}" if self.layout == "sentinel" else f"/{self.db}"
        return f"{scheme}://{hosts}{'' if self.layout == 'cluster' else tail}"


class _Parser:
    """Takes one url apart; every complaint shows the url without its credentials."""

    def __init__(self, url: str) -> None:
        self.url = url

    def parsed(self) -> Address:
        scheme, found, _ = self.url.partition("://")
        if not found or scheme not in SCHEMES:
            self.refuse(
                f"a url that starts with {', '.join(f'{name}://' for name in (*SCHEMES, 'embedded'))}"
            )
        layout, tls = SCHEMES[scheme]
        try:
            parts = urlsplit(self.url)
        except ValueError:
            self.refuse("a url whose host is well-formed")
        if parts.fragment:
            self.refuse("a url without '#'; write one in a password as %23")
        query = self.query(parts.query, tls=tls)
        account, _, hosts = parts.netloc.rpartition("@")
        user, _, password = account.partition(":")
        if layout == "unix" and (hosts or not parts.path):
            self.refuse("unix:///path/of/the/socket")
        service, db = self.place(layout, parts)
        return Address(
            layout=layout,
            nodes=() if layout == "unix" else self.nodes(hosts, PORTS[layout]),
            path=unquote(parts.path) if layout == "unix" else "",
            service=service,
            db=self.number(query.pop("db", db), "a database number from 0", 2**31),
            tls=tls,
            username=unquote(user) or query.pop("username", None),
            password=unquote(password) or query.pop("password", None),
            sentinel_username=query.pop("sentinel_username", None),
            sentinel_password=query.pop("sentinel_password", None),
            client_name=query.pop("client_name", None),
            protocol=self.protocol(query.pop("protocol", "2")),
            tls_options=tuple(sorted((name, value) for name, value in query.items() if name in TLS)),
        )

    def place(self, layout: Layout, parts: SplitResult) -> tuple[str, str]:
        """Return service and database as the path gives them."""
        if layout == "unix":
            return "", "0"
        steps = [unquote(step) for step in parts.path.strip("/").split("/") if step]
        if layout == "cluster" and steps not in ([], ["0"]):
            self.refuse("a url without a database, for clusters have only database 0")
        if layout == "sentinel" and not 1 <= len(steps) <= 2:
            self.refuse("redis+sentinel://host:port,host:port/service or .../service/db")
        if layout == "sentinel":
            return steps[0], steps[1] if len(steps) > 1 else "0"
        if len(steps) > 1:
            self.refuse("at most one database number after the host; write a '/' in a password as %2F")
        return "", steps[0] if steps else "0"

    def nodes(self, hosts: str, port: int) -> tuple[tuple[str, int], ...]:
        """Return hosts and ports; several only where sentinels or clusters have them."""
        nodes: list[tuple[str, int]] = []
        for node in hosts.split(","):
            try:
                parts = urlsplit(f"//{node}")
                nodes.append((parts.hostname or "localhost", port if parts.port is None else parts.port))
            except ValueError:
                self.refuse("host:port with a port from 0 to 65535")
        if len(nodes) > 1 and "+" not in self.url.partition(":")[0]:
            self.refuse("one host; several need redis+sentinel:// or redis+cluster://")
        return tuple(nodes)

    def query(self, text: str, *, tls: bool) -> dict[str, str]:
        """Return the parameters that count; refuse those that nobody knows."""
        known = {"db", "username", "password", "client_name", "protocol"}
        known |= {"sentinel_username", "sentinel_password"} | OVERRULED | (TLS if tls else frozenset())
        query = dict(parse_qsl(text, keep_blank_values=True))
        for name in query:
            if name not in known:
                self.refuse(f"a url without the parameter {name!r}, which this scheme does not have")
        required = query.get("ssl_cert_reqs", "required")
        if required not in get_args(Requirement):
            self.refuse("ssl_cert_reqs to be required, optional or none")
        if query.get("ssl_check_hostname", "true").lower() not in {"true", "false"}:
            self.refuse("ssl_check_hostname to be true or false")
        return {name: value for name, value in query.items() if name not in OVERRULED}

    def number(self, text: str, expected: str, limit: int) -> int:
        if not (text.isascii() and text.isdigit() and int(text) < limit):
            self.refuse(expected)
        return int(text)

    def protocol(self, text: str) -> int:
        if text not in {"2", "3"}:
            self.refuse("protocol 2 or 3")
        return int(text)

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

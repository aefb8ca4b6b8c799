"""The settings of the redis engines, and what they mean for the connections of the library."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cachewright.errors import ClosedError, ConfigurationError, EngineError
from cachewright_redis.address import TLS_FILES, Address
from cachewright_redis.embedded import SCHEME, Place
from cachewright_redis.failure import failure
from cachewright_redis.keyspace import Keyspace
from cachewright_redis.wording import Generational, Plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachewright.engine import EngineConfig

PREFIX: Final = "cw:"

ANY_NUMBER: Final = 2**31
"""Connections that a pool may open; how many are in use is decided elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an engine is opened with.

    Attributes:
        address: the servers.
        keyspace: the names of this engine's entries.
        timeout: seconds for connecting, greeting and waiting for the first answer together, and then of
            silence, after which an operation is given up.
        words: how to ask for the entries.
        place: where the server is started for its users, if it is that kind of server.
    """

    address: Address
    keyspace: Keyspace
    timeout: float
    words: Plain = field(default_factory=Plain)
    place: Place | None = None

    @classmethod
    def of(cls, config: EngineConfig) -> Settings:
        """Return the settings in ``config``.

        Raises:
            ConfigurationError: the url, an option or another setting makes no sense.
        """
        if config.policy is not None:
            raise ConfigurationError("policy", config.policy, "no policy: the server has its own")
        if not config.timeout > 0:
            raise ConfigurationError("timeout", config.timeout, "a number of seconds above 0")
        for name, value in config.options.items():
            if name not in {"prefix", "clear"}:
                raise ConfigurationError(f"options[{name!r}]", value, "prefix or clear, the only options")
        prefix = config.options.get("prefix", PREFIX)
        if not (isinstance(prefix, str) and prefix.isprintable() and prefix.isascii() and "{" not in prefix):
            raise ConfigurationError("options['prefix']", prefix, "printable ASCII text without '{'")
        clearing = config.options.get("clear", "scan")
        if clearing not in {"scan", "generation"}:
            raise ConfigurationError("options['clear']", clearing, "'scan' or 'generation'")
        address, place = _address(config.url)
        if clearing == "generation" and address.layout == "cluster":
            expected = (
                "'scan': the number of a generation and the entries are on different nodes of a cluster"
            )
            raise ConfigurationError("options['clear']", clearing, expected)
        keyspace = Keyspace(prefix, config.namespace)
        words = Plain()
        if clearing == "generation":
            # other names: who reads entries without their numbers must not find those that have one
            keyspace = Keyspace(prefix, config.namespace, kind="generation")
            words = Generational(keyspace)
        return cls(address=address, keyspace=keyspace, timeout=config.timeout, words=words, place=place)

    def arguments(self, retry: object, client: Callable[..., object]) -> dict[str, Any]:
        """Return what the library's clients are made with.

        Args:
            retry: the library's object for no retries, of the right colour. Repeating a write whose
                answer was lost would give a wrong answer, and repeating adds up over a timeout.
            client: what decides about the arguments, which differ from version to version.
        """
        address = self.address
        arguments: dict[str, Any] = {
            "username": address.username,
            "password": address.password,
            "client_name": address.client_name,
            "protocol": address.protocol,
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "socket_keepalive": True,
            "decode_responses": False,
            "retry": retry,
            **_brief(client),
            **address.encryption,
        }
        if address.layout != "cluster":
            arguments |= {"db": address.db, "max_connections": ANY_NUMBER}
        if address.layout == "unix":
            arguments |= {"unix_socket_path": address.path}
            del arguments["socket_keepalive"], arguments["socket_connect_timeout"]
        elif address.layout == "single":
            (arguments["host"], arguments["port"]) = address.nodes[0]
        return arguments

    def sentinel_arguments(self, retry: object, client: Callable[..., object]) -> dict[str, Any]:
        """Return what the clients of the sentinels are made with; see :meth:`arguments`."""
        address = self.address
        arguments: dict[str, Any] = {
            "username": address.sentinel_username,
            "password": address.sentinel_password,
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "protocol": address.protocol,
            "retry": retry,
            **_brief(client),
            **address.encryption,
        }
        return arguments

    def closed(self) -> ClosedError:
        """Return the error for an engine that was closed."""
        return ClosedError(f"redis engine of namespace {self.keyspace.label!r}")

    def failed(self, operation: str, error: Exception) -> EngineError:
        """Return the engine error for what the library reported; see :func:`failure`."""
        return failure(operation, error, self.address, self.timeout)


def _address(url: str | None) -> tuple[Address, Place | None]:
    """Return what a url names, and where the server is that has to be started, if that is how it is."""
    if url is not None and url.startswith(f"{SCHEME}:"):
        place = Place.of(url)
        return Address(layout="unix", path=place.socket), place
    address = Address.of(url)
    for name, value in address.tls_options:
        if name in TLS_FILES and not Path(value).is_file():
            raise ConfigurationError("url", f"{address}?{name}={value}", f"{name} to name a file that exists")
    return address, None


def _brief(client: Callable[..., object]) -> dict[str, Any]:
    """Return what keeps a client from greeting a server with more questions than it has to ask."""
    known = inspect.signature(client).parameters
    brief: dict[str, Any] = {"lib_name": None, "lib_version": None}
    if "driver_info" in known:
        brief = {"driver_info": None}
    if "maint_notifications_config" in known:
        # where these are on, the library also uses a connection again on which an answer is left over
        from redis.maint_notifications import MaintNotificationsConfig  # noqa: PLC0415 - not in every version

        brief["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)
    return brief

"""The settings of the redis engines, and what they mean for the connections of the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cachewright.errors import ClosedError, ConfigurationError, EngineError
from cachewright_redis.address import Address
from cachewright_redis.failure import failure
from cachewright_redis.keyspace import Keyspace

if TYPE_CHECKING:
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
        timeout: seconds without progress after which connecting, sending or waiting is given up.
    """

    address: Address
    keyspace: Keyspace
    timeout: float

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
            if name != "prefix":
                raise ConfigurationError(f"options[{name!r}]", value, "prefix, the only option")
        prefix = config.options.get("prefix", PREFIX)
        if not (isinstance(prefix, str) and prefix.isprintable() and prefix.isascii() and "{" not in prefix):
            raise ConfigurationError("options['prefix']", prefix, "printable ASCII text without '{'")
        keyspace = Keyspace(prefix, config.namespace)
        return cls(address=Address.of(config.url), keyspace=keyspace, timeout=config.timeout)

    def arguments(self, retry: object) -> dict[str, Any]:
        """Return what the library's clients are made with.

        Args:
            retry: the library's object for no retries, of the right colour. Repeating a write whose
                answer was lost would give a wrong answer, and repeating adds up over a timeout.
        """
        address = self.address
        arguments: dict[str, Any] = {
            "username": address.username,
            "password": address.password,
            "client_name": address.client_name,
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "socket_keepalive": True,
            "decode_responses": False,
            "retry": retry,
            **dict(address.tls_options),
        }
        if address.layout != "cluster":
            arguments |= {"db": address.db, "max_connections": ANY_NUMBER}
        if address.layout == "unix":
            arguments |= {"unix_socket_path": address.path}
            del arguments["socket_keepalive"], arguments["socket_connect_timeout"]
        elif address.layout == "single":
            (arguments["host"], arguments["port"]) = address.nodes[0]
        if address.tls:
            arguments["ssl"] = True
        if address.protocol is not None:
            arguments["protocol"] = address.protocol
        return arguments

    def sentinel_arguments(self, retry: object) -> dict[str, Any]:
        """Return what the clients of the sentinels are made with; see :meth:`arguments`."""
        address = self.address
        arguments: dict[str, Any] = {
            "username": address.sentinel_username,
            "password": address.sentinel_password,
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "retry": retry,
        }
        if address.tls:
            arguments |= {"ssl": True, **dict(address.tls_options)}
        return arguments

    def closed(self) -> ClosedError:
        """Return the error for an engine that was closed."""
        return ClosedError(f"redis engine of namespace {self.keyspace.label!r}")

    def failed(self, operation: str, error: Exception) -> EngineError:
        """Return the engine error for what the library reported; see :func:`failure`."""
        return failure(operation, error, self.address, self.timeout)

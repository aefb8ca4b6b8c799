"""A failure is what a server or the way to it did wrong, as an error of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redis import exceptions

from cachewright.errors import EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from cachewright_redis.address import Address

ENGINE: Final = "redis"

UNREACHABLE: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.RedisClusterException,
    OSError,
)

ACCESS: Final = "allow this user the keys and commands of the engine (ACL SETUSER)"

SLOTLESS: Final = "some slots of the cluster have no primary now; try again later"

HINTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.BusyLoadingError, "the server is reading its data from disk; try again later"),
    (exceptions.AuthenticationError, "check user name and password in url="),
    (exceptions.NoPermissionError, ACCESS),
    (exceptions.ReadOnlyError, "this server is a replica; give the url= of its primary"),
    (exceptions.OutOfMemoryError, "raise maxmemory, or have the server evict (maxmemory-policy)"),
    (exceptions.ClusterDownError, SLOTLESS),
    (exceptions.ClusterCrossSlotError, "this server is part of a cluster; use redis+cluster:// in url="),
    (exceptions.MovedError, "this server is part of a cluster; use redis+cluster:// in url="),
)

BY_WORD: Final = {
    "NOAUTH": "give user name and password in url=",
    "WRONGTYPE": "another program keeps something else under this name; use another prefix",
    "MOVED": "this server is part of a cluster; use redis+cluster:// in url=",
    "CROSSSLOT": "this server is part of a cluster; use redis+cluster:// in url=",
    "CLUSTERDOWN": SLOTLESS,
    "MISCONF": "the server could not save its data and takes no writes; look for a full disk in its log",
    "NOREPLICAS": "too few replicas are connected (min-replicas-to-write), so the primary takes no writes",
    "BUSY": "a script of another program keeps the server busy (SCRIPT KILL ends it)",
    "DENIED": "the server is in protected mode; give it a password (requirepass) or a network (bind)",
    "NOPROTO": "the server does not speak this protocol; leave protocol= out of url=",
}
"""Hints for replies that the library, depending on its version, has no class for; by their first word."""

BY_TEXT: Final = (
    ("invalid username-password", "check user name and password in url="),
    ("can't run this command", ACCESS),
    ("ACL failure", ACCESS),
    ("can't access at least one of the keys", ACCESS),
    ("max number of clients", "the server has as many connections as it allows; raise maxclients"),
    ("Hostname mismatch", "the certificate of the server is for another host name; use that one in url="),
    (
        "IP address mismatch",
        "the certificate of the server does not name this address; use a host name in url=",
    ),
    ("CERTIFICATE_VERIFY_FAILED", "give the authority of the server's certificate as ssl_ca_certs= in url="),
    ("WRONG_VERSION_NUMBER", "the server does not speak TLS on this port; use redis:// in url="),
    ("RECORD_LAYER_FAILURE", "the server does not speak TLS on this port; use redis:// in url="),
    ("CERTIFICATE_REQUIRED", "the server wants a certificate; give ssl_certfile= and ssl_keyfile= in url="),
    ("ALERT_UNKNOWN_CA", "the server does not know the authority of the certificate in ssl_certfile="),
    ("previous master is now a slave", "the sentinels are asked anew for the primary"),
)
"""Hints by words somewhere in an error: those of TLS pass through several hands."""

DOWN: Final = ("CLUSTERDOWN", "MASTERDOWN", "BUSY ", "DENIED")
"""First words of replies by which a server says that it cannot serve anybody."""

LONGEST: Final = 200


def failure(operation: str, error: Exception, address: Address, timeout: float) -> EngineError:
    """Return the engine error for what the library reported.

    Credentials are struck out of ``error`` itself too, which is to be the cause: servers quote the
    command that they refuse, and that may be the one to log in with.

    Args:
        operation: what was asked for, as in ``failed to <operation>``.
        error: the original.
        address: the servers.
        timeout: seconds that were waited for each answer.
    """
    _strike_out(error, address.secrets)
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    reason = reason if len(reason) <= LONGEST else f"{reason[: LONGEST - 3]}..."
    unreachable = isinstance(error, UNREACHABLE) or str(error).startswith(DOWN) or _demoted(error, address)
    kind = EngineUnavailableError if unreachable else EngineError
    return kind(ENGINE, operation, reason, hint=_hint(error, address, timeout))


def _demoted(error: Exception, address: Address) -> bool:
    """Whether a server was the primary when the sentinels were asked, and is a replica by now."""
    return address.layout == "sentinel" and isinstance(error, exceptions.ReadOnlyError)


def _hint(error: Exception, address: Address, timeout: float) -> str:
    first, _, _ = str(error).partition(" ")
    if first in BY_WORD:
        return BY_WORD[first]
    if _demoted(error, address):
        return "the sentinels are asked anew for the primary"
    for words, hint in BY_TEXT:
        if words in str(error):
            return hint
    for kind, hint in HINTS:
        if isinstance(error, kind):
            return hint
    return _unreachable_hint(error, address, timeout)


def _unreachable_hint(error: Exception, address: Address, timeout: float) -> str:
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        port = " and that it speaks TLS on this port" if address.tls else ""
        return f"nothing came from {address} for {timeout:g} s; check the server{port}, or raise timeout="
    if isinstance(error, UNREACHABLE):
        wanted = " (ssl_certfile= and ssl_keyfile=, if it wants a certificate)" if address.tls else ""
        return f"start a server at {address}, or check url={wanted}"
    return ""


def _strike_out(error: BaseException, secrets: tuple[str, ...]) -> None:
    seen: set[int] = set()
    todo: list[BaseException | None] = [error] if secrets else []
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.args = tuple(_without(argument, secrets) for argument in current.args)
        todo += [current.__cause__, current.__context__]


def _without(argument: object, secrets: tuple[str, ...]) -> object:
    if not isinstance(argument, (str, bytes)):
        return argument
    for secret in secrets:
        if isinstance(argument, str):
            argument = argument.replace(secret, "***")
        else:
            argument = argument.replace(secret.encode(), b"***")
    return argument

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

HINTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.BusyLoadingError, "the server is reading its data from disk; try again later"),
    (exceptions.AuthenticationError, "check user name and password in url="),
    (exceptions.NoPermissionError, "allow this user the keys and commands of the engine (ACL SETUSER)"),
    (exceptions.ReadOnlyError, "this server is a replica; give the url= of its primary"),
    (exceptions.OutOfMemoryError, "raise maxmemory, or have the server evict (maxmemory-policy)"),
    (exceptions.MovedError, "this server is part of a cluster; use redis+cluster:// in url="),
)

BY_WORD: Final = {
    "NOAUTH": "give user name and password in url=",
    "WRONGTYPE": "another program keeps something else under this name; use another prefix",
    "MOVED": "this server is part of a cluster; use redis+cluster:// in url=",
}
"""Hints for replies that the library, depending on its version, has no class for; by their first word."""

DOWN: Final = ("CLUSTERDOWN", "MASTERDOWN")
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
    unreachable = isinstance(error, UNREACHABLE) or str(error).startswith(DOWN)
    kind = EngineUnavailableError if unreachable else EngineError
    return kind(ENGINE, operation, reason, hint=_hint(error, address, timeout))


def _hint(error: Exception, address: Address, timeout: float) -> str:
    first, _, _ = str(error).partition(" ")
    if first in BY_WORD:
        return BY_WORD[first]
    for kind, hint in HINTS:
        if isinstance(error, kind):
            return hint
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return f"nothing came from {address} for {timeout:g} s; check the server, or raise timeout="
    if isinstance(error, UNREACHABLE):
        return f"start a server at {address}, or check url="
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

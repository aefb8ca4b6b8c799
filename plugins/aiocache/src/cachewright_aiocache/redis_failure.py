"""A failure is what a Redis server or the way to it did wrong, as an error of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redis import exceptions

from cachewright_aiocache.failure import engine_error

if TYPE_CHECKING:
    from cachewright.errors import EngineError
    from cachewright_aiocache.address import Address

UNREACHABLE: Final = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)

HINTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.BusyLoadingError, "the server is reading its data from disk; try again later"),
    (exceptions.AuthenticationError, "check user name and password in url="),
    (exceptions.NoPermissionError, "allow this user the keys and commands of the engine (ACL SETUSER)"),
    (exceptions.ReadOnlyError, "this server is a replica; give the url= of its primary"),
    (exceptions.OutOfMemoryError, "raise maxmemory, or have the server evict (maxmemory-policy)"),
)

BY_WORD: Final = {
    "NOAUTH": "give user name and password in url=",
    "WRONGTYPE": "another program keeps something else under this name; use another prefix",
    "MOVED": "this server is part of a cluster; use engine 'redis' and redis+cluster:// in url=",
}
"""Hints for replies that the library, depending on its version, has no class for; by their first word."""


def failure(operation: str, error: Exception, address: Address, timeout: float) -> EngineError:
    """Return the engine error for what the library reported."""
    unreachable = isinstance(error, UNREACHABLE)
    hint = BY_WORD.get(str(error).partition(" ")[0], "")
    hint = hint or next((text for kind, text in HINTS if isinstance(error, kind)), "")
    silent = isinstance(error, (exceptions.TimeoutError, TimeoutError))
    return engine_error(
        "aiocache-redis",
        operation,
        error,
        address,
        unreachable=unreachable,
        silence=timeout if silent else None,
        hint=hint,
    )

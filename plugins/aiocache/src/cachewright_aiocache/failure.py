"""A failure is what a server or the way to it did wrong, as an error of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cachewright.errors import EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from cachewright_aiocache.address import Address

LONGEST: Final = 200
"""Letters of a library's message that are shown."""


def engine_error(
    engine: str,
    operation: str,
    error: Exception,
    address: Address,
    *,
    unreachable: bool,
    silence: float | None,
    hint: str,
) -> EngineError:
    """Return the engine error for what a library reported.

    Credentials are struck out of ``error`` itself too, which is to be the cause: servers quote the
    command that they refuse, and that may be the one to log in with.

    Args:
        engine: name of the engine.
        operation: what was asked for, as in ``failed to <operation>``.
        error: the original.
        address: the server.
        unreachable: whether the server was not reached, or did not answer.
        silence: seconds that were waited in vain; ``None`` if it was not for an answer.
        hint: what would help, if that is known.
    """
    _strike_out(error, address.secrets)
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    reason = reason if len(reason) <= LONGEST else f"{reason[: LONGEST - 3]}..."
    if not hint and silence is not None:
        hint = f"nothing came from {address} for {silence:g} s; check the server, or raise timeout="
    elif not hint and unreachable:
        hint = f"start a server at {address}, or check url="
    kind = EngineUnavailableError if unreachable else EngineError
    return kind(engine, operation, reason, hint=hint)


def _strike_out(error: BaseException | None, secrets: tuple[str, ...]) -> None:
    seen: set[int] = set()
    todo = [error] if secrets else []
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.args = tuple(_without(argument, secrets) for argument in current.args)
        todo += [current.__cause__, current.__context__]


def _without(argument: object, secrets: tuple[str, ...]) -> object:
    for secret in secrets:
        if isinstance(argument, str):
            argument = argument.replace(secret, "***")
        elif isinstance(argument, bytes):
            argument = argument.replace(secret.encode(), b"***")
    return argument

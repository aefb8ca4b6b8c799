"""What the engines on servers share: turns, deadlines, closing, and the errors that become ours."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from cachewright.engine import AsyncEngine
from cachewright.errors import ClosedError, ConfigurationError, EngineUnavailableError
from cachewright_aiocache.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cachewright.engine import EngineConfig
    from cachewright.errors import EngineError

P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS: Final = 64
"""Operations at a time; each needs a connection, and more of them would not be faster."""


class ServerEngine(AsyncEngine):
    """An engine whose every operation asks a server.

    At most :data:`CONNECTIONS` operations are under way; further ones wait for their turn, as long as
    the server answers at all.
    """

    def __init__(self, config: EngineConfig) -> None:
        if config.policy is not None:
            raise ConfigurationError("policy", config.policy, "no policy: the server has its own")
        for setting in ("maxsize", "max_bytes"):
            bound = getattr(config, setting)
            if bound is not None:
                raise ConfigurationError(setting, bound, "None: the server has bounds of its own")
        if not config.timeout > 0:
            raise ConfigurationError("timeout", config.timeout, "a number of seconds above 0")
        self._timeout = config.timeout
        self._namespace = config.namespace
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._answers = 0
        self._closed = False

    async def close(self) -> None:
        """Close the connections; operations under way in other tasks end with ClosedError."""
        self._closed = True
        await self._disconnect()

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close all connections, also those in use."""

    @abstractmethod
    def _failed(self, operation: str, error: Exception) -> EngineError:
        """Return the engine error for what the library reported."""

    async def _ask(
        self, operation: str, work: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what ``work`` does, within the time that the engine gives an operation.

        Raises:
            EngineError: it failed; :class:`EngineUnavailableError` if nothing was heard from the server.
            ClosedError: the engine was closed before or meanwhile.
        """
        seconds = self._timeout
        if self._turns.locked():
            seconds = await self._turn(operation)
        else:
            await self._turns.acquire()  # does not wait
        try:
            self._check_open()
            with Deadline(seconds):
                answer = await work(*args, **kwargs)
        except ClosedError:
            raise
        except Exception as error:  # a library and a server, whose garbage surfaces as any exception
            if self._closed:
                raise self._closed_error() from error
            raise self._failed(operation, error) from error
        finally:
            self._turns.release()
            if self._closed:  # whoever was connecting while the engine was closed cleans up afterwards
                await self._disconnect()
        self._answers += 1
        return answer

    async def _turn(self, operation: str) -> float:
        """Wait for a turn while the server answers others; return the seconds that are left.

        Raises:
            EngineUnavailableError: no operation was answered for as long as one may take.
        """
        while True:
            answers, since = self._answers, monotonic()
            try:
                async with asyncio.timeout(self._timeout):
                    await self._turns.acquire()
            except TimeoutError as error:
                if self._answers == answers:
                    reason = f"none of {CONNECTIONS} operations was answered in {self._timeout:g} s"
                    raise EngineUnavailableError(self.name, operation, reason) from error
            else:
                waited = monotonic() - since
                # where nobody was answered meanwhile, the wait for the answer has begun already
                return self._timeout if self._answers != answers else max(self._timeout - waited, 1e-3)

    def _check_open(self) -> None:
        if self._closed:
            raise self._closed_error()

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"engine {self.name!r} of namespace {self._namespace[:80]!r}")


def check_options(config: EngineConfig, *known: str) -> None:
    """Refuse an option that the engine does not have.

    Raises:
        ConfigurationError: names it, and those that there are.
    """
    for name, value in config.options.items():
        if name not in known:
            expected = f"{', '.join(known)}, the only option{'s' * (len(known) > 1)}"
            raise ConfigurationError(f"options[{name!r}]", value, expected)

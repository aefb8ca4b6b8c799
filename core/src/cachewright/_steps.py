"""A step is what an operation asks of whoever runs it, so that an operation is written once for both colours.

An operation is a generator that decides, and yields a step wherever something may have to be waited
for. :class:`Cache` takes the steps in the calling thread, :class:`AsyncCache` awaits them. While a step
is taken the generator is not on the stack, so that a recursive function does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from cachewright._flight import Flight

T = TypeVar("T")


class _Failed:
    """Answer to an :class:`Ask` that the engine did not answer."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "FAILED"


FAILED = _Failed()


class Ask:
    """Call a method of the engine; the answer is what it returns, ``fallback`` if it failed or rests.

    Attributes:
        operation: what it is called in messages.
        method: its name.
        args: positional arguments.
        options: keyword arguments.
        fallback: the answer of an engine that does not answer.
        aside: ask the companion engine, which holds what is not an entry.
        urgent: ask also while the engine rests, and raise what it raises.
    """

    __slots__ = ("args", "aside", "fallback", "method", "operation", "options", "urgent")

    def __init__(
        self,
        operation: str,
        method: str,
        *args: Any,
        fallback: Any = FAILED,
        aside: bool = False,
        urgent: bool = False,
        **options: Any,
    ) -> None:
        self.operation = operation
        self.method = method
        self.args = args
        self.options = options
        self.fallback = fallback
        self.aside = aside
        self.urgent = urgent


class Compute:
    """Call the user's function; the answer is its value and ``None``, or ``None`` and what it raised."""

    __slots__ = ("args", "fn", "kwargs")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.fn = fn
        self.args = args
        self.kwargs = kwargs

    def call(self) -> Any:
        """Call the function; where it is a generator function, that only makes the generator."""
        return self.fn(*self.args, **self.kwargs)


class Wait:
    """Wait for a flight; the answer is that of :meth:`FlightTable.wait`."""

    __slots__ = ("flight", "seconds")

    def __init__(self, flight: Flight, seconds: float | None = None) -> None:
        self.flight = flight
        self.seconds = seconds


class Pause:
    """Let time pass."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Spawn:
    """Run another operation behind this one; the answer is whether that was possible.

    Attributes:
        steps: the operation.
        flight: the flight that it leads, if any.
        now: start at once or not at all, rather than wait for a free worker.
    """

    __slots__ = ("flight", "now", "steps")

    def __init__(self, steps: Steps[Any], flight: Flight | None = None, *, now: bool = False) -> None:
        self.steps = steps
        self.flight = flight
        self.now = now


class Hold:
    """Keep a claim alive by writing it again and again, until it is released."""

    __slots__ = ("aside", "blob", "key", "token")

    def __init__(self, token: bytes, key: Any, blob: bytes, *, aside: bool = False) -> None:
        self.token = token
        self.key = key
        self.blob = blob
        self.aside = aside


Step: TypeAlias = "Ask | Compute | Wait | Pause | Spawn | Hold"

Steps: TypeAlias = Generator[Step, Any, T]
"""An operation that ends with a ``T``."""

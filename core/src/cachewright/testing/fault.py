"""A fault is one thing that goes wrong with an engine, and the condition under which it does."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Literal, TypeAlias

from cachewright.errors import ConfigurationError, EngineError

READING = ("get", "get_many")
STORING = ("set", "set_many", "compare_and_set", "compare_and_set_many")
REMOVING = ("delete", "delete_many", "clear")
LISTING = ("keys", "count")
CLOSING = ("close",)
OPERATIONS = READING + STORING + REMOVING + LISTING + CLOSING
"""The operations of an engine, by the names of its methods."""

Way: TypeAlias = Literal["flip", "truncate", "garbage", "swap"]
"""What can happen to stored bytes: one bit turned, the end lost, noise, the entry of another key."""

WAYS: tuple[Way, ...] = ("flip", "truncate", "garbage", "swap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """When something goes wrong; the subclasses say what. Conditions are joined by *and*.

    Attributes:
        operations: names of the engine's methods, one or several; default: all that this fault can
            happen to, but ``close``.
        at: the number, or numbers, of the operation among those that the other conditions select,
            counted from 1; default: every one.
        probability: how likely it is, from 0.0 to 1.0, by the seed of the :class:`Chaos`.
        where: asked with the operation's name and a key, for every key of a ``*_many`` until it says
            yes; with ``MISSING`` for operations without a key.

    Raises:
        ConfigurationError: a condition can never be met, or makes no sense.
    """

    possible: ClassVar[tuple[str, ...]] = OPERATIONS

    operations: str | Sequence[str] = ()
    at: int | Sequence[int] = ()
    probability: float = 1.0
    where: Callable[[str, Hashable], object] | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in self.possible:
                raise ConfigurationError("operations", name, f"among {', '.join(self.possible)}")
        if any(number < 1 for number in self.numbers):
            raise ConfigurationError("at", self.at, "numbers from 1")
        if not 0.0 <= self.probability <= 1.0:
            raise ConfigurationError("probability", self.probability, "a number from 0.0 to 1.0")

    @property
    def names(self) -> tuple[str, ...]:
        """The operations that it can happen to."""
        if isinstance(self.operations, str):
            return (self.operations,)
        return tuple(self.operations) or tuple(name for name in self.possible if name not in CLOSING)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the operations that it happens to; none for every one."""
        return (self.at,) if isinstance(self.at, int) else tuple(self.at)

    def selects(self, operation: str, keys: Sequence[Hashable]) -> bool:
        """Whether it can happen to this operation, leaving number and probability aside."""
        if operation not in self.names:
            return False
        return self.where is None or any(self.where(operation, key) for key in keys)


@dataclass(frozen=True, slots=True)
class Failure(Fault):
    """The operation raises.

    Attributes:
        error: what: :class:`~cachewright.errors.EngineError`, a subclass, or anything that is called
            without arguments and returns an exception.
        done: whether the operation takes place nonetheless, as when a server's reply is lost.
    """

    error: type[EngineError] | Callable[[], BaseException] = EngineError
    done: bool = field(default=False, kw_only=True)

    def exception(self, engine: str, operation: str) -> BaseException:
        """Return what to raise."""
        make: Any = self.error
        facts = (engine, operation, "it was told to fail")
        made: BaseException = make(*facts) if _is_engine_error(make) else make()
        return made


def _is_engine_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, EngineError)


@dataclass(frozen=True, slots=True)
class Delay(Fault):
    """The operation begins late.

    Attributes:
        seconds: by how much.
    """

    seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class Hang(Fault):
    """The operation does not begin until the :class:`Chaos` releases it.

    Attributes:
        limit: seconds after which it gives up and raises ``EngineUnavailableError``, so that a test
            that forgot to release it ends.
    """

    limit: float = 60.0


@dataclass(frozen=True, slots=True)
class LostWrite(Fault):
    """Nothing is stored, and the engine says so: ``set`` returns False and an older entry is gone.

    For writes that are lost with an exception, use :class:`Failure`.
    """

    possible: ClassVar[tuple[str, ...]] = STORING


@dataclass(frozen=True, slots=True)
class Corruption(Fault):
    """Bytes come back other than they were stored; what is stored stays whole.

    Attributes:
        way: one of :data:`WAYS`, or a function of the bytes and a random generator that returns
            other bytes. "swap" hands out another entry of the engine; noise where there is none.
    """

    possible: ClassVar[tuple[str, ...]] = READING

    way: Way | Callable[[bytes, Random], bytes] = "flip"

    def damage(self, data: bytes, random: Random) -> bytes:
        """Return ``data``, damaged; where another entry is wanted, noise."""
        if callable(self.way):
            return self.way(data, random)
        if self.way == "flip" and data:
            place = random.randrange(len(data))
            turned = data[place] ^ (1 << random.randrange(8))
            return data[:place] + bytes([turned]) + data[place + 1 :]
        if self.way == "truncate" and data:
            return data[: random.randrange(len(data))]
        return random.randbytes(max(1, len(data)))

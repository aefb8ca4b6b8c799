"""An eviction policy holds the entries of a memory engine and decides which one has to go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from cachewright.builtin.policy_clock import S3Fifo, Sieve
from cachewright.builtin.policy_queue import Fifo, RandomReplacement, Unbounded
from cachewright.builtin.policy_use import Lfu, Lru

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import RLock

    from cachewright.engine import Reader


class Policy(Protocol):
    """What the memory engine needs of a policy.

    The engine calls every method under its lock and never two at a time. Keys may run code of their
    own in ``__hash__`` and ``__eq__``: when that raises out of a method that writes, the engine
    clears the policy. Other threads use only ``reader``, at any moment and without asking.

    Attributes:
        reader: the fastest read; the same object for the life of the policy.
        visible: what ``reader`` reads. Entries may vanish from it at any moment; a method must
            neither fail nor miscount because of that.
        lock: the engine's lock, for readers that have something to write down.
    """

    lock: RLock

    @property
    def reader(self) -> Reader:
        """The fastest read."""
        ...

    @property
    def visible(self) -> dict[Any, Any]:
        """What the reader reads."""
        ...

    def __len__(self) -> int:
        """Return the number of entries held."""
        ...

    def get(self, key: Any, /) -> Any:
        """Return the value and note its use, or return ``MISSING``."""
        ...

    def peek(self, key: Any, /) -> Any:
        """Return the value or ``MISSING``; not a use."""
        ...

    def replace(self, key: Any, value: Any, /) -> Any:
        """Give a held entry a new value and return the old one; ``MISSING`` if it is not held.

        Either done or, when the key's own code raises, not begun.
        """
        ...

    def insert(self, key: Any, value: Any, /) -> None:
        """Hold an entry that is not held yet."""
        ...

    def evict(self) -> tuple[Any, Any] | None:
        """Remove one entry and return its key and value.

        ``None`` if no entry can be found: the hashes of the keys have changed since they were
        inserted, and only :meth:`clear` still removes them.
        """
        ...

    def pop(self, key: Any, /) -> Any:
        """Remove an entry and return its value; ``MISSING`` if it is not held."""
        ...

    def hide(self, key: Any, /) -> Any:
        """Let the reader miss an entry from now on.

        Alone among the methods it may be called in the middle of another one. What it leaves behind
        :meth:`pop` and :meth:`tidy` remove later.
        """
        ...

    def tidy(self) -> None:
        """Bound what :meth:`hide` may have left behind."""
        ...

    def clear(self) -> list[Any]:
        """Remove every entry; return what was held, for the caller to drop when it is convenient."""
        ...

    def keys(self) -> list[Any]:
        """Return the keys held, in no particular order."""
        ...


DEFAULT_POLICY: Final = "s3-fifo"

POLICIES: Final[dict[str, Callable[[RLock], Policy]]] = {
    "s3-fifo": S3Fifo,
    "lru": Lru,
    "lfu": Lfu,
    "fifo": Fifo,
    "rr": RandomReplacement,
    "sieve": Sieve,
}

UNBOUNDED: Final[Callable[[RLock], Policy]] = Unbounded

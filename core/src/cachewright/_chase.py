"""A chase tells an engine what is queued for it soon after it is back, even if nobody asks the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import ref

from cachewright._breaker import LONGEST_REST
from cachewright._claims import keeper

if TYPE_CHECKING:
    from collections.abc import Callable


class Chased(Protocol):
    """A cache whose engine is down."""

    def look_again(self) -> bool:
        """Find out behind the callers whether the engine is back; return whether that is still open."""
        ...


def chase(cache: Chased, token: bytes, call: Callable[[Callable[[], None]], object]) -> None:
    """Let ``cache`` look again every now and then until its engine is back, without keeping it alive.

    Args:
        cache: whose engine is down.
        token: tells this chase from others; one under way is not started again.
        call: runs a function where the cache may be used: here, or in an event loop. Raises
            ``RuntimeError`` once that has ended; then the next user of the cache finds out.
    """
    me = ref(cache)

    def probe() -> None:
        alive = me()
        if alive is None or not alive.look_again():
            keeper.release(token)

    def again() -> None:
        try:
            call(probe)
        except RuntimeError:
            keeper.release(token)

    if token not in keeper:
        keeper.hold(token, again, lambda _: None, 3 * LONGEST_REST)

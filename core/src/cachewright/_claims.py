"""A claim stands in a shared store for a value that somebody is computing.

It is written under the key itself, in the place of the missing value, by compare-and-set; the value
replaces it by compare-and-set. Whatever happens to the key meanwhile (an invalidation, an explicit
``set``, the loss of the lease) makes that fail, so that a computation which began before cannot store
its result after. Where an old value has to stay readable while a new one is computed, the claim lies in
the companion of the store instead, and the old value is what is compared.

A claim lasts for a lease, which its holder renews by writing the same bytes again. One whose holder was
killed is taken over: at once on the same host, else when the lease is over.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from cachewright._owner import may_be_alive, owner_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger("cachewright")

TOKEN_SIZE: Final = 16

LEASE_SECONDS: Final = 10.0
"""How long a claim lasts unless it is renewed."""

IDLE_SECONDS: Final = 1.0
IDLE_TURNS: Final = 10
"""How often, and for how long, claims are looked for when there are none, before waiting to be woken."""

FIRST_PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 0.05
"""Seconds between two looks at a claim that somebody else holds, growing from the first to the longest."""

MOST_AWAITED: Final = 64
"""Computations that one is said to wait for, directly or through others."""


class Claim(NamedTuple):
    """What a claim says.

    Attributes:
        token: random; tells claims apart.
        owner: mark of the process that holds it.
        tags: tags of the value to be, with their tokens when the computation began.
    """

    token: bytes
    owner: str
    tags: Mapping[str, str]

    @property
    def abandoned(self) -> bool:
        """Whether it is certain that nobody will replace it by a value."""
        if self.owner == owner_mark():
            return self.token not in keeper
        return self.token in keeper.inherited or not may_be_alive(self.owner)


def new_token() -> bytes:
    """Return a token that no other claim has."""
    return os.urandom(TOKEN_SIZE)


def claim_payload(token: bytes) -> bytes:
    """Return what the envelope of a claim holds."""
    return token + owner_mark().encode()


def parse_payload(payload: bytes | memoryview, tags: Mapping[str, str]) -> Claim:
    """Return the claim that :func:`claim_payload` was made for."""
    content = bytes(payload)
    return Claim(content[:TOKEN_SIZE], content[TOKEN_SIZE:].decode("ascii", "replace"), tags)


class Keeper:
    """Renews the claims that this process holds, in one daemon thread that starts with the first.

    Attributes:
        inherited: claims of the parent when this process was forked. It may be the child that the parent
            waits for before it goes on, so a child never waits for one of them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._announced: set[bytes] = set()
        self._held: dict[bytes, _Held] = {}
        self._running = False
        self._wakes = 0.0
        self.inherited: frozenset[bytes] = frozenset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def __contains__(self, token: bytes) -> bool:
        return token in self._held or token in self._announced

    def announce(self, token: bytes) -> None:
        """Count a claim as held while it is being written; it ends with :meth:`release`."""
        self._announced.add(token)

    def hold(
        self, token: bytes, renew: Callable[[], None], tell: Callable[[bytes], None], lease: float
    ) -> None:
        """Call ``renew`` three times per lease until the claim is released, and ``tell`` for :meth:`tell`."""
        pause = lease / 3
        with self._changed:
            when = time.monotonic() + pause
            self._held[token] = _Held(renew, tell, when, pause)
            if not self._running:
                try:
                    threading.Thread(target=self._work, name="cachewright-leases", daemon=True).start()
                except RuntimeError:  # the interpreter ends: no computation will outlast its lease
                    return
                self._running = True
            elif when < self._wakes:
                self._changed.notify()

    def release(self, token: bytes) -> None:
        """Renew it no longer."""
        self._held.pop(token, None)
        self._announced.discard(token)

    def tell(self, token: bytes, waits: bytes) -> None:
        """Let everybody know what the computation behind a claim waits for."""
        held = self._held.get(token)
        if held is not None:
            held.tell(waits)

    def _work(self) -> None:
        idle = 0
        while True:
            with self._changed:
                now = time.monotonic()
                held = list(self._held.items())
                due = [(token, claim) for token, claim in held if claim.when <= now]
                if not due:
                    # Without claims it goes on looking for a while: to wake a thread costs as much as the
                    # claim that it would be woken for.
                    idle = 0 if held else idle + 1
                    later = now + IDLE_SECONDS if idle < IDLE_TURNS else math.inf
                    self._wakes = min((claim.when for _, claim in held), default=later)
                    del held, due  # a claim that is released may refer to a cache that nobody else does
                    self._changed.wait(None if self._wakes == math.inf else max(self._wakes - now, 0.01))
                    continue
                self._wakes = 0.0
            for token, claim in due:
                if token in self._held:
                    try:
                        claim.renew()
                    except Exception:  # whatever it is: the claims of others must be renewed
                        log.exception("a claim could not be renewed")
                    claim.when = time.monotonic() + claim.pause
                del claim
            del held, due

    def _reset(self) -> None:
        """Let go of everything: a child computes nothing of what its parent does."""
        self._changed = threading.Condition(threading.Lock())
        self.inherited = self.inherited.union(self._held, self._announced)
        self._announced = set()
        self._held = {}
        self._running = False


class _Held:
    """A claim that is renewed: how, when next, and how often."""

    __slots__ = ("pause", "renew", "tell", "when")

    def __init__(
        self, renew: Callable[[], None], tell: Callable[[bytes], None], when: float, pause: float
    ) -> None:
        self.renew = renew
        self.tell = tell
        self.when = when
        self.pause = pause


keeper: Final = Keeper()
"""The claims of this process."""

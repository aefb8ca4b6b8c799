"""What the processes and hosts that share a store do for each other: claims, and tokens of tags."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from cachewright import _tags
from cachewright._claims import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_AWAITED,
    TOKEN_SIZE,
    keeper,
)
from cachewright._claims import new_token as new_claim_token
from cachewright._flight import LIMIT_SECONDS, Flight, leading
from cachewright._steps import FAILED, Ask, Hold, Pause, Steps
from cachewright.engine import MappedBlob
from cachewright.entry import MISSING
from cachewright.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cachewright._claims import Claim
    from cachewright._lifecycle import Lifecycle

log = logging.getLogger("cachewright")


class _Nothing:
    """What a flight expects in the store that could not make a claim: nothing will ever match it."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()


def same_blob(stored: Any, expected: Any) -> bool:
    """Whether two looks at a key of the store have seen the same bytes."""
    if isinstance(stored, MappedBlob) or isinstance(expected, MappedBlob):
        both = isinstance(stored, MappedBlob) and isinstance(expected, MappedBlob)
        return both and stored.identity == expected.identity
    if stored is MISSING or expected is MISSING:
        return stored is expected
    return not isinstance(expected, _Nothing) and bytes(stored) == bytes(expected)


class Sharing:
    """The part of the operations that a store for several processes needs.

    Attributes:
        beside: whether this cache has made use of the companion of the store.
    """

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self.beside = False

    # Tokens of tags ---------------------------------------------------------------------------------

    def tokens(self, tags: Iterable[str]) -> Steps[dict[str, str]]:
        """Return the tokens of tags, made where there are none; without those that cannot be had."""
        self.beside = True
        keys = {tag: self._life.tag_key(tag) for tag in tags}
        found = yield Ask("get", "get_many", list(keys.values()), fallback={}, aside=True)
        tokens: dict[str, str] = {}
        for tag, key in keys.items():
            token = found.get(key, MISSING)
            if token is MISSING:
                fresh = _tags.new_token()
                made = yield Ask("set", "compare_and_set", key, MISSING, [fresh], size=len(fresh), aside=True)
                token = fresh if made else (yield Ask("get", "get", key, fallback=MISSING, aside=True))
            if token is not MISSING:
                tokens[tag] = bytes(token).hex()
        return tokens

    def still_valid(self, tokens: dict[str, str]) -> Steps[bool]:
        """Return whether none of the tags has been invalidated since it had the given token."""
        keys = [self._life.tag_key(tag) for tag in tokens]
        found = yield Ask("get", "get_many", keys, fallback={}, aside=True)
        return all(
            key in found and bytes(found[key]).hex() == token
            for key, token in zip(keys, tokens.values(), strict=True)
        )

    def change_tokens(self, tags: Iterable[str]) -> Steps[bool]:
        """Give tags new tokens, the epoch first; return whether the store knows."""
        for tag in (_tags.EPOCH, *tags):
            fresh = _tags.new_token()
            if not (yield Ask("set", "set", self._life.tag_key(tag), [fresh], size=len(fresh), aside=True)):
                return False
        return True

    # Claims -----------------------------------------------------------------------------------------

    def claim(
        self, flight: Flight, stored: Any, tokens: dict[str, str], label: object, *, wait: bool
    ) -> Steps[Any]:
        """Claim the key of a flight, or wait for who has.

        Args:
            flight: gets ``expected`` and ``token``; ``expected`` is ``NOTHING`` if it has to do without.
            stored: what the key was seen to hold: nothing that could be served.
            tokens: tags of the value to be, with their tokens as of now; brought up to date.
            label: kept beside the claim.
            wait: whether somebody else's claim is respected.

        Returns:
            ``MISSING`` if the caller has to compute, else what is stored now and is no claim.
        """
        life, key = self._life, flight.key
        patience = _Patience()
        while stored is not FAILED and not flight.stale:
            holder = None if stored is MISSING else life.claim_of(key, stored)
            if wait and stored is not MISSING and holder is None and patience.waited:
                return stored
            if holder is not None and _outdated(holder, tokens):  # unless it is the tokens that are
                tokens.update((yield from self.tokens(tokens)))
            if holder is not None and wait and not (holder.abandoned or _outdated(holder, tokens)):
                if (yield from self._hopeless(holder, patience)):
                    break
                yield Pause(patience.next_pause())
            else:
                answer = yield from self._try_claim(flight, stored, tokens, label)
                if answer:
                    return MISSING
                if answer is FAILED or patience.over():
                    break
            stored = yield Ask("get", "get", key)
        flight.expected = NOTHING
        return MISSING

    def _try_claim(self, flight: Flight, stored: Any, tokens: dict[str, str], label: object) -> Steps[Any]:
        life, key, token = self._life, flight.key, new_claim_token()
        blob = life.claim(key, token, tokens, label)
        # announced before it is written: others of this process must not take it for one that was left behind
        flight.token = token
        keeper.announce(token)
        answer = False
        try:
            answer = yield Ask(
                "set", "compare_and_set", key, stored, [blob], ttl=life.lease, size=len(blob), fallback=FAILED
            )
        finally:
            if not answer:
                self.settled(flight)
        if answer:
            flight.expected = blob
            yield Hold(token, key, blob)
        return answer

    def lease(self, flight: Flight, stored: Any) -> Steps[bool]:
        """Return whether nobody else refreshes the value of a key; while it is, it stays readable."""
        life, key, token = self._life, flight.key, new_claim_token()
        blob = token + life.claim(key, token, {}, MISSING)
        flight.expected = stored
        for _ in range(2):
            keeper.announce(token)
            held: Any = False
            try:
                held = yield Ask(
                    "set", "compare_and_set", key, MISSING, [blob], ttl=life.lease, size=len(blob), aside=True
                )
            finally:
                if not held:
                    keeper.release(token)
            if held:
                flight.lease = token
                yield Hold(token, key, blob, aside=True)
                return True
            other = yield Ask("get", "get", key, fallback=MISSING, aside=True)
            if other is MISSING:
                continue
            holder = life.claim_of(key, bytes(other)[TOKEN_SIZE:])
            if holder is not None and not holder.abandoned:
                return False
            yield Ask("set", "compare_and_set", key, other, MISSING, aside=True)
        return False

    def settled(self, flight: Flight) -> None:
        """Note that the claim of a flight has been replaced, or was found to be gone."""
        if flight.token:
            keeper.release(flight.token)
            flight.token = b""

    def let_go(self, flight: Flight) -> None:
        """Renew no longer what a flight claims; whoever finds it takes it over."""
        keeper.release(flight.token)
        keeper.release(flight.lease)

    def release(self, flight: Flight) -> Steps[None]:
        """Give back what a flight still claims."""
        token, lease = flight.token, flight.lease
        try:
            if token:
                self.settled(flight)
                yield Ask("delete", "compare_and_set", flight.key, flight.expected, MISSING)
            if lease:
                keeper.release(lease)
                flight.lease = b""
                other = yield Ask("get", "get", flight.key, fallback=MISSING, aside=True)
                if other is not MISSING and bytes(other)[:TOKEN_SIZE] == lease:
                    yield Ask("delete", "compare_and_set", flight.key, other, MISSING, aside=True)
        except EngineError:
            return  # it has been announced; the claim ends with its lease

    def stands(self, flight: Flight, stored: Any, tokens: dict[str, str]) -> Steps[bool]:
        """Return whether a caller that has just seen ``stored`` may join a flight of this process.

        It may not if the flight's claim is gone: then its key was invalidated, by whatever process, and
        the caller could be given what was read before.
        """
        if flight.tokens is not None and flight.tokens != tokens:
            tokens = yield from self.tokens(tokens)  # which of the two are the newer ones?
            if flight.tokens != tokens:
                return False
        expected = flight.expected
        if expected is NOTHING:  # nobody could know of it; while the store is down that goes for everybody
            return self._life.breaker.open
        if expected is None or same_blob(stored, expected):
            return True
        # it was claimed after this caller had looked, or it is gone
        stored = yield Ask("get", "get", flight.key, fallback=MISSING)
        return same_blob(stored, expected) or self._life.breaker.open

    def _hopeless(self, holder: Claim, patience: _Patience) -> Steps[bool]:
        """Return whether waiting for a claim would never end, or takes too long."""
        if patience.over():
            log.warning(
                "waited %.0f s for a computation of process %s; computing the value once more",
                LIMIT_SECONDS,
                holder.owner,
            )
            return True
        mine = {flight.token or flight.lease for flight in leading()} - {b""}
        if not mine:
            return False
        # Computations of other processes cannot be looked into: each says for which ones it waits, those
        # that they wait for included. In a circle every one of them hears of itself.
        found = yield Ask("get", "get", self._waits_key(holder.token), fallback=MISSING, aside=True)
        told = b"" if found is MISSING else bytes(found)
        beyond = {told[at : at + TOKEN_SIZE] for at in range(0, len(told), TOKEN_SIZE)}
        if not mine.isdisjoint({holder.token, *beyond}):
            return True
        awaited = b"".join([holder.token, *sorted(beyond - {holder.token})][:MOST_AWAITED])
        if patience.news(mine, awaited, self._life.lease):
            for token in mine:
                keeper.tell(token, awaited)
        return False

    def tell(self, token: bytes, waits: bytes) -> Steps[None]:
        """Let everybody know what the computation behind a claim waits for."""
        key = self._waits_key(token)
        try:
            yield Ask("set", "set", key, [waits], ttl=self._life.lease, size=len(waits), aside=True)
        except EngineError:
            return  # it has been announced; a circle is then broken by whoever waits for too long

    def _waits_key(self, token: bytes) -> str:
        return self._life.tag_key(f"\0waits {token.hex()}")


class _Patience:
    """How long a caller has waited for somebody else's claim."""

    __slots__ = ("_deadline", "_pause", "_told", "_told_at", "waited")

    def __init__(self) -> None:
        self._deadline = time.monotonic() + LIMIT_SECONDS
        self._pause = FIRST_PAUSE
        self._told: tuple[set[bytes], bytes] | None = None
        self._told_at = 0.0
        self.waited = False

    def over(self) -> bool:
        self.waited = True
        return time.monotonic() > self._deadline

    def news(self, mine: set[bytes], awaited: bytes, lease: float) -> bool:
        """Return whether others have to be told what is waited for, which they remember for a lease."""
        now = time.monotonic()
        if self._told == (mine, awaited) and now < self._told_at + lease / 3:
            return False
        self._told, self._told_at = (mine, awaited), now
        return True

    def next_pause(self) -> float:
        pause = self._pause
        self._pause = min(pause * 1.5, LONGEST_PAUSE)
        return pause


def _outdated(claim: Claim, tokens: dict[str, str]) -> bool:
    """Whether one of the tags was invalidated after the computation behind a claim began."""
    return any(claim.tags.get(tag, token) != token for tag, token in tokens.items())

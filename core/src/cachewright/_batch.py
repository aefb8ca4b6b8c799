"""A batch is one call for many keys: its keys, what the function answers, how that gets into the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from cachewright._claims import keeper
from cachewright._claims import new_token as new_claim_token
from cachewright._flight import Flight
from cachewright._lifecycle import REFUSED
from cachewright._packing import Draft
from cachewright._sharing import NOTHING
from cachewright._steps import FAILED, Ask, Hold, Steps
from cachewright.entry import MISSING
from cachewright.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cachewright._loader import Loader
    from cachewright._operations import Operations
    from cachewright._packing import Packed


class Item:
    """One key of a batch.

    Attributes:
        element: the key as the caller gave it.
        key: the engine's key.
        label: what is kept beside the value.
        tags: tags of the value.
        tokens: their tokens in a shared store, as they were before the value was computed.
        stored: what was found under the key.
        readable: whether that is a value which stays readable until it is replaced.
        flight: the computation, once there is one.
        leads: whether this batch leads it.
        found: a value that others stored while this batch was about to compute it.
    """

    __slots__ = (
        "element",
        "flight",
        "found",
        "key",
        "label",
        "leads",
        "readable",
        "stored",
        "tags",
        "tokens",
    )

    flight: Flight

    def __init__(self, element: Any, key: Any, label: object, tags: tuple[str, ...]) -> None:
        self.element = element
        self.key = key
        self.label = label
        self.tags = tags
        self.tokens: dict[str, str] = {}
        self.stored: Any = MISSING
        self.readable = False
        self.leads = False
        self.found: Any = MISSING


class Batch:
    """One call for many keys.

    Attributes:
        loader: the function and its rules.
        items: the keys, each once, in the order asked for.
        arguments: what to call the function with for some of the elements.
    """

    __slots__ = ("arguments", "items", "loader")

    def __init__(
        self,
        loader: Loader,
        items: list[Item],
        arguments: Callable[[list[Any]], tuple[tuple[Any, ...], dict[str, Any]]],
    ) -> None:
        self.loader = loader
        self.items = items
        self.arguments = arguments


def by_element(loader: Loader, elements: Sequence[Any], result: object) -> dict[int, Any]:
    """Return the values that a function returned for ``elements``, by their places.

    Raises:
        TypeError: it returned neither a mapping nor a sequence of as many values.
    """
    answer = cast("Any", result)
    if isinstance(result, Mapping):
        return {at: answer[element] for at, element in enumerate(elements) if element in answer}
    got = f"a {type(answer).__name__}"
    if isinstance(result, Sequence) and not isinstance(result, str | bytes | bytearray | memoryview):
        if len(answer) == len(elements):
            return {at: answer[at] for at in range(len(elements))}
        got += f" of {len(answer)}"
    message = (
        f"{loader.name} has to return a mapping from keys to values, or a list with a value for each of the"
        f" {len(elements)} keys in their order, not {got}"
    )
    raise TypeError(message)


class BatchStore:
    """How the values of a batch are claimed and stored: each key as if alone, all of them in one write."""

    def __init__(self, operations: Operations, loader: Loader) -> None:
        self._operations = operations
        self._life = operations.life
        self._sharing = operations.sharing
        self._loader = loader

    def claim(self, items: list[Item]) -> Steps[list[Item]]:
        """Claim keys among all who share the store; return the items that are to be computed now."""
        life, todo = self._life, list[Item]()
        wanted: list[tuple[Item, bytes, bytes]] = []
        for item in items:
            if item.readable:  # it is refreshed; whoever is first replaces it
                item.flight.expected = item.stored
                todo.append(item)
            elif not self._is_claimed(item):
                token = new_claim_token()
                wanted.append((item, token, life.claim(item.key, token, item.tokens, item.label)))
        if not wanted:
            return todo
        answers = yield from self._try_claims(wanted)
        for at, (item, token, blob) in enumerate(wanted):
            if answers is FAILED:
                item.flight.expected = NOTHING
                todo.append(item)
            elif answers[at]:
                item.flight.expected = blob
                todo.append(item)
                yield Hold(token, item.key, blob)
        return todo

    def _try_claims(self, wanted: list[tuple[Item, bytes, bytes]]) -> Steps[Any]:
        """Write claims for keys that nobody claims; return the engine's answers."""
        answers: Any = FAILED
        try:
            for item, token, _ in wanted:  # before it is written: see Sharing
                item.flight.token = token
                keeper.announce(token)
            swaps = [(item.key, item.stored, [blob], self._life.lease, len(blob)) for item, _, blob in wanted]
            answers = yield Ask("set", "compare_and_set_many", swaps)
        finally:
            for at, (item, _, _) in enumerate(wanted):
                if answers is FAILED or not answers[at]:
                    self._sharing.settled(item.flight)
        return answers

    def _is_claimed(self, item: Item) -> bool:
        holder = None if item.stored is MISSING else self._life.claim_of(item.key, item.stored)
        return holder is not None and not holder.abandoned

    def release(self, flights: Iterable[Flight]) -> Steps[None]:
        """Give back, in one write, what flights still claim."""
        claimed = [flight for flight in flights if flight.token]
        for flight in claimed:
            self._sharing.settled(flight)
        swaps = [(flight.key, flight.expected, MISSING, None, 1) for flight in claimed]
        try:
            if swaps:
                yield Ask("delete", "compare_and_set_many", swaps)
        except EngineError:
            return  # it has been announced; the claims end with their leases

    def keep(self, values: list[tuple[Item, Any]], seconds: float) -> Steps[None]:
        """Store values as far as the rules allow it and they are not superseded."""
        life = self._life
        packed: list[tuple[Item, Packed]] = []
        for item, value in values:
            one = yield from self._packed(item, value, seconds)
            if one is not None:
                packed.append((item, one))
        ready = [(item, one) for item, one in packed if self._begin(item.flight)]
        answers = (yield from self._written(ready)) if ready else []
        for (item, one), answer in zip(ready, answers, strict=True):
            if answer is FAILED:
                life.refused(*REFUSED[None])
            elif answer:
                self._sharing.settled(item.flight)
                self._operations.indexed(item.key, item.tags)
                life.note_stored(one, seconds)
            elif life.shared:
                life.refused("superseded", "its key was invalidated or written by others, or it is too large")
            else:
                life.refused(*REFUSED[False])
        yield from self._operations.trimmed()

    def _packed(self, item: Item, value: object, seconds: float) -> Steps[Packed | None]:
        """Return the stored form of a value, ``None`` if it is not to be stored."""
        life, loader = self._life, self._loader
        if not life.admits(loader, value):
            return None
        ttl = life.ttl_of(loader, value)
        if ttl is None or ttl > 0:
            tags = {tag: item.tokens.get(tag, "") for tag in item.tags}
            return life.pack(item.key, Draft(value, ttl, seconds, tags, item.label))
        life.refused("ttl", f"ttl={ttl} means not to store")
        if item.readable and not item.flight.stale:  # nor may stay what it would have replaced
            yield from self._operations.remove(item.key)
        return None

    def _begin(self, flight: Flight) -> bool:
        """Return whether the value of a flight may be stored; an invalidation waits for it from then on."""
        with flight.guard:
            flight.storing = not flight.stale
        if not flight.storing:
            self._life.refused("invalidated", "it was invalidated while it was computed")
        elif flight.expected is NOTHING:
            self._life.refused(*REFUSED[None])
        return flight.storing and flight.expected is not NOTHING

    def _written(self, ready: list[tuple[Item, Packed]]) -> Steps[list[Any]]:
        """Ask the engine to store the values; return what it says of each."""
        answers: list[Any] = [FAILED] * len(ready)
        if self._life.shared:
            swaps = [(item.key, item.flight.expected, one.stored, one.ttl, one.size) for item, one in ready]
            swapped = yield Ask("set", "compare_and_set_many", swaps)
            return answers if swapped is FAILED else list(swapped)
        entries = [(item.key, one.stored, one.ttl, one.size) for item, one in ready]
        count = yield Ask("set", "set_many", entries)
        if count is FAILED or count == len(entries):
            return answers if count is FAILED else [True] * len(ready)
        # some were too large
        there = yield Ask("get", "get_many", [item.key for item, _ in ready], fallback={})
        return [item.key in there for item, _ in ready]

"""A history is linearizable if one order of its operations, within real time, explains every result.

The search is that of Wing and Gong (1993) with the memory of Lowe (2017): it places one operation after
the other, never before one that had ended when it began, and visits no pair of placed operations and
value twice. Keys are independent, so each is searched by itself (Herlihy and Wing, 1990).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from cachewright.entry import MISSING

PENDING: Final = float("inf")
"""``end`` of an operation that did not return: it may have taken place at any time since, or never."""


class Operation(NamedTuple):
    """One operation on one key, as its caller saw it.

    Attributes:
        name: one of :data:`NAMES`.
        key: what it was about.
        arguments: its other arguments, as far as the model needs them: the value of ``set``, ``add`` and
            ``incr``; expected and new value of ``compare_and_set``.
        result: what it returned.
        start: when it was called.
        end: when it had returned, :data:`PENDING` if it raised or never did.
        actor: the thread or task.
    """

    name: str
    key: Hashable
    arguments: tuple[Any, ...]
    result: Any
    start: float
    end: float
    actor: int = 0

    def __str__(self) -> str:
        returned = "no answer" if self.end == PENDING else repr(self.result)
        return f"{self.name}({', '.join(map(repr, self.arguments))}) -> {returned}"


State: TypeAlias = Any
"""What is stored under a key, ``MISSING`` for nothing; hashable."""

Step: TypeAlias = "tuple[State, Any]"
"""What is stored afterwards, and what the operation returns."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a history is linearizable.

    Attributes:
        linearizable: whether it is.
        counterexample: if not, operations on one key, in the order in which they began, that no order
            explains; without the last to end, some order would.
        explained: the longest order that explains some of them.
    """

    linearizable: bool
    counterexample: tuple[Operation, ...] = ()
    explained: tuple[Operation, ...] = ()

    def __bool__(self) -> bool:
        return self.linearizable

    def __str__(self) -> str:
        if self.linearizable:
            return "linearizable"
        moments = {operation.start for operation in self.counterexample}
        moments |= {operation.end for operation in self.counterexample if operation.end != PENDING}
        number: dict[float, int | str] = {at: rank for rank, at in enumerate(sorted(moments), 1)}
        number[PENDING] = ""
        lines = [f"no order explains these operations on key {self.counterexample[0].key!r}:"]
        lines += [
            f"{number[each.start]:>5} -{number[each.end]:>3}  actor {each.actor}: {each}"
            for each in self.counterexample
        ]
        order = ", ".join(map(str, self.explained)) or "none"
        return "\n".join([*lines, f"the longest order that explains some of them: {order}"])


def check_history(history: Iterable[Operation], *, evictions: bool = False) -> Verdict:
    """Judge a history of operations on keys that are absent when it begins.

    Args:
        history: the operations, in any order. Values are compared by equality, and have to be hashable.
        evictions: whether an entry may vanish at any time, as under a bound or a ttl.

    Raises:
        KeyError: an operation is none of :data:`NAMES`.
    """
    by_key: defaultdict[Hashable, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    for operations in by_key.values():
        operations.sort(key=_start)
        if _search(operations, evictions=evictions) is not None:
            return _explained(operations, evictions=evictions)
    return Verdict(linearizable=True)


def _set(state: State, value: Any) -> Step:
    del state
    return value, True


def _get(state: State) -> Step:
    return state, state


def _remove(state: State) -> Step:
    return MISSING, state is not MISSING


def _clear(state: State) -> Step:
    del state
    return MISSING, None


def _add(state: State, value: Any) -> Step:
    return (value, True) if state is MISSING else (state, False)


def _incr(state: State, delta: int) -> Step:
    total = delta if state is MISSING else state + delta
    return total, total


def _touch(state: State) -> Step:
    return state, state is not MISSING


def _compare_and_set(state: State, expected: Any, value: Any) -> Step:
    return (value, True) if state == expected else (state, False)


MODEL: dict[str, Callable[..., Step]] = {
    "get": _get,
    "set": _set,
    "add": _add,
    "incr": _incr,
    "touch": _touch,
    "delete": _remove,
    "invalidate": _remove,
    "clear": _clear,
    "compare_and_set": _compare_and_set,
}

NAMES = tuple(MODEL)
"""The operations that the model knows; ``clear`` is judged for each key by itself."""


def _start(operation: Operation) -> float:
    return operation.start


def _search(operations: Sequence[Operation], *, evictions: bool) -> list[int] | None:
    """Return ``None`` if some order explains the operations, else the longest that explains some."""
    finished = 0
    for index, operation in enumerate(operations):
        finished |= (operation.end != PENDING) << index
    best: list[int] = []
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, State, list[int]]] = [(0, MISSING, [])]
    while stack:
        placed, state, order = stack.pop()
        if placed & finished == finished:
            return None
        if (placed, state) in seen:
            continue
        seen.add((placed, state))
        if len(order) > len(best):
            best = order
        for index in _next(operations, placed):
            after = _states_after(operations[index], state, evictions=evictions)
            stack.extend((placed | 1 << index, each, [*order, index]) for each in after)
    return best


def _next(operations: Sequence[Operation], placed: int) -> list[int]:
    """Return the operations that may come next: those that began before any other had ended."""
    open_ones: list[int] = []
    earliest = PENDING
    for index, operation in enumerate(operations):
        if operation.start > earliest:
            break  # they are in the order of their start
        if not placed >> index & 1:
            open_ones.append(index)
            earliest = min(earliest, operation.end)
    return open_ones


def _states_after(operation: Operation, state: State, *, evictions: bool) -> list[State]:
    """Return what may be stored after the operation; nothing if it cannot return what it did."""
    step = MODEL[operation.name]
    before = [state, MISSING] if evictions and state is not MISSING else [state]
    found: list[State] = []
    for each in before:
        after, result = step(each, *operation.arguments)
        if operation.end == PENDING or _same(result, operation.result):
            found.append(after)
    if operation.name == "set" and operation.result is False:
        found.append(MISSING)  # refused: then an older entry is gone as well
    return found


def _same(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) and one == other)


def _explained(operations: Sequence[Operation], *, evictions: bool) -> Verdict:
    """Return the verdict on operations that are not linearizable, with as few of them as possible.

    What had not ended at some moment is pending then, and what had not begun is left out: the
    counter-example is the history up to the first moment that nothing explains.
    """
    for moment in sorted(operation.end for operation in operations if operation.end != PENDING):
        prefix = [
            operation if operation.end <= moment else operation._replace(end=PENDING)
            for operation in operations
            if operation.start <= moment
        ]
        best = _search(prefix, evictions=evictions)
        if best is not None:
            return Verdict(
                linearizable=False,
                counterexample=tuple(prefix),
                explained=tuple(prefix[index] for index in best),
            )
    message = "a history that nothing explains has a first moment that nothing explains"
    raise AssertionError(message)

"""The walk from a value to its encoding: without recursion, so that no nesting exhausts the stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cachewright.builtin.canonical_builtins import CONTAINERS, LEAVES
from cachewright.builtin.canonical_format import Parts, RefusedError, composed
from cachewright.builtin.canonical_registry import encoder_of

DEEPEST: Final = 10_000
"""Levels of nesting that are followed; a deeper value is refused."""

_OPEN: Final = b""
"""Stands for the encoding of a value while its children are being encoded."""


class _Frame:
    """A value whose children are being encoded."""

    __slots__ = ("done", "made", "rest", "value")

    def __init__(self, value: object, made: Parts) -> None:
        self.value = value
        self.made = made
        self.rest: Iterator[object] = iter(made.children)
        self.done: list[bytes] = []


def encode(value: object) -> bytes:
    """Return the canonical encoding of any value that has one.

    What user code raises on the way (an encoder of the application, a property) passes through.

    Raises:
        RefusedError: the value, or something in it, has no encoding; or it contains itself.
    """
    kind = type(value)
    leaf = LEAVES.get(kind)
    if leaf is not None:
        return leaf(value)
    made = (CONTAINERS.get(kind) or encoder_of(kind))(value)
    if type(made) is not Parts:
        return made  # type: ignore[return-value] # an encoder returns Parts or bytes
    done: list[bytes] = []
    for child in made.children:
        leaf = LEAVES.get(type(child))
        if leaf is None:
            return _walk(value, made)
        done.append(leaf(child))
    return composed(made.tag, done, made.order)


def _walk(root: object, made: Parts) -> bytes:
    """Encode a nested value.

    The memo knows every container by identity, and keeps it alive so that the identity stays its own:
    one that occurs many times is encoded once, and one met again while open contains itself.
    """
    stack = [_Frame(root, made)]
    memo: dict[int, tuple[object, bytes]] = {id(root): (root, _OPEN)}
    while True:
        frame = stack[-1]
        for child in frame.rest:
            leaf = LEAVES.get(type(child))
            encoded = leaf(child) if leaf is not None else _step(child, stack, memo)
            if encoded is None:
                break
            frame.done.append(encoded)
        else:
            encoded = composed(frame.made.tag, frame.done, frame.made.order)
            memo[id(frame.value)] = (frame.value, encoded)
            stack.pop()
            if not stack:
                return encoded
            stack[-1].done.append(encoded)


def _step(child: object, stack: list[_Frame], memo: dict[int, tuple[object, bytes]]) -> bytes | None:
    """Return the encoding of a child, or put it on the stack and return ``None``."""
    known = memo.get(id(child))
    if known is not None:
        if known[1] is _OPEN:
            raise RefusedError(type(child), "it contains itself")
        return known[1]
    kind = type(child)
    made = (CONTAINERS.get(kind) or encoder_of(kind))(child)
    if isinstance(made, bytes):
        return made
    if len(stack) >= DEEPEST:
        raise RefusedError(kind, f"it is nested deeper than {DEEPEST} levels")
    memo[id(child)] = (child, _OPEN)
    stack.append(_Frame(child, made))
    return None

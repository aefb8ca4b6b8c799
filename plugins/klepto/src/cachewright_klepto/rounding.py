"""Rounding of arguments as klepto does it: floats to a number of digits, at the top or at every depth."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_SEQUENCES: Final = frozenset({list, tuple, set, frozenset})
_MAPPINGS: Final = frozenset({dict, OrderedDict})


class Rounding:
    """Returns values with the floats in them rounded by klepto; never changes a value in place.

    klepto decides what a float is and rounds it, one container at a time. The way through nested
    containers is ours: klepto's own rebuilds every iterable by calling its type, which exhausts iterators,
    fails on dicts whose keys are not text, makes other arrays of arrays, and recurses.
    """

    def __init__(self, tol: int, *, deep: bool) -> None:
        from cachewright_klepto.library import rounder  # noqa: PLC0415 - who does not round imports no klepto

        self._tol = tol
        self._deep = deep
        self._round: Callable[..., tuple[Any, ...]] = rounder(tol)

    def items(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the values rounded; what they contain only if the rounding is deep.

        Raises:
            OverflowError: a float has no rounded neighbour.
        """
        return self._walked(values) if self._deep else self._round(*values)

    def _walked(self, root: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return ``root`` with every float rounded, without recursion.

        A container that occurs twice is rebuilt once. One that contains itself is left as it is further
        down, for the key maker to refuse.
        """
        made: dict[int, Any] = {}
        under_way = {id(root)}
        stack = [_Frame(root, self._round(*root), tuple)]
        while True:
            frame = stack[-1]
            if frame.position == len(frame.children):
                made[id(frame.value)] = built = frame.rebuild(frame.children)
                under_way.discard(id(frame.value))
                stack.pop()
                if not stack:
                    return cast("tuple[Any, ...]", built)
                stack[-1].accept(built)
                continue
            child = frame.children[frame.position]
            if id(child) in made:
                frame.accept(made[id(child)])
            elif id(child) in under_way or (opened := self._opened(child)) is None:
                frame.accept(child)
            else:
                under_way.add(id(child))
                stack.append(opened)

    def _opened(self, value: Any) -> _Frame | None:
        """Return a frame for a container, its own floats rounded; ``None`` for anything else."""
        kind = cast("Any", type(value))
        if kind in _SEQUENCES:
            return _Frame(value, self._round(*value), kind)
        if kind in _MAPPINGS:
            keys = list(value)
            return _Frame(
                value, self._round(*value.values()), lambda items: kind(zip(keys, items, strict=True))
            )
        if _is_namedtuple(kind):
            return _Frame(value, self._round(*value), kind._make)
        numpy = sys.modules.get("numpy")
        if numpy is not None and kind is numpy.ndarray and value.dtype.kind == "f":
            return _Frame(value, (), lambda _: value.round(self._tol))
        return None


class _Frame:
    """A container whose items are being walked through."""

    __slots__ = ("children", "position", "rebuild", "value")

    def __init__(self, value: Any, children: tuple[Any, ...], rebuild: Callable[[list[Any]], Any]) -> None:
        self.value = value
        self.children = list(children)
        self.position = 0
        self.rebuild = rebuild

    def accept(self, item: Any) -> None:
        """Take the item at the present position, and go on to the next."""
        self.children[self.position] = item
        self.position += 1


def _is_namedtuple(kind: type[Any]) -> bool:
    return hasattr(kind, "_make") and hasattr(kind, "_fields") and issubclass(kind, tuple)

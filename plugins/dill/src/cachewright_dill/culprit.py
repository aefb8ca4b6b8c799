"""A culprit is the part of a value for whose sake the whole of it cannot be stored."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass
from functools import partial
from reprlib import Repr
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type, ModuleType})
_DEPTH: Final = 200
"""Parts of parts that are looked into; what is nested more deeply is blamed as a whole."""

_short: Final = Repr()
_short.maxstring = _short.maxother = 40

Part = tuple[str, Any]
"""How a part is reached from its whole, as an expression would go on, and the part."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """One part of a value that cannot be stored.

    Attributes:
        path: the way to it, for instance ``result['model'].callbacks[2]``.
        type_name: module and qualified name of its type.
        reason: why it cannot be stored.
    """

    path: str
    type_name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: <{self.type_name}>: {self.reason}"


def parts_of(value: Any) -> Iterator[Part]:
    """Yield the parts of a value that are stored with it: items, attributes, what a function refers to."""
    yield from _items(value)
    if type(value) not in _ATOMS and not isinstance(value, (type, ModuleType)):
        cells = list(_cells(value))
        yield from cells
        yield from _references(value)
        if not cells:  # the attributes of a frame are another way to the same cells
            yield from _attributes(value)


def path_to(trail: Sequence[Any], start: str) -> str:
    """Return the way from the first object of a trail to the last one, as far as it has names.

    Args:
        trail: objects, each met while the one before it was being stored; some are made for storing only.
        start: what to call the first one.
    """
    at = 0
    while at < len(trail) - 1:
        names = {id(part): step for step, part in parts_of(trail[at])}
        found = next((j for j in range(at + 1, len(trail)) if id(trail[j]) in names), None)
        if found is None:
            break
        start += names[id(trail[found])]
        at = found
    return start


def culprits(
    value: Any, refusal: Callable[[Any], str | None], *, start: str = "result", limit: int = 100
) -> list[Culprit]:
    """Return every part of a value that keeps it from being stored; none if it can be stored.

    Args:
        value: what was to be stored.
        refusal: returns why an object cannot be stored with all its parts, ``None`` if it can.
        start: what to call the value in paths.
        limit: most culprits to look for.
    """
    found: list[Culprit] = []
    seen: set[int] = set()
    kept: list[Any] = []  # parts may be made on the way: their ids must not be used again

    def visit(path: str, suspect: Any, depth: int) -> None:
        if id(suspect) in seen or len(found) >= limit:
            return
        seen.add(id(suspect))
        kept.append(suspect)
        parts = [] if depth >= _DEPTH else [part for part in parts_of(suspect) if type(part[1]) not in _ATOMS]
        failing = _failing(parts, refusal)
        for step, part in failing:
            visit(path + step, part, depth + 1)
        if not failing:
            found.append(
                Culprit(path, name_of(suspect), refusal(suspect) or "it is refused by what holds it")
            )

    if refusal(value) is not None:
        visit(start, value, 0)
    return found


def name_of(value: object) -> str:
    """Return the module and the qualified name of the type of a value."""
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _failing(parts: list[Part], refusal: Callable[[Any], str | None]) -> list[Part]:
    """Return the parts that are refused; of many, groups are tried, which is quick where few are."""
    if not parts or refusal([part for _, part in parts]) is None:
        return []
    if len(parts) == 1:
        return parts
    half = len(parts) // 2
    return _failing(parts[:half], refusal) + _failing(parts[half:], refusal)


def _items(value: Any) -> Iterator[Part]:
    whole: Any = value  # a container of anything
    if isinstance(value, dict):
        for key, item in list(whole.items()):
            yield f"[{_short.repr(key)}]", item
            if type(key) not in _ATOMS:
                yield f" (the key {_short.repr(key)})", key
    elif isinstance(value, (list, tuple, deque)):
        names: Sequence[str] = getattr(whole, "_fields", ())
        for place, item in enumerate(whole):
            yield (f".{names[place]}" if place < len(names) else f"[{place}]"), item
    elif isinstance(value, (set, frozenset)):
        for item in whole:
            yield f" (the element {_short.repr(item)})", item


def _references(value: Any) -> Iterator[Part]:
    """Yield what a function, a method or a partial refers to."""
    whole: Any = value
    if isinstance(value, FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, MethodType):
        yield from ((".__self__", whole.__self__), (".__func__", whole.__func__))
    elif isinstance(value, partial):
        yield from ((".func", whole.func), (".args", whole.args), (".keywords", whole.keywords))


def _parts_of_function(function: FunctionType) -> Iterator[Part]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            yield f" (its variable {name!r})", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    defaults: Iterable[Any] = function.__defaults__ or ()
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    for name, default in zip(
        positional[::-1], [*defaults][::-1], strict=False
    ):  # the last ones have defaults
        yield f" (its default {name!r})", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f" (its default {name!r})", default
    from dill import detect  # noqa: PLC0415 - the serializer has to import dill first

    finder: Any = detect
    used: dict[str, Any] = finder.globalvars(function, recurse=False)
    for name, part in used.items():
        yield f" (its global {name!r})", part


def _cells(value: Any) -> Iterator[Part]:
    """Yield the items of NumPy's arrays and the columns of pandas' frames that hold Python objects."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.hasobject:
        if value.dtype.fields is None:
            for place, item in numpy.ndenumerate(value):
                yield f"[{', '.join(map(str, place))}]", item
    elif pandas is not None and isinstance(value, pandas.DataFrame):
        for place, label in enumerate(value.columns):
            yield f"[{_short.repr(label)}]", value.iloc[:, place]
    elif pandas is not None and isinstance(value, (pandas.Series, pandas.Index)) and value.dtype == object:
        for place, item in enumerate(value):
            yield f".iloc[{place}]", item


def _attributes(value: Any) -> Iterator[Part]:
    for name, part in getattr(value, "__dict__", {}).items():
        yield f".{name}", part
    for base in type(value).__mro__:
        slots: Any = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            name = f"_{base.__name__.lstrip('_')}{slot}" if slot[:2] == "__" != slot[-2:] else slot
            if name not in {"__dict__", "__weakref__"} and hasattr(value, name):
                yield f".{slot}", getattr(value, name)

"""A negative entry remembers that a computation raised: the exception as plain data, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

from cachewright.duration import parse_ttl
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Raised: TypeAlias = "tuple[str, tuple[Any, ...], dict[str, Any]]"
"""Qualified name of the class, ``args`` and attributes."""

CacheErrors: TypeAlias = "tuple[tuple[type[Exception], Any], ...]"
"""Exceptions that are remembered, each with its ttl: seconds, ``None`` for ever, or ``SAME_TTL``."""


class _Same:
    def __repr__(self) -> str:
        return "the ttl of results"


SAME_TTL = _Same()


def cache_errors(given: Any) -> CacheErrors:
    """Return the exceptions to remember, from a class, several, or a mapping of classes to ttl.

    Raises:
        ConfigurationError: something else was given.
    """
    whole = given
    if isinstance(given, type):
        given = (given,)
    pairs: list[tuple[Any, Any]]
    if hasattr(given, "items"):
        pairs = [(kind, parse_ttl(ttl, setting="cache_errors")) for kind, ttl in given.items()]
    elif isinstance(given, (tuple, list, set, frozenset)):
        pairs = [(kind, SAME_TTL) for kind in cast("Iterable[Any]", given)]
    else:
        pairs = [(None, None)]
    checked: list[tuple[type[Exception], Any]] = []
    for kind, ttl in pairs:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise ConfigurationError(
                "cache_errors", whole, "exception classes, or a mapping of exception classes to ttl"
            )
        checked.append((kind, ttl))
    return tuple(checked)


def ttl_of(errors: CacheErrors, error: BaseException) -> Any:
    """Return the ttl of a remembered exception: of the first class that fits; ``False`` if none does."""
    for kind, ttl in errors:
        if isinstance(error, kind):
            return ttl
    return False


def frozen(error: BaseException) -> Raised:
    """Return an exception as data: without its traceback, which would keep its frames alive."""
    kind, args = type(error), error.args
    if isinstance(error, OSError):  # leaves the names of files out of its args
        args = cast("tuple[Any, ...]", error.__reduce__()[1])
    return f"{kind.__module__}.{kind.__qualname__}", args, _attributes(vars(error))


def _attributes(state: dict[str, Any]) -> dict[str, Any]:
    """Return a copy; notes are a list, to which whoever catches one exception may add."""
    notes = state.get("__notes__")
    return {**state, "__notes__": list(notes)} if isinstance(notes, list) else dict(state)  # pyright: ignore[reportUnknownArgumentType] # of whatever


def thawed(errors: CacheErrors, raised: object) -> BaseException | None:
    """Return a new exception like the one that was remembered.

    Only classes that ``errors`` lists, and subclasses of them that this program has loaded, are made,
    and nothing is imported for it: what a store says is data.

    Returns:
        ``None`` if it is of no such class, or not made of such data.
    """
    shape: Any = raised
    if type(raised) is not tuple or tuple(map(type, shape)) != (str, tuple, dict):
        return None
    name, args, state = shape
    for kind in _kinds(kind for kind, _ in errors):
        if f"{kind.__module__}.{kind.__qualname__}" == name:
            return _made(kind, args, state)
    return None


def _kinds(roots: Iterable[type[BaseException]]) -> Iterator[type[BaseException]]:
    todo, seen = list(roots), set[type[BaseException]]()
    while todo:
        kind = todo.pop(0)
        if kind not in seen:
            seen.add(kind)
            yield kind
            todo += kind.__subclasses__()


def _made(kind: type[BaseException], args: tuple[Any, ...], state: dict[Any, Any]) -> BaseException | None:
    # What is written in Python has run when the exception was raised; what it did is in the attributes.
    native: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    try:
        error: BaseException = native.__new__(kind, *args)
        try:
            native.__init__(error, *args)
        except TypeError:  # not the arguments that this native class wants
            error.args = args
        error.__dict__.update(_attributes(state))
    except Exception:  # noqa: BLE001 - native classes check their arguments, each in its own way
        return None
    return error

"""Key templates such as ``"{user.id}:{page}"``, and stand-ins for callables that have no code object."""

from __future__ import annotations

import inspect
from functools import partial
from string import Formatter
from types import FunctionType
from typing import TYPE_CHECKING, Any

from cachewright._tags import checked_tags
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def compile_template(template: str, fn: FunctionType) -> Callable[..., Any]:
    """Return a function of the arguments of ``fn`` that returns the key a template describes.

    The key is the tuple of the template and the values of its fields: values are never pasted into
    text, where they could run together. Fields may reach into arguments by attribute or index. A
    conversion or format such as ``{x!r}`` or ``{x:.2f}`` would have no effect, and is refused.

    Raises:
        ConfigurationError: the template is malformed, has no field, or names something that is no
            parameter.
    """
    signature = inspect.signature(fn)
    fields = _fields(template)
    for field in fields:
        root = field.partition(".")[0].partition("[")[0]
        if root not in signature.parameters:
            known = ", ".join(signature.parameters)
            raise ConfigurationError(
                "key", template, f"fields that are parameters of {fn.__qualname__}: {known}"
            )
    formatter = Formatter()

    def key(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return (template, *(formatter.get_field(field, (), bound.arguments)[0] for field in fields))

    return key


def compile_tags(templates: tuple[str, ...], fn: FunctionType) -> Callable[..., tuple[str, ...]]:
    """Return a function of the arguments of ``fn`` that returns the tags which templates describe.

    A tag is text: ``"user:{user_id}"`` and ``invalidate_tags("user:7")`` meet where both are the same text.

    The function raises ``TypeError`` for a tag that comes out empty.

    Raises:
        ConfigurationError: a template is malformed or names something that is no parameter.
    """
    signature = inspect.signature(fn)
    formatter = Formatter()
    for template in templates:
        try:
            roots = list(_roots(template))
        except ValueError as error:
            expected = f"a template such as 'user:{{user_id}}' ({error})"
            raise ConfigurationError("tags", template, expected) from None
        if not template or any(root not in signature.parameters for root in roots):
            known = ", ".join(signature.parameters) or "none"
            expected = f"text with fields that are parameters of {fn.__qualname__}: {known}"
            raise ConfigurationError("tags", template, expected)

    def tags(*args: Any, **kwargs: Any) -> tuple[str, ...]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return checked_tags([formatter.vformat(template, (), bound.arguments) for template in templates])

    return tags


def _roots(template: str) -> Iterator[str]:
    """Yield the names that a template begins its fields with; ``ValueError`` if it is malformed."""
    formatter = Formatter()
    for _, field, form, conversion in formatter.parse(template):
        if field is None:
            continue
        formatter.convert_field("", conversion)
        root = field.partition(".")[0].partition("[")[0]
        if root and not root[0].isdigit():
            formatter.get_field(field, (), {root: _Anything()})
        yield root
        yield from _roots(form or "")


def _fields(template: str) -> list[str]:
    formatter = Formatter()
    fields: list[str] = []
    try:
        for _, field, form, conversion in formatter.parse(template):
            if field is None:
                continue
            if form or conversion:
                raise ConfigurationError(
                    "key", template, f"fields without !conversion and :format: {{{field}}} alone is the key"
                )
            root = field.partition(".")[0].partition("[")[0]
            if root and not root[0].isdigit():
                formatter.get_field(field, (), {root: _Anything()})
            fields.append(field)
    except ValueError as error:
        raise ConfigurationError("key", template, f"a template such as '{{user.id}}' ({error})") from None
    if not fields:
        raise ConfigurationError("key", template, "a template with a field, such as '{user.id}'")
    return fields


class _Anything:
    """Has every attribute and every item: a field that cannot be read from it is malformed."""

    def __getattr__(self, name: str) -> _Anything:
        return self

    def __getitem__(self, index: object) -> _Anything:
        return self


def stand_in(fn: Any) -> FunctionType:
    """Return a function that calls ``fn`` and has its signature, for partials, builtins and objects.

    Raises:
        ConfigurationError: the signature cannot be found out.
    """
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        raise ConfigurationError(
            "func", fn, "a callable with a known signature; wrap this one in a function of your own"
        ) from None
    source = fn
    while isinstance(source, partial):
        source = source.func
    runs = source if inspect.isroutine(source) else type(source).__call__
    awaits = inspect.iscoroutinefunction(runs) or inspect.isasyncgenfunction(runs)
    # A stand-in for a generator function is one as well, so that whoever refuses those refuses it.
    yields = inspect.isgeneratorfunction(runs) or inspect.isasyncgenfunction(runs)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    defaults = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.default is not parameter.empty
    }
    # Defaults are put in as objects, not as source: only their places are written.
    text = str(
        signature.replace(
            parameters=[
                parameter.replace(default=_Place(parameter.name)) if parameter.name in defaults else parameter
                for parameter in parameters
            ],
            return_annotation=inspect.Signature.empty,
        )
    )
    scope: dict[str, Any] = {"_defaults": defaults}
    exec(f"{'async ' * awaits}def call{text}: {'yield' if yields else 'pass'}", scope)  # noqa: S102 - names of parameters only
    made: Any = scope["call"]
    made.__module__ = getattr(source, "__module__", None) or type(source).__module__
    made.__name__ = getattr(source, "__name__", type(source).__name__)
    made.__qualname__ = f"<{type(fn).__name__}> {getattr(source, '__qualname__', type(source).__qualname__)}"
    function: FunctionType = made
    return function


class _Place:
    """Shows itself as the expression that fetches a default value."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"_defaults[{self._name!r}]"

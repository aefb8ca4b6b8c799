"""Generated hit paths: functions with the signature of the decorated one and a straight line inside.

A wrapper looks its key up and returns; whatever else may have to happen is behind ``_miss``. The key
is the one argument, or a tuple of the arguments in the order of the signature, so keyword order and
defaults are normalised by the interpreter itself and nothing is packed into ``*args``.

Source is compiled once per *shape* (counts of parameters, mode); a wrapper for a function of known
shape is its code object with the parameters renamed. Wrappers read these global names, of a dictionary
of their own, which is how a cache that is opened later is put into place:

``_read``    the engine's reader; an empty dict until there is one
``_calls``   the iterator that counts calls
``_miss``    called with (loader, key, args, kwargs) for everything but a hit
``_loader``  passed to ``_miss``
``_now``     the monotonic clock, in mode "entry"
``_tokens``  tokens of instances by id, for methods
``_key``     the user's key function
``_self_key``  the user's function that identifies an instance
``_keywords``  names of the keyword-only parameters
"""

from __future__ import annotations

from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, Literal, NamedTuple, TypeAlias

Mode: TypeAlias = Literal["value", "entry", "call"]
"""``value``: the reader returns the value; ``entry``: an Entry with a deadline; ``call``: ask the cache."""


# Flags of code objects, as in inspect, whose import costs 8 ms.
CO_VARARGS = 0x04
CO_VARKEYWORDS = 0x08


class Shape(NamedTuple):
    """What the source of a wrapper depends on.

    Attributes:
        posonly: positional-only parameters.
        args: all positional parameters, those included.
        kwonly: keyword-only parameters.
        varargs: whether there is ``*args``.
        varkw: whether there is ``**kwargs``.
        keyed: indices into :func:`parameters` of those that are in the key.
        typed: whether types are part of the key.
        bound: whether a token stands for the first parameter, an instance; it is not among ``keyed``.
        self_keyed: whether ``_self_key(first parameter)`` is the first part of the key.
        custom: whether ``_key`` makes the key.
        awaits: whether the function is a coroutine function or an asynchronous generator function.
        mode: how hits are read.
        streams: whether the function is a generator function, asynchronous if it ``awaits``. ``_miss``
            returns a generator then, which answers hits as well, whatever the mode.
    """

    posonly: int
    args: int
    kwonly: int
    varargs: bool
    varkw: bool
    keyed: tuple[int, ...]
    typed: bool = False
    bound: bool = False
    self_keyed: bool = False
    custom: bool = False
    awaits: bool = False
    mode: Mode = "value"
    streams: bool = False

    @property
    def single(self) -> bool:
        """Whether the key is one value itself instead of a tuple: the one argument, or what ``_key`` made."""
        return self.custom or (len(self.keyed) == 1 and not (self.typed or self.bound or self.self_keyed))


def parameters(code: CodeType) -> tuple[str, ...]:
    """Return the parameter names: positional, keyword-only, ``*args``, ``**kwargs``.

    Read from the code object: ``inspect.signature`` costs several microseconds per function.
    """
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
    return code.co_varnames[:count]


def shape_of(code: CodeType, keyed: tuple[int, ...], **traits: Any) -> Shape:
    """Return the shape of a wrapper for a function with this code."""
    return Shape(
        code.co_posonlyargcount,
        code.co_argcount,
        code.co_kwonlyargcount,
        bool(code.co_flags & CO_VARARGS),
        bool(code.co_flags & CO_VARKEYWORDS),
        keyed,
        **traits,
    )


def wrapper(fn: FunctionType, shape: Shape, names: dict[str, Any]) -> FunctionType:
    """Return a wrapper of ``shape`` for ``fn`` that reads ``names`` as its globals."""
    made = FunctionType(renamed(fn, shape), names, fn.__name__, fn.__defaults__)
    made.__kwdefaults__ = fn.__kwdefaults__
    made.__module__ = fn.__module__
    return made


def key_function(fn: FunctionType, shape: Shape, names: dict[str, Any]) -> FunctionType:
    """Return a function with the signature of ``fn`` that returns what ``_miss`` would be given.

    ``(raw key, args, kwargs)``: how ``f.invalidate(...)`` and its like find the entry of a call.
    """
    made = FunctionType(_renamed(_key_template(shape), fn), names, fn.__name__, fn.__defaults__)
    made.__kwdefaults__ = fn.__kwdefaults__
    return made


def renamed(fn: FunctionType, shape: Shape) -> CodeType:
    """Return the code of a wrapper of ``shape`` with the parameter names of ``fn``."""
    return _renamed(_template(shape), fn)


def _renamed(template: CodeType, fn: FunctionType) -> CodeType:
    own = parameters(fn.__code__)
    return template.replace(
        co_varnames=own + template.co_varnames[len(own) :],
        co_name=fn.__code__.co_name,
        co_qualname=fn.__qualname__,
    )


@lru_cache(maxsize=512)
def _template(shape: Shape) -> CodeType:
    return _compiled(_Source(shape).wrapper())


@lru_cache(maxsize=512)
def _key_template(shape: Shape) -> CodeType:
    return _compiled(_Source(shape).key_function())


def _compiled(source: str) -> CodeType:
    scope: dict[str, FunctionType] = {}
    exec(compile(source, "<cachewright wrapper>", "exec"), scope)  # noqa: S102 - made of counts, no input
    return scope["wrapper"].__code__


class _Source:
    """The source text of one shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.positional = [f"p{index}" for index in range(shape.args)]
        self.keywords = [f"p{index}" for index in range(shape.args, shape.args + shape.kwonly)]

    def wrapper(self) -> str:
        shape = self.shape
        key = "_made" if shape.custom else self.key()
        miss = f"_miss(_loader, {key}, {', '.join(self.arguments())})"
        return "\n".join(
            [
                f"{'async ' * shape.awaits}def wrapper({self.signature()}):",
                "    for _ in _calls: break",
                *([f"    _made = {self.key()}"] if shape.custom else []),
                *(self.stream(miss) if shape.streams else self.hit(key)),
                *([] if shape.streams else [f"    return {'await ' * shape.awaits}{miss}"]),
            ]
        )

    def key_function(self) -> str:
        return f"def wrapper({self.signature()}): return {self.key()}, {', '.join(self.arguments())}"

    def signature(self) -> str:
        shape = self.shape
        names = (
            self.positional[: shape.posonly] + ["/"] * bool(shape.posonly) + self.positional[shape.posonly :]
        )
        if shape.varargs:
            names.append("*rest")
        elif self.keywords:
            names.append("*")
        return ", ".join([*names, *self.keywords, *["**more"] * shape.varkw])

    def hit(self, key: str) -> list[str]:
        if self.shape.mode == "call":
            return []
        if self.shape.bound:
            key = f"(_tokens[id(p0)], {key.removeprefix('(')}"
        if self.shape.mode == "value":
            read = [f"        return _read[{key}]"]
        else:
            read = [
                f"        _entry = _read[{key}]",
                "        if _entry.expires > _now(): return _entry.value",
            ]
        # TypeError: an argument that cannot be hashed; the way through _miss finds another key for it.
        return ["    try:", *read, "    except (KeyError, TypeError): pass"]

    def stream(self, miss: str) -> list[str]:
        if not self.shape.awaits:
            return [f"    yield from {miss}"]
        return [
            f"    _inner = {miss}",
            "    try:",
            "        async for _item in _inner: yield _item",
            # Else it would be closed whenever it is collected.
            "    finally: await _inner.aclose()",
        ]

    def key(self) -> str:
        shape = self.shape
        args, kwargs = self.arguments()
        if shape.custom:
            return f"_key(*{args}, **{kwargs})"
        values = [*self.positional, *self.keywords]
        types = [f"type({name})" for name in values]
        if shape.varargs:
            values.append("rest")
            types.append("tuple(map(type, rest))")
        if shape.varkw:
            # Sorted by name alone, since names differ: arguments are never compared.
            values.append("(tuple(sorted(more.items())) if more else ())")
            types.append("tuple([type(more[name]) for name in sorted(more)])")
        parts = ["_self_key(p0)"] * shape.self_keyed + [values[index] for index in shape.keyed]
        if shape.typed:
            parts += [types[index] for index in shape.keyed]
        return parts[0] if shape.single else f"({''.join(f'{part}, ' for part in parts)})"

    def arguments(self) -> tuple[str, str]:
        args = f"({''.join(f'{name}, ' for name in self.positional)})"
        if self.shape.varargs:
            args = f"({args} + rest)" if self.positional else "rest"
        given = ["**more"] * self.shape.varkw
        if self.keywords:
            # Keyword names are data, so that one template serves functions with other names.
            given.insert(0, f"**dict(zip(_keywords, ({', '.join(self.keywords)},)))")
        return args, f"{{{', '.join(given)}}}"

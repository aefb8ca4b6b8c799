"""A fingerprint tells whether a function, or a helper it calls, computes something else than before."""

from __future__ import annotations

import os
import re
import sys
from bisect import bisect_left
from hashlib import blake2b
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from dis import Instruction


def fingerprint(fn: FunctionType) -> str:
    """Return a digest of what ``fn`` computes, with the helpers that exist now.

    Covered: instructions, names and constants of the function, its defaults, what its closure holds,
    and the same of every function of the same top-level package that it mentions by a global name, or
    as an attribute of a module of the package, to any depth, and of what decorators wrapped. Comments,
    formatting, docstrings and line numbers do not count; global data, methods that are reached through
    objects, and other packages are not followed. Instructions differ between minor versions of
    Python, so those are part of the digest; and some versions compile a few jumps by the lines they
    are on, so that moving a long condition to other lines may count after all.
    """
    digest = blake2b(repr(sys.version_info[:2]).encode(), digest_size=12)
    package = _package(fn)
    seen: set[int] = set()
    queue = [fn]
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        _feed(digest, f"{current.__module__}.{current.__qualname__}")
        # A wrapper made elsewhere counts as what it wraps, but says which one it is.
        if current is fn or _home(current) == package:
            _feed_code(digest, current.__code__)
            _feed(digest, _constant((current.__defaults__, current.__kwdefaults__)))
            _feed(digest, _constant(_captured(current)))
        queue.extend(_helpers(current, package))
    return digest.hexdigest()


def definition_digest(fn: FunctionType) -> str:
    """Return a digest of where ``fn`` is defined: its file or, without a file, its code."""
    filename = fn.__code__.co_filename
    if os.path.exists(filename):  # noqa: PTH110 - pathlib costs 10 ms of import
        return blake2b(
            os.path.realpath(filename).encode("utf-8", "surrogateescape"), digest_size=6
        ).hexdigest()
    return fingerprint(fn)


def _helpers(fn: FunctionType, package: str) -> list[FunctionType]:
    """Return the functions of ``package`` that ``fn`` mentions, and what it wraps, if that is one."""
    names = _names(fn.__code__)
    values: list[object] = [fn, *_captured(fn), *(fn.__globals__.get(name) for name in names)]
    modules: set[int] = set()
    for value in values:  # grows by what is found in modules
        if type(value) is not ModuleType or id(value) in modules:
            continue
        modules.add(id(value))
        if value.__name__.partition(".")[0] == package:
            values += [vars(value).get(name) for name in names]
    return [helper for value in values for helper in _wrapped(value) if _package(helper) == package]


def _wrapped(value: object) -> Iterator[FunctionType]:
    """Yield a function and what it wraps, without running code of foreign objects such as proxies."""
    seen: set[int] = set()
    while id(value) not in seen:
        seen.add(id(value))
        if type(value) is FunctionType:
            yield value
        try:
            attributes: object = object.__getattribute__(value, "__dict__")
        except AttributeError:
            return
        fields = cast("dict[str, object]", attributes) if isinstance(attributes, dict) else {}
        value = fields.get("__wrapped__")


_CHANGING: tuple[type[Any], ...] = (list, dict, set, bytearray)


def _captured(fn: FunctionType) -> list[object]:
    """Return what the closure holds; of what can change while the program runs only the type."""
    values: list[object] = []
    for cell in fn.__closure__ or ():
        try:
            value: object = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        values.append(type(value) if issubclass(type(value), _CHANGING) else value)
    return values


def _package(fn: FunctionType) -> str:
    return (fn.__module__ or "").partition(".")[0]


def _home(fn: FunctionType) -> str:
    """Return the package whose code it is: decorators give their wrappers the module of others."""
    return str(fn.__globals__.get("__name__", "")).partition(".")[0]


def _names(code: CodeType) -> list[str]:
    """Return the global names that a code object and those inside it mention, in order."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names += _names(constant)
    return sorted(set(names))


_MEANT = 0x3AC
"""Flags of code that say what a call does: ``*args``, ``**kwargs``, generator, coroutine."""

_ABOUT_SOURCE = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
"""What a class body stores about its source text."""

_FAST = re.compile(r"(?:LOAD|STORE)_FAST(?:_BORROW)?")


def _feed_code(digest: Any, code: CodeType) -> None:
    from dis import Bytecode  # noqa: PLC0415 - imports inspect; for fingerprints only

    arguments = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    _feed(digest, repr((arguments, code.co_flags & _MEANT, code.co_varnames)))
    bytecode: Any = Bytecode(code)
    steps = _steps(bytecode)
    offsets = [instruction.offset for instruction, _, _ in steps]
    for instruction, name, argument in steps:
        if isinstance(argument, CodeType):
            _feed_code(digest, argument)
        else:
            _feed(digest, f"{name} {_argument(instruction, argument, offsets)}")
    for entry in bytecode.exception_entries:
        places = [bisect_left(offsets, offset) for offset in entry[:3]]
        _feed(digest, repr((*places, *entry[3:])))


def _steps(instructions: Iterable[Instruction]) -> list[tuple[Instruction, str, Any]]:
    """Return instructions with name and argument, without anything that depends on the source text.

    Left out are those that mark lines, widen arguments, or store what a class body says of its source.
    Two in one are taken apart: whether neighbours are joined depends on the lines they are on.
    """
    steps: list[tuple[Instruction, str, Any]] = []
    for instruction in instructions:
        name, argument = instruction.opname, instruction.argval
        if name in {"NOP", "EXTENDED_ARG", "CACHE"}:
            continue
        if name == "STORE_NAME" and argument in _ABOUT_SOURCE:
            steps.pop()
            continue
        parts = _FAST.findall(name)
        if len(parts) > 1:
            steps += [(instruction, *step) for step in zip(parts, argument, strict=True)]
        else:
            steps.append((instruction, name, argument))
    return steps


def _argument(instruction: Instruction, argument: Any, offsets: list[int]) -> str:
    import dis  # noqa: PLC0415 - as above

    if instruction.opcode in dis.hasconst:
        return _constant(argument)
    if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
        return str(bisect_left(offsets, argument))
    return repr(argument)


def _constant(value: Any, depth: int = 0) -> str:
    """Return a text that is the same in every process: no addresses, no order of hashes."""
    kind: type[Any] = type(cast("object", value))
    name = f"{kind.__module__}.{kind.__qualname__}"
    if depth > _DEEPEST:  # perhaps a container of itself
        return name
    # issubclass, not isinstance: a proxy's __class__ runs code of its own.
    if issubclass(kind, (set, frozenset)):
        return f"{name}({sorted(_constant(item, depth + 1) for item in value)})"
    if issubclass(kind, (list, tuple)):
        return f"{name}({[_constant(item, depth + 1) for item in value]})"
    if issubclass(kind, dict):
        return f"{name}({[_constant(pair, depth + 1) for pair in value.items()]})"
    return f"{name}{_single(value, kind)}"


def _single(value: Any, kind: type[Any]) -> str:
    if issubclass(kind, FunctionType):
        *_, inner = _wrapped(value)
        return f":{inner.__module__}.{inner.__qualname__}:{_code_digest(inner)}"
    if issubclass(kind, (type, ModuleType)):
        return f":{getattr(value, '__module__', '')}.{value.__name__}"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - foreign code; then the type alone has to do
        return ""
    return "" if _ADDRESS.search(text) else f":{text}"


_DEEPEST = 20

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


def _code_digest(fn: FunctionType) -> str:
    digest = blake2b(digest_size=12)
    _feed_code(digest, fn.__code__)
    return digest.hexdigest()


def _feed(digest: Any, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)

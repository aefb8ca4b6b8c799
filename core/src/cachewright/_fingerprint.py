"""A fingerprint tells whether a function, or a helper it calls, computes something else than before."""

from __future__ import annotations

import os
import sys
from hashlib import blake2b
from types import CodeType, FunctionType
from typing import Any


def fingerprint(fn: FunctionType) -> str:
    """Return a digest of what ``fn`` computes.

    Covered: byte code, names and constants of the function, its defaults, and the same of every
    function of the same top-level package that it mentions by a global name, to any depth. Comments,
    formatting, docstrings and line numbers do not count; methods that are reached through objects, and
    other packages, are not followed. Byte code differs between minor versions of Python, so those are
    part of the digest.
    """
    digest = blake2b(repr(sys.version_info[:2]).encode(), digest_size=12)
    seen: set[int] = set()
    queue = [fn]
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        _feed(digest, f"{current.__module__}.{current.__qualname__}")
        _feed_code(digest, current.__code__)
        _feed(digest, repr((current.__defaults__, current.__kwdefaults__)))
        queue.extend(_helpers(current, _package(fn)))
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
    found = []
    for name in _names(fn.__code__):
        value = fn.__globals__.get(name)
        value = getattr(value, "__wrapped__", value)  # a decorated helper counts as what it wraps
        if isinstance(value, FunctionType) and _package(value) == package:
            found.append(value)
    return found


def _package(fn: FunctionType) -> str:
    return (fn.__module__ or "").partition(".")[0]


def _names(code: CodeType) -> list[str]:
    """Return the global names that a code object and those inside it mention, in order."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names += _names(constant)
    return sorted(set(names))


def _feed_code(digest: Any, code: CodeType) -> None:
    digest.update(code.co_code)
    _feed(digest, repr((code.co_names, code.co_varnames, code.co_freevars, code.co_flags)))
    for position, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            _feed_code(digest, constant)
        elif not (position == 0 and isinstance(constant, str)):  # the docstring
            _feed(digest, _constant(constant))


def _constant(value: object) -> str:
    # The order in which a frozenset is shown depends on the hash seed.
    if isinstance(value, frozenset):
        return f"frozenset({sorted(map(_constant, value))})"
    return f"{type(value).__name__}:{value!r}"


def _feed(digest: Any, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)

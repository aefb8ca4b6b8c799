"""A decoder is made from a schema, which can name known types only, whatever bytes it consists of."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final, TypedDict, Union

import msgspec

from cachewright_msgspec.leaves import TYPES
from cachewright_msgspec.registry import REGISTRY
from cachewright_msgspec.schema import ANY

_DEPTH_LIMIT: Final = 64
_PARTS_LIMIT: Final = 4096


def decoder_for(schema: bytes, *, json: bool) -> Any:
    """Return a decoder for what was surveyed as ``schema``.

    Raises:
        Exception: of any type, if it is none that :class:`cachewright_msgspec.schema.Surveyor` makes, or
            needs a class that is not registered.
    """
    return _decoder(schema, json, REGISTRY.generation)


@lru_cache(maxsize=256)
def _decoder(schema: bytes, for_json: bool, _generation: int) -> Any:  # noqa: FBT001 - lru_cache is by position
    kind: Any = _Types().of(json.loads(schema), 0) if schema else Any
    return msgspec.json.Decoder(kind) if for_json else msgspec.msgpack.Decoder(kind)


class _Types:
    """Turns a schema into a type, counting its parts."""

    def __init__(self) -> None:
        self._parts = 0

    def of(self, schema: Any, depth: int) -> Any:
        self._parts += 1
        if depth > _DEPTH_LIMIT or self._parts > _PARTS_LIMIT:
            raise ValueError("the schema is too large")
        if schema == ANY:
            return Any
        if isinstance(schema, str):
            return TYPES[schema]
        kind, *parts = schema
        if kind == "class":
            name, fingerprint = parts
            return REGISTRY.named(name, fingerprint)
        if kind == "record":
            fields = {name: self.of(part, depth + 1) for name, part in parts}
            if not all(type(name) is str for name in fields):
                raise TypeError("not the name of a field")
            # its fields are types, never texts that would be evaluated
            return _typed_dict("Record", fields, total=False)
        return _composed(kind, tuple([self.of(part, depth + 1) for part in parts]))


# Type expressions of parts that only the schema knows, which type checkers have no notion of.
_typed_dict: Final[Any] = TypedDict
_generic: Final[dict[str, Any]] = {
    "list": list,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "tuple": tuple,
}
_union: Final[Any] = Union


def _composed(kind: str, parts: tuple[Any, ...]) -> Any:
    if kind == "union":
        return _union[parts]
    if kind == "tuple*":
        (item,) = parts
        return _generic["tuple"][item, ...]
    return _generic[kind][parts]

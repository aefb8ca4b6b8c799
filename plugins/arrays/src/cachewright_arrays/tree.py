"""A tree is a dict, list or tuple of arrays, scalars and further such containers, or an array alone.

Its description is JSON: texts, numbers, ``true``, ``false`` and ``null`` stand for themselves; everything
else is a list that begins with the number of its kind (:class:`Node`). An array that is in several places is
stored once, and comes back as one array.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Final, TypeAlias

import numpy as np

from cachewright.errors import UnserializableError
from cachewright_arrays.array import (
    AnyArray,
    described_array,
    described_scalar,
    described_texts,
    rebuilt_array,
    rebuilt_scalar,
    rebuilt_texts,
)
from cachewright_arrays.kind import class_of, full_name
from cachewright_arrays.memory import MemoryReader, MemoryWriter

VERSION: Final = 1
_DEPTH_LIMIT: Final = 100
_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_MASKED_STATE: Final = frozenset(
    {
        "_baseclass",
        "_basedict",
        "_fill_value",
        "_hardmask",
        "_isfield",
        "_mask",
        "_optinfo",
        "_sharedmask",
    }
)
"""All that a masked array keeps beside its memory."""


class Node(IntEnum):
    """The kinds of nodes; the numbers are part of the stored format."""

    LIST = 0
    TUPLE = 1
    DICT = 2
    ARRAY = 3
    BYTES = 4
    COMPLEX = 5
    SCALAR = 6
    MASKED = 7
    MASKED_CONSTANT = 8
    TEXTS = 9
    SEEN = 10
    TENSOR = 11


Encoder: TypeAlias = "Callable[[Any, MemoryWriter], list[Any]]"
Decoder: TypeAlias = "Callable[[list[Any], MemoryReader], Any]"


class TreeWriter:
    """Describes one value; used once.

    Args:
        further: encoders of further types of leaves.
    """

    def __init__(self, further: dict[type[Any], Encoder] | None = None) -> None:
        self._memory = MemoryWriter()
        self._containers: set[int] = set()
        self._leaves: dict[int, int] = {}
        self._further = further or {}

    def frames(self, value: object) -> list[bytes | memoryview]:
        """Return the description, the pool and the large pieces of memory.

        Raises:
            UnserializableError: something in ``value`` would not come back exactly.
            ValueError: a text holds a lone surrogate, or a number has too many digits.
        """
        tree = self._node(value, 0)
        text = json.dumps([VERSION, tree], ensure_ascii=False, separators=(",", ":"))
        return [text.encode(), *self._memory.frames()]

    def _node(self, value: Any, depth: int) -> Any:
        kind = class_of(value)
        if kind in _PLAIN:
            return value
        if kind is dict or kind is list or kind is tuple:
            return self._container(value, kind, depth)
        encode = self._further.get(kind) or _LEAVES.get(kind)
        if encode is not None:
            return self._leaf(value, encode)
        encode = _ATOMS.get(kind) or (_encoded_scalar if issubclass(kind, np.generic) else None)
        if encode is None:
            raise UnserializableError(_name(value), "it is neither an array nor plain", hint=_hint(value))
        return encode(value, self._memory)

    def _leaf(self, value: object, encode: Encoder) -> list[Any]:
        number = self._leaves.get(id(value))
        if number is not None:
            return [Node.SEEN, number]
        self._leaves[id(value)] = len(self._leaves)
        return encode(value, self._memory)

    def _container(self, value: Any, kind: type[Any], depth: int) -> list[Any]:
        if depth >= _DEPTH_LIMIT:
            raise UnserializableError(_name(value), f"it is nested deeper than {_DEPTH_LIMIT} levels")
        if kind is tuple and _PLAIN.issuperset(map(type, value)):
            return [Node.TUPLE, *value]  # a constant may be in many places, and nobody can tell
        if id(value) in self._containers:
            raise UnserializableError(_name(value), "a container is in it twice, and would come back as two")
        self._containers.add(id(value))
        if kind is dict:
            return self._mapping(value, depth)
        node = Node.LIST if kind is list else Node.TUPLE
        if _PLAIN.issuperset(map(type, value)):
            return [node, *value]
        return [node, *[self._node(item, depth + 1) for item in value]]

    def _mapping(self, value: dict[Any, Any], depth: int) -> list[Any]:
        encoded: list[Any] = [Node.DICT]
        for key, item in value.items():
            encoded.append(self._node(key, depth + 1))
            encoded.append(self._node(item, depth + 1))
        return encoded


class TreeReader:
    """Rebuilds one value; used once.

    Args:
        frames: as :meth:`TreeWriter.frames` returned them.
        further: decoders of further kinds of leaves.
    """

    def __init__(self, frames: Sequence[memoryview], further: dict[int, Decoder] | None = None) -> None:
        self._frames = frames
        self._memory = MemoryReader(frames)
        self._leaves: list[Any] = []
        self._decoders = _DECODERS | (further or {})

    def value(self) -> Any:
        """Return the value.

        Raises:
            Exception: of any type, on anything that :class:`TreeWriter` does not make.
        """
        version, tree = json.loads(str(self._frames[0], "utf-8"))
        if version != VERSION:
            raise ValueError("another version of the format")
        return self._node(tree, 0)

    def _node(self, node: Any, depth: int) -> Any:
        if class_of(node) is not list:
            if class_of(node) not in _PLAIN:
                raise TypeError("not a node")
            return node
        if depth > _DEPTH_LIMIT:
            raise ValueError("nested too deeply")
        return self._inner(node, depth)

    def _inner(self, node: list[Any], depth: int) -> Any:
        kind, *rest = node
        if kind == Node.LIST:
            return self._items(rest, depth)
        if kind == Node.TUPLE:
            return tuple(self._items(rest, depth))
        if kind == Node.DICT:
            items = self._items(rest, depth)
            return dict(zip(items[::2], items[1::2], strict=True))
        if kind == Node.SEEN:
            (number,) = rest
            return self._leaves[number]
        decoder = self._decoders[kind]
        value = decoder(rest, self._memory)
        if kind in _COUNTED:
            self._leaves.append(value)
        return value

    def _items(self, nodes: list[Any], depth: int) -> list[Any]:
        if _PLAIN.issuperset(map(type, nodes)):
            return nodes
        return [self._node(node, depth + 1) for node in nodes]


def _encoded_array(value: AnyArray, memory: MemoryWriter) -> list[Any]:
    if value.dtype.char == "T":
        description, sizes, texts = described_texts(value)
        return [Node.TEXTS, description, memory.add(sizes.tobytes()), memory.add(texts)]
    description, piece = described_array(value)
    return [Node.ARRAY, description, memory.add(piece)]


def _encoded_masked(value: Any, memory: MemoryWriter) -> list[Any]:
    state: dict[str, Any] = value.__dict__
    if not state.keys() <= _MASKED_STATE or state["_optinfo"] or state["_baseclass"] is not np.ndarray:
        raise UnserializableError(_name(value), "it carries attributes of its own")
    if state.get("_basedict") or state["_isfield"]:
        raise UnserializableError(_name(value), "it is part of another masked array", hint="copy it")
    mask = None if value.mask is np.ma.nomask else _encoded_array(value.mask, memory)
    fill = state["_fill_value"]  # the property of that name would fill it in
    return [
        Node.MASKED,
        _encoded_array(value.data, memory),
        mask,
        None if fill is None else _encoded_array(np.asarray(fill), memory),
        bool(value.hardmask),
    ]


def _decoded_array(rest: list[Any], memory: MemoryReader) -> AnyArray:
    description, place = rest
    return rebuilt_array(description, memory.at(place))


def _decoded_texts(rest: list[Any], memory: MemoryReader) -> AnyArray:
    description, sizes, texts = rest
    return rebuilt_texts(description, np.frombuffer(memory.at(sizes), "<i8"), memory.at(texts))


def _decoded_masked(rest: list[Any], memory: MemoryReader) -> Any:
    data, mask, fill, hard = rest
    masked: Any = np.ma.MaskedArray(_part(data, memory), hard_mask=hard is True)
    if mask is not None:
        bits = _part(mask, memory)
        if bits.shape != masked.shape or bits.dtype != np.ma.make_mask_descr(masked.dtype):
            raise ValueError("the mask does not fit")
        # the constructor and the setter would copy it
        masked._mask = bits  # noqa: SLF001 - as above
        masked._sharedmask = True  # noqa: SLF001 - read-only memory is never written to, but copied
    if fill is not None:
        value = _part(fill, memory)
        if value.dtype != masked.dtype or value.shape:
            raise ValueError("the fill value does not fit")
        masked._fill_value = value  # noqa: SLF001 - the setter would convert it
    return masked


def _part(node: Any, memory: MemoryReader) -> AnyArray:
    kind, *rest = node
    if kind != Node.ARRAY:
        raise ValueError("masked arrays consist of arrays")
    return _decoded_array(rest, memory)


def _decoded_bytes(rest: list[Any], memory: MemoryReader) -> bytes:
    (place,) = rest
    return bytes(memory.at(place))


def _name(value: object) -> str:
    return full_name(class_of(value))


def _hint(value: object) -> str:
    return "convert it with numpy.asarray" if isinstance(value, np.ndarray) else ""


def _real(value: object) -> float:
    if type(value) is not float:
        raise TypeError("the parts of a complex number are floats")
    return value


def _encoded_scalar(value: Any, _memory: MemoryWriter) -> list[Any]:
    return [Node.SCALAR, *described_scalar(value)]


_LEAVES: Final[dict[type[Any], Encoder]] = {
    np.ndarray: _encoded_array,
    np.ma.MaskedArray: _encoded_masked,
}
_ATOMS: Final[dict[type[Any], Encoder]] = {
    complex: lambda value, _memory: [Node.COMPLEX, value.real, value.imag],
    bytes: lambda value, memory: [Node.BYTES, memory.add(value)],
    type(np.ma.masked): lambda _value, _memory: [Node.MASKED_CONSTANT],
}
_DECODERS: Final[dict[int, Decoder]] = {
    Node.ARRAY: _decoded_array,
    Node.BYTES: _decoded_bytes,
    Node.COMPLEX: lambda rest, _memory: complex(*map(_real, rest)),
    Node.SCALAR: lambda rest, _memory: rebuilt_scalar(*rest),
    Node.MASKED: _decoded_masked,
    Node.MASKED_CONSTANT: lambda _rest, _memory: np.ma.masked,
    Node.TEXTS: _decoded_texts,
}
_COUNTED: Final = frozenset({Node.ARRAY, Node.MASKED, Node.TEXTS, Node.TENSOR})
"""The kinds that may be seen again; reader and writer count them in the same order."""

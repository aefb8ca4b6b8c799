"""The built-in serializers: bytes, text, arrays and plain data, which cannot execute code, and pickle."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Final

from cachewright.builtin.data_pickle import DataPickler, data_loads, register_data_class
from cachewright.errors import UnserializableError
from cachewright.serializer import Serializer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cachewright.serializer import Frames

__all__ = [
    "ArraySerializer",
    "DataSerializer",
    "PickleSerializer",
    "RawSerializer",
    "TextSerializer",
    "register_data_class",
]

OUT_OF_BAND: Final = 16 * 1024
"""Buffers of so many bytes travel in a frame of their own, uncopied."""

_WHOLE_FRAME: Final = 64 * 1024
"""Plain bytes of this size are a frame of their own, so that a mapped entry verifies them once."""

_REASON_LIMIT: Final = 200


class RawSerializer(Serializer):
    """Bytes as they are; only ``bytes`` itself, because a subclass would come back as ``bytes``."""

    def dumps(self, value: object, /) -> Frames:
        """Return the bytes, uncopied."""
        if type(value) is not bytes:
            raise UnserializableError(_name(value), "only bytes itself comes back as it was")
        return [b"", value] if len(value) >= _WHOLE_FRAME else [value]

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return a copy of the frame as ``bytes``."""
        return bytes(_only_frame(frames))


class TextSerializer(Serializer):
    """Text as UTF-8, lone surrogates included; only ``str`` itself."""

    def dumps(self, value: object, /) -> Frames:
        """Return the encoded text."""
        if type(value) is not str:
            raise UnserializableError(_name(value), "only str itself comes back as it was")
        encoded = value.encode("utf-8", "surrogatepass")
        return [b"", encoded] if len(encoded) >= _WHOLE_FRAME else [encoded]

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the text; ``UnicodeDecodeError`` if the frame holds none."""
        return str(_only_frame(frames), "utf-8", "surrogatepass")


class ArraySerializer(Serializer):
    """NumPy arrays of any dtype without objects; they come back as read-only views of the frame.

    Shape, dtype, byte order and C or Fortran order are kept; strides of a non-contiguous array are not.
    """

    def dumps(self, value: object, /) -> Frames:
        """Return a description as JSON, and the array's memory, uncopied if it is contiguous."""
        from cachewright.builtin.arrays import described  # noqa: PLC0415 - imports numpy

        dtype, shape, order, memory = described(value)
        return [json.dumps([dtype, shape, order], separators=(",", ":")).encode("ascii"), memory]

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the array."""
        from cachewright.builtin.arrays import rebuilt  # noqa: PLC0415 - imports numpy

        header, memory = frames
        dtype, shape, order = json.loads(bytes(header))
        return rebuilt(dtype, shape, order, memory)


class DataSerializer(Serializer):
    """Plain data as an allow-listed pickle, refused already when it is stored; cannot execute code.

    Takes the containers and atoms of ``builtins``, dates and times, ``Decimal``, ``Fraction``, ``UUID``,
    paths, the classes of ``collections``, NumPy arrays and scalars without objects, and dataclasses,
    enums and named tuples registered with :func:`register_data_class`. Exact types only. Values that
    contain themselves through anything but lists and dicts are refused. Arrays come back read-only.
    """

    def dumps(self, value: object, /) -> Frames:
        """Return the pickle, and large array memory in frames of its own."""
        buffers: list[memoryview] = []
        try:
            return [DataPickler.dumps(value, _collector(buffers)), *buffers]
        except RecursionError:
            reason = "it is nested too deeply, or contains itself"
            raise UnserializableError(_name(value), reason) from None
        except (pickle.PicklingError, BufferError) as error:
            raise UnserializableError(_name(value), _reason(error)) from error

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value; any exception on anything but what :meth:`dumps` makes."""
        return data_loads(bytes(frames[0]), frames[1:])


class PickleSerializer(Serializer):
    """Pickle protocol 5 with large buffers in frames of their own; arrays in these come back read-only."""

    def dumps(self, value: object, /) -> Frames:
        """Return the pickle and its buffers."""
        buffers: list[memoryview] = []
        try:
            return [pickle.dumps(value, 5, buffer_callback=_collector(buffers)), *buffers]
        except RecursionError:
            raise UnserializableError(_name(value), "it is nested too deeply for pickle") from None
        except Exception as error:  # pickling runs the value's own code, which may raise anything
            raise UnserializableError(_name(value), _reason(error)) from error

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value; whatever its classes raise, for instance if one has moved since."""
        return pickle.loads(frames[0], buffers=frames[1:])  # noqa: S301 - authenticated before this is called


def _collector(buffers: list[memoryview]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return a callback that takes large buffers out of band and leaves the others in the pickle."""

    def in_band(buffer: pickle.PickleBuffer) -> bool:
        memory = buffer.raw()
        if memory.nbytes < OUT_OF_BAND:
            return True
        buffers.append(memory)
        return False

    return in_band


def _only_frame(frames: Sequence[memoryview]) -> memoryview:
    if len(frames) == 1:
        return frames[0]
    empty, whole = frames
    if len(empty):
        raise ValueError("two frames, and the first one is not empty")
    return whole


def _name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _reason(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text[:_REASON_LIMIT]}" if text else type(error).__name__

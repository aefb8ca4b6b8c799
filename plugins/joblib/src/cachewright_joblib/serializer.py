"""The joblib serializer writes what ``joblib.dump`` writes, with large arrays uncopied, in frames."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final

import joblib.numpy_pickle

from cachewright.errors import UnserializableError
from cachewright.serializer import Serializer
from cachewright_joblib.stream import FrameReader, FrameWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.serializer import Frames

OUT_OF_BAND: Final = 16 * 1024
"""Arrays of so many bytes travel in a frame of their own."""

_PLAIN_KINDS: Final = frozenset("biufcmMSUV")
"""Kinds of dtypes whose memory is the whole of their contents."""

_REASON_LIMIT: Final = 200

_library: Any = joblib.numpy_pickle  # joblib has no types


class _Pickler(_library.NumpyPickler):  # type: ignore[misc]  # as above
    """joblib's pickler, which leaves to pickle whatever joblib itself would change.

    That is a ``numpy.matrix``, which joblib reads back as an array, and an array of objects. A
    ``numpy.memmap`` is refused: it would come back as an ordinary array, which is no view on that file.
    """

    def __init__(self, writer: FrameWriter) -> None:
        _library.NumpyPickler.__init__(self, writer, protocol=5)

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:  # noqa: FBT001, FBT002 - pickle's signature
        numpy = self.np
        if numpy is None or not isinstance(obj, numpy.ndarray):
            _library.Pickler.save(self, obj, save_persistent_id)
        elif isinstance(obj, numpy.memmap):
            raise UnserializableError(_name(obj), "it is a view on a file", hint="return a copy of it")
        elif type(obj) is numpy.ndarray and _is_plain(obj.dtype):
            self._save_array(obj)
        else:
            _library.Pickler.save(self, obj, save_persistent_id)

    def _save_array(self, array: Any) -> None:
        wrapper = self._create_array_wrapper(array)
        _library.Pickler.save(self, wrapper)
        self.framer.commit_frame(force=True)
        contiguous = array.flags.c_contiguous or array.flags.f_contiguous
        if array.nbytes < OUT_OF_BAND or not contiguous:
            wrapper.write_array(array, self)
            return
        writer = self.file_handle
        alignment = wrapper.numpy_array_alignment_bytes
        padding = alignment - (writer.tell() + 1) % alignment
        writer.write(bytes([padding]) + b"\xff" * padding)
        ordered = array if array.flags.c_contiguous else array.T
        writer.append(memoryview(ordered.reshape(-1).view(self.np.uint8)))


class _Unpickler(_library.NumpyUnpickler):  # type: ignore[misc]  # as above
    """joblib's unpickler, whose arrays are views on the frames, in the byte order they were stored in."""

    dispatch: Any = _library.NumpyUnpickler.dispatch.copy()

    def __init__(self, reader: FrameReader) -> None:
        _library.NumpyUnpickler.__init__(self, "", reader, ensure_native_byte_order=False)

    def load_build(self) -> None:
        _library.Unpickler.load_build(self)
        if isinstance(self.stack[-1], _library.NumpyArrayWrapper):
            self.stack[-1] = self._array(self.stack[-1])

    dispatch[pickle.BUILD[0]] = load_build

    def _array(self, wrapper: Any) -> Any:
        numpy, reader = self.np, self.file_handle
        padding = reader.read(1)[0]
        reader.take(padding)
        size = int(numpy.prod(wrapper.shape, dtype=numpy.int64)) * wrapper.dtype.itemsize
        if not size:
            return numpy.empty(wrapper.shape, wrapper.dtype, wrapper.order)
        # built on the memory itself: a large array is a view on a map, and none of it is touched here
        return numpy.ndarray(wrapper.shape, wrapper.dtype, reader.take(size), order=wrapper.order)


class JoblibSerializer(Serializer):
    """Whatever pickles, in joblib's format; made for objects that hold large arrays.

    ``joblib.load`` reads the frames, joined. Arrays come back read-only, as views on what was stored.
    Refused is what pickle refuses, and memory-mapped arrays.
    """

    def dumps(self, value: object, /) -> Frames:
        """Return joblib's file, cut around large arrays."""
        writer = FrameWriter()
        try:
            _Pickler(writer).dump(value)
        except UnserializableError:
            raise
        except RecursionError:
            raise UnserializableError(_name(value), "it is nested too deeply for joblib") from None
        except Exception as error:  # pickling runs the value's own code, which may raise anything
            text = str(error).partition("\n")[0][:_REASON_LIMIT]
            raise UnserializableError(_name(value), f"{type(error).__name__}: {text}") from error
        return writer.finish()

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value; whatever its classes raise, for instance if one has moved since."""
        reader = FrameReader(frames)
        value = _Unpickler(reader).load()  # authenticated before this is called
        if not reader.at_end():
            raise ValueError("there is something after the end of the pickle")
        return value


def _is_plain(dtype: Any) -> bool:
    return not dtype.hasobject and dtype.itemsize > 0 and dtype.kind in _PLAIN_KINDS


def _name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"

"""A data pickle is a pickle whose only calls are to the constructors of plain data."""

from __future__ import annotations

import io
import pickle
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from cachewright.builtin.data_classes import register_data_class
from cachewright.builtin.pickle_check import PROTOCOL, check_pickle
from cachewright.errors import UnserializableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["DataPickler", "data_loads", "register_data_class"]

_FRAME: Final = b"\x95"


class DataPickler(pickle.Pickler):
    """Refuses, while pickling, every object that is not plain data of an exactly known type."""

    def __init__(
        self, file: io.BytesIO, buffer_callback: Callable[[pickle.PickleBuffer], bool] = lambda _: True
    ) -> None:
        self._made: list[pickle.PickleBuffer] = []
        self._buffer_callback = buffer_callback
        super().__init__(file, 5, buffer_callback=self._take)

    @classmethod
    def dumps(cls, value: object, buffer_callback: Callable[[pickle.PickleBuffer], bool]) -> bytes:
        """Return the pickle of ``value``.

        Raises:
            UnserializableError: it is, or contains, something that is not plain data; names the type.
            RecursionError: it is nested too deeply.
        """
        file = io.BytesIO()
        cls(file, buffer_callback).dump(value)
        return file.getvalue()

    def reducer_override(self, obj: object, /) -> Any:
        """Return the constructor and arguments of what is not a plain container or atom."""
        from cachewright.builtin import data_types  # noqa: PLC0415 - needed for the rarer types only

        kind = type(obj)
        if isinstance(obj, FunctionType) and data_types.CONSTRUCTORS.get(obj.__name__) is obj:
            return NotImplemented
        reduced = data_types.reduced(obj)
        if reduced is None:
            name = f"{kind.__module__}.{kind.__qualname__}"
            raise UnserializableError(name, "it is not plain data", hint=data_types.hint(obj))
        if reduced[0] is data_types.make_array:
            self._made.append(reduced[1][-1])
        return reduced

    def _take(self, buffer: pickle.PickleBuffer) -> bool:
        """Refuse a buffer that was in the value itself: it would come back as something else."""
        if not any(buffer is made for made in self._made):
            raise UnserializableError("pickle.PickleBuffer", "it is not plain data")
        return self._buffer_callback(buffer)


class _DataUnpickler(pickle.Unpickler):
    """Finds the constructors of plain data by their exact names, and nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return a constructor; ``UnpicklingError`` for any other name."""
        from cachewright.builtin import data_types  # noqa: PLC0415 - as above

        constructor = data_types.ADDRESSES.get((module_name, global_name))
        if constructor is None:
            raise pickle.UnpicklingError("a global that is not a constructor of plain data")
        return constructor


def data_loads(pickled: bytes, buffers: Sequence[memoryview]) -> object:
    """Return the value of a data pickle.

    Raises:
        Exception: of any type, on anything that :meth:`DataPickler.dumps` does not make.
    """
    check_pickle(pickled)
    # One frame round everything: the unpickler then holds all bytes at once. With the frames as they are
    # a wrong length would make it skip bytes, so that it would read other opcodes than were checked.
    body = pickled[2:]
    whole = b"".join((PROTOCOL, _FRAME, len(body).to_bytes(8, "little"), body))
    return _DataUnpickler(io.BytesIO(whole), buffers=buffers).load()

"""The arrow serializer gives back frames, series and tables exactly, as views of the stored buffers."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cachewright.errors import UnserializableError
from cachewright.serializer import Serializer
from cachewright_arrow.kind import class_of, full_name
from cachewright_arrow.memory import MemoryReader, MemoryWriter
from cachewright_arrow.table import REBUILDERS, described_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.serializer import Frames

_VERSION: Final = 1
_LIBRARIES: Final = {"pandas": "cachewright_arrow.pandas_value", "polars": "cachewright_arrow.polars_value"}
"""The modules for the values of libraries that are not required; each is imported with its library."""


class ArrowSerializer(Serializer):
    """Frames, series and indexes of pandas, frames and series of polars, tables and arrays of pyarrow.

    Types, order, names, time zones, categories and nulls come back as they were, or the value is refused.
    What was stored is checked when it is read, so that damaged bytes make an exception and not a crash.
    The memory of what comes back is read-only; pandas and polars copy what is changed, or say so.
    """

    def dumps(self, value: object, /) -> Frames:
        """Return the description, small memory together, and each large memory uncopied."""
        memory = MemoryWriter()
        name = full_name(class_of(value))
        try:
            description = _described(value, memory)
            text = json.dumps([_VERSION, *description], ensure_ascii=False, separators=(",", ":")).encode()
        except UnserializableError:
            raise
        except RecursionError:
            raise UnserializableError(name, "it is nested too deeply") from None
        except ValueError as error:  # a lone surrogate, or a number of more digits than Python converts
            raise UnserializableError(name, f"{type(error).__name__}: {str(error)[:100]}") from None
        return [text, *memory.frames()]

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value."""
        version, library, kind, *rest = json.loads(str(frames[0], "utf-8"))
        if version != _VERSION:
            raise ValueError("another version of the format")
        rebuilders = REBUILDERS if library == "pyarrow" else import_module(_LIBRARIES[library]).REBUILDERS
        return rebuilders[kind](rest, MemoryReader(frames))


def _described(value: object, memory: MemoryWriter) -> list[Any]:
    described = described_table(value, memory)
    if described is not None:
        return ["pyarrow", *described]
    for library, module in _LIBRARIES.items():
        if library in sys.modules:  # otherwise no value can be of it
            described = import_module(module).described_value(value, memory)
            if described is not None:
                return [library, *described]
    name = full_name(class_of(value))
    raise UnserializableError(name, "only frames, series, indexes, tables and arrays, and no subclasses")

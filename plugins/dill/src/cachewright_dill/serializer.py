"""The dill serializer stores what pickle cannot, and refuses what would come back as something else."""

from __future__ import annotations

import io
import socket
import sys
import threading
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Final

from cachewright.errors import UnserializableError
from cachewright.serializer import Serializer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.serializer import Frames

_BY_THE_PROGRAM: Final = "dill" in sys.modules

import dill  # noqa: E402 - it has to be known whether we are the first

if not _BY_THE_PROGRAM:
    # Importing dill teaches the standard pickler its types, which changes what joblib and others write.
    # Its own pickler does not need that, so unless the program itself asked for dill, it is undone.
    dill.extend(use_dill=False)

_REASON_LIMIT: Final = 200
_REFUSED: Final[tuple[tuple[type[Any] | tuple[type[Any], ...], str], ...]] = (
    ((GeneratorType, AsyncGeneratorType), "it can be consumed only once"),
    (CoroutineType, "it can be awaited only once"),
    (socket.socket, "it is a connection of this process"),
    (threading.Thread, "it runs in this process"),
    (
        (type(threading.Lock()), type(threading.RLock()), threading.Condition),
        "a copy of a lock locks nothing",
    ),
)
_MEMORY_FILES: Final = (io.BytesIO, io.StringIO)


class _Refuses:
    """Tells, and remembers by type, why an object must not be stored."""

    def __init__(self) -> None:
        self._reasons: dict[type[Any], str] = {}

    def __call__(self, obj: object) -> str:
        kind = type(obj)
        reason = self._reasons.get(kind)
        if reason is None:
            reason = self._reasons[kind] = _reason_against(kind)
        return reason


class _Pickler(dill.Pickler):  # type: ignore[misc]  # dill has no types
    """A dill pickler that looks at every object before dill decides how to store it."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - as above
            file, protocol=5, byref=False, fmode=0, recurse=True
        )
        self._reason = _Refuses()

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:  # noqa: FBT001, FBT002 - dill's signature
        reason = self._reason(obj)
        if reason:
            raise UnserializableError(_name(obj), reason)
        super().save(obj, save_persistent_id)  # pyright: ignore[reportUnknownMemberType] - as above

    def reducer_override(self, obj: Any) -> Any:
        """Leave NumPy's arrays to NumPy: the way dill asks for their state loses the byte order."""
        numpy = sys.modules.get("numpy")
        if numpy is None or type(obj) is not numpy.ndarray or obj.dtype.hasobject:
            return NotImplemented
        # Memory with gaps would be reduced the old way, which loses it as well.
        whole = obj if obj.flags.forc else obj.copy()
        return whole.__reduce_ex__(5)


class DillSerializer(Serializer):
    """Anything that dill stores faithfully: functions with the globals they use, and local classes.

    Open files, locks, sockets, generators, coroutines and threads are refused wherever they are in the
    value. Whether the entry can be read elsewhere depends on the versions of Python and dill there.
    """

    def dumps(self, value: object, /) -> Frames:
        """Return the pickle as one frame."""
        file = io.BytesIO()
        try:
            _Pickler(file).dump(value)
        except UnserializableError:
            raise
        except RecursionError:
            raise UnserializableError(_name(value), "it is nested too deeply for dill") from None
        except Exception as error:  # pickling runs the value's own code, which may raise anything
            text = str(error).partition("\n")[0][:_REASON_LIMIT]
            raise UnserializableError(_name(value), f"{type(error).__name__}: {text}") from error
        return [file.getvalue()]

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value; whatever its classes and functions raise."""
        (frame,) = frames
        return dill.Unpickler(io.BytesIO(frame), ignore=False).load()  # noqa: S301 - authenticated before this is called


def _reason_against(kind: type[Any]) -> str:
    if issubclass(kind, io.IOBase) and not issubclass(kind, _MEMORY_FILES):
        return "it is an open file of this process"
    for types, reason in _REFUSED:
        if issubclass(kind, types):
            return reason
    return ""


def _name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"

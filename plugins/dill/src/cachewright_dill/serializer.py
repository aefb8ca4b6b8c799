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

from cachewright_dill.culprit import Culprit, culprits, name_of, path_to  # noqa: E402 - imports dill

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
        self.trail: list[Any] = []
        """The objects that are being saved, each inside the one before."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:  # noqa: FBT001, FBT002 - dill's signature
        self.trail.append(obj)
        reason = self._reason(obj)
        if reason:
            raise _RefusedError(reason)
        super().save(obj, save_persistent_id)  # pyright: ignore[reportUnknownMemberType] - as above
        self.trail.pop()  # not where it failed: the trail leads to the culprit then

    def reducer_override(self, obj: Any) -> Any:
        """Leave NumPy's arrays to NumPy: the way dill asks for their state loses the byte order."""
        numpy = sys.modules.get("numpy")
        if numpy is None or type(obj) is not numpy.ndarray or obj.dtype.hasobject:
            return NotImplemented
        # Memory with gaps would be reduced the old way, which loses it as well.
        whole = obj if obj.flags.forc else obj.copy()
        return whole.__reduce_ex__(5)


class _RefusedError(Exception):
    """An object must not be stored; says why."""


class DillSerializer(Serializer):
    """Anything that dill stores faithfully: functions with the globals they use, and local classes.

    Open files, locks, sockets, generators, coroutines and threads are refused wherever they are in the
    value, and the refusal names the way there: ``result['model'].callbacks[2]: <socket.socket>``. Whether
    the entry can be read elsewhere depends on the versions of Python and dill there.
    """

    def dumps(self, value: object, /) -> Frames:
        """Return the pickle as one frame."""
        file = io.BytesIO()
        pickler = _Pickler(file)
        try:
            pickler.dump(value)
        except RecursionError:
            raise UnserializableError(name_of(value), "it is nested too deeply for dill") from None
        except Exception as error:  # noqa: BLE001 - pickling runs the value's own code, which may raise anything
            reason = _told(error)
            if len(pickler.trail) > 1:
                path = path_to(pickler.trail, "result")
                reason = f"{path}: <{name_of(pickler.trail[-1])}>: {reason}"
            raise UnserializableError(name_of(value), reason) from (
                None if isinstance(error, _RefusedError) else error
            )
        return [file.getvalue()]

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value; whatever its classes and functions raise."""
        (frame,) = frames
        return dill.Unpickler(io.BytesIO(frame), ignore=False).load()  # noqa: S301 - authenticated before this is called


def refusal(value: Any) -> str | None:
    """Return why dill cannot store a value faithfully, ``None`` if it can; names no path."""
    try:
        _Pickler(io.BytesIO()).dump(value)
    except RecursionError:
        return "it is nested too deeply for dill"
    except Exception as error:  # noqa: BLE001 - pickling runs the value's own code, which may raise anything
        return _told(error)
    return None


def diagnose(value: Any, *, name: str = "result") -> list[Culprit]:
    """Return every part of a value that keeps dill from storing it; an empty list if it can be stored.

    Args:
        value: what was to be stored.
        name: what to call it in the paths.
    """
    return culprits(value, refusal, start=name)


def _told(error: Exception) -> str:
    if isinstance(error, _RefusedError):
        return str(error)
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:_REASON_LIMIT]}"


def _reason_against(kind: type[Any]) -> str:
    if issubclass(kind, io.IOBase) and not issubclass(kind, _MEMORY_FILES):
        return "it is an open file of this process"
    for types, reason in _REFUSED:
        if issubclass(kind, types):
            return reason
    return ""

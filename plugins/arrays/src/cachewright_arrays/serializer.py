"""The array serializer gives back arrays exactly, alone and in containers, as views of the stored frames."""

from __future__ import annotations

import sys
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from cachewright.errors import UnserializableError
from cachewright.serializer import Serializer
from cachewright_arrays.kind import class_of, full_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.serializer import Frames

_CONTAINERS: Final = (dict, list, tuple)
_LOOKED_INTO: Final = 256
_LOOKED_AT: Final = 1024
"""So many containers are searched for an array, and so many items of each."""


class ArraysSerializer(Serializer):
    """NumPy arrays and masked arrays, alone or in dicts, lists and tuples, beside scalars and plain values.

    Exact types only, and only arrays of dtypes without objects. Arrays come back read-only; what is large
    is a view of its frame. The order of axes in memory is kept, gaps between elements are not. A container
    in which no array is found is refused, so that other serializers, which are faster with it, take it.
    """

    def dumps(self, value: object, /) -> Frames:
        """Return the description, small memory together, and each large memory uncopied."""
        # A process that has not imported NumPy has no arrays, and should not pay for the import.
        numpy = sys.modules.get("numpy")
        if numpy is None or not holds(value, (numpy.ndarray,)):
            raise no_leaf(value, "array")
        from cachewright_arrays.tree import TreeWriter  # noqa: PLC0415 - imports numpy

        return written(TreeWriter(), value)

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value."""
        from cachewright_arrays.tree import TreeReader  # noqa: PLC0415 - imports numpy

        return TreeReader(frames).value()


def holds(value: object, leaves: tuple[type[Any], ...]) -> bool:
    """Tell whether ``value`` is one of ``leaves``, or is a container with one near its beginning.

    The search is bounded: what it costs does not grow with the value.
    """
    if type(value) not in _CONTAINERS:
        return isinstance(value, leaves)
    whole: Any = value
    waiting: deque[Any] = deque([whole])
    for _ in range(_LOOKED_INTO):
        if not waiting:
            break
        some: list[Any] = list(islice(_items(waiting.popleft()), _LOOKED_AT))
        kinds: set[Any] = set(map(type, some))
        if any(issubclass(kind, leaves) for kind in kinds):
            return True
        if not kinds.isdisjoint(_CONTAINERS):
            waiting.extend([item for item in some if type(item) in _CONTAINERS][:_LOOKED_INTO])
    return False


def _items(container: Any) -> Any:
    return container.values() if class_of(container) is dict else container


def no_leaf(value: object, leaf: str) -> UnserializableError:
    """Return the refusal of a value in which nothing was found that this serializer is for."""
    return UnserializableError(full_name(class_of(value)), f"no {leaf} was found in it")


def written(writer: Any, value: object) -> list[bytes | memoryview]:
    """Return the frames of ``value``; ``UnserializableError`` whatever is wrong with it."""
    name = full_name(class_of(value))
    try:
        frames: list[bytes | memoryview] = writer.frames(value)
    except RecursionError:
        raise UnserializableError(name, "it is nested too deeply") from None
    except ValueError as error:  # a lone surrogate, or a number of more digits than Python converts
        raise UnserializableError(name, f"{type(error).__name__}: {str(error)[:100]}") from None
    return frames

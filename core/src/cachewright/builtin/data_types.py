"""The data types are those that a data pickle may hold, each with a constructor that checks its arguments.

The names of this module and of its constructors are part of the stored format.
"""

from __future__ import annotations

import collections
import datetime as dt
import pathlib
import pickle
import re
import sys
import uuid
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, cast

from cachewright.builtin.data_classes import is_named_tuple, make_instance, make_member, registered_parts
from cachewright.errors import UnserializableError

if TYPE_CHECKING:
    from collections.abc import Callable

_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,40}(?:/[A-Za-z0-9_+-]{1,40}){0,3}")
_PATHS: Final[dict[str, type[pathlib.PurePath]]] = {
    cls.__name__: cls
    for cls in (
        pathlib.PurePosixPath,
        pathlib.PureWindowsPath,
        pathlib.PosixPath,
        pathlib.WindowsPath,
    )
}
_FACTORIES: Final[dict[str, type[Any]]] = {
    cls.__name__: cls
    for cls in (list, dict, set, tuple, frozenset, int, float, complex, str, bytes, bytearray, bool)
}
_SINGLETONS: Final[dict[str, Any]] = {"Ellipsis": ..., "NotImplemented": NotImplemented}


def reduced(obj: object) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """Return the constructor and arguments that give back ``obj``; ``None`` if it is not plain data.

    Raises:
        UnserializableError: it is of a plain type, but holds something that would not come back.
    """
    reduce = _REDUCERS.get(type(obj))
    if reduce is not None:
        return reduce(obj)
    registered = registered_parts(obj)
    if registered is not None:
        name, arguments = registered
        return CONSTRUCTORS[name], arguments
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(obj, numpy.generic | numpy.ndarray):
        return _reduced_array(obj)
    return None


def hint(obj: object) -> str:
    """Return what would help to store ``obj`` as plain data."""
    cls = type(obj)
    if hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__members__") or is_named_tuple(cls):
        return "register its class with register_data_class"
    return ""


def make_complex(real: float, imag: float) -> complex:
    """Return a complex number."""
    return complex(_exactly(float, real), _exactly(float, imag))


def make_range(start: int, stop: int, step: int) -> range:
    """Return a range; it takes no space, however long."""
    return range(_exactly(int, start), _exactly(int, stop), _exactly(int, step))


def make_slice(start: object, stop: object, step: object) -> slice:
    """Return a slice."""
    return slice(start, stop, step)


def make_singleton(name: str) -> object:
    """Return ``Ellipsis`` or ``NotImplemented``."""
    return _SINGLETONS[name]


def make_date(year: int, month: int, day: int) -> dt.date:
    """Return a date."""
    return dt.date(year, month, day)


def make_datetime(*parts: Any) -> dt.datetime:
    """Return a date and time from seven numbers, the fold and the time zone."""
    *numbers, fold, zone = parts
    year, month, day, hour, minute, second, microsecond = [_exactly(int, number) for number in numbers]
    return dt.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def make_time(*parts: Any) -> dt.time:
    """Return a time from four numbers, the fold and the time zone."""
    *numbers, fold, zone = parts
    hour, minute, second, microsecond = [_exactly(int, number) for number in numbers]
    return dt.time(hour, minute, second, microsecond, zone, fold=fold)


def make_timedelta(days: int, seconds: int, microseconds: int) -> dt.timedelta:
    """Return a difference of times."""
    return dt.timedelta(_exactly(int, days), _exactly(int, seconds), _exactly(int, microseconds))


def make_timezone(offset: dt.timedelta, name: str | None) -> dt.timezone:
    """Return a fixed offset from UTC."""
    return dt.timezone(offset) if name is None else dt.timezone(offset, name)


def make_zone(key: str) -> zoneinfo.ZoneInfo:
    """Return a zone of the time zone database; a name that could leave it is refused."""
    if not _ZONE.fullmatch(_exactly(str, key)):
        raise ValueError("not the name of a time zone")
    return zoneinfo.ZoneInfo(key)


def make_decimal(text: str) -> Decimal:
    """Return a decimal number, digit by digit what it was."""
    return Decimal(_exactly(str, text))


def make_fraction(numerator: int, denominator: int) -> Fraction:
    """Return a fraction."""
    return Fraction(_exactly(int, numerator), _exactly(int, denominator))


def make_uuid(number: int, is_safe: int | None) -> uuid.UUID:
    """Return a UUID."""
    return uuid.UUID(int=_exactly(int, number), is_safe=uuid.SafeUUID(is_safe))


def make_path(kind: str, parts: tuple[str, ...]) -> pathlib.PurePath:
    """Return a path; nothing on a disk is looked at."""
    return _PATHS[kind](*[_exactly(str, part) for part in parts])


def make_ordered(items: dict[Any, Any]) -> collections.OrderedDict[Any, Any]:
    """Return an ordered dict."""
    return collections.OrderedDict(_exactly(dict, items))


def make_defaultdict(factory: str | None, items: dict[Any, Any]) -> collections.defaultdict[Any, Any]:
    """Return a dict with a default; the factory is one of the plain types."""
    return collections.defaultdict(None if factory is None else _FACTORIES[factory], _exactly(dict, items))


def make_counter(items: dict[Any, Any]) -> collections.Counter[Any]:
    """Return a counter."""
    return collections.Counter(_exactly(dict, items))


def make_deque(items: list[Any], maxlen: int | None) -> collections.deque[Any]:
    """Return a double-ended queue."""
    return collections.deque(_exactly(list, items), maxlen)


def make_array(dtype: object, shape: object, order: object, memory: bytes | memoryview) -> Any:
    """Return a read-only NumPy array."""
    from cachewright.builtin.arrays import rebuilt  # noqa: PLC0415 - imports numpy

    return rebuilt(dtype, shape, order, memory)


def make_scalar(dtype: object, memory: bytes) -> Any:
    """Return a NumPy scalar."""
    from cachewright.builtin.arrays import rebuilt  # noqa: PLC0415 - imports numpy

    return rebuilt(dtype, (), "C", memory)[()]


def _exactly(kind: type[Any], value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} was expected")
    return value


def _reduced_array(obj: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    import numpy as np  # noqa: PLC0415 - imported already: the caller has an instance of one of its types

    from cachewright.builtin.arrays import described  # noqa: PLC0415 - as above

    if isinstance(obj, np.ndarray):
        dtype, shape, order, memory = described(cast("object", obj))
        return make_array, (dtype, shape, order, pickle.PickleBuffer(memory))
    name = f"numpy.{type(obj).__name__}"
    if isinstance(obj, np.void):  # its fields are references into the array that it came from
        raise UnserializableError(name, "only scalars of simple dtypes come back as they were")
    dtype, _, _, memory = described(np.asarray(obj))
    if type(make_scalar(dtype, bytes(memory))) is not type(obj):
        raise UnserializableError(name, "only scalars of NumPy's own sized types come back as they were")
    return make_scalar, (dtype, bytes(memory))


def _reduced_datetime(obj: dt.datetime) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    date = (obj.year, obj.month, obj.day)
    return make_datetime, (*date, obj.hour, obj.minute, obj.second, obj.microsecond, obj.fold, obj.tzinfo)


def _reduced_timezone(obj: dt.timezone) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    arguments: tuple[Any, ...] = cast("Any", obj).__getinitargs__()  # there for pickling
    return make_timezone, (*arguments, None)[:2]


def _reduced_zone(obj: zoneinfo.ZoneInfo) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    key: Any = obj.key  # None for a zone that was read from a file
    if key is None or not _ZONE.fullmatch(key) or zoneinfo.ZoneInfo(key) is not obj:
        raise UnserializableError("zoneinfo.ZoneInfo", "it was not made from the name of a zone")
    return make_zone, (key,)


def _reduced_defaultdict(
    obj: collections.defaultdict[Any, Any],
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    factory: Any = obj.default_factory
    name = None if factory is None else getattr(factory, "__name__", "")
    if name is not None and _FACTORIES.get(name) is not factory:
        allowed = ", ".join(_FACTORIES)
        raise UnserializableError("collections.defaultdict", f"its factory is none of {allowed}")
    return make_defaultdict, (name, dict(obj))


def _reduced_path(obj: pathlib.PurePath) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return make_path, (type(obj).__name__, obj.parts)


_REDUCERS: Final[dict[type[Any], Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]]]] = {
    complex: lambda obj: (make_complex, (obj.real, obj.imag)),
    range: lambda obj: (make_range, (obj.start, obj.stop, obj.step)),
    slice: lambda obj: (make_slice, (obj.start, obj.stop, obj.step)),
    type(...): lambda _: (make_singleton, ("Ellipsis",)),
    type(NotImplemented): lambda _: (make_singleton, ("NotImplemented",)),
    dt.date: lambda obj: (make_date, (obj.year, obj.month, obj.day)),
    dt.datetime: _reduced_datetime,
    dt.time: lambda obj: (
        make_time,
        (obj.hour, obj.minute, obj.second, obj.microsecond, obj.fold, obj.tzinfo),
    ),
    dt.timedelta: lambda obj: (make_timedelta, (obj.days, obj.seconds, obj.microseconds)),
    dt.timezone: _reduced_timezone,
    zoneinfo.ZoneInfo: _reduced_zone,
    Decimal: lambda obj: (make_decimal, (str(obj),)),
    Fraction: lambda obj: (make_fraction, (obj.numerator, obj.denominator)),
    uuid.UUID: lambda obj: (make_uuid, (obj.int, obj.is_safe.value)),
    **dict.fromkeys(_PATHS.values(), _reduced_path),
    collections.OrderedDict: lambda obj: (make_ordered, (dict(obj.items()),)),
    collections.defaultdict: _reduced_defaultdict,
    collections.Counter: lambda obj: (make_counter, (dict(obj),)),
    collections.deque: lambda obj: (make_deque, (list(obj), obj.maxlen)),
}

CONSTRUCTORS: Final[dict[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        make_complex, make_range, make_slice, make_singleton, make_date, make_datetime, make_time,
        make_timedelta, make_timezone, make_zone, make_decimal, make_fraction, make_uuid, make_path,
        make_ordered, make_defaultdict, make_counter, make_deque, make_array, make_scalar,
        make_instance, make_member,
    )
}  # fmt: skip
"""Everything that a data pickle may call."""

ADDRESSES: Final = {(function.__module__, name): function for name, function in CONSTRUCTORS.items()}
"""The same by the exact names under which a pickle holds them."""

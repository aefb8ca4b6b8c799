"""Encodings of pandas and polars: values, data types and labels of every column, by the names of the types.

A subclass may hold more, such as a coordinate system, and is refused.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from cachewright.builtin.canonical_arrays import ATTOSECONDS, NAT, ticks
from cachewright.builtin.canonical_format import Encoded, Parts, RefusedError, framed, kind_of, kind_tag
from cachewright.builtin.canonical_standard import AWARE, DURATION, NAIVE, EncoderTable

_NA = kind_tag("pandas na")
_FRAME = kind_tag("pandas frame")
_SERIES = kind_tag("pandas series")
_INDEX = kind_tag("pandas index")
_LEVELS = kind_tag("pandas multiindex")
_CATEGORIES = kind_tag("pandas categorical")
_COLUMN = kind_tag("pandas values")
_INTERVAL = kind_tag("pandas interval")
_PERIOD = kind_tag("pandas period")
_POLARS_FRAME = kind_tag("polars frame")
_POLARS_SERIES = kind_tag("polars series")


def _na(_: object) -> bytes:
    return _NA


def _nat(_: object) -> Parts:
    return Parts(NAT, ())


def _timestamp(value: Any) -> Parts:
    """Like ``datetime``, which it equals; finer where there are nanoseconds."""
    return ticks(NAIVE if value.tzinfo is None else AWARE, _attoseconds(value.asm8))


def _timedelta(value: Any) -> Parts:
    return ticks(DURATION, _attoseconds(value.asm8))


def _attoseconds(value: Any) -> int:
    unit, _ = sys.modules["numpy"].datetime_data(value.dtype)
    return int(value.astype("i8")) * ATTOSECONDS[unit]


def _interval(value: Any) -> Parts:
    return Parts(_INTERVAL, (value.left, value.right, value.closed))


def _period(value: Any) -> Parts:
    return Parts(_PERIOD, (value.ordinal, value.freqstr))


def _frame(value: Any) -> Parts:
    columns = [_values(value.iloc[:, position]) for position in range(value.shape[1])]
    return Parts(_FRAME, (value.columns, value.index, value.attrs, columns))


def _series(value: Any) -> Parts:
    return Parts(_SERIES, (value.name, value.index, value.attrs, _values(value)))


def _index(value: Any) -> Parts:
    return Parts(_INDEX, (value.name, getattr(value, "freqstr", None), _values(value)))


def _range_index(value: Any) -> Parts:
    """Equal to an index of the same numbers, which are not kept by the index if we write them out."""
    numbers = sys.modules["numpy"].arange(value.start, value.stop, value.step, dtype="i8")
    return Parts(_INDEX, (value.name, None, numbers))


def _levels(value: Any) -> Parts:
    return Parts(_LEVELS, [value.get_level_values(level) for level in range(value.nlevels)])


def _categorical(value: Any) -> Parts:
    return Parts(_CATEGORIES, (bool(value.ordered), value.categories, value.codes))


def _values(value: Any) -> object:
    """Return the values of a column or index as something with an encoding."""
    dtype = value.dtype
    if type(dtype).__module__.startswith("numpy"):
        return value.to_numpy()
    name = type(dtype).__qualname__
    if name == "CategoricalDtype":
        return value.array
    if name == "DatetimeTZDtype":
        return _Column((str(dtype), value.array.view("i8")))
    if name in _MASKED_DTYPES:
        numbers = value.array.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
        return _Column((str(dtype), value.array.isna(), numbers))
    return _Column((str(dtype), list(value.array)))


class _Column:
    """Values of an extension type, in a form of ours."""

    __slots__ = ("children",)

    def __init__(self, children: tuple[object, ...]) -> None:
        self.children = children


def _column(value: _Column) -> Parts:
    return Parts(_COLUMN, value.children)


_MASKED_DTYPES = frozenset(
    {"BooleanDtype", *(f"{sign}Int{bits}Dtype" for sign in ("", "U") for bits in (8, 16, 32, 64))}
)


def _polars_frame(value: Any) -> Parts:
    return Parts(_POLARS_FRAME, (value.shape, value.get_columns()))


def _polars_series(value: Any) -> Parts:
    dtype = value.dtype
    head = (value.name, str(dtype), len(value))
    if dtype.is_temporal() or dtype.is_integer() or str(dtype) == "Boolean":
        return Parts(_POLARS_SERIES, (*head, value.is_null().to_numpy(), _filled(value.to_physical())))
    if dtype.is_float():
        return Parts(_POLARS_SERIES, (*head, value.is_null().to_numpy(), value.fill_null(0.0).to_numpy()))
    if str(dtype) == "String":
        filled = value.fill_null("")
        joined = framed(b"#", "".join(filled.to_list()).encode())
        lengths = filled.str.len_bytes().to_numpy()
        return Parts(_POLARS_SERIES, (*head, value.is_null().to_numpy(), lengths, Encoded(joined)))
    if str(dtype).startswith("Object"):
        raise RefusedError(kind_of(value), "its column holds Python objects")
    return Parts(_POLARS_SERIES, (*head, value.to_list()))


def _filled(value: Any) -> Any:
    return value.fill_null(value.dtype.is_integer() and 0).to_numpy()


def _lazy(value: object) -> Parts:
    raise RefusedError(kind_of(value), "it is not computed yet: pass what collect() returns")


_INDEXES = {
    "base.Index": _index,
    "range.RangeIndex": _range_index,
    "multi.MultiIndex": _levels,
    "datetimes.DatetimeIndex": _index,
    "timedeltas.TimedeltaIndex": _index,
    "period.PeriodIndex": _index,
    "interval.IntervalIndex": _index,
    "category.CategoricalIndex": _index,
}

FRAMES: Final = EncoderTable(
    exact={
        f"{_Column.__module__}.{_Column.__qualname__}": _column,
        **{f"pandas.core.indexes.{name}": encoder for name, encoder in _INDEXES.items()},
        **{f"pandas.{name.partition('.')[2]}": encoder for name, encoder in _INDEXES.items()},
        **{name: encoder for names, encoder in (
            (("pandas.DataFrame", "pandas.core.frame.DataFrame"), _frame),
            (("pandas.Series", "pandas.core.series.Series"), _series),
            (("pandas.Categorical", "pandas.core.arrays.categorical.Categorical"), _categorical),
            (("pandas.Timestamp", "pandas._libs.tslibs.timestamps.Timestamp"), _timestamp),
            (("pandas.Timedelta", "pandas._libs.tslibs.timedeltas.Timedelta"), _timedelta),
            (("pandas.Interval", "pandas._libs.interval.Interval"), _interval),
            (("pandas.Period", "pandas._libs.tslibs.period.Period"), _period),
            (("pandas.api.typing.NAType", "pandas._libs.missing.NAType"), _na),
            (("pandas.api.typing.NaTType", "pandas._libs.tslibs.nattype.NaTType"), _nat),
        ) for name in names},
        "polars.dataframe.frame.DataFrame": _polars_frame,
        "polars.series.series.Series": _polars_series,
        "polars.lazyframe.frame.LazyFrame": _lazy,
    },
)  # fmt: skip

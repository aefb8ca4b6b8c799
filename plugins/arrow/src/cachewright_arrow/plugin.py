"""The record that announces the arrow serializer, without importing pyarrow, pandas or polars."""

from __future__ import annotations

from cachewright.hookspecs import hookimpl
from cachewright.serializer import SerializerInfo

# Each under the name of its class since pandas 3, and under that of before.
_PANDAS = (
    "pandas.DataFrame",
    "pandas.core.frame.DataFrame",
    "pandas.Series",
    "pandas.core.series.Series",
    "pandas.Index",
    "pandas.core.indexes.base.Index",
)
_POLARS = (
    "polars.dataframe.frame.DataFrame",
    "polars.series.series.Series",
    "polars.lazyframe.frame.LazyFrame",
)
_PYARROW = (
    "pyarrow.lib.Table",
    "pyarrow.lib.RecordBatch",
    "pyarrow.lib.Array",
    "pyarrow.lib.ChunkedArray",
    "pyarrow.lib.Schema",
)


@hookimpl
def cachewright_serializers() -> list[SerializerInfo]:
    """It is asked about subclasses, too, because every kind of array and index is one."""
    return [
        SerializerInfo(
            name="arrow",
            code=0x11,
            target="cachewright_arrow.serializer:ArrowSerializer",
            types=(*_PANDAS, *_POLARS, *_PYARROW),
            exact=False,
            rank=20,
            requires=("pyarrow",),
            install="cachewright-arrow",
            summary="frames, series and tables of pandas, polars and pyarrow, buffers uncopied",
        )
    ]

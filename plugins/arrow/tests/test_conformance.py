"""The arrow serializer keeps the promises of every serializer, its distribution those of every plugin."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from cachewright_arrow.plugin import cachewright_serializers

from cachewright.testing import PluginKit, SerializerKit

(INFO,) = cachewright_serializers()


class TestArrow(SerializerKit):
    info = INFO
    warm_imports: ClassVar = (
        "pyarrow",
        "pandas",
        "polars",
        "cachewright_arrow.pandas_value",
        "cachewright_arrow.polars_value",
        *(["pandas.api.internals"] if hasattr(pd.api, "internals") else []),  # since pandas 3
    )
    accepts = (
        pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])}),
        pd.DataFrame({"t": pd.to_datetime(["2024-01-01", None]).tz_localize("UTC"), "o": [b"x", 1.5]}),
        pd.DataFrame(np.arange(20_000.0).reshape(5_000, 4)),
        pd.Series([1, 2], index=pd.MultiIndex.from_tuples([(1, "x"), (2, "y")], names=["p", "q"]), name="n"),
        pl.Series("s", ["a", None]),
        pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
        pa.table({"a": [1, None], "b": ["x", "y"]}),
        pa.array([{"a": 1, "b": ["x"]}, None]),
        pa.schema({"a": pa.int8()}),
    )


class TestPackaging(PluginKit):
    distribution = "cachewright-arrow"

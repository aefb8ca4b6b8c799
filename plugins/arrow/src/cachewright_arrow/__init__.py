"""The arrow serializer of cachewright: frames, series and tables of pandas, polars and pyarrow."""

from __future__ import annotations

"""The array serializer keeps the promises of every serializer, its distribution those of every plugin."""

from __future__ import annotations

import numpy as np
from cachewright_arrays.plugin import cachewright_serializers

from cachewright.testing import PluginKit, SerializerKit

ARRAYS, _ = cachewright_serializers()

RECORDS = np.array([(1, [2.0, 3.0], "x")], dtype=[(("title", "a"), "i4"), ("b", "f8", (2,)), ("c", "U3")])


class TestArrays(SerializerKit):
    info = ARRAYS
    accepts = (
        np.arange(12.0).reshape(3, 4),
        {
            "a": np.arange(5_000),
            "b": [np.arange(3, dtype=">i2"), 1.5, None, "x", b"y"],
            3: (np.float32(1), 1j),
        },
        [{"x": RECORDS}, {"x": RECORDS[:0]}],
        np.ma.masked_array(np.arange(6.0).reshape(2, 3), mask=np.eye(2, 3), fill_value=9.0),
        np.array([["a", ""], ["\U0001f600", "b"]]),
        np.array(["2024-01-01", "NaT"], dtype="M8[25s]"),
        (np.array(5), np.zeros((0, 3)), np.asfortranarray(np.ones((2, 3)))),
    )


class TestPackaging(PluginKit):
    distribution = "cachewright-arrays"

"""The msgspec serializers keep the promises of every serializer, their distribution those of every plugin."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import ClassVar

from cachewright_msgspec.plugin import cachewright_serializers

from cachewright.testing import PluginKit, SerializerKit

MSGPACK, JSON = cachewright_serializers()

NAIVE = dt.datetime(2024, 2, 29, 12, 30, 1, 5)
ROWS = [
    {"id": number, "at": NAIVE, "pair": (number, "x"), "seen": {number}, "by": uuid.UUID(int=number)}
    for number in range(40)
]


class TestMsgpack(SerializerKit):
    info = MSGPACK
    warm_imports: ClassVar = ("msgspec._utils", "msgspec.inspect")
    accepts = (
        None,
        {"a": [1, 2.5, None, True, b"bytes"], "b": {"c": "d"}},
        {1: "int", None: "none", b"1": "bytes", 2.5: 1},
        ROWS,
        [(1, NAIVE.replace(tzinfo=dt.UTC)), (2, NAIVE)],
        {"d": Decimal("1.10"), "t": dt.timedelta(microseconds=-1), "f": frozenset({(1, 2)})},
        [{"deep": [[[{"x": [1]}]]]}] * 1,
        ["x" * 70_000],
    )


class TestJson(SerializerKit):
    info = JSON
    warm_imports: ClassVar = TestMsgpack.warm_imports
    accepts = (
        None,
        {"a": [1, 2.5, None, True, -0.0], "b": {"c": "d"}, "n": 10**30},
        {1: b"bytes", 2: b"as base64"},
        ROWS,
        {"d": Decimal("1.10"), "t": dt.timedelta(microseconds=-1), "f": frozenset({(1, 2)})},
        ["x" * 70_000],
    )


class TestPackaging(PluginKit):
    distribution = "cachewright-msgspec"

"""The joblib engine, serializer and key maker keep the promises of all of theirs."""

from __future__ import annotations

import math
import uuid
from collections import OrderedDict
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from cachewright_joblib.plugin import cachewright_engines, cachewright_keymakers, cachewright_serializers

from cachewright._slots import Slots, SlottedEngine
from cachewright.engine import Engine, EngineConfig
from cachewright.testing import EngineKit, KeyMakerKit, PluginKit, SerializerKit
from cachewright.testing.arguments import UNKEYABLE, Place
from cachewright.testing.engine_sharing import SharingContract
from cachewright.testing.specimens import Plain, Record

(ENGINE,) = cachewright_engines()
(SERIALIZER,) = cachewright_serializers()
(KEYMAKER,) = cachewright_keymakers()

NUMBERS = np.arange(6.0)


class TestEngine(EngineKit):
    info = ENGINE


class TestShared(SharingContract):
    """With the lock slots that the core puts around it, it keeps what is promised for many processes."""

    info = replace(ENGINE, capabilities=replace(ENGINE.capabilities, compare_and_set=True))

    def open(self, config: EngineConfig) -> Engine:
        assert config.path is not None
        slots = Slots(config.path.with_name("slots"), 10.0, ENGINE.name)
        return SlottedEngine(super().open(config), slots)


class TestSerializer(SerializerKit):
    info = SERIALIZER
    accepts = (
        None,
        {"a": [1, (2.5, b"3")]},
        Record(Plain([1])),
        Plain(np.arange(10_000.0)),
        [np.arange(10_000), np.asfortranarray(np.ones((100, 200))), "between", np.arange(3)],
        np.arange(20_000, dtype=">i4")[::2],
        pd.DataFrame({"a": np.arange(5_000.0), "b": ["x"] * 5_000}),
    )
    expected_failures: ClassVar = {
        "test_a_specimen_comes_back_exactly_or_is_refused[liar]": "pickle rebuilds what the class asks for"
    }


class TestKeyMaker(KeyMakerKit):
    """Types matter to joblib, so what is equal across types is apart here; it hashes whatever it pickles."""

    info = KEYMAKER
    # joblib knows an object by its class and state, and pickles what contains itself
    unkeyable: ClassVar = {
        name: UNKEYABLE[name] for name in ("object", "lock", "generator", "iterator", "stream", "too deep")
    } | {"lambda": lambda: lambda: None, "nested": lambda: [{"a": (object(),)}]}

    def equal_groups(self) -> list[tuple[Any, ...]]:
        return [
            (math.nan, float("nan")),
            ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
            ({"x", "y", "z"}, {"z", "y", "x"}),
            (frozenset("xyz"), frozenset("zyx")),
            ({1, "a", None, (2,)}, {(2,), None, "a", 1}),
            ({1: 1, "a": 2, None: 3}, {None: 3, "a": 2, 1: 1}),
            (Place(1, "a"), Place(1, "a")),
            (uuid.UUID(int=7), uuid.UUID("00000000-0000-0000-0000-000000000007")),
            (PurePosixPath("a/b"), PurePosixPath("a//b")),
            ("caf\u00e9", "e\u0301caf\u00e9"[2:]),
            (NUMBERS[::2], NUMBERS[::2].copy()),
            ([NUMBERS, NUMBERS], [NUMBERS, NUMBERS.copy()]),
            ([NUMBERS.dtype, np.dtype("f8")], [np.dtype("f8"), np.dtype("float64")]),
            (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})),
        ]

    def different(self) -> list[Any]:
        masked = [np.ma.masked_array([1, 2], mask=[True, flag]) for flag in (False, True)]
        # most of these are pairs that have one joblib.hash
        collide = [
            {-1: 0, "a": 0}, {-2: 0, "a": 0}, {-1, "a"}, {-2, "a"},
            [np.dtype("i4"), 1], [1, np.dtype("i4")],
            OrderedDict(a=1, b=2), OrderedDict(b=2, a=1),
            *masked,
        ]  # fmt: skip
        strict = [True, False, 1.0, 0.0, -0.0, float(2**70), 2**70, np.float64(1), np.int64(1), frozenset()]
        layouts = [np.asfortranarray(NUMBERS.reshape(2, 3)), NUMBERS.reshape(2, 3).view(np.matrix)]
        return [*super().different(), *collide, *strict, *layouts]


class TestPackaging(PluginKit):
    distribution = "cachewright-joblib"

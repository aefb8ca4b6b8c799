"""The dill serializer keeps the promises of every serializer, and its distribution those of every plugin."""

from __future__ import annotations

from typing import ClassVar

from cachewright_dill.plugin import cachewright_serializers

from cachewright.testing import PluginKit, SerializerKit
from cachewright.testing.specimens import Plain, Record

SPECIMEN = "test_a_specimen_comes_back_exactly_or_is_refused"

INFO, SNAPSHOT = cachewright_serializers()


class TestDill(SerializerKit):
    info = INFO
    accepts = (None, {"a": [1, (2.5, b"3")]}, Record(Plain([1])), bytearray(b"large" * 10_000))
    expected_failures: ClassVar = {
        f"{SPECIMEN}[lambda]": "a function stored by value comes back as another function of the same code",
        f"{SPECIMEN}[local class]": "a class stored by value comes back as another class of the same body",
        f"{SPECIMEN}[liar]": "an object is rebuilt the way its class asks for",
    }


class TestPackaging(PluginKit):
    distribution = "cachewright-dill"

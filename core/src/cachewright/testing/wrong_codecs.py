"""Deliberately wrong serializers and key makers; the kit has to fail each by the test named here."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence

from cachewright.errors import UnkeyableArgumentError, UnserializableError
from cachewright.keymaker import Call, KeyMaker, KeyMakerInfo
from cachewright.serializer import Frames, Serializer, SerializerInfo


class TrustsPickle(Serializer):
    """Calls itself data-only and executes what it is given."""

    def dumps(self, value: object, /) -> Frames:
        try:
            return [pickle.dumps(value)]
        except Exception as error:
            raise UnserializableError(type(value).__name__, str(error)) from error

    def loads(self, frames: Sequence[memoryview], /) -> object:
        return pickle.loads(frames[0])  # the mistake


class AltersValues(Serializer):
    """Gives back JSON's idea of a value: lists for tuples, text for every key."""

    def dumps(self, value: object, /) -> Frames:
        try:
            return [json.dumps(value).encode()]
        except (TypeError, ValueError, RecursionError) as error:
            raise UnserializableError(type(value).__name__, str(error)) from error

    def loads(self, frames: Sequence[memoryview], /) -> object:
        return json.loads(bytes(frames[0]))


class RefusesInItsOwnWay(AltersValues):
    """Raises what its library raises where it should raise UnserializableError."""

    def dumps(self, value: object, /) -> Frames:
        return [json.dumps(value).encode()]


class ReturnsText(AltersValues):
    """Returns str where a frame should be a buffer."""

    def dumps(self, value: object, /) -> Frames:
        return [json.dumps(value)]  # type: ignore[list-item]  # the mistake

    def loads(self, frames: Sequence[memoryview], /) -> object:
        return json.loads(bytes(frames[0]))


class KeepsState(AltersValues):
    """Remembers the last value instead of decoding it."""

    last: object = None

    def dumps(self, value: object, /) -> Frames:
        self.last = value
        return super().dumps(value)

    def loads(self, frames: Sequence[memoryview], /) -> object:
        return self.last


class KeysByRepr(KeyMaker):
    """Takes what a value looks like for what it is."""

    def call_key(self, call: Call, /) -> str:
        return self.value_key(call.values)

    def value_key(self, value: object, /) -> str:
        return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


class KeysByHash(KeysByRepr):
    """Uses the hash of this process."""

    def value_key(self, value: object, /) -> str:
        return super().value_key(hash(repr(value)))


class ForgetsNames(KeysByRepr):
    """Refuses an argument without saying which."""

    def call_key(self, call: Call, /) -> str:
        raise UnkeyableArgumentError(call.function, "", "object")


class ShortKeys(KeysByRepr):
    """Makes keys of 32 bits."""

    def value_key(self, value: object, /) -> str:
        return super().value_key(value)[:8]


class JoinsArguments(KeysByRepr):
    """Joins the arguments of a call with a comma."""

    def call_key(self, call: Call, /) -> str:
        return self.value_key(",".join(map(str, call.values)))


WRONG_SERIALIZERS: dict[type[Serializer], str] = {
    TrustsPickle: "test_nothing_is_executed",
    AltersValues: "test_a_specimen_comes_back_exactly_or_is_refused",
    RefusesInItsOwnWay: "test_a_specimen_comes_back_exactly_or_is_refused",
    ReturnsText: "test_frames_are_buffers",
    KeepsState: "test_another_instance_reads_it",
}
"""Which test has to notice which wrong serializer."""

WRONG_KEY_MAKERS: dict[type[KeyMaker], str] = {
    KeysByRepr: "test_equal_arguments_share_a_key",
    KeysByHash: "test_keys_are_the_same_in_every_process",
    ForgetsNames: "test_an_unkeyable_argument_is_refused_by_name",
    ShortKeys: "test_keys_are_long_hexadecimal",
    JoinsArguments: "test_parameters_do_not_run_together",
}
"""Which test has to notice which wrong key maker."""


def wrong_serializer_infos() -> tuple[SerializerInfo, ...]:
    """Return a data-only record for each wrong serializer."""
    return tuple(
        SerializerInfo(name=wrong.__name__.lower(), code=0x7F, target=f"{__name__}:{wrong.__name__}")
        for wrong in WRONG_SERIALIZERS
    )


def wrong_key_maker_infos() -> tuple[KeyMakerInfo, ...]:
    """Return a record for each wrong key maker."""
    return tuple(
        KeyMakerInfo(name=wrong.__name__.lower(), target=f"{__name__}:{wrong.__name__}")
        for wrong in WRONG_KEY_MAKERS
    )

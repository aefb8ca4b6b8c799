"""The records that announce the msgspec serializers, without importing msgspec."""

from __future__ import annotations

from cachewright.hookspecs import hookimpl
from cachewright.serializer import SerializerInfo


@hookimpl
def cachewright_serializers() -> list[SerializerInfo]:
    """MessagePack is asked before the serializers of any object, JSON after them: it is chosen by name."""
    return [
        SerializerInfo(
            name="msgspec",
            code=0x12,
            target="cachewright_msgspec.serializer:MsgpackSerializer",
            rank=40,
            requires=("msgspec",),
            install="cachewright-msgspec",
            summary="JSON-like values, tuples, times and registered classes as MessagePack, fast",
        ),
        SerializerInfo(
            name="msgspec-json",
            code=0x13,
            target="cachewright_msgspec.serializer:JsonSerializer",
            rank=95,
            requires=("msgspec",),
            install="cachewright-msgspec",
            summary="the same as JSON, for readers other than Python",
        ),
    ]

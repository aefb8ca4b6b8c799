"""The msgspec serializers store a value as MessagePack or JSON, and beside it what these do not tell."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from cachewright.errors import UnserializableError
from cachewright.serializer import Serializer
from cachewright_msgspec.decoder import decoder_for
from cachewright_msgspec.schema import ANY, Surveyor, type_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.serializer import Frames

_HEADER: Final = struct.Struct(">BI")
_VERSION: Final = 1
_OWN_FRAME: Final = 64 * 1024
"""A payload of this size travels in a frame of its own, uncopied."""


class _MsgspecSerializer(Serializer):
    """What both formats share."""

    _json: ClassVar[bool]
    _encoder: ClassVar[Any]

    def dumps(self, value: object, /) -> Frames:
        """Return the schema and the payload, in one frame if it is small."""
        try:
            surveyed = Surveyor(json=self._json).schema_of(value)
            schema = b"" if surveyed == ANY else json.dumps(surveyed, separators=(",", ":")).encode()
            decoder_for(schema, json=self._json)
            payload: bytes = self._encoder.encode(value)
        except UnserializableError:
            raise
        except RecursionError:
            reason = "it is nested too deeply, or contains itself"
            raise UnserializableError(type_name(type(value)), reason) from None
        # a union that cannot be told apart, a lone surrogate, a number of more than 64 bits
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise UnserializableError(type_name(type(value)), str(error)[:200]) from None
        header = _HEADER.pack(_VERSION, len(schema)) + schema
        return [header, payload] if len(payload) >= _OWN_FRAME else [header + payload]

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value; any exception on anything but what :meth:`dumps` makes."""
        first, *further = frames
        version, size = _HEADER.unpack_from(first)
        start = _HEADER.size + size
        if version != _VERSION or start > len(first) or len(further) > 1 or (further and start != len(first)):
            raise ValueError("not of this format")
        decoder = decoder_for(bytes(first[_HEADER.size : start]), json=self._json)
        return decoder.decode(further[0] if further else first[start:])


class MsgpackSerializer(_MsgspecSerializer):
    """``None``, bools, ints of 64 bits, floats, texts, bytes, lists and dicts of any keys, as MessagePack.

    Tuples, sets, bytearrays, dates, times (naive or UTC), ``Decimal``, ``UUID`` and registered classes are
    accepted where what is in the same place is of the same type. Exact types only. What cannot come back
    exactly is refused: ints of more bits, subclasses, a list or dict that is in the value twice.
    """

    _json = False
    _encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


class JsonSerializer(_MsgspecSerializer):
    """The same as JSON, without NaN, infinity, and keys other than ``str`` or ``int``; ints of any size."""

    _json = True
    _encoder = msgspec.json.Encoder()

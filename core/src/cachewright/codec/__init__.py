"""A codec makes serialized bytes fewer and gives them back exactly, never more than was asked for."""

from __future__ import annotations

from cachewright.codec.contract import Codec, CodecInfo

__all__ = ["Codec", "CodecInfo"]

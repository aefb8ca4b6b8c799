"""The records that announce the codecs, without importing their libraries."""

from __future__ import annotations

from cachewright.codec import CodecInfo
from cachewright.hookspecs import hookimpl


@hookimpl
def cachewright_codecs() -> list[CodecInfo]:
    """The codecs zstd, lz4, zstd-shuffle and, where its library is installed, blosc2."""
    return [
        CodecInfo(
            name="zstd",
            code=0x02,
            target="cachewright_compress.zstd_codec:ZstdCodec",
            requires=("zstandard",),
            install="cachewright-compress",
            summary="Zstandard: small, and fast to read",
        ),
        CodecInfo(
            name="lz4",
            code=0x03,
            target="cachewright_compress.lz4_codec:Lz4Codec",
            requires=("lz4",),
            install="cachewright-compress",
            summary="LZ4: fastest, and larger",
        ),
        CodecInfo(
            name="zstd-shuffle",
            code=0x05,
            target="cachewright_compress.shuffle_codec:ShuffleCodec",
            requires=("zstandard",),
            install="cachewright-compress",
            summary="Zstandard over the shuffled bytes of numbers: for arrays and frames of floats",
        ),
        CodecInfo(
            name="blosc2",
            code=0x04,
            target="cachewright_compress.blosc2_codec:Blosc2Codec",
            automatic=False,
            hardened=False,
            requires=("blosc2",),
            install="cachewright-compress[blosc2]",
            summary="Blosc2: for arrays; by name, and only where stored entries are authenticated",
        ),
    ]

"""The built-in engines, serializers, key maker and codec, announced like those of any other plugin."""

from __future__ import annotations

from cachewright.codec import CodecInfo
from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl
from cachewright.keymaker import KeyMakerInfo
from cachewright.serializer import SerializerInfo


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """Memory, sqlite and null engines."""
    return [
        EngineInfo(
            name="memory",
            target="cachewright.builtin.memory:MemoryEngine",
            capabilities=Capabilities(
                holds="objects",
                ttl_per_entry=True,
                max_entries=True,
                max_bytes=True,
                policies=("s3-fifo", "lru", "lfu", "fifo", "rr", "sieve"),
                compare_and_set=True,
            ),
            costs=Costs(get=((64, 5e-8),), set=((64, 1.2e-6),), miss=1.5e-7),
            summary="entries in this process, S3-FIFO by default",
        ),
        EngineInfo(
            name="null",
            target="cachewright.builtin.null:NullEngine",
            async_target="cachewright.builtin.null:AsyncNullEngine",
            capabilities=Capabilities(holds="objects", async_=True, max_entries=True, max_bytes=True),
            costs=Costs(get=((64, 5e-8),), set=((64, 5e-8),)),
            summary="stores nothing; every call computes",
            automatic=False,
        ),
        EngineInfo(
            name="sqlite",
            target="cachewright.builtin.sqlite.engine:SqliteEngine",
            capabilities=Capabilities(
                holds="bytes",
                scope="host",
                persistent=True,
                blocking=True,
                ttl_per_entry=True,
                ttl_resolution=1e-6,
                max_entries=True,
                max_bytes=True,
                policies=("lru", "fifo"),
                compare_and_set=True,
                many=True,
                maps=True,
            ),
            costs=Costs(
                get=((64, 6e-6), (16_384, 1.2e-5), (1_000_000, 4e-5), (10_000_000, 5e-5)),
                set=((64, 5e-5), (16_384, 9e-5), (1_000_000, 1.1e-3), (10_000_000, 9e-3)),
                miss=5e-6,
                open=5e-3,
            ),
            summary="a file shared by the processes of this host; survives them",
        ),
    ]


@hookimpl
def cachewright_serializers() -> list[SerializerInfo]:
    """Data-only serializers, and pickle."""
    return [
        SerializerInfo(
            name="raw",
            code=0x01,
            target="cachewright.builtin.serializers:RawSerializer",
            types=("builtins.bytes",),
            rank=10,
            summary="bytes as they are",
        ),
        SerializerInfo(
            name="text",
            code=0x02,
            target="cachewright.builtin.serializers:TextSerializer",
            types=("builtins.str",),
            rank=10,
            summary="text as UTF-8",
        ),
        SerializerInfo(
            name="array",
            code=0x03,
            target="cachewright.builtin.serializers:ArraySerializer",
            types=("numpy.ndarray",),
            rank=20,
            summary="numeric arrays, buffers uncopied",
        ),
        SerializerInfo(
            name="data",
            code=0x04,
            target="cachewright.builtin.serializers:DataSerializer",
            rank=50,
            summary="plain data by an allow-listed pickle; cannot execute code",
        ),
        SerializerInfo(
            name="pickle",
            code=0x80,
            target="cachewright.builtin.serializers:PickleSerializer",
            rank=60,
            summary="pickle 5 with out-of-band buffers; only where stored entries are authenticated",
        ),
    ]


@hookimpl
def cachewright_keymakers() -> list[KeyMakerInfo]:
    """The canonical key maker."""
    return [
        KeyMakerInfo(
            name="canonical",
            target="cachewright.builtin.canonical:CanonicalKeyMaker",
            summary="canonical, type-tagged encoding; equal arguments share a key in every process",
        )
    ]


@hookimpl
def cachewright_codecs() -> list[CodecInfo]:
    """The codec of the standard library."""
    return [
        CodecInfo(
            name="zlib",
            code=1,
            target="cachewright.builtin.zlib_codec:ZlibCodec",
            summary="deflate at its fastest level; everywhere, and slower than those of cachewright-compress",
        )
    ]

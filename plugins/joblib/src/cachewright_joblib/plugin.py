"""The records that announce joblib's engine, serializer and key maker, without importing joblib."""

from __future__ import annotations

from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl
from cachewright.keymaker import KeyMakerInfo
from cachewright.serializer import SerializerInfo


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The joblib engine."""
    return [
        EngineInfo(
            name="joblib",
            target="cachewright_joblib.engine:JoblibEngine",
            capabilities=Capabilities(
                holds="bytes",
                scope="host",
                persistent=True,
                blocking=True,
                max_entries=True,
                max_bytes=True,
                maps=True,
            ),
            costs=Costs(
                get=((64, 4e-6), (16_384, 5e-6), (1_000_000, 9e-6), (10_000_000, 9e-6)),
                set=((64, 1.3e-4), (16_384, 1.5e-4), (1_000_000, 1.3e-3), (10_000_000, 1.4e-2)),
                miss=2.5e-6,
                open=2e-4,
            ),
            automatic=False,  # sqlite does the same, keeps ttl and finds what to evict without listing all
            requires=("joblib",),
            install="cachewright-joblib",
            summary="a file per entry in joblib's layout, large ones mapped; shared by this host's processes",
        )
    ]


@hookimpl
def cachewright_serializers() -> list[SerializerInfo]:
    """The joblib serializer, asked after every other one."""
    return [
        SerializerInfo(
            name="joblib",
            code=0x82,
            target="cachewright_joblib.serializer:JoblibSerializer",
            rank=95,
            requires=("joblib",),
            install="cachewright-joblib",
            summary="what joblib.dump writes, arrays uncopied; only where stored entries are authenticated",
        )
    ]


@hookimpl
def cachewright_keymakers() -> list[KeyMakerInfo]:
    """The joblib key maker."""
    return [
        KeyMakerInfo(
            name="joblib",
            target="cachewright_joblib.keymaker:JoblibKeyMaker",
            requires=("joblib",),
            install="cachewright-joblib",
            summary="keys as joblib.hash makes them: types matter, objects count by what they pickle to",
        )
    ]

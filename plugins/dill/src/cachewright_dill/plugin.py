"""The records that announce the dill serializers, without importing dill."""

from __future__ import annotations

from cachewright.hookspecs import hookimpl
from cachewright.serializer import SerializerInfo


@hookimpl
def cachewright_serializers() -> list[SerializerInfo]:
    """The dill serializer, asked after every other one, and that of snapshots."""
    return [
        SerializerInfo(
            name="dill",
            code=0x81,
            target="cachewright_dill.serializer:DillSerializer",
            rank=90,
            requires=("dill",),
            install="cachewright-dill",
            summary="lambdas, closures and local classes; only where stored entries are authenticated",
        ),
        SerializerInfo(
            name="dill-snapshot",
            code=0x83,
            target="cachewright_dill.variables:VariablesSerializer",
            types=("cachewright_dill.variables.Variables",),
            rank=10,
            requires=("dill",),
            install="cachewright-dill",
            summary="snapshots of variables; only where stored entries are authenticated",
        ),
    ]

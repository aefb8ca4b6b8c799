"""The records that announce the array serializers, without importing NumPy or torch."""

from __future__ import annotations

from cachewright.hookspecs import hookimpl
from cachewright.serializer import SerializerInfo

_CONTAINERS = ("builtins.dict", "builtins.list", "builtins.tuple")


@hookimpl
def cachewright_serializers() -> list[SerializerInfo]:
    """Both are asked before the serializers of any object, and refuse containers without arrays at once."""
    return [
        SerializerInfo(
            name="arrays",
            code=0x10,
            target="cachewright_arrays.serializer:ArraysSerializer",
            types=(
                "numpy.ndarray",  # those that the built-in serializer of arrays refuses
                "numpy.ma.MaskedArray",
                "numpy.ma.core.MaskedArray",
                "numpy.ma.core.MaskedConstant",
                *_CONTAINERS,
            ),
            rank=30,
            requires=("numpy",),
            install="cachewright-arrays",
            summary="masked arrays, StringDType, and containers of arrays, buffers uncopied",
        ),
        SerializerInfo(
            name="torch",
            code=0x14,
            target="cachewright_arrays.tensor:TorchSerializer",
            types=("torch.Tensor", *_CONTAINERS),
            rank=31,
            requires=("numpy", "torch"),
            install="cachewright-arrays[torch]",
            summary="dense tensors on the CPU, alone and in containers, beside arrays",
        ),
    ]

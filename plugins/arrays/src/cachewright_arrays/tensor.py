"""The tensor serializer gives back dense tensors of the CPU exactly, each in memory of its own."""

from __future__ import annotations

import math
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cachewright.errors import UnserializableError
from cachewright.serializer import Serializer
from cachewright_arrays.dtype import lengths
from cachewright_arrays.serializer import holds, no_leaf, written
from cachewright_arrays.tree import Node, TreeReader, TreeWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.serializer import Frames
    from cachewright_arrays.memory import MemoryReader, MemoryWriter

_DTYPES: Final = frozenset(
    {
        "bool",
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "bfloat16", "complex32", "complex64", "complex128"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    }
)


class TorchSerializer(Serializer):
    """Tensors on the CPU, alone or in dicts, lists and tuples, beside arrays, scalars and plain values.

    Tensors come back writable, in memory of their own, because torch has no read-only ones. The order of
    axes in memory (``channels_last``) is kept, gaps are not, nor that two tensors shared memory. Refused are
    tensors that require a gradient, sparse and quantized ones, those of other devices, and subclasses.
    """

    def dumps(self, value: object, /) -> Frames:
        """Return the description, small memory together, and each large memory uncopied."""
        torch = sys.modules.get("torch")
        if torch is None or not holds(value, (torch.Tensor,)):
            raise no_leaf(value, "tensor")
        return written(TreeWriter({torch.Tensor: _encoded}), value)

    def loads(self, frames: Sequence[memoryview], /) -> object:
        """Return the value; imports torch."""
        return TreeReader(frames, {Node.TENSOR: _decoded}).value()


def _encoded(tensor: Any, memory: MemoryWriter) -> list[Any]:
    torch: Any = sys.modules["torch"]  # the caller has a tensor

    reason = _reason_against(tensor, torch)
    if reason:
        raise UnserializableError("torch.Tensor", reason[0], hint=reason[1])
    dtype = str(tensor.dtype).removeprefix("torch.")
    dense = tensor.resolve_conj().resolve_neg()
    axes: list[int] = sorted(range(dense.dim()), key=lambda axis: -dense.stride(axis))
    turned = dense.permute(axes)
    if not turned.is_contiguous():
        axes, turned = list(range(dense.dim())), dense.contiguous()
    line = turned.reshape(-1)
    if line.numel() == 1:  # counts as contiguous whatever its stride, but cannot be viewed as bytes
        line = line.clone(memory_format=torch.contiguous_format)
    piece = line.view(torch.uint8).numpy().data.toreadonly() if line.numel() else b""
    return [Node.TENSOR, dtype, list(tensor.shape), axes, memory.add(piece)]


def _reason_against(tensor: Any, torch: Any) -> tuple[str, str] | None:
    """Return why a tensor cannot be stored and what would help, or ``None``."""
    if tensor.layout is not torch.strided or tensor.is_nested:
        return f"its layout is {tensor.layout}", "convert it with .to_dense()"
    if tensor.device.type != "cpu":
        return f"it is on device {tensor.device}", "move it with .cpu()"
    if tensor.requires_grad:
        return "it requires a gradient, and belongs to a graph of this process", "call .detach()"
    if tensor.is_quantized or str(tensor.dtype).removeprefix("torch.") not in _DTYPES:
        return f"its dtype is {tensor.dtype}", "convert it to a plain dtype"
    if (
        vars(tensor)
        or any(name is not None for name in getattr(tensor, "names", ()))
        or tensor.is_inference()
    ):
        return "it carries names or attributes, or is of inference mode", "clone it without them"
    return None


def _decoded(rest: list[Any], memory: MemoryReader) -> Any:
    import numpy as np  # noqa: PLC0415 - for this kind of value only

    torch: Any = import_module("torch")

    name, shape, axes, place = rest
    sizes = lengths(shape)
    if name not in _DTYPES or sorted(axes) != list(range(len(sizes))):
        raise ValueError("not the description of a tensor")
    dtype = getattr(torch, name)
    piece = memory.at(place)
    stored: list[int] = [sizes[axis] for axis in axes]
    if math.prod(sizes) * dtype.itemsize != piece.nbytes:
        raise ValueError("the memory does not fit the shape")
    # a copy, because torch would write to read-only memory, which ends the process
    memory_of_its_own: Any = torch.empty(piece.nbytes, dtype=torch.uint8)
    if piece.nbytes:
        memory_of_its_own.numpy()[:] = np.frombuffer(piece, np.uint8)
    whole = memory_of_its_own.view(dtype).reshape(stored)
    inverse = sorted(range(len(axes)), key=axes.__getitem__)
    return whole.permute(inverse)

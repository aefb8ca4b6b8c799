"""The tensor serializer: dense tensors of the CPU exactly, in memory of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="torch is not installed")

from cachewright_arrays.plugin import cachewright_serializers  # noqa: E402
from cachewright_arrays.serializer import ArraysSerializer  # noqa: E402 - after it is known that torch is there
from cachewright_arrays.tensor import _DTYPES, TorchSerializer  # noqa: E402

from cachewright.errors import UnserializableError  # noqa: E402
from cachewright.testing import SerializerKit  # noqa: E402

(_, INFO) = cachewright_serializers()
GOLDEN = Path(__file__).parent / "golden" / "payloads.json"


def back(value: object) -> Any:
    return TorchSerializer().loads(
        [memoryview(bytes(frame)).toreadonly() for frame in TorchSerializer().dumps(value)]
    )


def sample(dtype: Any) -> Any:
    size = torch.empty(0, dtype=dtype).element_size()
    return torch.arange(24 * size, dtype=torch.uint8).fmod(2).view(dtype).reshape(2, 3, 4)


def same_tensor(one: Any, other: Any) -> bool:
    return bool(
        type(one) is type(other) is torch.Tensor
        and one.dtype == other.dtype
        and one.shape == other.shape
        and one.contiguous()
        .reshape(-1)
        .view(torch.uint8)
        .equal(other.contiguous().reshape(-1).view(torch.uint8))
    )


class TestTorch(SerializerKit):
    info = INFO
    warm_imports: ClassVar = ("torch",)
    accepts = ({"t": torch.arange(5), "a": np.arange(3), "n": (1, None)},)
    expected_failures: ClassVar = dict.fromkeys(
        (
            "test_accepted_values_come_back_exactly",
            "test_another_instance_reads_it",
            "test_dumping_changes_nothing",
            "test_threads_do_not_mix_values",
            "test_views_may_be_anywhere_in_a_larger_buffer",
        ),
        "the kit compares arrays, and not tensors, whose == gives a tensor; they are compared below",
    )


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("name", sorted(_DTYPES))
def test_every_dtype(name: str) -> None:
    """Each dtype that this torch has comes back bit by bit, bfloat16 and the floats of 8 bits among them."""
    dtype = getattr(torch, name, None)
    if dtype is None:
        pytest.skip(f"this torch has no {name}")
    tensor = sample(dtype)
    for one in (
        tensor,
        tensor.permute(2, 0, 1),
        tensor[:, ::2],
        tensor[:0],
        tensor[0, 0, 0],
        tensor.expand(2, 3, 4),
    ):
        assert same_tensor(back({"t": one})["t"], one)


def test_the_order_of_axes_is_kept() -> None:
    """Tensors in channels_last format stay so, gaps do not."""
    tensor = torch.arange(120.0).reshape(1, 4, 5, 6).to(memory_format=torch.channels_last)
    result = back(tensor)
    assert result.stride() == tensor.stride()
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert back(tensor[:, :, ::2]).is_contiguous()


def test_tensors_come_back_writable() -> None:
    """In memory of their own: torch would write to read-only memory, which ends the process."""
    frames = [memoryview(bytes(frame)).toreadonly() for frame in TorchSerializer().dumps(torch.zeros(10_000))]
    first, second = (TorchSerializer().loads(frames) for _ in range(2))
    first.fill_(5)
    assert second.sum() == 0
    assert not any(frames[-1])


def test_containers_of_tensors_and_arrays() -> None:
    """Tensors, arrays and plain values lie beside each other; one tensor in two places is one."""
    tensor = torch.arange(5)
    result = back({"w": tensor, "l": [tensor, np.arange(3), (None, 1.5, "x")], "empty": torch.empty(0, 3)})
    assert same_tensor(result["w"], tensor)
    assert result["w"] is result["l"][0]
    assert (result["l"][1] == [0, 1, 2]).all()
    assert result["l"][2] == (None, 1.5, "x")
    assert result["empty"].shape == (0, 3)


def refused() -> dict[str, Any]:
    return {
        "gradient": torch.zeros(2, requires_grad=True),
        "result of one": torch.zeros(2, requires_grad=True) * 2,
        "parameter": torch.nn.Parameter(torch.zeros(2)),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.zeros(2, device="meta"),
        "quantized": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gradient", "result of one", "parameter", "sparse", "meta", "quantized"])
def test_what_would_not_come_back_is_refused(name: str) -> None:
    """The refusal says what is wrong, alone and in a container."""
    tensor = refused()[name]
    for value in (tensor, [torch.zeros(1), tensor]):
        with pytest.raises(UnserializableError) as caught:
            TorchSerializer().dumps(value)
        assert len(caught.value.reason) > 10


def test_attributes_and_inference_are_refused() -> None:
    """What is kept beside the memory is not dropped."""
    tensor = torch.zeros(2)
    tensor.unit = "m"
    with torch.inference_mode():
        inferred = torch.zeros(2)
    for value in (tensor, inferred):
        with pytest.raises(UnserializableError, match="attributes"):
            TorchSerializer().dumps(value)


def test_views_that_are_lazy_are_resolved() -> None:
    """A conjugate and a negative view come back with their values."""
    tensor = torch.tensor([1 + 2j])
    assert back(tensor.conj()).item() == 1 - 2j
    assert back(tensor.conj().imag).item() == -2


def test_without_tensors_it_refuses() -> None:
    """A container of arrays alone is left to the serializer of arrays, which refuses tensors."""
    for value in ({"a": np.arange(2)}, {}, np.arange(2)):
        with pytest.raises(UnserializableError, match="no tensor"):
            TorchSerializer().dumps(value)
    with pytest.raises(UnserializableError):
        ArraysSerializer().dumps([np.arange(2), torch.zeros(2)])


def test_golden_payload_is_read_for_ever() -> None:
    """What this format stored on the day it was fixed still comes back."""
    frames = json.loads(GOLDEN.read_text())["torch"]
    result: Any = TorchSerializer().loads([memoryview(bytes.fromhex(frame)) for frame in frames])
    assert same_tensor(result["t"], torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16))
    assert result["n"] == [1, None]


@pytest.mark.parametrize(
    "node",
    [
        '[11,"int8",[2],[0],[0,1]]',
        '[11,"os",[1],[0],[0,1]]',
        '[11,"int8",[1],[1],[0,1]]',
        '[11,"qint8",[1],[0],[0,1]]',
    ],
)
def test_hostile_descriptions_are_errors(node: str) -> None:
    """Only dtypes of the list are looked up in torch."""
    with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a miss
        TorchSerializer().loads([memoryview(f"[1,{node}]".encode()), memoryview(b"\0" * 64)])

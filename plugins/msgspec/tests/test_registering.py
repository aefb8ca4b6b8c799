"""Registering a class says at once whether its instances can come back."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
import pytest
from cachewright_msgspec import register
from cachewright_msgspec.serializer import MsgpackSerializer

from cachewright.errors import ConfigurationError, UnserializableError
from cachewright.testing.sameness import same

T = TypeVar("T")


def back(kind: type[Any], value: object) -> Any:
    return kind().loads([memoryview(bytes(frame)) for frame in kind().dumps(value)])


class WithHook(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        self.x += 1


class Omitting(msgspec.Struct, omit_defaults=True):
    x: int = 1


class Constrained(msgspec.Struct):
    x: Annotated[int, msgspec.Meta(ge=0)]


class Opaque(msgspec.Struct):
    x: complex


class Raw(msgspec.Struct):
    x: msgspec.Raw


@dataclass
class ByClassVariable:
    x: int
    y: ClassVar[int] = 1


class OwnNew:
    def __new__(cls, *_: object) -> Any:
        return super().__new__(cls)


@dataclass
class Special(OwnNew):
    x: int


@dataclass
class Computed:
    x: int
    y: int = field(default=0, init=False)


class Slot:
    __slots__ = ("more",)


@dataclass
class MoreSlots(Slot):
    __slots__ = ("x",)
    x: int


class Flags(enum.Flag):
    A = 1


class Mixed(enum.Enum):
    A = 1
    B = "b"


class Open(msgspec.Struct, Generic[T]):
    x: T


class Unknown(msgspec.Struct):
    x: "NoSuchThing"  # noqa: F821, UP037 # pyright: ignore[reportUndefinedVariable]


@pytest.mark.parametrize(
    "cls",
    [
        WithHook,
        Omitting,
        Constrained,
        Opaque,
        Raw,
        Special,
        Computed,
        MoreSlots,
        Flags,
        Mixed,
        Unknown,
        int,
        list,
    ],
)
def test_classes_that_would_not_come_back_are_refused_at_once(cls: type[Any]) -> None:
    """Registering says what is wrong, before anything is stored."""
    with pytest.raises(ConfigurationError) as caught:
        register(cls)
    assert cls.__name__ in str(caught.value)


def test_generic_and_class_variables_are_allowed() -> None:
    """A class variable is no field; a type variable is read as anything plain."""
    for cls in (ByClassVariable, Open):
        register(cls)
        assert same(back(MsgpackSerializer, cls(5)), cls(5))
    with pytest.raises(UnserializableError):
        MsgpackSerializer().dumps(Open((1,)))


def test_extra_attributes_of_a_struct_are_refused() -> None:
    """A Struct with a __dict__ may hold more than its fields."""
    cls = register(msgspec.defstruct("Holder", [("x", int)], module="somewhere", dict=True))
    holder = cls(1)
    assert same(back(MsgpackSerializer, holder), holder)
    holder.more = 2
    with pytest.raises(UnserializableError, match="attributes"):
        MsgpackSerializer().dumps(holder)

"""Registered classes are stored by the types of their fields, exactly or not at all."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import (
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)

import msgspec
import pytest
from cachewright_msgspec import register
from cachewright_msgspec.serializer import JsonSerializer, MsgpackSerializer

from cachewright.errors import UnserializableError
from cachewright.testing.sameness import same

BOTH = pytest.mark.parametrize("kind", [MsgpackSerializer, JsonSerializer])
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Place(NamedTuple):
    x: float
    name: str | None = None


class Options(TypedDict):
    a: int
    b: NotRequired[tuple[int, ...]]


class Point(msgspec.Struct, frozen=True):
    x: int
    y: float = 0.0


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


class Tree(msgspec.Struct):
    value: Any
    left: Optional[Tree] = None  # noqa: UP045 - the old spelling is supported, too
    right: Tree | None = None


class Compact(msgspec.Struct, array_like=True, rename="camel"):
    first_name: str
    points: list[Point]


@dataclass
class Order:
    number: int
    at: dt.datetime
    lines: list[tuple[str, float]] = field(default_factory=list)
    colour: Colour = Colour.RED
    shape: tuple[int, ...] = (1, 2)
    extra: dict[str, Any] = field(default_factory=dict)
    pet: Cat | Dog | None = None
    mode: Literal["a", "b"] = "a"
    options: Options | None = None
    _hidden: int = 0


@dataclass(frozen=True, slots=True)
class Slotted:
    place: Place
    level: Level


NAIVE = dt.datetime(2024, 2, 29, 12, 30)
ORDERS = [
    Order(1, NAIVE),
    Order(2, NAIVE.replace(tzinfo=dt.UTC), [("a", 1.5)], extra={"k": [1, None]}, pet=Cat(9), _hidden=3),
    Order(3, NAIVE, pet=Dog("rex"), mode="b", options={"a": 1, "b": (1, 2)}),
]
TREE = Tree(1, Tree("x", Tree(None)), Tree([1.5]))


def back(kind: type[Any], value: object) -> Any:
    return kind().loads([memoryview(bytes(frame)) for frame in kind().dumps(value)])


@BOTH
def test_instances_come_back(kind: Any) -> None:
    """Structs, dataclasses, enums and named tuples, nested, in containers, with defaults and unions."""
    for cls in (Order, Slotted, Point, Tree, Compact, Colour, Level, Place):
        assert register(cls) is cls
    for value in (
        ORDERS, Slotted(Place(1.5), Level.LOW), {"p": Point(1)}, TREE, [Compact("n", [Point(1, 2.5)])],
        [Colour.RED, None], {"l": [Level.LOW]}, [Place(1.0, "a"), Place(2.0)], (Point(1), NAIVE),
    ):  # fmt: skip
        assert same(back(kind, value), value), value
    assert back(kind, ORDERS)[1].__dict__ == ORDERS[1].__dict__


@BOTH
def test_what_is_not_registered_is_refused(kind: Any) -> None:
    """The refusal says what would help."""
    for value in (Point(1), [ORDERS[0]]):
        with pytest.raises(UnserializableError, match="register"):
            kind().dumps(value)
    register(Point)
    other = msgspec.defstruct("Point", [("x", int)], module=Point.__module__)
    with pytest.raises(UnserializableError, match="register"):
        kind().dumps(other(1))


@BOTH
@pytest.mark.parametrize(
    "changes",
    [
        {"number": True}, {"number": 1.0}, {"number": "1"}, {"number": Level.LOW}, {"lines": [("a", 1)]},
        {"lines": [["a", 1.5]]}, {"lines": (("a", 1.5),)}, {"lines": [("a", 1.5, 2)]}, {"colour": "red"},
        {"shape": [1]}, {"shape": (1.5,)}, {"extra": {"k": (1,)}}, {"extra": {"k": NAIVE}}, {"extra": {1: 2}},
        {"mode": "c"}, {"mode": True}, {"options": {"a": 1, "c": 2}}, {"options": {}}, {"pet": Point(1)},
        {"at": NAIVE.replace(fold=1)}, {"at": "2024-01-01"}, {"undeclared": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_field_that_holds_something_else_is_refused(kind: Any, changes: dict[str, Any]) -> None:
    """Python does not check declared types, and reading by them would give another value."""
    register(Order)
    order = Order(1, NAIVE)
    order.__dict__.update(changes)
    with pytest.raises(UnserializableError) as caught:
        kind().dumps([Order(2, NAIVE), order])
    assert len(caught.value.reason) > 10


def test_a_field_that_is_not_set_is_refused() -> None:
    """An instance that lacks a field has no stored form."""
    register(Order)
    order = Order(1, NAIVE)
    del order.__dict__["at"]
    with pytest.raises(UnserializableError, match="lacks a field"):
        MsgpackSerializer().dumps(order)


def test_shared_instances_are_refused() -> None:
    """An instance in two places would come back as two; a default tuple of leaves may be shared."""
    register(Order)
    pet = Cat(9)
    with pytest.raises(UnserializableError, match="twice"):
        MsgpackSerializer().dumps([Order(1, NAIVE, pet=pet), Order(2, NAIVE, pet=pet)])
    assert len(back(MsgpackSerializer, [Order(1, NAIVE), Order(2, NAIVE)])) == 2


def test_reading_calls_nothing_of_the_class() -> None:
    """Neither __init__ nor a property nor a setter runs; only registered names are looked up."""

    @dataclass
    class Loud:
        value: int

        def __init__(self, value: int) -> None:
            assert value < 10
            self.value = value

    register(Loud)
    loud = Loud(1)
    loud.value = 50
    assert back(MsgpackSerializer, loud).value == 50


def make(**fields: Any) -> type[Any]:
    return msgspec.defstruct("Changing", list(fields.items()), module="somewhere")


def test_other_fields_are_a_miss() -> None:
    """An entry is read only by a class with the same fields of the same types."""
    old = register(make(a=int, b=str))
    frames = [memoryview(bytes(frame)) for frame in MsgpackSerializer().dumps([old(1, "x")])]
    for fields in ({"a": int}, {"a": int, "b": str | None}, {"a": float, "b": str}, {"a": int, "c": str}):
        register(make(**fields))
        with pytest.raises(LookupError):
            MsgpackSerializer().loads(frames)
    new = register(make(a=int, b=str))
    assert MsgpackSerializer().loads(frames) == [new(1, "x")]

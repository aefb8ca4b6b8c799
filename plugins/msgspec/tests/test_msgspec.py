"""The msgspec serializers: plain values carry no schema, others come back by theirs, or are refused."""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cachewright_msgspec import plugin
from cachewright_msgspec.serializer import JsonSerializer, MsgpackSerializer

from cachewright import open_cache
from cachewright.errors import UnserializableError
from cachewright.testing.sameness import same

GOLDEN = Path(__file__).parent / "golden" / "payloads.json"
BOTH = pytest.mark.parametrize("kind", [MsgpackSerializer, JsonSerializer])
NAIVE = dt.datetime(2024, 2, 29, 12, 30, 1, 5)


def back(kind: type[Any], value: object) -> Any:
    return kind().loads([memoryview(bytes(frame)).toreadonly() for frame in kind().dumps(value)])


def schema_of(kind: type[Any], value: object) -> Any:
    first = bytes(kind().dumps(value)[0])
    size = int.from_bytes(first[1:5], "big")
    return json.loads(first[5 : 5 + size]) if size else "any"


def golden_values() -> dict[str, Any]:
    return {
        "plain": {"a": [1, -1.5, None, True, "é"], "b": {"c": []}},
        "rows": [{"id": n, "at": NAIVE, "on": dt.date(2024, 1, n + 1), "p": (n, "x")} for n in range(3)],
        "leaves": (
            bytearray(b"b"), dt.time(1, 2, 3), dt.timedelta(-1, 5), Decimal("-0.10"), uuid.UUID(int=7),
            NAIVE.replace(tzinfo=dt.UTC), {1, 2}, frozenset({"x"}), b"bytes",
        ),
        "optional": [(1, 2), None, (3, 4)],
        "wide": {f"k{n}": dt.date(2024, 1, 1) for n in range(40)},
    }  # fmt: skip


def test_the_records_tell_what_the_serializers_are() -> None:
    """MessagePack is asked before the serializers of any object, JSON after all of them."""
    first, second = plugin.cachewright_serializers()
    assert (first.name, first.code, first.rank, first.executable) == ("msgspec", 0x12, 40, False)
    assert (second.name, second.code, second.rank, second.executable) == ("msgspec-json", 0x13, 95, False)
    assert first.load() is MsgpackSerializer
    assert second.load() is JsonSerializer


@BOTH
def test_plain_values_carry_no_schema(kind: Any) -> None:
    """What the format tells by itself is stored as any other reader would expect it."""
    value = [{"a": [1, 2.5, None], "b": {"c": "d"}}] * 1 + [{"e": True}]
    (frame,) = kind().dumps(value)
    assert schema_of(kind, value) == "any"
    decode = msgspec.json.decode if kind is JsonSerializer else msgspec.msgpack.decode
    assert decode(frame[5:]) == value


def test_what_is_in_one_place_shares_one_type() -> None:
    """Rows are described by their keys, and the description does not grow with their number."""
    rows = [{"id": n, "at": NAIVE, "xy": (n, 1.5), "tags": {"a"}, "more": [None, "x"]} for n in range(100)]
    assert schema_of(MsgpackSerializer, rows) == [
        "list",
        [
            "record", ["id", "any"], ["at", "datetime"], ["xy", ["tuple*", "any"]], ["tags", ["set", "any"]],
            ["more", "any"],
        ],
    ]  # fmt: skip
    assert same(back(MsgpackSerializer, rows), rows)


@BOTH
@pytest.mark.parametrize("name", sorted(golden_values()))
def test_each_kind_of_value_comes_back(kind: Any, name: str) -> None:
    """Types and contents are the same at every depth."""
    value = golden_values()[name]
    assert same(back(kind, value), value)


@pytest.mark.parametrize("shift", [0, 1])
def test_rows_of_different_keys_come_back(shift: int) -> None:
    """A key may be missing from some rows; key order is kept."""
    rows = [{"a": NAIVE, "b": 1}, {"b": 2}, {"b": 3, "a": NAIVE}, {}, {"c": (1,)}] * 1
    assert same(back(MsgpackSerializer, rows[shift:]), rows[shift:])


@BOTH
@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2024, 10, 27, 2, 30, fold=1),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        Decimal("sNaN"),
        uuid.UUID(int=1, is_safe=uuid.SafeUUID.safe),
        [NAIVE, "text"],
        [(1,), [1]],
        [b"a", bytearray(b"a")],
        [{1}, [1]],
        ["\ud800"],
        [object()],
        memoryview(b"x"),
        msgspec.Raw(b"1"),
        msgspec.UNSET,
        1j,
        range(3),
        type("Text", (str,), {})("a"),
        {type("Text", (str,), {})("a"): 1},
        [{type("Text", (str,), {})("a"): 1}] * 1 + [{"a": n} for n in range(30)],
        type("Mapping", (dict,), {})(a=1),
        type("Items", (list,), {})([1]),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_would_come_back_otherwise_is_refused(kind: Any, value: Any) -> None:
    """The refusal names the type and the reason."""
    with pytest.raises(UnserializableError) as caught:
        kind().dumps(value)
    assert len(caught.value.reason) > 10


@pytest.mark.parametrize("value", [math.nan, [1.5, math.inf], [{"a": n, "b": math.nan} for n in range(20)]])
def test_json_has_no_nan(value: Any) -> None:
    """The library would write null; MessagePack takes it."""
    with pytest.raises(UnserializableError, match="NaN"):
        JsonSerializer().dumps(value)
    assert same(back(MsgpackSerializer, value), value)


@pytest.mark.parametrize(
    "value", [{1: "a", "1": "b"}, {None: 1}, {True: 1}, {1.5: 1}, {(1, 2): 3}, [{b"a": 1}]]
)
def test_json_has_keys_of_one_type_only(value: Any) -> None:
    """Keys that JSON could not tell apart are refused by it, and taken by MessagePack."""
    with pytest.raises(UnserializableError, match="keys"):
        JsonSerializer().dumps(value)
    assert same(back(MsgpackSerializer, value), value)


def test_large_ints() -> None:
    """MessagePack has 64 bits, JSON any number."""
    for number in (2**64 - 1, -(2**63)):
        assert back(MsgpackSerializer, [number]) == [number]
    for number in (2**64, -(2**63) - 1, 10**100):
        assert back(JsonSerializer, [number]) == [number]
        with pytest.raises(UnserializableError, match="64"):
            MsgpackSerializer().dumps([number])


@BOTH
def test_a_container_that_is_there_twice_is_refused(kind: Any) -> None:
    """It would come back as two, and cost its size for each place; constants of leaves may be shared."""
    one: list[Any] = [1]
    deep: Any = []
    for _ in range(60):
        deep = [deep, deep]
    tuples: Any = ()
    for _ in range(60):
        tuples = (tuples, tuples)
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    many = [{"id": n} for n in range(2000)]
    for value in (
        [one, one],
        {"a": one, "b": {"c": one}},
        deep,
        tuples,
        cyclic,
        [*many, many[7]],
        ([], one, [one]),
    ):
        with pytest.raises(UnserializableError, match="twice"):
            kind().dumps(value)
    pair = (1, "x")
    constants = {"a": pair, "b": [pair, pair], "c": ((), ())}
    assert same(back(kind, constants), constants)


def test_sharing_that_nothing_else_refers_to_is_found() -> None:
    """Reference counts alone decide where all are low: a container with two places has a higher one."""

    def across_levels() -> Any:
        inner = [5]
        return [[inner, 1], {"k": [inner]}]

    def within_one() -> Any:
        inner = {"x": 1}
        return [{"a": n, "b": inner if n in {3, 900} else {}} for n in range(1000)]

    for make in (across_levels, within_one):
        with pytest.raises(UnserializableError, match="twice"):
            MsgpackSerializer().dumps(make())


@BOTH
def test_depth_is_refused(kind: Any) -> None:
    """A hundred thousand levels are an error, not a crash."""
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnserializableError, match="nested"):
        kind().dumps(deep)


@pytest.mark.parametrize(
    "schema",
    [
        ["class", "os.system", ""], ["class", "builtins.int", "0"], ["union"], ["record", ["a"]], ["tuple*"],
        ["record", [1, "any"]], ["dict", "any"], "os.system", {"a": 1}, ["list"] * 3, ["generic", "any"], 5,
        None, ["set", ["list", "any"]],
    ],
    ids=str,
)  # fmt: skip
def test_a_schema_can_name_nothing_else(schema: Any) -> None:
    """A schema that names what it may not, or makes no sense, is an error."""
    text = json.dumps(schema).encode()
    payload = b"\x01" + len(text).to_bytes(4, "big") + text + msgspec.msgpack.encode([[1]])
    with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a miss
        MsgpackSerializer().loads([memoryview(payload)])


def test_a_deep_schema_is_refused() -> None:
    """A schema has a bounded depth and size, because types are made from it."""
    deep: Any = "any"
    for _ in range(200):
        deep = ["list", deep]
    for schema in (deep, ["tuple", *["any"] * 5000]):
        text = json.dumps(schema).encode()
        with pytest.raises(ValueError, match="too large"):
            MsgpackSerializer().loads([memoryview(b"\x01" + len(text).to_bytes(4, "big") + text + b"\x90")])


def test_a_cache_uses_it_for_what_it_is_for(tmp_path: Path) -> None:
    """Installed, it serializes dicts and lists; JSON only if asked for; without it the entry is a miss."""
    value = {"rows": [{"at": NAIVE, "xy": (1, 2)}]}
    with open_cache(engine="sqlite", path=tmp_path / "a", serializer="msgspec-json") as cache:
        cache.set("k", value)
        assert same(cache.get("k"), value)
    with open_cache(engine="sqlite", path=tmp_path / "b") as cache:
        cache.set("k", value)
        entry = cache.explain("k").entry
        assert entry is not None
        assert entry.serializer == "msgspec"
        assert same(cache.get("k"), value)
    with open_cache(engine="sqlite", path=tmp_path / "b", serializer="pickle") as cache:
        assert cache.get("k", "miss") == "miss"


@BOTH
def test_golden_payloads_are_read_for_ever(kind: Any) -> None:
    """What this format stored on the day it was fixed still comes back."""
    golden = json.loads(GOLDEN.read_text())[kind.__name__]
    values = golden_values()
    assert golden.keys() == values.keys()
    for name, frames in golden.items():
        result = kind().loads([memoryview(bytes.fromhex(frame)) for frame in frames])
        assert same(result, values[name])

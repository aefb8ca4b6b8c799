"""The serializers: the exact value and type comes back, or storing it is refused; data never runs code."""

from __future__ import annotations

import collections
import copyreg
import datetime as dt
import enum
import io
import math
import os
import pathlib
import pickle
import socket
import struct
import subprocess
import sys
import threading
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright.builtin import data_classes
from cachewright.builtin.serializers import (
    ArraySerializer,
    DataSerializer,
    PickleSerializer,
    RawSerializer,
    TextSerializer,
    register_data_class,
)
from cachewright.errors import ConfigurationError, UnserializableError
from cachewright.serializer import Serializer

CONSTRUCTORS = "cachewright.builtin.data_types"
CLASSES = "cachewright.builtin.data_classes"


def stored(serializer: Serializer, value: object) -> list[memoryview]:
    return [memoryview(bytes(frame)) for frame in serializer.dumps(value)]


def back(serializer: Serializer, value: object) -> Any:
    return serializer.loads(stored(serializer, value))


def same(one: Any, other: Any) -> bool:
    """Tell whether two plain values are the same to the last bit, types and order included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple | collections.deque):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=400),
    st.text(st.characters(exclude_categories=()), max_size=400), st.decimals(allow_nan=False), st.fractions(),
    st.uuids(), st.datetimes(), st.dates(), st.times(), st.timedeltas(), st.binary().map(bytearray),
)  # fmt: skip
hashable = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.binary(max_size=5), st.dates()
)
plain = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(hashable, inner, max_size=5),
        st.sets(hashable, max_size=5),
        st.frozensets(hashable, max_size=5),
        st.lists(inner, max_size=5).map(collections.deque),
        st.dictionaries(hashable, inner, max_size=5).map(collections.OrderedDict),
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(value=plain)
def test_plain_data_comes_back_exactly(value: object) -> None:
    """Any nesting of plain data is stored by data and by pickle and comes back the same."""
    assert same(back(DataSerializer(), value), value)
    assert same(back(PickleSerializer(), value), value)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(), text=st.text(st.characters(exclude_categories=())))
def test_bytes_and_text_come_back_exactly(raw: bytes, text: str) -> None:
    """Bytes are stored as they are, and text with lone surrogates and all."""
    assert stored(RawSerializer(), raw) == [raw]
    assert same(back(RawSerializer(), raw), raw)
    assert same(back(TextSerializer(), text), text)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1_000_000])
def test_large_bytes_and_text_are_frames_of_their_own(size: int) -> None:
    """From 64 KiB on the payload is a frame behind an empty one, uncopied, and still comes back."""
    raw, text = bytes(size), "x" * size
    frames = RawSerializer().dumps(raw)
    assert len(frames) == (2 if size >= 65_536 else 1)
    assert frames[-1] is raw
    assert back(RawSerializer(), raw) == raw
    assert back(TextSerializer(), text) == text
    for serializer in (RawSerializer(), TextSerializer()):
        with pytest.raises(ValueError, match="first one is not empty"):
            serializer.loads([memoryview(b"x"), memoryview(b"y")])


class MyBytes(bytes):
    __slots__ = ()


class MyText(str):
    __slots__ = ()


@pytest.mark.parametrize("value", [bytearray(b"x"), memoryview(b"x"), MyBytes(b"x"), "x", None])
def test_only_bytes_are_raw(value: object) -> None:
    """What would come back as bytes though it was not is refused."""
    with pytest.raises(UnserializableError):
        RawSerializer().dumps(value)


@pytest.mark.parametrize("value", [MyText("x"), b"x", None])
def test_only_str_is_text(value: object) -> None:
    """What would come back as str though it was not is refused."""
    with pytest.raises(UnserializableError):
        TextSerializer().dumps(value)


RARE: list[Any] = [
    True, 1, 1.0, 0.0, -0.0, math.inf, 2**64, -(2**3000), (), [], {}, set(), frozenset(), b"", "",
    complex(-0.0, math.inf), range(10**12), range(5, 1, -2), slice(None, (1, 2), -1), ..., NotImplemented,
    "\ud83d\ude00", "x" * 300, b"y" * 300, "z" * 70_000, bytearray(b"a"), bytearray(70_000),
    Decimal("-0E+5"), Decimal("Infinity"), Decimal("1E+999999"), Fraction(-1, 3), uuid.uuid1(),
    uuid.UUID(int=0),
    pathlib.Path("a/b"), pathlib.PurePosixPath("//a/../b"), pathlib.PureWindowsPath("c:a\\b"), pathlib.Path(),
    dt.datetime.max, dt.datetime(2020, 1, 1, 2, fold=1), dt.time(1, fold=1),
    dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.timedelta.min,
    dt.timezone(dt.timedelta(hours=-3), "here"), dt.datetime(1, 1, 1),
    collections.Counter("hello"), collections.deque([1], 3), collections.OrderedDict(b=1, a=2),
    collections.defaultdict(list, {1: [2]}), collections.defaultdict(None, {1: 2}), (1, (2, (3, ("four",)))),
    {(1, (2,)): {frozenset({(3,)})}}, [[[]]], list(range(3000)), {i: str(i) for i in range(3000)},
    set(range(3000)), [(i, "x", 1.5) for i in range(2000)],
]  # fmt: skip


@pytest.mark.parametrize("value", RARE, ids=lambda value: f"{type(value).__name__}")
def test_rare_plain_data_comes_back_exactly(value: object) -> None:
    """Atoms and containers that others confuse keep their type, order, sign and content."""
    result = back(DataSerializer(), value)
    assert same(result, value)
    assert repr(result) == repr(value)
    assert getattr(result, "maxlen", None) == getattr(value, "maxlen", None)
    assert getattr(result, "default_factory", None) is getattr(value, "default_factory", None)
    assert getattr(result, "fold", None) == getattr(value, "fold", None)
    assert getattr(result, "is_safe", None) == getattr(value, "is_safe", None)


def test_time_zones_come_back_by_name() -> None:
    """A zone comes back as itself, also inside a date and time; one without a name is refused."""
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    value = dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zone)
    result = back(DataSerializer(), value)
    assert result.tzinfo is zone
    assert (result.fold, result.utcoffset()) == (1, dt.timedelta(hours=1))
    assert back(DataSerializer(), dt.UTC) is dt.UTC
    with pytest.raises(UnserializableError, match="name of a zone"):
        DataSerializer().dumps(zoneinfo.ZoneInfo.no_cache("Europe/Berlin"))


def test_sharing_and_cycles_through_lists_and_dicts_survive() -> None:
    """One list in two places is still one list, and a list in itself still is."""
    shared = [1]
    result = back(DataSerializer(), {"a": shared, "b": (shared, shared)})
    assert result["a"] is result["b"][0] is result["b"][1]
    loop: list[object] = []
    loop.append(({"loop": loop},))
    result = back(DataSerializer(), loop)
    assert result[0][0]["loop"] is result
    knot: tuple[list[object]] = ([],)
    knot[0].append(knot)
    result = back(DataSerializer(), knot)
    assert result[0][0] is result


@dataclass(frozen=True)
class Point:
    x: int
    y: Any = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")


@dataclass(slots=True)
class Slotted:
    items: list[int]


class Pair(NamedTuple):
    left: object
    right: object


class Color(enum.Enum):
    RED = object()
    GREEN = 2


class Permission(enum.IntFlag):
    READ = 1
    WRITE = 2


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_classes, "REGISTERED", {})


@pytest.mark.parametrize(
    "value",
    [Point(1, [2]), Slotted([1]), Pair(1, "x"), Color.RED, Color.GREEN, Permission(3), Permission(0)],
    ids=str,
)
def test_registered_classes_come_back(value: Any) -> None:
    """Dataclasses, enums and named tuples are refused with advice, and stored once registered."""
    with pytest.raises(UnserializableError, match="register_data_class"):
        DataSerializer().dumps({"deep": [value]})
    assert register_data_class(type(value)) is type(value)
    result = back(DataSerializer(), {"deep": [value]})["deep"][0]
    assert type(result) is type(value)
    assert result == value
    if isinstance(value, enum.Enum):
        assert result is value
    if isinstance(value, Point):
        assert result.y == [2]
        assert {result: 1}[value] == 1


def test_rebuilding_a_dataclass_runs_none_of_its_code() -> None:
    """Fields are set as they were: no ``__init__``, no ``__post_init__``, no default."""
    register_data_class(Point)
    odd = Point(1)
    object.__setattr__(odd, "x", -1)
    assert back(DataSerializer(), odd).x == -1


@pytest.mark.parametrize("cls", [int, dict, Exception, MyBytes])
def test_other_classes_cannot_be_registered(cls: type) -> None:
    """A class whose content is not in declared fields is not plain data."""
    with pytest.raises(ConfigurationError, match="a dataclass, an enum or a named tuple"):
        register_data_class(cls)


def test_a_dataclass_over_a_builtin_container_cannot_be_registered() -> None:
    """The content of the container would be lost, so the class is refused."""

    @dataclass
    class Odd(dict):  # type: ignore[type-arg]
        x: int = 0

    with pytest.raises(ConfigurationError):
        register_data_class(Odd)


def test_attributes_that_are_no_fields_are_refused_not_lost() -> None:
    """An instance with more than its fields, or with fewer, is not stored."""
    register_data_class(Point)
    point, half = Point(1), object.__new__(Point)
    object.__setattr__(point, "extra", 1)
    with pytest.raises(UnserializableError, match="extra"):
        DataSerializer().dumps(point)
    with pytest.raises(UnserializableError, match="not set"):
        DataSerializer().dumps(half)


def test_a_class_that_changed_since_is_an_error_on_load() -> None:
    """Other fields, or no registration any more, make an exception, which callers see as a miss."""
    register_data_class(Pair)
    register_data_class(Color)
    frames, color = stored(DataSerializer(), Pair(1, 2)), stored(DataSerializer(), Color.GREEN)
    name = f"{Pair.__module__}.{Pair.__qualname__}"
    data_classes.REGISTERED[name] = collections.namedtuple("Pair", "left other")  # noqa: PYI024
    with pytest.raises(TypeError, match="fields"):
        DataSerializer().loads(frames)
    data_classes.REGISTERED.clear()
    for entry in (frames, color):
        with pytest.raises(KeyError):
            DataSerializer().loads(entry)


class Plain:
    pass


class MyInt(int):
    pass


class MyDict(dict):  # type: ignore[type-arg]
    pass


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    "value",
    [
        Plain(), Plain, MyInt(1), MyDict(), MyText("x"), print, len, generator, generator(),
        lambda: None, os, object(),
        collections.defaultdict(lambda: 1), collections.defaultdict(Plain), memoryview(b"x"), iter([]),
        io.BytesIO(),
        type(None), list, pickle.PickleBuffer(b"x"), ValueError("x"), collections.ChainMap(), os.stat("."),
        threading.Lock(), np.dtype("f8"), struct.Struct("d"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"a": [(v,)]}])
def test_what_is_not_plain_data_is_refused_when_stored(value: object, wrap: Callable[[Any], Any]) -> None:
    """The error comes at once, names the type, and no subclass passes for its base."""
    with pytest.raises(UnserializableError) as caught:
        DataSerializer().dumps(wrap(value))
    assert type(value).__name__ in str(caught.value)


ARRAYS = [
    np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(10)[::2],
    np.arange(10)[::-1],
    np.zeros((0, 3)), np.zeros((2, 0), order="F"), np.array(1.5), np.array([True, False]), np.arange(3,
    dtype=">i4"),
    np.array(["a", "bcd", ""]), np.array([b"a", b"bc"]), np.array(["2020-01-01", "NaT"], dtype="M8[ns]"),
    np.array([1, 2], dtype="m8[25s]"), np.array([1 + 2j]), np.array([1], dtype="f2"), np.array(["x"],
    dtype=">U3"),
    np.zeros(3, dtype=[("a", "i4"), ("b", ">f8", (2, 2)), ("c", [("d", "U3")])]), np.zeros(2, dtype="V5"),
    np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)), np.zeros(2, dtype=[(("title",
    "a"), "i4")]),
    np.zeros(2, dtype={"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 16}),
    np.array([""], dtype="U0"),
    np.broadcast_to(np.array([1, 2]), (3, 2)), np.full((2, 2), np.nan),
    np.random.default_rng(1).random((50, 60)),
    np.array([np.longdouble(1) / 3]),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.shape}"[:40])
def test_arrays_come_back_exactly_and_read_only(array: Any) -> None:
    """dtype, byte order, shape, order and content are kept, alone and inside of plain data."""
    for result in (back(ArraySerializer(), array), back(DataSerializer(), {"a": [array]})["a"][0]):
        assert type(result) is np.ndarray
        assert result.dtype == array.dtype
        assert result.dtype.str == array.dtype.str
        assert result.dtype.isalignedstruct == array.dtype.isalignedstruct
        assert result.shape == array.shape
        assert result.tobytes() == array.tobytes()
        assert not result.flags.writeable
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            assert result.flags.f_contiguous


def test_gaps_between_fields_tell_nothing_about_other_memory() -> None:
    """A strided array of structures is copied; what lies between its fields then is zeros."""
    np = pytest.importorskip("numpy", reason="numpy is not installed")
    dtype = np.dtype({"names": ["a"], "formats": ["u1"], "offsets": [0], "itemsize": 64})
    secret = np.full(64 * 512, 0xAB, np.uint8)
    del secret  # its memory is what an uninitialised copy is likely to get
    array = np.zeros(1024, dtype)[::2]
    _, memory = ArraySerializer().dumps(array)
    assert bytes(memory) == bytes(64 * 512)


def test_arrays_are_views_of_the_frame() -> None:
    """Storing a contiguous array and loading it copies nothing."""
    array = np.arange(100_000.0)
    for frames in (ArraySerializer().dumps(array), DataSerializer().dumps({"a": array})):
        assert np.shares_memory(np.frombuffer(frames[1], "f8"), array)
    frame = memoryview(array.tobytes())
    result: Any = ArraySerializer().loads([memoryview(ArraySerializer().dumps(array)[0]), frame])
    assert np.shares_memory(result, np.frombuffer(frame, "f8"))
    with pytest.raises(ValueError, match="read-only"):
        result[0] = 1


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array([1, 2], [True, False]), np.array([object()]), np.zeros(1, dtype=[("a", "O")]),
        np.rec.array([(1,)], dtype=[("a", "i4")]), np.array([1], dtype=np.dtype("i4",
        metadata={"a": 1})), [1], None,
        np.array(["x"], dtype=np.dtypes.StringDType()),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_arrays_that_would_come_back_as_less_are_refused(value: object) -> None:
    """Subclasses, masks, objects and annotated dtypes are refused, alone and inside of plain data."""
    with pytest.raises(UnserializableError):
        ArraySerializer().dumps(value)
    if isinstance(value, np.ndarray):
        with pytest.raises(UnserializableError):
            DataSerializer().dumps([value])


@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(-0.0),
        np.int8(3),
        np.bool_(True),
        np.datetime64("2020"),
        np.str_("x"),
        np.bytes_(b"x"),
        np.complex64(1j),
    ],
)
def test_numpy_scalars_come_back_as_they_were(scalar: Any) -> None:
    """A NumPy scalar does not turn into the Python number that it equals."""
    result = back(DataSerializer(), [scalar])[0]
    assert type(result) is type(scalar)
    assert result.dtype == scalar.dtype
    assert result.tobytes() == scalar.tobytes()


@pytest.mark.parametrize(
    "header",
    [
        b'["|O",[1],"C"]', b'["O8",[1],"C"]', b'["<f8",[2],"C"]', b'["<f8",[-1],"C"]', b'["<f8",[1],"A"]',
        b'["<f8",[true],"C"]', b'["<f8",1,"C"]', b'["i4,i4",[1],"C"]', b'["<f8\\n",[1],"C"]',
        b'["object",[1],"C"]',
        b'[["struct",8,false,[["a",null,0,"|O"]]],[1],"C"]',
        b'[["struct",8,false,[["a",null,4,"<f8"]]],[1],"C"]',
        b'[["struct",8,false,[["a",null,-8,"<f8"]]],[1],"C"]', b'[["array","<f8",[-1]],[1],"C"]',
        b"null", b"[]",
        b'["<U2",[1],"C"]', b'[["struct",8,false,[["a",null,0,"<U2"]]],[1],"C"]', b"[" * 100_000,
        b'["<f8",[0,1e9],"C"]',
        b"[" + b'["array",' * 50 + b'"<f8"' + b",[1]]" * 50 + b',[1],"C"]',
    ],
    ids=range(21),
)  # fmt: skip
def test_hostile_array_headers_are_refused(header: bytes) -> None:
    """Object dtypes, sizes that do not fit, impossible text and nonsense raise before anything is read."""
    with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a miss; none may be a value
        ArraySerializer().loads([memoryview(header), memoryview(b"\xff" * 8)])


def test_small_buffers_stay_in_the_pickle_and_large_ones_do_not() -> None:
    """Below 16 KiB one frame is cheaper; from there on memory travels uncopied."""
    small, large = np.zeros(16 * 1024 // 8 - 1), np.zeros(16 * 1024 // 8)
    for serializer in (DataSerializer(), PickleSerializer()):
        assert len(serializer.dumps([small])) == 1
        assert len(serializer.dumps([small, large, large.copy()])) == 3
        assert np.array_equal(back(serializer, [small, large])[1], large)


async def coroutine() -> None: ...


def test_pickle_refuses_what_lives_only_here() -> None:
    """Generators, coroutines, files, sockets and locks are refused with the reason, wherever they are."""
    waiting = coroutine()
    with open(__file__) as file, socket.socket() as connection:
        for value in (
            generator(),
            waiting,
            file,
            connection,
            threading.Lock(),
            threading.RLock(),
            lambda: 1,
            Unstorable(),
        ):
            for wrapped in (value, {"a": [value]}):
                with pytest.raises(UnserializableError) as caught:
                    PickleSerializer().dumps(wrapped)
                assert len(caught.value.reason) > 10
    waiting.close()


class Unstorable:
    def __reduce__(self) -> Any:
        raise RuntimeError("this one does not want to be stored")


def test_values_nested_too_deeply_are_refused_when_stored() -> None:
    """100,000 lists in one another are a clear error, not a crash."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for serializer in (DataSerializer(), PickleSerializer()):
        with pytest.raises(UnserializableError, match="nested too deeply"):
            serializer.dumps(deep)


def test_a_class_that_moved_since_is_an_error_on_load() -> None:
    """Pickle raises for a class it cannot find any more, which callers see as a miss."""
    frames = stored(PickleSerializer(), Point(1))
    frames[0] = memoryview(bytes(frames[0]).replace(b"Point", b"Paint"))
    with pytest.raises(AttributeError):
        PickleSerializer().loads(frames)


# ---- hostile pickles


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """Return the opcodes that call a global of protocol 4 and later."""
    return short(module) + short(name) + b"\x93(" + b"".join(arguments) + b"tR"


def made(name: str, *arguments: bytes) -> bytes:
    return call(CONSTRUCTORS, name, *arguments)


def whole(*body: bytes) -> bytes:
    return b"\x80\x05" + b"".join(body) + b"."


TOUCH = "touch CANARY"
HOSTILE = {
    "os.system": whole(call("os", "system", short(TOUCH))),
    "posix.system": whole(call("posix", "system", short(TOUCH))),
    "builtins.eval": whole(call("builtins", "eval", short("open('CANARY','w')"))),
    "builtins.exec": whole(call("builtins", "exec", short("open('CANARY','w')"))),
    "builtins.open": whole(call("builtins", "open", short("CANARY"), short("w"))),
    "builtins.getattr": whole(call("builtins", "getattr", short("x"), short("__class__"))),
    "builtins.__import__": whole(call("builtins", "__import__", short("antigravity"))),
    "operator.attrgetter": whole(call("operator", "attrgetter", short("x"))),
    "functools.partial": whole(call("functools", "partial", short("x"))),
    "dotted": whole(call(CONSTRUCTORS, "pathlib.os.system", short(TOUCH))),
    "dotted module": whole(call(CONSTRUCTORS + ".pathlib.os", "system", short(TOUCH))),
    "a name of the module": whole(short(CONSTRUCTORS) + short("pathlib") + b"\x93"),
    "dunder": whole(short(CONSTRUCTORS) + short("__builtins__") + b"\x93"),
    "text opcode": b"\x80\x05cos\nsystem\n(S'" + TOUCH.encode() + b"'\ntR.",
    "protocol 0": b"cos\nsystem\n(S'" + TOUCH.encode() + b"'\ntR.",
    "protocol 4": b"\x80\x04" + call("os", "system", short(TOUCH)) + b".",
    "INST": b"\x80\x05(S'" + TOUCH.encode() + b"'\nios\nsystem\n.",
    "OBJ": whole(b"(" + short("os") + short("system") + b"\x93" + short(TOUCH) + b"o"),
    "EXT1": whole(b"\x82\xf0(" + short(TOUCH) + b"tR"),
    "EXT2": whole(b"\x83\xf0\x00(" + short(TOUCH) + b"tR"),
    "EXT4": whole(b"\x84\xf0\x00\x00\x00(" + short(TOUCH) + b"tR"),
    "EXT1 alone": whole(b"\x82\xf0"),
    "persistent id": whole(short("x") + b"Q"),
    "persistent text": b"\x80\x05Px\n.",
    "NEWOBJ": whole(short(CONSTRUCTORS) + short("make_path") + b"\x93)\x81"),
    "NEWOBJ_EX": whole(short(CONSTRUCTORS) + short("make_path") + b"\x93)}\x92"),
    "BUILD on a constructor": whole(
        short(CONSTRUCTORS) + short("make_path") + b"\x93N}" + short("__defaults__") + b")s\x86b"
    ),
    "BUILD on a list": whole(b"]}b"),
    "SETITEM on a constructor": whole(short(CONSTRUCTORS) + short("make_path") + b"\x93NNs"),
    "APPEND to a deque": whole(made("make_deque", b"]", b"N") + b"Na"),
    "ADDITEMS to a dict": whole(b"}(N\x90"),
    "call of a string": whole(short("x") + b")R"),
    "call of a result": whole(made("make_range", b"K\0", b"K\1", b"K\1") + b")R"),
    "arguments that are a list": whole(short(CONSTRUCTORS) + short("make_deque") + b"\x93]R"),
    "factory eval": whole(made("make_defaultdict", short("eval"), b"}")),
    "factory os.system": whole(made("make_defaultdict", short("os.system"), b"}")),
    "unknown class": whole(call(CLASSES, "make_instance", short("os.system"), b")", b")")),
    "unknown enum": whole(call(CLASSES, "make_member", short("os.system"), short("x"))),
    "zone traversal": whole(made("make_zone", short("../../../../etc/passwd"))),
    "zone absolute": whole(made("make_zone", short("/etc/passwd"))),
    "zone module": whole(made("make_zone", short("os.path"))),
    "unknown path": whole(made("make_path", short("Path"), b")")),
    "path of a path": whole(made("make_path", short("PosixPath"), b"(K\1t")),
    "bytes of a size": whole(made("make_decimal", b"K\1")),
    "array of objects": whole(made("make_array", short("|O"), b"(K\1t", short("C"), b"C\x08" + bytes(8))),
    "memo of gigabytes": whole(b"Nr\xff\xff\xff\x7f"),
    "memo of text": b"\x80\x05Np2147483647\n.",
    "memo of 255": whole(b"Nq\xff"),
    "bytearray of terabytes": whole(b"\x96" + (1 << 40).to_bytes(8, "little")),
    "bytes of terabytes": whole(b"\x8e" + (1 << 40).to_bytes(8, "little")),
    "text of gigabytes": whole(b"X\xff\xff\xff\x7f"),
    "negative integer size": whole(b"\x8b\xff\xff\xff\xff"),
    "frame that skips": b"\x80\x05\x95" + (5).to_bytes(8, "little") + b"(K\x01K.",
    "absent memo": whole(b"h\x00"),
    "empty stack": whole(b""),
    "pop too much": whole(b"0N"),
    "no stop": b"\x80\x05N",
    "trailing": whole(b"N") + b"N.",
    "missing buffer": whole(b"\x97"),
    "empty": b"",
    "not a pickle": b"{}",
    "duplicate": whole(b"]2a"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one raises, and none leaves the canary file that it was made to leave."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(copyreg._inverted_registry, 0xF0, ("os", "system"))  # type: ignore[attr-defined]
    monkeypatch.setitem(copyreg._extension_cache, 0xF0, os.system)  # type: ignore[attr-defined]
    with pytest.raises(Exception):  # noqa: B017, PT011 - any exception is a miss; none may be a value
        DataSerializer().loads([memoryview(HOSTILE[name])])
    assert list(tmp_path.iterdir()) == []


def test_the_control_group_is_hostile(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very same bytes do run code in the standard unpickler, so the refusals mean something."""
    monkeypatch.chdir(tmp_path)
    for name in ("os.system", "posix.system", "text opcode", "INST", "OBJ", "protocol 0"):
        pickle.loads(HOSTILE[name])
        (tmp_path / "CANARY").unlink()


def test_no_hostile_pickle_raises_an_audit_event() -> None:
    """In a process with an audit hook none imports, opens, compiles, executes or looks up anything."""
    program = """
import sys, copyreg, os
from cachewright.builtin import data_types, arrays
from cachewright.builtin.serializers import DataSerializer
copyreg._inverted_registry[0xF0] = ("os", "system")
copyreg._extension_cache[0xF0] = os.system
hostile = eval(sys.stdin.read())
events = []
armed = False
def hook(event, arguments):
    if armed:
        events.append((event, arguments))
sys.addaudithook(hook)
loads = DataSerializer().loads
accepted = []
for name, pickled in hostile.items():
    view = memoryview(pickled)
    try:
        armed = True
        loads([view])
        armed = False
        accepted.append(name)
    except Exception:
        armed = False
print(accepted, [event for event in events if event[0] not in ("array.__new__", "object.__getattr__")])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        input=repr(HOSTILE),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.strip() == "[] []"


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return whole(opening * depth + b"N" + closing * depth)


BOMBS = {
    "tuples 100,000 deep": nested(b"", b"\x85", 100_000),
    "lists 100,000 deep": nested(b"](", b"e", 100_000),
    "dicts 100,000 deep": nested(b"}N", b"s", 100_000),
    "a deep tuple as a key": whole(b"}N" + b"\x85" * 1_000_000 + b"Ns"),
    "a tuple doubled 60 times as a key": whole(
        b"})\x94" + b"".join(b"0h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60)) + b"Ns"
    ),
    "the same in a set": whole(
        b"\x8f)\x94"
        + b"".join(b"0h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
        + b"(h\x3c\x90"
    ),
    "the same in a frozenset": whole(
        b")\x94"
        + b"".join(b"0h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
        + b"(h\x3ct0(h\x3c\x91"
    ),
    "one large list copied for ever": whole(
        b"](" + b"N" * 100_000 + b"e\x94" + (made("make_deque", b"h\0", b"N") + b"0") * 1000 + b"N"
    ),
    "one large text read for ever": whole(
        b"X"
        + (100_000).to_bytes(4, "little")
        + b"1" * 100_000
        + b"\x94"
        + (made("make_decimal", b"h\0") + b"0") * 10_000
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str) -> None:
    """Depth, doubling and repetition are refused while reading, before they cost anything."""
    with pytest.raises(pickle.UnpicklingError):
        DataSerializer().loads([memoryview(BOMBS[name])])


def test_sharing_that_is_not_a_bomb_is_accepted() -> None:
    """A tuple in many places, also as key, is plain data."""
    row = tuple(range(100))
    value = {row: [row] * 1000, (row, row): (row,) * 1000}
    assert back(DataSerializer(), value) == value


@settings(max_examples=1500, deadline=None)
@given(data=st.data())
def test_damaged_data_pickles_give_plain_data_or_an_error(data: st.DataObject) -> None:
    """Whatever bytes are changed, the outcome is plain data or an exception, never another object."""
    seeds = [
        stored(DataSerializer(), value)[0] for value in (RARE[-6], {"a": [1, (2, "x")]}, RARE[39], RARE[32])
    ]
    pickled = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        pickled[data.draw(st.integers(2, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    try:
        result = DataSerializer().loads([memoryview(pickled)])
    except Exception:
        return
    DataSerializer().dumps(result)

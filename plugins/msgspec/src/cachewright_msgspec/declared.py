"""A declared type says how a field is read; values are stored only if reading gives them back exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from enum import Enum, Flag
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from msgspec import inspect as declared

from cachewright.errors import ConfigurationError, UnserializableError
from cachewright_msgspec import leaves

if TYPE_CHECKING:
    from typing import Protocol

    class Surveyor(Protocol):
        """What checks values for a schema, as far as it is needed for those of declared types."""

        json: bool

        def survey(self, values: Collection[Any]) -> Any: ...
        def check_leaf(self, kind: type[Any], values: Collection[Any]) -> None: ...
        def once(self, values: Collection[Any], *, holders: int = 0) -> None: ...
        def once_unless_of_leaves(self, values: Collection[Any], parts: Collection[Any]) -> None: ...


_LEAVES: Final[dict[type[Any], type[Any]]] = {
    declared.NoneType: type(None),
    declared.BoolType: bool,
    declared.IntType: int,
    declared.FloatType: float,
    declared.StrType: str,
    declared.BytesType: bytes,
    declared.ByteArrayType: bytearray,
    **{
        getattr(declared, name): kind
        for name, kind in zip(
            ("DateTimeType", "DateType", "TimeType", "TimeDeltaType", "DecimalType", "UUIDType"),
            list(leaves.NAMES)[7:],
            strict=True,
        )
    },
}
_CONTAINERS: Final[dict[type[Any], type[Any]]] = {
    declared.ListType: list,
    declared.VarTupleType: tuple,
    declared.TupleType: tuple,
    declared.SetType: set,
    declared.FrozenSetType: frozenset,
    declared.DictType: dict,
}
_CLASSES: Final = (declared.StructType, declared.DataclassType, declared.NamedTupleType)
_BOUNDS: Final = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern", "tz")


class DeclaredClass:
    """A class whose instances are stored by the types of its fields.

    Raises:
        ConfigurationError: its instances would not come back exactly.
    """

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.name = f"{cls.__module__}.{cls.__qualname__}"
        try:
            self._type = declared.type_info(cls)
        except (TypeError, NameError) as error:
            raise ConfigurationError("class", self.name, f"one that msgspec understands ({error})") from None
        if not isinstance(self._type, (*_CLASSES, declared.EnumType)):
            raise ConfigurationError(
                "class", self.name, "a msgspec.Struct, a dataclass, an enum or a named tuple"
            )
        description = _Description()
        text = description.of(self._type)
        if description.fault:
            raise ConfigurationError("class", self.name, description.fault)
        self.fingerprint = blake2b(text.encode(), digest_size=8).hexdigest()

    def accept(self, surveyor: Surveyor, values: Collection[Any]) -> None:
        """Refuse instances that would not come back exactly."""
        _accept(surveyor, self._type, values)


class _Description:
    """Describes a declared type in one line, and finds what is wrong with it."""

    def __init__(self) -> None:
        self.fault = ""
        self._met: set[type[Any]] = set()
        item: Callable[[Any], str] = lambda one: self.of(one.item_type)  # noqa: E731 - one of a table
        self._describers: dict[type[Any], Callable[[Any], str]] = {
            **dict.fromkeys((*_LEAVES, declared.AnyType), lambda _: ""),
            **dict.fromkeys(_CONTAINERS, item),
            **dict.fromkeys((*_CLASSES, declared.TypedDictType), self._fields),
            declared.UnionType: lambda one: ",".join(map(self.of, one.types)),
            declared.LiteralType: lambda one: repr(one.values),
            declared.EnumType: lambda one: self._enum(one.cls),
            declared.TupleType: lambda one: ",".join(map(self.of, one.item_types)),
            declared.DictType: lambda one: f"{self.of(one.key_type)},{self.of(one.value_type)}",
        }

    def of(self, one: Any) -> str:
        """Return the description; ``fault`` says what cannot be promised."""
        kind = _kind_of(one)
        name = str(kind.__name__)
        if any(getattr(one, bound, None) is not None for bound in _BOUNDS):
            self._fail("one without constraints, which are checked only when it is read")
        describe = self._describers.get(kind)
        if describe is None:
            self._fail(f"one whose fields are data, and not of {name}")
            return name
        return f"{name}({describe(one)})"

    def _fail(self, fault: str) -> None:
        self.fault = self.fault or fault

    def _enum(self, cls: type[Enum]) -> str:
        kinds: set[Any] = {type(member.value) for member in cls}
        if issubclass(cls, Flag) or kinds not in ({str}, {int}):
            self._fail(f"an enum of texts or of ints, and no flags, unlike {cls.__name__}")
        return ",".join(f"{member.name}={member.value!r}" for member in cls)

    def _fields(self, one: Any) -> str:
        cls: Any = one.cls
        if cls in self._met:
            return str(cls.__qualname__)
        self._met.add(cls)
        if isinstance(one, declared.DataclassType):
            self._check_dataclass(cls, {field.name for field in one.fields})
        elif isinstance(one, declared.StructType) and cls.__struct_config__.omit_defaults:
            self._fail(f"one that stores all fields, unlike {cls.__name__} with omit_defaults")
        if hasattr(cls, "__post_init__"):
            self._fail(f"one without __post_init__, which reading would run again, unlike {cls.__name__}")
        fields = ",".join(f"{field.name}/{field.encode_name}:{self.of(field.type)}" for field in one.fields)
        tag = f"{one.tag_field}={one.tag!r},{one.array_like}" if isinstance(one, declared.StructType) else ""
        return f"{cls.__qualname__},{tag},{fields}"

    def _check_dataclass(self, cls: Any, read: set[str]) -> None:
        bases: tuple[type[Any], ...] = cls.__mro__
        slots = {name for base in bases for name in getattr(base, "__slots__", ())}
        if not slots - {"__dict__", "__weakref__"} <= read:
            self._fail(f"one without slots that are no fields, unlike {cls.__name__}")
        if not all(field.init for field in dataclasses.fields(cls)):
            self._fail(f"one whose fields are all parameters of __init__, unlike {cls.__name__}")
        if _is_made_in_its_own_way(cls):
            self._fail(f"one without a __new__ or __setattr__ of its own, unlike {cls.__name__}")


def _is_made_in_its_own_way(cls: Any) -> bool:
    frozen = bool(cls.__dataclass_params__.frozen)
    return cls.__new__ is not object.__new__ or (cls.__setattr__ is not object.__setattr__ and not frozen)


def _accept(surveyor: Surveyor, one: Any, values: Collection[Any]) -> None:
    """Refuse values that do not come back exactly if they are read as declared."""
    if isinstance(one, declared.AnyType):
        if surveyor.survey(values) != "any":
            raise UnserializableError(
                "typing.Any", "a field of this type holds what only its type could tell"
            )
        return
    options: tuple[Any, ...] = one.types if isinstance(one, declared.UnionType) else (one,)
    by_kind: dict[type[Any], Any] = {}
    for option in options:
        by_kind.update(_kinds(option))
    kinds: set[Any] = set(map(type, values))
    for kind in kinds:
        option = by_kind.get(kind)
        if option is None:
            name = f"{kind.__module__}.{kind.__qualname__}"
            raise UnserializableError(name, "a field holds it, and was declared otherwise")
        some = values if len(kinds) == 1 else [value for value in values if type(value) is kind]
        _accept_kind(surveyor, option, kind, some)


def _kind_of(value: object) -> Any:
    return type(value)


def _kinds(option: Any) -> dict[Any, Any]:
    """Return the exact types that a declared type, no union, stands for."""
    kind = _kind_of(option)
    if kind in _LEAVES:
        return {_LEAVES[kind]: option}
    if kind in _CONTAINERS:
        return {_CONTAINERS[kind]: option}
    if kind is declared.LiteralType:
        return {type(value): option for value in option.values}
    return {dict if kind is declared.TypedDictType else option.cls: option}


def _accept_kind(surveyor: Surveyor, option: Any, kind: type[Any], values: Collection[Any]) -> None:
    if kind in leaves.NAMES:
        surveyor.check_leaf(kind, values)
        if isinstance(option, declared.LiteralType) and not set(values) <= set(option.values):
            raise UnserializableError(kind.__name__, "a field holds none of its declared values")
        return
    if isinstance(option, declared.EnumType):
        return
    parts = _parts(option, values)
    if issubclass(kind, tuple | frozenset):
        surveyor.once_unless_of_leaves(values, [item for _, items in parts for item in items])
    else:
        surveyor.once(values)
    if surveyor.json and kind is dict and isinstance(option, declared.DictType):
        _accept_json_keys(option.key_type, parts[0][1])
    for part, items in parts:
        _accept(surveyor, part, items)


def _accept_json_keys(declared_key: Any, keys: Collection[Any]) -> None:
    """Refuse keys that JSON, where every key is a text, does not tell from others."""
    kinds: dict[Any, set[type[Any]]] = {
        declared.IntType: {int},
        declared.StrType: {str},
        declared.AnyType: {str},
    }
    wanted = kinds.get(_kind_of(declared_key))
    if wanted is None or not set(map(type, keys)) <= wanted:
        raise UnserializableError("builtins.dict", "JSON has no such keys: all are str, or all int")


def _parts(option: Any, values: Collection[Any]) -> list[tuple[Any, Collection[Any]]]:
    """Return the types of the parts of containers or objects, each with all parts of that type."""
    if isinstance(option, declared.DictType):
        return [
            (option.key_type, [key for value in values for key in value]),
            (option.value_type, [item for value in values for item in value.values()]),
        ]
    if isinstance(option, declared.TupleType):
        if set(map(len, values)) != {len(option.item_types)}:
            raise UnserializableError("builtins.tuple", "a field holds one of another length than declared")
        return list(zip(option.item_types, zip(*values, strict=True), strict=True))
    if isinstance(option, declared.TypedDictType):
        return _parts_of_dicts(option, values)
    if isinstance(option, _CLASSES):
        return [(field.type, _attributes(field.name, values)) for field in _checked_fields(option, values)]
    return [(option.item_type, [item for value in values for item in value])]


def _parts_of_dicts(option: Any, values: Collection[Any]) -> list[tuple[Any, Collection[Any]]]:
    names = {field.name: field for field in option.fields}
    required = {field.name for field in option.fields if field.required}
    if not all(required <= value.keys() <= names.keys() for value in values):
        raise UnserializableError("builtins.dict", "a field holds one of other keys than declared")
    return [(field.type, [value[name] for value in values if name in value]) for name, field in names.items()]


def _checked_fields(option: Any, values: Collection[Any]) -> list[Any]:
    """Return the fields, having made sure that the instances hold nothing else."""
    cls: Any = option.cls
    is_whole = isinstance(option, declared.DataclassType)
    held = len(option.fields) if is_whole else 0
    if cls.__dictoffset__ and {len(value.__dict__) for value in values} != {held}:
        raise UnserializableError(
            f"{cls.__module__}.{cls.__qualname__}", "one has attributes that are no fields, or lacks a field"
        )
    return list(option.fields)


def _attributes(name: str, values: Collection[Any]) -> list[Any]:
    get: Callable[[Any], Any] = attrgetter(name)
    try:
        return list(map(get, values))
    except AttributeError:
        raise UnserializableError(type(next(iter(values))).__name__, "one of its fields is not set") from None

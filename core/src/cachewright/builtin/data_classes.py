"""A data class is a dataclass, an enum or a named tuple that was registered as plain data."""

from __future__ import annotations

from enum import Enum, Flag
from typing import Any, Final, TypeVar, cast

from cachewright.errors import ConfigurationError, UnserializableError

C = TypeVar("C", bound=type)

REGISTERED: Final[dict[str, type[Any]]] = {}
"""The registered classes by ``module.qualname``: the one registry of this process."""


def register_data_class(cls: C, /) -> C:
    """Let instances of ``cls`` be stored as plain data; may be used as a decorator.

    Only fields are stored, by name. Rebuilding calls neither ``__init__`` nor ``__post_init__``; an entry
    whose fields are no longer those of the class is a miss. Subclasses are registered on their own.

    Raises:
        ConfigurationError: it is not a dataclass, an enum or a named tuple, or derives from another
            built-in type whose content is not in its fields.
    """
    name = _full_name(cls)
    if not (issubclass(cls, Enum) or is_named_tuple(cls) or _is_plain_dataclass(cls)):
        raise ConfigurationError("data class", name, "a dataclass, an enum or a named tuple")
    REGISTERED[name] = cls
    return cls


def registered_parts(obj: object) -> tuple[str, tuple[Any, ...]] | None:
    """Return the name of the constructor and its arguments; ``None`` if the class is not registered.

    Raises:
        UnserializableError: the instance holds something that is in none of its fields.
    """
    cls: type[object] = type(obj)
    name = _full_name(cls)
    if REGISTERED.get(name) is not cls:
        return None
    if isinstance(obj, Enum):
        return "make_member", (name, obj.name if obj.name in type(obj).__members__ else obj.value)
    names = field_names(cls)
    extra = set(getattr(obj, "__dict__", ())) - set(() if is_named_tuple(cls) else names)
    if extra:
        raise UnserializableError(name, f"it has attributes that are no fields: {', '.join(sorted(extra))}")
    if is_named_tuple(cls):
        return "make_instance", (name, names, tuple(cast("tuple[Any, ...]", obj)))
    try:
        return "make_instance", (name, names, tuple([getattr(obj, field) for field in names]))
    except AttributeError:
        raise UnserializableError(name, "one of its fields is not set") from None


def make_member(name: str, member: str | int) -> Enum:
    """Return a member of a registered enum, by name, or by value for a combination of flags."""
    cls = REGISTERED[name]
    if type(member) is str:
        return cast("Enum", cls.__members__[member])
    if not issubclass(cls, Flag) or type(member) is not int:
        raise TypeError("not a member")
    return cls(member)


def make_instance(name: str, names: tuple[str, ...], values: tuple[Any, ...]) -> object:
    """Return an instance of a registered dataclass or named tuple that has these fields exactly."""
    cls = REGISTERED[name]
    if (
        issubclass(cls, Enum)
        or field_names(cls) != names
        or type(values) is not tuple
        or len(values) != len(names)
    ):
        raise TypeError("not the fields of the class")
    if is_named_tuple(cls):
        return tuple[Any, ...].__new__(cls, values)
    instance = object.__new__(cls)
    for field, value in zip(names, values, strict=True):
        object.__setattr__(instance, field, value)
    return instance


def is_named_tuple(cls: type[Any]) -> bool:
    """Tell whether ``cls`` was made by ``namedtuple`` or derives from such a class."""
    return isinstance(getattr(cls, "_fields", None), tuple) and issubclass(cls, tuple)


def field_names(cls: type[Any]) -> tuple[str, ...]:
    """Return the names of the fields, in their order."""
    if is_named_tuple(cls):
        return cast("tuple[str, ...]", cls._fields)
    from dataclasses import fields  # noqa: PLC0415 - imported already wherever there is a dataclass

    return tuple([field.name for field in fields(cls)])


def _is_plain_dataclass(cls: type[Any]) -> bool:
    if not hasattr(cls, "__dataclass_fields__"):
        return False
    try:
        object.__new__(cls)
    except TypeError:  # abstract, or derived from a built-in type with content of its own
        return False
    return True


def _full_name(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"

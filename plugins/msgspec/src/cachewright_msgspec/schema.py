"""A schema says what the stored form does not: where a list was a tuple, a text a date, a map an object.

It is JSON, written by :class:`Surveyor` and read by :mod:`cachewright_msgspec.decoder`::

    "any"                            what the stored form tells by itself
    "int", "datetime", "uuid" …      a leaf, named as in cachewright_msgspec.leaves.NAMES
    ["list", item]  ["set", item]  ["frozenset", item]
    ["tuple", item, item …]          of fixed length
    ["tuple*", item]                 of any length
    ["dict", key, value]
    ["record", [name, value] …]      a dict of texts to values of several types
    ["class", name, fingerprint]     a registered class
    ["union", option, option …]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain, islice
from operator import itemgetter
from sys import getrefcount
from typing import Any, Final, TypeAlias

from cachewright.errors import UnserializableError
from cachewright_msgspec import leaves
from cachewright_msgspec.registry import REGISTRY

Schema: TypeAlias = "str | list[Any]"

ANY: Final = "any"
_STRINGS: Final = frozenset({str})
_JSON_CONTAINERS: Final = frozenset({list, dict})
_COLUMNS: Final = 256
_COLUMNS_OF_ONE: Final = 32
"""Dicts of more keys and longer tuples are not described item by item: such a schema would not recur."""
_BATCH: Final = 512
_MANY: Final = 16
"""So many dicts are looked at key by key: then what is in one place is of one type, mostly."""
_UNSHARED: Final = max(map(getrefcount, [[None]]))
"""What the reference count is told to be of a container that is in one place, but for lists that hold it."""


class Surveyor:
    """Infers the schema of one value, a level at a time: what is in the same place is surveyed together.

    Nearly everything is done by loops inside built-in functions, so that it costs less than encoding by
    pickle. A container that can be reached in two ways is refused, because it would come back as two.

    Args:
        json: whether the schema is for JSON, which tells fewer types apart.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self._plain = leaves.JSON_PLAIN if json else leaves.PLAIN
        self._met: set[int] = set()

    def schema_of(self, value: object) -> Schema:
        """Return the schema of a value.

        Raises:
            UnserializableError: it would not come back exactly; names the type.
            RecursionError: it is nested too deeply.
        """
        if self._is_plain([value]):
            return ANY
        self._met.clear()
        return self.survey([value])

    def survey(self, values: Collection[Any]) -> Schema:
        """Return the schema that all ``values`` share; raises like :meth:`schema_of`."""
        kinds = set(map(type, values))
        rest = kinds - self._plain
        if self.json and float in kinds:
            self._refuse(float, leaves.finite(values))
        if not rest:
            return ANY
        options: list[Schema] = []
        for kind in sorted(rest, key=type_name):
            some = _of_kind(kind, kinds, values)
            options.append(self._option(kind, some, holders=1 if some is values else 2))
        if all(option in _TOLD_BY_ITSELF for option in options):
            return ANY
        options += [leaves.NAMES[kind] for kind in sorted(kinds - rest, key=type_name)]
        return options[0] if len(options) == 1 else ["union", *options]

    def _is_plain(self, batch: list[Any]) -> bool:
        """Tell whether there is nothing but lists, dicts of texts and plain leaves; the common case.

        What is below a batch is looked at before the next batch, because all of it is in the processor's
        cache then.
        """
        kinds: set[Any] = set(map(type, batch))
        if self.json and float in kinds:
            self._refuse(float, leaves.finite(batch))
        for kind in kinds - self._plain:
            if kind not in _JSON_CONTAINERS:
                return False
            some: list[Any] = batch if len(kinds) == 1 else [item for item in batch if type(item) is kind]
            self.once(some, holders=1 if some is batch else 2)
            parts: Iterable[Iterable[Any]] = some
            if kind is dict:
                if not _STRINGS.issuperset(map(type, chain.from_iterable(some))):
                    return False
                columns = _columns(some)
                if columns:
                    if not all(map(self._is_plain, columns)):
                        return False
                    continue
                parts = [one.values() for one in some]
            below = chain.from_iterable(parts)
            while further := list(islice(below, _BATCH)):
                if not self._is_plain(further):
                    return False
        return True

    def _option(self, kind: type[Any], values: Collection[Any], *, holders: int) -> Schema:
        if kind is dict:
            self.once(values, holders=holders)
            return self._dicts(values)
        if kind is list:
            self.once(values, holders=holders)
            return ["list", self.survey(_joined(values))]
        if kind is tuple:
            return self._tuples(values)
        if kind is set or kind is frozenset:
            return self._sets(kind, values)
        if kind in leaves.NAMES:
            self.check_leaf(kind, values)
            return leaves.NAMES[kind]
        entry = REGISTRY.entry(kind)
        if entry is None:
            raise UnserializableError(type_name(kind), "it is not plain data", hint=_hint(kind))
        entry.accept(self, values)
        return ["class", entry.name, entry.fingerprint]

    def check_leaf(self, kind: type[Any], values: Collection[Any]) -> None:
        """Refuse leaves of one type if one of them would not come back exactly."""
        if self.json and kind is float:
            self._refuse(kind, leaves.finite(values))
        check = leaves.CHECKS.get(kind)
        if check is not None:
            self._refuse(kind, check(values))

    def once(self, values: Collection[Any], *, holders: int = 0) -> None:
        """Refuse containers that were met before, or are met twice now.

        Args:
            values: the containers.
            holders: in how many lists each of them is surely held besides the value. A container that
                nobody else refers to cannot be met twice, and reference counts are read faster than sets
                of identities are made.
        """
        if holders and max(map(getrefcount, values)) <= _UNSHARED + holders:
            return
        met = set(map(id, values))
        if len(met) != len(values) or not self._met.isdisjoint(met):
            raise UnserializableError(
                _name_of(next(iter(values))), "one is in the value twice, and would come back as two"
            )
        self._met |= met

    def once_unless_of_leaves(self, values: Collection[Any], parts: Collection[Any]) -> None:
        """As :meth:`once`, but allow that a constant of leaves is shared, which nobody can tell."""
        if not _LEAVES.issuperset(map(type, parts)):
            self.once(values)

    def _keys(self, dicts: Collection[dict[Any, Any]]) -> Schema:
        keys = _joined(dicts)
        kinds = set(map(type, keys))
        if kinds <= _STRINGS:
            return ANY
        if self.json:
            if kinds != {int}:
                raise UnserializableError("builtins.dict", "JSON has no such keys: all are str, or all int")
            return "int"
        return self.survey(keys)

    def _dicts(self, dicts: Collection[dict[Any, Any]]) -> Schema:
        keys = self._keys(dicts)
        names = list(dict.fromkeys(_joined(dicts))) if keys == ANY else []
        if (
            not names
            or not _STRINGS.issuperset(map(type, names))
            or len(names) > (_COLUMNS if len(dicts) > 1 else _COLUMNS_OF_ONE)
        ):
            return ["dict", keys, self.survey(_values(dicts))]
        if set(map(len, dicts)) == {len(names)}:
            columns = [list(map(itemgetter(name), dicts)) for name in names]
        else:
            columns = [[one[name] for one in dicts if name in one] for name in names]
        schemas = [self.survey(column) for column in columns]
        if all(schema == schemas[0] for schema in schemas):
            return ["dict", keys, schemas[0]]
        return ["record", *map(list, zip(names, schemas, strict=True))]

    def _tuples(self, tuples: Collection[tuple[Any, ...]]) -> Schema:
        bag = _joined(tuples)
        self.once_unless_of_leaves(tuples, bag)
        sizes = set(map(len, tuples))
        size = max(sizes)
        if len(sizes) > 1 or not 0 < size <= (_COLUMNS if len(tuples) > 1 else _COLUMNS_OF_ONE):
            return ["tuple*", self.survey(bag)]
        schemas = [self.survey(list(map(itemgetter(place), tuples))) for place in range(size)]
        if all(schema == ANY for schema in schemas):
            return ["tuple*", ANY]
        return ["tuple", *schemas]

    def _sets(self, kind: Any, sets: Collection[Any]) -> Schema:
        bag = _joined(sets)
        if kind is set:
            self.once(sets)
        else:
            self.once_unless_of_leaves(sets, bag)
        return ["set" if kind is set else "frozenset", self.survey(bag)]

    @staticmethod
    def _refuse(kind: type[Any], reason: str) -> None:
        if reason:
            raise UnserializableError(type_name(kind), reason)


def type_name(kind: type[Any]) -> str:
    """Return the full name of a type."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _name_of(value: object) -> str:
    return type_name(type(value))


def _joined(containers: Iterable[Iterable[Any]]) -> list[Any]:
    return list(chain.from_iterable(containers))


def _values(dicts: Iterable[dict[Any, Any]]) -> list[Any]:
    return [value for one in dicts for value in one.values()]


def _columns(dicts: list[dict[str, Any]]) -> list[list[Any]] | None:
    """Return the values by key, if there are many dicts of the same few keys."""
    names = list(dicts[0])
    if len(dicts) < _MANY or len(names) > _COLUMNS or set(map(len, dicts)) != {len(names)}:
        return None
    try:
        return [list(map(itemgetter(name), dicts)) for name in names]
    except KeyError:
        return None


def _of_kind(kind: type[Any], kinds: set[type[Any]], values: Collection[Any]) -> Collection[Any]:
    return values if len(kinds) == 1 else [value for value in values if type(value) is kind]


def _hint(kind: type[Any]) -> str:
    is_class = hasattr(kind, "__struct_fields__") or hasattr(kind, "__dataclass_fields__")
    return "register its class with cachewright_msgspec.register" if is_class else ""


_LEAVES: Final = frozenset(leaves.NAMES)
_TOLD_BY_ITSELF: Final[tuple[Schema, ...]] = (["list", ANY], ["dict", ANY, ANY])

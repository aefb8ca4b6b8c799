"""A probe tells the kind and the size of a value in bounded time, whatever the value is.

Types of other libraries are recognised by name, so nothing is imported. Containers and objects are
estimated by random walks (Knuth, "Estimating the efficiency of backtrack programs", 1975): a few
children are sampled, and the walk goes on into one of them, chosen in proportion to its length. The
estimate is right in order of magnitude; one huge element among thousands may be missed, and an
object that is referred to twice counts twice. Of the value's own code only the size properties of
recognised arrays and frames are run.
"""

from __future__ import annotations

import types
import typing
from collections import deque
from itertools import islice
from typing import Any, Literal, TypeAlias, cast, get_args

Kind: TypeAlias = Literal["atom", "text", "bytes", "container", "array", "frame", "tensor", "object", "code"]
"""Families of values that cost alike to store."""

KINDS: tuple[Kind, ...] = get_args(Kind)

BUDGET = 30
"""Children visited at most: by the exact count of a small value, and by the walks of a large one."""

_FANOUT = 8
_ROUNDS = 4
_INDEXED: frozenset[Any] = frozenset((list, tuple))
_MAPPED: frozenset[Any] = frozenset((dict,))
_CEILING = 1 << 60
_OBJECT_CELL = 56

_BUILTINS: dict[type, Kind] = {
    **dict.fromkeys((type(None), bool, int, float, complex, range, slice, type(...)), "atom"),
    str: "text",
    **dict.fromkeys((bytes, bytearray, memoryview), "bytes"),
    **dict.fromkeys((dict, list, tuple, set, frozenset, deque), "container"),
    **dict.fromkeys(
        (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.CodeType,
         types.ModuleType, types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType),
        "code",
    ),
}  # fmt: skip

_NAMED: dict[Kind, str] = {
    "atom": "numpy.generic datetime.date datetime.time datetime.timedelta datetime.tzinfo decimal.Decimal"
    " fractions.Fraction uuid.UUID pathlib.PurePath enum.Enum pandas.Timestamp pandas.Timedelta",
    "bytes": "mmap.mmap collections.Buffer",
    "container": "collections.Mapping collections.Set collections.Sequence collections.Collection"
    " collections.Iterable types.MappingProxyType",
    "array": "numpy.ndarray array.array",
    "frame": "pandas.DataFrame pandas.Series pandas.Index polars.DataFrame polars.Series pyarrow.Table"
    " pyarrow.RecordBatch pyarrow.Array pyarrow.ChunkedArray xarray.DataArray xarray.Dataset",
    "tensor": "torch.Tensor tensorflow.Tensor jaxlib.ArrayImpl jax.Array mlx.array cupy.ndarray",
    "code": "functools.partial collections.Callable",
}
_BY_NAME: dict[str, Kind] = {name: kind for kind, names in _NAMED.items() for name in names.split()}
_BY_LAST_NAME: dict[str, Kind] = {
    **{name.rpartition(".")[2].lower(): kind for name, kind in _BY_NAME.items()},
    **{type_.__name__.lower(): kind for type_, kind in _BUILTINS.items()},
    **dict.fromkeys(("none", "datetime", "path"), "atom"),
    **dict.fromkeys(("ndarray", "array"), "array"),
}


def kind_of(value: object) -> Kind:
    """Return the family of a value, judged by its type alone."""
    return _BUILTINS.get(type(value)) or kind_of_class(type(value))


def kind_of_class(cls: type) -> Kind:
    """Return the family of the instances of a class; ``object`` where it belongs to no other."""
    for base in type.__dict__["__mro__"].__get__(cls):
        kind = _BUILTINS.get(base) or _BY_NAME.get(_short_name(base))
        if kind is not None:
            return kind
    return "object"


def kind_of_type(annotation: object) -> Kind:  # noqa: PLR0911 - a case for every form of annotation
    """Return the family that an annotation, a class or a type's name stands for."""
    if isinstance(annotation, str):
        return _kind_of_name(annotation)
    if annotation is None:
        return "atom"
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return kind_of_type(arguments[0])
    if origin is typing.Union or origin is types.UnionType:
        return kind_of_type(next((each for each in arguments if each is not type(None)), None))
    if origin is typing.Literal:
        return kind_of(arguments[0])
    if origin is None and not isinstance(annotation, type):
        inner = getattr(annotation, "__supertype__", None) or getattr(annotation, "__bound__", None)
        return kind_of_type(inner) if inner is not None else "object"
    cls = annotation if origin is None else origin
    return kind_of_class(cls) if isinstance(cls, type) else "object"


def size_of(value: object) -> int:
    """Return the bytes that a value takes in memory, with all it refers to.

    Exact for text, bytes, numbers and numeric arrays, nearly so for frames and for values of up to
    :data:`BUDGET` parts, an estimate beyond; always at least 1.
    """
    return count_and_size(value)[1]


def count_and_size(value: object) -> tuple[int, int]:
    """Return the number of Python objects that a value is made of, and its size; see :func:`size_of`."""
    if not _fanout(value):
        return 1, _own_size(value)
    exact = _count_all(value)
    if exact is not None:
        return exact
    seed = 0x9E3779B97F4A7C15
    counts, sizes, left, rounds = 0.0, 0.0, BUDGET, 0
    while left > 0 and rounds < _ROUNDS:
        seed = _next(seed)
        count, size, visited = _walk(value, seed, left)
        counts, sizes, left, rounds = counts + count, sizes + size, left - visited, rounds + 1
    return int(min(counts / rounds, _CEILING)), int(min(sizes / rounds, _CEILING))


def _count_all(root: object) -> tuple[int, int] | None:
    """Return exact figures, or ``None`` if the value has more parts than the budget."""
    seen = {id(root)}
    pending, size, visited = [root], _own_size(root), 0
    while pending:
        node = pending.pop()
        visited += _fanout(node)
        if visited > BUDGET:
            return None
        for child in _children(node, BUDGET, 0):
            if id(child) not in seen:
                seen.add(id(child))
                size += _own_size(child)
                pending.append(child)
    return len(seen), size


def _walk(root: object, seed: int, budget: int) -> tuple[float, float, int]:
    """Return one unbiased guess at count and size, and how many children it looked at."""
    node, weight, count, size, visited = root, 1.0, 1.0, float(_own_size(root)), 0
    path = {id(root)}
    while visited < budget:
        children = _children(node, min(_FANOUT, budget - visited), seed)
        if not children:
            break
        visited += len(children)
        scale = weight * _fanout(node) / len(children)
        count += scale * len(children)
        size += scale * sum(map(_own_size, children))
        branches = [(child, _fanout(child)) for child in children if id(child) not in path]
        total = sum(length for _, length in branches)
        if not total:
            break
        seed = _next(seed)
        point = seed % total
        for child, length in branches:
            if point < length:
                node, weight = child, scale * total / length
                break
            point -= length
        path.add(id(node))
    return count, size, visited


def _next(seed: int) -> int:
    """Return the next pseudo-random number (PCG's linear congruence): estimates must repeat."""
    return (seed * 6364136223846793005 + 1442695040888963407) >> 7 & 0xFFFF_FFFF_FFFF_FFFF


def _fanout(value: object) -> int:
    """Return how many children a value has."""
    kind = kind_of(value)
    if kind == "container":
        base: Any = _builtin_base(type(value))
        if base is not None:
            length = int(base.__len__(value))
            return 2 * length if base in _MAPPED else length
    if kind == "object":
        return len(_attributes(value))
    return 0


def _children(value: object, limit: int, seed: int) -> list[Any]:
    """Return up to ``limit`` children, spread over the value where it can be indexed."""
    base: Any = _builtin_base(type(value))
    try:
        if base in _INDEXED:
            length = base.__len__(value)
            taken = min(limit, length)
            spread = length // taken if taken else 1
            return [base.__getitem__(value, i * length // taken + seed % spread) for i in range(taken)]
        if base in _MAPPED:
            items: Any = base.items(value)
            return [part for item in islice(items, (limit + 1) // 2) for part in item]
        if base is not None and kind_of(value) == "container":
            return list(islice(base.__iter__(value), limit))
    except (RuntimeError, IndexError):  # another thread is changing it
        return []
    return _attributes(value)[:limit] if kind_of(value) == "object" else []


def _attributes(value: object) -> list[Any]:
    """Return what the attributes and slots of an object hold, without running its code."""
    found: list[Any] = []
    for cls in type.__dict__["__mro__"].__get__(type(value)):
        members = type.__dict__["__dict__"].__get__(cls)
        for member in list(members.values()) if "__slots__" in members else ():
            if isinstance(member, types.MemberDescriptorType):
                try:
                    found.append(member.__get__(value))
                except AttributeError:  # the slot is empty
                    continue
    try:
        namespace = object.__getattribute__(value, "__dict__")
    except Exception:  # noqa: BLE001 - no namespace, or a class that computes it by code of its own
        return found
    if type(namespace) is dict:
        found.extend(list(cast("dict[str, Any]", namespace).values()))
    return found


def _own_size(value: object) -> int:
    """Return the bytes of a value without its children, but with its buffers."""
    kind = kind_of(value)
    if kind in {"array", "frame", "tensor"} or _short_name(type(value)) == "mmap.mmap":
        return max(object.__sizeof__(value), _buffer_size(value))
    base = _builtin_base(type(value)) or object
    if base is memoryview:
        return _buffer_size(value) + 200
    return int(base.__sizeof__(value)) if base is not type else 1_000


def _buffer_size(value: object) -> int:
    """Return the bytes of the buffers of an array, frame or tensor; 0 where it will not tell."""
    theirs: Any = value
    try:
        if _short_name(type(value)) == "pandas.DataFrame":
            blocks = theirs._mgr.blocks  # noqa: SLF001 - memory_usage() takes a hundred times as long
            return sum(_buffer_size(block.values) for block in islice(blocks, 64))
        if hasattr(theirs, "estimated_size"):
            return int(theirs.estimated_size())
        if hasattr(theirs, "nbytes"):
            cells = theirs.size if getattr(getattr(theirs, "dtype", None), "hasobject", False) else 0
            return int(theirs.nbytes) + _OBJECT_CELL * int(cells)
        with memoryview(theirs) as view:
            return view.nbytes
    except Exception:  # noqa: BLE001 - another library's properties, which may fail in any way
        return 0


def _builtin_base(cls: type) -> Any:
    """Return the built-in class that lays out the instances of ``cls``, or ``None``."""
    if cls in _BUILTINS:
        return cls
    return next((base for base in type.__dict__["__mro__"].__get__(cls) if base in _BUILTINS), None)


def _short_name(cls: type) -> str:
    """Return ``library.Class``: the modules between move from release to release."""
    module = getattr(cls, "__module__", "")
    return f"{module.partition('.')[0]}.{cls.__name__}" if isinstance(module, str) else ""


def _kind_of_name(text: str) -> Kind:
    """Return the family that a type's name, as written in source code, stands for."""
    text = text.strip(" '\"")
    if text in KINDS:
        return text
    parts = [part.strip() for part in text.split("|")]
    text = next((part for part in parts if part not in {"None", ""}), "None")
    head, _, inner = text.partition("[")
    last = head.rpartition(".")[2].strip().lower()
    if last in {"optional", "union", "annotated"} and inner:
        return _kind_of_name(inner.split(",")[0].rstrip("]"))
    return _BY_LAST_NAME.get(last, "object")

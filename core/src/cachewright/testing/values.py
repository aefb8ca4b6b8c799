"""Hostile keys, namespaces, chunks and values: whatever has broken a cache somewhere before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Final, Literal


class ByIdentity:
    """A key that equals only itself and hashes by identity."""


class Colliding:
    """A key with the hash of all others of its class, told apart by ``label`` alone."""

    def __init__(self, label: str) -> None:
        self.label = label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and other.label == self.label

    def __hash__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "Colliding()"


class Unfriendly:
    """A value that cannot be compared, tested for truth, measured, hashed, shown or copied."""

    __hash__: None  # type: ignore[assignment]  # a value need not be hashable

    def __eq__(self, other: object) -> bool:
        raise self._refused("compared")

    def __bool__(self) -> bool:
        raise self._refused("tested for truth")

    def __len__(self) -> int:
        raise self._refused("measured")

    def __repr__(self) -> str:
        raise self._refused("shown")

    def __reduce__(self) -> str:
        raise self._refused("pickled")

    def __copy__(self) -> Unfriendly:
        raise self._refused("copied")

    def __deepcopy__(self, memo: dict[int, object]) -> Unfriendly:
        raise self._refused("copied")

    @staticmethod
    def _refused(what: str) -> RuntimeError:
        return RuntimeError(f"an engine must not have a value {what}")


OBJECT_KEYS: Final[tuple[Any, ...]] = (
    None,
    0,
    1,
    -1,
    -2,
    2**61 - 1,
    2**100,
    0.5,
    math.inf,
    math.nan,
    "",
    "0",
    "1",
    "None",
    "a",
    "A",
    " a",
    "a-b",
    "a_b",
    "a\0b",
    "a\nb",
    "..",
    "../../etc/passwd",
    "CON",
    "*",
    "[a]",
    "%s{0}",
    "\u00e9",
    "e\u0301",
    "\ud800",
    "x" * 65_536,
    "x" * 65_535 + "y",
    b"",
    b"a",
    (),
    ("",),
    ("a", "b"),
    ("a,b",),
    (("a",), "b"),
    (1, (2, 3)),
    ((1, 2), 3),
    frozenset[int](),
    frozenset({1, 2}),
    frozenset({"1", "2"}),
    PurePosixPath("a"),
    int,
    ...,
    Colliding("a"),
    Colliding("b"),
    ByIdentity(),
    ByIdentity(),
)
"""Keys for engines of objects, no two of which are equal."""

TEXT_KEYS: Final[tuple[str, ...]] = (
    "",
    " ",
    "\0",
    "a\0b",
    "a",
    "A",
    "a ",
    " a",
    "a\tb",
    "a\nb",
    "a\r\nset b 0 0 1",
    "a\x1b[31m",
    "a\x7f",
    "\ufeffa",
    "\u202ea",
    "..",
    ".",
    "../a",
    "..\\a",
    "/",
    "/etc/passwd",
    "C:\\a",
    "CON",
    "con",
    "NUL.txt",
    "~",
    "$HOME",
    "%00",
    "%s",
    "{0}",
    "*",
    "?",
    "[a]",
    "{a,b}",
    "a:b",
    "a/b",
    "-rf",
    "'; DROP TABLE entries; --",
    "caf\u00e9",
    "cafe\u0301",
    "CAF\u00c9",
    "stra\u00dfe",
    "strasse",
    "\u0130",
    "\U0001f600",
    "\ud800",
    "None",
    "0",
    "x" * 65_536,
    "x" * 65_535 + "y",
)
"""Keys that callers of a cache choose, no two of which may share an entry."""

EQUAL_KEYS: Final[tuple[tuple[Any, ...], ...]] = (
    (1, True, 1.0, Decimal(1), 1 + 0j),
    (0, False, 0.0, -0.0, Decimal(0)),
    ((1, "a"), (True, "a"), (1.0, "a")),
    (frozenset({1, 2}), frozenset({2.0, True})),
    (Colliding("c"), Colliding("c")),
)
"""Groups of keys for engines of objects that are equal, so that each group shares one entry."""

BYTE_KEYS: Final[tuple[str, ...]] = (
    "0" * 32,
    "0" * 63 + "1",
    "0" * 64,
    "1" + "0" * 63,
    "f" * 32,
    "f" * 64,
    "f" * 128,
    "deadbeef" * 4,
    "deadbeef" * 8,
    "deadbeef" * 4 + "00",
    "1e10" * 8,
    "0e10" * 8,
    "0123456789abcdef" * 2,
    "123456789abcdef0" * 2,
    "9" * 32,
    "00000000" + "a" * 56,
    "00000000" + "b" * 56,
)
"""Keys for engines of bytes: digests that share prefixes, look like numbers, or are long."""

NAMESPACES: Final[tuple[str, ...]] = (
    "default",
    "a",
    "ab",
    "a:b",
    "a/b",
    "a\\b",
    "a.b",
    "a-b",
    "a_b",
    "a%b",
    "a b",
    "A",
    "../a",
    "..",
    ".",
    "/",
    "/etc/passwd",
    "*",
    "a*",
    "?",
    "[ab]",
    "{a}",
    "a}",
    "%",
    "'; DROP TABLE entries; --",
    '"',
    "a:",
    ":a",
    "CON",
    "caf\u00e9",
    "cafe\u0301",
    "CAF\u00c9",
    "\U0001f600",
    "a\nb",
    " ",
    "n" * 10_000,
    "n" * 9_999 + "m",
)
"""Namespaces no two of which may meet; none is empty or holds a NUL."""

Form = Literal["bytes", "bytearray", "memoryview"]


def chunk_forms() -> dict[str, Sequence[Any]]:
    """Return fresh chunks by the name of their form, as an engine of bytes may be given them."""
    whole = bytes(range(256))
    numbers = memoryview(bytearray(whole))
    return {
        "one chunk": [whole],
        "many chunks": [whole[i : i + 1] for i in range(256)],
        "a thousand chunks": [b"%d," % i for i in range(1000)],
        "bytearrays": [bytearray(b"ab"), bytearray(b"cd")],
        "memoryviews": [numbers[:10], numbers[10:], memoryview(whole)[::1]],
        "read-only view": [memoryview(whole).toreadonly()],
        "mixed": [b"head", bytearray(b"middle"), memoryview(b"tail")],
        "empty chunks": [b"", b"a", b"", bytearray(), b"b", memoryview(b"")],
        "zero bytes": [b""],
        "no chunks": [],
        "a tuple": (b"a", b"b"),
        "like text": ["caf\u00e9 \0 \r\n".encode()],
        "like a number": [b"17"],
        "like a pickle": [b"\x80\x04N."],
        "like nothing": [b"None"],
        "like a reply": [b"$-1\r\n+OK\r\nEND\r\n"],
        "like padding": [b"\0" * 100 + b" " * 100],
        "like an archive": [b"\x1f\x8b\x08\0PK\x03\x04(\xb5/\xfd"],
    }


def falsy_values() -> tuple[object, ...]:
    """Return fresh values that a careless engine takes for a miss."""
    return (
        None,
        0,
        0.0,
        -0.0,
        False,
        "",
        b"",
        (),
        [],
        {},
        set[int](),
        frozenset[int](),
        math.nan,
        0j,
        NotImplemented,
        ...,
    )


def object_values() -> tuple[object, ...]:
    """Return fresh objects that an engine of objects has to give back as they are."""
    cyclic: list[object] = []
    cyclic.append(cyclic)
    return (
        Unfriendly(),
        cyclic,
        lambda: None,
        (number for number in range(3)),
        bytearray(b"mutable"),
        ValueError("stored, not raised"),
        KeyError("key"),
        int,
        object(),
        10**400,
    )

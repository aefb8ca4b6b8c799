"""The wire is the protocol between a client and a server, as far as single commands and their answers go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from redis.connection import DefaultParser
from redis.exceptions import InvalidResponse

from cachewright_redis.commands import UnexpectedReplyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachewright_redis.commands import Command

LARGEST: Final = 256 * 1024
"""Bytes of a value from which on sending it is left to the library, and watched piece by piece."""

LONGEST_LINE: Final = 64 * 1024
"""Bytes without an end of line from which on what a server says is no answer."""

LONGEST_LENGTH: Final = 10
"""Digits of the length of a value; no server holds one whose length has more."""

LONGEST_NUMBER: Final = 20
"""Digits of a number of 64 bits, with its sign."""

END: Final = b"\r\n"

BULK, TEXT, NUMBER, ERROR, NULL = b"$+:-_"

PAIR: Final = b"*2\r\n"

FIRST: Final = b"$+:-_*%~>|#,(!="
"""The first byte of every kind of answer."""

NESTED: Final = b"*%~>|"
"""First bytes of answers that hold others; no command that is asked here is answered so."""


_parse_error: Callable[[str], Exception] = cast("Any", DefaultParser).parse_error


class _Incomplete:
    """Stands for an answer of which only the beginning has arrived."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "INCOMPLETE"


INCOMPLETE: Final = _Incomplete()


def packed(command: Command) -> bytes | None:
    """Return a command as the server reads it; ``None`` if it is so long that sending has to be watched."""
    if command[0] == "GET" and isinstance(name := command[1], bytes):
        return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name)
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        data = word if isinstance(word, bytes) else str(word).encode()
        if len(data) > LARGEST:
            return None
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def answer(data: bytes) -> object:
    """Return the answer that ``data`` is, :data:`INCOMPLETE` if it is only the beginning of one.

    That is bytes for a value or a word, a number, ``None``, a list of two values, or an exception that the
    server asks to be raised.

    Raises:
        InvalidResponse: it is no answer, or more than one: the connection is not to be used again.
        UnexpectedReplyError: it is a list of another length, which answers nothing that is asked here.
    """
    end = data.find(END)
    if end < 0:
        if len(data) > LONGEST_LINE or (data and data[0] not in FIRST):
            raise InvalidResponse(_excerpt(data))
        return INCOMPLETE
    kind = data[0]
    if kind == BULK:
        whole = _size(data, 0, end)
        if len(data) < whole:
            return INCOMPLETE
        if len(data) == whole and data.endswith(END):
            return data[end + 2 : -2] if whole > end + 2 else None
        raise InvalidResponse(_excerpt(data))
    if data.startswith(PAIR):
        return _pair(data)
    if kind in NESTED:
        raise UnexpectedReplyError([])
    if len(data) != end + 2:
        raise InvalidResponse(_excerpt(data))
    return _line(kind, data[1:end])


def expected_size(data: bytes) -> int | None:
    """Return how many bytes the answer has that begins with ``data``; ``None`` if that does not tell."""
    at = _after(data, len(PAIR)) if data.startswith(PAIR) else 0
    if at is None:
        return None
    end = data.find(END, at)
    return _size(data, at, end) if end > 0 and data[at] == BULK else None


def _size(data: bytes, at: int, end: int) -> int:
    """Return where a value ends that begins at ``at``, and its first line at ``end``."""
    digits = data[at + 1 : end]
    if digits == b"-1":
        return end + 2
    if not digits.isdigit() or len(digits) > LONGEST_LENGTH:
        raise InvalidResponse(_excerpt(data))
    return end + 4 + int(digits)


def _after(data: bytes, at: int) -> int | None:
    """Return where the value, or nothing, ends that begins at ``at``; ``None`` if that is not there yet."""
    end = data.find(END, at)
    if end < 0:
        if len(data) - at > LONGEST_LINE:
            raise InvalidResponse(_excerpt(data))
        return None
    if data[at] == NULL:
        return end + 2
    if data[at] != BULK:
        raise UnexpectedReplyError([])
    after = _size(data, at, end)
    return after if after <= len(data) else None


def _pair(data: bytes) -> object:
    middle = _after(data, len(PAIR))
    if middle is None:
        return INCOMPLETE
    second = answer(data[middle:]) if middle < len(data) else INCOMPLETE
    if second is INCOMPLETE:
        return INCOMPLETE
    return [answer(data[len(PAIR) : middle]), second]


def _line(kind: int, text: bytes) -> object:
    if kind in {BULK, NULL}:
        return None
    if kind == TEXT:
        return text
    if kind == NUMBER and text.removeprefix(b"-").isdigit() and len(text) <= LONGEST_NUMBER:
        return int(text)
    if kind == ERROR:
        return _parse_error(text.decode("utf-8", "replace"))
    raise InvalidResponse(_excerpt(bytes([kind]) + text))


def _excerpt(data: bytes) -> str:
    return f"Protocol Error: {data[:32]!r}"

"""What servers say on the wire, in pieces of any size; what makes no sense is never taken for a value."""

from __future__ import annotations

import pytest
from cachewright_redis.commands import UnexpectedReplyError
from cachewright_redis.wire import INCOMPLETE, LARGEST, LONGEST_LINE, answer, expected_size, packed
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
)

ANSWERS: list[tuple[bytes, object]] = [
    (b"$5\r\nvalue\r\n", b"value"),
    (b"$0\r\n\r\n", b""),
    (b"$2\r\n\r\n\r\n", b"\r\n"),
    (b"$-1\r\n", None),
    (b"_\r\n", None),
    (b"+OK\r\n", b"OK"),
    (b":0\r\n", 0),
    (b":-9223372036854775808\r\n", -(2**63)),
    (b"*2\r\n$1\r\na\r\n$2\r\nbc\r\n", [b"a", b"bc"]),
    (b"*2\r\n$-1\r\n$2\r\nbc\r\n", [None, b"bc"]),
    (b"*2\r\n$1\r\na\r\n$-1\r\n", [b"a", None]),
    (b"*2\r\n_\r\n_\r\n", [None, None]),
]

NONSENSE = [
    b"garbage\r\n",
    b"\x00",
    b"HTTP/1.1 400",
    b"$five\r\nvalue\r\n",
    b"$-5\r\n",
    b"$ 5\r\nvalue\r\n",
    b"$+5\r\nvalue\r\n",
    b"$1_0\r\n0123456789\r\n",
    b"$\xb2\r\nva\r\n",
    b"$5\r\nvalueXX",
    b"$5\r\nvalue\r\n+OK\r\n",
    b"$-1\r\n$-1\r\n",
    b"$99999999999\r\n",
    b":1.5\r\n",
    b":\r\n",
    b":--1\r\n",
    b":123456789012345678901\r\n",
    b"+OK\r\n+OK\r\n",
    b"*1\r\n$1\r\na\r\n",
    b"*3\r\n",
    b"*-1\r\n",
    b"%1\r\n",
    b">2\r\n",
    b"*2\r\n:1\r\n",
    b"*2\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
    b"#t\r\n",
    b",1.5\r\n",
]


@pytest.mark.parametrize(("said", "meant"), ANSWERS)
def test_answers(said: bytes, meant: object) -> None:
    """Each kind of answer is understood, and each part of it is known to be one."""
    assert answer(said) == meant
    for length in range(len(said)):
        assert answer(said[:length]) is INCOMPLETE
        size = expected_size(said[:length])
        assert size is None or size <= len(said)


@pytest.mark.parametrize("said", NONSENSE)
def test_nonsense_is_refused(said: bytes) -> None:
    """What is no answer, more than one, or one to something else raises one of two errors."""
    with pytest.raises((InvalidResponse, UnexpectedReplyError)) as refused:
        answer(said)
    assert len(str(refused.value)) < 200


def test_a_line_without_an_end_is_refused() -> None:
    """Nobody has to remember more than a line can have."""
    for begin in (b"+", b"*2\r\n$"):
        with pytest.raises(InvalidResponse):
            answer(begin + b"1" * (LONGEST_LINE + 1))


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"-ERR unknown command\r\n", ResponseError),
        (b"-NOSCRIPT No matching script.\r\n", NoScriptError),
        (b"-READONLY You can't write\r\n", ReadOnlyError),
        (b"-LOADING Redis is loading\r\n", BusyLoadingError),
        (b"-NOAUTH Authentication required.\r\n", AuthenticationError),
        (b"-\r\n", ResponseError),
        (b"-\xff\xfe\r\n", ResponseError),
    ],
)
def test_refusals(said: bytes, kind: type[Exception]) -> None:
    """An error of the server is an exception to be raised, of the kind that the library has for it."""
    assert type(answer(said)) is kind


@given(value=st.binary(max_size=300), other=st.binary(max_size=50), cut=st.integers(0, 400))
def test_any_value_in_any_pieces(value: bytes, other: bytes, cut: int) -> None:
    """Whatever bytes a value has, it comes back whole or not at all."""
    single = b"$%d\r\n%b\r\n" % (len(value), value)
    pair = b"*2\r\n$%d\r\n%b\r\n%b" % (len(other), other, single)
    for said, meant in ((single, value), (pair, [other, value])):
        assert answer(said) == meant
        assert cut >= len(said) or answer(said[:cut]) is INCOMPLETE


@given(st.binary(max_size=100))
def test_any_bytes(said: bytes) -> None:
    """Random bytes are an answer, the beginning of one, or refused with one of two errors."""
    try:
        assert isinstance(answer(said), (bytes, int, list, Exception, type(None), type(INCOMPLETE)))
        size = expected_size(said)
        assert size is None or size >= 0
    except (InvalidResponse, UnexpectedReplyError):
        pass


def test_commands() -> None:
    """Words, bytes and numbers are packed with their lengths; what is large is left to the library."""
    assert packed(("GET", b"k\xff")) == b"*2\r\n$3\r\nGET\r\n$2\r\nk\xff\r\n"
    assert (
        packed(("SET", b"k", b"", "PX", 15))
        == b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n$2\r\nPX\r\n$2\r\n15\r\n"
    )
    assert packed(("SET", b"k", bytes(LARGEST))) is not None
    assert packed(("SET", b"k", bytes(LARGEST + 1))) is None

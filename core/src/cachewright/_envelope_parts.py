"""The parts of an envelope: clocks, meta section, buffers, runs; opened they make an :class:`Opened`."""

from __future__ import annotations

import struct
from hmac import compare_digest
from math import inf
from typing import TYPE_CHECKING, Final

from cachewright.errors import EnvelopeError
from cachewright.suite import DIGEST_SIZE

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from cachewright.codec.codecs import Codecs
    from cachewright.engine import Blob
    from cachewright.suite import Suite

ROW: Final = struct.Struct(f">Q{DIGEST_SIZE}s")
"""One row of the frame table: length and digest of a buffer."""

_ALIGNMENT: Final = 64
_ZEROS: Final = bytes(_ALIGNMENT)
_COUNTS: Final = struct.Struct(">III")
_LENGTH: Final = 4
_LAST_MICROSECOND: Final = (1 << 63) - 1
_REMEMBERED: Final = 4096
_NUMBER: Final = struct.Struct(">I")
_SIZE: Final = 8
_FREE_INFLATION: Final = 1 << 24
_INFLATION: Final = 1000
"""A run may inflate to so many bytes, or to so many times its own, whichever is more."""


class Opened:
    """An entry whose envelope has been verified; its value is still serialized.

    Attributes:
        serializer: id of the serializer of ``frames``.
        codec: id of the codec, 0 for none.
        flags: ``NEGATIVE``, ``EXCEPTION``, ``CLAIM``.
        created: seconds since the epoch, at most a microsecond before what was sealed.
        expires: hard expiry in seconds since the epoch, never after what was sealed; ``None`` if none.
        soft: the same for the soft expiry.
        generation: stamp read before the value was computed.
        seconds: what computing the value took.
        size: stored bytes.
        frames: read-only views of the frames.
        tags: tags given at storing time.
        version: version of the function.
        label: encoded form of the key as the caller wrote it, empty if not kept.
        special: whether flags, tags or a soft expiry say more than that here is a value.
    """

    __slots__ = (
        "codec", "created", "expires", "flags", "frames", "generation", "label",
        "seconds", "serializer", "size", "soft", "special", "tags", "version",
    )  # fmt: skip

    serializer: int
    codec: int
    flags: int
    created: float
    expires: float | None
    soft: float | None
    generation: int
    seconds: float
    size: int
    frames: list[memoryview]
    tags: tuple[str, ...]
    version: str
    label: bytes
    special: bool

    def __repr__(self) -> str:
        return f"Opened(serializer={self.serializer:#04x}, size={self.size}, expires={self.expires})"


class Deflated(Opened):
    """An entry whose frames are compressed; they are inflated whenever they are asked for.

    So listing inflates nothing, and what is remembered as verified stays small.

    Attributes:
        raw: bytes of the run that the frames make up.
    """

    __slots__ = ("_codecs", "_run", "raw")

    raw: int

    def __init__(self, codecs: Codecs, raw: int) -> None:
        self._codecs = codecs
        self._run: list[memoryview] = []
        self.raw = raw

    # a property in the place of a variable: whoever opens entries need not know that one is compressed
    @property
    def frames(self) -> list[memoryview]:
        """Inflate the frames; see :meth:`Codecs.inflate` and :func:`opened_run` for what that raises."""
        (run,) = self._run
        return opened_run(self._codecs.inflate(self.codec, run, self.raw))

    @frames.setter
    def frames(self, stored: list[memoryview]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._run = stored


class VerifiedBuffers:
    """The latest few thousand mapped envelopes whose buffers have been verified.

    Two generations, replaced by plain assignment: without a lock that a fork could leave held. A race
    forgets some, which costs verifying them again.
    """

    __slots__ = ("_old", "_young")

    def __init__(self) -> None:
        self._young: set[Hashable] = set()
        self._old: set[Hashable] = set()

    def __contains__(self, verified: Hashable) -> bool:
        return verified in self._young or verified in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, verified: Hashable) -> None:
        """Remember; forget the older half when there are too many."""
        if len(self._young) >= _REMEMBERED:
            self._old, self._young = self._young, set()
        self._young.add(verified)


def flat(blob: Blob) -> memoryview:
    """Return a read-only view of single bytes, whatever the shape of ``blob``."""
    view = memoryview(blob)
    if not view.c_contiguous:
        return memoryview(view.tobytes())
    if view.format != "B" or view.ndim != 1:
        view = view.cast("B") if view.nbytes else memoryview(b"")
    return view if view.readonly else view.toreadonly()


def microsecond(seconds: float) -> int:
    """Return the last microsecond that, read back as seconds, is not after ``seconds``."""
    number = int(seconds * 1e6)
    return number - 1 if number / 1e6 > seconds else number


def deadline(seconds: float | None) -> int:
    """Return a deadline on the wire: 0 is none, so what ended before the first microsecond ends in it.

    Raises:
        ValueError: it is not a number.
    """
    if seconds is None or seconds == inf:
        return 0
    if seconds > _LAST_MICROSECOND / 1e6:
        return _LAST_MICROSECOND
    return microsecond(seconds) if seconds >= 1 else max(microsecond(max(seconds, 0.0)), 1)


def packed_meta(version: str, label: bytes, tags: tuple[str, ...]) -> bytes:
    """Return the lengths of version and label, the number of tags, their lengths, and all the bytes."""
    texts = [tag.encode("utf-8", "surrogatepass") for tag in tags]
    name = version.encode("utf-8", "surrogatepass")
    lengths = [len(text).to_bytes(_LENGTH, "big") for text in texts]
    return b"".join([_COUNTS.pack(len(name), len(label), len(texts)), *lengths, name, label, *texts])


def opened_meta(meta: bytes) -> tuple[str, bytes, tuple[str, ...]]:
    """Return version, label and tags.

    Raises:
        EnvelopeError: ``format``; the lengths do not add up exactly or a text is not UTF-8.
    """
    try:
        name_size, label_size, count = _COUNTS.unpack_from(meta)
        place = _COUNTS.size + _LENGTH * count
        if place + name_size + label_size > len(meta):
            raise EnvelopeError("format")
        lengths: tuple[int, ...] = struct.unpack_from(f">{count}I", meta, _COUNTS.size)
        if place + name_size + label_size + sum(lengths) != len(meta):
            raise EnvelopeError("format")
        version = meta[place : place + name_size].decode("utf-8", "surrogatepass")
        place += name_size
        label = meta[place : place + label_size]
        place += label_size
        tags: list[str] = []
        for length in lengths:
            tags.append(meta[place : place + length].decode("utf-8", "surrogatepass"))
            place += length
    except (struct.error, UnicodeDecodeError):
        raise EnvelopeError("format") from None
    return version, label, tuple(tags)


def aligned_end(start: int, buffers: Sequence[memoryview]) -> int:
    """Return where the last buffer ends if the first may begin at ``start``."""
    for buffer in buffers:
        start += -start % _ALIGNMENT + len(buffer)
    return start


def append_aligned(chunks: list[bytes | memoryview], buffers: Sequence[memoryview]) -> None:
    """Append the buffers, uncopied, each behind the zeros that align it."""
    place = sum(map(len, chunks))
    for buffer in buffers:
        padding = -place % _ALIGNMENT
        if padding:
            chunks.append(_ZEROS[:padding])
        chunks.append(buffer)
        place += padding + len(buffer)


def aligned_buffers(view: memoryview, place: int, rows: Sequence[tuple[int, bytes]]) -> list[memoryview]:
    """Return the buffers behind ``place``; refuse other bytes than zeros between and any behind them.

    Raises:
        EnvelopeError: ``short``, ``auth`` or ``length``.
    """
    buffers: list[memoryview] = []
    for length, _ in rows:
        start = place + -place % _ALIGNMENT
        end = start + length
        if end > len(view):
            raise EnvelopeError("short")
        if bytes(view[place:start]) != _ZEROS[: start - place]:
            raise EnvelopeError("auth")
        buffers.append(view[start:end])
        place = end
    if place != len(view):
        raise EnvelopeError("length")
    return buffers


def packed_run(frames: Sequence[memoryview]) -> bytes:
    """Return the frames in one piece: their number, their lengths, the first one, and the others aligned."""
    table = _NUMBER.pack(len(frames)) + b"".join([len(frame).to_bytes(_SIZE, "big") for frame in frames])
    chunks: list[bytes | memoryview] = [table, frames[0]]
    append_aligned(chunks, frames[1:])
    return b"".join(chunks)


def opened_run(run: bytes) -> list[memoryview]:
    """Return the frames of a run as read-only views.

    Raises:
        EnvelopeError: ``length`` or ``short``; the lengths do not add up exactly. ``auth``; other bytes than
            zeros are between frames.
    """
    view = memoryview(run)
    place = _NUMBER.size
    count: int = _NUMBER.unpack_from(run)[0] if len(run) >= place else 0
    start = place + _SIZE * count
    if not count or start > len(run):
        raise EnvelopeError("length")
    lengths: tuple[int, ...] = struct.unpack_from(f">{count}Q", run, place)
    end = start + lengths[0]
    if end > len(run):
        raise EnvelopeError("length")
    rows = [(length, b"") for length in lengths[1:]]
    return [view[start:end], *aligned_buffers(view, end, rows)]


def may_inflate(raw: int, size: int) -> bool:
    """Whether ``size`` compressed bytes may claim to be ``raw``: little that becomes very much is a bomb."""
    return raw <= _FREE_INFLATION or raw <= _INFLATION * size


def verify_buffers(suite: Suite, rows: Sequence[tuple[int, bytes]], buffers: Sequence[memoryview]) -> None:
    """Compare every buffer with its digest.

    Raises:
        EnvelopeError: ``auth``; one of them was changed.
    """
    for (_, digest), buffer in zip(rows, buffers, strict=True):
        if not compare_digest(suite.digest(buffer), digest):
            raise EnvelopeError("auth")

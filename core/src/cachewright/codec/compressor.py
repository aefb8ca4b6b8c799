"""A compressor finds out, by trying, which codec a kind of value gains from; if none, it uses none."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final

from cachewright.codec.codecs import Codecs
from cachewright.codec.contract import Codec, CodecInfo
from cachewright.errors import PluginLoadError

SMALLEST: Final = 512
"""Bytes below which nothing is compressed: a header takes more than could be saved."""

WORTHWHILE: Final = 7 / 8
"""What compressing has to shrink bytes to, at most, to be worth decompressing them on every read."""

SECONDS_PER_BYTE: Final = 50e-9
"""What a byte is worth that is neither stored nor carried: a disk or a network of 20 MB/s."""

READS: Final = 4
"""Reads per write, as for a hit ratio of 0.8."""

RETRY: Final = 64
"""Values of one kind after which it is tried again which codec it gains from."""

_SLICE: Final = 1 << 14
_SLICES: Final = 4
_KINDS: Final = 512


class Compressor:
    """Decides by a sample of at most 64 KiB; remembers for each kind of value and size; checks each result.

    May be shared by threads: a race costs trying twice.

    Args:
        infos: the codecs to choose from; broken ones are left out when they are tried.
        codecs: loads them.
        timed: whether a codec has to save more than its time is worth; otherwise space alone counts.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        infos: Sequence[CodecInfo],
        codecs: Codecs,
        *,
        timed: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.names = tuple(info.name for info in infos)
        self.timed = timed
        self._codes = tuple(info.code for info in infos)
        self._codecs = codecs
        self._clock = clock
        self._kinds: dict[Hashable, _Kind] = {}

    def choose(self, kind: Hashable, frames: Sequence[memoryview]) -> Choice | None:
        """Return what to compress a value with, ``None`` for nothing.

        Args:
            kind: stands for values that are alike, such as the name of their type.
            frames: the serialized value, as flat bytes.
        """
        size = sum(map(len, frames))
        if size < SMALLEST:
            return None
        known = kind, size.bit_length()
        found = self._kinds.get(known)
        if found is None or found.left <= 0:
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            found = self._kinds[known] = _Kind(self._best(sample_of(frames, size)))
        found.left -= 1
        return None if found.code == 0 else Choice(found.code, self._codecs.load(found.code), found)

    def _best(self, sample: bytes) -> int:
        """Return the id of the codec that the sample gains most from, 0 for none."""
        best, least = 0, len(sample) * SECONDS_PER_BYTE
        for code in self._codes:
            try:
                cost = self._cost(self._codecs.load(code), sample)
            except PluginLoadError:
                continue
            except Exception:  # noqa: BLE001, S112 - foreign code; what cannot take the sample is not used
                continue
            if cost < least:
                best, least = code, cost
        return best

    def _cost(self, codec: Codec, sample: bytes) -> float:
        """Return in seconds what storing and reading the sample costs; infinite if it hardly shrinks."""
        packed = codec.compress(sample)  # once untimed: a codec sets itself up when it is first used
        if len(packed) > len(sample) * WORTHWHILE:
            return float("inf")
        space = len(packed) * SECONDS_PER_BYTE
        if codec.decompress(packed, size=len(sample)) != sample:
            return float("inf")
        if not self.timed:
            return space
        started = self._clock()
        codec.compress(sample)
        between = self._clock()
        codec.decompress(packed, size=len(sample))
        return space + (between - started) + READS * (self._clock() - between)


class _Kind:
    """What is remembered of a kind of value: the codec, 0 for none, and for how many values it holds."""

    __slots__ = ("code", "left")

    def __init__(self, code: int) -> None:
        self.code = code
        self.left = RETRY


class Choice:
    """A codec that has served values of this kind well so far.

    Attributes:
        code: its id.
    """

    __slots__ = ("_codec", "_kind", "code")

    def __init__(self, code: int, codec: Codec, kind: _Kind) -> None:
        self.code = code
        self._codec = codec
        self._kind = kind

    def compress(self, run: bytes) -> bytes | None:
        """Return the compressed run; ``None`` if it hardly shrinks, and then its kind is tried anew."""
        try:
            packed = self._codec.compress(run)
        except Exception:  # noqa: BLE001 - foreign code; what it cannot take is stored as it is
            packed = None
        if packed is not None and len(packed) <= len(run) * WORTHWHILE:
            return packed
        self._kind.left = 0
        return None


def sample_of(frames: Sequence[memoryview], size: int) -> bytes:
    """Return all of the frames if they are few bytes, else slices from beginning to end."""
    if size <= _SLICE * _SLICES:
        return b"".join(frames)
    step = (size - _SLICE) // (_SLICES - 1)
    return b"".join([piece for number in range(_SLICES) for piece in _pieces(frames, number * step)])


def _pieces(frames: Sequence[memoryview], start: int) -> list[memoryview]:
    """Return the next bytes of the joined frames, without joining them."""
    pieces: list[memoryview] = []
    wanted = _SLICE
    for frame in frames:
        if wanted and start < len(frame):
            piece = frame[start : start + wanted]
            pieces.append(piece)
            wanted -= len(piece)
        start = max(start - len(frame), 0)
    return pieces

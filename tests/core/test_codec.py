"""Codecs: chosen by trying, kept for values of a kind, and never used for what does not shrink."""

from __future__ import annotations

import random
import zlib
from itertools import pairwise

import pytest

from cachewright.builtin.plugin import cachewright_codecs
from cachewright.codec import Codec, CodecInfo
from cachewright.codec.codecs import Codecs
from cachewright.codec.compressor import RETRY, SMALLEST, Compressor, sample_of
from cachewright.errors import EnvelopeError, PluginLoadError

TEXT = b"the same words again and again; " * 1000
NOISE = random.Random(3).randbytes(len(TEXT))
(ZLIB,) = cachewright_codecs()


class Halves(Codec):
    """Deflates, keeps a share of the bytes besides, and takes time on a clock."""

    def __init__(self, clock, *, share=0.0, write=0.0, read=0.0):
        self.clock, self.share, self.write, self.read = clock, share, write, read
        self.compressed = 0
        self.error = None

    def compress(self, data, /):
        self.compressed += 1
        self.clock.now += self.write * len(data)
        if self.error is not None:
            raise self.error
        return zlib.compress(data).ljust(int(len(data) * self.share), b"\0")

    def decompress(self, data, /, *, size):
        self.clock.now += self.read * size
        return zlib.decompressobj().decompress(data, size)


class Seconds:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """Seconds that only codecs spend."""
    return Seconds()


def compressor(clock, timed=True, **codecs):
    """Return a compressor with codecs of one's own, by name."""
    infos = [
        CodecInfo(name=name, code=code, target=f"nowhere_{name}:C") for code, name in enumerate(codecs, 1)
    ]
    known = Codecs(infos)
    known._loaded.update({info.code: codecs[info.name] for info in infos if codecs[info.name] is not None})
    return Compressor(infos, known, timed=timed, clock=clock)


def chosen(made, data=TEXT, kind="kind"):
    choice = made.choose(kind, [memoryview(data)])
    return None if choice is None else choice.code


def test_space_is_weighed_against_time(clock):
    """A byte is worth 50 ns: of two codecs the one is chosen that costs less for one write and four reads."""
    slow, fast = Halves(clock, write=40e-9, read=1e-9), Halves(clock, share=0.3, write=1e-9, read=1e-9)
    assert chosen(compressor(clock, slow=slow, fast=fast)) == 2
    quick_to_read = Halves(clock, share=0.3, write=1e-9, read=8e-9)
    assert chosen(compressor(clock, slow=slow, fast=quick_to_read)) == 1


def test_a_codec_that_takes_more_than_it_saves_is_not_used(clock):
    """Reading counts four times; when space alone counts, the codec that was named is used all the same."""
    costly = Halves(clock, read=13e-9)
    assert chosen(compressor(clock, costly=costly)) is None
    assert chosen(compressor(clock, timed=False, costly=costly)) == 1


@pytest.mark.parametrize("timed", [True, False])
def test_what_does_not_shrink_is_not_compressed(clock, timed):
    """Noise is stored as it is, and so is what would shrink by less than an eighth."""
    assert chosen(compressor(clock, timed, zlib=Halves(clock)), NOISE) is None
    assert chosen(compressor(clock, timed, weak=Halves(clock, share=0.88))) is None
    assert chosen(compressor(clock, timed, fair=Halves(clock, share=0.87))) == 1


def test_little_is_not_compressed(clock):
    """Below 512 bytes nothing is even tried."""
    codec = Halves(clock)
    made = compressor(clock, zlib=codec)
    assert chosen(made, TEXT[: SMALLEST - 1]) is None
    assert codec.compressed == 0
    assert chosen(made, TEXT[:SMALLEST]) == 1


def test_a_choice_holds_for_values_of_a_kind_and_size(clock):
    """A sample is tried once per kind and magnitude of size, and again after 64 values."""
    codec = Halves(clock)
    made = compressor(clock, zlib=codec)
    for _ in range(RETRY):
        assert chosen(made) == 1
    tried = codec.compressed
    assert chosen(made) == 1
    assert codec.compressed == 2 * tried
    assert chosen(made, kind="another") == 1
    assert codec.compressed == 3 * tried
    assert chosen(made, TEXT * 2) == 1
    assert codec.compressed == 4 * tried
    assert chosen(made, TEXT[:-100]) == 1
    assert codec.compressed == 4 * tried


def test_what_was_not_worth_it_is_tried_again(clock):
    """A kind that began with noise is compressed once its values have changed."""
    made = compressor(clock, zlib=Halves(clock))
    assert [chosen(made, NOISE)] + [chosen(made) for _ in range(RETRY)] == [None] * RETRY + [1]


def test_a_result_that_did_not_shrink_is_not_stored(clock):
    """Noise among values that shrink is stored as it is, and the kind is tried anew."""
    codec = Halves(clock)
    made = compressor(clock, zlib=codec)
    choice = made.choose("kind", [memoryview(TEXT)])
    assert len(choice.compress(TEXT)) < len(TEXT) // 10
    assert choice.compress(NOISE) is None
    tried = codec.compressed
    assert chosen(made) == 1
    assert codec.compressed > tried


def test_a_codec_that_raises_is_not_used(clock):
    """Neither while it is tried nor later does its exception reach the caller."""
    good, bad = Halves(clock, share=0.5), Halves(clock)
    bad.error = OverflowError("too large")
    assert chosen(compressor(clock, bad=bad, good=good)) == 2
    choice = compressor(clock, good=good).choose("kind", [memoryview(TEXT)])
    good.error = OverflowError("too large")
    assert choice.compress(TEXT) is None


def test_a_codec_that_gives_back_something_else_is_not_used(clock):
    """What cannot be read again is found out while it is tried."""

    class Liar(Halves):
        def decompress(self, data, /, *, size):
            return bytes(size)

    assert chosen(compressor(clock, liar=Liar(clock))) is None


def test_a_codec_that_cannot_be_loaded_is_left_out(clock):
    """A broken plugin costs compression, not the value."""
    assert chosen(compressor(clock, broken=None, good=Halves(clock))) == 2


def test_the_kinds_that_are_remembered_are_bounded(clock):
    """However many kinds of values there are, what is known of them stays small."""
    made = compressor(clock, zlib=Halves(clock))
    for kind in range(2000):
        chosen(made, TEXT[:SMALLEST], kind=kind)
    assert len(made._kinds) <= 512


@pytest.mark.parametrize("cuts", [(), (1,), (10_000, 10_001), (0, 50_000, 150_000), (199_999,)])
def test_a_sample_is_small_and_from_everywhere(cuts):
    """64 KiB in four slices from the first byte to the last, wherever one frame ends and another begins."""
    whole = random.Random(4).randbytes(200_000)
    places = [0, *cuts, len(whole)]
    frames = [memoryview(whole)[a:b] for a, b in pairwise(places)]
    step = (len(whole) - (1 << 14)) // 3
    expected = b"".join(whole[at : at + (1 << 14)] for at in (0, step, 2 * step, 3 * step))
    assert sample_of(frames, len(whole)) == expected
    assert 3 * step + (1 << 14) >= len(whole) - 2
    few = [memoryview(b"few"), memoryview(b""), memoryview(b" bytes")]
    assert sample_of(few, 9) == b"few bytes"


def test_codecs_are_loaded_when_they_are_met():
    """Knowing of a codec imports nothing; what cannot be imported is said so, once it is needed."""
    codecs = Codecs([ZLIB, CodecInfo(name="broken", code=9, target="no_such_module:C")])
    assert (1 in codecs, 9 in codecs, 2 in codecs) == (True, True, False)
    assert [codecs.name_of(code) for code in (0, 1, 9, 200)] == ["", "zlib", "broken", "unknown (0xc8)"]
    assert codecs.inflate(1, zlib.compress(TEXT), len(TEXT)) == TEXT
    with pytest.raises(PluginLoadError):
        codecs.load(9)
    with pytest.raises(EnvelopeError, match="codec"):
        codecs.inflate(9, b"x", 1)


def test_refusals_of_a_codec_are_misses():
    """Whatever a codec raises, and whatever else it returns than was asked for, is one kind of error."""

    class Odd(Codec):
        def __init__(self, answer):
            self.answer = answer

        def compress(self, data, /):
            raise NotImplementedError

        def decompress(self, data, /, *, size):
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    codecs = Codecs([ZLIB])
    for answer, reason in (
        (ValueError("no"), "decode"),
        (MemoryError(), "decode"),
        (RecursionError(), "decode"),
        (b"abcd", "length"),
        (bytearray(b"abc"), "length"),
        (None, "length"),
    ):
        codecs._loaded[1] = Odd(answer)
        with pytest.raises(EnvelopeError, match=reason):
            codecs.inflate(1, b"x", 3)

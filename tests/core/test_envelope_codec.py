"""Compressed envelopes: authenticated first, inflated when asked for, in bounds that hold beforehand."""

from __future__ import annotations

import json
import random
import struct
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright._envelope_parts import flat, opened_run, packed_run
from cachewright.builtin.plugin import cachewright_codecs
from cachewright.codec.codecs import Codecs
from cachewright.engine import MappedBlob
from cachewright.envelope import Envelope
from cachewright.envelope.encrypted import EncryptedEnvelope
from cachewright.errors import EnvelopeError
from cachewright.keyring import KeyRing, prefixed
from cachewright.suite import Blake2bSuite
from cachewright.testing.reference_cipher import REFERENCE

KEY = "5f" * 16
RING = KeyRing([b"k" * 32])
CREATED = 1_700_000_000.25
NOW = CREATED + 1
KINDS = ("chk", "keyed", "encrypted")
TEXT = b"compressible words, " * 300
FRAMES = (b"head", TEXT, b"", b"tail")
GOLDEN = Path(__file__).parent / "golden" / "compressed.json"


class CountingCodecs(Codecs):
    """zlib, and how often it was asked."""

    def __init__(self):
        super().__init__(cachewright_codecs())
        self.inflated = 0

    def inflate(self, code, run, size):
        self.inflated += 1
        return super().inflate(code, run, size)


def envelope(kind="chk", codecs=None, **options):
    codecs = CountingCodecs() if codecs is None else codecs
    if kind == "encrypted":
        return EncryptedEnvelope("m.f", ring=RING, info=REFERENCE, codecs=codecs, **options)
    return Envelope("m.f", ring=RING if kind == "keyed" else None, codecs=codecs, **options)


def compressed(box, frames=FRAMES, **options):
    run = packed_run([flat(frame) for frame in frames])
    given = {"serializer": 4, "created": CREATED, "codec": 1, "raw": len(run), **options}
    return b"".join(box.seal_run(KEY, zlib.compress(run), **given))


def refusal(blob, box=None):
    """Return why a blob, or what is in it, is refused."""
    with pytest.raises(EnvelopeError) as caught:
        _ = (box or envelope()).open(KEY, blob, now=NOW).frames
    return caught.value.reason


def forged(run=None, *, whole=None, raw=None, codec=1, rows=0):
    """Return an envelope of suite CHK with a right tag: what any writer could make."""
    run = zlib.compress(whole) if run is None else run
    header = struct.pack(
        ">3sBBBBB8sqQQQQdQII", b"\xca\xce\x01", 0, 4, codec, 0, 0, bytes(8), int(CREATED * 1e6), 0, 0, 0,
        len(whole) if raw is None else raw, 0.0, len(run), 0, rows,
    )  # fmt: skip
    table = bytes(40 * rows)
    tag = Blake2bSuite(prefixed("cachewright") + prefixed("m.f"), None).tag(
        prefixed(KEY) + header + table, run
    )
    return header + tag + table + run


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    frames=st.lists(st.binary(max_size=400), min_size=1, max_size=5),
    tags=st.lists(st.text(max_size=9), max_size=2).map(tuple),
)
def test_what_was_compressed_comes_back(kind, frames, tags):
    """Any frames, with what is beside them, come back from any kind of blob; large ones are aligned."""
    box = envelope(kind)
    blob = compressed(box, frames, tags=tags, version="v", label=b"l")
    for stored in (blob, memoryview(blob), MappedBlob(memoryview(blob), identity=1)):
        opened = box.open(KEY, stored, now=NOW)
        assert [bytes(frame) for frame in opened.frames] == frames
        assert all(frame.readonly for frame in opened.frames)
        assert (opened.codec, opened.serializer, opened.tags, opened.size) == (1, 4, tags, len(blob))


def test_frames_behind_the_first_are_aligned():
    """Within a run every one of them begins at a multiple of 64 bytes."""
    run = packed_run([flat(frame) for frame in FRAMES])
    assert run.index(TEXT) % 64 == run.index(b"tail") % 64 == 0
    assert [bytes(frame) for frame in opened_run(run)] == list(FRAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_listing_inflates_nothing(kind):
    """Opening tells everything but the frames; these are inflated when, and each time that, they are read."""
    codecs = CountingCodecs()
    box = envelope(kind, codecs)
    opened = box.open(KEY, compressed(box, tags=("t",)), now=NOW)
    assert (opened.tags, opened.codec, codecs.inflated) == (("t",), 1, 0)
    assert opened.frames[1] == TEXT
    assert opened.frames[3] == b"tail"
    assert codecs.inflated == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_entry_is_remembered_compressed(kind):
    """What is kept of a verified entry is the run as it was stored, so that bombs stay small."""
    box = envelope(kind)
    blob = compressed(box, [bytes(1 << 19)])
    assert len(blob) < 1024
    first = box.open(KEY, blob, now=NOW)
    assert len(first.frames[0]) == 1 << 19
    ((_, known),) = box._known.values()
    assert sum(len(view) for view in known._run) < 1024


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_inflated_that_was_changed(kind):
    """Each flipped bit and each cut is refused before the codec sees anything."""
    codecs = CountingCodecs()
    box = envelope(kind, codecs)
    blob = compressed(box)
    for bit in range(8 * len(blob)):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeError):
            box.open(KEY, bytes(changed), now=NOW)
    for end in range(len(blob)):
        with pytest.raises(EnvelopeError):
            box.open(KEY, blob[:end], now=NOW)
    for more in (b"\0", blob):
        with pytest.raises(EnvelopeError):
            box.open(KEY, blob + more, now=NOW)
    assert codecs.inflated == 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_codec_is_a_refusal(kind):
    """An entry of a codec that is not installed here is refused by that name; so is any without codecs."""
    box = envelope(kind)
    blob = compressed(box, codec=77)
    assert refusal(blob, box) == "codec"
    assert refusal(compressed(box), envelope(kind, Codecs([]))) == "codec"
    if kind == "chk":
        assert refusal(compressed(box), Envelope("m.f", ring=None)) == "codec"


RUN = packed_run([memoryview(b"first"), memoryview(b"second")])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"whole": RUN, "raw": len(RUN) + 1}, "decode"),
        ({"whole": RUN, "raw": len(RUN) - 1}, "decode"),
        ({"whole": RUN, "raw": 0}, "decode"),
        ({"whole": RUN, "rows": 1}, "length"),
        ({"run": zlib.compress(RUN)[:-1], "raw": len(RUN)}, "decode"),
        ({"run": zlib.compress(RUN) + b"\0", "raw": len(RUN)}, "decode"),
        ({"run": zlib.compress(RUN) * 2, "raw": len(RUN)}, "decode"),
        ({"run": zlib.compress(RUN) * 2, "raw": 2 * len(RUN)}, "decode"),
        ({"run": b"not a stream", "raw": 100}, "decode"),
        ({"run": b"", "raw": 0}, "decode"),
        ({"whole": b""}, "length"),
        ({"whole": bytes(4)}, "length"),
        ({"whole": b"\xff" * 4}, "length"),
        ({"whole": b"\xff" * 400}, "length"),
        ({"whole": bytes(3) + b"\1" + b"\xff" * 8}, "length"),
        ({"whole": RUN + b"x"}, "length"),
        ({"whole": RUN[:-1]}, "short"),
        ({"whole": RUN[:30] + b"\1" + RUN[31:]}, "auth"),
        ({"whole": RUN, "codec": 255}, "codec"),
    ],
)
def test_a_forged_run_is_refused(changes, reason):
    """Without keys anybody can make a right tag, so what a codec returns is checked as well."""
    assert [bytes(frame) for frame in envelope().open(KEY, forged(whole=RUN), now=NOW).frames] == [
        b"first",
        b"second",
    ]
    assert refusal(forged(**changes)) == reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_at_once(kind):
    """Above max_bytes, or far above what was stored, nothing is inflated, and refusing takes no time."""
    codecs = CountingCodecs()
    bomb = zlib.compress(bytes(64 << 20), 9)
    assert len(bomb) < (64 << 20) / 1000
    for limit, raw in ((1 << 20, 64 << 20), (1 << 31, 64 << 20), (1 << 31, 1 << 40), (1 << 31, 2**64 - 1)):
        box = envelope(kind, codecs, max_bytes=limit)
        blob = b"".join(box.seal_run(KEY, bomb, serializer=4, created=CREATED, codec=1, raw=raw))
        fastest = min(_seconds(box, blob) for _ in range(5))
        assert fastest < 0.05
        assert refusal(blob, box) == "too-big"
    assert codecs.inflated == 0


def _seconds(box, blob):
    started = time.process_time()
    with pytest.raises(EnvelopeError):
        box.open(KEY, blob, now=NOW)
    return time.process_time() - started


def test_a_bomb_that_claims_to_be_small_is_stopped():
    """A run that goes on behind the length in the header is given up there, within 50 ms."""
    bomb = zlib.compress(bytes(128 << 20), 1)
    blob = forged(bomb, raw=1000)
    box = envelope()
    opened = box.open(KEY, blob, now=NOW)
    started = time.process_time()
    with pytest.raises(EnvelopeError, match="decode"):
        _ = opened.frames
    assert time.process_time() - started < 0.05


def test_what_would_not_be_opened_is_not_sealed():
    """The bounds that opening keeps are known before sealing."""
    box = envelope(max_bytes=100 << 20)
    assert box.may_inflate(16 << 20, 1)
    assert not box.may_inflate((16 << 20) + 1, 1)
    assert box.may_inflate(50 << 20, (50 << 20) // 1000 + 1)
    assert not box.may_inflate(101 << 20, 90 << 20)


@pytest.mark.parametrize("kind", ["chk", "keyed", "encrypted"])
def test_damaged_compressed_envelopes_are_refused(kind):
    """Noise, splices and extreme header fields raise EnvelopeError, nothing else, and none is accepted."""
    rng = random.Random(11)
    box = envelope(kind)
    blobs = [compressed(box), compressed(box, [b"other"]), compressed(box, [TEXT] * 3, tags=("t",))]
    blobs.append(b"".join(box.seal(KEY, [b"plain", TEXT], serializer=4, created=CREATED)))
    for _ in range(3000):
        blob = _mutation(rng, blobs)
        if blob in blobs:
            continue
        with pytest.raises(EnvelopeError):
            box.open(KEY, blob, now=NOW)


@pytest.mark.parametrize("rounds", [2000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_damaged_runs_under_a_right_tag_raise_one_exception(rounds):
    """Whoever can forge a tag gets a refusal or other frames for it, never another exception."""
    rng = random.Random(12)
    box = envelope()
    runs = [zlib.compress(packed_run([flat(frame) for frame in frames])) for frames in (FRAMES, [b"x"])]
    refused = 0
    for _ in range(rounds):
        run = _mutation(rng, runs)
        raw = rng.choice((12, len(TEXT) + 200, 6272, 6336, 0, 1 << 20, rng.randrange(10_000)))
        try:
            assert box.open(KEY, forged(run, raw=raw), now=NOW).frames
        except EnvelopeError:
            refused += 1
    assert refused > rounds * 0.8


def _mutation(rng, blobs):
    blob = bytearray(rng.choice(blobs))
    match rng.randrange(4):
        case 0:
            return rng.randbytes(rng.randrange(300))
        case 1:
            blob[rng.randrange(len(blob))] ^= 1 << rng.randrange(8)
        case 2:
            start = rng.randrange(len(blob))
            blob[start : start + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
        case _:
            cut = rng.randrange(len(blob))
            return bytes(blob[:cut]) + rng.choice(blobs)[cut:]
    return bytes(blob)


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_compressed_envelopes_of_earlier_releases_are_read(case):
    """Stored bytes keep their meaning; those written today may be others, for zlib may be another."""
    ring = KeyRing([bytes.fromhex(case["key"])]) if case["key"] else None
    box = Envelope(case["namespace"], ring=ring, codecs=Codecs(cachewright_codecs()))
    opened = box.open(KEY, bytes.fromhex(case["blob"]), now=case["created"] + 1)
    assert [bytes(frame).hex() for frame in opened.frames] == case["frames"]
    assert (opened.codec, opened.serializer, list(opened.tags)) == (1, case["serializer"], case["tags"])

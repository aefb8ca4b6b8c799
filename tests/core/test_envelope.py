"""The envelope: what is sealed comes back exactly, and nothing else is ever opened."""

from __future__ import annotations

import array
import json
import math
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright._envelope_parts import ROW, VerifiedBuffers, packed_meta
from cachewright.engine import MappedBlob
from cachewright.envelope import CLAIM, EXCEPTION, NEGATIVE, Envelope, Opened
from cachewright.errors import EnvelopeError, UnserializableError
from cachewright.keyring import KeyRing, prefixed
from cachewright.suite import Blake2bSuite

KEY = "5f" * 16
SECRET = b"canary-canary-canary-canary-canary"
CREATED = 1_700_000_000.25
TTL = 60.0
NOW = CREATED + 1
CODES = {"chk": 0, "blake2b": 1, "hmac": 2}


def envelope(kind: str = "chk", namespace: str = "m.f", **options: Any) -> Envelope:
    return Envelope(namespace, ring=None if kind == "chk" else KeyRing([SECRET]), **options)


def seal(kind: str, *frames: bytes, **options: Any) -> bytes:
    """Seal with the suite called ``kind``; HMAC takes over when there are 2 KiB of frames."""
    chosen = frames or (bytes(2048) if kind == "hmac" else b"a small value",)
    given = {"serializer": 1, "created": CREATED, "expires": CREATED + TTL, "tags": ("t",), **options}
    blob = b"".join(envelope(kind).seal(KEY, chosen, **given))
    assert blob[3] == CODES[kind]
    return blob


def refusal(blob: Any, kind: str = "chk", *, key: str = KEY, now: float = NOW, **options: Any) -> str:
    with pytest.raises(EnvelopeError) as caught:
        envelope(kind, **options).open(key, blob, now=now)
    return caught.value.reason


def forged(**changes: Any) -> bytes:
    """Return an envelope of suite CHK with a right tag and any header: what any writer could make."""
    fields = {
        "serializer": 1, "codec": 0, "flags": 0, "created": int(CREATED * 1e6), "soft": 0, "expires": 0,
        "generation": 0, "raw": None, "seconds": 0.0, "first": b"value", "meta": b"", "rows": [], "rest": b"",
    }  # fmt: skip
    fields |= changes
    table = b"".join(ROW.pack(*row) for row in fields["rows"])
    raw = (
        len(fields["first"]) + sum(row[0] for row in fields["rows"])
        if fields["raw"] is None
        else fields["raw"]
    )
    header = struct.pack(
        ">3sBBBBB8sqQQQQdQII", b"\xca\xce\x01", 0, fields["serializer"], fields["codec"], fields["flags"], 0,
        bytes(8), fields["created"], fields["soft"], fields["expires"], fields["generation"], raw,
        fields["seconds"], len(fields["first"]), len(fields["meta"]), len(fields["rows"]),
    )  # fmt: skip
    suite = Blake2bSuite(prefixed("cachewright") + prefixed("m.f"), None)
    tag = suite.tag(prefixed(KEY) + header + fields["meta"] + table, fields["first"])
    return b"".join((header, tag, fields["meta"], table, fields["first"], fields["rest"]))


texts = st.text(st.characters(exclude_categories=()), max_size=20)
buffers = st.lists(st.binary(max_size=300), max_size=4)


@settings(max_examples=300, deadline=None)
@given(
    keyed=st.booleans(),
    namespace=texts,
    key=texts,
    first=st.binary(max_size=3000),
    others=buffers,
    tags=st.lists(texts, max_size=4).map(tuple),
    version=texts,
    label=st.binary(max_size=50),
    seconds=st.floats(0, 1e9),
    flags=st.integers(0, 7),
    generation=st.integers(0, 2**64 - 1),
    ttl=st.one_of(st.none(), st.floats(1e-3, 1e18)),
)
def test_what_is_sealed_comes_back(
    keyed: bool, namespace: str, key: str, first: bytes, others: list[bytes], tags: tuple[str, ...],
    version: str,
    label: bytes, seconds: float, flags: int, generation: int, ttl: float | None,
) -> None:  # fmt: skip
    """Any frames, with any texts beside them, come back exactly, from any kind of blob."""
    box = Envelope(namespace, ring=KeyRing([SECRET]) if keyed else None)
    expires = None if ttl is None else CREATED + ttl
    chunks = box.seal(
        key, [first, *others], serializer=4, created=CREATED, expires=expires, soft=expires, seconds=seconds,
        tags=tags, version=version, label=label, flags=flags, generation=generation,
    )  # fmt: skip
    blob = b"".join(chunks)
    for stored in (blob, bytearray(blob), memoryview(blob), MappedBlob(memoryview(blob), identity=1)):
        opened = box.open(key, stored, now=CREATED)
        assert [bytes(frame) for frame in opened.frames] == [first, *others]
        assert all(frame.readonly for frame in opened.frames)
        assert (opened.tags, opened.version, opened.label) == (tags, version, label)
        assert (opened.serializer, opened.codec, opened.flags) == (4, 0, flags)
        assert (opened.seconds, opened.generation, opened.size) == (seconds, generation, len(blob))
        assert 0 <= CREATED - opened.created <= 1e-6
        if expires is None:
            assert opened.expires is None
            assert opened.soft is None
        else:
            assert opened.expires is not None
            assert opened.expires == opened.soft
            assert opened.expires <= expires


def test_frames_of_any_shape_are_taken() -> None:
    """Bytearrays, views of other formats, of several dimensions and with gaps are stored as their bytes."""
    numbers = memoryview(array.array("d", [1.0, 2.0]))
    square = memoryview(bytes(range(64))).cast("B", (8, 8))
    gaps = memoryview(b"abcdefgh")[::2]
    for frame in (bytearray(b"x"), numbers, square, gaps, memoryview(b"")):
        blob = b"".join(envelope().seal(KEY, [frame, frame], serializer=1, created=CREATED))
        content = frame.tobytes() if isinstance(frame, memoryview) else bytes(frame)
        assert [bytes(view) for view in envelope().open(KEY, blob, now=NOW).frames] == [content] * 2
        assert envelope().open(KEY, memoryview(blob).cast("B"), now=NOW).size == len(blob)


@pytest.mark.parametrize("kind", CODES)
def test_large_frames_are_aligned_and_not_copied(kind: str) -> None:
    """Every buffer starts at a multiple of 64 bytes and is handed on as the memory it was."""
    buffers = [bytearray(os.urandom(size)) for size in (100_000, 1, 65, 0, 64)]
    chunks = envelope(kind).seal(KEY, [b"first", *buffers], serializer=1, created=CREATED)
    shared = [chunk.obj for chunk in chunks if isinstance(chunk, memoryview)]
    assert [obj for obj in shared if any(obj is buffer for buffer in buffers)] == buffers
    blob = b"".join(chunks)
    opened = envelope(kind).open(KEY, blob, now=NOW)
    assert [bytes(frame) for frame in opened.frames[1:]] == buffers
    assert blob.index(buffers[0]) % 64 == blob.index(buffers[2]) % 64 == blob.index(buffers[4]) % 64 == 0
    large = bytes(1 << 20)
    assert any(chunk is large for chunk in envelope(kind).seal(KEY, [large], serializer=1, created=CREATED))


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("frames", [(), (b"head", b"a buffer", b"", b"z")])
def test_no_flipped_bit_and_no_truncation_is_accepted(kind: str, frames: tuple[bytes, ...]) -> None:
    """Each single bit, padding included, and each length but the right one make a refusal."""
    if frames and kind == "hmac":
        frames = (b"head", bytes(2048), b"", b"z")
    blob = seal(kind, *frames)
    box = envelope(kind)
    box.open(KEY, blob, now=NOW)
    bits = range(len(blob) * 8) if len(blob) < 1000 else [*range(300 * 8), *range(2400, len(blob) * 8, 41)]
    for bit in bits:
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeError):
            box.open(KEY, bytes(damaged), now=NOW)
    for length in range(len(blob)):
        with pytest.raises(EnvelopeError):
            box.open(KEY, blob[:length], now=NOW)
    for more in (b"\0", b"x", bytes(64), blob):
        with pytest.raises(EnvelopeError):
            box.open(KEY, blob + more, now=NOW)


@pytest.mark.parametrize("kind", CODES)
def test_an_entry_belongs_to_its_key_namespace_and_application(kind: str) -> None:
    """Under another key, namespace or context it is refused, also where the joined texts are the same."""
    blob = seal(kind)
    keyed = kind != "chk"
    assert refusal(blob, kind, key="5f" * 15 + "5e") == "auth"
    assert refusal(blob, kind, key="") == "auth"
    assert refusal(blob, kind, namespace="m.g") == ("unknown-key" if keyed else "auth")
    assert refusal(blob, kind, context="other") == ("unknown-key" if keyed else "auth")
    shifted = Envelope("m.f5", ring=None)
    assert shifted.open("f", b"".join(shifted.seal("f", [b"v"], serializer=1, created=1.0)), now=2.0)
    with pytest.raises(EnvelopeError):
        Envelope("m.f", ring=None).open(
            "5f", b"".join(shifted.seal("f", [b"v"], serializer=1, created=1.0)), now=2.0
        )


def test_configuration_alone_decides_about_the_suite() -> None:
    """With a ring unkeyed entries are refused, and without one keyed ones; a claim in the blob is nothing."""
    assert refusal(seal("chk"), "blake2b") == "suite"
    assert refusal(seal("blake2b"), "chk") == "suite"
    assert refusal(seal("hmac"), "chk") == "suite"
    for kind in ("blake2b", "hmac"):
        stripped = bytearray(seal(kind))
        stripped[3] = 0
        stripped[8:16] = bytes(8)
        assert refusal(bytes(stripped), kind) == "suite"
        assert refusal(bytes(stripped), "chk") in ("auth", "short", "length")
    for claimed in (1, 2, 3, 255):
        claiming = bytearray(seal("chk"))
        claiming[3] = claimed
        assert refusal(bytes(claiming), "blake2b") == ("unknown-key" if claimed < 3 else "suite")


def test_an_entry_of_another_ring_is_refused() -> None:
    """A key that is not on the ring opens nothing, even if the key id is copied."""
    other = Envelope("m.f", ring=KeyRing([b"x" * 32]))
    blob = bytearray(b"".join(other.seal(KEY, [b"v"], serializer=1, created=CREATED)))
    assert refusal(bytes(blob), "blake2b") == "unknown-key"
    blob[8:16] = seal("blake2b")[8:16]
    assert refusal(bytes(blob), "blake2b") == "auth"


@pytest.mark.parametrize("kind", CODES)
def test_a_replayed_entry_is_expired(kind: str) -> None:
    """An old blob put back is refused from its hard expiry on, to the microsecond."""
    blob = seal(kind)
    assert envelope(kind).open(KEY, blob, now=CREATED + TTL - 1e-5)
    assert refusal(blob, kind, now=CREATED + TTL) == "expired"
    assert refusal(blob, kind, now=CREATED + TTL + 1e9) == "expired"
    assert refusal(blob, kind, now=math.inf) == "expired"
    assert refusal(blob, kind, now=math.nan) == "expired"


@pytest.mark.parametrize("back", [1e-3, 1.0, 3600.0, 86_400.0, 1e9])
def test_a_clock_step_backwards_gives_no_entry_a_second_life(back: float) -> None:
    """Read before its creation an entry with a ttl is expired; without a ttl it is there."""
    assert refusal(seal("chk"), now=CREATED - back) == "expired"
    assert envelope().open(KEY, seal("chk", expires=None), now=CREATED - back).expires is None
    assert envelope().open(KEY, seal("chk"), now=CREATED)


@settings(max_examples=500, deadline=None)
@given(created=st.floats(1e-6, 4e9), ttl=st.floats(0, 1e6), part=st.floats(0, 2))
def test_nothing_is_served_after_its_hard_expiry(created: float, ttl: float, part: float) -> None:
    """Whatever the rounding, an entry is served at most from its creation to just before its expiry."""
    box, expires, now = envelope(), created + ttl, created + ttl * part
    blob = b"".join(box.seal(KEY, [b"v"], serializer=1, created=created, expires=expires))
    try:
        opened = box.open(KEY, blob, now=now)
    except EnvelopeError as refused:
        assert refused.reason == "expired"
        assert now > expires - 2e-6 or now < created
    else:
        assert created <= now < expires
        assert opened.expires is not None
        assert opened.expires <= expires


@pytest.mark.parametrize(
    ("expires", "served"),
    [(math.inf, True), (1e18, True), (1.7e308, True), (0.0, False), (-1.0, False), (-math.inf, False)],
)
def test_extreme_deadlines_are_meant_as_given(expires: float, served: bool) -> None:
    """Infinity is no deadline, the far future is the future, and the past is over."""
    blob = b"".join(envelope().seal(KEY, [b"v"], serializer=1, created=0.0, expires=expires))
    if served:
        assert envelope().open(KEY, blob, now=NOW)
    else:
        assert refusal(blob, now=1e-3) == "expired"


@pytest.mark.parametrize(
    "given",
    [
        {"serializer": 0}, {"serializer": 0x80}, {"serializer": 256}, {"serializer": -1}, {"flags": 8},
        {"flags": -1}, {"seconds": math.nan}, {"seconds": -1.0}, {"seconds": math.inf}, {"created": math.nan},
        {"created": math.inf}, {"expires": math.nan}, {"soft": math.nan}, {"generation": -1},
        {"generation": 2**64},
    ],
)  # fmt: skip
def test_what_could_not_be_opened_is_not_sealed(given: dict[str, Any]) -> None:
    """A serializer, flag or number that makes no sense is a programming error."""
    with pytest.raises(ValueError):  # noqa: PT011 - several sentences, one meaning
        seal("chk", **given)


@pytest.mark.parametrize(
    ("given", "special"),
    [
        ({}, False), ({"label": b"k", "seconds": 1.0, "generation": 5, "version": "v"}, False),
        ({"flags": NEGATIVE}, True), ({"flags": EXCEPTION}, True), ({"flags": CLAIM}, True),
        ({"tags": ("t",)}, True), ({"soft": CREATED + 5}, True), ({"soft": -5.0}, True),
    ],
)  # fmt: skip
def test_what_is_more_than_a_value_says_so(given: dict[str, Any], special: bool) -> None:
    """Flags, tags and a soft expiry make an entry special, so that the common one is opened by one test."""
    assert envelope().open(KEY, seal("chk", **{"tags": (), **given}), now=NOW).special is special


def test_executable_payloads_need_to_be_allowed() -> None:
    """Serializer ids from 0x80 on are sealed and opened only by an envelope made for them."""
    willing = envelope("blake2b", executable=True)
    blob = b"".join(willing.seal(KEY, [b"v"], serializer=0x80, created=CREATED, flags=NEGATIVE | EXCEPTION))
    assert willing.open(KEY, blob, now=NOW).serializer == 0x80
    assert refusal(blob, "blake2b") == "serializer"
    with pytest.raises(ValueError, match="0x80 is not allowed here"):
        envelope("blake2b").seal(KEY, [b"v"], serializer=0x80, created=CREATED)
    assert refusal(forged(serializer=0x80)) == "serializer"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flags": 8}, "flags"),
        ({"flags": 4 | 64}, "flags"),
        ({"flags": 128}, "flags"),
        ({"serializer": 0}, "serializer"),
        ({"serializer": 255}, "serializer"),
        ({"codec": 1}, "codec"),
        ({"raw": 6}, "length"),
        ({"seconds": math.nan}, "format"),
        ({"seconds": -1.0}, "format"),
        ({"expires": 1}, "expired"),
        ({"expires": 2**64 - 1, "created": 2**63 - 1}, "expired"),
        ({"meta": b"x"}, "format"),
        ({"meta": packed_meta("v", b"l", ("t",)) + b"x"}, "format"),
        ({"meta": packed_meta("v", b"l", ("t",))[:-1]}, "format"),
        ({"meta": b"\xff" * 12}, "format"),
        ({"meta": packed_meta("v", b"", ()).replace(b"v", b"\xff")}, "format"),
        ({"rows": [(1, bytes(32))]}, "short"),
        ({"rows": [(2**64 - 6, bytes(32))]}, "short"),
        ({"rows": [(0, bytes(32))], "raw": 4}, "length"),
        ({"rows": [(2**64 - 1, bytes(32))], "raw": 4}, "length"),
        ({"rest": b"x"}, "length"),
    ],
)
def test_a_forged_header_is_refused(changes: dict[str, Any], reason: str) -> None:
    """Without keys anybody can make a right tag, so everything behind it is checked as well."""
    assert envelope().open(KEY, forged(), now=NOW).frames[0] == b"value"
    assert refusal(forged(**changes)) == reason


def test_padding_is_zero_and_nothing_follows() -> None:
    """Bytes that no digest covers have to be zero; bytes behind the last buffer are refused."""
    suite = Blake2bSuite(b"", None)
    rows = [(3, suite.digest(b"abc")), (0, suite.digest(b""))]
    gap = -len(forged(rows=rows)) % 64
    assert (
        envelope().open(KEY, forged(rows=rows, rest=bytes(gap) + b"abc" + bytes(61)), now=NOW).frames[1]
        == b"abc"
    )
    assert refusal(forged(rows=rows, rest=bytes(gap - 1) + b"\1abc" + bytes(61))) == "auth"
    assert refusal(forged(rows=rows, rest=bytes(gap) + b"abc" + bytes(60) + b"\1")) == "auth"
    assert refusal(forged(rows=rows, rest=bytes(gap) + b"abc" + bytes(62))) == "length"
    assert refusal(forged(rows=rows, rest=bytes(gap) + b"abd" + bytes(61))) == "auth"


def test_sizes_are_bounded_both_ways() -> None:
    """More than max_bytes is neither sealed nor looked at."""
    blob = seal("chk", b"x" * 100)
    tight = envelope(max_bytes=len(blob))
    assert tight.open(KEY, blob, now=NOW)
    assert b"".join(tight.seal(KEY, [b"x" * 100], serializer=1, created=CREATED, tags=("t",)))
    assert refusal(blob, max_bytes=len(blob) - 1) == "too-big"
    with pytest.raises(UnserializableError, match="max_value_bytes"):
        envelope(max_bytes=len(blob) - 1).seal(KEY, [b"x" * 100], serializer=1, created=CREATED, tags=("t",))
    with pytest.raises(UnserializableError):
        envelope(max_bytes=1000).seal(KEY, [b"", bytes(900)], serializer=1, created=CREATED)


@pytest.mark.parametrize(
    "blob", [b"", b"\0", b"\xca\xce\x01", bytes(79), b"\x80\x05N.", b"{}" * 60, bytes(500)]
)
@pytest.mark.parametrize("kind", ["chk", "blake2b"])
def test_foreign_bytes_are_refused(kind: str, blob: bytes) -> None:
    """Nothing that is not an envelope of this version is looked at any further."""
    assert refusal(blob, kind) in ("short", "format")
    for place, value in ((0, 0xCB), (1, 0), (2, 0), (2, 2), (7, 1)):
        changed = bytearray(seal(kind))
        changed[place] = value
        assert refusal(bytes(changed), kind) == "format"


def mutations(rng: random.Random, blobs: list[bytes]) -> bytes:
    """Return a damaged envelope, or noise that starts like one."""
    blob = bytearray(rng.choice(blobs))
    match rng.randrange(6):
        case 0:
            return rng.randbytes(rng.randrange(300))
        case 1:
            return bytes(blob[:16]) + rng.randbytes(rng.randrange(300))
        case 2:
            start = rng.randrange(len(blob))
            blob[start : start + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
        case 3:
            for _ in range(rng.randrange(1, 4)):
                blob[rng.randrange(4, 80)] = rng.choice((0, 1, 127, 128, 255))
        case 4:
            other = rng.choice(blobs)
            cut = rng.randrange(len(blob))
            return bytes(blob[:cut]) + other[cut:]
        case _:
            start = rng.choice((40, 48, 56, 64, 72, 76))
            blob[start : start + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
    return bytes(blob)


@pytest.mark.parametrize("kind", ["chk", "blake2b"])
def test_twenty_thousand_damaged_envelopes_are_refused(kind: str) -> None:
    """Noise, splices and extreme header fields raise EnvelopeError, nothing else, and none is accepted."""
    rng = random.Random(7)
    blobs = [seal(kind), seal(kind, b"other", tags=()), seal(kind, b"first", b"buffer" * 20, b"b")]
    if kind != "chk":
        blobs.append(seal("hmac"))
    box = envelope(kind)
    reasons: set[str] = set()
    for _ in range(20_000):
        blob = mutations(rng, blobs)
        if blob in blobs:
            continue
        with pytest.raises(EnvelopeError) as caught:
            box.open(KEY, blob, now=NOW)
        reasons.add(caught.value.reason)
    assert {"short", "format", "auth", "length"} <= reasons


def test_messages_show_neither_key_nor_payload() -> None:
    """Refusals, reprs and programming errors hold no secret, no tag and no value."""
    box = envelope("blake2b")
    blob = b"".join(box.seal(KEY, [b"payload-canary"], serializer=1, created=CREATED, label=b"label-canary"))
    shown = [repr(box), repr(box.open(KEY, blob, now=NOW))]
    for damaged in (blob[:-1] + b"!", blob[:50], b"payload-canary" * 20):
        with pytest.raises(EnvelopeError) as caught:
            box.open(KEY, damaged, now=NOW)
        shown.append(str(caught.value) + repr(caught.value))
    with pytest.raises(ValueError, match="serializer id") as wrong:
        box.seal(KEY, [b"payload-canary"], serializer=0x90, created=CREATED)
    assert "canary" not in "".join([*shown, str(wrong.value)])


def mapped(kind: str) -> tuple[Envelope, bytearray, MappedBlob, int]:
    """Return an envelope over memory that a test may change, and the place of its large buffer."""
    box = envelope(kind)
    large = random.Random(1).randbytes(5000)
    memory = bytearray(b"".join(box.seal(KEY, [b"first", large], serializer=1, created=CREATED)))
    return box, memory, MappedBlob(memoryview(memory), identity=("device", 1, 5000)), memory.index(large)


@pytest.mark.parametrize("kind", ["chk", "hmac"])
def test_buffers_of_a_mapped_blob_are_verified_once(kind: str) -> None:
    """After one success the large buffer is not read again; in a plain blob it is, every time."""
    box, memory, blob, place = mapped(kind)
    assert box.open(KEY, blob, now=NOW)
    memory[place + 100] ^= 1
    assert box.open(KEY, blob, now=NOW).frames[1][100] == memory[place + 100]
    assert_refused(box, bytes(memory))
    assert_refused(box, MappedBlob(memoryview(memory), identity=("device", 2, 5000)))
    other = envelope(kind)
    assert_refused(other, blob)


def assert_refused(box: Envelope, blob: Any, reason: str = "auth") -> None:
    with pytest.raises(EnvelopeError) as caught:
        box.open(KEY, blob, now=NOW)
    assert caught.value.reason == reason


@pytest.mark.parametrize("kind", ["chk", "hmac"])
def test_a_failed_verification_is_not_remembered(kind: str) -> None:
    """A damaged buffer is refused again and again, and accepted once it is whole."""
    box, memory, blob, place = mapped(kind)
    memory[place] ^= 1
    assert_refused(box, blob)
    assert_refused(box, blob)
    memory[place] ^= 1
    assert box.open(KEY, blob, now=NOW)


@pytest.mark.parametrize("kind", ["chk", "hmac"])
def test_the_head_of_a_mapped_blob_is_verified_every_time(kind: str) -> None:
    """Header, tag, meta, table, first frame and padding are checked however often they were."""
    box, memory, blob, place = mapped(kind)
    assert box.open(KEY, blob, now=NOW)
    for changed in range(place):
        memory[changed] ^= 1
        with pytest.raises(EnvelopeError):
            box.open(KEY, blob, now=NOW)
        memory[changed] ^= 1
    with pytest.raises(EnvelopeError):
        box.open("5e" * 16, blob, now=NOW)
    assert box.open(KEY, blob, now=NOW)


def test_an_identity_that_was_verified_does_not_vouch_for_another_head() -> None:
    """A head that is right for other buffers gets these verified, though the identity is known."""
    box, memory, blob, _ = mapped("hmac")
    assert box.open(KEY, blob, now=NOW)
    other = b"".join(box.seal(KEY, [b"first", bytes(5000)], serializer=1, created=CREATED))
    assert len(other) == len(memory)
    end = memory.index(b"first") + 5
    memory[:end] = other[:end]
    assert_refused(box, blob)


def test_the_memo_of_verified_buffers_is_bounded() -> None:
    """However many are remembered, the oldest are forgotten and the newest are known."""
    memo = VerifiedBuffers()
    for number in range(100_000):
        memo.add(number)
    assert len(memo) <= 10_000
    assert 99_999 in memo
    assert 0 not in memo


def golden() -> list[dict[str, Any]]:
    path = Path(__file__).parent / "golden" / "envelopes.json"
    cases: list[dict[str, Any]] = json.loads(path.read_text())
    return cases


@pytest.mark.parametrize("case", golden(), ids=lambda case: case["name"])
def test_envelopes_of_earlier_releases_are_read(case: dict[str, Any]) -> None:
    """Stored bytes of version 1 keep their meaning, and today's are the same."""
    ring = KeyRing([bytes.fromhex(key) for key in case["keys"]]) if case["keys"] else None
    box = Envelope(case["namespace"], ring=ring, executable=case["serializer"] >= 0x80)
    frames = [bytes.fromhex(frame) for frame in case["frames"]]
    names = ("serializer", "created", "expires", "soft", "seconds", "version", "flags", "generation")
    fields = {name: case[name] for name in names}
    blob = bytes.fromhex(case["blob"])
    opened: Opened = box.open(case["key"], blob, now=case["created"] + 1)
    assert [bytes(frame) for frame in opened.frames] == frames
    assert {name: getattr(opened, name) for name in names} == fields
    assert opened.tags == tuple(case["tags"])
    assert opened.label == bytes.fromhex(case["label"])
    sealed: Callable[..., Any] = box.seal
    assert (
        b"".join(sealed(case["key"], frames, tags=tuple(case["tags"]), label=opened.label, **fields)) == blob
    )


def test_what_is_remembered_as_verified_is_these_very_bytes_under_this_very_key():
    """A small envelope that was opened before is opened at once; altered, moved or expired it is refused."""
    envelope = Envelope("remembered", ring=KeyRing([b"k" * 32]))
    blob = b"".join(envelope.seal("key", [b"value"], serializer=1, created=100.0, expires=200.0))
    first = envelope.open("key", blob, now=150.0)
    assert envelope.open("key", bytes(bytearray(blob)), now=150.0) is first
    for now in (99.0, 200.0):
        with pytest.raises(EnvelopeError, match="expired"):
            envelope.open("key", blob, now=now)
    for at in range(len(blob)):
        altered = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]
        with pytest.raises(EnvelopeError):
            envelope.open("key", altered, now=150.0)
    with pytest.raises(EnvelopeError):
        envelope.open("other", blob, now=150.0)
    assert bytes(envelope.open("key", blob, now=150.0).frames[0]) == b"value"


def test_clocks_of_hosts_may_differ_by_the_skew() -> None:
    """An entry from a host whose clock is ahead is good within it, up to its expiry by the reader's clock."""
    writer = envelope()
    blob = b"".join(writer.seal(KEY, [b"value"], serializer=1, created=NOW + 60, expires=NOW + 70))
    for skew, expected in ((0.0, "expired"), (59.9, "expired"), (60.1, None)):
        reader = Envelope(writer.namespace, ring=None, skew=skew)
        for _ in range(2):  # verified anew, and remembered
            if expected is None:
                assert reader.open(KEY, blob, now=NOW).frames[0] == b"value"
            else:
                with pytest.raises(EnvelopeError, match=expected):
                    reader.open(KEY, blob, now=NOW)
    with pytest.raises(EnvelopeError, match="expired"):
        Envelope(writer.namespace, ring=None, skew=60.1).open(KEY, blob, now=NOW + 70)

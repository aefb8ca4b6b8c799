"""Encrypted envelopes: nothing but the header shows, and nothing but what this ring sealed is opened."""

from __future__ import annotations

import math
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachewright.cipher import CipherInfo
from cachewright.engine import MappedBlob
from cachewright.envelope import CLAIM, EXCEPTION, NEGATIVE, Envelope
from cachewright.envelope.encrypted import EncryptedEnvelope
from cachewright.errors import EnvelopeError, PluginLoadError, UnserializableError
from cachewright.keyring import KeyRing
from cachewright.testing.reference_cipher import REFERENCE

KEY = "5f" * 16
FIRST, SECOND, THIRD = (bytes([number]) * 32 for number in (1, 2, 3))
CREATED = 1_700_000_000.25
NOW = CREATED + 1
HEADER = 80


def envelope(*keys, namespace="m.f", info=REFERENCE, **options):
    return EncryptedEnvelope(namespace, ring=KeyRing(keys or [FIRST]), info=info, **options)


def seal(box=None, frames=(b"a small value",), **options):
    given = {"serializer": 1, "created": CREATED, "expires": CREATED + 60, "tags": ("t",), **options}
    return b"".join((box or envelope()).seal(KEY, frames, **given))


def refusal(blob, box=None, *, key=KEY, now=NOW):
    with pytest.raises(EnvelopeError) as caught:
        (box or envelope()).open(key, blob, now=now)
    return caught.value.reason


texts = st.text(st.characters(exclude_categories=()), max_size=20)


@settings(max_examples=150, deadline=None)
@given(
    namespace=texts,
    key=texts,
    frames=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    tags=st.lists(texts, max_size=3).map(tuple),
    version=texts,
    label=st.binary(max_size=50),
    seconds=st.floats(0, 1e9),
    flags=st.integers(0, 7),
    generation=st.integers(0, 2**64 - 1),
    ttl=st.one_of(st.none(), st.floats(1e-3, 1e18)),
)
def test_what_is_sealed_comes_back(
    namespace, key, frames, tags, version, label, seconds, flags, generation, ttl
):
    """Any frames, with any texts beside them, come back exactly, from any kind of blob."""
    box = envelope(namespace=namespace)
    expires = None if ttl is None else CREATED + ttl
    chunks = box.seal(
        key, frames, serializer=4, created=CREATED, expires=expires, soft=expires, seconds=seconds,
        tags=tags, version=version, label=label, flags=flags, generation=generation,
    )  # fmt: skip
    blob = b"".join(chunks)
    for stored in (blob, bytearray(blob), memoryview(blob), MappedBlob(memoryview(blob), identity=1)):
        opened = box.open(key, stored, now=CREATED)
        assert [bytes(frame) for frame in opened.frames] == frames
        assert all(frame.readonly for frame in opened.frames)
        assert (opened.tags, opened.version, opened.label) == (tags, version, label)
        assert (opened.serializer, opened.codec, opened.flags) == (4, 0, flags)
        assert (opened.seconds, opened.generation, opened.size) == (seconds, generation, len(blob))
        assert opened.special is bool(flags or tags or ttl is not None)
        assert opened.expires == opened.soft
        assert expires is None or opened.expires <= expires


def test_only_the_header_shows():
    """Frames, tags, version and label of an entry, and the key, are not in what is stored."""
    frames = [b"canary-first", b"canary-buffer" * 10_000]
    blob = seal(frames=frames, tags=("canary-tag",), version="canary-version", label=b"canary-label")
    assert b"canary" not in blob
    assert KEY.encode() not in blob
    assert seal(frames=[bytes(1000)])[HEADER:].count(0) < 100
    plain = b"".join(Envelope("m.f", ring=None).seal(KEY, frames, serializer=1, created=CREATED))
    assert blob[:3] == plain[:3]
    assert blob[4:8] == plain[4:8]


def test_large_buffers_are_aligned():
    """Buffers begin at multiples of 64 bytes of what was encrypted, so that arrays can be views of it."""
    frames = [b"first", os.urandom(100_000), b"x", os.urandom(65)]
    views = envelope().open(KEY, seal(frames=frames), now=NOW).frames
    whole = views[0].obj
    assert [whole.index(bytes(view)) % 64 for view in views[1:] if len(view) > 1] == [0, 0]


def test_nothing_is_sealed_alike_twice():
    """The same value under the same key is stored as other bytes every time."""
    assert len({seal() for _ in range(100)}) == 100


@pytest.mark.parametrize("frames", [(b"",), (b"head", b"a buffer", b"", b"z")])
def test_no_flipped_bit_and_no_truncation_is_accepted(frames):
    """Each single bit and each length but the right one make a refusal."""
    box = envelope()
    blob = seal(box, frames)
    box.open(KEY, blob, now=NOW)
    for bit in range(len(blob) * 8):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeError):
            box.open(KEY, bytes(damaged), now=NOW)
    for length in range(len(blob)):
        with pytest.raises(EnvelopeError):
            box.open(KEY, blob[:length], now=NOW)
    for more in (b"\0", bytes(64), blob):
        assert refusal(blob + more, box) == "auth"


def test_an_entry_belongs_to_its_key_namespace_and_application():
    """Under another key, namespace or context it is refused, also if the key id is copied."""
    blob = seal()
    assert refusal(blob, key="5f" * 15 + "5e") == "auth"
    assert refusal(blob, key="") == "auth"
    for other in (envelope(namespace="m.g"), envelope(context="other")):
        assert refusal(blob, other) == "unknown-key"
        copied = blob[:8] + seal(other)[8:16] + blob[16:]
        assert refusal(copied, other) == "auth"


def test_the_header_of_another_entry_does_not_fit():
    """Neither a longer life nor another serializer, codec or flag can be given to an entry."""
    blob, longer = seal(), seal(expires=CREATED + 1e6, serializer=2, flags=NEGATIVE)
    assert refusal(longer[:HEADER] + blob[HEADER:]) == "auth"
    assert refusal(blob[:HEADER] + longer[HEADER:]) == "auth"


def test_configuration_alone_decides_about_encryption():
    """Who encrypts refuses what is not encrypted, and the other way round; a claim in the blob is nothing."""
    encrypted, signed = envelope(), Envelope("m.f", ring=KeyRing([FIRST]))
    unsigned = Envelope("m.f", ring=None)
    other = envelope(info=CipherInfo(name="other", code=0x41, target=REFERENCE.target))
    boxes = {"encrypted": encrypted, "signed": signed, "unsigned": unsigned, "other": other}
    blobs = {
        name: b"".join(box.seal(KEY, [b"v"], serializer=1, created=CREATED)) for name, box in boxes.items()
    }
    blobs["large"] = b"".join(signed.seal(KEY, [bytes(3000)], serializer=1, created=CREATED))
    for name, blob in blobs.items():
        for reader, box in boxes.items():
            if reader != name and (reader, name) != ("signed", "large"):
                assert refusal(blob, box) == "suite"
        for claimed in range(256):
            changed = blob[:3] + bytes([claimed]) + blob[4:]
            if changed != blob:
                assert refusal(changed, encrypted) in ("suite", "auth", "unknown-key")
                assert refusal(changed, signed) in ("suite", "auth", "unknown-key", "short", "length")
                assert refusal(changed, unsigned) in ("suite", "auth", "unknown-key", "short", "length")


def test_keys_rotate():
    """The first key of a ring seals, every one opens, and one that was dropped opens nothing."""
    old = seal(envelope(FIRST))
    both = envelope(SECOND, FIRST)
    assert both.open(KEY, old, now=NOW)
    new = seal(both)
    assert new[8:16] != old[8:16]
    assert envelope(SECOND).open(KEY, new, now=NOW)
    assert refusal(old, envelope(SECOND)) == "unknown-key"
    assert refusal(new, envelope(FIRST)) == "unknown-key"
    assert refusal(new[:8] + old[8:16] + new[16:], both) == "auth"


def test_the_key_that_encrypts_is_used_for_nothing_else():
    """Signing and encrypting keys differ, and so do those of two namespaces and applications."""
    subs = [
        KeyRing([root]).for_namespace(namespace, context)[0]
        for root in (FIRST, SECOND)
        for namespace in ("a", "b")
        for context in ("x", "y")
    ]
    secrets = [secret for sub in subs for secret in (sub.blake2b, sub.hmac, sub.cipher)]
    assert len(set(secrets)) == len(secrets) == 24
    assert {len(secret) for secret in secrets} == {32}


def test_an_entry_expires():
    """It is refused from its hard expiry on and before its creation, to the microsecond."""
    blob = seal()
    assert envelope().open(KEY, blob, now=CREATED + 60 - 1e-5)
    for now in (CREATED + 60, CREATED - 1, math.inf, math.nan):
        assert refusal(blob, now=now) == "expired"
    assert envelope(skew=2.0).open(KEY, blob, now=CREATED - 1)


def test_what_is_remembered_are_these_very_bytes_under_this_very_key():
    """A small entry that was opened before is opened at once; altered, moved or expired it is refused."""
    box = envelope()
    blob = seal(box)
    first = box.open(KEY, blob, now=NOW)
    assert box.open(KEY, bytes(bytearray(blob)), now=NOW) is first
    assert refusal(blob, box, now=CREATED + 60) == "expired"
    assert refusal(blob[:-1] + bytes([blob[-1] ^ 1]), box) == "auth"
    assert refusal(blob, box, key="other") == "auth"


def test_mapped_entries_are_decrypted_every_time():
    """No identity vouches for encrypted bytes."""
    box = envelope()
    memory = bytearray(seal(box, [b"first", bytes(5000)]))
    mapped = MappedBlob(memoryview(memory), identity=("device", 1, 5000))
    assert box.open(KEY, mapped, now=NOW)
    memory[-100] ^= 1
    assert refusal(mapped, box) == "auth"


@pytest.mark.parametrize(
    "given",
    [
        {"serializer": 0}, {"serializer": 0x80}, {"serializer": 256}, {"flags": 8}, {"flags": -1},
        {"seconds": math.nan}, {"seconds": -1.0}, {"created": math.inf}, {"expires": math.nan},
        {"generation": -1},
    ],
)  # fmt: skip
def test_what_could_not_be_opened_is_not_sealed(given):
    """A serializer, flag or number that makes no sense is a programming error."""
    with pytest.raises(ValueError):  # noqa: PT011 - several sentences, one meaning
        seal(**given)


def test_executable_payloads_need_to_be_allowed():
    """Serializer ids from 0x80 on are sealed and opened only by an envelope made for them."""
    willing = envelope(executable=True)
    blob = seal(willing, serializer=0x80, flags=NEGATIVE | EXCEPTION | CLAIM)
    assert willing.open(KEY, blob, now=NOW).serializer == 0x80
    assert refusal(blob) == "serializer"


def test_sizes_are_bounded_both_ways():
    """More than max_bytes is neither sealed nor looked at."""
    blob = seal(frames=[b"x" * 100])
    assert envelope(max_bytes=len(blob)).open(KEY, blob, now=NOW)
    tight = envelope(max_bytes=len(blob) - 1)
    assert refusal(blob, tight) == "too-big"
    for size in (100, 1000):
        with pytest.raises(UnserializableError, match="max_value_bytes"):
            seal(tight, [b"x" * size])
    for short in (b"", b"\xca\xce\x01", blob[: HEADER - 1]):
        assert refusal(short) == "short"
    assert refusal(blob[:HEADER]) == "auth"
    assert refusal(b"\x80" + blob[1:]) == refusal(blob[:7] + b"\1" + blob[8:]) == "format"


def test_what_a_cipher_cannot_encrypt_is_not_stored():
    """Its refusal is the value's, and names neither key nor value."""
    box = envelope()

    def refuse(associated, plain):
        raise OverflowError("too long")

    box._first._cipher.seal = refuse
    with pytest.raises(UnserializableError, match="'reference' cannot encrypt it: OverflowError"):
        seal(box)


def test_a_cipher_that_cannot_be_loaded_says_so():
    """Without its library nothing is sealed in another way."""
    with pytest.raises(PluginLoadError, match="no_such_module"):
        envelope(info=CipherInfo(name="broken", code=9, target="no_such_module:C"))


def test_sections_that_do_not_add_up_are_refused():
    """What a cipher opened is checked all the same: lengths in the header have to fit."""
    box = envelope()
    suite = box._first
    good = seal(box, [b"first", b"buffer"], tags=())
    rest = suite.open(_head(good), memoryview(good)[HEADER:])

    def resealed(header, content):
        return header + suite.seal(_head(header), content)

    header = good[:HEADER]
    assert box.open(KEY, resealed(header, rest), now=NOW)
    for content in (rest + b"x", rest[:-1], b"", rest[:20]):
        assert refusal(resealed(header, content), box) in ("length", "short")
    for place in (48, 64, 72, 76):  # raw length, first frame, meta, number of buffers
        width = 8 if place < 72 else 4
        for wrong in (b"\xff" * width, bytes(width), b"\0" * (width - 1) + b"\7"):
            changed = header[:place] + wrong + header[place + width :]
            if changed != header:
                assert refusal(resealed(changed, rest), box) in ("length", "short", "format", "auth")


def _head(header):
    from cachewright.keyring import prefixed

    return prefixed(KEY) + header[:HEADER]


def test_messages_show_neither_key_nor_payload():
    """Refusals and reprs hold no secret and no value."""
    box = envelope(b"canary-canary-canary-canary-canary")
    blob = seal(box, [b"canary-payload"], label=b"canary-label")
    shown = [repr(box), repr(box.open(KEY, blob, now=NOW)), repr(box._first)]
    for damaged in (blob[:-1] + b"!", blob[:50]):
        with pytest.raises(EnvelopeError) as caught:
            box.open(KEY, damaged, now=NOW)
        shown.append(str(caught.value) + repr(caught.value))
    assert "canary" not in "".join(shown)


@pytest.mark.parametrize("rounds", [3000, pytest.param(500_000, marks=pytest.mark.soak)])
def test_damaged_envelopes_are_refused(rounds):
    """Noise, splices and extreme header fields raise EnvelopeError, nothing else, and none is accepted."""
    rng = random.Random(13)
    box = envelope()
    blobs = [seal(box), seal(box, [b"other"], tags=()), seal(box, [b"first", b"buffer" * 20, b"b"])]
    reasons = set()
    for _ in range(rounds):
        blob = mutation(rng, blobs)
        if blob in blobs:
            continue
        reasons.add(refusal(blob, box))
    assert {"short", "format", "auth", "suite", "unknown-key"} <= reasons


def mutation(rng, blobs):
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
                blob[rng.randrange(3, 80)] = rng.choice((0, 1, 127, 128, 255))
        case 4:
            cut = rng.randrange(len(blob))
            return bytes(blob[:cut]) + rng.choice(blobs)[cut:]
        case _:
            start = rng.choice((40, 48, 56, 64, 72, 76))
            blob[start : start + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
    return bytes(blob)

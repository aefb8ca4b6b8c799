"""aes-gcm is XAES-256-GCM to the letter, and entries under it show nothing and cannot be changed."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from hashlib import shake_128
from pathlib import Path

import pytest
from cachewright_crypto import cipher as module
from cachewright_crypto.cipher import AesGcmCipher
from cachewright_crypto.plugin import cachewright_ciphers

from cachewright import Settings, cached, open_cache
from cachewright.envelope import Envelope
from cachewright.envelope.encrypted import EncryptedEnvelope
from cachewright.errors import ConfigurationError, EnvelopeError
from cachewright.keyring import KeyRing

GOLDEN = json.loads((Path(__file__).parent / "golden" / "sealed.json").read_text())
(INFO,) = cachewright_ciphers()
KEY = "5f" * 16
RING = KeyRing([b"k" * 32])
CREATED = 1_700_000_000.25
NOW = CREATED + 1


def sealed_with(monkeypatch, key, nonce, plain, associated):
    """Return what is sealed with a nonce that is known."""
    monkeypatch.setattr(module.os, "urandom", {24: nonce}.__getitem__)
    sealed = AesGcmCipher(key).seal(associated, plain)
    assert sealed[:24] == nonce
    return sealed[24:]


@pytest.mark.parametrize(
    ("key", "associated", "expected"),
    [
        (b"\1" * 32, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (
            b"\3" * 32,
            b"c2sp.org/XAES-256-GCM",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
    ],
)
def test_the_vectors_of_the_specification(monkeypatch, key, associated, expected):
    """Both published vectors, with and without a carry when the subkey is doubled."""
    nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX"
    assert sealed_with(monkeypatch, key, nonce, b"XAES-256-GCM", associated).hex() == expected
    assert AesGcmCipher(key).open(associated, nonce + bytes.fromhex(expected)) == b"XAES-256-GCM"


def test_the_accumulated_vectors_of_the_specification(monkeypatch):
    """Ten thousand random messages, as specified: the hash of all that was sealed is the published one."""
    stream = memoryview(shake_128().digest(4_000_000))
    place = 0

    def take(size):
        nonlocal place
        place += size
        return bytes(stream[place - size : place])

    total = shake_128()
    for _ in range(10_000):
        key, nonce = take(32), take(24)
        plain = take(take(1)[0])
        associated = take(take(1)[0])
        sealed = sealed_with(monkeypatch, key, nonce, plain, associated)
        assert AesGcmCipher(key).open(associated, nonce + sealed) == plain
        total.update(sealed)
    assert total.hexdigest(32) == "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"


def test_what_was_sealed_on_the_first_day_is_opened_for_ever():
    """Golden bytes of the cipher, and of whole entries."""
    for case in GOLDEN["cipher"]:
        cipher = AesGcmCipher(bytes.fromhex(case["key"]))
        opened = cipher.open(bytes.fromhex(case["associated"]), bytes.fromhex(case["sealed"]))
        assert opened.hex() == case["plain"]
    for case in GOLDEN["entries"]:
        ring = KeyRing([bytes.fromhex(key) for key in case["keys"]])
        box = EncryptedEnvelope(case["namespace"], ring=ring, info=INFO)
        opened = box.open(case["key"], bytes.fromhex(case["blob"]), now=case["created"] + 1)
        assert [bytes(frame).hex() for frame in opened.frames] == case["frames"]
        assert (list(opened.tags), opened.label.hex(), opened.version) == (
            case["tags"], case["label"], case["version"]
        )  # fmt: skip


def test_a_cipher_is_never_pickled():
    """Its key would go along."""
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(AesGcmCipher(bytes(32)))


def test_the_record_says_what_it_is():
    """Listing imports no cryptography; the cipher has the id that was reserved for it."""
    assert (INFO.name, INFO.code, INFO.requires, INFO.load()) == (
        "aes-gcm",
        3,
        ("cryptography",),
        AesGcmCipher,
    )
    program = (
        "import sys, cachewright_crypto.plugin as plugin; plugin.cachewright_ciphers()\n"
        "print('cryptography' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def envelope(ring=RING, **options):
    return EncryptedEnvelope("m.f", ring=ring, info=INFO, **options)


def seal(box=None, frames=(b"a small value",), **options):
    given = {"serializer": 1, "created": CREATED, "expires": CREATED + 60, "tags": ("t",), **options}
    return b"".join((box or envelope()).seal(KEY, frames, **given))


def test_no_flipped_bit_of_an_entry_is_accepted():
    """Header, nonce, encrypted bytes and tag: each single bit and each other length is refused."""
    box = envelope()
    blob = seal(box, [b"head", b"buffer" * 10])
    box.open(KEY, blob, now=NOW)
    for bit in range(8 * len(blob)):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeError):
            box.open(KEY, bytes(changed), now=NOW)
    for other in [blob[:end] for end in range(len(blob))] + [blob + b"\0", blob + blob]:
        with pytest.raises(EnvelopeError):
            box.open(KEY, other, now=NOW)


def test_nothing_can_be_moved_stripped_or_downgraded():
    """Another key, namespace, ring, suite or header: 0 accepted, by who encrypts and by who does not."""
    box = envelope()
    signed, unsigned = Envelope("m.f", ring=RING), Envelope("m.f", ring=None)
    blob, longer = seal(box), seal(box, expires=CREATED + 1e6, serializer=2)
    others = (
        EncryptedEnvelope("m.g", ring=RING, info=INFO),
        envelope(context="x"),
        envelope(KeyRing([b"x" * 32])),
    )
    attempts = [(KEY + "0", box, blob), ("", box, blob)]
    attempts += [(KEY, other, blob) for other in (*others, signed, unsigned)]
    attempts += [(KEY, other, blob[:8] + seal(other)[8:16] + blob[16:]) for other in others]
    attempts += [(KEY, box, longer[:80] + blob[80:]), (KEY, box, blob[:80] + longer[80:])]
    attempts += [(KEY, box, blob[:3] + bytes([suite]) + blob[4:]) for suite in (0, 1, 2, 4, 255)]
    for plain in (signed, unsigned):
        attempts.append((KEY, box, b"".join(plain.seal(KEY, [b"v"], serializer=1, created=CREATED))))
        attempts += [(KEY, plain, blob[:3] + bytes([suite]) + blob[4:]) for suite in (0, 1, 2)]
        attempts += [
            (KEY, plain, blob[:3] + bytes([suite]) + blob[4:8] + bytes(8) + blob[16:]) for suite in (0, 1)
        ]
    for key, reader, attempt in attempts:
        with pytest.raises(EnvelopeError):
            reader.open(key, attempt, now=NOW)


@pytest.mark.parametrize("rounds", [20_000, pytest.param(10_000_000, marks=pytest.mark.soak)])
def test_damaged_entries_are_refused(rounds):
    """Noise, splices and extreme header fields raise EnvelopeError, nothing else, and none is accepted."""
    rng = random.Random(17)
    box = envelope()
    blobs = [seal(box), seal(box, [b"other"], tags=()), seal(box, [b"first", b"buffer" * 20, b"b"])]
    for _ in range(rounds):
        blob = mutation(rng, blobs)
        if blob in blobs:
            continue
        with pytest.raises(EnvelopeError):
            box.open(KEY, blob, now=NOW)


def mutation(rng, blobs):
    """Return a damaged entry, or noise that starts like one."""
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
            blob[rng.randrange(len(blob))] ^= 1 << rng.randrange(8)
        case 4:
            cut = rng.randrange(len(blob))
            return bytes(blob[:cut]) + rng.choice(blobs)[cut:]
        case _:
            start = rng.choice((3, 8, 40, 48, 56, 64, 72, 76))
            blob[start : start + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
    return bytes(blob)


def test_a_cache_is_encrypted_by_saying_so(tmp_path):
    """``encrypt=True``: values come back, files show nothing, and another process reads them."""
    canary = "canary in plain sight " * 1000

    @cached(engine="sqlite", path=tmp_path / "store", name="load", encrypt=True, version="1")
    def load(number):
        return {"canary": [canary] * number}

    assert load(3) == load(3) == {"canary": [canary] * 3}
    assert load.explain(3).entry.cipher == "aes-gcm"
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(map(len, written)) > 60_000
    assert not any(b"canary" in content for content in written)
    load.cache.close()
    program = (
        "import sys; from cachewright import cached\n"
        "@cached(engine='sqlite', path=sys.argv[1], name='load', encrypt=True, version='1')\n"
        "def load(number): return None\n"
        "print(len(load(3)['canary'])); load.cache.close()"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "store")]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "3"


def test_a_store_of_others_needs_a_key(tmp_path):
    """Opened without one it is refused; the keys that sign are those that encrypt."""
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o777)
    options = {"engine": "sqlite", "path": place, "encrypt": True, "options": {"trust_directory": True}}
    with pytest.raises(ConfigurationError, match="CACHEWRIGHT_SIGNING_KEYS"):
        open_cache("shared", **options)
    with open_cache("shared", settings=Settings(signing_keys="ab" * 32), **options) as cache:
        cache.set("key", [1])
        assert cache.get("key") == [1]
        assert cache.explain("key").entry.cipher == "aes-gcm"

"""The codecs: what their formats allow and we do not, what they gain, and when they are chosen."""

from __future__ import annotations

import json
import math
import random
import struct
import subprocess
import sys
import threading
import time
from array import array
from pathlib import Path

import pytest
import zstandard
from cachewright_compress.plugin import cachewright_codecs

from cachewright import open_cache
from cachewright._envelope_parts import flat, packed_run
from cachewright.codec.codecs import Codecs
from cachewright.envelope import Envelope
from cachewright.errors import ConfigurationError, EnvelopeError
from cachewright.keyring import KeyRing
from cachewright.testing.codec_kit import SAMPLES

GOLDEN = json.loads((Path(__file__).parent / "golden" / "streams.json").read_text())
CODECS = {info.name: info for info in cachewright_codecs()}
TEXT = b"the same words again and again; " * 2000
FLOATS = array("d", [math.sin(number / 500) for number in range(50_000)]).tobytes()
HALF_FLOATS = array("f", [math.sin(number / 500) for number in range(50_000)]).tobytes()


def codec(name):
    if name == "blosc2":
        pytest.importorskip("blosc2", reason="blosc2, an extra of this plugin, is not installed")
    return CODECS[name].load()()


def is_refused(made, data, size):
    try:
        made.decompress(data, size=size)
    except Exception:
        return True
    return False


def test_the_records_say_what_they_are():
    """Ids that never change; blosc2 waits to be asked for, and for authenticated bytes."""
    assert {name: info.code for name, info in CODECS.items()} == {
        "zstd": 2, "lz4": 3, "blosc2": 4, "zstd-shuffle": 5
    }  # fmt: skip
    assert [name for name, info in CODECS.items() if not info.automatic] == ["blosc2"]
    assert [name for name, info in CODECS.items() if not info.hardened] == ["blosc2"]
    program = (
        "import sys, cachewright_compress.plugin as plugin; plugin.cachewright_codecs()\n"
        "print({'zstandard', 'lz4', 'blosc2', 'numpy'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.mark.parametrize("name", CODECS)
def test_streams_of_the_first_day_are_read_for_ever(name):
    """Golden streams give back the samples that they were made of."""
    made = codec(name)
    assert set(GOLDEN[name]) >= {"nothing", "text", "integers", "noise"}
    for sample, stream in GOLDEN[name].items():
        whole = SAMPLES[sample]()[:1000]
        assert made.decompress(bytes.fromhex(stream), size=len(whole)) == whole


@pytest.mark.parametrize("name", ["zstd", "zstd-shuffle"])
def test_a_frame_is_what_we_write_and_nothing_else(name):
    """Zstandard knows frames to skip, frames without a size and frames with dictionaries: each is refused."""
    made = codec(name)
    plain = zstandard.ZstdCompressor()
    good = made.compress(TEXT)
    size = len(TEXT)
    skippable = struct.pack("<II", 0x184D2A50, size) + bytes(size)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)
    dictionary = zstandard.ZstdCompressionDict(TEXT[:1000], dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    needs_dictionary = zstandard.ZstdCompressor(dict_data=dictionary).compress(TEXT)
    empty = plain.compress(b"")
    for wrong in (
        skippable, skippable + good, good + skippable, unsized, needs_dictionary[:-1], empty, empty + good,
        good + empty, good + good, plain.compress(TEXT[:-1]) + plain.compress(TEXT[-1:]),
    ):  # fmt: skip
        assert is_refused(made, wrong, size)
    assert made.decompress(empty, size=0) == b""
    for wrong in (
        b"",
        empty[:-1],
        empty + b"\0",
        empty + empty,
        empty + skippable,
        skippable,
        good,
        skippable[:8],
    ):
        assert is_refused(made, wrong, 0)


def test_a_frame_that_lies_about_its_size_is_refused():
    """What it says is compared with what is asked for, and what it holds with what it says."""
    made = codec("zstd")
    honest = zstandard.ZstdCompressor().compress(bytes(10_000_000))
    claim = struct.pack("<I", 10_000_000)
    assert honest.count(claim) == 1
    for lie in (1000, 0, 9_999_999, 10_000_001, 2**32 - 1):
        lying = honest.replace(claim, struct.pack("<I", lie))
        assert is_refused(made, lying, lie)
        assert is_refused(made, lying, 10_000_000)
        assert is_refused(made, honest, lie)


@pytest.mark.parametrize("name", ["zstd", "lz4", "zstd-shuffle"])
def test_a_bomb_is_refused_within_50_ms(name):
    """64 MiB of zeros, asked for as less, take no time to be refused."""
    made = codec(name)
    bomb = made.compress(bytes(64 << 20))
    for size in (0, 1000, 1 << 20):
        fastest = math.inf
        for _ in range(5):
            started = time.process_time()
            assert is_refused(made, bomb, size)
            fastest = min(fastest, time.process_time() - started)
        assert fastest < 0.05


@pytest.mark.parametrize("name", ["zstd", "lz4", "zstd-shuffle"])
@pytest.mark.parametrize("rounds", [1000, pytest.param(300_000, marks=pytest.mark.soak)])
def test_damaged_streams_never_crash(name, rounds):
    """Flipped, cut, spliced and random bytes raise, or give as many bytes as were asked for."""
    made = codec(name)
    rng = random.Random(19)
    streams = [made.compress(make()[:5000]) for make in SAMPLES.values()]
    for _ in range(rounds):
        blob = bytearray(rng.choice(streams))
        match rng.randrange(4):
            case 0:
                blob[rng.randrange(len(blob))] ^= 1 << rng.randrange(8)
            case 1:
                blob[rng.randrange(len(blob)) :] = rng.choice(streams)[rng.randrange(5) :]
            case 2:
                blob[4:] = rng.randbytes(rng.randrange(100))
            case _:
                blob = bytearray(rng.randbytes(rng.randrange(100)))
        size = rng.choice((0, 1, 1000, 5000, 1 << 20))
        try:
            assert len(made.decompress(bytes(blob), size=size)) == size
        except AssertionError:
            raise
        except Exception:
            continue


def test_chunks_of_another_kind_never_reach_the_library():
    """Codecs and filters of other packages, dictionaries, lazy and uninitialised chunks are refused."""
    made = codec("blosc2")
    good = made.compress(TEXT)
    assert made.decompress(good, size=len(TEXT)) == TEXT
    changes = [(place, value) for place in range(16, 31) for value in (2, 6, 32, 160, 255)]
    changes += [(31, value) for value in (1, 2, 4, 8, 0x20, 0x30, 0x40, 0xFF)]
    changes += [(2, good[2] & 0x1F | format_ << 5) for format_ in (0, 1, 2, 3, 5, 6, 7)]
    changes += [(place, good[place] ^ 1) for place in range(4, 8)] + [(12, good[12] ^ 1), (11, 0x7F)]

    class Untouched:
        def decompress2(self, *_, **__):
            message = "the library was asked"
            raise AssertionError(message)

    module = sys.modules[type(made).__module__]
    library, module._library = module._library, Untouched()
    try:
        for place, value in changes:
            changed = bytearray(good)
            changed[place] = value
            if changed != good:
                with pytest.raises(ValueError, match="chunk"):
                    made.decompress(bytes(changed), size=len(TEXT))
    finally:
        module._library = library


def test_shuffling_makes_floats_smaller():
    """Where Zstandard alone hardly gains, bringing like bytes together does."""
    for numbers, plain, shuffled in ((FLOATS, 0.9, 0.75), (HALF_FLOATS, 0.85, 0.65)):
        assert len(codec("zstd").compress(numbers)) > plain * len(numbers)
        assert len(codec("zstd-shuffle").compress(numbers)) < shuffled * len(numbers)


@pytest.mark.parametrize("size", range(40))
def test_shuffling_takes_any_length(size):
    """What does not fill a word of eight bytes follows as it is."""
    made = codec("zstd-shuffle")
    whole = bytes(range(100, 100 + size))
    assert made.decompress(made.compress(whole), size=size) == whole


def test_contexts_belong_to_threads():
    """Threads that come and go leave nothing behind that another would use."""
    made = codec("zstd")
    failures = []

    def work(number):
        whole = random.Random(number).randbytes(2000) * 20
        backs = [made.decompress(made.compress(whole), size=len(whole)) for _ in range(20)]
        if backs != [whole] * 20:
            failures.append(number)

    for _ in range(3):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.parametrize("name", CODECS)
def test_entries_come_back_by_any_codec(name, tmp_path):
    """Asked for by name: what is stored says how it was compressed, and is read without asking for it."""
    codec(name)
    with open_cache("named", engine="sqlite", path=tmp_path, compress=name) as cache:
        cache.set("text", TEXT.decode())
        cache.set("floats", [FLOATS, 5])
        assert cache.explain("text").entry.codec == name
    with open_cache("named", engine="sqlite", path=tmp_path) as cache:
        assert cache.get("text") == TEXT.decode()
        assert cache.get("floats") == [FLOATS, 5]


def test_the_best_is_found_out(tmp_path):
    """``compress=True``: text by a fast codec, floats shuffled, noise as it is; blosc2 is not even loaded."""
    program = (
        "import sys, os, math; from array import array; from cachewright import open_cache\n"
        "floats = array('d', [math.sin(number / 500) for number in range(50_000)]).tobytes()\n"
        "with open_cache('best', engine='sqlite', path=sys.argv[1], compress=True) as cache:\n"
        "    values = {'text': 'again and again ' * 5000, 'floats': floats, 'noise': os.urandom(99_999)}\n"
        "    for key, value in values.items():\n"
        "        cache.set(key, value)\n"
        "        assert cache.get(key) == value\n"
        "        print(cache.explain(key).entry.codec or 'plain')\n"
        "    print('blosc2' in sys.modules)\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    text, floats, noise, loaded = ran.stdout.split()
    assert text in ("zstd", "lz4")
    assert (floats, noise, loaded) == ("zstd-shuffle", "plain", "False")


def test_what_shrinks_too_much_is_stored_as_it_is(tmp_path):
    """More than a thousand to one, from 16 MiB on, would be taken for a bomb by who reads it."""
    with open_cache("zeros", engine="sqlite", path=tmp_path, compress="zstd") as cache:
        for size, name in ((17 << 20, ""), (1 << 20, "zstd")):
            cache.set(size, bytes(size))
            assert cache.explain(size).entry.codec == name
            assert cache.get(size) == bytes(size)


def test_blosc2_needs_authenticated_entries(tmp_path):
    """On a directory that others can write to it is refused, with what to set."""
    pytest.importorskip("blosc2", reason="blosc2, an extra of this plugin, is not installed")
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o777)
    shared = {"engine": "sqlite", "path": place, "options": {"trust_directory": True}}
    with pytest.raises(ConfigurationError, match="CACHEWRIGHT_SIGNING_KEYS"):
        open_cache("shared", compress="blosc2", **shared)
    with open_cache("shared", compress="zstd", **shared) as cache:
        cache.set("key", TEXT)
        assert cache.explain("key").entry.codec == "zstd"


@pytest.mark.parametrize("ring", [None, KeyRing([b"k" * 32])], ids=["unkeyed", "keyed"])
@pytest.mark.parametrize("name", ["zstd", "lz4", "zstd-shuffle"])
def test_entries_in_envelopes_cannot_be_changed(ring, name):
    """Each flipped bit of a compressed entry is refused, and so is the codec of another one."""
    box = Envelope("m.f", ring=ring, codecs=Codecs(CODECS.values()))
    made, run = codec(name), packed_run([flat(TEXT[:3000]), flat(b"second")])
    given = {"serializer": 1, "created": 1.0, "codec": CODECS[name].code, "raw": len(run)}
    blob = b"".join(box.seal_run("key", made.compress(run), **given))
    assert [bytes(frame) for frame in box.open("key", blob, now=2.0).frames] == [TEXT[:3000], b"second"]
    for bit in range(8 * len(blob)):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeError):
            box.open("key", bytes(changed), now=2.0)
    for code in {0, 1, 2, 3, 5, 255} - {CODECS[name].code}:
        with pytest.raises(EnvelopeError):
            box.open("key", blob[:5] + bytes([code]) + blob[6:], now=2.0)

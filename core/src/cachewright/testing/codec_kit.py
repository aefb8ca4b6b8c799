"""The kit for authors of codecs: the exact bytes back, one whole stream, and no bombs."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from cachewright.codec import Codec, CodecInfo
from cachewright.testing.kit import Kit
from cachewright.testing.payloads import damaged

CHILD: Final = Path(__file__).with_name("inflating_child.py")

BOMB_SIZE: Final = 1 << 26
"""Bytes that a bomb becomes if nobody stops it."""

SPARE: Final = 1 << 24
"""Bytes of memory that refusing a bomb may take."""

SAMPLES: Final[dict[str, Callable[[], bytes]]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"\xff",
    "seven bytes": lambda: b"1234567",
    "text": lambda: b"The quick brown fox jumps over the lazy dog. " * 200,
    "zeros": lambda: bytes(100_000),
    "noise": lambda: random.Random(5).randbytes(100_001),
    "integers": lambda: array("q", range(20_000)).tobytes(),
    "floats": lambda: array("d", [number / 7 for number in range(10_000)]).tobytes(),
    "NaN": lambda: array("d", [float("nan")] * 10_000).tobytes(),
    "alternating": lambda: b"\x00\xff" * 33_333 + b"\x00",
    "a megabyte": lambda: random.Random(6).randbytes(1000) * 1049,
}
"""What is compressed, by name."""


class CodecKit(Kit):
    """Every promise of :class:`~cachewright.codec.Codec` as a test.

    Example, a whole test file::

        from cachewright.testing import CodecKit
        from cachewright_brotli.plugin import BROTLI

        class TestBrotli(CodecKit):
            info = BROTLI

    Attributes:
        info: the record of the codec under test.
    """

    info: ClassVar[CodecInfo]
    stakes: ClassVar[str] = "a stored value would come back as another one, or exhaust the reader"

    @pytest.fixture
    def codec(self) -> Codec:
        """A new instance of the codec under test."""
        return self.info.load()()

    def test_the_record_makes_sense(self) -> None:
        """Name, code and summary are possible."""
        assert self.info.name == self.info.name.lower().strip()
        assert self.info.name
        assert 1 <= self.info.code <= 255
        assert self.info.summary

    @pytest.mark.parametrize("name", SAMPLES)
    def test_what_was_compressed_comes_back(self, codec: Codec, name: str) -> None:
        """Any bytes, given as bytes or as a view into others, come back as the same ``bytes``."""
        whole = SAMPLES[name]()
        around = memoryview(b"abc" + whole + b"xyz").toreadonly()
        for given in (whole, memoryview(whole), around[3 : 3 + len(whole)]):
            packed = codec.compress(given)
            assert type(packed) is bytes
            kept = memoryview(b"h" + packed + b"t").toreadonly()[1:-1]
            for stored in (packed, kept):
                back = codec.decompress(stored, size=len(whole))
                assert type(back) is bytes
                assert back == whole

    def test_repetitive_data_shrinks(self, codec: Codec) -> None:
        """A hundred thousand zeros take less than a tenth."""
        assert len(codec.compress(bytes(100_000))) < 10_000

    @pytest.mark.parametrize("name", SAMPLES)
    def test_another_size_is_refused(self, codec: Codec, name: str) -> None:
        """Asked for more or fewer bytes than were compressed, it raises; it neither cuts nor fills up."""
        whole = SAMPLES[name]()
        packed = codec.compress(whole)
        for size in {0, 1, len(whole) // 2, len(whole) - 1, len(whole) + 1, len(whole) * 2, 1 << 40}:
            if 0 <= size != len(whole):
                self._assert_refused(codec, packed, size)

    @pytest.mark.parametrize("name", SAMPLES)
    def test_nothing_may_be_missing(self, codec: Codec, name: str) -> None:
        """A stream that ends too early is refused, also where only its last byte is missing."""
        whole = SAMPLES[name]()
        packed = codec.compress(whole)
        generator = random.Random(1)
        ends = {0, 1, 2, 3, len(packed) - 1, len(packed) - 2, len(packed) // 2}
        ends |= {generator.randrange(len(packed)) for _ in range(50)}
        for end in ends:
            if 0 <= end < len(packed):
                self._assert_refused(codec, packed[:end], len(whole))

    @pytest.mark.parametrize("name", SAMPLES)
    def test_nothing_may_follow(self, codec: Codec, name: str) -> None:
        """Bytes behind the stream are refused: zeros, noise, an empty stream, the stream itself again."""
        whole = SAMPLES[name]()
        packed = codec.compress(whole)
        for more in (b"\0", b"x", bytes(100), codec.compress(b""), packed):
            self._assert_refused(codec, packed + more, len(whole))
            self._assert_refused(codec, more + packed, len(whole))

    def test_streams_are_not_joined(self, codec: Codec) -> None:
        """Two streams are not one stream of both contents."""
        first, second = SAMPLES["text"](), SAMPLES["integers"]()
        both = codec.compress(first) + codec.compress(second)
        self._assert_refused(codec, both, len(first) + len(second))
        self._assert_refused(codec, both, len(first))

    def test_damaged_streams_raise_or_keep_the_size(self, codec: Codec) -> None:
        """Flipped, cut and repeated bytes make an exception, or other bytes of the size asked for."""
        self._skip_unless_hardened()
        generator = random.Random(0xC0DEC)
        for make in SAMPLES.values():
            whole = make()
            packed = codec.compress(whole)
            for _ in range(200):
                try:
                    back = codec.decompress(damaged(packed, generator), size=len(whole))
                except Exception:  # noqa: BLE001 - foreign code; damaged input may raise anything
                    continue
                assert type(back) is bytes
                assert len(back) == len(whole)

    def test_noise_is_refused(self, codec: Codec) -> None:
        """Bytes that never were a stream raise, with any size asked for; none runs or imports anything."""
        self._skip_unless_hardened()
        generator = random.Random(2)
        jobs = [
            (generator.randbytes(generator.randrange(300)), size)
            for size in (1, 100, 1_000_000)
            for _ in range(300)
        ]
        report = self._in_child(jobs)
        assert report["events"] == []
        assert report["accepted"] == []

    def test_a_bomb_is_refused_in_bounded_memory(self, codec: Codec) -> None:
        """What would become 64 MiB, and is asked for as less, is refused in 16 MiB of memory."""
        bombs = [codec.compress(bytes(BOMB_SIZE)), codec.compress(b"\xaa\x55" * (BOMB_SIZE // 2))]
        report = self._in_child([(bomb, size) for bomb in bombs for size in (0, 1000, 1_000_000)])
        assert report["accepted"] == []
        assert report["grown"] < SPARE

    def test_threads_do_not_mix_streams(self, codec: Codec) -> None:
        """Eight threads may compress and decompress at once with one instance."""
        samples = [make() for make in SAMPLES.values()] * 8

        def work(whole: bytes) -> bool:
            return codec.decompress(codec.compress(whole), size=len(whole)) == whole

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, samples))

    def test_another_instance_reads_it(self, codec: Codec) -> None:
        """What one instance compressed another one decompresses, for a codec keeps no state."""
        other = self.info.load()()
        for make in SAMPLES.values():
            whole = make()
            packed = codec.compress(whole)
            codec.compress(b"something else")
            assert other.decompress(packed, size=len(whole)) == whole

    def _skip_unless_hardened(self) -> None:
        if not self.info.hardened:
            pytest.skip(f"codec {self.info.name!r} is not hardened, so it only sees authenticated bytes")

    @staticmethod
    def _assert_refused(codec: Codec, data: bytes, size: int) -> None:
        try:
            back = codec.decompress(data, size=size)
        except Exception:  # noqa: BLE001 - foreign code refuses in its own way
            return
        message = f"{data[:40]!r} ({len(data)} bytes) was accepted as {size} bytes: {back[:40]!r}"
        raise AssertionError(message)

    def _in_child(self, jobs: list[tuple[bytes, int]]) -> dict[str, Any]:
        """Have (bytes, size) decompressed in a new process; return what it reports."""
        done = subprocess.run(
            [sys.executable, "-P", str(CHILD)],
            input=pickle.dumps((sys.path, pickle.dumps((self.info, jobs)))),
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        report: dict[str, Any] = json.loads(done.stdout)
        return report

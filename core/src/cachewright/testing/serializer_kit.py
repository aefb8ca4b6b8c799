"""The kit for authors of serializers: the exact value back, or a refusal, and never anything executed."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from cachewright.errors import UnserializableError
from cachewright.serializer import Serializer, SerializerInfo
from cachewright.testing.kit import Kit
from cachewright.testing.payloads import damaged, hostile_frames
from cachewright.testing.sameness import same
from cachewright.testing.specimens import specimens

CHILD = Path(__file__).with_name("decoding_child.py")

WARM = (
    "_strptime",
    "array",
    "collections",
    "copyreg",
    "datetime",
    "decimal",
    "encodings.latin_1",
    "encodings.raw_unicode_escape",
    "encodings.unicode_escape",
    "encodings.utf_16",
    "encodings.utf_16_be",
    "encodings.utf_16_le",
    "encodings.utf_32",
    "encodings.utf_32_be",
    "encodings.utf_32_le",
    "encodings.utf_8_sig",
    "enum",
    "fractions",
    "ipaddress",
    "numpy",
    "pathlib",
    "uuid",
    "zoneinfo",
)
"""Imported before the audit begins, because decoding ordinary data may import them.

The encodings are those that ``json.loads`` guesses from the first bytes.
"""


class SerializerKit(Kit):
    """Every promise of :class:`~cachewright.serializer.Serializer` as a test.

    Example, a whole test file::

        from cachewright.testing import SerializerKit
        from cachewright_cbor.plugin import CBOR

        class TestCbor(SerializerKit):
            info = CBOR
            accepts = ({"a": 1}, [1, 2.5, None])

    Attributes:
        info: the record of the serializer under test.
        accepts: values that it must give back exactly; at least one.
        allowed_events: audit events that decoding may raise, with the reason beside the override.
        warm_imports: further modules that decoding may use, imported before the audit begins.
    """

    stakes: ClassVar[str] = "a result would come back as another value, or code in a store be executed"

    info: ClassVar[SerializerInfo]
    accepts: ClassVar[Sequence[object]] = ()
    allowed_events: ClassVar[frozenset[str]] = frozenset()
    warm_imports: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def serializer(self) -> Serializer:
        """A new instance of the serializer under test."""
        return self.info.load()()

    def test_the_record_makes_sense(self) -> None:
        """Name, code and types are possible, and the kit was given something to accept."""
        assert self.info.name == self.info.name.lower().strip()
        assert self.info.name
        assert 1 <= self.info.code <= 255
        assert self.info.executable is (self.info.code >= 0x80)
        assert all("." in name for name in self.info.types), "types are module.qualname"
        assert self.accepts, "accepts names at least one value"

    def test_accepted_values_come_back_exactly(self, serializer: Serializer) -> None:
        """Each declared example comes back with the same types and contents at every depth."""
        for value in self.accepts:
            back = _round_trip(serializer, value)
            assert same(back, value), f"{value!r:.80} came back as {back!r:.80}"

    @pytest.mark.parametrize("name", sorted(specimens()))
    def test_a_specimen_comes_back_exactly_or_is_refused(self, serializer: Serializer, name: str) -> None:
        """Any value is either given back exactly or refused with UnserializableError; never altered."""
        value = specimens()[name]()
        try:
            frames = serializer.dumps(value)
        except UnserializableError as refusal:
            assert refusal.type_name  # noqa: PT017 - refusing is one of two right answers
            return
        back = serializer.loads(_views(frames))
        assert same(back, value), f"{name} was altered"

    def test_dumping_changes_nothing(self, serializer: Serializer) -> None:
        """Turning a value into frames twice leaves it as it was, and both give the same value."""
        for value in self.accepts:
            first, second = (_round_trip(serializer, value) for _ in range(2))
            assert same(first, value)
            assert same(second, value)

    def test_frames_are_buffers(self, serializer: Serializer) -> None:
        """What dumps returns is a sequence of at least one contiguous bytes, bytearray or memoryview."""
        for value in self.accepts:
            frames = serializer.dumps(value)
            assert len(frames) >= 1
            for position in range(len(frames)):
                frame = frames[position]
                assert isinstance(frame, (bytes, bytearray, memoryview))
                view = memoryview(frame)
                assert view.contiguous
                assert view.cast("B").nbytes == view.nbytes

    def test_views_may_be_anywhere_in_a_larger_buffer(self, serializer: Serializer) -> None:
        """Frames are given to loads as read-only views into one buffer, at any alignment."""
        for value in self.accepts:
            frames = [bytes(frame) for frame in serializer.dumps(value)]
            for shift in (1, 3, 8):
                buffer = memoryview(bytes(shift) + b"".join(frames) + b"after").toreadonly()
                views: list[memoryview] = []
                at = shift
                for frame in frames:
                    views.append(buffer[at : at + len(frame)])
                    at += len(frame)
                assert same(serializer.loads(views), value)

    def test_threads_do_not_mix_values(self, serializer: Serializer) -> None:
        """Eight threads may dump and load at once with one instance."""
        values = list(self.accepts) * 20

        def work(value: object) -> bool:
            return same(_round_trip(serializer, value), value)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, values))

    def test_another_instance_reads_it(self, serializer: Serializer) -> None:
        """What one instance dumped another one loads, for a serializer keeps no state."""
        other = self.info.load()()
        for value in self.accepts:
            assert same(other.loads(_views(serializer.dumps(value))), value)

    def test_damaged_frames_raise_at_worst(self, serializer: Serializer) -> None:
        """Flipped, cut and repeated frames give an exception or some value; no crash, exit or hang."""
        if self.info.executable:
            pytest.skip(
                f"serializer {self.info.name!r} may execute code, so it only sees authenticated frames"
            )
        generator = random.Random(0xD0)
        for value in self.accepts:
            frames = [bytes(frame)[:65_536] for frame in serializer.dumps(value)]
            for _ in range(100):
                spoilt = list(frames)
                position = generator.randrange(len(spoilt))
                spoilt[position] = damaged(spoilt[position], generator)
                _loads_or_raises(serializer, spoilt)
            for wrong in ([], frames[:-1], frames[1:], frames[::-1], [*frames, b""], [b"", *frames]):
                _loads_or_raises(serializer, wrong)

    def test_nothing_is_executed(self, serializer: Serializer) -> None:
        """A data-only serializer imports, opens, starts and calls nothing, whatever it is fed."""
        if self.info.executable:
            pytest.skip(f"serializer {self.info.name!r} declares that decoding could execute code")
        examples = [[bytes(frame) for frame in serializer.dumps(value)] for value in self.accepts]
        small = [frames for frames in examples if sum(map(len, frames)) < 4096][:4]
        payloads = list(hostile_frames(small))
        warm = (*WARM, *self.warm_imports)
        job = pickle.dumps((self.info, warm, self.allowed_events, examples, payloads))
        done = subprocess.run(
            [sys.executable, "-P", str(CHILD)],
            input=pickle.dumps((sys.path, job)),
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        events = json.loads(done.stdout)
        report = [f"{event} {argument} by {payloads[number]!r:.200}" for number, event, argument in events]
        assert report == []


def _views(frames: Sequence[bytes | bytearray | memoryview]) -> list[memoryview]:
    return [memoryview(bytes(frame)).toreadonly() for frame in frames]


def _round_trip(serializer: Serializer, value: object) -> object:
    return serializer.loads(_views(serializer.dumps(value)))


def _loads_or_raises(serializer: Serializer, frames: Sequence[bytes]) -> None:
    try:
        serializer.loads(_views(frames))
    except Exception:  # noqa: BLE001 - foreign code; damaged input may raise anything
        return

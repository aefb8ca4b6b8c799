"""Bytes of every size and shape come back as they were, and stay what they were."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from cachewright.engine import Engine
from cachewright.entry import MISSING
from cachewright.testing import tripwire
from cachewright.testing.engine_contract import EngineContract, content
from cachewright.testing.payloads import EXHAUSTING, HOSTILE_PICKLES

MEGABYTE = 1024 * 1024

ENDINGS: dict[str, Callable[[Engine, Any], object]] = {
    "overwrite": lambda engine, key: engine.set(key, [b"other"], size=5),
    "delete": lambda engine, key: engine.delete(key),
    "clear": lambda engine, _: engine.clear(),
    "close": lambda engine, _: engine.close(),
}
"""Ways for an entry to end while somebody still reads what was returned for it."""


class PayloadContract(EngineContract):
    """An engine of bytes neither interprets nor limits nor shares them."""

    stakes: ClassVar[str] = "stored results would be damaged, or code in them executed"

    @pytest.mark.parametrize("boundary", [256, 4_096, 16_384, 65_536, MEGABYTE])
    def test_sizes_around_a_boundary_come_back(self, engine: Engine, boundary: int) -> None:
        """Values one byte below, at and above the sizes at which stores change their layout are exact."""
        self.needs_bytes()
        whole = random.Random(boundary).randbytes(boundary + 1)
        sizes = [size for size in (boundary - 1, boundary, boundary + 1) if self._fits(size)]
        for number, size in enumerate(sizes):
            assert engine.set(self.key(number), [whole[:size]], size=size) is True
        for number, size in enumerate(sizes):
            assert content(engine.get(self.key(number))) == whole[:size], size

    def test_a_value_may_change_its_size(self, engine: Engine) -> None:
        """One key holds small, large, empty and small values in turn, each exactly, in one entry."""
        self.needs_bytes()
        whole = random.Random(3).randbytes(300_000)
        for size in (10, 300_000, 0, 5_000, 299_999, 1):
            size = min(size, self.info.capabilities.max_value_size or size)  # noqa: PLW2901 - what fits
            assert engine.set(self.key(1), [whole[:size]], size=size) is True
            assert content(engine.get(self.key(1))) == whole[:size], size
        assert engine.delete(self.key(1)) is True
        assert engine.get(self.key(1)) is MISSING

    def test_sixty_four_megabytes_come_back(self, engine: Engine) -> None:
        """A value of 64 MB comes back whole."""
        self.needs_bytes()
        if not self._fits(64 * MEGABYTE):
            pytest.skip(f"engine {self.info.name!r} declares a max_value_size below 64 MB")
        block = random.Random(64).randbytes(MEGABYTE)
        chunks = [bytes((number,)) + block[1:] for number in range(64)]
        assert engine.set(self.key(1), chunks, size=64 * MEGABYTE) is True
        found = content(engine.get(self.key(1)))
        assert len(found) == 64 * MEGABYTE
        assert all(found[n * MEGABYTE : (n + 1) * MEGABYTE] == chunk for n, chunk in enumerate(chunks))

    def test_a_hundred_thousand_chunks_come_back(self, engine: Engine) -> None:
        """Far more chunks than one system call takes are stored one after another."""
        self.needs_bytes()
        chunks = [b"%06d" % number for number in range(100_000)]
        if not self._fits(600_000):
            pytest.skip(f"engine {self.info.name!r} declares a max_value_size below 600 KB")
        assert engine.set(self.key(1), chunks, size=600_000) is True
        assert content(engine.get(self.key(1))) == b"".join(chunks)

    def test_chunks_are_left_as_they_were(self, engine: Engine) -> None:
        """Storing changes neither the list of chunks nor a chunk, and exports no buffer for longer."""
        self.needs_bytes()
        buffer = bytearray(b"growing" * 1000)
        chunks: list[Any] = [b"head", buffer, memoryview(b"tail")]
        engine.set(self.key(1), chunks, size=7008)
        assert chunks == [b"head", b"growing" * 1000, b"tail"]
        del chunks
        buffer.extend(b"more")  # a buffer that somebody still views cannot grow

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_returned_blob_outlives_its_entry(self, engine: Engine, ending: str) -> None:
        """Small and large blobs keep their bytes when the entry is replaced, removed or its engine closed."""
        self.needs_bytes()
        values: dict[int, bytes] = {}
        for number, size in enumerate((10, 5_000, 100_000, 3_000_000)):
            if self._fits(size):
                values[number] = random.Random(size).randbytes(size)
                engine.set(self.key(number), [values[number]], size=size)
        blobs = {number: engine.get(self.key(number)) for number in values}
        for number in values:
            ENDINGS[ending](engine, self.key(number))
        for number, value in values.items():
            assert content(blobs[number]) == value, f"{len(value)} bytes"

    def test_hostile_payloads_come_back_unread(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pickles that run code and payloads that exhaust a decoder are bytes to an engine, and stay so."""
        self.needs_bytes()
        pulled: list[object] = []

        def pull(*arguments: object) -> None:
            pulled.append(arguments)

        monkeypatch.setattr(tripwire, "pull", pull)
        payloads = [payload for payload in (*HOSTILE_PICKLES, *EXHAUSTING) if self._fits(len(payload))]
        for number, payload in enumerate(payloads):
            assert engine.set(self.key(number), [payload], size=len(payload)) is True
        for number, payload in enumerate(payloads):
            assert content(engine.get(self.key(number))) == payload
        found = engine.get_many([self.key(number) for number in range(len(payloads))])
        assert [content(found[self.key(number)]) for number in range(len(payloads))] == payloads
        assert pulled == [], "the engine decoded what it was given to store"

    def test_a_blob_is_of_bytes(self, engine: Engine) -> None:
        """What get and get_many return is flat: one dimension, one byte an item, as long as its bytes."""
        self.needs_bytes()
        for number, size in enumerate((0, 1, 100, 100_000)):
            engine.set(self.key(number), [bytes(size)], size=size)
            many = engine.get_many([self.key(number)])
            for stored in (engine.get(self.key(number)), many[self.key(number)]):
                view = memoryview(getattr(stored, "view", stored))
                assert (view.ndim, view.itemsize, view.nbytes, view.contiguous) == (1, 1, size, True)

    def _fits(self, size: int) -> bool:
        limit = self.info.capabilities.max_value_size
        return limit is None or size <= limit

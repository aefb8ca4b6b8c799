"""Files of a store are private, may be damaged, and are not the only ones in their directory."""

from __future__ import annotations

import gc
import os
import random
import shutil
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import CachewrightError, CachewrightWarning
from cachewright.testing.caches import cache_over
from cachewright.testing.engine_contract import EngineContract, EngineOpener

ROUNDS = 4
DESCRIPTORS = Path("/dev/fd")


def _flipped(whole: bytes, generator: random.Random) -> bytes:
    spoilt = bytearray(whole)
    for _ in range(3):
        spoilt[generator.randrange(len(spoilt))] ^= 1 << generator.randrange(8)
    return bytes(spoilt)


def _zeroed(whole: bytes, generator: random.Random) -> bytes:
    start = generator.randrange(len(whole))
    return whole[:start] + bytes(len(whole[start : start + 512])) + whole[start + 512 :]


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bits flipped": _flipped,
    "cut off": lambda whole, generator: whole[: generator.randrange(len(whole))],
    "a page of zeros": _zeroed,
    "garbage": lambda whole, generator: generator.randbytes(len(whole)),
    "emptied": lambda _, __: b"",
}
"""What becomes of one file of a store."""


class FileContract(EngineContract):
    """For engines that keep files under ``EngineConfig.path``; the others have none to look after."""

    stakes: ClassVar[str] = "others could read or prepare what is stored, or damage on disk reach callers"

    @pytest.fixture
    def store(self, open_engine: EngineOpener) -> Path:
        """The directory of a closed store with twelve entries of a cache; skips where there is none."""
        path = open_engine.config.path
        if not self.info.capabilities.sync:
            pytest.skip(f"engine {self.info.name!r} does not declare sync")
        cache = cache_over(open_engine.open, open_engine.config, self.info)
        for number in range(12):
            cache.set(number, f"value {number} " * (1 + 300 * (number % 3)))
        cache.close()
        if path is None or not any(self._files(path)):
            pytest.skip(f"engine {self.info.name!r} keeps no files under its path")
        return path

    def test_files_are_private(self, store: Path, open_engine: EngineOpener) -> None:
        """Whatever the umask, nobody but the user has access to the directory and its files."""
        fresh = store.with_name("fresh")
        before = os.umask(0)
        try:
            engine = open_engine.open(replace(open_engine.config, path=fresh))
            self.put(engine, self.key(1), 1)
            value = self.value(2, length=300_000)
            engine.set(self.key(2), value, size=self.size(value))
            engine.close()
        finally:
            os.umask(before)
        for path in (fresh, *fresh.rglob("*")):
            assert not stat.S_IMODE(path.lstat().st_mode) & 0o077, f"{path.relative_to(fresh)} is not private"

    def test_a_directory_open_to_others_is_not_called_private(
        self, store: Path, open_engine: EngineOpener
    ) -> None:
        """Where others may write, the engine refuses, or does not say that only this user can have."""
        shared = store.with_name("shared")
        shared.mkdir()
        shared.chmod(0o777)
        try:
            engine = open_engine.open(replace(open_engine.config, path=shared))
        except CachewrightError:
            return
        self.put(engine, self.key(1), 1)
        assert engine.private is False, "pickles that others have put there would be executed"

    def test_foreign_files_are_left_alone(self, store: Path, open_engine: EngineOpener) -> None:
        """Files and folders that are not the engine's outlive opening, clearing and reopening."""
        foreign = {store / "notes.txt": b"notes", store / "folder" / "0123456789abcdef.bin": b"data"}
        for path, data in foreign.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        for _ in range(2):
            engine = open_engine.open(open_engine.config)
            self.put(engine, self.key(1), 1)
            engine.clear()
            if self.info.capabilities.scan:
                assert list(engine.keys()) == []
            engine.close()
        assert {path: path.read_bytes() for path in foreign if path.exists()} == foreign

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_damaged_files_are_misses(self, store: Path, open_engine: EngineOpener, damage: str) -> None:
        """With any file damaged the store opens, and a cache finds the right value or none."""
        generator = random.Random(0xDA)
        for turn in range(ROUNDS):
            copy = store.with_name(f"damaged-{turn}")
            shutil.copytree(store, copy)
            target = self._victim(copy, generator)
            target.write_bytes(DAMAGE[damage](target.read_bytes(), generator))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CachewrightWarning)  # saying so once is right
                self._read_all(open_engine, replace(open_engine.config, path=copy))

    def test_a_lost_file_is_a_miss(self, store: Path, open_engine: EngineOpener) -> None:
        """With any one file gone the store opens, and a cache finds the right value or none."""
        for turn, path in enumerate(sorted(self._files(store))[:6]):
            copy = store.with_name(f"lost-{turn}")
            shutil.copytree(store, copy)
            (copy / path.relative_to(store)).unlink()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CachewrightWarning)
                self._read_all(open_engine, replace(open_engine.config, path=copy))

    @pytest.mark.parametrize("place", ["a file", "below a file"])
    def test_a_path_that_is_no_directory_is_one_clear_error(
        self, store: Path, open_engine: EngineOpener, place: str
    ) -> None:
        """Opening there, or the first write, raises an error of cachewright, and harms no file."""
        file = store.with_name("file")
        file.write_bytes(b"somebody's data")
        path = file if place == "a file" else file / "store"
        with pytest.raises(CachewrightError):
            self.put(open_engine.open(replace(open_engine.config, path=path)), self.key(1), 1)
        assert file.read_bytes() == b"somebody's data"

    def test_a_store_may_be_moved(self, store: Path, open_engine: EngineOpener) -> None:
        """A closed store that persists is complete under another path."""
        self.needs("persistent")
        moved = store.rename(store.with_name("moved elsewhere"))
        cache = cache_over(open_engine.open, replace(open_engine.config, path=moved), self.info)
        assert [cache.get(number, MISSING) is not MISSING for number in range(12)] == [True] * 12
        cache.close()

    def test_closing_gives_descriptors_and_threads_back(self, store: Path, open_engine: EngineOpener) -> None:
        """Twenty engines that were opened, used and closed leave nothing open."""
        if not DESCRIPTORS.is_dir():
            pytest.skip("this platform does not list open descriptors")

        def use() -> None:
            engine = self.open(replace(open_engine.config, path=store))
            engine.get(self.key(1))
            self.put(engine, self.key(1), 1)
            engine.close()

        def opened() -> tuple[int, int]:
            gc.collect()
            return len(os.listdir(DESCRIPTORS)), threading.active_count()  # noqa: PTH208 - counted, not used

        for _ in range(3):
            use()
        before = opened()
        for _ in range(20):
            use()
        after = opened()
        assert after[0] <= before[0] + 2, "descriptors are left open"
        assert after[1] <= before[1] + 1, "threads are left running"

    def _read_all(self, open_engine: EngineOpener, config: EngineConfig) -> None:
        cache = cache_over(open_engine.open, config, self.info)
        for number in range(12):
            found = cache.get(number, MISSING)
            assert found in (MISSING, f"value {number} " * (1 + 300 * (number % 3)))
        assert cache.get_or_set("new", lambda: "computed") == "computed"
        cache.close()

    def _victim(self, store: Path, generator: random.Random) -> Path:
        files = sorted(path for path in self._files(store) if path.stat().st_size)
        return generator.choice(files)

    def _files(self, path: Path) -> Iterator[Path]:
        known = {"CACHEDIR.TAG", ".gitignore"}
        return (file for file in path.rglob("*") if file.is_file() and file.name not in known)

"""Deliberately wrong engines of files, one mistake each; the class name says which."""

from __future__ import annotations

import atexit
import hashlib
import pickle
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, ClassVar

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.testing.reference import HEAD, FolderEngine


class UnpicklesWhatItReads(FolderEngine):
    def get(self, key: Any, /) -> Any:
        stored = super().get(key)
        if stored is not MISSING:
            with suppress(Exception):
                pickle.loads(stored)  # the mistake
        return stored


class StripsPadding(FolderEngine):
    def get(self, key: Any, /) -> Any:
        stored = super().get(key)
        return stored if stored is MISSING else stored.rstrip(b" \0")


class ReadsOneBlock(FolderEngine):
    def get(self, key: Any, /) -> Any:
        stored = super().get(key)
        return stored if stored is MISSING else stored[:65_536]


class WritesTheFirstThousands(FolderEngine):
    def write(self, target: Path, head: bytes, chunks: Any) -> None:
        super().write(target, head, list(chunks)[:1024])


class ReusesItsBuffer(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.buffer = bytearray(8 * 1024 * 1024)

    def get(self, key: Any, /) -> Any:
        stored = super().get(key)
        if stored is MISSING:
            return stored
        self.buffer[: len(stored)] = stored
        return memoryview(self.buffer)[: len(stored)].toreadonly()


class WritesForEverybody(FolderEngine):
    def write(self, target: Path, head: bytes, chunks: Any) -> None:
        super().write(target, head, chunks)
        target.chmod(0o644)


class CallsItselfPrivate(FolderEngine):
    @property
    def private(self) -> bool:
        return True


class RemovesTheTree(FolderEngine):
    def clear(self) -> None:
        shutil.rmtree(self.store)
        self.folder.mkdir(parents=True)


class ReadsAllToOpen(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        for file in self.folder.iterdir():
            HEAD.unpack_from(file.read_bytes())


class MakesItsDirectory(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        if config.path is not None:
            config.path.mkdir(parents=True, exist_ok=True)
        super().__init__(config)


class NamesItsPlace(FolderEngine):
    def folder_name(self, namespace: str) -> str:
        return hashlib.sha256(f"{self.store}/{namespace}".encode()).hexdigest()


class LeavesFilesOpen(FolderEngine):
    opened: ClassVar[list[IO[bytes]]] = []

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.opened.append((self.store / "lock").open("ab"))


class CountsFromTheBoot(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.clock = type(config.clock)()
        self.clock.wall = config.clock.monotonic


class WritesLater(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.pending: dict[Any, Any] = {}

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        self.pending[key] = value
        if len(self.pending) == 7:
            for late, chunks in self.pending.items():
                super().set(late, chunks)
            self.pending.clear()
        return True


class SharesATemporaryName(FolderEngine):
    def write(self, target: Path, head: bytes, chunks: Any) -> None:
        temporary = self.folder / "tmp-shared"
        with temporary.open("wb") as file:
            file.write(head)
            file.writelines(chunks)
        temporary.replace(target)

    def set(self, key: Any, value: Any, /, *, ttl: float | None = None, size: int = 1) -> bool:
        self.write(self.folder / key, HEAD.pack(float("inf")), value)
        return True


class ComparesThenWrites(FolderEngine):
    def compare_and_set(
        self, key: Any, expected: Any, value: Any, /, *, ttl: float | None = None, size: int = 1
    ) -> bool:
        if self.get(key) != expected:
            return False
        time.sleep(1e-4)
        return self.delete(key) if value is MISSING else self.set(key, value, ttl=ttl, size=size)


class EmptiesOnClosing(FolderEngine):
    def close(self) -> None:
        self.clear()


class SaysGoodbye(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        atexit.register(sys.stderr.write, "goodbye\n")


class ChecksWhatItReads(FolderEngine):
    def get(self, key: Any, /) -> Any:
        stored = super().get(key)
        if stored is not MISSING and not stored.startswith(b"\xca\xce"):
            message = "this is no entry"
            raise ValueError(message)
        return stored


class WritesInHalves(FolderEngine):
    def write(self, target: Path, head: bytes, chunks: Any) -> None:
        first, *others = chunks
        with target.open("r+b" if target.exists() else "wb", buffering=0) as file:
            file.write(head + bytes(first))
            time.sleep(1e-4)
            file.write(b"".join(others))


class MakesItsFolderOnce(FolderEngine):
    def __init__(self, config: EngineConfig) -> None:
        path = Path(config.path or "")
        if not path.exists():
            time.sleep(1e-2)
            path.mkdir(mode=0o700)
        super().__init__(config)

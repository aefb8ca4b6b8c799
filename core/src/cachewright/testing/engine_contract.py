"""The engine contract's test bench: the record under test, its store, its clock, sample keys and values."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from cachewright.engine import Engine, EngineConfig, EngineInfo, MappedBlob
from cachewright.entry import MISSING
from cachewright.testing.bridge import Blocking
from cachewright.testing.clock import ManualClock
from cachewright.testing.kit import Kit

PATIENCE = 30.0
"""Seconds after which an operation that could hang has hung."""


class Token:
    """A value that equals only itself and remembers the key under which it was stored."""

    __slots__ = ("__weakref__", "key", "number")

    def __init__(self, key: object, number: int) -> None:
        self.key = key
        self.number = number

    def __repr__(self) -> str:
        return f"Token({self.key!r}, {self.number})"


def content(stored: object) -> bytes:
    """Return the bytes of what an engine of bytes gave back; fails unless it is a blob."""
    blob: Any = stored.view if isinstance(stored, MappedBlob) else stored
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        message = f"an engine of bytes returned a {type(blob).__name__}, not a blob"
        raise AssertionError(message)  # noqa: TRY004 - a broken promise, not a wrong call
    return bytes(cast("bytes", blob))


class EngineOpener:
    """Opens engines on the store of one test, and closes all of them after it."""

    def __init__(self, contract: EngineContract, config: EngineConfig) -> None:
        self.config = config
        self._contract = contract
        self._opened: list[Engine] = []
        self._cleared: set[str] = set()

    def __call__(
        self,
        *,
        namespace: str | None = None,
        maxsize: int | None = None,
        max_bytes: int | None = None,
        policy: str | None = None,
        options: Mapping[str, object] | None = None,
    ) -> Engine:
        """Open another engine on the same store; what is left out comes from ``make_config``."""
        config = replace(
            self.config,
            namespace=self.config.namespace if namespace is None else namespace,
            maxsize=self.config.maxsize if maxsize is None else maxsize,
            max_bytes=self.config.max_bytes if max_bytes is None else max_bytes,
            policy=self.config.policy if policy is None else policy,
            options=self.config.options if options is None else {**self.config.options, **options},
        )
        return self.open(config)

    def open(self, config: EngineConfig) -> Engine:
        """Open an engine with just this configuration."""
        engine = self.keep(self._contract.open(config))
        if self._contract.shared_between_tests and config.namespace not in self._cleared:
            self._cleared.add(config.namespace)
            engine.clear()
        return engine

    def keep(self, engine: Engine) -> Engine:
        """Have an engine that was opened elsewhere closed after the test, and return it."""
        self._opened.append(engine)
        return engine

    def abandon(self, engine: Engine) -> None:
        """Leave an engine alone that hangs, so that closing it does not hang as well."""
        self._opened.remove(engine)

    def finish(self) -> None:
        """Empty what outlives the test, then close every engine; a second ``close`` is part of it."""
        if self._contract.shared_between_tests:
            for namespace in self._cleared:
                self.keep(self._contract.open(replace(self.config, namespace=namespace))).clear()
        for engine in self._opened:
            engine.close()
            if isinstance(engine, Blocking):
                engine.dispose()
        self._opened.clear()


class EngineContract(Kit):
    """Base of the groups of tests that make up an engine's kit.

    Attributes:
        info: the record of the engine under test.
        clocked_by_server: whether a server's clock decides about ttl, so that the manual clock cannot
            move it.
    """

    info: ClassVar[EngineInfo]
    clocked_by_server: ClassVar[bool] = False

    def make_config(self, tmp_path: Path) -> EngineConfig:
        """Return what engines are opened with; override it for a url or for options."""
        return EngineConfig(path=tmp_path / "store")

    def unreachable_config(self, tmp_path: Path) -> EngineConfig | None:  # for overriding
        """Return a configuration whose server does not answer, for engines that have a server."""
        return None

    def open(self, config: EngineConfig) -> Engine:
        """Open the engine under test."""
        return self.info.load()(config)

    @property
    def shared_between_tests(self) -> bool:
        """Whether entries of one test could be seen by another: on a server they could."""
        return self.info.capabilities.scope == "network"

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock of every engine of this test."""
        return ManualClock()

    @pytest.fixture
    def open_engine(self, tmp_path: Path, clock: ManualClock) -> Iterator[EngineOpener]:
        """Opens engines on the store of this test and closes them afterwards."""
        config = replace(self.make_config(tmp_path), clock=clock)
        if self.shared_between_tests:
            config = replace(config, namespace=f"{config.namespace}-{uuid.uuid4().hex}")
        opener = EngineOpener(self, config)
        yield opener
        opener.finish()

    @pytest.fixture
    def engine(self, open_engine: EngineOpener) -> Engine:
        """One engine without bounds."""
        return open_engine()

    def in_time(self, open_engine: EngineOpener, engine: Engine, work: Callable[[], object]) -> None:
        """Do work that could wait for ever; fails if it does, and raises what it raises."""
        failures: list[BaseException] = []

        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - foreign code; raised again by the test
                failures.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if thread.is_alive():
            open_engine.abandon(engine)
            pytest.fail(f"an operation of engine {self.info.name!r} did not end within {PATIENCE:g} s")
        for failure in failures:
            raise failure

    def needs(self, capability: str) -> None:
        """Skip the test unless the record declares ``capability``."""
        if not getattr(self.info.capabilities, capability):
            pytest.skip(f"engine {self.info.name!r} does not declare {capability}")

    def needs_objects(self) -> None:
        """Skip the test unless the engine holds objects."""
        if self.info.capabilities.holds != "objects":
            pytest.skip(f"engine {self.info.name!r} does not declare holds='objects'")

    def needs_bytes(self) -> None:
        """Skip the test unless the engine holds bytes."""
        if self.info.capabilities.holds != "bytes":
            pytest.skip(f"engine {self.info.name!r} does not declare holds='bytes'")

    def needs_clock(self) -> None:
        """Skip the test unless the engine keeps ttl itself, by a clock that the test can move."""
        self.needs("ttl_per_entry")
        if self.clocked_by_server:
            pytest.skip(f"engine {self.info.name!r} goes by the clock of its server")

    def key(self, number: int) -> Any:
        """Return sample key ``number``: a tuple for objects, a digest for bytes."""
        if self.info.capabilities.holds == "objects":
            return ("key", number)
        return hashlib.blake2b(f"key {number}".encode(), digest_size=32).hexdigest()

    def value(self, number: int, *, key: object = None, length: int = 0) -> Any:
        """Return sample value ``number``, for ``key``: a token for objects, chunks for bytes."""
        if self.info.capabilities.holds == "objects":
            return Token(key, number)
        head = f"{key} {number} ".encode()
        return [head, bytes(max(0, length - len(head)))]

    def size(self, value: Any) -> int:
        """Return the size to pass to ``set`` for a sample value."""
        if self.info.capabilities.holds == "objects":
            return 1
        return sum(len(chunk) for chunk in value)

    def matches(self, stored: object, value: Any) -> bool:
        """Tell whether ``stored``, from ``get``, is exactly ``value``, as given to ``set``."""
        if stored is MISSING:
            return False
        if self.info.capabilities.holds == "objects":
            return stored is value
        return content(stored) == b"".join(value)

    def belongs(self, stored: object, key: object) -> bool:
        """Tell whether ``stored`` is one of the sample values made for ``key``."""
        if self.info.capabilities.holds == "objects":
            return isinstance(stored, Token) and stored.key == key
        return content(stored).startswith(f"{key} ".encode())

    def put(self, engine: Engine, key: Any, number: int, *, ttl: float | None = None) -> Any:
        """Store sample value ``number`` under ``key``, insist that it was stored, and return it."""
        value = self.value(number, key=key)
        if engine.set(key, value, ttl=ttl, size=self.size(value)) is not True:
            message = f"set({key!r}) did not return True"
            raise AssertionError(message)
        return value

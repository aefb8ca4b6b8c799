"""A server that is gone, silent or hostile is one kind of error, in time, without a secret in it."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from cachewright.engine import EngineConfig
from cachewright.errors import CachewrightError, EngineError
from cachewright.testing.engine_contract import EngineContract, EngineOpener

CANARY = "c4n4ry-s3cret"


class ServerContract(EngineContract):
    """For engines that name an ``unreachable_config``; the others have no server."""

    stakes: ClassVar[str] = "a server that is down would hang the application or leak its credentials"

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> EngineConfig:
        """A configuration whose server does not answer; skips where there is none."""
        config = self.unreachable_config(tmp_path)
        if config is None:
            pytest.skip(f"engine {self.info.name!r} names no unreachable_config()")
        return config

    @pytest.fixture
    def silent_address(self) -> Iterator[str]:
        """The address of a server that takes connections and never says a word."""
        listener = socket.create_server(("127.0.0.1", 0))
        taken: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):  # the listener is closed under it, at the end
                while True:
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield "{}:{}".format(*listener.getsockname())
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in taken:
            connection.close()

    def test_a_server_that_does_not_answer_is_an_engine_error(
        self, open_engine: EngineOpener, unreachable: EngineConfig
    ) -> None:
        """Opening waits for no server; the first operation raises EngineError, and closing still works."""
        engine = open_engine.keep(self.open(unreachable))
        key = self.key(1)
        for _ in range(2):
            with pytest.raises(EngineError) as failed:
                engine.get(key)
            assert failed.value.engine == self.info.name
            assert failed.value.__cause__ is not None
            with pytest.raises(EngineError):
                engine.set(key, self.value(1))
        engine.close()

    @pytest.mark.parametrize("operation", ["get", "set", "delete", "get_many", "set_many", "clear"])
    def test_a_silent_server_is_given_up(
        self, open_engine: EngineOpener, unreachable: EngineConfig, silent_address: str, operation: str
    ) -> None:
        """A server that accepts connections and says nothing is an EngineError, and no operation hangs."""
        url = urlsplit(unreachable.url or "")
        if not url.hostname:
            pytest.skip(f"unreachable_config() of engine {self.info.name!r} names no host")
        url = url._replace(netloc=silent_address)
        engine = open_engine.keep(self.open(replace(unreachable, url=url.geturl(), timeout=0.1)))
        key, value = self.key(1), self.value(1)
        operations = {
            "get": lambda: engine.get(key),
            "set": lambda: engine.set(key, value),
            "delete": lambda: engine.delete(key),
            "get_many": lambda: engine.get_many([key]),
            "set_many": lambda: engine.set_many([(key, value, None, 1)]),
            "clear": engine.clear,
        }
        with pytest.raises(EngineError):
            self.in_time(open_engine, engine, operations[operation])
        engine.close()

    def test_no_password_is_shown(
        self, open_engine: EngineOpener, unreachable: EngineConfig, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A password in the url appears in no message, no repr and no line of a log."""
        url = urlsplit(unreachable.url or "")
        if not url.hostname or "@" in url.netloc:
            pytest.skip(f"unreachable_config() of engine {self.info.name!r} takes no password")
        url = url._replace(netloc=f"user:{CANARY}@{url.netloc}")
        shown: list[str] = []
        with caplog.at_level(logging.DEBUG):
            try:
                engine = open_engine.keep(self.open(replace(unreachable, url=url.geturl())))
                shown.append(repr(engine))
                engine.get(self.key(1))
            except CachewrightError as error:
                shown += [str(error), repr(error), repr(vars(error))]
        assert shown
        assert CANARY not in "\n".join([*shown, caplog.text])

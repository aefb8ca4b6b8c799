"""Servers that take their time: a greeting counts into the timeout, a transfer that goes on does not."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from cachewright.errors import EngineUnavailableError

Opener = Callable[..., Any]

TIMEOUT = 0.3
HUNG = 10 * TIMEOUT
"""Seconds that an operation takes only if it waits again and again, or for ever."""

KEY = hashlib.blake2b(b"key", digest_size=16).hexdigest()


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Every test of this module is one of both engines."""
    return str(request.param)


@contextmanager
def scripted(talk: Callable[[socket.socket], None]) -> Generator[int]:
    """A server that does ``talk`` with everybody who connects."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                talk(connection)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)


def test_a_greeting_counts_into_the_timeout(opened: Opener) -> None:
    """A server that takes most of the timeout for each step of the greeting is given up during it."""
    slow = threading.Event()  # never set

    def talk(connection: socket.socket) -> None:
        while question := connection.recv(1 << 16):
            slow.wait(0.7 * TIMEOUT)
            connection.sendall(b"+OK\r\n" * question.count(b"*"))

    with scripted(talk) as port:
        engine = opened(url=f"redis://user:word@127.0.0.1:{port}/1?client_name=me", timeout=TIMEOUT)
        started = time.monotonic()
        with pytest.raises(EngineUnavailableError):
            engine.get(KEY)
        assert time.monotonic() - started < HUNG


@pytest.mark.slow
def test_a_transfer_may_take_longer_than_the_timeout(opened: Opener) -> None:
    """As long as bytes move in either direction, an operation goes on."""
    timeout, steps, step = 2.0, 12, 1 << 20
    value = bytes(steps * step)
    reply = b"$%d\r\n%b\r\n" % (len(value), value)
    slow = threading.Event()  # never set

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, step)
        reading = b"GET" in connection.recv(64)
        for turn in range(steps):
            slow.wait(2 * timeout / steps)
            if reading:
                connection.sendall(reply[turn * step : None if turn == steps - 1 else (turn + 1) * step])
            else:
                connection.recv(step, socket.MSG_WAITALL if turn < steps - 1 else 0)
        if not reading:
            while connection.recv(step)[-2:] != b"\r\n":
                pass
            connection.sendall(b"+OK\r\n")
        connection.recv(1)

    with scripted(talk) as port:
        assert opened(url=f"redis://127.0.0.1:{port}", timeout=timeout).get(KEY) == value
        assert opened(url=f"redis://127.0.0.1:{port}", timeout=timeout).set(KEY, [value]) is True

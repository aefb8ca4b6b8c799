"""A keeper is a process that runs the embedded server of a directory for as long as somebody uses it.

It is started as a script, by whoever is the first to use the directory, and imports nothing but the
standard library::

    python keeper.py <descriptor of keeper.lock> <linger> <server> <argument>...

Everybody who uses the server holds ``users.lock`` shared, and loses it with its process, however that
ends. The keeper waits until it gets that lock for itself: then nobody is left. It stops the server
while it holds it, so that whoever comes meanwhile waits, and starts another one.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

SOCKET = "server.sock"
SNAPSHOT = "snapshot.rdb"
USERS = "users.lock"
KEEPER = "keeper.lock"
LOG = "server.log"

PAUSE = 0.5
"""Seconds between the end of a server that nobody stopped and the start of the next."""

PR_SET_PDEATHSIG = 1


def answers(path: str, question: bytes = b"PING\r\n", seconds: float = 1.0) -> bytes:
    """Return the first line that the server at a socket says to ``question``, nothing if it says none."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(question)
        return connection.recv(512)
    return b""


class Keeper:
    """Runs in the directory that is the working directory.

    Args:
        linger: seconds for which the server goes on when nobody uses it any more.
        command: the server and its arguments.
    """

    def __init__(self, linger: float, command: list[str]) -> None:
        self._linger = linger
        self._command = command
        self._users = os.open(USERS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._server: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._over = False

    def run(self) -> None:
        """Keep a server running until nobody is left who uses it."""
        if answers(SOCKET).startswith(b"+PONG"):  # it has lost its keeper
            Path(SNAPSHOT).unlink(missing_ok=True)
            self._wait_and_stop()
            return
        for leftover in Path().glob("temp-*.rdb"):
            leftover.unlink(missing_ok=True)
        threading.Thread(target=self._wait_and_stop, daemon=True).start()
        while server := self._started():
            self._welcome(server)
            server.wait()
            if not self._over:  # nobody stopped it: the snapshot may be what it cannot load
                Path(SNAPSHOT).unlink(missing_ok=True)
                time.sleep(PAUSE)

    def _started(self) -> subprocess.Popen[bytes] | None:
        with self._starting:
            if self._over:
                return None
            self._server = subprocess.Popen(  # noqa: S603 - what the user of this directory has installed
                self._command,
                stdin=subprocess.DEVNULL,
                preexec_fn=_end_with_keeper,  # noqa: PLW1509 - the other thread waits, and holds nothing
            )
            return self._server

    def _welcome(self, server: subprocess.Popen[bytes]) -> None:
        """Let users in when everything is loaded, and nothing can be loaded a second time."""
        while server.poll() is None:
            if answers(SOCKET).startswith(b"+PONG"):
                # from now on entries are deleted: an older state must not come back after a crash
                Path(SNAPSHOT).unlink(missing_ok=True)
                return
            time.sleep(0.002)

    def _wait_and_stop(self) -> None:
        while True:
            fcntl.flock(self._users, fcntl.LOCK_EX)
            fcntl.flock(self._users, fcntl.LOCK_UN)
            time.sleep(self._linger)
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                continue
        with self._starting:
            self._over = True
        # a server that could save its entries answers nothing
        if answers(SOCKET, b"SHUTDOWN SAVE\r\n", seconds=60.0):
            answers(SOCKET, b"SHUTDOWN NOSAVE FORCE\r\n")
        if self._server is not None:
            try:
                self._server.wait(1.0)
            except subprocess.TimeoutExpired:
                self._server.kill()


def _end_with_keeper() -> None:
    """Have the kernel end the server when its keeper is killed, where it can."""
    with suppress(Exception):  # no ctypes, another system: then the next keeper takes care of it
        import ctypes  # noqa: PLC0415 - not in every interpreter

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> None:
    """Leave the process that started this one behind, and keep the server."""
    if os.fork():
        os._exit(0)
    os.setsid()
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    os.umask(0o077)
    os.set_inheritable(int(sys.argv[1]), False)  # noqa: FBT003 - takes no keyword
    Keeper(float(sys.argv[2]), sys.argv[3:]).run()


if __name__ == "__main__":
    main()

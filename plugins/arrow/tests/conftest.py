"""What the arrow tests share: a round trip, and comparisons that are stricter than those of the libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cachewright_arrow.serializer import ArrowSerializer


def round_trip(value: object) -> Any:
    frames = [memoryview(bytes(frame)).toreadonly() for frame in ArrowSerializer().dumps(value)]
    return ArrowSerializer().loads(frames)


@pytest.fixture
def back() -> Callable[[object], Any]:
    """Stores a value and reads it."""
    return round_trip

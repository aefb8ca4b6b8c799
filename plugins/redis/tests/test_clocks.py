"""Hosts that share a server and do not agree on the time."""

from __future__ import annotations

import uuid

import pytest

from cachewright import Settings, open_cache
from cachewright.testing import ManualClock

NOW = 1_700_000_000.0


@pytest.mark.parametrize(("ahead", "found"), [(0, True), (60, True), (299, True), (301, False)])
def test_an_entry_of_a_host_whose_clock_is_ahead(redis_url: str, ahead: float, found: bool) -> None:
    """It is good for the others while the clocks differ by less than five minutes; else it is a miss."""
    name, settings = f"clocks-{uuid.uuid4().hex}", Settings(timeout=30)
    one = open_cache(name, engine="redis", url=redis_url, clock=ManualClock(NOW + ahead), settings=settings)
    two = open_cache(name, engine="redis", url=redis_url, clock=ManualClock(NOW), settings=settings)
    with one, two:
        assert one.set("key", "value", ttl=3600) is True
        assert one.get("key") == "value"
        assert two.get("key") == ("value" if found else None)
        assert two.get_or_set("key", lambda: "another", ttl=3600) == ("value" if found else "another")
        one.clear()

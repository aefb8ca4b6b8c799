"""Asks pytest to explain the kit's own failed assertions as it explains those of a test file.

Imported first by the package, because a module that is imported already cannot be rewritten.
"""

from __future__ import annotations

import pytest

ASSERTING_MODULES = (
    "async_engine_kit",
    "engine_bounds",
    "engine_expiry",
    "engine_keys",
    "engine_machine",
    "engine_namespaces",
    "engine_processes",
    "engine_races",
    "engine_reader",
    "engine_record",
    "engine_stores",
    "engine_values",
    "keymaker_kit",
    "plugin_kit",
    "serializer_kit",
)

pytest.register_assert_rewrite(*(f"cachewright.testing.{name}" for name in ASSERTING_MODULES))

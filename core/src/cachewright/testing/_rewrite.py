"""Asks pytest to explain the kit's own failed assertions as it explains those of a test file.

Imported first by the package, because a module that is imported already cannot be rewritten.
"""

from __future__ import annotations

import sys

ASSERTING_MODULES = (
    "async_engine_kit",
    "cipher_kit",
    "codec_kit",
    "engine_bounds",
    "engine_caches",
    "engine_expiry",
    "engine_files",
    "engine_keys",
    "engine_machine",
    "engine_namespaces",
    "engine_objects",
    "engine_payloads",
    "engine_processes",
    "engine_races",
    "engine_reader",
    "engine_record",
    "engine_servers",
    "engine_sharing",
    "engine_stores",
    "engine_threads",
    "engine_values",
    "keymaker_kit",
    "plugin_kit",
    "serializer_kit",
)

if "_pytest" in sys.modules:  # the processes that tests start have no use for it
    import pytest

    pytest.register_assert_rewrite(*(f"cachewright.testing.{name}" for name in ASSERTING_MODULES))

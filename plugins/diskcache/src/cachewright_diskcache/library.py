"""What is used of diskcache, with the types that it does not declare."""

from __future__ import annotations

from typing import Any, Final, cast

import diskcache
from diskcache import core

Cache: Final = cast("Any", diskcache.Cache)
Disk: Final = cast("Any", diskcache.Disk)

DBNAME: Final[str] = core.DBNAME
"""Name of a database."""

DEFAULT_SETTINGS: Final = cast("dict[str, Any]", core.DEFAULT_SETTINGS)
METADATA: Final[dict[str, int]] = core.METADATA
"""What a database keeps in its settings besides: the numbers of entries, bytes, hits and misses."""

MODE_RAW: Final[int] = core.MODE_RAW
"""The value is in the row."""

MODE_BINARY: Final[int] = core.MODE_BINARY
"""The value is in a file."""

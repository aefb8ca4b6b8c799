"""A notice tells once per process that the library behind this engine has a security hole."""

from __future__ import annotations

import threading
import warnings
from typing import Final

from cachewright.errors import CachewrightWarning

TEXT: Final = (
    "engine {engine!r} is built on diskcache, which unpickles what it reads (CVE-2025-69872, unfixed);"
    " this engine never lets it. Use engine='sqlite', which needs no library, or say"
    " options={{'accept_cve': True}}"
)


class UnfixedVulnerabilityWarning(CachewrightWarning):
    """An engine is in use whose library has a security hole that nobody has fixed."""


class _Notice:
    """Whether it was given: once is enough for a process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.given = False

    def give(self, engine: str) -> None:
        with self.lock:
            given, self.given = self.given, True
        if not given:
            warnings.warn(TEXT.format(engine=engine), UnfixedVulnerabilityWarning, stacklevel=3)


notice: Final = _Notice()
"""That of this process."""

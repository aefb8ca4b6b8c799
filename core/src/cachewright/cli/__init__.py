"""The command line: ``cachewright plugins | rank | demo | doctor | new-plugin | check-plugin | bench``."""

from __future__ import annotations

from cachewright.cli.exit_code import FINDING, INTERRUPTED, OK, USAGE
from cachewright.cli.program import main

__all__ = ["FINDING", "INTERRUPTED", "OK", "USAGE", "main"]

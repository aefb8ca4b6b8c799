"""An exit code tells a shell how a command ended."""

from __future__ import annotations

from typing import Final

OK: Final = 0
"""All is well."""

FINDING: Final = 1
"""Something was found, or failed."""

USAGE: Final = 2
"""The command line, or a setting, makes no sense or names what is not installed."""

INTERRUPTED: Final = 130
"""Interrupted from the keyboard."""

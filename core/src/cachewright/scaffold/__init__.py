"""The scaffold: what an author of a plugin starts from, and measures it with."""

from __future__ import annotations

from cachewright.scaffold.project import KINDS, Kind, Project
from cachewright.scaffold.trial import Measurement, Trial

__all__ = ["KINDS", "Kind", "Measurement", "Project", "Trial"]

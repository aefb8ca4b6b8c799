"""An explanation says in words and figures why a cache is what it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cachewright.inventory import EntryInfo
    from cachewright.selector import Ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why this engine, how entries are stored, and what is known about one of them.

    Attributes:
        namespace: under which the entries live.
        engine: the engine in use.
        why: one sentence: asked for by name, or picked, and against what.
        rankings: every engine that was considered, best first, rejected ones last.
        storage: how values are stored: objects, or serializers and authentication.
        digest: the key of the call or value asked about; empty if none was.
        entry: what is stored under it; ``None`` for a miss.
        notes: what else the reader should know.
    """

    namespace: str
    engine: str
    why: str
    rankings: tuple[Ranking, ...] = ()
    storage: str = ""
    digest: str = ""
    entry: EntryInfo | None = None
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        lines = [f"cache {self.namespace!r} on engine {self.engine!r}", f"  why: {self.why}"]
        if self.storage:
            lines.append(f"  storage: {self.storage}")
        lines.extend(f"  note: {note}" for note in self.notes)
        if self.digest:
            lines.append(f"  key: {self.digest}")
            lines.append(f"  entry: {_described(self.entry)}")
        if self.rankings:
            lines.append("  ranking:")
            lines.extend(f"    {line}" for line in ranking_lines(self.rankings))
        return "\n".join(lines)


def ranking_lines(rankings: tuple[Ranking, ...] | list[Ranking]) -> list[str]:
    """Return the ranking as lines of plain text, best first, rejected engines last."""
    lines: list[str] = []
    for place, ranking in enumerate(rankings, 1):
        if ranking.rejected is not None:
            lines.append(f" -  {ranking.engine:<12} rejected: {ranking.rejected}")
            continue
        figures = f"get {duration_text(ranking.estimated_get)}, set {duration_text(ranking.estimated_set)}"
        words = "; ".join((*ranking.reasons, *ranking.against))
        lines.append(f"{place:>2}. {ranking.engine:<12} {figures}; {words}")
    return lines


def duration_text(seconds: float) -> str:
    """Return seconds in the unit that reads best, with three digits."""
    for unit, factor, limit in _UNITS:
        if seconds * factor < limit:
            return f"{seconds * factor:.3g} {unit}"
    days = seconds / 86_400
    if days < 999.5:
        return f"{days:.3g} days"
    return f"{days:,.0f} days" if days < math.inf else f"{seconds} s"


_UNITS = (
    ("ns", 1e9, 999.5),
    ("us", 1e6, 999.5),
    ("ms", 1e3, 999.5),
    ("s", 1.0, 300.0),
    ("min", 1 / 60, 120.0),
    ("h", 1 / 3600, 48.0),
)
"""Units, how many make a second, and up to how many of them are written."""


def _described(entry: EntryInfo | None) -> str:
    if entry is None:
        return "not stored"
    parts: list[str] = []
    if entry.serializer:
        parts.append(f"{entry.size} bytes by serializer {entry.serializer!r}")
    if entry.codec:
        parts.append(f"compressed by {entry.codec!r} from {entry.raw_size} bytes")
    if entry.cipher:
        parts.append(f"encrypted by {entry.cipher!r}")
    parts.append("never expires" if entry.expires is None else f"expires in {duration_text(entry.expires)}")
    if entry.compute_seconds:
        parts.append(f"took {duration_text(entry.compute_seconds)} to compute")
    return ", ".join(parts)

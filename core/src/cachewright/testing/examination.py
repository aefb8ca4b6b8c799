"""An examination says how a plugin did: what failed, why that matters, and how to see it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong with a plugin.

    Attributes:
        check: name of the test, or of what was looked at.
        kit: whose test it is; empty for none.
        subject: the record or the distribution that it is about.
        what: what was seen.
        promise: what should have been seen, in one sentence.
        why: what an application would lose by it.
        reproduction: the shortest way to see it again: commands, or steps.
    """

    check: str
    kit: str = ""
    subject: str
    what: str
    promise: str
    why: str
    reproduction: str


@dataclass(slots=True, kw_only=True)
class KitResult:
    """How the tests of one kit ended for one record.

    Attributes:
        kit: name of the kit.
        subject: what it was run for.
        by_author: whether the author's own subclass was run, or one made from the record.
        outcomes: number of tests by outcome: passed, failed, skipped, or expected to fail.
    """

    kit: str
    subject: str
    by_author: bool
    outcomes: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True, kw_only=True)
class Examination:
    """What was examined, and what was found."""

    distribution: str
    version: str
    records: list[Any] = field(default_factory=list[Any])
    kits: list[KitResult] = field(default_factory=list[KitResult])
    findings: list[Finding] = field(default_factory=list[Finding])

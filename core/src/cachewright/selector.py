"""The selector ranks engines for a workload: hard requirements reject, expected cost decides.

Pure functions over records: nothing is imported, opened or measured, and equal input gives equal
output, whatever the order of the records.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from cachewright.costs import THREAD_HOP, call_seconds, get_seconds, hop_seconds, set_seconds
from cachewright.engine import SCOPES
from cachewright.errors import NoEngineQualifiesError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cachewright.engine import Capabilities, EngineInfo
    from cachewright.workload import Workload

TIE = 1.10
"""Scores within this ratio of the best remaining one are equal: requirements and name decide."""

LOSING = 2.0
"""Caching is reported as a loss where a hit costs this many times what computing costs."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """One engine's place in a ranking.

    Attributes:
        engine: its name.
        score: expected seconds per call, ``h * get + (1 - h) * (miss + set)`` with h the hit ratio;
            infinite where nothing is known about the engine.
        estimated_get: expected seconds for a hit, decoding included.
        estimated_set: expected seconds for storing a value, encoding included.
        reasons: what speaks for the engine, in words and figures.
        against: what speaks against it.
        rejected: the hard requirement that it misses, as a sentence; ``None`` if it qualifies.
        source: where the figures come from.
    """

    engine: str
    score: float
    estimated_get: float
    estimated_set: float
    reasons: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    rejected: str | None = None
    source: Literal["default"] = "default"


def rank(
    records: Iterable[EngineInfo], workload: Workload, *, unavailable: Mapping[str, str] = _NOTHING
) -> list[Ranking]:
    """Return every engine, best first; the rejected ones follow, by name, with their reasons.

    Args:
        records: the engines to compare.
        workload: what is to be cached.
        unavailable: engines that cannot be used now, with the reason; also ones without a record.
    """
    known = {info.name: info for info in records}
    rejected = {name: unavailable.get(name) or rejection(known[name], workload) for name in known}
    fit = _ordered([info for name, info in known.items() if rejected[name] is None], workload)
    best = min((call_seconds(info, workload) for info in fit), default=math.inf)
    ranked = [_qualified(info, workload, best) for info in fit]
    for name in sorted({*known, *unavailable} - {info.name for info in fit}):
        reason = rejected.get(name) or unavailable[name]
        ranked.append(_rejected(name, known.get(name), workload, reason))
    return ranked


def choose(
    records: Iterable[EngineInfo], workload: Workload, *, unavailable: Mapping[str, str] = _NOTHING
) -> EngineInfo:
    """Return the record of the best engine.

    Raises:
        NoEngineQualifiesError: every engine was rejected; says why, and what to install.
    """
    known = {info.name: info for info in records}
    ranked = rank(known.values(), workload, unavailable=unavailable)
    if ranked and ranked[0].rejected is None:
        return known[ranked[0].engine]
    reasons = {row.engine: row.rejected or "" for row in ranked}
    out = [known[name] for name in sorted(unavailable) if name in known]
    repairable = [info.name for info in out if rejection(info, workload) is None]
    raise NoEngineQualifiesError(workload.needs_text(), reasons, hint=_hint(workload, repairable))


def rejection(info: EngineInfo, workload: Workload) -> str | None:
    """Return the first hard requirement that an engine misses, as a sentence, or ``None``."""
    ability = info.capabilities
    if not info.automatic:
        return "used only when asked for by name"
    if workload.persist and not ability.persistent:
        return "survives only the process"
    if ability.scope == "network" and workload.scope != "network":
        return 'keeps entries on a server, which is used only for scope="network" or by name'
    if SCOPES.index(ability.scope) < SCOPES.index(workload.scope):
        return {"process": "visible to one process", "host": "visible to one host"}[ability.scope]
    if not ability.sync and not (workload.asynchronous and ability.async_):
        return "usable only from an event loop" if ability.async_ else "has no interface at all"
    return _bound_rejection(ability, workload) or _value_rejection(ability, workload)


def _bound_rejection(ability: Capabilities, workload: Workload) -> str | None:
    if workload.maxsize is not None and not ability.max_entries:
        return "cannot bound the number of entries"
    if workload.max_bytes is not None and not ability.max_bytes:
        return "cannot bound bytes"
    if workload.policy is not None and workload.policy not in ability.policies:
        offered = ", ".join(ability.policies)
        return f"no {workload.policy} policy" + (f", only {offered}" if offered else "")
    return None


def _value_rejection(ability: Capabilities, workload: Workload) -> str | None:
    limit = ability.max_value_size
    if limit is not None and workload.size > limit:
        return f"a value of {_bytes(workload.size)} is over its limit of {_bytes(limit)}"
    if workload.executable and ability.holds == "bytes" and ability.scope == "network":
        return "others can write to its store, so it holds plain data only until signing keys are set"
    return None


def _ordered(records: list[EngineInfo], workload: Workload) -> list[EngineInfo]:
    """Sort by cost; of those that tie with the cheapest remaining one, the simplest comes first."""
    scores = {info.name: call_seconds(info, workload) for info in records}
    left = sorted(records, key=lambda info: (scores[info.name], info.name))
    ordered: list[EngineInfo] = []
    while left:
        tied = [info for info in left if scores[info.name] <= scores[left[0].name] * TIE]
        chosen = min(tied, key=lambda info: (len(info.requires), info.name))
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


def _qualified(info: EngineInfo, workload: Workload, best: float) -> Ranking:
    ability = info.capabilities
    score, get = call_seconds(info, workload), get_seconds(info, workload)
    reasons: list[str] = []
    against: list[str] = []
    if ability.holds == "objects":
        reasons.append(f"get {_seconds(get)}: objects stay in the process")
    else:
        reasons.append(f"get {_seconds(get)} for {_bytes(workload.size)}, decoding included")
    if workload.persist:
        reasons.append("survives the process")
    if workload.scope != "process":
        reasons.append({"host": "shared by the processes of this host"}.get(ability.scope, "shared by hosts"))
    if not info.requires:
        reasons.append("needs nothing installed")
    ratio = score / best if best > 0 else 1.0
    if ratio > TIE:
        against.append(f"{ratio:,.1f}x the cost of the best")
    if hop_seconds(info, workload):
        against.append(f"blocking: a worker thread adds {_seconds(THREAD_HOP)} per operation")
    load = workload.load_seconds
    if load is not None and get > load * LOSING:
        against.append(f"computing takes {_seconds(load)}, fetching {_seconds(get)}: caching this loses")
    return _row(info, workload, reasons=tuple(reasons), against=tuple(against))


def _rejected(name: str, info: EngineInfo | None, workload: Workload, reason: str) -> Ranking:
    if info is None:
        unknown = math.inf
        return Ranking(
            engine=name, score=unknown, estimated_get=unknown, estimated_set=unknown, rejected=reason
        )
    return _row(info, workload, rejected=reason)


def _row(
    info: EngineInfo,
    workload: Workload,
    *,
    reasons: tuple[str, ...] = (),
    against: tuple[str, ...] = (),
    rejected: str | None = None,
) -> Ranking:
    return Ranking(
        engine=info.name,
        score=call_seconds(info, workload),
        estimated_get=get_seconds(info, workload),
        estimated_set=set_seconds(info, workload),
        reasons=reasons,
        against=against,
        rejected=rejected,
    )


def _hint(workload: Workload, repairable: list[str]) -> str:
    if repairable:
        return f"would do, once usable: {', '.join(repairable)}"
    if workload.scope == "network":
        return "try: pip install cachewright-redis"
    if workload.policy is not None or workload.maxsize is not None or workload.max_bytes is not None:
        return "ask for fewer bounds, or install an engine that keeps them"
    return ""


def _seconds(seconds: float) -> str:
    for unit, factor in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:  # three digits before the next unit
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"

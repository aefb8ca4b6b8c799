"""A record is usable if its plugin filled it in as the contract says; foreign code is not trusted to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Any, TypeVar, cast

from cachewright.cipher import FIRST_CODE, CipherInfo
from cachewright.codec import CodecInfo
from cachewright.engine import SCOPES, Capabilities, Costs, EngineInfo
from cachewright.events import Listener
from cachewright.keymaker import KeyMakerInfo
from cachewright.serializer import SerializerInfo

Info = TypeVar("Info", EngineInfo, SerializerInfo, KeyMakerInfo, CodecInfo, CipherInfo)

MOST_RECORDS = 1_000
"""Records read from one hook; an endless generator ends here."""

_NAME = re.compile(r"[a-z][a-z0-9_.+-]{0,63}")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


class BadRecordError(Exception):
    """A plugin answered with something that is no usable record; becomes its row's reason."""


def checked_records(
    answers: Iterable[object], contract: type[Info], *, hook: str, distribution: str
) -> tuple[Info, ...]:
    """Return the records that a hook answered, with the distribution filled in.

    Raises:
        BadRecordError: one of them is no such record, or cannot be used.
    """
    records: list[Info] = []
    for record in answers:
        if not isinstance(record, contract):
            raise BadRecordError(f"{hook} returned a {type(record).__name__} among its {contract.__name__}s")
        fault = _fault(record)
        if fault:
            raise BadRecordError(f"{hook} returned {contract.__name__} {record.name!r} with {fault}")
        if record.name in {each.name for each in records}:
            raise BadRecordError(f"{hook} returned {record.name!r} twice")
        records.append(record.from_distribution(distribution) if distribution else record)
    return tuple(records)


def checked_listeners(answers: Iterable[Any]) -> tuple[Listener, ...]:
    """Return the listeners that a hook answered; raises :class:`BadRecordError` if one is no callable."""
    listeners = tuple(answers)
    if not all(map(callable, listeners)):
        raise BadRecordError("cachewright_listeners returned something that cannot be called")
    return listeners


def listed(answer: object, hook: str) -> list[object]:
    """Return what a hook answered as a list; raises :class:`BadRecordError` if it is no iterable."""
    if not isinstance(answer, Iterable):
        close = getattr(answer, "close", None)  # a coroutine that nobody awaits would warn
        if callable(close):
            close()
        raise BadRecordError(f"{hook} returned {type(answer).__name__}, not an iterable of records")
    found: list[object] = list(islice(answer, MOST_RECORDS + 1))  # pyright: ignore[reportUnknownArgumentType]
    if len(found) > MOST_RECORDS:
        raise BadRecordError(f"{hook} returned more than {MOST_RECORDS} records")
    return found


def _fault(record: Any) -> str:  # noqa: PLR0911 - one return per fault
    """Return what is wrong with a record, or nothing; foreign code may have put anything in it."""
    if not _matches(_NAME, record.name):
        return "an invalid name: lower-case letters, digits and _.+- are allowed"
    requires: Any = record.requires
    if not isinstance(requires, tuple):
        return "requires that is no tuple"
    if not all(_matches(_DISTRIBUTION, name) for name in cast("tuple[object, ...]", requires)):
        return "something in requires that is no distribution's name"
    if not isinstance(record.install, str):
        return "install that is not text"
    if isinstance(record, EngineInfo):
        return _engine_fault(record)
    if not _matches(_TARGET, record.target):
        return "a target that is not 'package.module:Class'"
    if isinstance(record, SerializerInfo | CodecInfo | CipherInfo):
        code: Any = record.code
        first = FIRST_CODE if isinstance(record, CipherInfo) else 1
        if not isinstance(code, int) or isinstance(code, bool) or not first <= code <= 255:
            return f"code {code!r}, which is not a whole number from {first} to 255"
    return ""


def _engine_fault(record: Any) -> str:  # noqa: PLR0911 - one return per fault
    ability, costs = record.capabilities, record.costs
    if not isinstance(ability, Capabilities) or not isinstance(costs, Costs):
        return "capabilities or costs that are not records of those names"
    if ability.holds not in {"objects", "bytes"} or ability.scope not in SCOPES:
        return "capabilities that hold or are visible to something unknown"
    if not (ability.sync or ability.async_):
        return "neither a synchronous nor an asynchronous engine"
    for declared, target in ((ability.sync, record.target), (ability.async_, record.async_target)):
        if declared and not _matches(_TARGET, target):
            return "a declared engine whose target is not 'package.module:Class'"
    if not all(_are_knots(knots) for knots in (costs.get, costs.set)):
        return "costs that are not (bytes, seconds) knots in ascending order"
    if not all(_is_cost(seconds) for seconds in (costs.miss, costs.open)):
        return "costs that are not seconds from 0 on"
    return ""


def _are_knots(knots: Any) -> bool:
    try:
        pairs = [(nbytes, seconds) for nbytes, seconds in knots]
    except (TypeError, ValueError):
        return False
    sizes = [nbytes for nbytes, _ in pairs]
    fine = all(isinstance(nbytes, int) and nbytes >= 0 and _is_cost(seconds) for nbytes, seconds in pairs)
    return bool(pairs) and fine and all(a < b for a, b in pairwise(sizes))


def _is_cost(seconds: Any) -> bool:
    return isinstance(seconds, int | float) and 0 <= seconds < math.inf


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None

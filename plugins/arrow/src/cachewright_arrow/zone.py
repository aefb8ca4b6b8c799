"""A time zone is described by its name or its offset, and looked up in the database of time zones alone."""

from __future__ import annotations

import datetime as dt
import re
import sys
import zoneinfo
from importlib import import_module
from typing import Any, Final

from cachewright.errors import UnserializableError

_NAME: Final = re.compile(r"[A-Za-z0-9_+-]{1,40}(?:/[A-Za-z0-9_+-]{1,40}){0,3}")


def described_zone(zone: Any) -> list[Any]:
    """Return the description of a time zone.

    Raises:
        UnserializableError: it is of another kind than ``datetime.timezone``, ``ZoneInfo`` and pytz's.
    """
    if zone is dt.UTC:
        return ["utc"]
    if type(zone) is dt.timezone:
        offset = zone.utcoffset(None)
        if zone == dt.timezone(offset) and repr(zone) == repr(dt.timezone(offset)):
            return ["fixed", offset // dt.timedelta(microseconds=1)]
    elif isinstance(zone, zoneinfo.ZoneInfo):
        if _NAME.fullmatch(str(zone.key)) and zoneinfo.ZoneInfo(str(zone.key)) is zone:
            return ["zone", zone.key]
    else:
        pytz: Any = sys.modules.get("pytz")
        name: Any = getattr(zone, "zone", None)
        if pytz is not None and type(name) is str and _NAME.fullmatch(name) and pytz.timezone(name) is zone:
            return ["pytz", name]
    raise UnserializableError(
        f"{type(zone).__module__}.{type(zone).__qualname__}", "this time zone has no name"
    )


def rebuilt_zone(description: Any) -> Any:
    """Return a time zone; any exception if it is not the description of one."""
    kind, *rest = description
    if kind == "utc":
        return dt.UTC
    (what,) = rest
    if kind == "fixed":
        return dt.timezone(dt.timedelta(microseconds=what))
    if not _NAME.fullmatch(what):
        raise ValueError("not the name of a time zone")
    if kind == "zone":
        return zoneinfo.ZoneInfo(what)
    if kind == "pytz":
        return import_module("pytz").timezone(what)
    raise ValueError("not the description of a time zone")

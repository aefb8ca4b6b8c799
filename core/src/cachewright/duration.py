"""A duration or a size is what people write in settings: seconds as ``"1h30m"``, bytes as ``"512MB"``."""

from __future__ import annotations

import math
import operator
import sys
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import timedelta

TTL_EXPECTED = (
    "None for never, seconds, a timedelta, or text such as '10m', '1h30m', '500ms', '2d'"
    " (units in this order: w d h m s ms)"
)
SIZE_EXPECTED = "a whole number of bytes from 0 on, or text such as '512MB', '2GiB', '10_000'"

_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = r"[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?"
_TTL = "".join(rf"(?:({_NUMBER})\s*{unit}\s*)?" for unit in _SECONDS)
_BYTES = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_LONGEST = 40  # characters of a size; whatever is longer is no size, and slow to read


def parse_ttl(value: object, *, setting: str = "ttl", origin: str = "") -> float | None:
    """Return a time to live in seconds; ``None`` for an entry that never expires.

    Args:
        value: ``None`` or infinity for never; a number of seconds; a ``timedelta``; or text: a bare
            number of seconds, or numbers with the units w d h m s ms, largest unit first.
        setting: what the value was given for, for the message.
        origin: where it was given, for the message.

    Returns:
        Seconds. Zero and negative numbers come back as they are: they mean "do not store".

    Raises:
        ConfigurationError: the value is none of these (``True`` and NaN are not).
    """
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is None or seconds != seconds:  # noqa: PLR0124 - NaN is what differs from itself
        raise ConfigurationError(setting, value, TTL_EXPECTED, origin=origin)
    return None if seconds == math.inf else seconds


def parse_size(value: object, *, setting: str = "max_bytes", origin: str = "") -> int:
    """Return a size in bytes.

    Args:
        value: a whole number, or text: a number with an optional unit, whatever its case. kB, MB, GB
            and TB are powers of 1000; KiB, MiB, GiB and TiB powers of 1024. Parts of a byte are cut.
        setting: what the value was given for, for the message.
        origin: where it was given, for the message.

    Raises:
        ConfigurationError: the value is none of these, negative, or has a unit that could mean two
            things, such as "M".
    """
    size = _text_size(value) if isinstance(value, str) else _whole(value)
    if size is None or size < 0:
        raise ConfigurationError(setting, value, SIZE_EXPECTED, origin=origin)
    return size


def _seconds(value: object) -> float | None:
    if isinstance(value, str):
        return _text_seconds(value.strip())
    if isinstance(value, float):
        return float(value)
    datetime: Any = sys.modules.get("datetime")  # whoever holds a timedelta has imported it
    if datetime is not None and isinstance(value, datetime.timedelta):
        return cast("timedelta", value).total_seconds()
    whole = _whole(value)
    try:
        return None if whole is None else float(whole)
    except OverflowError:
        return None


def _text_seconds(text: str) -> float | None:
    import re  # noqa: PLC0415 - only text needs it, and bare decorators have none

    if re.fullmatch(rf"-?{_NUMBER}", text):
        seconds = float(text)
    else:
        match = re.fullmatch(_TTL, text)
        if match is None or not text:
            return None
        amounts = zip(match.groups(), _SECONDS.values(), strict=True)
        seconds = math.fsum(float(amount) * unit for amount, unit in amounts if amount is not None)
    return seconds if math.isfinite(seconds) else None


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, SupportsIndex) and not type(value).__name__.startswith("bool"):  # numpy integers
        try:
            return operator.index(value)
        except TypeError:  # numpy booleans have the method, and refuse
            return None
    return None


def _text_size(text: str) -> int | None:
    import re  # noqa: PLC0415 - as above

    match = re.fullmatch(r"([0-9]+(?:_[0-9]+)*)(?:\.([0-9]+))?\s*([a-z]*)", text.strip().lower())
    if match is None or match[3] not in _BYTES or len(match[0]) > _LONGEST:
        return None
    unit: int = _BYTES[match[3]]
    fraction: str = match[2] or ""
    parts: int = int(fraction or "0") * unit // int(10 ** len(fraction))
    return int(match[1]) * unit + parts

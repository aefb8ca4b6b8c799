"""A cost is the time in seconds that an operation of an engine is expected to take for a workload.

Cost = store(bytes) + codec(kind, bytes, objects) + authentication(bytes). The store's part comes from the
engine's record; the others are the core's, so they are the same for every engine that holds bytes, and
nothing for those that hold objects. The figures are medians of one machine (CPython 3.11, two shared
cores): good for ranking, where being right to within 1.4 times is enough, not for promises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.engine import EngineInfo
    from cachewright.workload import Kind, Workload

THREAD_HOP = 6e-5
"""Seconds for handing one blocking operation from an event loop to a worker thread and back."""


AUTHENTICATION = 7e-10
"""Seconds per byte to sign or to verify a value; one that the engine maps is verified once."""

MAPPED_FROM = 65_536
"""Bytes from which engines that map values have files for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecCost:
    """Seconds of one direction of a serializer: a fixed part, one per object and one per byte."""

    call: float
    per_object: float = 0.0
    per_byte: float = 0.0

    def seconds(self, nbytes: int, objects: int) -> float:
        """Return the cost for a value of that size with that many objects inside."""
        return self.call + self.per_object * objects + self.per_byte * nbytes


_BUFFER = CodecCost(call=5e-6), CodecCost(call=6e-6, per_byte=4.6e-11)
_PLAIN = CodecCost(call=1e-6, per_byte=1e-10), CodecCost(call=1e-6, per_byte=1e-10)

CODECS: dict[Kind, tuple[CodecCost, CodecCost]] = {
    "atom": _PLAIN,
    "text": _PLAIN,
    "bytes": (CodecCost(call=5e-7), CodecCost(call=5e-7, per_byte=4.6e-11)),
    "container": (
        CodecCost(call=1.5e-6, per_object=8e-8, per_byte=5e-11),
        CodecCost(call=1.5e-6, per_object=4.5e-8, per_byte=5e-11),
    ),
    "array": _BUFFER,
    "frame": (CodecCost(call=1.5e-4), CodecCost(call=1.5e-4, per_byte=4.6e-11)),
    "tensor": _BUFFER,
    "object": (
        CodecCost(call=4e-6, per_object=1.2e-7, per_byte=5e-11),
        CodecCost(call=4e-6, per_object=9e-8, per_byte=5e-11),
    ),
    "code": (CodecCost(call=3e-4), CodecCost(call=3e-4)),
}
"""What decoding (first) and encoding (second) a value of each kind costs.

Containers pay for every object inside: a JSON-like document of 100 KB takes 0.66 ms to decode and
0.35 ms to encode. Buffers travel uncopied out of band: 10 MB take 5 us and 0.46 ms.
"""


def get_seconds(info: EngineInfo, workload: Workload) -> float:
    """Return what a hit takes, decoding included."""
    decode = _codec(info, workload, direction=0)
    verify = 0.0 if info.capabilities.maps and workload.size >= MAPPED_FROM else _signed(info, workload)
    return interpolated(info.costs.get, workload.size) + decode + verify + hop_seconds(info, workload)


def set_seconds(info: EngineInfo, workload: Workload) -> float:
    """Return what storing a value takes, encoding included."""
    encode = _codec(info, workload, direction=1)
    sign = _signed(info, workload)
    return interpolated(info.costs.set, workload.size) + encode + sign + hop_seconds(info, workload)


def miss_seconds(info: EngineInfo, workload: Workload) -> float:
    """Return what it takes to find out that nothing is stored."""
    return info.costs.miss + hop_seconds(info, workload)


def call_seconds(info: EngineInfo, workload: Workload) -> float:
    """Return the expected cost of one call: ``h * get + (1 - h) * (miss + set)``, h the hit ratio."""
    hits = workload.expected_hits
    missing = miss_seconds(info, workload) + set_seconds(info, workload)
    return hits * get_seconds(info, workload) + (1 - hits) * missing


def hop_seconds(info: EngineInfo, workload: Workload) -> float:
    """Return the price of a worker thread, where an event loop needs one to use the engine."""
    ability = info.capabilities
    return THREAD_HOP if workload.asynchronous and ability.blocking and not ability.async_ else 0.0


def interpolated(knots: Sequence[tuple[int, float]], nbytes: int) -> float:
    """Return the cost at a size, from (bytes, seconds) knots in ascending order of bytes.

    Up to the first knot its cost; between two, interpolated on log-log axes; beyond the last, in
    proportion to the size, unless there is but one: then the size does not matter.
    """
    first_bytes, first_seconds = knots[0]
    if len(knots) == 1 or nbytes <= first_bytes:
        return first_seconds
    last_bytes, last_seconds = knots[-1]
    if nbytes >= last_bytes:
        return last_seconds * nbytes / last_bytes
    above = next(i for i, (size, _) in enumerate(knots) if size >= nbytes)
    (low, below_seconds), (high, above_seconds) = knots[above - 1], knots[above]
    share = math.log(nbytes / max(low, 1)) / math.log(high / max(low, 1))
    if below_seconds <= 0 or above_seconds <= 0:  # no logarithm: on a straight line
        return below_seconds + share * (above_seconds - below_seconds)
    return below_seconds * math.exp(share * math.log(above_seconds / below_seconds))


def _signed(info: EngineInfo, workload: Workload) -> float:
    return 0.0 if info.capabilities.holds == "objects" else AUTHENTICATION * workload.size


def _codec(info: EngineInfo, workload: Workload, *, direction: int) -> float:
    if info.capabilities.holds == "objects":
        return 0.0
    return CODECS[workload.kind][direction].seconds(workload.size, workload.objects)

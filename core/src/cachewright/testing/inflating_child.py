"""The other process of a codec's test: decompresses hostile bytes, and reports what that took.

Run as a script. Reads one pickled job from standard input, prints a JSON object.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

from cachewright.testing.decoding_child import is_forbidden


def main() -> None:
    """Print which jobs were accepted, the audit events, and by how many bytes this process has grown."""
    path, rest = pickle.load(sys.stdin.buffer)  # written by the test that started this
    sys.path[:] = path
    info, jobs = pickle.loads(rest)
    codec = info.load()()
    codec.decompress(codec.compress(b"warm" * 1000), size=4000)
    accepted: list[int] = []
    seen: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and is_forbidden(event, frozenset()):
            seen.append(f"{event} {arguments[:1]!s:.80}")

    watching = False
    sys.addaudithook(hook)
    before = _peak()
    for number, (data, size) in enumerate(jobs):
        watching = True
        try:
            codec.decompress(data, size=size)
        except Exception:  # noqa: BLE001 - foreign code refuses in its own way
            watching = False
        else:
            accepted.append(number)
        watching = False
    grown = _peak() - before
    sys.stdout.write(json.dumps({"accepted": accepted, "events": seen, "grown": grown}))


def _peak() -> int:
    """Return the largest number of bytes that this process has had in memory; 0 where nobody counts them."""
    status = Path("/proc/self/status")
    if (
        status.exists()
    ):  # on Linux, what getrusage returns begins with the peak of the process that started this
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    try:
        import resource  # noqa: PLC0415 - not on every platform
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()

"""Measure cachewright, the engines' own decorators and functools in one run, and print ratios.

Every case is timed in several processes, its contestants taking turns in each, and the median of the
medians counts. Times depend on the machine and drift; ratios are what to quote, with the build.

    python tests/benchmarks/run.py [--processes 3] [--case NAME ...] [--write docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path

import in_process
import on_disk
import on_servers
from case import Case

CASES = [*in_process.CASES, *on_disk.CASES, *on_servers.CASES]


def build() -> str:
    """Name the interpreter's build."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    kind = "with PGO" if optimised else "without PGO"
    return f"CPython {platform.python_version()} {kind}, {platform.system()} {platform.machine()}"


def in_process(case: str) -> dict[str, float]:
    """Measure one case in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", case], check=True, capture_output=True, text=True
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def text_of(seconds: float, case: Case) -> str:
    if case.name == "one cold key":
        return f"{seconds * 1e9:.0f}"
    for unit, factor in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--case", action="append", default=None)
    parser.add_argument(
        "--write", type=Path, default=None, help="write the table to this file, between its markers"
    )
    parser.add_argument("--one", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        case = next(case for case in CASES if case.name == options.one)
        print(json.dumps(case.measure()))
        return 0
    rows = []
    for case in CASES:
        if options.case and case.name not in options.case:
            continue
        results = [in_process(case.name) for _ in range(options.processes)]
        ratio = statistics.median(result["ours"] / result["peer"] for result in results)
        ours = statistics.median(result["ours"] for result in results)
        peer = statistics.median(result["peer"] for result in results)
        goal = "-" if case.goal is None else f"{case.goal:g}"
        verdict = "" if case.goal is None else "reached" if ratio <= case.goal * 1.005 else "missed"
        rows.append(
            (
                case.name,
                case.ours,
                case.peer,
                text_of(ours, case),
                text_of(peer, case),
                f"{ratio:.2f}",
                goal,
                verdict,
            )
        )
        print("  ".join(rows[-1]), flush=True)
    headers = ("case", "ours", "against", "ours", "against", "ratio", "goal", "")
    lines = [f"Build: {build()}; median of {options.processes} processes.", ""]
    lines += [f"| {' | '.join(headers)} |", "|" + " --- |" * len(headers)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    print("\n" + "\n".join(lines))
    if options.write:
        begin, end = "<!-- measured: begin -->", "<!-- measured: end -->"
        page = options.write.read_text()
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        options.write.write_text(f"{head}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{tail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

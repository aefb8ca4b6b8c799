"""The commands that report on an installation: ``demo`` and ``doctor``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from cachewright.cli.exit_code import FINDING, OK
from cachewright.console import write_json
from cachewright.explanation import duration_text

if TYPE_CHECKING:
    from cachewright.cli.commands import Commands
    from cachewright.console import Console
    from cachewright.demo import Report


def add(commands: Commands) -> None:
    """Add them to the command line."""
    demo = commands.add_parser("demo", help="measure the standard library with and without a cache")
    demo.add_argument(
        "--limit", type=_positive, default=None, help="at most so many modules, the largest first"
    )
    demo.add_argument("--engine", action="append", default=None, help="use only this engine; may be repeated")
    demo.add_argument("--json", action="store_true", help="write JSON")
    demo.set_defaults(run=_demo)

    doctor = commands.add_parser("doctor", help="look for what is wrong, and say what to do")
    doctor.add_argument(
        "cache",
        nargs="*",
        help="audit the entries of these caches only; default: installation and own stores",
    )
    doctor.add_argument("--engine", default=None, help="engine of the caches")
    doctor.add_argument("--path", default=None, help="directory of their store")
    doctor.add_argument("--url", default=None, help="address of their server")
    doctor.add_argument("--oversized", default="16MB", help="size from which an entry is reported as large")
    doctor.add_argument("--json", action="store_true", help="write JSON")
    doctor.set_defaults(run=_doctor)


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        message = f"expected a whole number from 1 on, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return number


def _demo(options: argparse.Namespace, console: Console) -> int:
    from cachewright import demo  # noqa: PLC0415 - the work of this command only
    from cachewright.registry import default_registry  # noqa: PLC0415 - as above

    for name in options.engine or ():
        default_registry().engine(name)
    report = demo.run(console, limit=options.limit, only=options.engine)
    if options.json:
        write_json(asdict(report))
    else:
        _show_demo(report, console)
    return OK if report.runs else FINDING


def _show_demo(report: Report, console: Console) -> None:
    console.text(
        f"Python {report.python}: {report.files} modules of the standard library, {report.lines:,} lines,"
        " parsed and measured twice on each engine"
    )
    console.text()
    if report.runs:
        _show_runs(report, console)
    for engine, reason in report.left_out.items():
        console.text(f"without {engine}: {reason}")
    if not report.runs:
        console.text("Nothing was measured: no engine is left.")
    elif any(run.found for run in report.runs):
        console.text("Results of an earlier run were found stored, and nothing was computed for them.")
    else:
        console.text("Run it again: a new process finds the results in the persistent engines.")


def _show_runs(report: Report, console: Console) -> None:
    console.table(
        "time",
        ("result", "engine", "first pass", "found stored", "second pass", "hit", "saved"),
        [
            (
                run.job,
                run.engine,
                duration_text(run.cold),
                f"{run.found} of {run.files}",
                duration_text(run.warm),
                duration_text(run.hit),
                duration_text(run.saved),
            )
            for run in report.runs
        ],
    )
    console.table(
        "what the selector picks",
        ("result", "must be", "engine", "why"),
        [
            (
                job,
                need,
                pick.engine if pick.rejected is None else "none",
                "; ".join(pick.reasons) if pick.rejected is None else "no installed engine qualifies",
            )
            for job, need, pick in report.picks
        ],
    )


def _doctor(options: argparse.Namespace, console: Console) -> int:
    from cachewright.doctor import examine, examine_caches  # noqa: PLC0415 - the work of this command only

    if options.cache:
        where = {name: getattr(options, name) for name in ("engine", "path", "url")}
        persist = where == dict.fromkeys(where)
        findings = examine_caches(options.cache, oversized=options.oversized, persist=persist, **where)
    else:
        findings = examine()
    bad = any(finding.level == "problem" for finding in findings)
    if options.json:
        write_json([asdict(finding) for finding in findings])
    else:
        console.table(
            "doctor",
            ("", "subject", "finding", "what to do"),
            [(finding.level, finding.subject, finding.finding, finding.advice) for finding in findings],
        )
    return FINDING if bad else OK

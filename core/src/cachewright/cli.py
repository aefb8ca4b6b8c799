"""The command line: ``cachewright plugins | rank | demo | doctor``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachewright import __version__
from cachewright.console import open_console, write_json
from cachewright.errors import (
    CachewrightError,
    CachewrightWarning,
    ConfigurationError,
    UnknownPluginError,
)
from cachewright.explanation import duration_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cachewright.console import Console
    from cachewright.demo import Report
    from cachewright.selector import Ranking

OK, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: all is well; something was found or failed; the command line, or a setting, makes no sense
or names what is not installed; interrupted from the keyboard."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; failures are one line on standard error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed by who started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", CachewrightWarning)
        code = _run(options)
    if options.run not in {_plugins, _doctor}:  # which report what is broken themselves
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            _complain(f"warning: {message}")
    return code


def _run(options: argparse.Namespace) -> int:
    try:
        code: int = options.run(options, open_console())
        sys.stdout.flush()
    except (ConfigurationError, UnknownPluginError) as error:
        return _complain(error, USAGE)
    except CachewrightError as error:
        return _complain(error, FINDING)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except OSError as error:
        _discard_output()
        # The reader of a pipe may have seen enough; any other failure to write is one.
        return OK if isinstance(error, BrokenPipeError) else _complain(error, FINDING)
    return code


def _complain(what: object, code: int = OK) -> int:
    sys.stderr.write(f"cachewright: {' '.join(str(what).split())}\n")
    return code


def _discard_output() -> None:
    """Let the interpreter flush at its end, without failing again, what could not be written."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        message = f"expected a whole number from 1 on, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cachewright",
        description="A cache-engine framework: one decorator, the best engine for the data.",
    )
    parser.add_argument("--version", action="version", version=f"cachewright {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    plugins = commands.add_parser(
        "plugins", help="list installed plugins, engines, serializers and key makers"
    )
    plugins.add_argument("--json", action="store_true", help="write JSON")
    plugins.set_defaults(run=_plugins)

    rank = commands.add_parser("rank", help="rank the installed engines for a kind of data")
    rank.add_argument(
        "--type", default="object", help="type of the values, for instance dict or numpy.ndarray"
    )
    rank.add_argument("--size", default=None, help="size of a typical value, for instance 10MB")
    rank.add_argument("--persist", action="store_true", help="entries must survive the process")
    rank.add_argument(
        "--scope", default="process", choices=("process", "host", "network"), help="who must see them"
    )
    rank.add_argument("--async", dest="asynchronous", action="store_true", help="used from an event loop")
    rank.add_argument("--policy", default=None, help="eviction policy that the engine must offer")
    rank.add_argument("--maxsize", type=int, default=None, help="bound on the number of entries")
    rank.add_argument("--max-bytes", default=None, help="bound on their bytes, for instance 512MB")
    rank.add_argument("--reads-per-write", type=float, default=None, help="look-ups per computation")
    rank.add_argument("--load", default=None, help="what computing a value takes, for instance 20ms")
    rank.add_argument("--json", action="store_true", help="write JSON")
    rank.set_defaults(run=_rank)

    demo = commands.add_parser("demo", help="measure the standard library with and without a cache")
    demo.add_argument(
        "--limit", type=_positive, default=None, help="at most so many modules, the largest first"
    )
    demo.add_argument("--engine", action="append", default=None, help="use only this engine; may be repeated")
    demo.add_argument("--json", action="store_true", help="write JSON")
    demo.set_defaults(run=_demo)

    doctor = commands.add_parser("doctor", help="look for what is wrong, and say what to do")
    doctor.add_argument("--json", action="store_true", help="write JSON")
    doctor.set_defaults(run=_doctor)
    return parser


def _plugins(options: argparse.Namespace, console: Console) -> int:
    from cachewright.registry import default_registry  # noqa: PLC0415 - discovery, for this command only

    registry = default_registry()
    rows = registry.plugins()
    broken = any(row.state == "broken" for row in rows)
    if options.json:
        write_json([asdict(row) for row in rows])
        return FINDING if broken else OK
    console.table(
        "plugins",
        ("plugin", "distribution", "version", "state", "provides"),
        [
            (row.name, row.distribution or "-", row.version or "-", row.state, row.reason or _provided(row))
            for row in rows
        ],
    )
    console.table(
        "engines",
        ("engine", "holds", "scope", "survives", "sync/async", "policies", "what it is"),
        [
            (
                info.name,
                info.capabilities.holds,
                info.capabilities.scope,
                "restart" if info.capabilities.persistent else "process",
                "/".join(_colours(info.capabilities)),
                ", ".join(info.capabilities.policies) or "-",
                info.summary,
            )
            for info in registry.engines().values()
        ],
    )
    return FINDING if broken else OK


def _colours(capabilities: Any) -> list[str]:
    return ["sync"] * capabilities.sync + ["async"] * capabilities.async_


def _provided(row: Any) -> str:
    parts: list[str] = []
    for what, names in (
        ("engines", row.engines),
        ("serializers", row.serializers),
        ("key makers", row.keymakers),
    ):
        if names:
            parts.append(f"{what} {', '.join(names)}")
    return "; ".join(parts) or "listeners"


def _rank(options: argparse.Namespace, console: Console) -> int:
    from cachewright.duration import parse_size, parse_ttl  # noqa: PLC0415 - for this command only
    from cachewright.factory import rank  # noqa: PLC0415 - discovery, for this command only
    from cachewright.workload import Workload  # noqa: PLC0415 - as above

    workload = Workload.of_type(
        options.type,
        nbytes=None if options.size is None else parse_size(options.size, setting="--size"),
        persist=options.persist,
        scope=options.scope,
        asynchronous=options.asynchronous,
        policy=options.policy,
        maxsize=options.maxsize,
        max_bytes=None if options.max_bytes is None else parse_size(options.max_bytes, setting="--max-bytes"),
        reads_per_write=options.reads_per_write,
        load_seconds=None if options.load is None else parse_ttl(options.load, setting="--load"),
    )
    rows = rank(workload)
    qualified = any(row.rejected is None for row in rows)
    if options.json:
        write_json({"workload": asdict(workload), "ranking": [asdict(row) for row in rows]})
    else:
        console.table(
            f"engines for {workload}",
            ("", "engine", "get", "set", "per call", "why"),
            [_ranked(place, row) for place, row in enumerate(rows, 1)],
        )
        if not qualified:
            from cachewright.registry import default_registry  # noqa: PLC0415 - as above
            from cachewright.selector import choose  # noqa: PLC0415 - as above

            choose(default_registry().engines().values(), workload)  # raises, and says what to install
    return OK if qualified else FINDING


def _ranked(place: int, row: Ranking) -> tuple[str, ...]:
    if row.rejected is not None:
        return ("-", row.engine, "", "", "", f"rejected: {row.rejected}")
    return (
        str(place),
        row.engine,
        duration_text(row.estimated_get),
        duration_text(row.estimated_set),
        duration_text(row.score),
        "; ".join((*row.reasons, *row.against)),
    )


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
    from cachewright.doctor import examine  # noqa: PLC0415 - the work of this command only

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

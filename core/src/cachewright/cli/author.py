"""The commands for authors of plugins: ``new-plugin``, ``check-plugin`` and ``bench``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cachewright.cli.exit_code import FINDING, OK
from cachewright.console import write_json
from cachewright.errors import PluginLoadError
from cachewright.explanation import duration_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from contextlib import ExitStack

    from cachewright.cli.commands import Commands
    from cachewright.console import Console
    from cachewright.engine import Costs
    from cachewright.testing.examination import Examination, Finding

KIT_OUTCOMES = ("passed", "expected", "failed", "skipped")


def add(commands: Commands) -> None:
    """Add them to the command line."""
    new = commands.add_parser("new-plugin", help="make the complete project of a new plugin")
    new.add_argument("name", metavar="NAME", help="name of the plugin, for instance shelf")
    new.add_argument("--directory", metavar="DIR", default=".", help="folder to make the project in")
    new.add_argument(
        "--kind", default="engine", choices=("engine", "serializer", "keymaker"), help="what it provides"
    )
    new.add_argument("--json", action="store_true", help="write JSON")
    new.set_defaults(run=_new_plugin)

    check = commands.add_parser("check-plugin", help="run every kit that fits a plugin, and explain failures")
    check.add_argument("path", metavar="PATH", help="folder of the project, or name of the distribution")
    check.add_argument("--url", default="", help="server for engines on a network that have no tests yet")
    check.add_argument("--test", default="", help="run one test only, and show all that pytest says")
    check.add_argument("--json", action="store_true", help="write JSON")
    check.set_defaults(run=_check_plugin)

    bench = commands.add_parser("bench", help="measure an engine, and write the Costs of its record")
    bench.add_argument("--engine", required=True, metavar="NAME", help="name of the engine")
    bench.add_argument("--url", default=None, help="server to measure")
    bench.add_argument("--path", default=None, help="directory to measure in; default: a temporary one")
    bench.add_argument("--json", action="store_true", help="write JSON")
    bench.set_defaults(run=_bench)


def _new_plugin(options: argparse.Namespace, console: Console) -> int:
    from cachewright.scaffold import Project  # noqa: PLC0415 - the work of this command only

    project = Project.of(options.name, kind=options.kind, directory=options.directory)
    made = project.make()
    if options.json:
        write_json({**asdict(project), "distribution": project.distribution, "files": made})
        return OK
    for path in made:
        console.text(f"  {path.relative_to(project.folder.parent)}")
    console.text()
    console.text("It works as it is. Next:")
    console.text(f"  cd {project.folder}")
    console.text('  python -m pip install -e ".[test]"')
    console.text("  cachewright check-plugin .")
    return OK


def _check_plugin(options: argparse.Namespace, console: Console) -> int:
    from contextlib import ExitStack  # noqa: PLC0415 - the work of this command only
    from importlib.util import find_spec  # noqa: PLC0415 - as above

    from cachewright.testing.examiner import Examiner  # noqa: PLC0415 - as above

    absent = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if absent:
        hint = 'try: pip install "cachewright[testing]"'
        raise PluginLoadError("check-plugin", f"{' and '.join(absent)} not installed", hint=hint)
    with ExitStack() as bars:
        examination = Examiner(
            options.path, url=options.url, only=options.test, progress=_bar(console, bars)
        ).examine()
    if options.json:
        write_json(asdict(examination))
    else:
        _show_examination(examination, console)
    return FINDING if examination.findings else OK


def _bar(console: Console, bars: ExitStack) -> Callable[[int], Callable[[], object]]:
    def begin(total: int) -> Callable[[], object]:
        bars.close()  # the one before is full
        advance: Callable[[], object] = bars.enter_context(console.progress("testing", total))
        return advance

    return begin


def _show_examination(examination: Examination, console: Console) -> None:
    console.text(f"{examination.distribution} {examination.version}")
    console.text()
    for record in examination.records:
        rows = _facts(record)
        console.table(f"{_kind(record)} {record.name}", ("what it says", ""), rows)
    if examination.kits:
        console.table(
            "kits",
            ("kit", "for", *KIT_OUTCOMES, "tests by"),
            [
                (
                    result.kit,
                    result.subject,
                    *(str(result.outcomes.get(outcome, 0)) for outcome in KIT_OUTCOMES),
                    "its author" if result.by_author else "its record",
                )
                for result in examination.kits
            ],
        )
    for finding in examination.findings:
        _show_finding(finding, console)
    number = len(examination.findings)
    console.text(f"{number} finding{'s' * (number != 1)}" if number else "Nothing was found.")


def _show_finding(finding: Finding, console: Console) -> None:
    console.text(f"{finding.check}  ({', '.join(filter(None, (finding.kit, finding.subject)))})")
    for label, text in (
        ("seen", finding.what),
        ("promised", finding.promise),
        ("why it matters", f"otherwise {finding.why}"),
        ("see it again", finding.reproduction),
    ):
        first, *others = text.splitlines() or [""]
        console.text(f"  {label + ':':<16}{first}")
        for line in others:
            console.text(f"  {'':<16}{line}")
    console.text()


def _kind(record: object) -> str:
    return {"EngineInfo": "engine", "KeyMakerInfo": "key maker"}.get(
        type(record).__name__, type(record).__name__.removesuffix("Info").lower()
    )


def _facts(record: Any) -> list[tuple[str, str]]:
    """Return what a record says, field by field, capabilities first."""
    facts: dict[str, Any] = asdict(record)
    able: dict[str, Any] = facts.pop("capabilities", {})
    costs: dict[str, Any] = facts.pop("costs", {})
    rows = [(name.rstrip("_"), _said(value)) for name, value in able.items()]
    rows += [(name, _said(value)) for name, value in facts.items() if value not in ("", ())]
    for name in ("get", "set"):
        if name in costs:
            knots = ", ".join(f"{duration_text(seconds)} at {size:,} B" for size, seconds in costs[name])
            rows.append((f"cost of {name}", knots))
    return [row for row in rows if row[0] != "name"]


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, cast("tuple[object, ...]", value))) or "-"
    return "-" if value is None else str(value)


def _bench(options: argparse.Namespace, console: Console) -> int:
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - the work of this command only

    from cachewright.engine import EngineConfig  # noqa: PLC0415 - as above
    from cachewright.registry import default_registry  # noqa: PLC0415 - as above
    from cachewright.scaffold import Trial  # noqa: PLC0415 - as above

    info = default_registry().engine(options.engine)
    with TemporaryDirectory(prefix="cachewright-bench-") as folder:
        path = Path(options.path or folder) / "bench"
        config = EngineConfig(namespace="cachewright bench", path=path, url=options.url, timeout=10.0)
        trial = Trial(info, config)
        with console.progress(f"measuring {info.name}", trial.steps) as advance:
            trial.advance = advance
            costs = trial.run()
    if options.json:
        measurements = [asdict(measurement) for measurement in trial.measurements]
        write_json({"engine": info.name, "costs": asdict(costs), "measurements": measurements})
        return OK
    console.table(
        f"engine {info.name}",
        ("operation", "bytes", "typical", "95 % within", "repeats"),
        [
            (
                measured.operation,
                f"{measured.nbytes:,}" if measured.nbytes else "",
                duration_text(measured.seconds),
                duration_text(measured.slowest),
                str(measured.repeats),
            )
            for measured in trial.measurements
        ],
    )
    for line in literal(costs).splitlines():
        console.text(line)
    return OK


def literal(costs: Costs) -> str:
    """Return the costs as they are written in a record, in the form that ruff gives them."""
    lines = ["costs=Costs("]
    for name in ("get", "set"):
        knots = [f"({size:_}, {seconds:g})" for size, seconds in getattr(costs, name)]
        if len(knots) == 1:
            lines.append(f"    {name}=({knots[0]},),")
        else:
            lines += [f"    {name}=(", *(f"        {knot}," for knot in knots), "    ),"]
    lines += [f"    miss={costs.miss:g},", f"    open={costs.open:g},", "),"]
    return "\n".join(lines)

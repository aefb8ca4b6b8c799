"""The commands that look at engines: ``plugins`` and ``rank``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cachewright.cli.exit_code import FINDING, OK
from cachewright.console import write_json
from cachewright.explanation import duration_text

if TYPE_CHECKING:
    from cachewright.cli.commands import Commands
    from cachewright.console import Console
    from cachewright.selector import Ranking


def add(commands: Commands) -> None:
    """Add them to the command line."""
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
        ("codecs", row.codecs),
        ("ciphers", row.ciphers),
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

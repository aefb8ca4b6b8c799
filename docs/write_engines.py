"""Write docs/engines.md: what every engine of this repository says that it can do, from its record.

Run ``python docs/write_engines.py`` after a change of a record, or with ``--check`` to see whether the page
is current. Only plugin modules are imported, never the libraries that the engines wrap.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "engines.md"

HEAD = """# Engines and what they can do

*Written by `python docs/write_engines.py` from the records of the plugins; a test says when it is stale.*

A *record* is what a plugin says about its engine before anything of it is loaded. The selector filters by
it, the conformance kit tests it, and this page prints it. `yes` is a promise; an empty cell means that the
engine does not offer it, and that asking for it is an error that names an engine that does.

"""

COLUMNS = (
    *("engine", "package", "holds", "scope", "survives", "sync, async", "ttl"),
    *("entries", "bytes", "policies", "cas", "many", "largest"),
)

FOOT = """
- **holds**: objects of the process themselves, or bytes, which cachewright serializes and seals.
- **scope**: who sees an entry. **survives**: whether it is there after the process has ended.
- **ttl**: the engine drops what has expired by itself, in steps of this size; cachewright keeps every ttl
  on every engine in any case.
- **entries**, **bytes**: bounds that can be asked for; **policies**: what goes when they are met, the
  default first.
- **cas**: compare and set, which carries [the guarantees](concepts/guarantees.md) between processes.
- **many**: batches take fewer round trips than their entries. **largest**: of one value.

What an operation costs, as measured by `cachewright bench`; the selector starts from these figures:

"""


def plugin_modules() -> dict[str, Any]:
    """Import and return every plugin module of the repository by the name of its distribution."""
    names = {"built in": "cachewright.builtin.plugin"}
    for module in sorted(ROOT.glob("plugins/*/src/cachewright_*/plugin.py")):
        source = module.parents[1]
        if str(source) not in sys.path:
            sys.path.insert(0, str(source))
        names[f"cachewright-{module.parents[2].name.replace('_', '-')}"] = f"{module.parent.name}.plugin"
    return {distribution: importlib.import_module(name) for distribution, name in names.items()}


def page() -> str:
    """Return the text of the page."""
    rows, costs = [], []
    for distribution, module in plugin_modules().items():
        for info in getattr(module, "cachewright_engines", list)():
            rows.append(row(info, distribution))
            costs.append(cost_row(info))
    table = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}", *sorted(rows)]
    figures = [
        "| engine | get, small | get, 1 MB | set, small | set, 1 MB | miss |",
        "| --- | --- | --- | --- | --- | --- |",
        *sorted(costs),
    ]
    return HEAD + "\n".join(table) + "\n" + FOOT + "\n".join(figures) + "\n"


def row(info: Any, distribution: str) -> str:
    """Return the row of an engine."""
    able = info.capabilities
    cells = (
        f"`{info.name}`",
        distribution if distribution == "built in" else f"`{distribution}`",
        able.holds,
        able.scope,
        "restart" if able.persistent else "",
        ", ".join(["sync"] * able.sync + ["async"] * able.async_),
        (f"{able.ttl_resolution:g} s" if able.ttl_resolution else "yes") if able.ttl_per_entry else "",
        yes(able.max_entries),
        yes(able.max_bytes),
        ", ".join(f"`{policy}`" for policy in able.policies),
        yes(able.compare_and_set),
        yes(able.many),
        size(able.max_value_size),
    )
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def cost_row(info: Any) -> str:
    """Return the row of an engine's costs."""
    from cachewright.costs import interpolated  # noqa: PLC0415 - sys.path may have to be set first
    from cachewright.explanation import duration_text  # noqa: PLC0415 - as above

    cells = (
        f"`{info.name}`",
        *(
            duration_text(interpolated(knots, nbytes))
            for knots in (info.costs.get, info.costs.set)
            for nbytes in (64, 1_000_000)
        ),
        duration_text(info.costs.miss) if info.costs.miss else "",
    )
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def yes(promised: bool) -> str:  # noqa: FBT001 - a cell
    """Return the cell of a capability."""
    return "yes" if promised else ""


def size(nbytes: int | None) -> str:
    """Return a size in the unit that suits it."""
    if nbytes is None:
        return ""
    for unit in ("B", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.4g} {unit}"
        nbytes /= 1024
    return f"{nbytes:.4g} GiB"


def main() -> int:
    """Write the page, or with ``--check`` say whether it is current."""
    text = page()
    if "--check" in sys.argv:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

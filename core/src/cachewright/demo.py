"""The demonstration: measure every module of the installed standard library, with and without a cache."""

from __future__ import annotations

import ast
import statistics
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachewright.decorators import cached
from cachewright.errors import CachewrightError
from cachewright.factory import open_cache, rank
from cachewright.registry import default_registry
from cachewright.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from cachewright.console import Console
    from cachewright.engine import EngineInfo
    from cachewright.selector import Ranking

VERSION = "1"
"""Part of every key; to be raised when a measuring function changes what it returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file to measure; the stamp makes a changed file another input."""

    path: str
    stamp: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One measuring function and how it is called in tables."""

    name: str
    measure: Callable[[Source], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one job took on one engine.

    Attributes:
        engine: name of the engine.
        job: name of the job.
        files: files measured.
        found: of those, results that were already stored by an earlier run.
        cold: seconds of the first pass.
        warm: seconds of the second pass.
        hit: median seconds of a hit.
        saved: seconds that the cache saved: in the first pass what the results found had taken to
            compute, else what the second pass took less than the first.
        unreadable: stored entries that had to be refused.
    """

    engine: str
    job: str
    files: int
    found: int
    cold: float
    warm: float
    hit: float
    saved: float
    unreadable: int


def standard_library(limit: int | None = None) -> list[Source]:
    """Return the modules at the top level of the standard library, largest first, at most ``limit``."""
    folder = Path(ast.__file__).parent
    sources: list[Source] = []
    for path in sorted(folder.glob("*.py")):
        stat = path.stat()
        sources.append(Source(path=str(path), stamp=(stat.st_size, stat.st_mtime_ns)))
    sources.sort(key=lambda source: (-source.stamp[0], source.path))
    return sources[:limit]


def summary(source: Source) -> dict[str, Any]:
    """Parse a module and count what is in it."""
    text = Path(source.path).read_text(encoding="utf-8", errors="replace")
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    branches = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.BoolOp, ast.IfExp, ast.comprehension)
    return {
        "module": Path(source.path).stem,
        "lines": text.count("\n"),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "functions": {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno},
        "branches": sum(isinstance(node, branches) for node in nodes),
        "imports": sorted(_imports(nodes)),
        "documented": sum(ast.get_docstring(node) is not None for node in functions),
    }


def _imports(nodes: Iterable[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def pairs(source: Source) -> Any:
    """Count how often each byte follows each other byte: a 256 x 256 array."""
    import numpy as np  # noqa: PLC0415 - an optional input of the demonstration

    data = np.frombuffer(Path(source.path).read_bytes(), dtype=np.uint8)
    counts = np.zeros((256, 256), dtype=np.float64)
    np.add.at(counts, (data[:-1], data[1:]), 1.0)
    return counts


def tokens(source: Source) -> Any:
    """Return the tokens of a module as a table: a structured array of type, line and column."""
    import tokenize  # noqa: PLC0415 - only for this job

    import numpy as np  # noqa: PLC0415 - as above

    with Path(source.path).open("rb") as file:
        rows = [(token.type, *token.start) for token in tokenize.tokenize(file.readline)]
    return np.array(rows, dtype=[("type", "u1"), ("line", "u4"), ("column", "u2")])


def jobs() -> list[Job]:
    """Return the jobs that this machine can do."""
    found = [Job(name="summary", measure=summary)]
    try:
        import_module("numpy")
    except Exception:  # noqa: BLE001 - another library's import, which may fail in any way
        return found
    return [*found, Job(name="byte pairs", measure=pairs), Job(name="token table", measure=tokens)]


def engines(only: Collection[str] = ()) -> tuple[list[EngineInfo], dict[str, str]]:
    """Return the installed engines that answer, and why the others were left out.

    Args:
        only: names of those to look at; default: all, but what the selector never picks is left out.
    """
    usable: list[EngineInfo] = []
    unavailable = default_registry().unavailable()
    left_out = {name: reason for name, reason in unavailable.items() if not only or name in only}
    for info in default_registry().engines().values():
        if only and info.name not in only:
            continue
        if info.name == "null":
            left_out[info.name] = "it stores nothing"
        elif not only and not info.automatic:
            left_out[info.name] = f"used only when asked for by name: --engine {info.name}"
        if info.name in left_out:
            continue
        try:
            with open_cache("cachewright demo", engine=info.name, on_engine_error="raise") as cache:
                cache.set("reachable", "yes")
                if cache.get("reachable") != "yes":
                    left_out[info.name] = "it forgets what is stored"
                    continue
        except CachewrightError as error:
            left_out[info.name] = str(error)
            continue
        except Exception as error:  # noqa: BLE001 - an engine is foreign code, and the others can be shown
            left_out[info.name] = f"{type(error).__name__}: {error}"
            continue
        usable.append(info)
    return usable, left_out


def run_job(job: Job, engine: str, sources: list[Source], advance: Callable[[], None]) -> Run:
    """Measure all sources twice on one engine."""
    measure = cached(engine=engine, name=f"cachewright demo: {job.name}", version=VERSION, maxsize=None)(
        job.measure
    )
    started = time.perf_counter()
    for source in sources:
        measure(source)
        advance()
    cold = time.perf_counter() - started
    found = len(sources) - measure.cache_info().loads
    hits: list[float] = []
    started = time.perf_counter()
    for source in sources:
        before = time.perf_counter()
        measure(source)
        hits.append(time.perf_counter() - before)
        advance()
    warm = time.perf_counter() - started
    saved = cold - warm
    if found == len(sources):
        saved = sum(entry.compute_seconds for entry in measure.cache.entries()) - cold
    info = measure.cache_info()
    return Run(
        engine=engine,
        job=job.name,
        files=len(sources),
        found=found,
        cold=cold,
        warm=warm,
        hit=statistics.median(hits),
        saved=max(saved, 0.0),
        unreadable=info.unreadable,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the demonstration found out."""

    python: str
    files: int
    lines: int
    runs: tuple[Run, ...]
    picks: tuple[tuple[str, str, Ranking], ...]
    left_out: dict[str, str]


NEEDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("this process", {}),
    ("persistent", {"persist": True}),
    ("network", {"scope": "network"}),
)
"""The needs for which the selector is asked."""


def run(console: Console, *, limit: int | None = None, only: list[str] | None = None) -> Report:
    """Run every job on every engine, cold and warm.

    Args:
        console: where progress is shown.
        limit: at most so many modules.
        only: names of the engines to use; default: every installed one that answers and may be picked.
    """
    sources = standard_library(limit)
    usable, left_out = engines(only or ())
    todo = jobs()
    runs: list[Run] = []
    with console.progress("measuring modules", 2 * len(sources) * len(usable) * len(todo)) as advance:
        for job in todo:
            runs += [run_job(job, info.name, sources, advance) for info in usable]
    picks: list[tuple[str, str, Ranking]] = []
    for job in todo:
        example = job.measure(sources[len(sources) // 2])
        for words, needs in NEEDS:
            best = rank(Workload.of(example, **needs))[0]
            picks.append((job.name, words, best))
    lines = sum(Path(source.path).read_bytes().count(b"\n") for source in sources)
    return Report(
        python=sys.version.split()[0],
        files=len(sources),
        lines=lines,
        runs=tuple(runs),
        picks=tuple(picks),
        left_out=left_out,
    )

"""Freshness between processes: each runs the probe on the same store, with one source for all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cachewright.testing.freshness_probe import FreshnessPlan, FreshnessReport, StaleRead, merged
from cachewright.testing.start_line import PATIENCE

CHILD = Path(__file__).with_name("freshness_child.py")


def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a process under the probe reads by and invalidates by; see :func:`probe_processes`.

    Attributes:
        read: the cached reader, as for :func:`~cachewright.testing.probe_freshness`.
        invalidate: the invalidation under test, called with a key.
        close: called when the process is done.
    """

    read: Callable[[int], int]
    invalidate: Callable[[int], object]
    close: Callable[[], object] = _nothing


def probe_processes(
    target: str,
    folder: Path,
    plan: FreshnessPlan | None = None,
    *,
    processes: int = 2,
    keys: int = 4,
    arguments: Mapping[str, object] | None = None,
) -> FreshnessReport:
    """Run the freshness probe in several processes at once, and return the sum of their reports.

    Args:
        target: ``"package.module:function"`` or ``"path/to/file.py:function"``; each process calls the
            function with the :class:`~cachewright.testing.VersionedSource` that all share, and
            with ``arguments``, for a :class:`Subject`.
        folder: an empty directory, for the source and for the messages of failing processes.
        plan: what each of the processes does.
        processes: how many.
        keys: how many keys the source has.
        arguments: passed to the function by name; has to be representable in JSON.

    Raises:
        RuntimeError: a process failed; with what it wrote to its standard error.
        TimeoutError: a process hangs.
    """
    plan = plan or FreshnessPlan()
    folder.mkdir(parents=True, exist_ok=True)
    order: dict[str, object] = {
        "target": target,
        "source": str(folder / "source"),
        "keys": keys,
        "path": sys.path,
        "arguments": dict(arguments or {}),
    }
    with ExitStack() as stack:
        children = [_Child(folder / f"process-{number}.txt") for number in range(processes)]
        for number, child in enumerate(children):
            stack.callback(child.end)
            child.tell(json.dumps({**order, "plan": asdict(replace(plan, seed=plan.seed + 1000 * number))}))
        timer = threading.Timer(plan.seconds + 2 * PATIENCE, _kill, [children])
        timer.start()
        stack.callback(timer.cancel)
        for child in children:
            child.expect()  # it is ready
        for child in children:
            child.tell("go")
        return merged([_report(child.expect()) for child in children])


class _Child:
    """One process under the probe, spoken to in lines."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        self._killed = False
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def tell(self, line: str) -> None:
        """Write a line to it; if it has ended, :meth:`expect` will say why."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def expect(self) -> str:
        """Return the next line that it writes."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return line
        if self._killed:
            raise TimeoutError(f"a process did not end in time: {self._errors.read_text()[-2000:]}")
        raise RuntimeError(f"a process under the probe failed: {self._errors.read_text()[-4000:]}")

    def kill(self) -> None:
        """End it at once."""
        self._killed = True
        self._process.kill()

    def end(self) -> None:
        """End it and let go of it."""
        self._process.kill()
        self._process.wait(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what it was told last was never read
                    continue


def _kill(children: list[_Child]) -> None:
    for child in children:
        child.kill()


def _report(line: str) -> FreshnessReport:
    facts = json.loads(line)
    facts["examples"] = tuple(StaleRead(*example) for example in facts["examples"])
    return FreshnessReport(**facts)

"""An examiner runs every kit that fits a plugin, the author's own tests where there are any."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from cachewright.testing.candidate import CONFORMANCE, GROUP, Candidate
from cachewright.testing.examination import Examination, Finding, KitResult
from cachewright.testing.fitting import Fit, fits, needs_url

GENERATED: Final = """
from cachewright.testing.examination import Examination, Finding, KitResult
from cachewright.testing.fitting import fitted_classes

globals().update(fitted_classes({distribution!r}, leave_out={leave_out!r}, url={url!r}))
"""

SETTINGS: Final = "[pytest]\naddopts = --import-mode=importlib\nxfail_strict = true\n"
POLL: Final = 0.05

STDERR: Final = 2
"""Where the output of pytest is shown: standard output is the examination's."""


class Examiner:
    """Examines one candidate, in processes of their own.

    Args:
        target: what the user wrote: a folder, or a name.
        url: what engines on a network are opened with, where the author has no tests that say so.
        only: the one test to run, by its name; its output is shown as pytest writes it.
        progress: called with the number of tests when a run begins; returns what to call for each.
    """

    def __init__(
        self,
        target: str,
        *,
        url: str = "",
        only: str = "",
        progress: Callable[[int], Callable[[], object]] = lambda _: lambda: None,
    ) -> None:
        self._target = target
        self._url = url
        self._only = only
        self._progress = progress
        self._candidate = Candidate.find(target)
        self._made = Examination(distribution=self._candidate.name, version=self._candidate.installed.version)

    def examine(self) -> Examination:
        """Run everything and return what was found."""
        needed = self._looked_at()
        covered: set[Fit] = set()
        if self._candidate.own_tests is not None:
            covered = self._run_own(self._candidate.own_tests)
        left = {fit: info for fit, info in needed.items() if fit not in covered}
        for fit, info in list(left.items()):
            if needs_url(info) and not self._url:
                self._without_url(fit)
                del left[fit]
        if left:
            self._run_generated(covered)
        self._made.kits.sort(key=lambda result: (result.subject, result.kit))
        return self._made

    def _looked_at(self) -> dict[Fit, Any]:
        """Return the kits that fit, after a look at what no test sees."""
        for departure in self._candidate.departures():
            self._find(
                "installation",
                departure,
                "what is checked is the project",
                "users of the next release would get something that nobody has checked",
                f"python -m pip install -e {shlex.quote(self._target)}",
            )
        if not self._candidate.modules():
            self._find(
                "entry point",
                f"it has no entry point in the group {GROUP!r}",
                "a plugin is announced by an entry point",
                "cachewright does not know that it is installed",
                f'[project.entry-points.{GROUP}]\nNAME = "PACKAGE.plugin"',
            )
            return {}
        try:
            registry = self._candidate.registry()
            self._made.records = [
                *registry.engines().values(),
                *registry.serializers().values(),
                *registry.keymakers().values(),
                *registry.codecs().values(),
                *registry.ciphers().values(),
            ]
        except Exception as error:  # noqa: BLE001 - a plugin module is foreign code
            self._find(
                "plugin module",
                f"{type(error).__name__}: {error}",
                "the plugin module can be imported and answers every hook with records",
                "cachewright leaves the plugin out",
                f"python -c {shlex.quote(f'import {self._candidate.modules()[0]}')}\ncachewright plugins",
            )
            return {}
        return fits(registry, self._candidate.name)

    def _without_url(self, fit: Fit) -> None:
        self._find(
            "server",
            f"engine {fit.subject!r} talks to a server, and nothing says where one is",
            "the kit runs against a real server",
            "nobody knows whether it keeps any promise",
            f"cachewright check-plugin {shlex.quote(self._target)} --url URL\n"
            "or write tests/test_conformance.py with make_config()",
            fit,
        )

    def _run_own(self, tests: Path) -> set[Fit]:
        folder = self._candidate.folder or Path()
        return self._run([str(tests)], folder, by_author=True)

    def _run_generated(self, covered: set[Fit]) -> None:
        with tempfile.TemporaryDirectory(prefix="cachewright-check-") as name:
            folder = Path(name)
            leave_out = sorted((fit.kit, fit.subject) for fit in covered)
            text = GENERATED.format(distribution=self._candidate.name, leave_out=leave_out, url=self._url)
            (folder / "test_generated.py").write_text(text, encoding="utf-8")
            (folder / "pytest.ini").write_text(SETTINGS, encoding="utf-8")
            self._run(["test_generated.py"], folder, by_author=False)

    def _run(self, arguments: list[str], folder: Path, *, by_author: bool) -> set[Fit]:
        """Run pytest there and record what it tells; return the kits that it has."""
        with tempfile.TemporaryDirectory(prefix="cachewright-report-") as name:
            report = Path(name) / "report.jsonl"
            report.touch()
            command = [
                *(
                    sys.executable,
                    "-m",
                    "pytest",
                    "-p",
                    "cachewright.testing.observer",
                    "-p",
                    "no:cacheprovider",
                ),
                *(f"--cachewright-report={report}", f"--cachewright-test={self._only}", *arguments),
            ]
            output = STDERR if self._only else subprocess.DEVNULL
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
            try:
                return self._follow(process, report, by_author=by_author)
            finally:
                process.kill()
                process.wait()

    def _follow(self, process: subprocess.Popen[bytes], report: Path, *, by_author: bool) -> set[Fit]:
        covered: set[Fit] = set()
        current: dict[str, str] = {}
        advance: Callable[[], object] = lambda: None  # noqa: E731 - until the number is known
        finished = False
        for event in _events(process, report):
            match event.pop("event"):
                case "collected":
                    covered = {Fit(*pair) for pair in event["covered"]}
                    advance = self._progress(event["count"])
                case "started":
                    current = event
                case "ended":
                    advance()
                    self._ended(event, by_author=by_author)
                case "broken":
                    self._find(
                        event["where"] or "tests",
                        event["message"],
                        "the conformance tests can be imported",
                        "nobody knows whether the plugin keeps any promise",
                        f"python -m pytest {event['where']}",
                    )
                case _:
                    finished = True
        if not finished:
            self._died(process.wait(), current, by_author=by_author)
        return covered

    def _ended(self, event: dict[str, str], *, by_author: bool) -> None:
        result = self._result(event.get("kit", ""), event.get("subject", ""), by_author=by_author)
        result.outcomes[event["outcome"]] = result.outcomes.get(event["outcome"], 0) + 1
        if event["outcome"] == "failed":
            self._made.findings.append(self._finding(event, event["message"], by_author=by_author))

    def _died(self, code: int, current: dict[str, str], *, by_author: bool) -> None:
        what = f"the interpreter ended with exit code {code}"
        if current:
            self._made.findings.append(self._finding(current, what, by_author=by_author))
        else:
            self._find(
                "tests",
                what,
                "the tests can be run",
                "nobody knows whether the plugin keeps any promise",
                "python -m pytest",
            )

    def _finding(self, event: dict[str, str], what: str, *, by_author: bool) -> Finding:
        lines = [event.get("steps", ""), self._command(event, by_author=by_author)]
        return Finding(
            check=event["test"],
            kit=event.get("kit", ""),
            subject=event.get("subject", ""),
            what=what,
            promise=event.get("promise", ""),
            why=event.get("stakes", ""),
            reproduction="\n".join(line for line in lines if line),
        )

    def _command(self, event: dict[str, str], *, by_author: bool) -> str:
        if by_author:
            node = event.get("node", event["test"])
            inside = node.partition("::")[2]
            place = shlex.quote(f"{CONFORMANCE.as_posix()}::{inside}")
            return f"cd {shlex.quote(self._target)} && python -m pytest {place}"
        url = f" --url {shlex.quote(self._url)}" if self._url else ""
        test = shlex.quote(event["test"])
        return f"cachewright check-plugin {shlex.quote(self._target)}{url} --test {test}"

    def _result(self, kit: str, subject: str, *, by_author: bool) -> KitResult:
        for result in self._made.kits:
            if (result.kit, result.subject) == (kit, subject):
                return result
        self._made.kits.append(KitResult(kit=kit, subject=subject, by_author=by_author))
        return self._made.kits[-1]

    def _find(
        self, check: str, what: str, promise: str, why: str, reproduction: str, fit: Fit | None = None
    ) -> None:
        self._made.findings.append(
            Finding(
                check=check,
                kit=fit.kit if fit else "",
                subject=fit.subject if fit else self._candidate.name,
                what=what,
                promise=promise,
                why=why,
                reproduction=reproduction,
            )
        )


def _events(process: subprocess.Popen[bytes], report: Path) -> Iterator[dict[str, Any]]:
    """Yield what the observer writes, as it comes, until the process has ended."""
    with report.open(encoding="utf-8") as file:
        rest, running = "", True
        while running:
            running = process.poll() is None  # asked before reading: what is written before the end is read
            rest += file.read()
            *lines, rest = rest.split("\n")
            yield from map(json.loads, lines)
            if running:
                time.sleep(POLL)

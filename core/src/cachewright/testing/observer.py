"""An observer tells another process what happens in a run of kits: a pytest plugin that writes JSON lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cachewright.testing.fitting import Fit, fit_of
from cachewright.testing.kit import Kit

LONGEST = 1_200
STEPS = re.compile(
    r"\n(?:Falsifying example|Failing test case)[^\n]*\n(?P<steps>.*?)(?:\n *Explanation:.*)?$", re.DOTALL
)
"""Where hypothesis appends the shortest operations that it has found to what an assertion said."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the place to write to, the one test to run, and whether to keep to whole kits."""
    group = parser.getgroup("cachewright")
    group.addoption("--cachewright-report", default="", help="file to write JSON lines to")
    group.addoption(
        "--cachewright-test", default="", help="name of the one test to run, with or without its case"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to observe, if there is a place to write to."""
    report = str(config.getoption("--cachewright-report"))
    if report:
        config.pluginmanager.register(Observer(Path(report), str(config.getoption("--cachewright-test"))))


class Observer:
    """Writes a line for what was collected, for each test when it starts and ends, and at the end."""

    def __init__(self, report: Path, only: str) -> None:
        self._report = report
        self._only = only
        self._facts: dict[str, dict[str, str]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the tests of kits, and tell which they are."""
        kept: list[pytest.Item] = []
        covered: set[Fit] = set()
        for item in items:
            test_class: Any = getattr(item, "cls", None)
            if not (isinstance(test_class, type) and issubclass(test_class, Kit)):
                continue
            fit = fit_of(test_class)
            if fit is not None:
                covered.add(fit)
            if not self._only or self._only in {item.name, item.name.partition("[")[0]}:
                kept.append(item)
                self._facts[item.nodeid] = self._facts_of(item, test_class, fit)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
        self._tell("collected", count=len(kept), covered=[(fit.kit, fit.subject) for fit in covered])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell of a file that cannot be imported."""
        if report.failed:
            self._tell("broken", where=report.nodeid, message=_shortened(report.longreprtext))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell which test begins, in case it ends the process."""
        self._tell("started", **self._facts.get(nodeid, {"test": nodeid}))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell how a test ended: a failure of its set-up or tear-down is one, too."""
        expected = hasattr(report, "wasxfail")
        if report.when == "call" or report.failed or (report.skipped and report.when == "setup"):
            outcome = "expected" if expected and report.skipped else report.outcome
            message, steps = _crash(report) if report.failed else ("", "")
            facts = self._facts.get(report.nodeid, {"test": report.nodeid})
            self._tell("ended", outcome=outcome, message=message, steps=steps, **facts)

    def pytest_sessionfinish(self) -> None:
        """Tell that this was all."""
        self._tell("finished")

    def _facts_of(self, item: pytest.Item, test_class: type[Kit], fit: Fit | None) -> dict[str, str]:
        name = item.name.partition("[")[0]
        promise = " ".join((getattr(test_class, name).__doc__ or "").split())
        return {
            "node": item.nodeid,
            "test": item.name,
            "kit": fit.kit if fit else test_class.__name__,
            "subject": fit.subject if fit else getattr(getattr(test_class, "info", None), "name", ""),
            "promise": promise,
            "stakes": test_class.stakes_of(name),
        }

    def _tell(self, event: str, **facts: object) -> None:
        with self._report.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **facts}) + "\n")


def _crash(report: pytest.TestReport) -> tuple[str, str]:
    """Return what went wrong, and the steps that lead to it, where hypothesis has found some."""
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    message = str(crash.message) if crash is not None else report.longreprtext
    found = STEPS.search(message)
    if found is None:
        return _shortened(message), ""
    return _shortened(message[: found.start()]), found["steps"].strip()


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."

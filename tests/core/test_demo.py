"""The demonstration, on three modules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from cachewright import demo
from cachewright.builtin.null import NullEngine
from cachewright.console import PlainConsole
from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl
from cachewright.registry import default_registry

CHILD = """
import sys
for name in {hidden!r}:
    sys.modules[name] = None
from cachewright.cli import main
raise SystemExit(main(["demo", "--limit", "3", *{more!r}]))
"""


def process(folder, *more, hidden=()):
    """Run the demonstration in a process of its own with its files in ``folder``."""
    env = {
        **os.environ,
        "CACHEWRIGHT_DIR": str(folder / "cache"),
        "CACHEWRIGHT_DATA_DIR": str(folder / "data"),
        "HOME": str(folder / "home"),
    }
    return subprocess.run(
        [sys.executable, "-c", CHILD.format(hidden=hidden, more=more)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def report(done):
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    return document, {(run["engine"], run["job"]): run for run in document["runs"]}


BOTH = ("--engine", "memory", "--engine", "sqlite", "--json")


class TestProcesses:
    """What the demonstration demonstrates."""

    def test_a_second_process_finds_the_results_of_the_first(self, tmp_path):
        """In the persistent engine, all of them; in memory none. Files are where the settings say."""
        (tmp_path / "home").mkdir()
        _, first = report(process(tmp_path, *BOTH))
        _, second = report(process(tmp_path, *BOTH))
        jobs = {"summary", "byte pairs", "token table"}
        assert {*first} == {(engine, job) for engine in ("memory", "sqlite") for job in jobs}
        assert all(run["found"] == 0 for run in first.values())
        assert {key: run["found"] for key, run in second.items()} == {
            (engine, job): 3 if engine == "sqlite" else 0 for engine, job in first
        }
        assert all(run["files"] == 3 and run["unreadable"] == 0 for run in second.values())
        assert sorted(os.listdir(tmp_path)) == ["cache", "data", "home"]
        assert os.listdir(tmp_path / "home") == []

    def test_without_numpy_it_shows_what_it_can(self, tmp_path):
        """One job instead of three, and no traceback."""
        document, runs = report(process(tmp_path, *BOTH, hidden=("numpy",)))
        assert {job for _, job in runs} == {"summary"}
        assert document["files"] == 3

    def test_without_rich_the_tables_are_plain(self, tmp_path):
        """The same content, and what to do next."""
        done = process(tmp_path, "--engine", "memory", hidden=("rich", "rich.console"))
        assert done.returncode == 0
        assert "3 modules of the standard library" in done.stdout
        assert "Run it again: a new process finds the results" in done.stdout
        assert "\n  summary      memory  " in done.stdout

    def test_when_no_engine_is_left_it_says_so(self, tmp_path):
        """A finding, with the reason."""
        done = process(tmp_path, "--engine", "null")
        assert done.returncode == 1
        assert "without null: it stores nothing" in done.stdout
        assert "Nothing was measured" in done.stdout


class TestJobs:
    """What is measured."""

    @pytest.fixture
    def source(self, tmp_path):
        path = tmp_path / "mod.py"
        path.write_text(
            '"""Doc."""\nimport os, sys\nfrom ast import parse\n'
            'class A:\n    def f(self):\n        """D."""\n'
            "        return 1 if self else 2\n\nasync def g():\n    pass\n"
        )
        return demo.Source(path=str(path), stamp=(1, 2))

    def test_a_summary_counts_what_is_in_a_module(self, source):
        """Plain data, so that any serializer can store it."""
        assert demo.summary(source) == {
            "module": "mod",
            "lines": 10,
            "classes": 1,
            "functions": {"f": 3, "g": 2},
            "branches": 1,
            "imports": ["ast", "os", "sys"],
            "documented": 1,
        }

    def test_pairs_and_tokens_are_arrays(self, source):
        """A plain one and a structured one."""
        pairs, tokens = demo.pairs(source), demo.tokens(source)
        assert pairs.shape == (256, 256)
        assert pairs.sum() == Path(source.path).stat().st_size - 1
        assert tokens.dtype.names == ("type", "line", "column")
        assert tokens["line"].max() == 11

    def test_the_sources_are_the_largest_modules_with_their_stamps(self):
        """A changed file is another input."""
        sources = demo.standard_library(5)
        sizes = [source.stamp[0] for source in sources]
        assert sizes == sorted(sizes, reverse=True)
        assert [os.stat(source.path).st_size for source in sources] == sizes
        assert len(demo.standard_library()) > 100

    def test_a_numpy_that_cannot_be_imported_leaves_one_job(self, monkeypatch):
        """Whether it is absent or broken."""
        assert len(demo.jobs()) == 3
        monkeypatch.setitem(sys.modules, "numpy", None)
        assert [job.name for job in demo.jobs()] == ["summary"]


class Explosive:
    """A plugin whose engine is no engine of ours: its constructor raises what it likes."""

    __name__ = "explosive"

    @hookimpl
    def cachewright_engines(self):
        return [
            EngineInfo(
                name="explosive",
                target="engine_of_test_demo:Raising",
                capabilities=Capabilities(holds="objects"),
                costs=Costs(get=((64, 1e-6),), set=((64, 1e-6),)),
                automatic=False,
            )
        ]


@pytest.fixture
def explosive(monkeypatch):
    class Raising(NullEngine):
        def __init__(self, config):
            raise ZeroDivisionError("surprise")

    module = types.ModuleType("engine_of_test_demo")
    module.Raising = Raising
    monkeypatch.setitem(sys.modules, "engine_of_test_demo", module)
    plugin = Explosive()
    default_registry().register(plugin, "explosive")
    yield
    default_registry().unregister(plugin)


def test_an_engine_that_fails_in_any_way_is_left_out_with_the_reason(explosive):
    """The others are shown."""
    usable, left_out = demo.engines(["explosive", "null", "memory", "sqlite"])
    assert left_out["explosive"] == "ZeroDivisionError: surprise"
    assert left_out["null"] == "it stores nothing"
    assert {"memory", "sqlite"} <= {info.name for info in usable}


def test_what_the_selector_never_picks_is_shown_on_request_only(explosive):
    """It is not even opened unless it was named."""
    usable, left_out = demo.engines()
    assert left_out["explosive"] == "used only when asked for by name: --engine explosive"
    assert all(info.automatic for info in usable)


def test_progress_is_told_for_every_call(monkeypatch):
    """Two passes over every file on every engine."""
    monkeypatch.setattr(demo, "jobs", lambda: [demo.Job(name="length", measure=length)])
    told = []

    class Told(PlainConsole):
        def progress(self, label, total):
            told.append(total)
            return super().progress(label, total)

    made = demo.run(Told(), limit=2, only=["memory"])
    assert told == [4]
    assert [(run.engine, run.files, run.found) for run in made.runs] == [("memory", 2, 0)]
    assert {need for _, need, _ in made.picks} == {"this process", "persistent", "network"}
    assert made.left_out == {}


def length(source: demo.Source) -> int:
    return source.stamp[0]

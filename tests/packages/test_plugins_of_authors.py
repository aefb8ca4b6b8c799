"""What an author makes with the scaffold, and the example of the docs, work where users install them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("build", reason="run by `nox -s package`")

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "docs" / "examples").glob("*/pyproject.toml"))
GENERATED = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis", "build", "dist")


class Elsewhere:
    """A clean environment with the core's wheel, the kit and an author's tools, and no checkout in sight."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home, self.environment = folder / "home", folder / "venv"
        home.mkdir()
        self.scripts = self.environment / ("Scripts" if os.name == "nt" else "bin")
        ours = ("PYTHON", "CACHEWRIGHT_", "XDG_")
        self.variables = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        self.variables |= {"HOME": str(home), "USERPROFILE": str(home)}
        copy, dist = folder / "core", folder / "dist"
        shutil.copytree(ROOT / "core", copy, ignore=GENERATED)
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, copy]
        self.run(*build, program=None)
        (wheel,) = dist.glob("*.whl")
        self.run(sys.executable, "-m", "venv", self.environment, program=None)
        # the lowest tools that the template names would do; the newest find most
        tools = ["hatchling", "mypy", "ruff"]
        self.run(
            "python", "-m", "pip", "install", "--quiet", f"cachewright[testing] @ {wheel.as_uri()}", *tools
        )

    def run(self, *command: object, program: str | None = "", codes=(0,), cwd: Path | None = None) -> str:
        """Run a program of the environment, or any one with ``program=None``; return what it printed."""
        first, *rest = command
        arguments = [first if program is None else self.scripts / str(first), *rest]
        done = subprocess.run(
            list(map(str, arguments)),
            cwd=cwd or self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode in codes, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def install(self, project: Path) -> None:
        """Install a project as its users would: a wheel, not the folder."""
        self.run("python", "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", project)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The one environment of this module: making it takes the longest."""
    return Elsewhere(tmp_path_factory.mktemp("elsewhere"))


@pytest.mark.parametrize("kind", ["engine", "serializer", "keymaker"])
def test_a_new_plugin_is_green(elsewhere, kind):
    """Made, installed, listed; its tests, types and style have nothing to find, nor has check-plugin."""
    name = f"my-{kind}"
    elsewhere.run("cachewright", "new-plugin", name, "--kind", kind)
    project = elsewhere.folder / f"cachewright-{name}"
    elsewhere.install(project)
    listed = elsewhere.run("cachewright", "plugins")
    assert re.search(rf"my_{kind} +cachewright-{name} +0\.1\.0 +ok ", listed)
    assert " passed" in elsewhere.run("python", "-m", "pytest", "-q", cwd=project)
    elsewhere.run("python", "-m", "mypy", "--strict", "src", cwd=project)
    elsewhere.run("python", "-m", "ruff", "check", ".", cwd=project)
    elsewhere.run("python", "-m", "ruff", "format", "--check", ".", cwd=project)
    report = json.loads(elsewhere.run("cachewright", "check-plugin", ".", "--json", cwd=project))
    assert report["findings"] == []
    assert all(kit["by_author"] for kit in report["kits"])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_green(elsewhere, example):
    """An example of the docs passes what its readers are told to run."""
    project = elsewhere.folder / example.name
    shutil.copytree(example, project, ignore=GENERATED)
    elsewhere.install(project)
    elsewhere.run("python", "-m", "mypy", "--strict", "src", cwd=project)
    elsewhere.run("python", "-m", "ruff", "check", ".", cwd=project)
    report = json.loads(elsewhere.run("cachewright", "check-plugin", ".", "--json", cwd=project))
    assert report["findings"] == []
    assert {kit["kit"] for kit in report["kits"]} == {"EngineKit", "PluginKit"}
    without = json.loads(elsewhere.run("cachewright", "check-plugin", example.name, "--json"))
    assert without["findings"] == [], "the same by its records alone"


def test_there_are_examples():
    """A folder without any would make the test above say nothing."""
    assert [path.name for path in EXAMPLES] == ["cachewright-dbm"]

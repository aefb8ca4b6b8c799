"""A new plugin is complete and green as it is rendered; a trial measures what a record states."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from cachewright.engine import AsyncEngine, Costs, Engine, EngineConfig, EngineInfo
from cachewright.errors import ConfigurationError, EngineError
from cachewright.records import checked_records
from cachewright.scaffold import KINDS, Project, Trial
from cachewright.scaffold.trial import SIZES
from cachewright.testing.reference import DICT, FOLDER, AsyncDictEngine, DictEngine

NAMES = ("q", "cabinet", "a-b-cdefghijklmnopqrstuvwxyz0123")


@pytest.fixture
def render(tmp_path):
    """Return a function that makes a project."""

    def render(name="cabinet", kind="engine"):
        project = Project.of(name, kind=kind, directory=tmp_path)
        project.make()
        return project

    return render


def announce(project):
    """Put beside a project what an installer would: the metadata by which its plugin is found."""
    document = tomllib.loads((project.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = project.folder / "src" / f"{project.package}-{document['version']}.dist-info"
    info.mkdir()
    lines = [
        "Metadata-Version: 2.4",
        *(
            f"{field}: {value}"
            for field, value in (
                ("Name", document["name"]),
                ("Version", document["version"]),
                ("Summary", document["description"]),
                ("Requires-Python", document["requires-python"]),
                ("License-Expression", document["license"]),
            )
        ),
        *(f"Requires-Dist: {requirement}" for requirement in document["dependencies"]),
        "",
        (project.folder / "README.md").read_text(encoding="utf-8"),
    ]
    (info / "METADATA").write_text("\n".join(lines), encoding="utf-8")
    points = "\n".join(f"{name} = {value}" for name, value in document["entry-points"]["cachewright"].items())
    (info / "entry_points.txt").write_text(f"[cachewright]\n{points}\n", encoding="utf-8")


def within(project, *command, codes=(0,)):
    """Run a program of this environment in a project, which is found as if it were installed."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(project.folder / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout + done.stderr


def needs(distribution):
    """Skip the test where a tool is not installed."""
    try:
        version(distribution)
    except PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed")


class TestNames:
    """What a plugin may be called, and what follows from it."""

    @pytest.mark.parametrize("name", ["my-shelf", "my_shelf", "cachewright-my-shelf", "cachewright_my_shelf"])
    def test_a_name_is_normalised(self, name, tmp_path):
        """However it is written, all names follow from one."""
        project = Project.of(name, directory=tmp_path)
        assert (project.name, project.distribution, project.package) == (
            *("my_shelf", "cachewright-my-shelf", "cachewright_my_shelf"),
        )
        assert project.folder == tmp_path / "cachewright-my-shelf"

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "-",
            "a-",
            "-a",
            "a--b",
            "a_-b",
            "1",
            "A",
            "é",
            "a.b",
            "a b",
            "a/b",
            "..",
            "a\n",
            "a" * 33,
            "cachewright-",
        ],
    )
    def test_a_name_that_no_plugin_can_have_is_refused(self, name):
        """With what would do."""
        with pytest.raises(ConfigurationError, match="my-engine"):
            Project.of(name)

    def test_a_name_that_is_taken_is_refused_for_its_kind(self):
        """Two plugins that claim one name are an error; a serializer may be called like an engine."""
        with pytest.raises(ConfigurationError, match="built into"):
            Project.of("sqlite")
        with pytest.raises(ConfigurationError, match="built into"):
            Project.of("pickle", kind="serializer")
        with pytest.raises(ConfigurationError, match="built into"):
            Project.of("canonical", kind="keymaker")
        assert Project.of("sqlite", kind="serializer").name == "sqlite"

    def test_serializers_seldom_share_a_code(self, render):
        """Each has one of the codes that third parties have for data, made from its name."""
        codes = set()
        for name in ("cbor", "bson", "toml", "yaml"):
            text = (
                render(name, "serializer").folder / "src" / f"cachewright_{name}" / "plugin.py"
            ).read_text()
            codes.add(int(re.search(r"code=(0x\w+)", text)[1], 16))
        assert len(codes) == 4
        assert all(0x40 <= code < 0x80 for code in codes)


class TestMaking:
    """All files or none."""

    def test_nothing_is_left_where_it_fails(self, monkeypatch, tmp_path):
        """A disk that is full in the middle leaves no folder."""
        written = []

        def write_text(path, text, **_):
            written.append(path)
            if len(written) == 4:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_text", write_text)
        with pytest.raises(OSError, match="No space"):
            Project.of("cabinet", directory=tmp_path).make()
        assert list(tmp_path.iterdir()) == []

    def test_a_dangling_link_counts_as_there(self, tmp_path):
        """It is somebody's."""
        (tmp_path / "cachewright-cabinet").symlink_to(tmp_path / "nowhere")
        with pytest.raises(ConfigurationError, match="does not exist yet"):
            Project.of("cabinet", directory=tmp_path).make()

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_placeholder_is_left(self, render, kind):
        """In no name and no text, but for what GitHub replaces."""
        project = render("my-shelf", kind)
        for path in project.folder.rglob("*"):
            assert "NAME" not in path.name
            assert not path.name.endswith(".template")
            if path.is_file():
                text = path.read_text(encoding="utf-8").replace("${{ matrix.python }}", "")
                assert "$" not in text, path

    def test_the_package_depends_on_this_train(self, render):
        """On this MAJOR.MINOR, with an upper bound, with the kit for its tests."""
        document = tomllib.loads((render().folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        major, minor, *_ = version("cachewright").split(".")
        within = f">={major}.{minor},<{major}.{int(minor) + 1}"
        assert document["dependencies"] == [f"cachewright{within}"]
        assert document["optional-dependencies"]["test"] == [f"cachewright[testing]{within}"]
        assert document["entry-points"] == {"cachewright": {"cabinet": "cachewright_cabinet.plugin"}}


class TestRendered:
    """What is rendered works at once."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", NAMES)
    def test_ruff_has_nothing_to_say(self, render, name, kind):
        """Style and format are right for short names and for long ones."""
        needs("ruff")
        project = render(name, kind)
        within(project, "-m", "ruff", "check", "--no-cache", ".")
        within(project, "-m", "ruff", "format", "--no-cache", "--check", ".")

    @pytest.mark.parametrize("kind", KINDS)
    def test_mypy_has_nothing_to_say(self, render, kind):
        """Strictly."""
        needs("mypy")
        project = render(kind=kind)
        within(project, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "src")

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", KINDS)
    def test_its_own_tests_pass(self, render, kind):
        """Every kit that fits, warnings being errors."""
        project = render(kind=kind)
        announce(project)
        report = within(project, "-m", "pytest", "-q", "-p", "no:cacheprovider")
        assert "failed" not in report
        assert re.search(r"\d+ passed", report)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_plugin_is_listed_and_its_readme_runs(self, render, kind, tmp_path):
        """As cachewright sees it, and as its users do."""
        project = render(kind=kind)
        announce(project)
        (line,) = re.findall(
            r"^ +cabinet +cachewright-cabinet .*",
            within(project, "-m", "cachewright", "plugins", codes=(0, 1)),
            re.MULTILINE,
        )
        assert " ok " in line
        (example,) = re.findall(r"```python\n(.*?)```", (project.folder / "README.md").read_text(), re.DOTALL)
        function = re.search(r"def (\w+)", example)[1]
        script = tmp_path / "example.py"
        checks = f"assert {function}(3) == {function}(number=3)\nassert {function}.cache_info().hits == 1\n"
        script.write_text(f"{example}\n{checks}")
        within(project, "-W", "error", str(script))

    def test_the_template_is_what_the_docs_show(self):
        """Files named in the pages for authors are those that are rendered."""
        names = {path.as_posix() for path in Project.of("shelf").files()}
        assert {"pyproject.toml", "README.md", "LICENSE", ".gitignore", ".github/workflows/ci.yml"} <= names
        assert {
            "src/cachewright_shelf/plugin.py",
            "src/cachewright_shelf/engine.py",
            "tests/test_conformance.py",
        } <= names


class Forgetful(DictEngine):
    """Loses what it is given, and is fast."""

    def set(self, key, value, /, *, ttl=None, size=1):
        return True


class TestTrial:
    """What ``cachewright bench`` measures with."""

    @pytest.mark.parametrize("info", [DICT, FOLDER], ids=lambda info: info.name)
    def test_costs_are_such_as_a_record_may_have(self, info, tmp_path, monkeypatch):
        """Knots in ascending order: one for objects, one per size for bytes."""
        monkeypatch.setattr("cachewright.scaffold.trial.PATIENCE", 0.01)
        trial = Trial(info, EngineConfig(path=tmp_path / "store"))
        steps = []
        trial.advance = lambda: steps.append(1)
        costs = trial.run()
        assert [size for size, _ in costs.get] == list(SIZES if info is FOLDER else SIZES[:1])
        assert costs.open > 0 < costs.miss
        assert len(steps) == trial.steps == len(trial.measurements)
        checked_records([_with_costs(info, costs)], EngineInfo, hook="hook", distribution="")

    def test_an_asynchronous_engine_is_measured_in_a_loop(self, monkeypatch):
        """Where there is no synchronous one."""
        monkeypatch.setattr("cachewright.scaffold.trial.PATIENCE", 0.01)
        alone = replace(DICT, target="", capabilities=replace(DICT.capabilities, sync=False))
        assert issubclass(AsyncDictEngine, AsyncEngine)
        costs = Trial(alone, EngineConfig()).run()
        assert costs.get[0][1] > 0

    def test_its_entries_are_gone_and_others_are_not(self, tmp_path, monkeypatch):
        """It works in a namespace of its own, beside what is stored."""
        monkeypatch.setattr("cachewright.scaffold.trial.PATIENCE", 0.0)
        config = EngineConfig(path=tmp_path / "store", namespace="mine")
        engine: Engine = FOLDER.load()(config)
        engine.set("ab" * 16, [b"mine"], size=4)
        Trial(FOLDER, config).run()
        assert engine.get("ab" * 16) == b"mine"
        left = [path for path in (tmp_path / "store").glob("*/*") if path.is_file()]
        assert [path.name for path in left] == ["ab" * 16]

    def test_an_engine_that_loses_values_is_not_called_fast(self):
        """What was stored is read back and compared."""
        spec = importlib.util.spec_from_loader("forgetful", loader=None)
        module = importlib.util.module_from_spec(spec)
        module.Forgetful = Forgetful
        sys.modules["forgetful"] = module
        try:
            with pytest.raises(EngineError, match="give back what was stored"):
                Trial(replace(DICT, target="forgetful:Forgetful"), EngineConfig()).run()
        finally:
            del sys.modules["forgetful"]


def _with_costs(info: EngineInfo, costs: Costs) -> EngineInfo:
    return replace(info, costs=costs)


def test_importing_the_scaffold_imports_no_kit():
    """An author who has not installed the extra `testing` can make a plugin all the same."""
    code = (
        "import sys, cachewright.scaffold; print([m for m in ('pytest', 'hypothesis') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

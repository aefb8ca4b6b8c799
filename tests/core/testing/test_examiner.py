"""The examiner runs the kits that fit, or the author's own tests, and explains what fails."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest

from cachewright.engine import Capabilities, EngineInfo
from cachewright.errors import ConfigurationError
from cachewright.scaffold import Project
from cachewright.testing.candidate import Candidate
from cachewright.testing.examiner import Examiner
from cachewright.testing.fitting import fitted_classes, needs_url
from cachewright.testing.reference import DICT

METADATA = """Metadata-Version: 2.4
Name: {distribution}
Version: 0.1.0
Summary: An engine.
Requires-Python: >=3.11
License-Expression: MIT
Requires-Dist: cachewright<0.2,>=0.1

# A plugin
"""


class Shelf:
    """A rendered project that is found as if it were installed."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.source = project.folder / "src"
        self.info = self.source / f"{project.package}-0.1.0.dist-info"
        self.info.mkdir()
        self.metadata()
        self.points(f"{project.name} = {project.package}.plugin")

    @property
    def target(self) -> str:
        return str(self.project.folder)

    def metadata(self, old: str = "", new: str = "") -> None:
        text = METADATA.format(distribution=self.project.distribution)
        (self.info / "METADATA").write_text(text.replace(old, new) if old else text)

    def points(self, line: str) -> None:
        (self.info / "entry_points.txt").write_text(f"[cachewright]\n{line}\n" if line else "")

    def change(self, name: str, old: str, new: str) -> None:
        """Replace text in a module of the package."""
        path = self.source / self.project.package / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def without_tests(self) -> None:
        (self.project.folder / "tests" / "test_conformance.py").unlink()


@pytest.fixture
def shelf(tmp_path, monkeypatch, request):
    """Return a plugin of the kind that the test is parametrized with, or an engine."""
    number = abs(hash(request.node.nodeid)) % 10**8  # a module is imported once per process
    kind = getattr(request, "param", "engine")
    project = Project.of(f"shelf{number}", kind=kind, directory=tmp_path)
    project.make()
    made = Shelf(project)
    monkeypatch.setenv("PYTHONPATH", str(made.source))
    monkeypatch.syspath_prepend(made.source)
    invalidate_caches()
    return made


class TestFinding:
    """What can be examined."""

    def test_a_folder_and_a_name_mean_the_same(self, shelf):
        """A project, its distribution, or the plugin's name."""
        named = [shelf.target, shelf.project.distribution, shelf.project.name]
        assert {Candidate.find(name).name for name in named} == {shelf.project.distribution}
        assert Candidate.find(shelf.target).own_tests is not None
        assert Candidate.find(shelf.project.name).own_tests is None

    def test_what_is_not_installed_is_refused_with_the_command(self, shelf):
        """Only what is installed can be checked as users get it."""
        shelf.info.rename(shelf.project.folder / "gone")
        invalidate_caches()
        with pytest.raises(ConfigurationError, match="pip install -e"):
            Candidate.find(shelf.target)

    @pytest.mark.parametrize("text", ["[project", "[project]\nversion = '1'", "name = 3"])
    def test_a_project_without_a_name_is_refused(self, tmp_path, text):
        """Or one that cannot be read."""
        (tmp_path / "pyproject.toml").write_text(text)
        with pytest.raises(ConfigurationError, match="pyproject"):
            Candidate.find(str(tmp_path))


class TestFitting:
    """Which kits a plugin's records call for."""

    @pytest.mark.parametrize(
        ("shelf", "kit"),
        [("engine", "EngineKit"), ("serializer", "SerializerKit"), ("keymaker", "KeyMakerKit")],
        indirect=["shelf"],
    )
    def test_each_record_has_its_kit(self, shelf, kit):
        """Beside the one for the packaging; what the author has covered is left out."""
        name = shelf.project.distribution
        classes = fitted_classes(name, leave_out=(), url="")
        assert [made.__name__.endswith(kit) for made in classes.values()] == [True, False]
        left = fitted_classes(name, leave_out={(kit, shelf.project.name)}, url="")
        assert [made.__name__.endswith("PluginKit") for made in left.values()] == [True]

    @pytest.mark.parametrize("shelf", ["serializer"], indirect=True)
    def test_a_serializer_is_given_what_it_accepts(self, shelf):
        """Specimens that it does not refuse."""
        classes = fitted_classes(shelf.project.distribution, leave_out=(), url="")
        (kit,) = (made for name, made in classes.items() if name.endswith("SerializerKit"))
        assert len(kit.accepts) >= 5

    def test_a_server_is_nowhere_in_a_record(self):
        """An engine on a network needs a url, or tests of its own."""
        network = EngineInfo(
            name="far", capabilities=Capabilities(holds="bytes", scope="network"), costs=DICT.costs
        )
        assert needs_url(network)
        assert not needs_url(DICT)


@pytest.mark.slow
class TestExamination:
    """What is run, and what is said about it."""

    def test_a_plugin_without_tests_is_examined_by_its_records(self, shelf):
        """Every kit that fits passes for what the scaffold has made."""
        shelf.without_tests()
        examination = Examiner(shelf.target).examine()
        assert examination.findings == []
        results = {result.kit: result for result in examination.kits}
        assert {*results} == {"EngineKit", "PluginKit"}
        assert not any(result.by_author for result in results.values())
        assert results["EngineKit"].outcomes["passed"] > 70
        assert [record.name for record in examination.records] == [shelf.project.name]

    def test_a_failure_is_explained(self, shelf):
        """What was seen, what was promised, what is at stake, and a command that shows it again."""
        shelf.without_tests()
        shelf.change("engine.py", "return iter(list(self._opened()))", "return iter(self._opened())")
        begun = []
        examination = Examiner(
            shelf.target, progress=lambda total: begun.append(total) or (lambda: None)
        ).examine()
        assert len(begun) == 1
        found = {finding.check: finding for finding in examination.findings}
        finding = found["test_keys_is_a_snapshot"]
        assert (finding.kit, finding.subject) == ("EngineKit", shelf.project.name)
        assert "during iteration" in finding.what
        assert finding.promise.startswith("Writing and deleting while keys() is iterated")
        assert finding.why == "one call would be given the result of another"
        command = shlex.split(finding.reproduction)
        assert command[:2] == ["cachewright", "check-plugin"]
        again = subprocess.run(
            [sys.executable, "-m", *command, "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert again.returncode == 1
        assert [found["check"] for found in json.loads(again.stdout)["findings"]] == [
            "test_keys_is_a_snapshot"
        ]
        assert "during iteration" in again.stderr

    def test_random_operations_are_reproduced_by_their_shortest_steps(self, shelf):
        """As hypothesis has found them."""
        shelf.change("engine.py", "return True", "return bool(self._opened().pop(None, True))")
        shelf.change("engine.py", "pop(key, MISSING) is not MISSING", "pop(key, None) is None")
        examination = Examiner(shelf.target, only="test_random_operations_match_a_dict").examine()
        (finding,) = examination.findings
        steps, _, command = finding.reproduction.rpartition("\n")
        assert "state.delete(number=0)" in steps
        assert "Failing test case" not in finding.what
        assert command.startswith(f"cd {shelf.target} && python -m pytest tests/test_conformance.py::Test")

    def test_own_tests_say_what_a_record_cannot(self, shelf):
        """Expected failures and options of the author count; kits that are missing there are made."""
        test = shelf.project.folder / "tests" / "test_conformance.py"
        text = test.read_text()
        text = text.partition("class TestPackaging")[0].rstrip()
        text += '\n    expected_failures = {"test_closing_twice_is_allowed": "for the sake of the test"}\n'
        text += "\n\ndef test_that_is_none_of_the_kit():\n    assert False\n"
        test.write_text(text)
        shelf.change(
            "engine.py",
            "        self._entries = None",
            '        {}["closed"] if self._entries is None else 1\n        self._entries = None',
        )
        examination = Examiner(shelf.target, only="test_closing_twice_is_allowed").examine()
        assert examination.findings == []
        (result,) = examination.kits
        assert (result.by_author, dict(result.outcomes)) == (True, {"expected": 1})
        examination = Examiner(shelf.target, only="test_it_is_typed").examine()
        assert [(result.kit, result.by_author) for result in examination.kits] == [("PluginKit", False)]

    def test_tests_that_cannot_be_imported_are_a_finding(self, shelf):
        """The kits are made from the records then."""
        test = shelf.project.folder / "tests" / "test_conformance.py"
        test.write_text("import no_such_module\n")
        examination = Examiner(shelf.target, only="test_it_is_typed").examine()
        assert "no_such_module" in examination.findings[0].what
        assert [result.outcomes["passed"] for result in examination.kits] == [1]

    def test_a_test_that_ends_the_process_is_named(self, shelf):
        """A crash of the interpreter is found, with the test in which it came."""
        shelf.without_tests()
        shelf.change("engine.py", "return iter(list(self._opened()))", "__import__('os')._exit(7)")
        finding = Examiner(shelf.target).examine().findings[-1]
        assert "exit code 7" in finding.what
        assert finding.check.startswith("test_")

    @pytest.mark.parametrize(
        ("damage", "check", "word"),
        [
            (lambda shelf: shelf.points(""), "installation", "entry points"),
            (lambda shelf: shelf.points(f"x = {shelf.project.package}.gone"), "plugin module", "gone"),
            (lambda shelf: shelf.change("plugin.py", "@hookimpl\n", ""), "plugin module", "hookimpl"),
            (
                lambda shelf: shelf.change("plugin.py", "def cachewright_engines", "def cachewright_engine"),
                "plugin module",
                "engine",
            ),
            (
                lambda shelf: (shelf.source / shelf.project.package / "py.typed").unlink(),
                "test_it_is_typed",
                "py.typed",
            ),
            (
                lambda shelf: shelf.metadata("cachewright<0.2,>=0.1", "cachewright==0.1.0"),
                "test_it_requires_a_version_of_cachewright",
                "==",
            ),
            (
                lambda shelf: shelf.metadata("License-Expression: MIT\n", "Author: nobody\n"),
                "test_it_says_what_python_it_needs",
                "License",
            ),
            (lambda shelf: shelf.metadata("# A plugin\n", ""), "test_it_has_a_description", "readme"),
        ],
        ids=[
            "no entry point",
            "no module",
            "no hookimpl",
            "misspelt hook",
            "no types",
            "a pinned version",
            "no licence",
            "no readme",
        ],
    )
    def test_packaging_is_examined(self, shelf, damage, check, word):
        """Whatever keeps users from finding, installing or trusting it."""
        shelf.without_tests()
        damage(shelf)
        found = {}
        for only in (check if check.startswith("test_") else "test_it_is_typed",):
            for finding in Examiner(shelf.target, only=only).examine().findings:
                found[finding.check] = finding
        assert word in found[check].what
        assert all((finding.promise, finding.why, finding.reproduction) for finding in found.values())


def test_an_installed_copy_that_is_old_is_found(shelf, tmp_path, monkeypatch):
    """What is checked is what is installed."""
    copy = tmp_path / "site"
    shelf.source.rename(copy)
    monkeypatch.syspath_prepend(copy)
    monkeypatch.setenv("PYTHONPATH", str(copy))
    source = shelf.project.folder / "src" / shelf.project.package
    source.mkdir(parents=True)
    (source / "engine.py").write_text("# newer\n")
    (departure,) = Candidate.find(shelf.target).departures()
    assert "copy" in departure
    assert str(Path(source)) in departure

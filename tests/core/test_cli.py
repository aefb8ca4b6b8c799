"""The command line: exit codes, JSON, and one clear line for every failure."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys

import pytest

from cachewright import __version__
from cachewright.cli import FINDING, INTERRUPTED, OK, USAGE, engines, main
from cachewright.engine import Costs
from cachewright.registry import default_registry

COMMANDS = ("plugins", "rank", "demo", "doctor", "new-plugin", "check-plugin", "bench")


@pytest.fixture(autouse=True)
def _logging(monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


@pytest.fixture
def run(capsys):
    """Return a function that runs a command line in this process: (exit code, output, errors)."""

    def run(*arguments):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


def spawn(*arguments, code=None, **more):
    """Run ``python -m cachewright`` in a process of its own, or another program."""
    command = [sys.executable, *(("-c", code) if code else ("-m", "cachewright")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)


class TestUsage:
    """The command line itself."""

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_explains_itself(self, run, command):
        """Exit code 0, on standard output."""
        code, out, err = run(command, "--help")
        assert (code, err) == (OK, "")
        assert out.startswith(f"usage: cachewright {command}")
        assert "--json" in out

    def test_the_program_lists_its_commands(self, run):
        """And its version."""
        assert all(command in run("--help")[1] for command in COMMANDS)
        assert run("--version")[:2] == (OK, f"cachewright {__version__}\n")

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("nonsense",),
            ("rank", "--scope", "planet"),
            ("rank", "--maxsize", "many"),
            ("rank", "extra"),
            ("rank", "--size", "banana"),
            ("rank", "--size=-1"),
            ("rank", "--size", "5 M"),
            ("rank", "--size", ""),
            ("rank", "--max-bytes", "1.5.5"),
            ("rank", "--load", "soon"),
            ("rank", "--load=-5s"),
            ("rank", "--maxsize=-1"),
            ("rank", "--reads-per-write", "nan"),
            ("rank", "--reads-per-write=-1"),
            ("rank", "--policy", ""),
            ("demo", "--limit", "0"),
            ("demo", "--limit=-3"),
            ("demo", "--limit", "x"),
            ("demo", "--engine", "nobody"),
            ("doctor", "--fast"),
            ("new-plugin",),
            ("new-plugin", "Shelf"),
            ("new-plugin", "a--b"),
            ("new-plugin", "-a"),
            ("new-plugin", "1a"),
            ("new-plugin", ""),
            ("new-plugin", "../a"),
            ("new-plugin", "a b"),
            ("new-plugin", "a" * 33),
            ("new-plugin", "memory"),
            ("new-plugin", "cachewright-sqlite"),
            ("new-plugin", "shelf", "--kind", "cupboard"),
            ("new-plugin", "shelf", "--directory", "no such folder"),
            ("check-plugin",),
            ("check-plugin", "no-such-distribution"),
            ("check-plugin", os.path.dirname(__file__)),
            ("bench",),
            ("bench", "--engine", "nobody"),
        ],
    )
    def test_what_makes_no_sense_is_told_in_one_line_with_exit_code_2(self, run, arguments):
        """After argparse's usage, where that finds it; nothing goes to standard output."""
        code, out, err = run(*arguments)
        assert (code, out) == (USAGE, "")
        complaints = [line for line in err.splitlines() if line.startswith("cachewright")]
        assert len(complaints) == 1
        assert err.endswith(complaints[0] + "\n")

    def test_a_wrong_value_is_named_with_what_would_be_right(self, run):
        """The option, the value and an example."""
        err = run("rank", "--size", "banana")[2]
        assert err.startswith("cachewright: --size='banana' is not usable: expected a whole number of bytes")

    def test_an_engine_that_is_not_installed_is_named_with_those_that_are(self, run):
        """By the demonstration, which can be told which to use."""
        err = run("demo", "--engine", "nobody")[2]
        assert "no engine named 'nobody'; installed: " in err
        assert "memory" in err

    def test_a_wrong_setting_is_told_with_its_origin(self, run, monkeypatch):
        """A bad environment variable ends every command, but the doctor looks on."""
        monkeypatch.setenv("CACHEWRIGHT_TIMEOUT", "soon")
        default_registry().refresh()
        try:
            code, out, err = run("rank")
        finally:
            monkeypatch.delenv("CACHEWRIGHT_TIMEOUT")
            default_registry().refresh()
        assert (code, out) == (USAGE, "")
        assert "CACHEWRIGHT_TIMEOUT" in err
        assert len(err.splitlines()) == 1


class TestRank:
    """``cachewright rank``."""

    def test_it_ranks_the_installed_engines(self, run):
        """Best first."""
        code, out, err = run("rank", "--type", "dict", "--size", "10kB", "--maxsize", "100")
        assert (code, err) == (OK, "")
        assert "engines for container of about 10,000 bytes; needs a bound of 100 entries" in out
        assert "memory" in out

    def test_no_engine_that_would_do_is_a_finding(self, run):
        """With the reasons, and what to do."""
        code, out, err = run("rank", "--policy", "clairvoyant")
        assert code == FINDING
        assert "rejected: no clairvoyant policy" in out
        assert err.startswith("cachewright: no installed engine offers the policy 'clairvoyant'")
        assert len(err.splitlines()) == 1

    @pytest.mark.parametrize("arguments", [(), ("--policy", "clairvoyant"), ("--size", "1GB", "--persist")])
    def test_json_is_complete_and_the_same_each_time(self, run, arguments):
        """Infinite figures are null; the exit code is that of the table."""
        code, out, err = run("rank", "--json", *arguments)
        document = json.loads(out, parse_constant=pytest.fail)
        assert err == ""
        assert {*document} == {"workload", "ranking"}
        assert {row["engine"] for row in document["ranking"]} >= {"memory", "sqlite", "null"}
        assert run("rank", "--json", *arguments)[:2] == (code, out)
        assert code == run("rank", *arguments)[0]


class TestPlugins:
    """``cachewright plugins``."""

    def test_it_lists_plugins_and_engines(self, run):
        """With what they provide."""
        code, out, err = run("plugins")
        assert err == ""
        assert "engines memory, null, sqlite" in out
        assert "s3-fifo" in out
        assert code in {OK, FINDING}

    def test_json_is_a_row_for_every_plugin(self, run):
        """The same each time."""
        _, out, _ = run("plugins", "--json")
        rows = json.loads(out)
        assert [row["engines"] for row in rows if row["name"] == "builtin"] == [["memory", "null", "sqlite"]]
        assert run("plugins", "--json")[1] == out


class TestFailures:
    """No traceback, ever."""

    def test_an_interruption_is_said_in_a_word(self, run, monkeypatch):
        """As a shell expects."""

        def interrupted(_):
            raise KeyboardInterrupt

        monkeypatch.setattr(engines, "write_json", interrupted)
        code, _, err = run("rank", "--json")
        assert (code, err) == (INTERRUPTED, "cachewright: interrupted\n")

    def test_a_reader_that_has_seen_enough_is_no_failure(self):
        """Nothing is written to standard error, neither by us nor by the interpreter at its end."""
        code = (
            "import os, subprocess, sys\n"
            "read, write = os.pipe()\n"
            "os.close(read)\n"
            "done = subprocess.run([sys.executable, '-m', 'cachewright', 'rank', '--json'], stdout=write,"
            " stderr=subprocess.PIPE)\n"
            "print(done.returncode, done.stderr)"
        )
        assert spawn(code=code).stdout == "0 b''\n"

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_a_full_disk_is_one_line(self):
        """And exit code 1, not the interpreter's 120."""
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "cachewright", "rank"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == FINDING
        assert done.stderr == "cachewright: [Errno 28] No space left on device\n"

    def test_closed_standard_streams_are_no_failure(self):
        """As a daemon may start us."""
        code = (
            "import sys\nsys.stdout = sys.stderr = None\nfrom cachewright.cli import main\n"
            "raise SystemExit(main(['rank']) + main(['rank', '--json']))"
        )
        assert spawn(code=code).returncode == 0

    @pytest.mark.parametrize("flag", ["default", "error"])
    def test_a_broken_plugin_is_told_in_one_line_whatever_the_warning_filter(self, tmp_path, flag):
        """It harms no other."""
        folder = tmp_path / "brittle-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: brittle\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text("[cachewright]\nbrittle = brittle_that_is_not_there\n")
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": flag}
        done = spawn("rank", env=env)
        assert done.returncode == OK
        [line] = [line for line in done.stderr.splitlines() if "brittle" in line]
        assert line.startswith("cachewright: warning: plugin 'brittle': ModuleNotFoundError")
        assert "Traceback" not in done.stderr
        listed = spawn("plugins", env=env)
        assert listed.returncode == FINDING
        assert "brittle_that_is_not_there" in listed.stdout

    def test_output_that_the_terminal_cannot_say_is_escaped(self):
        """An ASCII terminal gets the table."""
        done = spawn(
            "doctor", env={**os.environ, "PYTHONIOENCODING": "ascii", "CACHEWRIGHT_DIR": "/nowhere/é"}
        )
        assert r"/nowhere/\xe9" in done.stdout
        assert done.stderr == ""


def test_the_module_is_the_program():
    """``python -m cachewright`` has the name and the exit codes of ``cachewright``."""
    done = spawn("rank", "--size", "banana")
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.startswith("cachewright: --size='banana'")
    assert spawn("--version").stdout == f"cachewright {__version__}\n"


def test_looking_at_plugins_imports_no_backend_library():
    """Records are enough."""
    code = (
        "import sys\nfrom cachewright.cli import main\n"
        "main(['plugins', '--json']); main(['rank', '--json'])\n"
        "heavy = ('redis', 'cachebox', 'cachetools', 'dill', 'numpy', 'sqlite3', 'rich')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    assert spawn(code=code).stderr.splitlines()[-1] == "[]"


def test_the_program_leaves_the_streams_it_was_given_open(run):
    """It may be called from a program that goes on."""
    run("rank", "--json")
    assert isinstance(sys.stdout, io.TextIOBase)
    assert not sys.stdout.closed


class TestNewPlugin:
    """``cachewright new-plugin``."""

    def test_it_makes_a_project_and_says_what_is_next(self, run, tmp_path):
        """Under its normalised name, in the folder that was given."""
        code, out, err = run("new-plugin", "my-shelf", "--directory", str(tmp_path))
        assert (code, err) == (OK, "")
        project = tmp_path / "cachewright-my-shelf"
        assert (project / "src" / "cachewright_my_shelf" / "engine.py").is_file()
        assert (project / ".github" / "workflows" / "ci.yml").is_file()
        assert "cachewright-my-shelf/pyproject.toml" in out
        assert f"cd {project}" in out

    @pytest.mark.parametrize("make", ["mkdir", "touch"])
    def test_what_exists_is_left_as_it_is(self, run, tmp_path, make):
        """A folder or a file of that name is an error, and nothing is written."""
        getattr(tmp_path / "cachewright-shelf", make)()
        code, out, err = run("new-plugin", "shelf", "--directory", str(tmp_path))
        assert (code, out) == (USAGE, "")
        assert "a folder that does not exist yet" in err
        assert [path.name for path in tmp_path.rglob("*")] == ["cachewright-shelf"]

    def test_json_lists_the_files(self, run, tmp_path):
        """With the distribution and the kind."""
        code, out, _ = run(
            "new-plugin", "shelf", "--kind", "serializer", "--directory", str(tmp_path), "--json"
        )
        document = json.loads(out)
        assert code == OK
        assert (document["distribution"], document["kind"]) == ("cachewright-shelf", "serializer")
        assert all(os.path.isfile(name) for name in document["files"])


class TestCheckPlugin:
    """``cachewright check-plugin``; what it finds is tested with the scaffold and the examiner."""

    def test_a_distribution_is_checked_by_name(self, run):
        """With a table of what its records say, and one of the kits; one test of each keeps it short."""
        code, out, err = run("check-plugin", "cachewright", "--test", "test_the_record_makes_sense")
        assert code == OK, out + err
        for line in ("engine sqlite", "serializer pickle", "key maker canonical", "Nothing was found."):
            assert line in out
        assert "EngineKit" in out

    def test_json_is_the_whole_examination(self, run):
        """Records, kits and findings."""
        code, out, _ = run("check-plugin", "cachewright", "--test", "test_it_is_typed", "--json")
        document = json.loads(out)
        assert code == OK
        assert {*document} == {"distribution", "version", "records", "kits", "findings"}
        (kit,) = document["kits"]
        assert (kit["kit"], kit["outcomes"]) == ("PluginKit", {"passed": 1})

    def test_without_the_kit_it_says_what_to_install(self, run, monkeypatch):
        """In one line."""
        monkeypatch.setitem(sys.modules, "hypothesis", None)
        code, out, err = run("check-plugin", "cachewright")
        assert (code, out) == (FINDING, "")
        assert 'try: pip install "cachewright[testing]"' in err
        assert len(err.splitlines()) == 1


class TestBench:
    """``cachewright bench``."""

    def test_it_prints_a_table_and_the_literal_of_the_record(self, run):
        """What is printed evaluates to costs that a record may have."""
        code, out, err = run("bench", "--engine", "memory")
        assert (code, err) == (OK, "")
        assert "operation" in out
        text = out[out.index("costs=Costs(") :].removeprefix("costs=").strip().removesuffix(",")
        costs = eval(text, {"Costs": Costs})
        assert len(costs.get) == len(costs.set) == 1
        assert 0 < costs.get[0][1] < 1e-3
        assert 0 < costs.miss < 1e-3

    def test_an_engine_of_bytes_is_measured_at_several_sizes(self, run, tmp_path):
        """In the directory that was given, with JSON for programs."""
        code, out, _ = run("bench", "--engine", "sqlite", "--path", str(tmp_path), "--json")
        document = json.loads(out)
        assert code == OK
        sizes = [size for size, _ in document["costs"]["set"]]
        assert sizes[0] == 64
        assert sizes[-1] == 10_000_000
        assert {row["operation"] for row in document["measurements"]} == {"get", "set", "miss", "open"}
        assert os.listdir(tmp_path) == ["bench"]

    def test_a_server_that_is_not_there_is_one_line(self, run):
        """And a finding."""
        pytest.importorskip("cachewright_redis", reason="the plugin is not installed")
        code, out, err = run("bench", "--engine", "redis", "--url", "redis://127.0.0.1:1")
        assert (code, out) == (FINDING, "")
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("new-plugin", "shelf"),
        pytest.param(("check-plugin", "cachewright", "--test", "test_it_is_typed"), marks=pytest.mark.slow),
        ("bench", "--engine", "memory"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_of_authors_say_the_same_with_rich_and_without(arguments, tmp_path):
    """On a terminal with rich there are frames around it, and the same words."""
    pytest.importorskip("rich", reason="the extra `cli` is not installed")
    shown = []
    for number, prelude in enumerate(("", "sys.modules['rich'] = sys.modules['rich.console'] = None\n")):
        folder = tmp_path / str(number)
        folder.mkdir()
        code = (
            f"import sys\n{prelude}from cachewright.cli import main\nsys.stdout.isatty = lambda: True\n"
            f"raise SystemExit(main({[*arguments]!r}))"
        )
        done = spawn(code=code, cwd=folder, env={**os.environ, "COLUMNS": "200", "TERM": "dumb"})
        assert done.returncode == OK, done.stderr
        shown.append(set(re.findall(r"[a-z]{4,}[\w./-]*", done.stdout)))
    assert shown[0] == shown[1]

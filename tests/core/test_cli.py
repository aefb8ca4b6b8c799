"""The command line: exit codes, JSON, and one clear line for every failure."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys

import pytest

from cachewright import __version__, cli
from cachewright.cli import FINDING, INTERRUPTED, OK, USAGE, main
from cachewright.registry import default_registry

COMMANDS = ("plugins", "rank", "demo", "doctor")


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

        monkeypatch.setattr(cli, "write_json", interrupted)
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

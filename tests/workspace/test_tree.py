"""What lies in the repository: nothing of one machine, no lock file, only the fixed names at the top."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOP = {
    *(".ci", ".github", ".gitignore", ".pre-commit-config.yaml", "LICENSE"),
    *("README.md", "core", "docs", "noxfile.py", "plugins", "pyproject.toml", "tests"),
}
# written so that this file does not match itself
MACHINE = re.compile(r"/(?:root|home|Users|work|farm)/[.\w-]{2}|[A-Z]:\\Users")
HOST = re.compile(r"pypi[.]org/simple|files[.]pythonhosted|--(?:extra-)?index-url|find[-]links")


@pytest.fixture(scope="module")
def tracked():
    """The files that git tracks, or would after `git add .`."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def texts(paths):
    """Return (path, text) of the files that are text."""
    for path in paths:
        data = path.read_bytes()
        if b"\0" not in data:
            yield path.relative_to(ROOT), data.decode("utf-8", "replace")


def places(paths, pattern):
    """Return where a pattern matches."""
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts(paths)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_path_of_a_machine(tracked):
    """What one machine has is no part of the project."""
    assert places(tracked, MACHINE) == []


def test_no_file_names_a_package_host(tracked):
    """Where packages come from is each user's setting."""
    assert places(tracked, HOST) == []


@pytest.mark.parametrize(
    "text", ["/ho" + "me/ann/x", "/ro" + "ot/.cache", "C:" + "\\Users\\ann", "/wo" + "rk/main"]
)
def test_paths_of_machines_are_recognized(text):
    """The pattern of the test above matches what it should."""
    assert MACHINE.search(text)


@pytest.mark.parametrize("text", ["pypi." + "org/simple", "--index" + "-url x", "--find" + "-links y"])
def test_package_hosts_are_recognized(text):
    """The pattern of the test above matches what it should."""
    assert HOST.search(text)


def test_top_level_holds_the_fixed_names(tracked):
    """A new name at the top needs a tool that demands it there."""
    assert {path.relative_to(ROOT).parts[0] for path in tracked} <= TOP


def test_no_lock_file_is_tracked(tracked):
    """A lock file would name hosts; tests run with the newest and with the lowest versions instead."""
    assert [path for path in tracked if path.suffix == ".lock" or path.name.endswith("-lock.json")] == []


def test_tests_are_no_packages(tracked):
    """Test files are imported by path, so that two of one name can live in two folders."""
    assert [path for path in tracked if path.name == "__init__.py" and "src" not in path.parts] == []


def test_every_test_file_is_found_by_pytest(tracked):
    """A file with tests under another name would never run."""
    silent = [
        path.relative_to(ROOT)
        for path in tracked
        if "tests" in path.parts and path.suffix == ".py" and not path.name.startswith("test_")
        if re.search(r"^(?:async )?def test_", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert silent == []

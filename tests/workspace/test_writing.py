"""Changelog fragments, decision records and the README keep their forms."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")
FRAGMENT = re.compile(rf"\d{{4}}\.({'|'.join(KINDS)})\.md")
RECORD = re.compile(r"(\d{4})-[a-z0-9]+(?:-[a-z0-9]+)*\.md")
FRAGMENTS = sorted(path for path in (ROOT / "docs" / "changes").iterdir() if path.name != "README.md")
RECORDS = sorted(path for path in (ROOT / "docs" / "decisions").iterdir() if path.name != "README.md")


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.name)
def test_fragment_is_well_formed(path):
    """A fragment is named NNNN.kind.md and is prose for users, without a heading."""
    assert FRAGMENT.fullmatch(path.name)
    text = path.read_text(encoding="utf-8").strip()
    assert text
    assert not text.startswith("#")


def test_readme_of_changes_names_the_kinds():
    """The page that explains fragments names every kind there is."""
    text = (ROOT / "docs" / "changes" / "README.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_decision_record_is_well_formed(path):
    """A record is named NNNN-what-was-decided.md, headed by its number, and at most 60 lines long."""
    named = RECORD.fullmatch(path.name)
    assert named
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    assert lines[0].startswith(f"# {int(named[1])}. ")


def test_decision_records_are_numbered_once():
    """No two records have one number."""
    counted = Counter(path.name[:4] for path in RECORDS)
    assert [number for number, count in counted.items() if count > 1] == []


def test_readme_is_short():
    """The README stays under 150 lines; depth belongs into docs."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_ci_runs_the_command_of_the_readme():
    """What the README tells people to run is what CI runs."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    (command,) = [line for line in script if line.endswith(".venv/bin/nox")]
    assert command in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in script

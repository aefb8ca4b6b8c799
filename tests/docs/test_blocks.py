"""No code block of the documentation rots: it runs, or it says why not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("plugins/*/README.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>\w*)[^`]*")
EXEMPTION = re.compile(r"\s*<!--\s*not run:(?P<reason>.*?)-->\s*")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where its code starts (the line's number, from 1), and why it is not run, if so."""

    line: int
    language: str
    code: str
    exemption: str | None


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page.

    Raises:
        ValueError: if a block is not closed, or an exemption has no reason or stands before no block.
    """
    found: list[Block] = []
    lines = text.splitlines()
    number, exemption = 0, None
    while number < len(lines):
        line = lines[number]
        number += 1
        if opened := FENCE.fullmatch(line):
            end = closing(lines, number, opened["fence"])
            code = textwrap.dedent("\n".join(lines[number:end])) + "\n"
            found.append(Block(number + 1, opened["language"], code, exemption))
            number, exemption = end + 1, None
        elif exempted := EXEMPTION.fullmatch(line):
            exemption = exempted["reason"].strip()
            if not exemption:
                raise ValueError(f"line {number}: an exemption without a reason")
        elif line.strip() and exemption:
            raise ValueError(f"line {number}: the exemption above stands before no block")
    if exemption:
        raise ValueError("the last exemption stands before no block")
    return found


def closing(lines: list[str], start: int, fence: str) -> int:
    """Return the index of the line that closes a block."""
    for number in range(start, len(lines)):
        stripped = lines[number].strip()
        if stripped.startswith(fence) and not stripped.strip(fence[0]):
            return number
    raise ValueError(f"line {start}: the block is not closed")


def page_name(path: Path) -> str:
    """Return a page's path in the repository."""
    return path.relative_to(ROOT).as_posix()


def script(blocks: list[Block]) -> str:
    """Return the Python blocks of a page as one script, each at the line where it stands on the page."""
    text = ""
    for block in blocks:
        if block.language == "python" and block.exemption is None:
            text += "\n" * (block.line - 1 - text.count("\n")) + block.code
    return text


def check(block: Block, folder: Path) -> None:
    """Check the syntax of a block that is no Python.

    Raises:
        ValueError: if it is wrong, or nothing here can check such a block.
    """
    if block.language == "toml":
        tomllib.loads(block.code)
    elif block.language == "json":
        json.loads(block.code)
    elif block.language in {"sh", "console"}:
        done = subprocess.run(
            ["sh", "-n"], input=block.code, text=True, capture_output=True, check=False, cwd=folder
        )
        if done.returncode:
            raise ValueError(done.stderr)
    elif block.language not in {"text", "python"}:
        raise ValueError(
            f"line {block.line}: neither run nor exempted: a block in {block.language or 'no language'!r}"
        )


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_page_runs(page, tmp_path):
    """The Python blocks of a page run from top to bottom, in one process of their own, without a warning."""
    text = script(blocks_of(page.read_text(encoding="utf-8")))
    if not text:
        return
    path = tmp_path / f"{page.stem}.py"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_other_blocks_are_checked_or_exempted(page, tmp_path):
    """Shell, TOML and JSON parse; any other block is text, or says why it is not run."""
    if not shutil.which("sh"):
        pytest.skip("needs sh")
    for block in blocks_of(page.read_text(encoding="utf-8")):
        if block.exemption is None:
            check(block, tmp_path)


def test_script_keeps_line_numbers():
    """A failure's traceback names the line of the page."""
    page = "# T\n\n```python\na = 1\n```\n\ntext\n\n```python\nb = a\n```\n"
    assert script(blocks_of(page)).splitlines()[3] == "a = 1"
    assert script(blocks_of(page)).splitlines()[9] == "b = a"


def test_exempted_block_is_left_out():
    """An HTML comment with a reason exempts the block that follows it, and only that."""
    page = "<!-- not run: needs a server -->\n```python\nboom\n```\n```python\nfine = 1\n```\n"
    assert [block.exemption for block in blocks_of(page)] == ["needs a server", None]
    assert script(blocks_of(page)).strip() == "fine = 1"


def test_block_in_a_list_is_found():
    """An indented block is dedented."""
    assert script(blocks_of("- x\n\n  ```python\n  a = 1\n  ```\n")).strip() == "a = 1"


def test_longer_fence_holds_shorter_ones():
    """A block that shows a block is one block."""
    (block,) = blocks_of("````text\n```python\nboom\n```\n````\n")
    assert block.language == "text"


@pytest.mark.parametrize(
    "page",
    [
        "<!-- not run: -->\n```python\nx\n```\n",
        "<!-- not run: why -->\ntext\n\n```python\nx\n```\n",
        "text\n<!-- not run: why -->\n",
        "```python\nx\n",
    ],
    ids=["no reason", "no block follows", "last line", "not closed"],
)
def test_malformed_page_is_refused(page):
    """What would silently exempt or hide code is an error."""
    with pytest.raises(ValueError, match=r"exemption|closed"):
        blocks_of(page)


@pytest.mark.parametrize(
    ("language", "code"),
    [("", "x"), ("pycon", ">>> 1"), ("py", "x"), ("toml", "="), ("json", "{"), ("sh", "if")],
)
def test_unchecked_block_fails(language, code, tmp_path):
    """A block in a language that nothing runs or parses, or that does not parse, is an error."""
    with pytest.raises(ValueError, match=r".*"):
        check(Block(1, language, code + "\n", None), tmp_path)

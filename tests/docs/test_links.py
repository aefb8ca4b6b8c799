"""Links of the documentation lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("plugins/*/README.md")])
PAGES += sorted(ROOT.glob("docs/**/*.md"))
CODE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2\s*$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """Return the links of a page, to the repository, that lead nowhere."""
    found = []
    for match in LINK.finditer(CODE.sub("", page.read_text(encoding="utf-8"))):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target) if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            found.append(match["target"])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    """A link to a file of the repository, or to a heading in it, finds it."""
    assert broken(page) == []


@pytest.mark.parametrize("link", ["nowhere.md", "other.md#nothing", "#nothing"])
def test_broken_link_is_found(tmp_path, link):
    """A missing file and a missing heading are broken links; code is no link."""
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# Some heading\n", encoding="utf-8")
    page.write_text(
        f"# Top\n[a](other.md#some-heading) [b]({link}) [c](#top) `[d](x.md)`\n", encoding="utf-8"
    )
    assert broken(page) == [link]

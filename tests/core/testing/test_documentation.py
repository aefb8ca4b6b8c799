"""The examples of the conformance page define classes that the kits accept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cachewright.testing.kit import Kit

PAGE = Path(__file__).parents[3] / "docs" / "plugins" / "conformance.md"


def test_the_examples_of_the_page_run() -> None:
    """Each Python block that is not exempted defines a kit."""
    blocks = re.findall(r"(?<!-->\n)^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(block, str(PAGE), "exec"), names)  # our own documentation
        assert any(isinstance(value, type) and Kit in value.__mro__[2:] for value in names.values())

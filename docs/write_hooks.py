"""Write docs/plugins/hooks.md: every hook of the plugin system, from the docstrings of its specifications.

Run ``python docs/write_hooks.py`` after a change, or with ``--check`` to see whether the page is current.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from cachewright import hookspecs

PAGE = Path(__file__).parent / "plugins" / "hooks.md"

HEAD = """# Hooks

*Written by `python docs/write_hooks.py` from `cachewright.hookspecs`; a test says when it is stale.*

A plugin is a module, or any object, with functions of these names, marked with `@hookimpl`. A distribution
announces it with an entry point in the group `cachewright`:

```toml
[project.entry-points.cachewright]
shelf = "cachewright_shelf.plugin"
```

Hooks take no arguments and return an iterable of records. They are called once per process, when the first
cache is opened, and import no backend library. A misspelt hook, or one that is not marked, makes the plugin
broken: `cachewright plugins` says why, and the other plugins are not harmed.
"""

PLACES = {
    "cachewright_engines": "[Write an engine](engine.md)",
    "cachewright_serializers": "[Write a serializer](serializer.md)",
    "cachewright_keymakers": "[Write a key maker](keymaker.md)",
}


def hooks() -> dict[str, Any]:
    """Return the hooks in the order of their specifications."""
    prefix = f"{hookspecs.PROJECT}_"
    return {name: function for name, function in vars(hookspecs).items() if name.startswith(prefix)}


def page() -> str:
    """Return the text of the page."""
    return HEAD + "".join(section(name, function) for name, function in hooks().items())


def section(name: str, function: Any) -> str:
    """Return what a hook's docstring says; its example becomes a block that is run with the page."""
    text, _, example = inspect.getdoc(function).partition("Example, a whole plugin module::")
    returns = str(inspect.signature(function).return_annotation).replace('"', "").replace("'", "")
    lines = [f"\n## `{name}`\n", f"`{name}() -> {returns}`\n", text.strip()]
    if example.strip():
        # two empty lines before what is defined at the top: formatters look at blocks on pages, too
        code = re.sub(r"\n\n(?=@|def )", "\n\n\n", inspect.cleandoc(example).strip())
        lines += ["\nA whole plugin module:\n", f"```python\n{code}\n```"]
    if name in PLACES:
        lines.append(f"\n{PLACES[name]}.")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or with ``--check`` say whether it is current."""
    text = page()
    if "--check" in sys.argv:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

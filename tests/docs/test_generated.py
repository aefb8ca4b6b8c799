"""Pages that are written by a script are what the script writes now."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = {"engines.md": "write_engines.py", "plugins/hooks.md": "write_hooks.py"}


def script(name):
    """Return what a script defines."""
    return runpy.run_path(str(ROOT / "docs" / name))


@pytest.mark.parametrize("page", SCRIPTS)
def test_page_is_current(page):
    """A changed record or hook changes the page; the script that the page names writes it."""
    name = SCRIPTS[page]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text == script(name)["page"](), f"run: python docs/{name}"
    assert f"`python docs/{name}`" in text


@pytest.mark.parametrize("name", SCRIPTS.values())
def test_check_is_an_exit_code(name, tmp_path):
    """``--check`` changes nothing, and says by 0 or 1 whether the page is current."""
    copy = tmp_path / "docs" / name
    (copy.parent / "plugins").mkdir(parents=True)
    copy.write_text((ROOT / "docs" / name).read_text(encoding="utf-8"), encoding="utf-8")
    codes = [
        subprocess.run([sys.executable, copy, *arguments], check=False).returncode
        for arguments in (["--check"], [], ["--check"])
    ]
    assert codes == [1, 0, 0]


def test_every_engine_of_the_repository_is_in_the_table():
    """One row per record of the plugins and of the core."""
    modules = script("write_engines.py")["plugin_modules"]()
    text = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    names = [
        info.name for module in modules.values() for info in getattr(module, "cachewright_engines", list)()
    ]
    assert {"memory", "sqlite", "null"} <= set(names)
    assert [name for name in names if text.count(f"| `{name}` | ") != 2] == []
    assert len(modules) == 1 + len(list(ROOT.glob("plugins/*/pyproject.toml")))


def test_every_hook_is_documented_with_an_example():
    """A hook without a complete plugin in its docstring would be a name."""
    defined = script("write_hooks.py")
    for name, function in defined["hooks"]().items():
        section = defined["section"](name, function)
        assert "```python\n" in section, name
        assert f"def {name}():" in section


def test_no_backend_library_is_imported_for_the_table():
    """Records are enough, whatever the engines wrap."""
    code = (
        "import json, runpy, sys\n"
        f"page = runpy.run_path({str(ROOT / 'docs' / 'write_engines.py')!r})\n"
        "modules = page['plugin_modules']()\n"
        "page['page']()\n"
        "requires = sorted({name for module in modules.values() for hook in dir(module)"
        " if hook.startswith('cachewright_') for info in getattr(module, hook)()"
        " for name in getattr(info, 'requires', ())})\n"
        "print(json.dumps([requires, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    requires, imported = json.loads(done.stdout)
    assert requires
    wrapped = {name.replace("-", "_").lower() for name in requires}
    assert wrapped & set(imported) == set()

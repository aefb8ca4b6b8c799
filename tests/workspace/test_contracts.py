"""The import contracts speak of every plugin, and of what no import graph shows."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
LINTER = TOOLS["importlinter"]
CONTRACTS = {contract["id"]: contract for contract in LINTER["contracts"]}
PLUGINS = {f"cachewright_{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml")}
SOURCES = sorted((ROOT / "core" / "src" / "cachewright").rglob("*.py"))


def named_in(place):
    """Return the plugins that a part of the contracts names."""
    parts = {
        "root packages": LINTER["root_packages"],
        "acyclic": CONTRACTS["acyclic"]["ancestors"],
        "apart": CONTRACTS["plugins-apart"]["modules"],
        "contract": CONTRACTS["plugins-contract"]["source_modules"],
    }
    return set(parts[place]) - {"cachewright"}


@pytest.mark.parametrize("place", ["root packages", "acyclic", "apart", "contract"])
def test_contracts_name_every_plugin(place):
    """A plugin that no contract names would be free to import anything."""
    assert named_in(place) == PLUGINS


def test_uv_takes_every_package_from_the_workspace():
    """A package that uv would look for in the index would be another version than the one beside it."""
    named = {name.replace("-", "_") for name in TOOLS["uv"]["sources"]}
    assert named == PLUGINS | {"cachewright"}


def test_layers_are_exhaustive():
    """A new module of the core needs a floor."""
    assert CONTRACTS["layers"]["exhaustive"] is True


# a serializer's own module, loaded when its data is met
OWN_LIBRARY = {"arrays.py": {"numpy"}}


def imported_at_import(tree):
    """Yield the top-level packages that a module imports when it is imported."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            checking = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            waiting += node.orelse if checking else list(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "core" / "src")))
def test_modules_of_the_core_import_only_what_is_installed(path):
    """At import a module needs the standard library and pluggy; the kit needs pytest and hypothesis."""
    allowed = {*sys.stdlib_module_names, "cachewright", "pluggy"}
    if "testing" in path.parts:
        allowed |= {"hypothesis", "pytest", "_pytest"}
    if path.parent.name == "builtin":
        allowed |= OWN_LIBRARY.get(path.name, set())
    assert set(imported_at_import(ast.parse(path.read_text(encoding="utf-8")))) <= allowed


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        ("import numpy.linalg", {"numpy"}),
        ("try:\n    from redis import Redis\nexcept ImportError:\n    pass", {"redis"}),
        ("class A:\n    import redis", {"redis"}),
        ("def f():\n    import numpy", set()),
        ("if TYPE_CHECKING:\n    import numpy\nelse:\n    import redis", {"redis"}),
        ("with x:\n    import numpy", {"numpy"}),
    ],
)
def test_imports_at_import_are_found(text, packages):
    """Wherever a module-level import hides, the test above sees it."""
    assert set(imported_at_import(ast.parse(text))) == packages

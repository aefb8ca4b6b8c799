"""Plugin packages differ where their backends do, and nowhere else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOLDERS = sorted(path for path in (ROOT / "plugins").iterdir() if path.is_dir())
CONTRACTS = ("engine.py", "*_engine.py", "aio.py", "serializer.py", "keymaker.py", "*codec.py", "cipher.py")
STORED = ("serializer.py", "keymaker.py", "*codec.py", "cipher.py")


def train(version: str) -> str:
    """Return MAJOR.MINOR, which all packages share."""
    return ".".join(version.split(".")[:2])


def next_train(version: str) -> str:
    """Return the MAJOR.MINOR that follows."""
    major, minor = version.split(".")[:2]
    return f"{major}.{int(minor) + 1}"


def findings(folder: Path) -> list[str]:
    """Return how a plugin's folder departs from the one shape; empty if it does not."""
    package = f"cachewright_{folder.name}"
    source = folder / "src" / package
    wanted = [
        *(folder / name for name in ("pyproject.toml", "README.md", "tests/test_conformance.py")),
        *(source / name for name in ("__init__.py", "plugin.py", "py.typed")),
    ]
    missing = [f"no {path.relative_to(folder)}" for path in wanted if not path.is_file()]
    if missing:
        return missing
    return [
        *strangers(folder, package),
        *files(folder, source),
        *metadata(folder),
        *light(source / "plugin.py"),
    ]


def visible(folder: Path) -> list[str]:
    """Return the names in a folder, without what tools leave there."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith((".", "__pycache__")))


def strangers(folder: Path, package: str) -> list[str]:
    """Return what lies beside the fixed names."""
    known = {"pyproject.toml", "README.md", "src", "tests", "build", "dist"}
    found = [f"unknown {name}" for name in visible(folder) if name not in known]
    return found + [f"unknown src/{name}" for name in visible(folder / "src") if name != package]


def files(folder: Path, source: Path) -> list[str]:
    """Return what the source lacks, or tests that are a package or prove no golden bytes."""
    found = []
    if not any(any(source.glob(name)) for name in CONTRACTS):
        found.append(f"implements nothing: none of {', '.join(CONTRACTS)}")
    stored = any(any(source.glob(name)) for name in STORED)
    if stored and not any(path.is_file() for path in (folder / "tests" / "golden").rglob("*")):
        found.append("stores bytes of its own, but has no tests/golden")
    if not len((folder / "README.md").read_text(encoding="utf-8").strip()):
        found.append("empty README.md")
    return found


def metadata(folder: Path) -> list[str]:
    """Return how the metadata departs."""
    document = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    project = document["project"]
    name, version = folder.name, CORE["version"]
    pairs = [
        ("build-backend", document["build-system"]["build-backend"], "hatchling.build"),
        ("name", project["name"], f"cachewright-{name.replace('_', '-')}"),
        ("train", train(project["version"]), train(version)),
        ("license", project["license"], "MIT"),
        ("readme", project["readme"], "README.md"),
        ("requires-python", project["requires-python"], CORE["requires-python"]),
        ("entry point", project["entry-points"]["cachewright"], {name: f"cachewright_{name}.plugin"}),
        (
            "wheel",
            document["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
            [f"src/cachewright_{name}"],
        ),
    ]
    found = [f"{what} is {is_!r}, not {should!r}" for what, is_, should in pairs if is_ != should]
    within = f"cachewright>={train(version)},<{next_train(version)}"
    if within not in project["dependencies"]:
        found.append(f"does not depend on {within}")
    if any("==" in requirement for requirement in project["dependencies"]):
        found.append("pins a dependency with ==")
    kit = f"cachewright[testing]{within.removeprefix('cachewright')}"
    if kit not in project.get("optional-dependencies", {}).get("test", []):
        found.append("extra `test` lacks the conformance kit")
    if "Typing :: Typed" not in project["classifiers"]:
        found.append("is not classified as typed")
    return found


def light(module: Path) -> list[str]:
    """Return what the plugin module, which is imported to list engines, imports but must not."""
    allowed = {*sys.stdlib_module_names, "cachewright", module.parent.name}
    found = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [f"plugin.py imports {name}" for name in names if name.split(".")[0] not in allowed]
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_plugin_has_the_one_shape(folder):
    """Every folder under plugins is a complete plugin package."""
    assert findings(folder) == []


def test_plugins_are_found():
    """A checkout without plugins would make the other tests say nothing."""
    assert FOLDERS


PYPROJECT = """
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"
[project]
name = "cachewright-shelf"
version = "{version}"
license = "MIT"
readme = "README.md"
requires-python = "{python}"
classifiers = ["Typing :: Typed"]
dependencies = ["cachewright{within}", "shelf>=1"]
[project.optional-dependencies]
test = ["cachewright[testing]{within}"]
[project.entry-points.cachewright]
shelf = "cachewright_shelf.plugin"
[tool.hatch.build.targets.wheel]
packages = ["src/cachewright_shelf"]
"""


@pytest.fixture
def shelf(tmp_path):
    """A plugin of the right shape, to be spoiled."""
    version = CORE["version"]
    folder = tmp_path / "shelf"
    texts = {
        "pyproject.toml": PYPROJECT.format(
            version=version,
            python=CORE["requires-python"],
            within=f">={train(version)},<{next_train(version)}",
        ),
        "README.md": "# cachewright-shelf\n",
        "tests/test_conformance.py": "",
        "src/cachewright_shelf/__init__.py": "",
        "src/cachewright_shelf/py.typed": "",
        "src/cachewright_shelf/engine.py": "import shelf\n",
        "src/cachewright_shelf/plugin.py": "from cachewright.engine import EngineInfo\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    assert findings(folder) == []
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "pyproject.toml",
        "README.md",
        "tests/test_conformance.py",
        "src/cachewright_shelf/__init__.py",
        "src/cachewright_shelf/plugin.py",
        "src/cachewright_shelf/py.typed",
        "src/cachewright_shelf/engine.py",
    ],
)
def test_missing_file_is_found(shelf, name):
    """Without any one of its files a plugin has not the shape."""
    (shelf / name).unlink()
    assert findings(shelf) != []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "cachewright-shelf"', 'name = "shelf-cachewright"'),
        ('version = "', 'version = "9'),
        ('license = "MIT"', 'license = "BSD-3-Clause"'),
        ('requires-python = "', 'requires-python = "!=3.12.0,'),
        ('shelf = "cachewright_shelf.plugin"', 'shelf = "cachewright_shelf.engine"'),
        ('shelf = "cachewright_shelf.plugin"', 'ledge = "cachewright_shelf.plugin"'),
        ("hatchling.build", "setuptools.build_meta"),
        ('dependencies = ["cachewright', 'dependencies = ["cachewright>=0,'),
        ("shelf>=1", "shelf==1"),
        ('test = ["cachewright[testing]', 'test = ["pytest'),
        ("[project.optional-dependencies]", "[tool.other]"),
        ("Typing :: Typed", "Typing :: Stubs Only"),
        ("src/cachewright_shelf", "src/shelf"),
    ],
)
def test_deviating_metadata_is_found(shelf, old, new):
    """Each fact of the metadata that all plugins share is compared."""
    file = shelf / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert len(findings(shelf)) == 1


@pytest.mark.parametrize(
    "line", ["import shelf", "from shelf.api import Shelf", "def late():\n    import shelf\n"]
)
def test_backend_library_in_plugin_module_is_found(shelf, line):
    """Listing engines must import no backend library, not even inside a function."""
    (shelf / "src" / "cachewright_shelf" / "plugin.py").write_text(line, encoding="utf-8")
    assert len(findings(shelf)) == 1


@pytest.mark.parametrize("name", ["setup.py", "src/shelf", "docs"])
def test_stranger_is_found(shelf, name):
    """Nothing lies beside the fixed names."""
    (shelf / name).mkdir()
    assert findings(shelf) == [f"unknown {name}"]


@pytest.mark.parametrize("name", ["serializer.py", "keymaker.py", "shelf_codec.py", "cipher.py"])
def test_format_without_golden_bytes_is_found(shelf, name):
    """Serializers, key makers, codecs and ciphers leave golden bytes, or nobody would notice a change."""
    (shelf / "src" / "cachewright_shelf" / name).touch()
    assert re.search("golden", "".join(findings(shelf)))
    (shelf / "tests" / "golden").mkdir()
    (shelf / "tests" / "golden" / "v1.bin").touch()
    assert findings(shelf) == []

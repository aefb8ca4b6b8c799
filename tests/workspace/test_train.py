"""All packages travel on one train, and the core's extras name all of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted([ROOT / "core", *(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))])
PLUGINS = {path.name for path in PACKAGES} - {"core"}

# known security holes without a fix; whoever wants one names it
NOT_IN_ALL = {"diskcache"}
NOT_PLUGINS = {"all", "cli", "fast", "testing"}


def project(folder: Path) -> dict:
    """Return the [project] table of a package."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_versions_share_major_and_minor():
    """Patches are free, MAJOR.MINOR is not."""
    trains = {folder.name: project(folder)["version"].rsplit(".", 1)[0] for folder in PACKAGES}
    assert set(trains.values()) == {trains["core"]}


def test_core_states_its_version_once_more_and_alike():
    """``cachewright.__version__`` is the version of the distribution."""
    text = (ROOT / "core" / "src" / "cachewright" / "__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{project(ROOT / "core")["version"]}"' in text


def test_core_depends_on_two_libraries():
    """A bare installation brings pluggy and platformdirs and nothing else."""
    names = {requirement.split(">")[0] for requirement in project(ROOT / "core")["dependencies"]}
    assert names == {"pluggy", "platformdirs"}


def test_every_plugin_is_an_extra_of_the_core():
    """``pip install "cachewright[redis]"`` works for every plugin, within the train."""
    core = project(ROOT / "core")
    extras = core["optional-dependencies"]
    major, minor, _ = core["version"].split(".")
    within = f">={major}.{minor},<{major}.{int(minor) + 1}"
    assert set(extras) - NOT_PLUGINS == PLUGINS
    assert {name: extras[name] for name in PLUGINS} == {
        name: [f"cachewright-{name}{within}"] for name in PLUGINS
    }


def test_extra_all_is_all_but_the_unsafe():
    """``cachewright[all]`` leaves out only what has a known hole, and the kit; it brings every engine."""
    extras = project(ROOT / "core")["optional-dependencies"]
    everything, *more = extras["all"]
    assert more == ["cachewright-aiocache[memcached]", "cachewright-klepto[sqltable]"]
    named = set(everything.removeprefix("cachewright[").removesuffix("]").split(","))
    assert named == (PLUGINS - NOT_IN_ALL) | {"cli", "fast"}


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_readme_command_names_what_exists(folder):
    """Every package is installable from the checkout by its folder."""
    assert (folder / "README.md").is_file()

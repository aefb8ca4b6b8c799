"""A candidate is an installed plugin distribution to be examined, with its project if that is known."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from cachewright.errors import ConfigurationError
from cachewright.registry import Registry

GROUP: Final = "cachewright"
CONFORMANCE: Final = Path("tests") / "test_conformance.py"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin distribution.

    Attributes:
        installed: its metadata.
        folder: its project, ``None`` where only the name was given.
    """

    installed: Distribution
    folder: Path | None = None

    @classmethod
    def find(cls, target: str) -> Candidate:
        """Return the candidate that a path, or the name of a distribution or of a plugin, means.

        Raises:
            ConfigurationError: there is none, or it is not installed.
        """
        folder = Path(target)
        if (folder / "pyproject.toml").is_file():
            name = _project(folder).get("name")
            if not isinstance(name, str):
                raise ConfigurationError(
                    "PATH", target, "a project whose pyproject.toml has a [project] name"
                )
            return cls(
                _installed(name, f"an installed project; try: python -m pip install -e {folder}"), folder
            )
        if folder.is_dir():
            raise ConfigurationError("PATH", target, "a folder with a pyproject.toml")
        expected = "a project folder, or the name of an installed plugin distribution"
        try:
            return cls(distribution(target))
        except (PackageNotFoundError, ValueError):
            return cls(_installed(f"{GROUP}-{target}", expected, shown=target))

    @property
    def name(self) -> str:
        """Name of the distribution."""
        return self.installed.name

    @property
    def own_tests(self) -> Path | None:
        """The author's subclasses of the kits, where there are any."""
        if self.folder is None or not (self.folder / CONFORMANCE).is_file():
            return None
        return CONFORMANCE

    def modules(self) -> list[str]:
        """Return the plugin modules that its entry points name."""
        return [point.module for point in self.installed.entry_points.select(group=GROUP)]

    def registry(self) -> Registry:
        """Return a registry with its plugins alone.

        Raises:
            Exception: a plugin module cannot be imported, or is no usable plugin; it is foreign code.
        """
        registry = Registry(entry_points=False, disabled=())
        for point in self.installed.entry_points.select(group=GROUP):
            registry.register(point.load(), point.name)
        return registry

    def departures(self) -> list[str]:
        """Return how what is installed departs from the folder; what is checked is what is installed."""
        if self.folder is None:
            return []
        found: list[str] = []
        points = {point.name: point.value for point in self.installed.entry_points.select(group=GROUP)}
        project = _project(self.folder)
        written = project.get("entry-points", {}).get(GROUP, {})
        if "entry-points" not in project.get("dynamic", ()) and written != points:
            found.append(f"pyproject.toml has the entry points {written}, what is installed has {points}")
        for module in self.modules():
            package = module.partition(".")[0]
            source = self.folder / "src" / package
            if source.is_dir() and _differs(source, package):
                found.append(f"the installed {package} is a copy that differs from {source}")
        return found


def _project(folder: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError(
            "PATH", str(folder), f"a pyproject.toml that can be read ({error})"
        ) from error
    project: dict[str, Any] = document.get("project", {})
    return project


def _installed(name: str, expected: str, *, shown: str = "") -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise ConfigurationError("PATH", shown or name, expected) from None


def _differs(source: Path, package: str) -> bool:
    spec = find_spec(package)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    for place in map(Path, places):
        if place.resolve() == source.resolve():
            return False
        files = {path.relative_to(source) for path in source.rglob("*.py")}
        if all(_same(source / path, place / path) for path in files):
            return False
    return bool(places)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()

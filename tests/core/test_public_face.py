"""The public names, and what importing them costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import cachewright

HEAVY = (
    "asyncio", "sqlite3", "pluggy", "platformdirs", "importlib.metadata", "inspect", "dataclasses",
    "cachebox", "cachetools", "redis", "dill", "numpy", "pandas", "rich",
)  # fmt: skip


def loaded_by(source: str) -> dict[str, object]:
    """Run ``source`` in a fresh interpreter; return its modules and its number of threads."""
    report = (
        "\nimport json as _j, sys as _s, threading as _t\n"
        "print(_j.dumps({'modules': sorted(_s.modules), 'threads': _t.active_count()}))"
    )
    done = subprocess.run([sys.executable, "-c", source + report], capture_output=True, text=True, check=True)
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize(
    "source", ["import cachewright", "from cachewright import cached\n@cached\ndef f(x): return x\n"]
)
def test_importing_and_decorating_loads_nothing_heavy_and_starts_no_thread(source):
    """No backend library, no plugin system, no event loop; discovery waits for the first miss."""
    seen = loaded_by(source)
    assert [name for name in HEAVY if name in seen["modules"]] == []
    assert seen["threads"] == 1


def test_calling_a_function_in_memory_loads_no_backend_library():
    """Ranking plugins reads records; only the chosen engine's module is imported."""
    source = (
        "from cachewright import cached\n@cached(engine='memory')\ndef f(x): return x\nf(1); f.explain()\n"
    )
    modules = loaded_by(source)["modules"]
    assert [
        name for name in ("cachebox", "cachetools", "redis", "dill", "numpy", "sqlite3") if name in modules
    ] == []


def test_every_public_name_exists_and_dir_lists_it():
    """__all__ is the public face."""
    for name in cachewright.__all__:
        assert getattr(cachewright, name) is not None
    assert set(cachewright.__all__) <= set(dir(cachewright))


def test_an_unknown_name_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="nothing"):
        _ = cachewright.nothing

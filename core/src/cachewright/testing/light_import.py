"""A plugin announces itself light if asking it for its records imports no backend library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions

SCRIPT = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
plugin = importlib.import_module(sys.argv[2])
for hook in ("engines", "serializers", "keymakers", "codecs", "ciphers"):
    list(getattr(plugin, f"cachewright_{hook}", list)())
print(json.dumps(sorted(sys.modules)))
"""


def modules_imported_by(plugin: str) -> frozenset[str]:
    """Return every module that importing ``plugin`` and calling its hooks imports, in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(sys.path), plugin],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        message = f"plugin module {plugin!r} cannot be imported: {done.stderr[-2000:]}"
        raise AssertionError(message)
    return frozenset(json.loads(done.stdout))


def backends_imported_by(plugin: str, requires: Iterable[str]) -> list[str]:
    """Return the top-level modules of the required distributions that announcing ``plugin`` imports."""
    wanted = {_normal(name) for name in requires}
    backends = {
        module
        for module, distributions in packages_distributions().items()
        if wanted & {_normal(name) for name in distributions}
    }
    return sorted(backends & modules_imported_by(plugin))


def _normal(distribution: str) -> str:
    return distribution.lower().replace("_", "-").replace(".", "-")

"""The process under the freshness probe; reads its order from standard input, and reports in JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cachewright.testing.freshness_processes import Subject


def loaded(target: str) -> Callable[..., Subject]:
    """Return the function that ``"package.module:function"`` or ``"file.py:function"`` names."""
    place, _, name = target.rpartition(":")
    module = imported(place) if place.endswith(".py") else import_module(place)
    found: Callable[..., Subject] = getattr(module, name)
    return found


def imported(file: str) -> ModuleType:
    """Import a file as the module of its name."""
    spec = spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # a decorated function looks for its module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Do as the order says: open the subject, wait for the others, probe, report."""
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    sys.path[:] = order["path"]
    from cachewright.testing.freshness_probe import FreshnessPlan, probe_freshness  # noqa: PLC0415 - path first
    from cachewright.testing.versioned_source import VersionedSource  # noqa: PLC0415 - as above

    source = VersionedSource(order["keys"], path=Path(order["source"]))
    subject = loaded(order["target"])(source, **order["arguments"])
    say("ready")
    sys.stdin.readline()
    report = probe_freshness(subject.read, source, subject.invalidate, FreshnessPlan(**order["plan"]))
    subject.close()
    facts = {name: getattr(report, name) for name in type(report).__slots__}
    say(json.dumps(facts))
    source.close()


def say(line: str) -> None:
    """Write a line that the parent waits for."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

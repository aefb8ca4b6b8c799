"""The dill serializer of cachewright: lambdas, closures, local classes; diagnoses; snapshots of variables."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in the core: announcing the plugin has to import next to nothing
if TYPE_CHECKING:
    from cachewright_dill.culprit import Culprit
    from cachewright_dill.serializer import diagnose
    from cachewright_dill.variables import SnapshotReport, Variables, pack, restore, snapshot

__all__ = ["Culprit", "SnapshotReport", "Variables", "diagnose", "pack", "restore", "snapshot"]

_HOMES = {"Culprit": "culprit", "diagnose": "serializer"}


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562): announcing the plugin must not import dill."""
    if name in __all__:
        home = f"{__name__}.{_HOMES.get(name, 'variables')}"
        value = globals()[name] = getattr(import_module(home), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

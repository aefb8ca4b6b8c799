"""A fitting is the set of kits that a plugin's records call for, made for who has written no test yet."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cachewright import testing
from cachewright.engine import EngineConfig, EngineInfo
from cachewright.errors import UnserializableError
from cachewright.registry import Registry
from cachewright.serializer import SerializerInfo
from cachewright.testing.candidate import Candidate
from cachewright.testing.kit import Kit

KITS: Final = (
    *("EngineKit", "AsyncEngineKit", "SerializerKit", "KeyMakerKit", "CodecKit", "CipherKit"),
    "PluginKit",
)
"""The kits for authors by name: one imports libraries of values that another has no use for."""

MOST_ACCEPTED: Final = 12


@dataclass(frozen=True, slots=True)
class Fit:
    """A kit and what it is for: the name of a record, or of a distribution."""

    kit: str
    subject: str


def fits(registry: Registry, distribution: str) -> dict[Fit, Any]:
    """Return the kits that fit the records of a plugin, each with its record; none for the packaging."""
    found: dict[Fit, Any] = {}
    for info in registry.engines().values():
        if info.capabilities.sync:
            found[Fit("EngineKit", info.name)] = info
        if info.capabilities.async_:
            found[Fit("AsyncEngineKit", info.name)] = info
    for kit, infos in (
        ("SerializerKit", registry.serializers()),
        ("KeyMakerKit", registry.keymakers()),
        ("CodecKit", registry.codecs()),
        ("CipherKit", registry.ciphers()),
    ):
        found |= {Fit(kit, name): info for name, info in infos.items()}
    return {**found, Fit("PluginKit", distribution): None}


def fit_of(test_class: type) -> Fit | None:
    """Return which kit a test class is, and for what; ``None`` if it is none of a whole kit."""
    bases = {
        base.__name__ for base in test_class.__mro__ if base.__module__.startswith(f"{testing.__name__}.")
    }
    for name in bases.intersection(KITS):
        info: Any = getattr(test_class, "info", None)
        subject: str = getattr(test_class, "distribution", "") if name == "PluginKit" else info.name
        return Fit(name, subject)
    return None


def needs_url(info: object) -> bool:
    """Tell whether nobody but the author knows where the engine's server is."""
    return isinstance(info, EngineInfo) and info.capabilities.scope == "network"


def fitted_classes(
    distribution: str, *, leave_out: Collection[tuple[str, str]], url: str
) -> dict[str, type[Kit]]:
    """Return a test class for every kit that fits and is not left out, by its name.

    Args:
        distribution: name of the installed distribution.
        leave_out: (kit, subject) pairs that the author's own tests cover.
        url: what engines on a network are opened with; without, they are left out.
    """
    made: dict[str, type[Kit]] = {}
    for fit, info in fits(Candidate.find(distribution).registry(), distribution).items():
        if (fit.kit, fit.subject) in leave_out or (needs_url(info) and not url):
            continue
        attributes: dict[str, Any] = {"distribution": distribution} if info is None else {"info": info}
        if isinstance(info, SerializerInfo):
            attributes["accepts"] = accepted_by(info)
        if isinstance(info, EngineInfo) and needs_url(info):
            attributes |= {"make_config": _opens(url), "clocked_by_server": info.capabilities.ttl_per_entry}
        name = "Test" + "".join(part.capitalize() for part in fit.subject.replace("-", "_").split("_"))
        made[name + fit.kit] = type(name + fit.kit, (getattr(testing, fit.kit),), attributes)
    return made


def accepted_by(info: SerializerInfo) -> tuple[object, ...]:
    """Return some of the kit's specimens that the serializer does not refuse."""
    from cachewright.testing.specimens import specimens  # noqa: PLC0415 - imports libraries of values

    serializer = info.load()()
    found: list[object] = []
    for name in sorted(specimens()):
        value = specimens()[name]()
        try:
            serializer.dumps(value)
        except UnserializableError:
            continue
        except Exception:  # noqa: BLE001 - foreign code; the kit reports what it should not have raised
            continue
        found.append(value)
    return tuple(found[:: max(1, len(found) // MOST_ACCEPTED)])


def _opens(url: str) -> Any:
    def make_config(self: object, tmp_path: Path) -> EngineConfig:
        del self
        return EngineConfig(url=url, path=tmp_path / "store")

    return make_config

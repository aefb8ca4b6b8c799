"""A catalog is what all plugins offer, checked, with every name settled: usable, missing or claimed twice.

Pure: the registry asks the plugins and looks distributions up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cachewright.cipher import CipherInfo
from cachewright.codec import CodecInfo
from cachewright.engine import EngineInfo
from cachewright.events import Listener
from cachewright.keymaker import KeyMakerInfo
from cachewright.serializer import SerializerInfo

State: TypeAlias = Literal["ok", "broken", "disabled", "missing requirement"]
Kind: TypeAlias = Literal["engine", "serializer", "key maker", "codec", "cipher"]
Record: TypeAlias = EngineInfo | SerializerInfo | KeyMakerInfo | CodecInfo | CipherInfo

KNOWN_PLUGINS = frozenset((
    "aiocache", "arrays", "arrow", "cachebox", "cachetools", "compress", "crypto", "dill", "diskcache",
    "joblib", "klepto", "lmdb", "msgspec", "redis",
))  # fmt: skip
"""Plugins of this project, each to be installed as ``cachewright-<name>``."""

_PROVIDED_BY = {
    "aes-gcm": "cachewright-crypto",
    "blosc2": "cachewright-compress[blosc2]",
    "lz4": "cachewright-compress",
    "zstd": "cachewright-compress",
}
"""What to install for a codec or a cipher of this project."""

DISABLED = "disabled by the setting disabled_plugins (CACHEWRIGHT_DISABLED_PLUGINS)"
"""Reason in the row of a plugin that was left out on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginStatus:
    """A row about one plugin.

    Attributes:
        name: name of its entry point, or the one it was registered under.
        distribution: what installed it; empty if it was registered by the program.
        version: version of the distribution.
        state: ok, broken, disabled or missing requirement.
        reason: what is wrong; empty if nothing is.
        engines: names of its usable engines.
        serializers: names of its usable serializers.
        keymakers: names of its usable key makers.
        codecs: names of its usable codecs.
        ciphers: names of its usable ciphers.
    """

    name: str
    distribution: str = ""
    version: str = ""
    state: State = "ok"
    reason: str = ""
    engines: tuple[str, ...] = ()
    serializers: tuple[str, ...] = ()
    keymakers: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one plugin answered, or why it has no say."""

    name: str
    distribution: str = ""
    version: str = ""
    builtin: bool = False
    state: Literal["ok", "broken", "disabled"] = "ok"
    reason: str = ""
    engines: tuple[EngineInfo, ...] = ()
    serializers: tuple[SerializerInfo, ...] = ()
    keymakers: tuple[KeyMakerInfo, ...] = ()
    codecs: tuple[CodecInfo, ...] = ()
    ciphers: tuple[CipherInfo, ...] = ()
    listeners: tuple[Listener, ...] = ()

    def records(self) -> list[tuple[Kind, Record]]:
        """Return every record with its kind."""
        return [
            *(("engine", info) for info in self.engines),
            *(("serializer", info) for info in self.serializers),
            *(("key maker", info) for info in self.keymakers),
            *(("codec", info) for info in self.codecs),
            *(("cipher", info) for info in self.ciphers),
        ]

    def __str__(self) -> str:
        return f"{self.distribution} (plugin {self.name!r})" if self.distribution else f"plugin {self.name!r}"


@dataclass(slots=True, kw_only=True)
class Catalog:
    """Every name, settled; built once and then only read."""

    plugins: tuple[PluginStatus, ...] = ()
    engines: dict[str, EngineInfo] = field(default_factory=dict[str, EngineInfo])
    serializers: dict[str, SerializerInfo] = field(default_factory=dict[str, SerializerInfo])
    keymakers: dict[str, KeyMakerInfo] = field(default_factory=dict[str, KeyMakerInfo])
    codecs: dict[str, CodecInfo] = field(default_factory=dict[str, CodecInfo])
    ciphers: dict[str, CipherInfo] = field(default_factory=dict[str, CipherInfo])
    listeners: tuple[Listener, ...] = ()
    missing: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    conflicts: dict[tuple[str, str], tuple[str, ...]] = field(
        default_factory=dict[tuple[str, str], tuple[str, ...]]
    )

    def unavailable(self) -> dict[str, str]:
        """Return the engines that cannot be used, each with the reason."""
        reasons = {row.name: f"broken: {row.reason}" for row in self.plugins if row.state == "broken"}
        for (kind, name), why in self.missing.items():
            if kind == "engine":
                reasons[name] = why
        for (kind, name), claimants in self.conflicts.items():
            if kind == "engine":
                reasons[name] = f"claimed by {' and by '.join(claimants)}"
        usable = {*self.engines, *self.serializers, *self.keymakers, *self.codecs, *self.ciphers}
        return {name: reason for name, reason in sorted(reasons.items()) if name not in usable}

    def add(self, record: Record) -> None:
        """Make a record usable."""
        match record:
            case EngineInfo():
                self.engines[record.name] = record
            case SerializerInfo():
                self.serializers[record.name] = record
            case KeyMakerInfo():
                self.keymakers[record.name] = record
            case CodecInfo():
                self.codecs[record.name] = record
            case CipherInfo():
                self.ciphers[record.name] = record


def build_catalog(offers: Sequence[Offer], absent: Callable[[str], bool]) -> Catalog:
    """Settle who provides what.

    A name claimed by several plugins belongs to nobody, unless one of them is built in. The same
    holds for a code, which marks stored payloads.

    Args:
        offers: one per plugin.
        absent: tells whether a distribution is not installed.
    """
    catalog = Catalog(conflicts=_conflicts(offers))
    rows = [_settle(offer, catalog, absent) for offer in offers]
    catalog.plugins = tuple(sorted(rows, key=lambda row: (row.name, row.distribution)))
    catalog.listeners = tuple(listener for offer in offers for listener in offer.listeners)
    return catalog


def _conflicts(offers: Sequence[Offer]) -> dict[tuple[str, str], tuple[str, ...]]:
    claims: defaultdict[tuple[str, str], list[Offer]] = defaultdict(list)
    codes: defaultdict[tuple[Kind, int], list[tuple[str, Offer]]] = defaultdict(list)
    for offer in offers:
        for kind, record in offer.records():
            claims[kind, record.name].append(offer)
            if isinstance(record, SerializerInfo | CodecInfo | CipherInfo):
                codes[kind, record.code].append((record.name, offer))
    for (kind, _), claimed in codes.items():
        if len({name for name, _ in claimed}) > 1:
            for name, _ in claimed:
                claims[kind, name] = [offer for _, offer in claimed]
    return {
        claim: tuple(map(str, claimants)) for claim, claimants in sorted(claims.items()) if len(claimants) > 1
    }


def _settle(offer: Offer, catalog: Catalog, absent: Callable[[str], bool]) -> PluginStatus:
    """Enter the records of one plugin that can be used, and return the row about it."""
    faults: list[str] = []
    missing: list[str] = []
    usable: dict[Kind, list[str]] = {
        "engine": [], "serializer": [], "key maker": [], "codec": [], "cipher": []
    }  # fmt: skip
    for kind, record in offer.records():
        claimants = catalog.conflicts.get((kind, record.name), ())
        lacking = [name for name in record.requires if absent(name)]
        if claimants and not offer.builtin:
            others = " and by ".join(name for name in claimants if name != str(offer)) or "itself"
            faults.append(f"{kind} {record.name!r} is also claimed, by name or code, by {others}")
        elif lacking:
            install = record.install or " ".join(lacking)
            reason = f"not installed: {', '.join(lacking)}; try: pip install {install}"
            catalog.missing[kind, record.name] = reason
            missing.append(reason)
        else:
            catalog.add(record)
            usable[kind].append(record.name)
    state: State = offer.state
    if any(usable.values()):
        missing = []  # an extra that was not asked for; who asks for its record by name is told
    if state == "ok" and (faults or missing):
        state = "broken" if faults else "missing requirement"
    return PluginStatus(
        name=offer.name,
        distribution=offer.distribution,
        version=offer.version,
        state=state,
        reason=offer.reason or "; ".join(dict.fromkeys(faults + missing)),
        engines=tuple(usable["engine"]),
        serializers=tuple(usable["serializer"]),
        keymakers=tuple(usable["key maker"]),
        codecs=tuple(usable["codec"]),
        ciphers=tuple(usable["cipher"]),
    )


def hint_for(name: str, found: Collection[str], catalog: Catalog) -> str:
    """Return what would help somebody who asked for a name in vain."""
    if any(row.name == name and row.state == "disabled" for row in catalog.plugins):
        return f"plugin {name!r} is {DISABLED}"
    if name in _PROVIDED_BY:
        return f"try: pip install {_PROVIDED_BY[name]}"
    if name in KNOWN_PLUGINS:
        return f"try: pip install cachewright-{name}"
    from difflib import get_close_matches  # noqa: PLC0415 - needed for this message only

    near = get_close_matches(name.lower(), sorted({*found, *KNOWN_PLUGINS}), n=1)
    if not near:
        return ""
    return f"did you mean {near[0]!r}?" if near[0] in found else f"try: pip install cachewright-{near[0]}"

"""The registry knows the installed plugins; it alone talks to pluggy and to importlib.metadata.

Nothing is discovered before the first question. A plugin that cannot be used is left out with a
warning and a row in :meth:`Registry.plugins`; it never harms the others. Answers are records:
neither discovering nor listing imports a backend library.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from importlib import import_module
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeVar

from cachewright.catalog import DISABLED, Catalog, Offer, PluginStatus, build_catalog, hint_for
from cachewright.cipher import CipherInfo
from cachewright.codec import CodecInfo
from cachewright.config import Settings
from cachewright.engine import EngineInfo
from cachewright.errors import (
    BrokenPluginWarning,
    PluginConflictError,
    PluginLoadError,
    UnknownCipherError,
    UnknownCodecError,
    UnknownEngineError,
    UnknownKeyMakerError,
    UnknownPluginError,
    UnknownSerializerError,
)
from cachewright.events import Listener
from cachewright.keymaker import KeyMakerInfo
from cachewright.records import BadRecordError, checked_listeners, checked_records, listed
from cachewright.serializer import SerializerInfo

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["PluginStatus", "Registry", "default_registry"]

BUILTIN = "cachewright.builtin.plugin"
"""Module of the built-in plugin; its names cannot be taken by others."""

_HOOKS = (
    "cachewright_engines",
    "cachewright_serializers",
    "cachewright_keymakers",
    "cachewright_codecs",
    "cachewright_ciphers",
    "cachewright_listeners",
)
_FUNCTIONS = (FunctionType, MethodType)

Info = TypeVar("Info", EngineInfo, SerializerInfo, KeyMakerInfo, CodecInfo, CipherInfo)


class Registry:
    """The plugins of this process; safe to be used by several threads.

    Args:
        entry_points: whether to look for installed plugins. Without, the registry holds exactly
            what was registered, and not even the built-in plugin.
        disabled: names of plugins, or of their distributions, to leave out; default: the setting
            ``disabled_plugins``, read at discovery.
    """

    def __init__(self, *, entry_points: bool = True, disabled: Collection[str] | None = None) -> None:
        self._entry_points = entry_points
        self._disabled = (disabled,) if isinstance(disabled, str) else disabled
        self._lock = threading.RLock()
        self._registered: dict[str, Offer] = {}
        self._objects: dict[str, object] = {}
        self._installed: tuple[Offer, ...] | None = None
        self._catalog: Catalog | None = None
        self._building = False
        self._warned: set[tuple[str, str]] = set()

    def engines(self) -> dict[str, EngineInfo]:
        """Return the usable engines by name."""
        return dict(self._ready().engines)

    def serializers(self) -> dict[str, SerializerInfo]:
        """Return the usable serializers by name."""
        return dict(self._ready().serializers)

    def keymakers(self) -> dict[str, KeyMakerInfo]:
        """Return the usable key makers by name."""
        return dict(self._ready().keymakers)

    def codecs(self) -> dict[str, CodecInfo]:
        """Return the usable codecs by name."""
        return dict(self._ready().codecs)

    def ciphers(self) -> dict[str, CipherInfo]:
        """Return the usable ciphers by name."""
        return dict(self._ready().ciphers)

    def listeners(self) -> tuple[Listener, ...]:
        """Return the listeners of all usable plugins."""
        return self._ready().listeners

    def unavailable(self) -> dict[str, str]:
        """Return the engines that cannot be used, by name, each with the reason in a sentence."""
        return self._ready().unavailable()

    def engine(self, name: str) -> EngineInfo:
        """Return the record of an engine.

        Raises:
            UnknownEngineError: no plugin offers it; says what to install.
            PluginConflictError: several plugins claim the name.
            PluginLoadError: the plugin is broken, or lacks a distribution that it requires.
        """
        return self._find("engine", name, lambda catalog: catalog.engines, UnknownEngineError)

    def serializer(self, name: str) -> SerializerInfo:
        """Return the record of a serializer; raises like :meth:`engine`."""
        return self._find("serializer", name, lambda catalog: catalog.serializers, UnknownSerializerError)

    def keymaker(self, name: str) -> KeyMakerInfo:
        """Return the record of a key maker; raises like :meth:`engine`."""
        return self._find("key maker", name, lambda catalog: catalog.keymakers, UnknownKeyMakerError)

    def codec(self, name: str) -> CodecInfo:
        """Return the record of a codec; raises like :meth:`engine`."""
        return self._find("codec", name, lambda catalog: catalog.codecs, UnknownCodecError)

    def cipher(self, name: str) -> CipherInfo:
        """Return the record of a cipher; raises like :meth:`engine`."""
        return self._find("cipher", name, lambda catalog: catalog.ciphers, UnknownCipherError)

    def plugins(self) -> list[PluginStatus]:
        """Return a row for every plugin, usable or not, by name."""
        return list(self._ready().plugins)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin: a module or object with hooks. It counts at once for everyone.

        Args:
            plugin: what an entry point would name.
            name: its name in messages; default: its own.

        Raises:
            PluginLoadError: it is no usable plugin.
            PluginConflictError: another plugin was registered under the name.
        """
        label = name or str(getattr(plugin, "__name__", type(plugin).__name__))
        offer = _offer(Offer(name=label), plugin)
        if offer.state == "broken":
            raise PluginLoadError(label, offer.reason)
        with self._lock:
            if self._objects.get(label, plugin) is not plugin:
                raise PluginConflictError("plugin", label, ("one registered plugin", "another one"))
            self._objects[label] = plugin
            self._registered[label] = offer
            self._catalog = None

    def unregister(self, plugin: object) -> None:
        """Remove a plugin that was registered, given itself or its name; absent ones are ignored."""
        with self._lock:
            for name, known in list(self._objects.items()):
                if known is plugin or (isinstance(plugin, str) and name == plugin):
                    del self._objects[name], self._registered[name]
            self._catalog = None

    def refresh(self) -> None:
        """Forget what was discovered; the next question looks again at what is installed."""
        with self._lock:
            self._installed = None
            self._catalog = None

    def _ready(self) -> Catalog:
        catalog = self._catalog
        if catalog is not None:
            return catalog
        with self._lock:
            if self._building:
                raise PluginLoadError("registry", "a plugin used the registry while it was being discovered")
            self._building = True
            try:
                catalog = self._catalog = self._catalog or self._build()
            finally:
                self._building = False
            news = {(row.name, row.reason) for row in catalog.plugins if row.state == "broken"} - self._warned
            self._warned |= news
        for name, reason in sorted(news):  # outside the lock: a warning filter may raise
            warnings.warn(BrokenPluginWarning(f"plugin {name!r}: {reason}"), stacklevel=3)
        return catalog

    def _build(self) -> Catalog:
        disabled = Settings.resolve().disabled_plugins if self._disabled is None else self._disabled
        if self._installed is None:
            self._installed = _installed(disabled) if self._entry_points else ()
        registered = (
            Offer(name=name, state="disabled", reason=DISABLED) if name in disabled else offer
            for name, offer in self._registered.items()
        )
        return build_catalog([*self._installed, *registered], _is_absent)

    def after_fork(self) -> None:
        """Replace the lock in a child: the thread that held it may not exist there."""
        self._lock = threading.RLock()
        self._building = False

    def _find(
        self,
        kind: str,
        name: str,
        usable: Callable[[Catalog], Mapping[str, Info]],
        unknown: type[UnknownPluginError],
    ) -> Info:
        catalog = self._ready()
        found = usable(catalog)
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise unknown(name, found, hint="names are text")
        if name in found:
            return found[name]
        if (kind, name) in catalog.conflicts:
            raise PluginConflictError(kind, name, catalog.conflicts[kind, name])
        if (kind, name) in catalog.missing:
            raise PluginLoadError(name, catalog.missing[kind, name])
        for row in catalog.plugins:
            if row.name == name and row.state == "broken":
                raise PluginLoadError(name, row.reason)
        raise unknown(name, found, hint=hint_for(name, found, catalog))


def default_registry() -> Registry:
    """Return the one registry that everything uses unless it is given another."""
    return _DEFAULT


def _installed(disabled: Collection[str]) -> tuple[Offer, ...]:
    """Load what the entry points name; what cannot be loaded is kept with the reason."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 40 ms that a hit never needs

    points = sorted(entry_points(group="cachewright"), key=lambda point: (point.name, point.value))
    offers = [_load(point, disabled) for point in points]
    if not any(offer.builtin for offer in offers):  # a source tree without metadata
        blank = Offer(name="builtin", distribution="cachewright", builtin=True)
        if "builtin" in disabled:
            offers.append(replace(blank, state="disabled", reason=DISABLED))
        else:
            offers.append(_offer(blank, import_module(BUILTIN)))
    return tuple(offers)


def _load(point: EntryPoint, disabled: Collection[str]) -> Offer:
    blank = Offer(name=point.name, builtin=point.value == BUILTIN)
    try:
        if point.dist is not None:
            blank = replace(blank, distribution=point.dist.name, version=point.dist.version)
        if {point.name, blank.distribution} & {*disabled}:
            return replace(blank, state="disabled", reason=DISABLED)
        plugin = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a foreign module: it may even exit
        return replace(blank, state="broken", reason=f"{type(error).__name__}: {error}")
    return _offer(blank, plugin)


def _offer(blank: Offer, plugin: object) -> Offer:
    """Ask a plugin for its records; whatever it does wrong becomes the reason of a broken offer."""
    from pluggy import PluginValidationError  # noqa: PLC0415 - 20 ms that a hit never needs

    try:
        answers = _answers(blank.name, plugin)
        return replace(
            blank,
            engines=_records(blank, answers, "cachewright_engines", EngineInfo),
            serializers=_records(blank, answers, "cachewright_serializers", SerializerInfo),
            keymakers=_records(blank, answers, "cachewright_keymakers", KeyMakerInfo),
            codecs=_records(blank, answers, "cachewright_codecs", CodecInfo),
            ciphers=_records(blank, answers, "cachewright_ciphers", CipherInfo),
            listeners=checked_listeners(answers["cachewright_listeners"]),
        )
    except (BadRecordError, PluginValidationError) as error:
        return replace(blank, state="broken", reason=" ".join(str(error).split()))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the hooks are foreign code
        return replace(blank, state="broken", reason=f"{type(error).__name__}: {error}")


def _records(
    blank: Offer, answers: Mapping[str, list[Any]], hook: str, contract: type[Info]
) -> tuple[Info, ...]:
    return checked_records(answers[hook], contract, hook=hook, distribution=blank.distribution)


def _answers(name: str, plugin: object) -> dict[str, list[Any]]:
    """Call the hooks of one plugin, in a manager of its own so that blame falls on the right one."""
    from pluggy import PluginManager  # noqa: PLC0415 - as above

    from cachewright import hookspecs  # noqa: PLC0415 - it imports pluggy

    for attribute in dir(plugin):
        if attribute.startswith("cachewright_") and isinstance(getattr(plugin, attribute), _FUNCTIONS):
            function = getattr(plugin, attribute)
            if not (hasattr(function, "cachewright_impl") or hasattr(function, "cachewright_spec")):
                raise BadRecordError(f"{attribute} is not marked with @hookimpl")
    manager = PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    manager.check_pending()
    answers: dict[str, list[Any]] = {}
    heard = 0
    for hook in _HOOKS:
        caller = getattr(manager.hook, hook)
        results = caller()
        heard += len(caller.get_hookimpls())
        if len(results) < sum(not (each.hookwrapper or each.wrapper) for each in caller.get_hookimpls()):
            raise BadRecordError(f"{hook} returned None, not an iterable of records")
        answers[hook] = [record for result in results for record in listed(result, hook)]
    if not heard:
        raise BadRecordError(f"it implements none of the hooks {', '.join(_HOOKS)}")
    return answers


def _is_absent(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 40 ms, as above

    try:
        version(distribution)
    except PackageNotFoundError:
        return True
    return False


_DEFAULT = Registry()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_DEFAULT.after_fork)

"""A target is the ``"package.module:Class"`` by which a plugin's record names what it provides."""

from __future__ import annotations

from importlib import import_module
from typing import TypeVar

from cachewright.errors import PluginLoadError

T = TypeVar("T")


def load_target(target: str, contract: type[T], *, plugin: str, install: str = "") -> type[T]:
    """Import the class that ``target`` names and check that it is a concrete ``contract``.

    Args:
        target: ``"package.module:Class"``.
        contract: the abstract class that it has to implement.
        plugin: the plugin's name, for messages.
        install: what to install if the import fails.

    Raises:
        PluginLoadError: the target is empty, cannot be imported, does not implement the contract,
            or leaves abstract methods open.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise PluginLoadError(plugin, f"it names no {contract.__name__}")
    try:
        loaded = getattr(import_module(module_name), attribute)
    except Exception as error:  # a plugin's module is foreign code and may raise anything
        hint = f"try: pip install {install}" if install else ""
        raise PluginLoadError(plugin, f"{type(error).__name__}: {error}", hint=hint) from error
    if not (isinstance(loaded, type) and issubclass(loaded, contract)):
        raise PluginLoadError(plugin, f"{target} is not a subclass of {contract.__name__}")
    missing = sorted(getattr(loaded, "__abstractmethods__", ()))
    if missing:
        raise PluginLoadError(plugin, f"{target} does not implement {', '.join(missing)}")
    return loaded

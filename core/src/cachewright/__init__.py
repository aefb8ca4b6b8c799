"""One decorator over every cache engine: right keys, one flight, safe storage, fast hits."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # checkers know the name; importing typing costs 5 ms
if TYPE_CHECKING:
    from cachewright import errors
    from cachewright._memo import disabled
    from cachewright.aio import AsyncCache
    from cachewright.cache import Cache
    from cachewright.config import Settings, configure
    from cachewright.context import INJECTED, LoadContext
    from cachewright.decorators import cached
    from cachewright.entry import MISSING
    from cachewright.factory import open_async_cache, open_cache, plugins, rank
    from cachewright.freshness import Freshness
    from cachewright.selector import Ranking
    from cachewright.workload import Workload

__version__ = "0.1.0"

__all__ = [
    "INJECTED",
    "MISSING",
    "AsyncCache",
    "Cache",
    "Freshness",
    "LoadContext",
    "Ranking",
    "Settings",
    "Workload",
    "__version__",
    "cached",
    "configure",
    "disabled",
    "errors",
    "open_async_cache",
    "open_cache",
    "plugins",
    "rank",
]

_HOMES = {
    "INJECTED": "context",
    "MISSING": "entry",
    "AsyncCache": "aio",
    "Cache": "cache",
    "Freshness": "freshness",
    "LoadContext": "context",
    "Ranking": "selector",
    "Settings": "config",
    "Workload": "workload",
    "cached": "decorators",
    "configure": "config",
    "disabled": "_memo",
    "open_async_cache": "factory",
    "open_cache": "factory",
    "plugins": "factory",
    "rank": "factory",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562), so that importing the package costs next to nothing."""
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name == "errors":
        return import_module(f"{__name__}.errors")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""An opening is a cache that is open for a location of ``joblib.Memory``, shared by all who name it alike."""

# ruff: noqa: PTH100, PTH111
# joblib names places in text.

from __future__ import annotations

import inspect
import os
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import joblib.hashing

from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachewright import Cache

_library: Any = joblib.hashing  # joblib has no types

_KEPT: Final = 8
"""Openings that stay open although nobody uses them: a worker gets its backend anew with every task."""

_openings: Final[weakref.WeakValueDictionary[str, Opening]] = weakref.WeakValueDictionary()
_latest: Final[deque[Opening]] = deque(maxlen=_KEPT)
"""What is open in this process; results on engines of one process are found through it."""


class Opening:
    """An open cache, which is closed with the last reference to this.

    Attributes:
        cache: the cache.
    """

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        weakref.finalize(self, cache.close)


def opened(location: str, options: Mapping[str, Any]) -> Opening:
    """Return the opening for a location and options of ``open_cache``.

    Raises:
        ConfigurationError: there is no such option.
    """
    where = os.path.abspath(os.path.expanduser(location))
    try:
        identity: str = _library.hash(
            (location, where, os.getpid(), sorted(options.items())), hash_name="sha1"
        )
    except Exception:  # noqa: BLE001 - options that do not pickle, such as a clock: an opening of their own
        return _open(location, where, options)
    found = _openings.get(identity)
    if found is None:
        # of two threads that open at once, one cache is closed again
        found = _openings.setdefault(identity, _open(location, where, options))
    if found not in _latest:
        _latest.append(found)
    return found


def _open(location: str, where: str, options: Mapping[str, Any]) -> Opening:
    from cachewright import open_cache  # noqa: PLC0415 - the caches of applications; plugins need only contracts

    known = [name for name in inspect.signature(open_cache).parameters if name not in {"name", "copy"}]
    for name, value in options.items():
        if name != "namespace" and name not in known:
            raise ConfigurationError(
                f"backend_options[{name!r}]", value, f"one of {', '.join(sorted(known))}"
            )
    settings = dict(options)
    namespace = settings.pop("namespace", None)
    shared = f"joblib:{location}" if namespace is None else f"joblib:{namespace}"
    own = "path" not in settings and "url" not in settings
    if own:
        settings["path"] = where
    cache = open_cache("joblib" if own and namespace is None else shared, copy="value", **settings)
    ability = cache.lifecycle.info.capabilities
    if own and namespace is None and (ability.scope == "network" or not ability.persistent):
        # A directory is told apart by where it is, and may be moved; a server's entries only by their names.
        cache.close()
        cache = open_cache(shared, copy="value", **settings)
    return Opening(cache)

"""A specification is what a caller asked for: checked when it is written, used when a cache is opened."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from cachewright.duration import parse_size, parse_ttl
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import FunctionType

    from cachewright.config import Settings
    from cachewright.engine import Scope
    from cachewright.keymaker import KeyMaker, KeyMakerInfo

OnEngineError: TypeAlias = Literal["compute", "raise", "stale"]


class _DefaultSize(int):
    """The default bound, told apart from the same number written by a caller."""

    __slots__ = ()


DEFAULT_MAXSIZE = _DefaultSize(1024)
"""Entries of a decorated function unless it says otherwise. Engines that cannot count entries, such as
a server with bounds of its own, are not held to it; they are to a number that was asked for."""


DEFAULT_KEY_MAKER: Final = "canonical"
"""The key maker whose equality of keys is that of Python, so that it may be left out inside a process."""


class Spec:
    """What :func:`cached` or :func:`open_cache` was asked for.

    ``definition`` is the decorated function where the namespace is its name, not one that was chosen.
    ``aged`` says that entries have to be judged before they are served, so that the value alone is not
    enough to store.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    __slots__ = (
        "aged",
        "compress",
        "copy",
        "definition",
        "encrypt",
        "engine",
        "jitter",
        "key_maker",
        "max_bytes",
        "maxsize",
        "namespace",
        "on_engine_error",
        "options",
        "path",
        "persist",
        "policy",
        "scope",
        "serializer",
        "settings",
        "ttl",
        "url",
    )

    def __init__(
        self,
        *,
        namespace: str,
        engine: str | None = None,
        persist: bool = False,
        scope: Scope = "process",
        ttl: Any = None,
        maxsize: int | None = None,
        max_bytes: int | str | None = None,
        policy: str | None = None,
        serializer: str | None = None,
        key_maker: str | KeyMaker = DEFAULT_KEY_MAKER,
        compress: bool | str | None = None,
        encrypt: bool | str | None = None,
        copy: Literal["value"] | None = None,
        jitter: float = 0.0,
        on_engine_error: OnEngineError = "compute",
        url: str | None = None,
        path: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        options: dict[str, object] | None = None,
        definition: FunctionType | None = None,
        aged: bool = False,
    ) -> None:
        _one_of("scope", scope, ("process", "host", "network"))
        _one_of("on_engine_error", on_engine_error, ("compute", "raise", "stale"))
        _one_of("copy", copy, (None, "value"))
        for name, value in (("engine", engine), ("policy", policy), ("serializer", serializer), ("url", url)):
            if value is not None:
                _require(_is_name(value), name, value, "a text that is not empty, or None")
        for name, choice, kind in (("compress", compress, "codec"), ("encrypt", encrypt, "cipher")):
            fine = choice is None or isinstance(choice, bool) or _is_name(choice)
            _require(fine, name, choice, f"True, False or the name of a {kind}")
        if path is not None:
            fine = isinstance(cast("object", path), (str, PathLike)) and str(path) != ""
            _require(fine, "path", path, "a directory, or None")
        if options is not None:
            fine = isinstance(cast("object", options), Mapping) and all(map(_is_name, options))
            _require(fine, "options", options, "a mapping with the names of options, or None")
        if settings is not None:
            _require(_is_settings(settings), "settings", settings, "Settings(...), or None")
        _require(_is_keymaker(key_maker), "key_maker", key_maker, "the name of a key maker, or a KeyMaker")
        _require(type(persist) is bool, "persist", persist, "True or False")
        self.namespace = _checked_namespace(namespace)
        self.engine = engine
        # An address or a directory would be without meaning for a store that dies with the process.
        self.scope: Scope = "network" if url and engine is None and scope == "process" else scope
        self.persist = persist or (path is not None and engine is None)
        self.ttl: float | Callable[[Any], Any] | None = (
            ttl if callable(ttl) else parse_ttl(ttl, setting="ttl")
        )
        self.maxsize = _checked_maxsize(maxsize)
        self.max_bytes = None if max_bytes is None else parse_size(max_bytes, setting="max_bytes")
        self.policy = policy
        self.serializer = serializer
        self.key_maker = key_maker
        self.compress = compress
        self.encrypt = encrypt
        self.copy = copy
        self.jitter = _checked_jitter(jitter)
        self.on_engine_error: OnEngineError = on_engine_error
        self.url = url
        self.path = path
        self.settings = settings
        self.options = dict(options or {})
        self.definition = definition
        self.aged = aged

    @property
    def private_to_process(self) -> bool:
        """Whether nothing asks for a store that others could see or that outlives the process."""
        return not self.persist and self.scope == "process"

    @property
    def own_keys(self) -> bool:
        """Whether another key maker than the default one decides which keys are equal."""
        return self.key_maker != DEFAULT_KEY_MAKER

    def keymaker(self, find: Callable[[str], KeyMakerInfo]) -> KeyMaker:
        """Return the key maker; ``find`` returns the record of a named one."""
        named = self.key_maker
        return find(named).load()() if isinstance(named, str) else named


def _require(fine: bool, setting: str, value: object, expected: str) -> None:  # noqa: FBT001 - an assertion
    if not fine:
        raise ConfigurationError(setting, value, expected)


def _one_of(setting: str, value: object, choices: tuple[str | None, ...]) -> None:
    if not ((value is None or isinstance(value, str)) and value in choices):
        expected = "one of " + ", ".join(repr(choice) for choice in choices)
        raise ConfigurationError(setting, value, expected)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_keymaker(value: object) -> bool:
    if isinstance(value, str):
        return value != ""
    from cachewright.keymaker import KeyMaker  # noqa: PLC0415 - for who passes one, and so has imported it

    return isinstance(value, KeyMaker)


def _is_settings(value: object) -> bool:
    from cachewright.config import Settings  # noqa: PLC0415 - for who passes settings, and so has imported it

    return isinstance(value, Settings)


def _checked_namespace(namespace: str) -> str:
    _require(_is_name(namespace), "name", namespace, "a text that is not empty")
    return namespace


def _checked_maxsize(maxsize: object) -> int | None:
    if maxsize is None:
        return None
    if isinstance(maxsize, bool) or not isinstance(maxsize, int) or maxsize < 0:
        raise ConfigurationError(
            "maxsize", maxsize, "a number of entries, 0 to store nothing, None for no bound"
        )
    return maxsize


def _checked_jitter(jitter: object) -> float:
    if isinstance(jitter, bool) or not isinstance(jitter, int | float) or not 0 <= jitter < 1:
        raise ConfigurationError("jitter", jitter, "a share of the ttl, from 0 up to but not including 1")
    return float(jitter)

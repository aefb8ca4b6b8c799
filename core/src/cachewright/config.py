"""A setting is a choice of the application; several places may make it, and the nearest one wins.

arguments > ``with configure(...)`` > ``configure(...)`` > environment ``CACHEWRIGHT_*`` >
``[tool.cachewright]`` of a pyproject.toml that was asked for > defaults.

This module is on the import path of every decorated function: it imports nothing heavy.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self, cast

from cachewright.choices import (
    CHOICES,
    Layer,
    environment,
    given,
    pyproject_table,
    redis_url,
    shown,
    unknown_setting,
)
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import TypedDict, Unpack

    # Known to checkers only: building the class would be half of what importing this module costs.
    class Choices(TypedDict, total=False):
        """The settings, as arguments; each may also be the text that the environment would hold."""

        disable: bool | str
        engine: str | None
        dir: str | os.PathLike[str] | None
        data_dir: str | os.PathLike[str] | None
        url: str | None
        signing_keys: str | None
        encrypt: bool | str
        disabled_plugins: str | Iterable[str]
        log_level: str | None
        timeout: float | str | None
        lease: float | str
        max_value_bytes: int | str | None
        redis_host: str | None
        redis_port: int | str | None
        redis_db: int | str | None
        redis_username: str | None
        redis_password: str | None
        redis_ssl: bool | str


class Settings:
    """The settings of an application: immutable, each value with its origin.

    ``Settings(...)`` holds defaults and what is given; :meth:`resolve` asks every place.

    Attributes:
        disable: caching is off; functions compute.
        engine: engine to use where none is asked for.
        dir: directory of all stored entries; default: the user's cache directory.
        data_dir: directory of the keys that authenticate entries; default: the user's data directory.
        url: address of the server for engines that need one; composed from the ``redis_*`` settings
            where it is not set itself.
        signing_keys: keys that authenticate entries on shared stores. Never shown.
        encrypt: whether entries are encrypted wherever they leave the process; or the cipher to use.
        disabled_plugins: plugins to leave out, by name.
        log_level: level of the logger ``cachewright``; ``None`` leaves it alone.
        timeout: seconds after which an operation on an engine is given up; ``None``: 0.1 for a server, 1.0
            for a store on this host, whose writers wait for each other.
        lease: seconds after which what a killed process of another host was computing is computed anew.
        max_value_bytes: largest stored value that is read or written; ``None`` for no limit.
        redis_host: host of a redis or valkey server.
        redis_port: its port.
        redis_db: number of its database.
        redis_username: user to log in as.
        redis_password: password to log in with. Never shown.
        redis_ssl: whether to use TLS.

    Raises:
        ConfigurationError: an unknown name or an unusable value; says which, and from where.
    """

    __slots__ = ("_origins", "_values")

    disable: bool
    engine: str | None
    dir: Path | None
    data_dir: Path | None
    url: str | None
    signing_keys: str | None
    encrypt: bool | str
    disabled_plugins: tuple[str, ...]
    log_level: str | None
    timeout: float | None
    lease: float
    max_value_bytes: int | None
    redis_host: str | None
    redis_port: int | None
    redis_db: int | None
    redis_username: str | None
    redis_password: str | None
    redis_ssl: bool

    _values: dict[str, Any]
    _origins: dict[str, str]

    def __init__(self, **choices: Unpack[Choices]) -> None:
        self._fill([given(choices, "argument")])

    def _fill(self, layers: Iterable[Layer]) -> None:
        """Take the nearest value of every setting; the first layer is the farthest."""
        values = {name: choice.default for name, choice in CHOICES.items()}
        origins = dict.fromkeys(CHOICES, "default")
        for layer in layers:
            for name, (value, origin) in layer.items():
                values[name], origins[name] = value, origin
        if values["url"] is None:
            from_parts = [
                name for name in CHOICES if name.startswith("redis_") and origins[name] != "default"
            ]
            if from_parts:
                values["url"] = redis_url(values)
                origins["url"] = f"{_COMPOSED} {', '.join(from_parts)}"
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_origins", origins)

    @classmethod
    def _from_layers(cls, layers: Iterable[Layer]) -> Self:
        settings = cls.__new__(cls)
        settings._fill(layers)  # noqa: SLF001 - the new instance is its own
        return settings

    @classmethod
    def resolve(cls, **arguments: Unpack[Choices]) -> Self:
        """Return the settings that hold here and now; arguments win over every other place.

        An argument of ``None`` says "the default", and wins like any other.
        """
        process, context = _process_wide, _in_context.get()
        return cls._from_layers(
            [
                *(layer.file for layer in (*process, *context)),
                environment(),
                *(layer.values for layer in (*process, *context)),
                given(arguments, "argument"),
            ]
        )

    @classmethod
    def from_pyproject(cls, path: str | os.PathLike[str]) -> Self:
        """Return defaults and what ``[tool.cachewright]`` of a pyproject.toml says."""
        return cls._from_layers([pyproject_table(path)])

    def origin(self, name: str) -> str:
        """Return where a setting got its value from, in words."""
        if name not in CHOICES:
            raise unknown_setting(name, "origin()")
        return self._origins[name]

    def replace(self, **changes: Unpack[Choices]) -> Self:
        """Return a copy with some settings changed."""
        kept = {
            name: (self._values[name], origin)
            for name, origin in self._origins.items()
            if not origin.startswith(_COMPOSED)
        }
        return self._from_layers([kept, given(changes, "argument")])

    def items(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, value as it may be shown, and origin of every setting."""
        for name, value in self._values.items():
            yield name, shown(name, value), self._origins[name]

    def __getattr__(self, name: str) -> Any:
        if name in CHOICES:
            return self._values[name]
        raise AttributeError(f"Settings has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Settings are immutable; use replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("Settings are immutable")

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, Settings) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        given = (f"{name}={text}" for name, text, origin in self.items() if origin != "default")
        return f"Settings({', '.join(given)})"

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("Settings may hold keys and are not pickled or copied; use replace()")


class configure:  # noqa: N801 - used like a function
    """Choose settings for the whole process, or for a ``with`` block.

    ``configure(dir="/var/cache/app")`` holds from now on, for every thread. ``with
    configure(dir=...):`` holds for the block only, in this thread or task; what held before holds
    again afterwards, also after an error. Caches that are already open keep their settings.

    Args:
        pyproject: also read ``[tool.cachewright]`` of this file; it ranks below the environment.
        **choices: as for :class:`Settings`; ``None`` says "the default".

    Raises:
        ConfigurationError: as for :class:`Settings`; then nothing has changed.
    """

    __slots__ = ("file", "values")

    def __init__(
        self, *, pyproject: str | os.PathLike[str] | None = None, **choices: Unpack[Choices]
    ) -> None:
        global _process_wide  # noqa: PLW0603 - the documented process-wide settings
        self.values: Layer = given(choices, "configure()")
        self.file: Layer = {} if pyproject is None else pyproject_table(pyproject)
        _process_wide = (*_process_wide, self)

    def __enter__(self) -> Self:
        global _process_wide  # noqa: PLW0603 - as above
        _process_wide = tuple(layer for layer in _process_wide if layer is not self)
        _in_context.set((*_in_context.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        layers = list(_in_context.get())
        for i in reversed(range(len(layers))):  # no token: a fixture may end in another context
            if layers[i] is self:
                del layers[i]
                break
        _in_context.set(tuple(layers))


_COMPOSED = "composed from"  # origin of a url that follows its parts

_process_wide: tuple[configure, ...] = ()
_in_context: ContextVar[tuple[configure, ...]] = ContextVar("cachewright_settings", default=())


def cache_directory(settings: Settings) -> Path:
    """Return the absolute directory of stored entries; it need not exist, and is not made.

    Raises:
        ConfigurationError: the user has no home; then the setting ``dir`` is needed.
    """
    if settings.dir is not None:
        return settings.dir
    from platformdirs import user_cache_path  # noqa: PLC0415 - only for who stores files

    return _absolute("dir", user_cache_path)


def user_data_directory(settings: Settings) -> Path:
    """Return the absolute directory of the user's keys, apart from what they authenticate.

    It need not exist, and is not made; raises as :func:`cache_directory` does.
    """
    if settings.data_dir is not None:
        return settings.data_dir
    from platformdirs import user_data_path  # noqa: PLC0415 - as above

    return _absolute("data_dir", user_data_path)


def safe_folder(name: str, *, setting: str = "folder_name") -> str:
    """Return ``name`` if it is one folder's name that is safe on every system.

    Raises:
        ConfigurationError: it is empty, longer than 100 bytes, could leave its parent directory, or
            means something special to some operating system.
    """
    text = name if isinstance(cast("object", name), str) else ""
    fine = (
        text != ""
        and text.isprintable()
        and len(text.encode("utf-8", "replace")) <= 100
        and not any(sign in '/\\:*?"<>|' for sign in text)
        and text[0] not in ".~ -"
        and text[-1] not in ". "
        and text.partition(".")[0].rstrip().upper() not in _DEVICES
    )
    if not fine:
        raise ConfigurationError(setting, name, "the name of one folder: no separators, no leading dot")
    return name


_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}
"""Names that stand for devices on Windows, whatever follows a dot."""


def _absolute(setting: str, locate: Callable[..., Path]) -> Path:
    """Return the user's directory; releases of platformdirs refuse, or return a relative path."""
    try:
        path = locate("cachewright", appauthor=False)
    except RuntimeError:
        path = None
    if path is None or not path.is_absolute():
        expected = f"a home directory for it; set CACHEWRIGHT_{setting.upper()}"
        raise ConfigurationError(setting, None if path is None else str(path), expected)
    return path

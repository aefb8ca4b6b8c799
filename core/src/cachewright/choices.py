"""The choices are the settings that exist: the default of each, and what makes a value usable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from cachewright.duration import SIZE_EXPECTED, parse_size, parse_ttl
from cachewright.errors import ConfigurationError

HIDDEN: Final = "(hidden)"

Layer = dict[str, tuple[Any, str]]
"""What one place says: setting -> usable value and origin."""

PREFIX: Final = "CACHEWRIGHT_"
"""What the names of environment variables start with; the rest is the setting in capitals."""

Parser = Callable[[Any, str], Any]


class Choice:
    """A setting: its default, its parser and what to tell who gets it wrong."""

    __slots__ = ("default", "expected", "parse", "secret")

    def __init__(self, default: object, parse: Parser, expected: str, *, secret: bool = False) -> None:
        self.default = default
        self.parse = parse
        self.expected = expected
        self.secret = secret


def checked(name: str, value: object, origin: str, *, folder: str = "") -> Any:
    """Return the usable form of a value.

    Args:
        name: the setting.
        value: what was given: an object, or text as in the environment. ``None`` is the default.
        origin: where it was given, for the message.
        folder: what a relative directory is relative to; default: the working directory.

    Raises:
        ConfigurationError: there is no such setting, or the value makes no sense.
    """
    choice = CHOICES.get(name)
    if choice is None:
        raise unknown_setting(name, origin)
    if value is None:
        return choice.default
    try:
        return choice.parse(value, folder)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
        told = HIDDEN if choice.secret else _without_password(value) if name == "url" else value
        raise ConfigurationError(name, told, choice.expected, origin=origin) from None


def given(choices: Mapping[str, object], origin: str) -> Layer:
    """Return what was given by name, checked."""
    return {name: (checked(name, value, origin), origin) for name, value in choices.items()}


def environment() -> Layer:
    """Return what the environment says; an empty variable says nothing."""
    layer: Layer = {}
    for variable, text in os.environ.items():
        if variable.startswith(PREFIX) and text.strip():
            origin = f"environment variable {variable}"
            name = variable.removeprefix(PREFIX).lower()
            layer[name] = checked(name, text.strip(), origin), origin
    return layer


def pyproject_table(path: str | os.PathLike[str]) -> Layer:
    """Return what ``[tool.cachewright]`` of a file says; directories are relative to the file."""
    import tomllib  # noqa: PLC0415 - only for those who ask for a file

    origin = f"[tool.cachewright] of {os.fspath(path)}"
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 10 ms of import
            document: Any = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise ConfigurationError("pyproject", os.fspath(path), f"a readable TOML file ({error})") from error
    table: Any = document.get("tool", {})
    if isinstance(table, dict):
        table = cast("dict[str, Any]", table).get("cachewright", {})
    if not isinstance(table, dict):
        raise ConfigurationError("tool.cachewright", table, "a table", origin=origin)
    entries = cast("dict[str, Any]", table)
    folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - as above
    return {name: (checked(name, value, origin, folder=folder), origin) for name, value in entries.items()}


def redis_url(values: Mapping[str, Any]) -> str:
    """Return the address that the ``redis_*`` settings amount to."""
    from urllib.parse import quote  # noqa: PLC0415 - only for those who set the parts

    user = quote(values["redis_username"] or "", safe="")
    password = values["redis_password"]
    login = f"{user}:{quote(password, safe='')}@" if password else f"{user}@" if user else ""
    host = values["redis_host"] or "localhost"
    host = f"[{host}]" if ":" in host else host
    scheme = "rediss" if values["redis_ssl"] else "redis"
    return f"{scheme}://{login}{host}:{values['redis_port'] or 6379}/{values['redis_db'] or 0}"


def unknown_setting(name: str, origin: str) -> ConfigurationError:
    """Return the error about a setting that does not exist, with the nearest one that does."""
    from difflib import get_close_matches  # noqa: PLC0415 - needed for this message only

    near = get_close_matches(name, CHOICES, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigurationError("setting", name, f"one of {', '.join(CHOICES)}{meant}", origin=origin)


def shown(name: str, value: object) -> str:
    """Return a value as it may appear in messages and tables: without keys and passwords."""
    if value is not None and CHOICES[name].secret:
        return HIDDEN
    return repr(_without_password(value)) if name == "url" else repr(value)


def _without_password(value: object) -> object:
    if not isinstance(value, str):
        return value
    scheme, mark, rest = value.partition("://")
    login, at, host = rest.rpartition("@")
    if not at:
        return value if mark or "@" not in value else HIDDEN
    user, colon, _ = login.partition(":")
    return f"{scheme}://{user}{':***' if colon else ''}@{host}"


def _flag(value: Any, _: str) -> bool:
    if isinstance(value, bool):
        return value
    return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False,
            "off": False}[value.lower()]  # fmt: skip


def _encryption(value: Any, _: str) -> bool | str:
    try:
        return _flag(value, "")
    except KeyError:
        return _text(value, "")


def _text(value: Any, _: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError
    return value.strip()


def _directory(value: Any, folder: str) -> Any:
    from pathlib import Path  # noqa: PLC0415 - 10 ms that a default never needs

    text = os.fspath(Path(value))
    if not str(value).strip() or "\0" in text:
        raise ValueError
    path = os.path.join(folder, os.path.expanduser(text))  # noqa: PTH111, PTH118 - as above
    return Path(os.path.abspath(path))  # noqa: PTH100 - made absolute now: a chdir must not move it


def _url(value: Any, _: str) -> str:
    text = _text(value, "")
    scheme, mark, rest = text.partition("://")
    if not (mark and rest and scheme.replace("+", "").isalnum()) or any(map(str.isspace, text)):
        raise ValueError
    return text


def _names(value: Any, _: str) -> tuple[str, ...]:
    names: Iterable[Any] = value.split(",") if isinstance(value, str) else value
    return tuple(sorted({_text(name, "") for name in names if name != "" and not str(name).isspace()}))


def _level(value: Any, _: str) -> str:
    level = _text(value, "").upper()
    if level not in _LEVELS:
        raise ValueError
    return level


def _timeout(value: Any, _: str) -> float:
    seconds = parse_ttl(value)
    if seconds is None or seconds <= 0:
        raise ValueError
    return seconds


def _size(value: Any, _: str) -> int:
    return parse_size(value)


def _host(value: Any, _: str) -> str:
    host = _text(value, "").removeprefix("[").removesuffix("]")
    if any(sign.isspace() or sign in "/@?#[]%\\" for sign in host):
        raise ValueError
    return host


def _whole(lowest: int, highest: int) -> Parser:
    def parse(value: Any, _: str) -> int:
        if isinstance(value, bool | float):
            raise TypeError
        number = int(value)
        if not lowest <= number <= highest:
            raise ValueError
        return number

    return parse


_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_FLAG = "True or False; as text 1/0, true/false, yes/no or on/off"
_A_TEXT = "text that is not empty"

CHOICES: Final[dict[str, Choice]] = {
    "disable": Choice(default=False, parse=_flag, expected=_FLAG),
    "engine": Choice(None, _text, "the name of an engine"),
    "dir": Choice(None, _directory, "a directory"),
    "data_dir": Choice(None, _directory, "a directory"),
    "url": Choice(None, _url, "an address such as redis://localhost:6379/0"),
    "signing_keys": Choice(None, _text, _A_TEXT, secret=True),
    "encrypt": Choice(default=False, parse=_encryption, expected=f"{_FLAG}; or the name of a cipher"),
    "disabled_plugins": Choice((), _names, "names of plugins, as text separated by commas"),
    "log_level": Choice(None, _level, f"one of {', '.join(_LEVELS)}"),
    "timeout": Choice(None, _timeout, "seconds above 0, or text such as '500ms'"),
    "lease": Choice(10.0, _timeout, "seconds above 0, or text such as '10s'"),
    "max_value_bytes": Choice(None, _size, SIZE_EXPECTED),
    "redis_host": Choice(None, _host, "the name or address of a host"),
    "redis_port": Choice(None, _whole(1, 65_535), "a whole number from 1 to 65535"),
    "redis_db": Choice(None, _whole(0, 2**31 - 1), "a whole number from 0 on"),
    "redis_username": Choice(None, _text, _A_TEXT),
    "redis_password": Choice(None, _text, _A_TEXT, secret=True),
    "redis_ssl": Choice(default=False, parse=_flag, expected=_FLAG),
}
"""Every setting there is."""

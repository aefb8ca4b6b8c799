"""The options of the sqlite engine, checked when a store is opened."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from cachewright.engine import EngineConfig

POLICIES = ("lru", "fifo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a store is opened with.

    Attributes:
        path: the directory.
        durable: wait until the disk has every write.
        trust_directory: accept a directory or files that belong to other users.
        file_size: from how many bytes on a value gets a file of its own.
    """

    path: Path
    durable: bool = False
    trust_directory: bool = False
    file_size: int = 49_152

    @classmethod
    def of(cls, config: EngineConfig) -> Options:
        """Return the options in ``config``.

        Raises:
            ConfigurationError: a setting is missing, unknown or of the wrong type.
        """
        if config.path is None:
            raise ConfigurationError("path", None, "the directory in which the sqlite engine keeps its files")
        if config.policy is not None and config.policy not in POLICIES:
            raise ConfigurationError("policy", config.policy, f"one of {', '.join(POLICIES)}")
        known = [field.name for field in fields(cls)[1:]]
        for name in config.options:
            if name not in known:
                value = config.options[name]
                raise ConfigurationError(f"options[{name!r}]", value, f"one of {', '.join(known)}")
        return cls(
            path=config.path,
            durable=_flag(config, "durable"),
            trust_directory=_flag(config, "trust_directory"),
            file_size=_size(config, "file_size"),
        )


def _flag(config: EngineConfig, name: str) -> bool:
    value = config.options.get(name, False)
    if not isinstance(value, bool):
        raise ConfigurationError(f"options[{name!r}]", value, "True or False")
    return value


def _size(config: EngineConfig, name: str) -> int:
    value = config.options.get(name, 49_152)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1 << 24:
        raise ConfigurationError(f"options[{name!r}]", value, "a number of bytes from 1 to 16 MiB")
    return value

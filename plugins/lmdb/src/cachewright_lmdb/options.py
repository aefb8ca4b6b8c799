"""The options of the lmdb engine, checked when a store is opened."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from cachewright.engine import EngineConfig

POLICIES: Final = ("lru", "fifo")

MAP_SIZE: Final = 1 << (36 if sys.maxsize > 1 << 32 else 28)
"""Address space that a store takes at first. It costs no memory, and the file is as large as its entries."""

SMALLEST_MAP: Final = 1 << 18

MOST_READERS: Final = 126


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a store is opened with.

    Attributes:
        path: the directory.
        durable: wait until the disk has every write.
        trust_directory: accept a directory or files that belong to other users.
        map_size: bytes of address space to start with; doubled when they are used up.
        max_readers: processes that can have the store open; whoever opens it first decides.
    """

    path: Path
    durable: bool = False
    trust_directory: bool = False
    map_size: int = MAP_SIZE
    max_readers: int = MOST_READERS

    @classmethod
    def of(cls, config: EngineConfig) -> Options:
        """Return the options in ``config``.

        Raises:
            ConfigurationError: a setting is missing, unknown or of the wrong type.
        """
        if config.path is None:
            raise ConfigurationError("path", None, "the directory in which the lmdb engine keeps its file")
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
            map_size=_number(config, "map_size", MAP_SIZE, SMALLEST_MAP, sys.maxsize // 4),
            max_readers=_number(config, "max_readers", MOST_READERS, 2, 1 << 16),
        )


def _flag(config: EngineConfig, name: str) -> bool:
    value = config.options.get(name, False)
    if not isinstance(value, bool):
        raise ConfigurationError(f"options[{name!r}]", value, "True or False")
    return value


def _number(config: EngineConfig, name: str, default: int, least: int, most: int) -> int:
    value = config.options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigurationError(f"options[{name!r}]", value, f"a number from {least} to {most}")
    return value

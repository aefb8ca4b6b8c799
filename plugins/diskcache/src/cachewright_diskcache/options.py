"""The options of the diskcache engines, checked when a store is opened."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from cachewright.engine import EngineConfig

POLICIES: Final = ("least-recently-stored", "least-recently-used", "least-frequently-used", "none")

MOST_SHARDS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a store is opened with.

    Attributes:
        path: the directory.
        timeout: seconds to wait for others who keep it locked.
        shards: databases to spread entries over; 0 for the one of a plain Cache.
        durable: wait until the disk has every write.
        trust_directory: accept a directory or files that belong to other users.
        size_limit: bytes on the disk from which on entries are evicted, of all namespaces together.
        eviction_policy: which entries go first, by diskcache's names.
        file_size: from how many bytes on a value gets a file of its own.
        accept_cve: do not warn of CVE-2025-69872.
    """

    path: Path
    timeout: float
    shards: int
    durable: bool = False
    trust_directory: bool = False
    size_limit: int = 1 << 30
    eviction_policy: str = POLICIES[0]
    file_size: int = 1 << 15
    accept_cve: bool = False

    @classmethod
    def of(cls, config: EngineConfig, shards: int) -> Options:
        """Return the options in ``config``; ``shards`` is the default number, 0 if there can be none.

        Raises:
            ConfigurationError: a setting is missing, unknown or of the wrong type.
        """
        if config.path is None:
            raise ConfigurationError("path", None, "the directory in which diskcache keeps its files")
        if config.policy is not None:
            expected = "none here; options={'eviction_policy': ...} takes diskcache's policies"
            raise ConfigurationError("policy", config.policy, expected)
        known = [field.name for field in fields(cls)[2 if shards else 3 :]]
        for name in config.options:
            if name not in known:
                value = config.options[name]
                raise ConfigurationError(f"options[{name!r}]", value, f"one of {', '.join(known)}")
        return cls(
            path=config.path,
            timeout=config.timeout,
            shards=_number(config, "shards", shards, 1, MOST_SHARDS) if shards else 0,
            durable=_flag(config, "durable"),
            trust_directory=_flag(config, "trust_directory"),
            size_limit=_number(config, "size_limit", 1 << 30, 1 << 16, 1 << 62),
            eviction_policy=_policy(config),
            file_size=_number(config, "file_size", 1 << 15, 1, 1 << 24),
            accept_cve=_flag(config, "accept_cve"),
        )

    def settings(self) -> dict[str, int | str]:
        """Return the settings that diskcache keeps in a database."""
        return {
            "size_limit": self.size_limit // (self.shards or 1),
            "eviction_policy": self.eviction_policy,
            "disk_min_file_size": self.file_size,
            "statistics": 0,
            "tag_index": 1,
            "sqlite_mmap_size": 0,  # reading a file that is cut short through memory kills the process
            "sqlite_synchronous": 2 if self.durable else 1,
        }


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


def _policy(config: EngineConfig) -> str:
    value = config.options.get("eviction_policy", POLICIES[0])
    if not isinstance(value, str) or value not in POLICIES:
        raise ConfigurationError("options['eviction_policy']", value, f"one of {', '.join(POLICIES)}")
    return value
